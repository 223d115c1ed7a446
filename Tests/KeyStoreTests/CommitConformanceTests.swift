import KeyStore
import Testing
import WireText

/// What a commit means, whichever database is below.
@Suite struct CommitConformanceTests {
    @Test("an update needs the version before", arguments: StoreKind.allCases)
    func versions(_ kind: StoreKind) async throws {
        try await kind.withStore { store async throws in
            try await store.apply(
                .insertResource(Sample.resource(50)), .insertKey(Sample.key(1)),
                .insertAuthorization(Sample.authorization(60, resource: 50, user: 1)))
            for version in [Int64(1), 3] {
                #expect(try await store.apply(.updateKey(Sample.key(1, version: version))) == .conflict)
                #expect(try await store.apply(.updateResource(Sample.resource(50, version: version))) == .conflict)
                let authorization = Sample.authorization(60, version: version, resource: 50, user: 1)
                #expect(try await store.apply(.updateAuthorization(authorization)) == .conflict)
            }
            #expect(try await store.apply(.updateKey(Sample.key(2, version: 2))) == .conflict)
            #expect(try await store.key(Sample.id(1)) == Sample.key(1))
            #expect(try await store.apply(.updateKey(Sample.key(1, version: 2))) == .committed)
            #expect(try await store.apply(.updateResource(Sample.resource(50, version: 2))) == .committed)
            #expect(try await store.key(Sample.id(1))?.version == 2)
        }
    }

