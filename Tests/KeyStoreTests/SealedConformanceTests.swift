import KeyStore
import Testing

/// What a rotation of the root key needs of every store: finding values by what sealed them, replacing them in place,
/// closing a version for good.
struct SealedConformanceTests {
    /// A value as a root key of that version seals it.
    private static func sealed(_ version: UInt32, _ content: UInt8 = 0, offset: Int = 0) -> [UInt8] {
        [UInt8](repeating: 0, count: offset) + SealedTable.mark(version) + [UInt8](repeating: content, count: 40)
    }

    /// Three values in each table: under 1, under 2, under 1 again.
    private func fill(_ store: any KeyStore) async throws {
        var writes: [StoreWrite] = [
            .insertRootKey(Sample.root(1, .retiring)), .insertRootKey(Sample.root(2, .active)),
            .putSetting(name: "none", value: [UInt8](repeating: 9, count: 60)), .putSetting(name: "short", value: [1]),
            .putSetting(name: "bare", value: Self.sealed(1)),
        ]
        for (number, version) in [(1, UInt32(1)), (2, 2), (3, 1)] {
            var key = Sample.key(number)
            key.sealed = Self.sealed(version)
            var resource = Sample.resource(number)
            resource.sealed = Self.sealed(version)
            var grant = Sample.authorization(number, resource: number, user: 1)
            grant.sealed = Self.sealed(version)
            var day = Sample.kek(Int64(number * 5))
            day.sealed = Self.sealed(version)
            var entry = Sample.ledger(number)
            entry.audit = Self.sealed(version)
            writes += [
                .insertKey(key), .insertResource(resource), .insertAuthorization(grant), .insertSessionKEK(day),
                .insertErasableKey(ErasableKeyRecord(resource: resource.id, sealed: Self.sealed(version))),
                .insertLedger(entry), .putSetting(name: "s\(number)", value: Self.sealed(version, offset: 8)),
            ]
        }
        // What is sealed under something else than a root key, or not at all.
        var month = Sample.ledger(9)
        month.audit = [3] + Self.sealed(1).dropFirst()
        writes += [.insertKey(Sample.key(9)), .insertLedger(month)]
        #expect(try await store.commit(StoreChange(writes: writes)) == .committed)
    }

    @Test(
        "values are found by the root key version that sealed them, in order, page by page",
        arguments: StoreKind.allCases)
    func finding(_ kind: StoreKind) async throws {
        try await kind.withStore { store async throws in
            try await fill(store)
            for table in SealedTable.allCases {
                let extra = table == .settings ? 1 : 0
                #expect(try await store.sealedCounts(table) == [1: 2 + extra, 2: 1], "\(table)")
                let all = try await store.sealedRows(table, notUnder: 0, after: nil, limit: 10)
                #expect(all.count == 3 + extra, "\(table)")
                let old = try await store.sealedRows(table, notUnder: 2, after: nil, limit: 10)
                #expect(old == all.filter { table.generation(of: $0.value) == 1 }, "\(table)")
                var paged: [SealedRow] = []
                while let row = try await store.sealedRows(table, notUnder: 2, after: paged.last?.id, limit: 1).first {
                    paged.append(row)
                    guard paged.count < 10 else { break }
                }
                #expect(paged == old, "\(table)")
                #expect(try await store.sealedRows(table, notUnder: 2, after: nil, limit: 0).isEmpty)
                // The order is the store's own, what comes is the same.
                var near: [SealedRow] = []
                while let row = try await store.neighbouringSealedRows(
                    table, notUnder: 2, after: near.last?.id, limit: 1
                ).first, near.count < 20 { near.append(row) }
                #expect(near.sorted { $0.id < $1.id } == old.sorted { $0.id < $1.id })
            }
            let settings = try await store.sealedRows(.settings, notUnder: 0, after: nil, limit: 10).map(\.id)
            #expect(settings == ["bare", "s1", "s2", "s3"])
            let days = try await store.sealedRows(.sessionKEKs, notUnder: 0, after: nil, limit: 10).map(\.id)
            #expect(days == ["5", "10", "15"])
        }
    }

