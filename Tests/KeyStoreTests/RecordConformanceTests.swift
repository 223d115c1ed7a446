import KeyStore
import Testing
import WireText

/// What every store keeps and finds, whichever database is below.
@Suite struct RecordConformanceTests {
    @Test("every kind of record comes back as it was put", arguments: StoreKind.allCases)
    func roundTrip(_ kind: StoreKind) async throws {
        try await kind.withStore { store async throws in
            let key = Sample.key(1, resource: 50, boundAt: 7)
            let unbound = Sample.key(2)
            let resource = ResourceRecord(id: Sample.id(50), deletedAt: Sample.time(9), sealed: [UInt8](0...255))
            let authorization = Sample.authorization(60, resource: 50, user: 1, order: -3, removedAt: 4)
            let kek = Sample.kek(19_000, lastExpiry: 500)
            var session = Sample.session(70, kek: 19_000, expires: 400)
            session.lastCounter = 1 << 53
            let entry = Sample.ledger(1)
            let root = Sample.root(1, .active)
            #expect(
                try await store.apply(
                    .insertResource(resource), .insertKey(key), .insertKey(unbound),
                    .insertAuthorization(authorization), .insertSessionKEK(kek), .insertSession(session),
                    .insertLedger(entry), .insertRootKey(root), .putSetting(name: "a", value: [])) == .committed)
            #expect(try await store.key(key.id) == key)
            #expect(try await store.key(unbound.id) == unbound)
            #expect(try await store.resource(resource.id) == resource)
            #expect(try await store.authorization(authorization.id) == authorization)
            #expect(try await store.sessionKEK(19_000) == kek)
            #expect(try await store.session(session.id) == session)
            #expect(try await store.ledgerEntry(entry.digest) == entry)
            #expect(try await store.rootKeys() == [root])
            #expect(try await store.setting("a") == [])
        }
    }

    @Test("what is not there, and what has no right form, is nil", arguments: StoreKind.allCases)
    func absent(_ kind: StoreKind) async throws {
        try await kind.withStore { store async throws in
            try await store.apply(.insertResource(Sample.resource(0xABC)), .insertKey(Sample.key(0xABC)))
            for id in [
                Sample.id(2), "", "x", Sample.id(0xABC).uppercased(), Sample.id(0xABC) + "0",
                String(Sample.id(0xABC).dropLast()), "kms://host/keys/" + Sample.id(0xABC),
                Sample.id(0xABC).replacing("-", with: "0"), "ü" + Sample.id(0xABC).dropFirst(2),
            ] {
                #expect(try await store.key(id) == nil)
                #expect(try await store.resource(id) == nil)
                #expect(try await store.authorization(id) == nil)
                #expect(try await store.session(id) == nil)
                #expect(try await store.keys(ofResource: id) == [])
                #expect(try await store.authorizations(ofResource: id) == [])
                #expect(try await store.authorization(ofResource: id, lookup: Sample.lookup(1)) == nil)
                #expect(try await store.lastRemoval(ofResource: id, lookup: Sample.lookup(1)) == nil)
            }
            #expect(try await store.ledgerEntry([]) == nil)
            #expect(try await store.ledgerEntry(Sample.digest(1)) == nil)
            #expect(try await store.sessionKEK(.max) == nil)
            #expect(try await store.setting("") == nil)
            #expect(try await store.sessions(ofUser: [], liveAt: Sample.time(0)) == 0)
        }
    }

    @Test("a store is empty until it holds a record, and checking it leaves none", arguments: StoreKind.allCases)
    func emptiness(_ kind: StoreKind) async throws {
        for write in [
            StoreWrite.insertKey(Sample.key(1)), .insertResource(Sample.resource(1)),
            .insertSessionKEK(Sample.kek(1)), .insertLedger(Sample.ledger(1)),
            .insertRootKey(Sample.root(1, .inert)), .putSetting(name: "a", value: [1]),
        ] {
            try await kind.withStore { store async throws in
                // It waits for two seconds, and all tests at once may keep a server busy for longer.
                try await PostgreSQLLeaseTests.until { (try? await store.check()) != nil }
                #expect(try await store.isEmpty())
                try await store.apply(write)
                #expect(try await !store.isEmpty())
            }
        }
    }

    @Test("keys of a resource come newest first, within the bounds, the oldest cut", arguments: StoreKind.allCases)
    func keysOfResource(_ kind: StoreKind) async throws {
        try await kind.withStore { store async throws in
            try await store.apply(.insertResource(Sample.resource(50)), .insertResource(Sample.resource(51)))
            for (number, boundAt) in [(1, 10), (2, 30), (3, 20), (4, 20), (5, -5)] {
                try await store.apply(.insertKey(Sample.key(number, resource: 50, boundAt: Int64(boundAt))))
            }
            try await store.apply(.insertKey(Sample.key(6)), .insertKey(Sample.key(7, resource: 51, boundAt: 20)))
            func numbers(_ from: Int64?, _ before: Int64?, _ limit: Int?) async throws -> [String] {
                try await store.keys(
                    ofResource: Sample.id(50), from: from.map { Sample.time($0) },
                    before: before.map { Sample.time($0) },
                    limit: limit
                ).map(\.id)
            }
            #expect(try await numbers(nil, nil, nil) == [2, 4, 3, 1, 5].map { Sample.id($0) })
            #expect(try await numbers(20, nil, nil) == [2, 4, 3].map { Sample.id($0) })
            #expect(try await numbers(10, 30, nil) == [4, 3, 1].map { Sample.id($0) })
            #expect(try await numbers(nil, nil, 2) == [2, 4].map { Sample.id($0) })
            #expect(try await numbers(nil, nil, 0) == [])
            #expect(try await numbers(nil, nil, -1) == [])
            #expect(try await numbers(30, 20, nil) == [])
        }
    }

    @Test("binding moves a key to its resource", arguments: StoreKind.allCases)
    func binding(_ kind: StoreKind) async throws {
        try await kind.withStore { store async throws in
            try await store.apply(.insertResource(Sample.resource(50)), .insertKey(Sample.key(1)))
            #expect(try await store.keys(ofResource: Sample.id(50)) == [])
            let bound = Sample.key(1, version: 2, resource: 50, boundAt: 3)
            #expect(try await store.apply(.updateKey(bound)) == .committed)
            #expect(try await store.keys(ofResource: Sample.id(50)) == [bound])
        }
    }

    @Test(
        "authorizations are found by lookup while live, listed in order, kept when removed",
        arguments: StoreKind.allCases)
    func authorizations(_ kind: StoreKind) async throws {
        try await kind.withStore { store async throws in
            let resource = Sample.id(50)
            try await store.apply(.insertResource(Sample.resource(50)), .insertResource(Sample.resource(51)))
            let alice = Sample.authorization(1, resource: 50, user: 1, order: 2)
            let bob = Sample.authorization(2, resource: 50, user: 2, order: 1)
            let elsewhere = Sample.authorization(3, resource: 51, user: 1)
            try await store.apply(
                .insertAuthorization(alice), .insertAuthorization(bob), .insertAuthorization(elsewhere))
            #expect(try await store.authorization(ofResource: resource, lookup: Sample.lookup(1)) == alice)
            #expect(try await store.authorizations(ofResource: resource) == [bob, alice])
            #expect(try await store.lastRemoval(ofResource: resource, lookup: Sample.lookup(1)) == nil)

            let removed = Sample.authorization(1, version: 2, resource: 50, user: 1, order: 2, removedAt: 10)
            #expect(try await store.apply(.updateAuthorization(removed)) == .committed)
            #expect(try await store.authorization(ofResource: resource, lookup: Sample.lookup(1)) == nil)
            #expect(try await store.authorization(alice.id) == removed)
            #expect(try await store.authorizations(ofResource: resource) == [bob])
            #expect(try await store.authorizations(ofResource: resource, includingRemoved: true) == [bob, removed])
            #expect(try await store.lastRemoval(ofResource: resource, lookup: Sample.lookup(1)) == removed)

            let again = Sample.authorization(4, resource: 50, user: 1, order: 3)
            #expect(try await store.apply(.insertAuthorization(again)) == .committed)
            #expect(try await store.authorization(ofResource: resource, lookup: Sample.lookup(1)) == again)
            let later = Sample.authorization(4, version: 2, resource: 50, user: 1, order: 3, removedAt: 11)
            try await store.apply(.updateAuthorization(later))
            #expect(try await store.lastRemoval(ofResource: resource, lookup: Sample.lookup(1)) == later)
        }
    }

    @Test("live sessions of a user are counted up to their expiry", arguments: StoreKind.allCases)
    func sessionCount(_ kind: StoreKind) async throws {
        try await kind.withStore { store async throws in
            try await store.apply(
                .insertSessionKEK(Sample.kek(1)), .insertSession(Sample.session(1, kek: 1, user: 1, expires: 10)),
                .insertSession(Sample.session(2, kek: 1, user: 1, expires: 20)),
                .insertSession(Sample.session(3, kek: 1, user: 2, expires: 20)))
            #expect(try await store.sessions(ofUser: Sample.lookup(1), liveAt: Sample.time(9)) == 2)
            #expect(try await store.sessions(ofUser: Sample.lookup(1), liveAt: Sample.time(10)) == 1)
            #expect(try await store.sessions(ofUser: Sample.lookup(1), liveAt: Sample.time(20)) == 0)
        }
    }

    @Test("a closed store says so and closing again is harmless", arguments: StoreKind.allCases)
    func closing(_ kind: StoreKind) async throws {
        try await kind.withStore { store async throws in
            await store.close()
            await store.close()
            #expect(await code { _ = try await store.key(Sample.id(1)) } == .storeClosed)
            #expect(await code { _ = try await store.rootKeys() } == .storeClosed)
            #expect(await code { try await store.apply(.insertKey(Sample.key(1))) } == .storeClosed)
            #expect(await code { try await store.check() } == .storeClosed)
        }
    }

    @Test("a key comes with the live authorization of its own resource only", arguments: StoreKind.allCases)
    func keyWithAuthorization(_ kind: StoreKind) async throws {
        try await kind.withStore { store async throws in
            try await store.apply(
                .insertResource(Sample.resource(50)), .insertResource(Sample.resource(51)),
                .insertKey(Sample.key(1, resource: 50)), .insertKey(Sample.key(2)),
                .insertAuthorization(Sample.authorization(60, resource: 50, user: 1, removedAt: 5)),
                .insertAuthorization(Sample.authorization(61, resource: 51, user: 1)),
                .insertAuthorization(Sample.authorization(62, resource: 50, user: 2)))
            func found(_ key: Int, _ user: Int) async throws -> KeyWithGrant? {
                try await store.key(Sample.id(key)) { resource in
                    // The lookup is asked for the resource of the key, and for no other.
                    resource == Sample.id(50) ? Sample.lookup(user) : Sample.lookup(99)
                }
            }
            // Removed there, and live elsewhere: neither lets anybody in.
            #expect(try await found(1, 1)?.key == Sample.key(1, resource: 50))
            #expect(try await found(1, 1)?.authorization == nil)
            #expect(try await found(1, 2)?.authorization?.id == Sample.id(62))
            #expect(try await found(1, 2)?.resource == Sample.resource(50))
            #expect(try await found(2, 2)?.resource == nil)
            #expect(try await found(2, 2)?.key == Sample.key(2))
            #expect(try await found(2, 2)?.authorization == nil)
            #expect(try await found(3, 2) == nil)
            // Granted again: the live one, not the removed one.
            try await store.apply(.insertAuthorization(Sample.authorization(63, resource: 50, user: 1)))
            #expect(try await found(1, 1)?.authorization?.id == Sample.id(63))
            // The key moves to the other resource.
            try await store.apply(.updateKey(Sample.key(1, version: 2, resource: 51)))
            #expect(try await found(1, 1)?.authorization == nil)
        }
    }
}
