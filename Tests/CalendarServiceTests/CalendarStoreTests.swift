import PostgreSQLClient
import TestServers
import Testing
import WireText

@testable import CalendarService

@Suite("What the connector keeps, on each database")
struct CalendarStoreTests {
    enum Kind: CaseIterable, Sendable {
        case sqlite, postgresql
        static let allCases: [Kind] = [.sqlite] + (TestPostgreSQL.isInstalled ? [.postgresql] : [])
    }

    /// Stores over one fresh database, and what makes time pass for a life to end.
    private static func stores(_ kind: Kind, _ count: Int) async throws -> (stores: [any CalendarStore], life: Duration)
    {
        switch kind {
        case .sqlite:
            let path = TemporaryPlace.path()
            return (try (0..<count).map { _ in try SQLiteCalendarStore(path: path) }, .seconds(1))
        case .postgresql:
            let server = try await TestPostgreSQL.shared.value
            let name = "calendar_" + UUIDText.random().filter { $0 != "-" }
            _ = try await server.sql("CREATE DATABASE \(name) OWNER hds")
            var settings = server.settings
            settings.database = name
            var stores: [any CalendarStore] = []
            for _ in 0..<count { stores.append(try await PostgreSQLCalendarStore(settings)) }
            return (stores, .seconds(1))
        }
    }

    private static func place(_ owner: String, _ kind: DocumentKind, _ id: String) -> DocumentPlace {
        DocumentPlace(owner: owner, kind: kind, id: id)
    }

    @Test("Documents are read back in their order, replaced and removed", arguments: Kind.allCases)
    func documents(_ kind: Kind) async throws {
        let (stores, life) = try await Self.stores(kind, 1)
        let store = stores[0]
        let holding = try #require(
            try await store.beat(node: "one", life: life, leaving: []).holdings.first {
                $0.share == Shares.share(of: "u")
            })
        let done = try await store.write(
            [
                .put(Self.place("u", .event, "02"), [2]), .put(Self.place("u", .event, "01"), [1]),
                .put(Self.place("u", .user, ""), [0, 255]),
            ], under: holding)
        #expect(done)
        #expect(try await store.documents(of: "u", kind: .event).map(\.octets) == [[1], [2]])
        #expect(try await store.document(Self.place("u", .user, "")) == [0, 255])
        _ = try await store.write(
            [.put(Self.place("u", .event, "01"), [9]), .remove(Self.place("u", .event, "02"))], under: holding)
        let left = try await store.documents(ofShare: holding.share, kind: .event, limit: 10)
        #expect(left.map(\.octets) == [[9]] && left.map(\.owner) == ["u"])
        #expect(try await store.documents(of: "other", kind: .event).isEmpty)
        try await store.check()
        for store in stores { await store.close() }
    }

    @Test("Two nodes have half each, and all shares have one holder", arguments: Kind.allCases)
    func halves(_ kind: Kind) async throws {
        let (stores, _) = try await Self.stores(kind, 2)
        let life = Duration.seconds(60)
        let first = try await stores[0].beat(node: "one", life: life, leaving: [])
        #expect(first.holdings.count == Shares.count && first.nodes == 1 && first.surplus.isEmpty)
        let second = try await stores[1].beat(node: "two", life: life, leaving: [])
        #expect(second.holdings.isEmpty && second.nodes == 2)
        let again = try await stores[0].beat(node: "one", life: life, leaving: [])
        #expect(again.surplus.count == Shares.count / 2)
        let less = try await stores[0].beat(node: "one", life: life, leaving: Set(again.surplus.map(\.share)))
        let more = try await stores[1].beat(node: "two", life: life, leaving: [])
        #expect(less.holdings.count == Shares.count / 2 && more.holdings.count == Shares.count / 2)
        #expect(Set(less.holdings.map(\.share)).isDisjoint(with: more.holdings.map(\.share)))
        #expect(try await stores[0].holders().count == Shares.count)
        try await stores[1].leave(node: "two")
        #expect(try await stores[0].beat(node: "one", life: life, leaving: []).holdings.count == Shares.count)
        for store in stores { await store.close() }
    }

    @Test("A node that is silent loses its shares, and what it still writes is refused whole", arguments: Kind.allCases)
    func takeover(_ kind: Kind) async throws {
        let (stores, life) = try await Self.stores(kind, 2)
        let old = try await stores[0].beat(node: "one", life: life, leaving: [])
        let holding = try #require(old.holdings.first { $0.share == Shares.share(of: "u") })
        var taken: ShareBeat?
        for _ in 0..<400 {
            let beat = try await stores[1].beat(node: "two", life: .seconds(60), leaving: [])
            if beat.holdings.count == Shares.count {
                taken = beat
                break
            }
            try await Task.sleep(for: .milliseconds(20))
        }
        let mine = try #require(taken?.holdings.first { $0.share == holding.share })
        #expect(mine.fence > holding.fence)
        #expect(try await stores[1].write([.put(Self.place("u", .user, ""), [2])], under: mine))
        #expect(try await !stores[0].write([.put(Self.place("u", .user, ""), [1])], under: holding))
        #expect(try await stores[0].document(Self.place("u", .user, "")) == [2])
        for store in stores { await store.close() }
    }

    @Test("A command is new once, on whichever node it comes", arguments: Kind.allCases)
    func commands(_ kind: Kind) async throws {
        let (stores, _) = try await Self.stores(kind, 2)
        let now = Timestamp(seconds: 1_800_000_000)
        #expect(try await stores[0].isNew(command: "c", until: now.adding(seconds: 60), now: now))
        #expect(try await !stores[1].isNew(command: "c", until: now.adding(seconds: 60), now: now))
        #expect(try await stores[1].isNew(command: "d", until: now.adding(seconds: 60), now: now))
        #expect(try await stores[0].isNew(command: "c", until: now.adding(seconds: 900), now: now.adding(seconds: 61)))
        for store in stores { await store.close() }
    }

    @Test("Users are spread evenly, and alike on all nodes")
    func spread() {
        var counts = [Int](repeating: 0, count: Shares.count)
        for number in 0..<6400 { counts[Shares.share(of: "user-\(number)@example.org")] += 1 }
        #expect(counts.min() ?? 0 > 50 && counts.max() ?? 0 < 200)
        #expect(Shares.share(of: "alice") == 39)
        #expect(Shares.most(for: 1) == 64 && Shares.most(for: 3) == 22 && Shares.most(for: 0) == 64)
    }
}
