import Diagnostics
import EDiscoveryCollection
import EDiscoveryModel
import KMSClient
import LinkedService
import PostgreSQLClient
import Synchronization
import TestServers
import Testing
import WireText

@testable import EDiscoveryService

/// A database of its own on the server of all tests.
private func database(_ name: String) async throws -> PostgreSQLSettings {
    let server = try await TestPostgreSQL.shared.value
    try await server.sql("DROP DATABASE IF EXISTS \(name)", database: "postgres")
    try await server.sql("CREATE DATABASE \(name) OWNER hds", database: "postgres")
    var settings = server.settings
    settings.database = name
    return settings
}

@Suite("A mirror that workers share, in PostgreSQL", .enabled(if: TestPostgreSQL.isInstalled), .serialized)
struct SharedMirrorTests {
    private struct World {
        let kms = FakeKMS()
        let mirror: Mirror
        let commands: OfficerCommands
        let collector: Collector
        let directory: Directory
        let destroyer: Destroyer

        init(_ mirror: Mirror, _ folder: TemporaryFolder) throws {
            self.mirror = mirror
            let now: @Sendable () -> Timestamp = { Timestamp(iso8601: "2026-02-01T00:00:00Z")! }
            directory = try Directory(
                Array(#"{"people":[{"id":"ben","emails":["ben@x.test"]}]}"#.utf8))
            let directory = directory
            commands = OfficerCommands(mirror: mirror, directory: directory, now: now)
            let consent = Consent(kms, now: now) { _ in }
            collector = Collector(
                consent: consent, mirror: mirror, kms: kms, directory: directory, report: { _ in }, counted: { _ in })
            destroyer = Destroyer(
                consent: consent, mirror: mirror, vault: try FileVault(folder: folder.path + "/files", largest: 1),
                core: FakeCore(), sign: { _ in "signed" }, now: now)
        }

        @discardableResult
        func ask(_ name: String, _ body: String = "{}", by officer: String = "carol") throws -> JSONNode {
            try JSONDocument(
                text: commands.perform(
                    name, JSONDocument(text: body).root, .init(officer: officer, matter: nil, key: kms.key))
            ).root
        }

        /// What is seen of the same work, without what is drawn at random.
        func work() async throws -> [String] {
            var seen: [String] = []
            mirror.turn(true)
            let items = CollectionTests.feed + [event(7, "leave", "cy", #"{"id":"cy"}"#)]
            try mirror.add(items.map { (FeedEntry($0)!, $0) }, cursor: 9, followsCore: true, under: kms.key)
            try mirror.add(items.map { (FeedEntry($0)!, $0) }, cursor: 9, followsCore: true, under: kms.key)
            seen.append("\(try mirror.cursor() ?? 0) \(try mirror.spaces(until: .max))")
            let report = try ask("reports.create", #"{"name":"r","types":["message","membership","spaceInfo"]}"#)
            let id = report["id"]?.string ?? ""
            await collector.work()
            seen.append(try ask("reports.items", #"{"id":"\#(id)"}"#).rawText)
            seen.append(try ask("reports.estimate", #"{"name":"r","subjects":{"emails":["ben@x.test"]}}"#).rawText)
            let hold = try ask(
                "holds.create", #"{"name":"h","custodians":{"userIds":["ben"]},"end":"2026-01-01T00:02:00Z"}"#)
            seen.append(hold["custodians"]?.rawText ?? "")
            let proposal = try ask("subject.erase", #"{"userIds":["ada"],"reason":"asked"}"#)
            try await destroyer.work()
            let digest = proposal["digest"]?.string ?? "", erasure = proposal["id"]?.string ?? ""
            try ask("approvals.grant", #"{"id":"\#(erasure)","digest":"\#(digest)"}"#, by: "dave")
            try await destroyer.work()
            let stated = try ask("certificates.get", #"{"id":"\#(erasure)"}"#)["certificate"]
            for name in ["removed", "held", "digest", "containers"] { seen.append(stated?[name]?.rawText ?? "-") }
            seen.append(
                try mirror.log(of: "room", under: kms.key).messages.map { "\($0.sequence) \($0.removal != nil)" }
                    .joined())
            let arrivals = try mirror.arrivals(limit: 100, under: kms.key)
            seen.append("\(arrivals.count) \(try mirror.unarchived(limit: 100, under: kms.key).map(\.place.sequence))")
            try ask("reports.delete", #"{"id":"\#(id)"}"#)
            seen.append(
                try ask("audit.query")["entries"]?.elements?.compactMap { $0["action"]?.string }.joined(separator: " ")
                    ?? "")
            seen.append(
                "\(try mirror.isNew(command: "c", until: Timestamp(milliseconds: 9), now: Timestamp(milliseconds: 1)))")
            seen.append(
                "\(try mirror.isNew(command: "c", until: Timestamp(milliseconds: 9), now: Timestamp(milliseconds: 2)))")
            return seen
        }
    }

    @Test("The same work gives the same as in a file of one worker") func same() async throws {
        let folder = TemporaryFolder()
        let own = try await World(Mirror(path: folder.path + "/mirror.sqlite"), folder).work()
        let shared = try await World(Mirror(PostgreSQLMirror(try await database("ed_same"))), folder).work()
        #expect(shared == own)
        #expect(own[1].contains("a9") && own[1].contains("\"kind\":\"left\""))
    }

    @Test("One writes at a time; who is cut off from the server has lost his turn before another has it")
    func lock() async throws {
        let settings = try await database("ed_lock")
        let one = Mirror(try PostgreSQLMirror(settings)), two = Mirror(try PostgreSQLMirror(settings))
        #expect(throws: DiagnosedError.self) { try one.set("a", "1") }
        one.turn(true)
        two.turn(true)
        try one.set("a", "1")
        let refused = #expect(throws: DiagnosedError.self) { try two.set("a", "2") }
        #expect(refused?.code == .mirrorElsewhere)
        #expect(try two.setting("a") == "1", "reading needs no turn")
        // Its session ends at the server: what it does next needs the lock again, which the other has.
        let server = try await TestPostgreSQL.shared.value
        try await server.sql(
            "SELECT pg_terminate_backend(pid) FROM pg_locks WHERE locktype = 'advisory' AND database = (SELECT oid FROM pg_database WHERE datname = 'ed_lock')",
            database: "postgres")
        var isTaken = false
        while !isTaken { isTaken = (try? two.set("a", "2")) != nil }
        #expect(throws: DiagnosedError.self) { try one.set("a", "3") }
        #expect(throws: DiagnosedError.self) { try one.set("a", "3") }
        #expect(try two.setting("a") == "2")
        two.turn(false)
        try one.set("a", "4")
        #expect(try two.setting("a") == "4")
        #expect(try two.check() == ())
    }

    @Test("A report is taken over behind its last checkpoint, with a hold and the audit of the worker before")
    func takeover()
        async throws
    {
        let settings = try await database("ed_takeover")
        let folder = TemporaryFolder()
        let first = try World(Mirror(PostgreSQLMirror(settings)), folder)
        first.mirror.turn(true)
        try first.mirror.add(CollectionTests.feed.map { (FeedEntry($0)!, $0) }, under: first.kms.key)
        let whole = try first.ask("reports.create", #"{"name":"whole"}"#)["id"]?.string ?? ""
        await first.collector.work()
        let cut = try first.ask("reports.create", #"{"name":"cut"}"#)["id"]?.string ?? ""
        first.kms.away.withLock { $0 = true }
        await first.collector.work()
        try first.ask("holds.create", #"{"name":"h","everything":true}"#)
        first.mirror.turn(false)
        // The second has the same account, so the same key.
        let second = Mirror(try PostgreSQLMirror(settings))
        second.turn(true)
        first.kms.away.withLock { $0 = false }
        let collector = Collector(
            consent: Consent(first.kms) { _ in }, mirror: second, kms: first.kms, directory: first.directory,
            report: { _ in }, counted: { _ in })
        await collector.work()
        func items(_ id: String) throws -> [[UInt8]] {
            try second.items(of: id, after: 0, count: 100, under: first.kms.key).map(\.octets)
        }
        #expect(try items(cut) == items(whole) && !items(cut).isEmpty)
        #expect(try second.documents("hold", under: first.kms.key).count == 1)
        #expect(try second.audited(newest: 10, under: first.kms.key).count == 3)
    }
}

@Suite("What PostgreSQL says otherwise") struct PostgreSQLDialectTests {
    @Test func places() {
        #expect(PostgreSQLDialect.translated("a = ? AND b IN (?, ?)") == "a = $1 AND b IN ($2, $3)")
        #expect(PostgreSQLDialect.translated("VALUES ('c', ?1) SET v = ?1") == "VALUES ('c', $1) SET v = $1")
    }

    @Test func columns() {
        #expect(PostgreSQLDialect.columns(of: "SELECT DISTINCT space FROM event") == ["space"])
        #expect(
            PostgreSQLDialect.columns(of: "SELECT coalesce(max(a, b), 0) - count(*), sealed, x AS y FROM event") == [
                "coalesce(max(a, b), 0) - count(*)", "sealed", "y",
            ])
        #expect(PostgreSQLDialect.columns(of: "INSERT INTO a VALUES (?)") == [])
    }
}