    @Test(
        "a value is replaced in place while it is the old one, and left alone when it is not",
        arguments: StoreKind.allCases)
    func replacing(_ kind: StoreKind) async throws {
        try await kind.withStore { store async throws in
            try await fill(store)
            let versions = try await store.key(Sample.id(1))?.version
            for table in SealedTable.allCases {
                for row in try await store.sealedRows(table, notUnder: 2, after: nil, limit: 10) {
                    let offset = try #require(table.offset(in: row.value))
                    let new = Self.sealed(2, 7, offset: offset)
                    let wrong = Self.sealed(1, 8, offset: offset)
                    #expect(try await store.apply(.reseal(table, id: row.id, old: wrong, new: new)) == .committed)
                    #expect(try await store.sealedCounts(table)[2] != 4)
                    #expect(try await store.apply(.reseal(table, id: row.id, old: row.value, new: new)) == .committed)
                    // Again: the row has moved on, which is no conflict.
                    #expect(try await store.apply(.reseal(table, id: row.id, old: row.value, new: wrong)) == .committed)
                    let now = try await store.sealedRows(table, notUnder: 0, after: nil, limit: 10)
                    #expect(now.first { $0.id == row.id }?.value == new, "\(table)")
                }
                #expect(try await store.sealedCounts(table).keys.elementsEqual([2]), "\(table)")
            }
            #expect(try await store.key(Sample.id(1))?.version == versions)
            #expect(try await store.apply(.updateKey(Sample.key(1, version: 2))) == .committed)
            let gone = StoreWrite.reseal(
                .keys, id: Sample.id(500), old: Self.sealed(1), new: Self.sealed(2))
            #expect(try await store.apply(gone) == .committed)
        }
    }

    @Test("nothing is taken under a version that is closed, whatever it is", arguments: StoreKind.allCases)
    func closed(_ kind: StoreKind) async throws {
        try await kind.withStore { store async throws in
            try await fill(store)
            var key = Sample.key(50)
            key.sealed = Self.sealed(1)
            var resource = Sample.resource(50)
            resource.sealed = Self.sealed(1)
            var grant = Sample.authorization(50, resource: 1, user: 5)
            grant.sealed = Self.sealed(1)
            var day = Sample.kek(50)
            day.sealed = Self.sealed(1)
            var entry = Sample.ledger(50)
            entry.audit = Self.sealed(1)
            let writes: [StoreWrite] = [
                .insertKey(key), .insertResource(resource), .insertAuthorization(grant), .insertSessionKEK(day),
                .insertLedger(entry), .putSetting(name: "new", value: Self.sealed(1, offset: 8)),
                .putSetting(name: "new", value: Self.sealed(1)),
                .reseal(.keys, id: Sample.id(2), old: Self.sealed(2), new: Self.sealed(1)),
            ]
            for state: RootKeyRecord.State in [.inert, .retired, .destroyed] {
                try await store.apply(.updateRootKey(Sample.root(1, state)))
                #expect(try await store.apply(expecting: [.openRoot(version: 1)]) == .conflict)
                for write in writes { #expect(try await store.apply(write) == .conflict, "\(state): \(write)") }
            }
            for version: Int64 in [2, 3] {
                let isThere = version == 2
                #expect(
                    try await store.apply(expecting: [.openRoot(version: version)])
                        == (isThere ? .committed : .conflict))
            }
            try await store.apply(.updateRootKey(Sample.root(1, .retiring)))
            #expect(try await store.apply(expecting: [.openRoot(version: 1)]) == .committed)
            for write in writes { #expect(try await store.apply(write) == .committed, "\(write)") }
        }
    }

    @Test("a version is found empty only when no table has a value under it", arguments: StoreKind.allCases)
    func counting(_ kind: StoreKind) async throws {
        try await kind.withStore { store async throws in
            try await fill(store)
            #expect(try await store.apply(expecting: [.nothingUnderRoot(version: 3)]) == .committed)
            for table in SealedTable.allCases {
                for row in try await store.sealedRows(table, notUnder: 2, after: nil, limit: 10) {
                    #expect(try await store.apply(expecting: [.nothingUnderRoot(version: 1)]) == .conflict, "\(table)")
                    let new = Self.sealed(2, 7, offset: try #require(table.offset(in: row.value)))
                    try await store.apply(.reseal(table, id: row.id, old: row.value, new: new))
                }
            }
            let retired = StoreWrite.updateRootKey(Sample.root(1, .retired))
            #expect(try await store.apply(retired, expecting: [.nothingUnderRoot(version: 1)]) == .committed)
        }
    }

    @Test(
        "wraps come, change and go with their version; only an inert version is deleted", arguments: StoreKind.allCases)
    func wraps(_ kind: StoreKind) async throws {
        try await kind.withStore { store async throws in
            var root = Sample.root(1, .active)
            try await store.apply(.insertRootKey(root))
            root.wraps = ["kek b": [5], "escrow 1": [9, 9], "kek a": []]
            #expect(try await store.apply(.updateRootKey(root)) == .committed)
            #expect(try await store.rootKeys() == [root])
            #expect(root.keks == ["a", "b"])
            #expect(try await store.apply(.deleteRootKey(version: 1)) == .conflict)
            #expect(try await store.rootKeys() == [root])
            try await store.apply(.insertRootKey(Sample.root(2, .inert)))
            #expect(try await store.apply(.deleteRootKey(version: 2)) == .committed)
            #expect(try await store.apply(.deleteRootKey(version: 2)) == .conflict)
            root.state = .destroyed
            root.wraps = [:]
            #expect(try await store.apply(.updateRootKey(root)) == .committed)
            #expect(try await store.rootKeys() == [root])
        }
    }
}
