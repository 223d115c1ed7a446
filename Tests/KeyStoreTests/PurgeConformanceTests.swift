import KeyStore
import Testing
import WireText

/// How what has expired leaves a store, whichever database is below.
@Suite struct PurgeConformanceTests {
    @Test("what ended goes, what lives stays", arguments: StoreKind.allCases)
    func purge(_ kind: StoreKind) async throws {
        try await kind.withStore { store async throws in
            try await store.apply(
                .insertSessionKEK(Sample.kek(1)), .insertSessionKEK(Sample.kek(2, lastExpiry: 300)),
                .insertSession(Sample.session(70, kek: 1, expires: 100)),
                .insertSession(Sample.session(71, kek: 1, expires: 200)),
                .insertLedger(Sample.ledger(1, expires: 100)), .insertLedger(Sample.ledger(2, expires: 101)),
                .insertKey(Sample.key(1)))
            #expect(try await !store.hasExpired(at: Sample.time(99)))
            #expect(try await store.hasExpired(at: Sample.time(100)))
            try await store.purgeExpired(now: Sample.time(100))
            #expect(try await !store.hasExpired(at: Sample.time(100)))
            #expect(try await store.session(Sample.id(70)) == nil)
            #expect(try await store.session(Sample.id(71)) != nil)
            #expect(try await store.ledgerEntry(Sample.digest(1)) == nil)
            #expect(try await store.ledgerEntry(Sample.digest(2)) != nil)
            #expect(try await store.key(Sample.id(1)) != nil)
        }
    }

    @Test("a session KEK lives until the last expiry of what it sealed", arguments: StoreKind.allCases)
    func sessionKEK(_ kind: StoreKind) async throws {
        try await kind.withStore { store async throws in
            try await store.apply(.insertSessionKEK(Sample.kek(1, lastExpiry: 50)))
            try await store.apply(.insertSession(Sample.session(70, kek: 1, expires: 200)))
            try await store.apply(.insertSession(Sample.session(71, kek: 1, expires: 150)))
            #expect(try await store.sessionKEK(1)?.lastExpiry == Sample.time(200))
            // Ended early: the KEK stays for what else it may have sealed until then.
            try await store.apply(.deleteSession(id: Sample.id(70)), .deleteSession(id: Sample.id(71)))
            try await store.purgeExpired(now: Sample.time(199))
            #expect(try await store.sessionKEK(1) != nil)
            try await store.purgeExpired(now: Sample.time(200))
            #expect(try await store.sessionKEK(1) == nil)
            #expect(try await store.apply(.insertSession(Sample.session(72, kek: 1))) == .conflict)
        }
    }

    @Test("one purge deletes a bounded number of rows, repeating it the rest", arguments: StoreKind.allCases)
    func bounded(_ kind: StoreKind) async throws {
        try await kind.withStore { store async throws in
            let count = StoreChange.purgeLimit + 10
            _ = try await store.commit(
                StoreChange(writes: (0..<count).map { .insertLedger(Sample.ledger($0, expires: Int64($0))) }))
            try await store.apply(.purgeExpired(now: Sample.time(100_000)))
            // The oldest went first.
            #expect(try await store.ledgerEntry(Sample.digest(StoreChange.purgeLimit - 1)) == nil)
            #expect(try await store.ledgerEntry(Sample.digest(StoreChange.purgeLimit)) != nil)
            try await store.purgeExpired(now: Sample.time(100_000))
            #expect(try await store.ledgerEntry(Sample.digest(count - 1)) == nil)
        }
    }
}
