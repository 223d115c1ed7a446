import KeyStore
import Testing
import WireText

/// Random histories: the in-memory store is the model, the database must answer the same, step for step.
@Suite struct StoreModelTests {
    @Test(
        "a random history has the same outcomes and the same content in a database and in memory",
        arguments: StoreKind.databases, 1...8)
    func sameHistory(_ kind: StoreKind, _ round: Int) async throws {
        try await kind.withStore { database async throws in try await Self.compare(database) }
    }

    private static func compare(_ database: any KeyStore) async throws {
        let seed = UInt64.random(in: 0 ... .max)
        var generator = SplitMix(state: seed)
        let model = MemoryKeyStore()
        var seen: Set<CommitResult> = []
        for step in 1...250 {
            let change = try await History.change(model, &generator)
            let expected = try await model.commit(change)
            let result = try await database.commit(change)
            seen.insert(expected)
            try #require(result == expected, "seed \(seed), step \(step): \(change)")
        }
        for part in History.parts {
            #expect(try await part(database) == part(model), "seed \(seed)")
        }
        #expect(seen == [.committed, .conflict, .duplicate], "seed \(seed): the history was too tame")
    }
}

struct SplitMix: RandomNumberGenerator {
    var state: UInt64
    mutating func next() -> UInt64 {
        state &+= 0x9E37_79B9_7F4A_7C15
        var word = state
        word = (word ^ (word >> 30)) &* 0xBF58_476D_1CE4_E5B9
        word = (word ^ (word >> 27)) &* 0x94D0_49BB_1331_11EB
        return word ^ (word >> 31)
    }
}

enum History {
    /// Few ids, so that writes meet. Keys 0…, resources 100…, authorizations 200…, sessions 300….
    static let count = 5

    static func change(_ store: any KeyStore, _ generator: inout SplitMix) async throws -> StoreChange {
        var change = StoreChange()
        for _ in 0..<Int.random(in: 1...4, using: &generator) {
            change.writes.append(try await write(store, &generator))
        }
        if Int.random(in: 0..<3, using: &generator) == 0 {
            change.writes.append(.insertLedger(Sample.ledger(number(0, &generator) * 7, expires: seconds(&generator))))
        }
        if Int.random(in: 0..<4, using: &generator) == 0 {
            let resource = number(100, &generator)
            let version = try await store.resource(Sample.id(resource))?.version ?? 1
            change.expectations.append(.resource(id: Sample.id(resource), version: near(version, &generator)))
        }
        return change
    }

    private static func number(_ base: Int, _ generator: inout SplitMix) -> Int {
        base + Int.random(in: 0..<count, using: &generator)
    }
    private static func seconds(_ generator: inout SplitMix) -> Int64 { Int64.random(in: 0..<50, using: &generator) }
    /// Mostly right, so that histories get somewhere.
    private static func near(_ version: Int64, _ generator: inout SplitMix) -> Int64 {
        Int.random(in: 0..<6, using: &generator) == 0
            ? max(1, version + Int64.random(in: -1...1, using: &generator)) : version
    }

    private static func write(_ store: any KeyStore, _ generator: inout SplitMix) async throws -> StoreWrite {
        switch Int.random(in: 0..<15, using: &generator) {
        case 0: return .insertKey(Sample.key(number(0, &generator)))
        case 1:
            return .insertKey(
                Sample.key(number(0, &generator), resource: number(100, &generator), boundAt: seconds(&generator)))
        case 2, 3:
            let key = number(0, &generator)
            let version = near((try await store.key(Sample.id(key))?.version ?? 0) + 1, &generator)
            let resource = Bool.random(using: &generator) ? number(100, &generator) : nil
            return .updateKey(Sample.key(key, version: version, resource: resource, boundAt: seconds(&generator)))
        case 4: return .insertResource(Sample.resource(number(100, &generator)))
        case 5:
            let resource = number(100, &generator)
            let version = near((try await store.resource(Sample.id(resource))?.version ?? 0) + 1, &generator)
            return .updateResource(Sample.resource(resource, version: version))
        case 6, 7:
            return .insertAuthorization(
                Sample.authorization(
                    number(200, &generator), resource: number(100, &generator), user: number(0, &generator),
                    order: seconds(&generator)))
        case 8, 9:
            let authorization = number(200, &generator)
            let old = try await store.authorization(Sample.id(authorization))
            return .updateAuthorization(
                Sample.authorization(
                    authorization, version: near((old?.version ?? 0) + 1, &generator),
                    resource: number(100, &generator),
                    user: number(0, &generator), order: seconds(&generator),
                    removedAt: Bool.random(using: &generator) ? seconds(&generator) : nil))
        case 10: return .insertSessionKEK(Sample.kek(Int64(number(0, &generator)), lastExpiry: seconds(&generator)))
        case 11:
            return .insertSession(
                Sample.session(
                    number(300, &generator), kek: Int64(number(0, &generator)), user: number(0, &generator),
                    expires: seconds(&generator)))
        case 12: return .advanceSession(id: Sample.id(number(300, &generator)), counter: seconds(&generator) + 1)
        case 13: return .purgeExpired(now: Sample.time(seconds(&generator)))
        default: return .deleteSession(id: Sample.id(number(300, &generator)))
        }
    }

    /// Everything that can be read, in comparable parts.
    static let parts: [@Sendable (any KeyStore) async throws -> [String]] = [
        { store in try await all(0) { "\(try await store.key($0) as Any)" } },
        { store in try await all(100) { "\(try await store.resource($0) as Any)" } },
        { store in try await all(200) { "\(try await store.authorization($0) as Any)" } },
        { store in try await all(300) { "\(try await store.session($0) as Any)" } },
        { store in try await all(100) { "\(try await store.keys(ofResource: $0))" } },
        { store in try await all(100) { "\(try await store.authorizations(ofResource: $0, includingRemoved: true))" } },
        { store in try await all(100) { "\(try await store.authorizations(ofResource: $0))" } },
        { store in
            try await all(100) { resource in
                var texts = ""
                for user in 0..<count {
                    texts +=
                        "\(try await store.authorization(ofResource: resource, lookup: Sample.lookup(user)) as Any)"
                    texts += "\(try await store.lastRemoval(ofResource: resource, lookup: Sample.lookup(user)) as Any)"
                }
                return texts
            }
        },
        { store in
            var texts: [String] = []
            for number in 0..<count {
                texts.append("\(try await store.sessionKEK(Int64(number)) as Any)")
                texts.append("\(try await store.ledgerEntry(Sample.digest(number * 7)) as Any)")
                texts.append("\(try await store.sessions(ofUser: Sample.lookup(number), liveAt: Sample.time(20)))")
            }
            return texts
        },
        { store in
            var texts: [String] = []
            for second in 0..<50 { texts.append("\(try await store.hasExpired(at: Sample.time(Int64(second))))") }
            return texts
        },
    ]

    private static func all(_ base: Int, _ text: (String) async throws -> String) async throws -> [String] {
        var texts: [String] = []
        for number in base..<base + count { texts.append(try await text(Sample.id(number))) }
        return texts
    }
}
