import KeyStore
import Testing
import WireText

/// Walks, audit records, erasure and expected settings, whichever database is below.
@Suite struct ScanConformanceTests {
    @Test("a walk comes through every resource once, deleted ones included", arguments: StoreKind.allCases)
    func walk(_ kind: StoreKind) async throws {
        try await kind.withStore { store async throws in
            for number in [5, 3, 9, 1, 7] { try await store.apply(.insertResource(Sample.resource(number))) }
            try await store.apply(.updateResource(deleted(7, at: 10)))
            var seen: [String] = []
            var last: String?
            while true {
                let page = try await store.resources(after: last, limit: 2)
                guard let end = page.last else { break }
                #expect(page.count <= 2)
                seen += page.map(\.id)
                last = end.id
            }
            #expect(seen == [1, 3, 5, 7, 9].map { Sample.id($0) })
        }
    }

    @Test("deleted resources are found by when they were deleted, longest ago first", arguments: StoreKind.allCases)
    func deletedResources(_ kind: StoreKind) async throws {
        try await kind.withStore { store async throws in
            for number in 1...4 { try await store.apply(.insertResource(Sample.resource(number))) }
            for (number, moment) in [(1, Int64(30)), (2, 10), (3, 20)] {
                try await store.apply(.updateResource(deleted(number, at: moment)))
            }
            func found(_ until: Int64, _ limit: Int = 10) async throws -> [String] {
                try await store.deletedResources(until: Sample.time(until), limit: limit).map(\.id)
            }
            #expect(try await found(9) == [])
            #expect(try await found(20) == [Sample.id(2), Sample.id(3)])
            #expect(try await found(100) == [Sample.id(2), Sample.id(3), Sample.id(1)])
            #expect(try await found(100, 1) == [Sample.id(2)])
        }
    }

    @Test("removed authorizations are found by when they were, and erased one by one", arguments: StoreKind.allCases)
    func removedAuthorizations(_ kind: StoreKind) async throws {
        try await kind.withStore { store async throws in
            try await store.apply(
                .insertResource(Sample.resource(1)),
                .insertAuthorization(Sample.authorization(20, resource: 1, user: 1)),
                .insertAuthorization(Sample.authorization(21, resource: 1, user: 2, removedAt: 30)),
                .insertAuthorization(Sample.authorization(22, resource: 1, user: 2, removedAt: 10)),
                .insertAuthorization(Sample.authorization(23, resource: 1, user: 2)))
            func found(_ until: Int64, _ limit: Int = 10) async throws -> [String] {
                try await store.removedAuthorizations(until: Sample.time(until), limit: limit).map(\.id)
            }
            #expect(try await found(9) == [])
            #expect(try await found(30) == [Sample.id(22), Sample.id(21)])
            #expect(try await found(30, 1) == [Sample.id(22)])
            func erase(_ number: Int, _ version: Int64 = 1) async throws -> CommitResult {
                try await store.apply(.eraseAuthorization(id: Sample.id(number), version: version))
            }
            #expect(try await erase(20) == .conflict, "it is not removed")
            #expect(try await erase(22, 2) == .conflict, "another version")
            #expect(try await erase(24) == .conflict, "there is none")
            #expect(try await erase(22) == .committed)
            #expect(try await found(30) == [Sample.id(21)])
            #expect(try await store.authorization(Sample.id(22)) == nil)
            let left = try await store.authorizations(ofResource: Sample.id(1), includingRemoved: true).map(\.id)
            #expect(Set(left) == Set([20, 21, 23].map { Sample.id($0) }))
            // A refused change brings back what an earlier write of it had erased.
            let both = try await store.apply(
                .eraseAuthorization(id: Sample.id(21), version: 1), .eraseAuthorization(id: Sample.id(20), version: 1))
            #expect(both == .conflict)
            #expect(try await found(30) == [Sample.id(21)])
        }
    }

