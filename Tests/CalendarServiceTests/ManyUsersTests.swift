import CalendarBackend
import CalendarProtocol
import Diagnostics
import FoundationEssentials
import KMSProtocol
import LinkedService
import ServiceRuntime
import Synchronization
import TestServers
import Testing
import WireText

@testable import CalendarService
import PostgreSQLClient

/// Three connectors over one PostgreSQL database: 10,000 users in the long run, else some hundreds.
@Suite("Many users over several connectors", .enabled(if: TestPostgreSQL.isInstalled))
struct ManyUsersTests {
    private static let count = LongTests.areWanted ? 10_000 : 300

    /// One connector with a core's memory that all share.
    private final class Node: Sendable {
        let connector: Connector
        let held: HeldShares
        let parts: ConnectorParts
        private let beats: Task<Void, Never>
        private let rounds: Task<Void, any Error>
        private let sends: Task<Void, Never>

        init(
            _ name: String, _ store: any CalendarStore, _ users: UserList, _ kms: TestKeys,
            _ server: any CalendarBackend,
            _ core: TestCore
        ) {
            let outbox = OutboxFlags()
            let parts = ConnectorParts(
                store: store, consent: ServiceConsent(kms) { _ in }, keys: CalendarKeys(kms),
                users: UsersInForce(users),
                backends: ["main": BackendAccess("main", backend: server)],
                settings: MeetingSettings(joinHosts: ["meet.example.com"]), accounts: AccountCache(),
                turns: UserTurns(),
                outbox: outbox, instruments: .none, now: { .now() })
            let held = HeldShares(store, node: name, outbox: outbox)
            let connector = Connector(parts, held, interval: .seconds(5), concurrent: 8)
            (self.parts, self.held, self.connector) = (parts, held, connector)
            beats = Task {
                while !Task.isCancelled {
                    await held.beat()
                    try? await Task.sleep(for: HeldShares.pause)
                }
            }
            rounds = Task { try await connector.run() }
            let sender = EventSender(parts: parts, held: held, core: core) { core.refuse($0) }
            sends = Task {
                while !Task.isCancelled {
                    try? await sender.work()
                    try? await Task.sleep(for: .milliseconds(100))
                }
            }
        }

        /// As a machine that hangs: no beat and no word any more, and nothing given back.
        func hang() { beats.cancel() }

        func stop() async {
            for task in [beats, sends] { task.cancel() }
            rounds.cancel()
            _ = try? await rounds.value
        }
    }

    private func until(_ what: String, _ isThere: () async throws -> Bool) async throws {
        for _ in 0..<12_000 {
            if try await isThere() { return }
            try await Task.sleep(for: .milliseconds(50))
        }
        throw TestTrouble("not in time: \(what)")
    }

    @Test("All users are looked after once, and those of a node that hangs by the others", .timeLimit(.minutes(15)))
    func takeover() async throws {
        let ids = (0..<Self.count).map { "user-\($0)" }
        let entries = ids.map { #"{"id":"\#($0)","email":"\#($0)@example.org"}"# }.joined(separator: ",")
        let users = try UserList(Array(#"{"users":[\#(entries)]}"#.utf8), backends: ["main"], folder: "/")
        let server = MemoryCalendarBackend()
        let start = Timestamp.now().adding(seconds: 86_400).iso8601.prefix(19).filter { $0 != "-" && $0 != ":" }
        var calendars: [String: CalendarReference] = [:]
        func put(_ id: String, _ name: String) async throws {
            guard let calendar = calendars[id] else { return }
            let lines = [
                "BEGIN:VCALENDAR", "VERSION:2.0", "BEGIN:VEVENT", "UID:\(name)-\(id)", "DTSTAMP:20260101T000000Z",
                "DTSTART:\(start)Z", "DURATION:PT30M", "SUMMARY:\(name)", "LOCATION:@meet", "END:VEVENT",
                "END:VCALENDAR",
            ]
            _ = try await server.put(
                Array(lines.map { $0 + "\r\n" }.joined().utf8), at: CalendarHref("\(calendar.href.text)\(name).ics"),
                in: calendar, .create)
        }
        for id in ids {
            calendars[id] = server.addCalendar("home", of: ServerUser(id: id, address: "\(id)@example.org"))
            try await put(id, "first")
        }
        let database = try await TestPostgreSQL.shared.value
        let name = "calendar_" + UUIDText.random().filter { $0 != "-" }
        try await database.sql("CREATE DATABASE \(name) OWNER hds")
        var settings = database.settings
        settings.database = name
        let kms = TestKeys(), core = TestCore()
        var nodes: [Node] = []
        for number in 0..<3 {
            nodes.append(
                Node("node-\(number)", try await PostgreSQLCalendarStore(settings), users, kms, server, core))
        }
        let begun = ContinuousClock.now
        try await until("the first meetings") { core.all.meetings.count == Self.count }
        print("\(Self.count) users over three connectors: all told after \(ContinuousClock.now - begun)")
        try await until("an even share") { nodes.allSatisfy { (20...22).contains($0.held.all.count) } }

        let silent = nodes[0]
        let theirs = ids.filter { silent.held.holding(of: $0) != nil }
        #expect(!theirs.isEmpty)
        silent.hang()
        let silence = ContinuousClock.now
        try await until("the others") {
            theirs.allSatisfy { id in nodes[1...].contains { $0.held.holding(of: id) != nil } }
        }
        print("its \(theirs.count) users are with the others \(ContinuousClock.now - silence) after a node hangs")
        #expect(silent.held.all.isEmpty, "it had let go before anybody took")
        for id in ids { try await put(id, "second") }
        try await until("the second meetings") { core.all.meetings.count == 2 * Self.count }
        print("a meeting more of each: all told \(ContinuousClock.now - silence) after that")

        for node in nodes { await node.stop() }
        // Twice nothing: one calendar at the KMS for each user, one key for each series, one event for each meeting.
        #expect(kms.resources == Self.count)
        #expect(core.all.calls.joined().count { $0.contains("calendar.meeting.created") } <= 2 * Self.count + 60)
        #expect(Set(core.meetings.map(\.keyURI)).count == 2 * Self.count)
        for node in nodes { await node.parts.store.close() }
    }
}