    @Test("what is there can not be inserted again", arguments: StoreKind.allCases)
    func insertTwice(_ kind: StoreKind) async throws {
        try await kind.withStore { store async throws in
            let writes: [StoreWrite] = [
                .insertResource(Sample.resource(50)), .insertKey(Sample.key(1)),
                .insertAuthorization(Sample.authorization(60, resource: 50, user: 1)),
                .insertSessionKEK(Sample.kek(5)), .insertSession(Sample.session(70, kek: 5)),
                .insertRootKey(Sample.root(1, .active)),
            ]
            #expect(try await store.commit(StoreChange(writes: writes)) == .committed)
            for write in writes { #expect(try await store.apply(write) == .conflict) }
        }
    }

    @Test("an expectation that does not hold stops the change", arguments: StoreKind.allCases)
    func expectations(_ kind: StoreKind) async throws {
        try await kind.withStore { store async throws in
            try await store.apply(
                .insertResource(Sample.resource(50)), .insertKey(Sample.key(1)), .insertSessionKEK(Sample.kek(1)),
                .insertSession(Sample.session(70, kek: 1)))
            let setting = StoreWrite.putSetting(name: "a", value: [1])
            for wrong: StoreExpectation in [
                .resource(id: Sample.id(50), version: 2), .resource(id: Sample.id(51), version: 1),
                .key(id: Sample.id(1), version: 2), .key(id: Sample.id(50), version: 1),
                .session(id: Sample.id(71)), .setting(name: "a", value: [1]), .setting(name: "a", value: []),
            ] {
                #expect(try await store.apply(setting, expecting: [wrong]) == .conflict)
                #expect(
                    try await store.apply(setting, expecting: [.session(id: Sample.id(70)), wrong]) == .conflict)
            }
            #expect(try await store.setting("a") == nil)
            #expect(
                try await store.apply(
                    setting,
                    expecting: [
                        .resource(id: Sample.id(50), version: 1), .key(id: Sample.id(1), version: 1),
                        .session(id: Sample.id(70)), .setting(name: "a", value: nil),
                    ]) == .committed)
            #expect(try await store.setting("a") == [1])
            let next = StoreWrite.putSetting(name: "a", value: [2])
            for wrong: [UInt8]? in [nil, [], [2], [1, 1]] {
                #expect(
                    try await store.apply(next, expecting: [.setting(name: "a", value: wrong)]) == .conflict)
            }
            #expect(try await store.apply(next, expecting: [.setting(name: "a", value: [1])]) == .committed)
            #expect(try await store.setting("a") == [2])
        }
    }

    @Test("a change happens all or not at all", arguments: StoreKind.allCases)
    func atomicity(_ kind: StoreKind) async throws {
        try await kind.withStore { store async throws in
            try await store.apply(
                .insertResource(Sample.resource(50)), .insertResource(Sample.resource(51)),
                .insertKey(Sample.key(1)), .insertAuthorization(Sample.authorization(60, resource: 50, user: 1)),
                .insertSessionKEK(Sample.kek(1)), .insertSession(Sample.session(70, kek: 1)),
                .insertRootKey(Sample.root(1, .active)), .putSetting(name: "a", value: [1]),
                .insertLedger(Sample.ledger(5, expires: 1)))
            let everything: [StoreWrite] = [
                .updateKey(Sample.key(1, version: 2, resource: 50)), .insertKey(Sample.key(2, resource: 50)),
                .updateResource(Sample.resource(50, version: 2)), .insertResource(Sample.resource(52)),
                .updateAuthorization(Sample.authorization(60, version: 2, resource: 51, user: 1, removedAt: 1)),
                .insertAuthorization(Sample.authorization(61, resource: 50, user: 1)),
                .advanceSession(id: Sample.id(70), counter: 5), .deleteSession(id: Sample.id(70)),
                .insertSession(Sample.session(71, kek: 1, expires: 5_000)), .insertSessionKEK(Sample.kek(2)),
                .putSetting(name: "a", value: [2]), .putSetting(name: "b", value: [2]),
                .updateRootKey(Sample.root(1, .retired)), .insertRootKey(Sample.root(2, .active)),
                .insertLedger(Sample.ledger(6)), .purgeExpired(now: Sample.time(2)),
            ]
            let impossible = StoreWrite.updateKey(Sample.key(99, version: 2))
            #expect(try await store.commit(StoreChange(writes: everything + [impossible])) == .conflict)
            #expect(try await store.key(Sample.id(1)) == Sample.key(1))
            #expect(try await store.key(Sample.id(2)) == nil)
            #expect(try await store.keys(ofResource: Sample.id(50)) == [])
            #expect(try await store.resource(Sample.id(50))?.version == 1)
            #expect(try await store.resource(Sample.id(52)) == nil)
            let alice = Sample.authorization(60, resource: 50, user: 1)
            #expect(try await store.authorization(ofResource: Sample.id(50), lookup: Sample.lookup(1)) == alice)
            #expect(try await store.authorizations(ofResource: Sample.id(50), includingRemoved: true) == [alice])
            #expect(try await store.authorizations(ofResource: Sample.id(51), includingRemoved: true) == [])
            #expect(try await store.session(Sample.id(70))?.lastCounter == 0)
            #expect(try await store.session(Sample.id(71)) == nil)
            #expect(try await store.sessionKEK(1) == Sample.kek(1, lastExpiry: 100))
            #expect(try await store.sessionKEK(2) == nil)
            #expect(try await store.setting("a") == [1])
            #expect(try await store.setting("b") == nil)
            #expect(try await store.rootKeys() == [Sample.root(1, .active)])
            #expect(try await store.ledgerEntry(Sample.digest(5)) != nil)
            #expect(try await store.ledgerEntry(Sample.digest(6)) == nil)
            // The same without the impossible part, so that the test can tell the two apart.
            #expect(try await store.commit(StoreChange(writes: everything)) == .committed)
            #expect(
                try await store.authorization(ofResource: Sample.id(50), lookup: Sample.lookup(1))?.id == Sample.id(61))
            #expect(try await store.ledgerEntry(Sample.digest(5)) == nil)
        }
    }

    @Test("a request that is in the ledger is a duplicate, whatever else would conflict", arguments: StoreKind.allCases)
    func duplicates(_ kind: StoreKind) async throws {
        try await kind.withStore { store async throws in
            let change = StoreChange(
                writes: [.insertKey(Sample.key(1)), .insertLedger(Sample.ledger(1))], expectations: [])
            #expect(try await store.commit(change) == .committed)
            #expect(try await store.commit(change) == .duplicate)
            var other = Sample.ledger(1, session: 901, expires: 900)
            other.sealedAnswer = [9, 9]
            #expect(
                try await store.apply(
                    .insertKey(Sample.key(2)), .insertLedger(other),
                    expecting: [.resource(id: Sample.id(77), version: 1)]) == .duplicate)
            #expect(try await store.key(Sample.id(2)) == nil)
            #expect(try await store.ledgerEntry(Sample.digest(1)) == Sample.ledger(1))
        }
    }

    @Test("a resource has one live authorization per lookup", arguments: StoreKind.allCases)
    func oneLiveAuthorization(_ kind: StoreKind) async throws {
        try await kind.withStore { store async throws in
            try await store.apply(
                .insertResource(Sample.resource(50)),
                .insertAuthorization(Sample.authorization(1, resource: 50, user: 1)))
            #expect(
                try await store.apply(.insertAuthorization(Sample.authorization(2, resource: 50, user: 1))) == .conflict
            )
            #expect(
                try await store.apply(
                    .insertAuthorization(Sample.authorization(3, resource: 50, user: 1, removedAt: 1))) == .committed)
            // Bringing the removed one back would make two.
            #expect(
                try await store.apply(
                    .updateAuthorization(Sample.authorization(3, version: 2, resource: 50, user: 1))) == .conflict)
            // Replacing one by another in the same change does not.
            #expect(
                try await store.apply(
                    .updateAuthorization(Sample.authorization(1, version: 2, resource: 50, user: 1, removedAt: 2)),
                    .insertAuthorization(Sample.authorization(4, resource: 50, user: 1))) == .committed)
        }
    }

    @Test("what a record names must be there", arguments: StoreKind.allCases)
    func references(_ kind: StoreKind) async throws {
        try await kind.withStore { store async throws in
            try await store.apply(.insertKey(Sample.key(1)))
            #expect(try await store.apply(.insertKey(Sample.key(2, resource: 50))) == .conflict)
            #expect(try await store.apply(.updateKey(Sample.key(1, version: 2, resource: 50))) == .conflict)
            #expect(
                try await store.apply(.insertAuthorization(Sample.authorization(60, resource: 50, user: 1)))
                    == .conflict)
            #expect(try await store.apply(.insertSession(Sample.session(70, kek: 1))) == .conflict)
            // In one change the order decides.
            #expect(
                try await store.apply(.insertKey(Sample.key(3, resource: 50)), .insertResource(Sample.resource(50)))
                    == .conflict)
            #expect(
                try await store.apply(.insertResource(Sample.resource(50)), .insertKey(Sample.key(3, resource: 50)))
                    == .committed)
        }
    }

    @Test("a session's counter only rises", arguments: StoreKind.allCases)
    func counters(_ kind: StoreKind) async throws {
        try await kind.withStore { store async throws in
            try await store.apply(.insertSessionKEK(Sample.kek(1)), .insertSession(Sample.session(70, kek: 1)))
            #expect(try await store.apply(.advanceSession(id: Sample.id(70), counter: 5)) == .committed)
            for counter in [Int64(1), 4, 5] {
                #expect(try await store.apply(.advanceSession(id: Sample.id(70), counter: counter)) == .conflict)
            }
            #expect(try await store.session(Sample.id(70))?.lastCounter == 5)
            #expect(try await store.apply(.advanceSession(id: Sample.id(70), counter: 6)) == .committed)
            #expect(try await store.apply(.advanceSession(id: Sample.id(71), counter: 1)) == .conflict)
            #expect(try await store.apply(.deleteSession(id: Sample.id(70))) == .committed)
            #expect(try await store.apply(.deleteSession(id: Sample.id(70))) == .committed)
            #expect(try await store.session(Sample.id(70)) == nil)
        }
    }

    @Test("one root key is active; promotion retires the old one in the same change", arguments: StoreKind.allCases)
    func rootKeys(_ kind: StoreKind) async throws {
        try await kind.withStore { store async throws in
            try await store.apply(.insertRootKey(Sample.root(1, .active)))
            #expect(try await store.apply(.insertRootKey(Sample.root(2, .active))) == .conflict)
            #expect(try await store.apply(.insertRootKey(Sample.root(2, .inert))) == .committed)
            #expect(try await store.apply(.updateRootKey(Sample.root(2, .active))) == .conflict)
            #expect(try await store.apply(.updateRootKey(Sample.root(3, .inert))) == .conflict)
            #expect(
                try await store.apply(
                    .updateRootKey(Sample.root(1, .retired)), .updateRootKey(Sample.root(2, .active))) == .committed)
            #expect(try await store.rootKeys().map(\.state) == [.retired, .active])
        }
    }

    @Test("settings are replaced", arguments: StoreKind.allCases)
    func settings(_ kind: StoreKind) async throws {
        try await kind.withStore { store async throws in
            try await store.apply(.putSetting(name: "a", value: [1]))
            try await store.apply(.putSetting(name: "a", value: [2, 3]), .putSetting(name: "A", value: [4]))
            #expect(try await store.setting("a") == [2, 3])
            #expect(try await store.setting("A") == [4])
        }
    }

    @Test("a change without writes is committed", arguments: StoreKind.allCases)
    func emptyChange(_ kind: StoreKind) async throws {
        try await kind.withStore { store async throws in
            #expect(try await store.commit(StoreChange()) == .committed)
            #expect(try await store.isEmpty())
        }
    }

    @Test("a malformed change is refused before any effect", arguments: StoreKind.allCases)
    func malformed(_ kind: StoreKind) async throws {
        try await kind.withStore { store async throws in
            var shortLookup = Sample.authorization(1, resource: 50, user: 1)
            shortLookup.lookup.removeLast()
            var shortDigest = Sample.ledger(1)
            shortDigest.digest.removeLast()
            var halfBound = Sample.key(1)
            halfBound.boundAt = Sample.time(1)
            var badSession = Sample.session(1, kek: 1)
            badSession.user = []
            let malformed: [StoreWrite] = [
                .insertKey(KeyRecord(id: "k1", sealed: [])),
                .insertKey(KeyRecord(id: Sample.id(1), version: 0, sealed: [])),
                .updateKey(halfBound), .insertResource(ResourceRecord(id: "", sealed: [])),
                .insertResource(ResourceRecord(id: Sample.id(0xA).uppercased(), sealed: [])),
                .insertAuthorization(shortLookup), .insertLedger(shortDigest), .insertSession(badSession),
                .deleteSession(id: "x"), .advanceSession(id: Sample.id(1), counter: 0),
                .insertRootKey(Sample.root(0, .inert)), .putSetting(name: "", value: []),
            ]
            for write in malformed {
                #expect(
                    await code { try await store.apply(.insertKey(Sample.key(1)), write) } == .storeChangeMalformed)
            }
            for expectation: StoreExpectation in [
                .resource(id: "x", version: 1), .key(id: Sample.id(1), version: 0), .setting(name: "", value: nil),
            ] {
                #expect(await code { try await store.apply(expecting: [expectation]) } == .storeChangeMalformed)
            }
            #expect(try await store.isEmpty())
        }
    }
}