    @Test("erasing takes the resource with all that hangs on it, and nothing else", arguments: StoreKind.allCases)
    func erase(_ kind: StoreKind) async throws {
        try await kind.withStore { store async throws in
            try await store.apply(
                .insertResource(Sample.resource(1)), .insertResource(Sample.resource(2)),
                .insertKey(Sample.key(10, resource: 1)), .insertKey(Sample.key(11, resource: 1)),
                .insertKey(Sample.key(12, resource: 2)), .insertKey(Sample.key(13)),
                .insertAuthorization(Sample.authorization(20, resource: 1, user: 1)),
                .insertAuthorization(Sample.authorization(21, resource: 1, user: 2, removedAt: 5)),
                .insertAuthorization(Sample.authorization(22, resource: 2, user: 1)))
            let erase = StoreWrite.eraseResource(id: Sample.id(1), version: 2)
            #expect(try await store.apply(erase) == .conflict, "it is not deleted")
            try await store.apply(.updateResource(deleted(1, at: 5)))
            #expect(
                try await store.apply(.eraseResource(id: Sample.id(1), version: 1)) == .conflict, "another version")
            #expect(try await store.key(Sample.id(10)) != nil)
            #expect(try await store.apply(erase) == .committed)
            for gone in [10, 11] { #expect(try await store.key(Sample.id(gone)) == nil) }
            for gone in [20, 21] { #expect(try await store.authorization(Sample.id(gone)) == nil) }
            #expect(try await store.resource(Sample.id(1)) == nil)
            #expect(try await store.keys(ofResource: Sample.id(1)) == [])
            #expect(try await store.authorization(ofResource: Sample.id(1), lookup: Sample.lookup(1)) == nil)
            for kept in [12, 13] { #expect(try await store.key(Sample.id(kept)) != nil) }
            #expect(try await store.authorization(Sample.id(22)) != nil)
            #expect(try await store.apply(erase) == .conflict, "it is gone")
        }
    }

    @Test("a walk through a space's keys comes through each once, oldest first", arguments: StoreKind.allCases)
    func keysOfResource(_ kind: StoreKind) async throws {
        try await kind.withStore { store async throws in
            try await store.apply(
                .insertResource(Sample.resource(1)), .insertResource(Sample.resource(2)),
                .insertKey(Sample.key(13, resource: 1, boundAt: 5)),
                .insertKey(Sample.key(11, resource: 1, boundAt: 7)),
                .insertKey(Sample.key(12, resource: 1, boundAt: 5)),
                .insertKey(Sample.key(14, resource: 1, boundAt: -9)),
                .insertKey(Sample.key(15, resource: 2)), .insertKey(Sample.key(16)))
            var seen: [String] = []
            var last: KeyRecord?
            while true {
                let page = try await store.keys(ofResource: Sample.id(1), behind: last, limit: 3)
                guard let end = page.last else { break }
                #expect(page.count <= 3)
                seen += page.map(\.id)
                last = end
            }
            #expect(seen == [14, 12, 13, 11].map { Sample.id($0) })
            #expect(try await store.keys(ofResource: "none", behind: nil, limit: 3) == [])
            #expect(try await store.keys(ofResource: Sample.id(1), behind: nil, limit: 0) == [])
        }
    }

    @Test("a walk through unbound keys leaves bound ones out", arguments: StoreKind.allCases)
    func unboundKeys(_ kind: StoreKind) async throws {
        try await kind.withStore { store async throws in
            try await store.apply(
                .insertResource(Sample.resource(1)), .insertKey(Sample.key(12, resource: 1)),
                .insertKey(Sample.key(15)), .insertKey(Sample.key(11)), .insertKey(Sample.key(13)))
            let first = try await store.unboundKeys(after: nil, limit: 2)
            #expect(first.map(\.id) == [11, 13].map { Sample.id($0) })
            #expect(try await store.unboundKeys(after: first.last?.id, limit: 2) == [Sample.key(15)])
            #expect(try await store.unboundKeys(after: Sample.id(15), limit: 2) == [])
        }
    }

    @Test("a walk through sessions is over one user's or all, ended ones included", arguments: StoreKind.allCases)
    func sessions(_ kind: StoreKind) async throws {
        try await kind.withStore { store async throws in
            try await store.apply(
                .insertSessionKEK(Sample.kek(1)), .insertSession(Sample.session(73, kek: 1, user: 1)),
                .insertSession(Sample.session(71, kek: 1, user: 2)),
                .insertSession(Sample.session(72, kek: 1, user: 1, expires: -5)))
            func ids(_ user: Int?, _ after: String?, _ limit: Int = 10) async throws -> [String] {
                try await store.sessions(ofUser: user.map { Sample.lookup($0) }, after: after, limit: limit).map(\.id)
            }
            #expect(try await ids(nil, nil) == [71, 72, 73].map { Sample.id($0) })
            #expect(try await ids(1, nil) == [72, 73].map { Sample.id($0) })
            #expect(try await ids(1, Sample.id(72)) == [Sample.id(73)])
            #expect(try await ids(1, nil, 1) == [Sample.id(72)])
            #expect(try await ids(3, nil) == [])
            let whole = try await store.sessions(ofUser: Sample.lookup(2), after: nil, limit: 1)
            #expect(whole == [try #require(try await store.session(Sample.id(71)))])
        }
    }

    @Test("a key is erased at the version that is expected, bound or not", arguments: StoreKind.allCases)
    func eraseKey(_ kind: StoreKind) async throws {
        try await kind.withStore { store async throws in
            try await store.apply(
                .insertResource(Sample.resource(1)), .insertKey(Sample.key(11)), .insertKey(Sample.key(12, resource: 1))
            )
            #expect(try await store.apply(.eraseKey(id: Sample.id(11), version: 2)) == .conflict)
            #expect(
                try await store.apply(
                    .eraseKey(id: Sample.id(12), version: 1), .eraseKey(id: Sample.id(13), version: 1)) == .conflict)
            #expect(try await store.keys(ofResource: Sample.id(1)).count == 1, "the first came back with the second")
            for key in [11, 12] {
                #expect(try await store.apply(.eraseKey(id: Sample.id(key), version: 1)) == .committed)
                #expect(try await store.key(Sample.id(key)) == nil)
            }
            #expect(try await store.keys(ofResource: Sample.id(1)) == [])
            #expect(try await store.apply(.eraseKey(id: Sample.id(11), version: 1)) == .conflict)
        }
    }

    @Test("an expected setting is judged in the commit", arguments: StoreKind.allCases)
    func settings(_ kind: StoreKind) async throws {
        try await kind.withStore { store async throws in
            func commit(_ expected: [UInt8]?, _ value: [UInt8]) async throws -> CommitResult {
                try await store.commit(
                    StoreChange(
                        writes: [.putSetting(name: "holds", value: value)],
                        expectations: [.setting(name: "holds", value: expected)]))
            }
            #expect(try await commit([1], [2]) == .conflict)
            #expect(try await commit(nil, [1]) == .committed)
            #expect(try await commit(nil, [2]) == .conflict)
            #expect(try await commit([1], [2]) == .committed)
            #expect(try await store.setting("holds") == [2])
        }
    }

    @Test(
        "audit records come in the order of commits, behind a position, without the empty ones",
        arguments: StoreKind.allCases)
    func ledgerAudits(_ kind: StoreKind) async throws {
        try await kind.withStore { store async throws in
            #expect(try await store.ledgerPosition() == 0)
            for (number, audit) in [(1, [UInt8(1)]), (2, []), (3, [3]), (4, [4])] {
                var entry = Sample.ledger(number, expires: number == 3 ? 10 : 100)
                entry.audit = audit
                try await store.apply(.insertLedger(entry))
            }
            let all = try await store.ledgerAudits(after: 0, limit: 10)
            #expect(all.map(\.audit) == [[1], [3], [4]])
            #expect(all.map(\.position) == all.map(\.position).sorted())
            #expect(try await store.ledgerAudits(after: all[0].position, limit: 1).map(\.audit) == [[3]])
            #expect(try await store.ledgerPosition() == all[2].position)
            #expect(try await store.ledgerEntry(Sample.digest(3))?.audit == [3])
            try await store.purgeExpired(now: Sample.time(10))
            #expect(try await store.ledgerAudits(after: 0, limit: 10).map(\.audit) == [[1], [4]])
            try await store.purgeExpired(now: Sample.time(100))
            try await store.apply(.insertLedger(Sample.ledger(5, expires: 200)))
            #expect(try await store.ledgerPosition() > all[2].position, "a position never comes again")
        }
    }

    @Test(
        "a key and the authorization that a lookup finds on its resource come together", arguments: StoreKind.allCases)
    func keyWithAuthorization(_ kind: StoreKind) async throws {
        try await kind.withStore { store async throws in
            try await store.apply(
                .insertResource(Sample.resource(1)), .insertKey(Sample.key(10, resource: 1)),
                .insertKey(Sample.key(11)), .insertAuthorization(Sample.authorization(20, resource: 1, user: 1)))
            func find(_ key: Int, _ user: Int) async throws -> (String?, String?) {
                let found = try await store.key(Sample.id(key)) { resource in
                    resource == Sample.id(1) ? Sample.lookup(user) : []
                }
                return (found?.key.id, found?.authorization?.id)
            }
            #expect(try await find(10, 1) == (Sample.id(10), Sample.id(20)))
            #expect(try await find(10, 2) == (Sample.id(10), nil))
            #expect(try await find(11, 1) == (Sample.id(11), nil))
            #expect(try await find(12, 1) == (nil, nil))
            try await store.apply(
                .updateAuthorization(Sample.authorization(20, version: 2, resource: 1, user: 1, removedAt: 5)))
            #expect(try await find(10, 1) == (Sample.id(10), nil))
        }
    }

    private func deleted(_ number: Int, at moment: Int64) -> ResourceRecord {
        var resource = Sample.resource(number, version: 2)
        resource.deletedAt = Sample.time(moment)
        return resource
    }
}
