import Diagnostics
import KeyStore
import KeyStorePostgreSQL
import PostgreSQLClient
import Synchronization
import TestServers
import Testing

/// Several nodes on one database.
@Suite(.enabled(if: TestPostgreSQL.isInstalled), .timeLimit(.minutes(5)))
struct PostgreSQLClusterTests {
    /// Two stores on one schema.
    private func withNodes(_ body: (PostgreSQLKeyStore, PostgreSQLKeyStore) async throws -> Void) async throws {
        let schema = PostgreSQL.schema()
        let first = try await PostgreSQL.store(schema: schema)
        let second = try await PostgreSQL.store(schema: schema)
        try await body(first, second)
        await first.close()
        await second.close()
    }

    @Test("of two nodes that change one resource at the same version, one wins, round after round")
    func versions() async throws {
        try await withNodes { first, second async throws in
            try await first.apply(.insertResource(Sample.resource(50)))
            for version in Int64(2)...40 {
                let update = StoreWrite.updateResource(Sample.resource(50, version: version))
                async let one = first.apply(update)
                async let other = second.apply(update)
                #expect(try await Set([one, other]) == [.committed, .conflict])
            }
            #expect(try await second.resource(Sample.id(50))?.version == 40)
        }
    }

    @Test("a request that reaches two nodes is carried out once; the other answers that it was")
    func ledger() async throws {
        try await withNodes { first, second async throws in
            try await first.apply(.insertResource(Sample.resource(50)))
            for number in 1...40 {
                // With a change of a version too, so that the slower one would also conflict.
                let version = Int64(number + 1)
                let change = StoreChange(
                    writes: [
                        .updateResource(Sample.resource(50, version: version)), .insertLedger(Sample.ledger(number)),
                    ], expectations: [.resource(id: Sample.id(50), version: version - 1)])
                async let one = first.commit(change)
                async let other = second.commit(change)
                #expect(try await Set([one, other]) == [.committed, .duplicate])
            }
        }
    }

    @Test("of two nodes that expect a setting to be absent, or a value, one wins")
    func settings() async throws {
        try await withNodes { first, second async throws in
            var last: [UInt8]?
            for round in UInt8(1)...40 {
                let expected = [StoreExpectation.setting(name: "policy", value: last)]
                async let one = first.apply(.putSetting(name: "policy", value: [round, 1]), expecting: expected)
                async let other = second.apply(.putSetting(name: "policy", value: [round, 2]), expecting: expected)
                let results = try await [one, other]
                #expect(Set(results) == [.committed, .conflict])
                last = [round, results[0] == .committed ? 1 : 2]
                #expect(try await first.setting("policy") == last)
            }
        }
    }

    @Test("two nodes with many committers each, over the same rows in other orders, never wait for each other for ever")
    func crossing() async throws {
        try await withNodes { first, second async throws in
            for number in 0..<6 { try await first.apply(.insertResource(Sample.resource(number))) }
            let wins = try await withThrowingTaskGroup(of: Int.self) { group in
                for task in 0..<12 {
                    let store = task % 2 == 0 ? first : second
                    group.addTask {
                        var wins = 0
                        for round in 0..<30 {
                            // Reads and updates two of them, in the task's own order.
                            let pair = task % 2 == 0 ? [round % 6, (round + 1) % 6] : [(round + 1) % 6, round % 6]
                            var writes: [StoreWrite] = []
                            for number in pair {
                                let version = try await store.resource(Sample.id(number))?.version ?? 0
                                writes.append(.updateResource(Sample.resource(number, version: version + 1)))
                            }
                            if try await store.commit(StoreChange(writes: writes)) == .committed { wins += 1 }
                        }
                        return wins
                    }
                }
                return try await group.reduce(0, +)
            }
            var versions: Int64 = 0
            for number in 0..<6 { versions += try await first.resource(Sample.id(number))?.version ?? 0 }
            #expect(versions == Int64(6 + 2 * wins))
            #expect(wins > 0)
        }
    }

    private final class Done: Sendable {
        let count = Atomic(0)
    }

    @Test("positions of the ledger become visible in their order, whichever node wrote them")
    func positions() async throws {
        try await withNodes { first, second async throws in
            let writers = 4
            let each = 40
            let done = Done()
            try await withThrowingTaskGroup(of: Void.self) { group in
                for task in 0..<writers {
                    let store = task % 2 == 0 ? first : second
                    group.addTask { () async throws in
                        for step in 0..<each {
                            var entry = Sample.ledger(task * 1000 + step)
                            entry.audit = [UInt8(task), UInt8(step)]
                            #expect(try await store.apply(.insertLedger(entry)) == .committed)
                        }
                        done.count.wrappingAdd(1, ordering: .sequentiallyConsistent)
                    }
                }
                group.addTask { () async throws in
                    // Follows the trail as a reader does who never looks back.
                    var seen: [[UInt8]] = []
                    var position: Int64 = 0
                    while true {
                        let isLast = done.count.load(ordering: .sequentiallyConsistent) == writers
                        let page = try await first.ledgerAudits(after: position, limit: 50)
                        seen += page.map(\.audit)
                        position = page.last?.position ?? position
                        if isLast, page.isEmpty { break }
                    }
                    #expect(seen.count == writers * each)
                    #expect(Set(seen).count == writers * each)
                }
                try await group.waitForAll()
            }
        }
    }

    @Test("nodes that start together on an empty database: one makes the tables, all work")
    func startingTogether() async throws {
        let schema = PostgreSQL.schema()
        let stores = try await withThrowingTaskGroup(of: PostgreSQLKeyStore.self) { group in
            for _ in 0..<4 { group.addTask { try await PostgreSQL.store(schema: schema) } }
            return try await group.reduce(into: []) { $0.append($1) }
        }
        for (number, store) in stores.enumerated() {
            #expect(try await store.apply(.insertKey(Sample.key(number))) == .committed)
        }
        for store in stores {
            for number in stores.indices { #expect(try await store.key(Sample.id(number)) != nil) }
            await store.close()
        }
        let server = try await TestPostgreSQL.shared.value
        let rows = try await server.sql("SELECT count(*), count(DISTINCT version) FROM \(schema).schema_version")
        #expect(rows?.text(0, 0) == rows?.text(0, 1))
    }

    @Test("a value of a row may be any octets, also in names")
    func hostileValues() async throws {
        let store = try await PostgreSQL.store()
        let name = "'; DROP TABLE keys; -- \\ \0 \u{1F511} %s $1"
        let value = [UInt8](0...255) + Array("'); COMMIT; \0".utf8)
        #expect(try await store.apply(.putSetting(name: name, value: value)) == .committed)
        #expect(try await store.setting(name) == value)
        #expect(try await store.setting(name + "\0") == nil)
        #expect(try await store.apply(.insertKey(KeyRecord(id: Sample.id(1), sealed: value))) == .committed)
        #expect(try await store.key(Sample.id(1))?.sealed == value)
        // PostgreSQL's text holds no zero octet: the holder's column is none of text.
        var root = Sample.root(1, .inert)
        root.wraps = ["kek a\0b": value, "": []]
        #expect(try await store.apply(.insertRootKey(root)) == .committed)
        #expect(try await store.rootKeys() == [root])
        await store.close()
    }
}
