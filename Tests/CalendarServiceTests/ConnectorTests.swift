import CalendarBackend
import CalendarProtocol
import Diagnostics
import FoundationEssentials
import ServiceRuntime
import Synchronization
import Testing
import WireText

@testable import CalendarService
import Foundation
import LinkedService
import TestServers

private struct Silence: EventRecorder {
    func isRecorded(_ severity: Severity) -> Bool { false }
    func write(_ event: Event, _ fields: LogFields) {}
}

@Suite("The connector over its users")
struct ConnectorTests {
    @Test("A refused account gives way to the second, and comes back when it is taken")
    func secondAccount() async throws {
        let bench = try await Bench(change: { text in
            text.replacing(
                "        expires: 2027-12-31\n",
                with: "        expires: 2027-12-31\n      - user: hds-second\n        secret: /etc/hds/second\n")
        })
        let access = try bench.parts.access(of: bench.user())
        #expect(access.accounts == 2)
        bench.faults.inject(.fail(CalendarError.credentialsRefused("401")), of: .discover)
        try await bench.round()
        #expect(access.current == 1 && access.refusals == [0])
        access.accepted(0)
        #expect(access.refusals.isEmpty && access.current == 0)
        // What has just worked for somebody is not refused for all because of one.
        #expect(!access.refused(0) && access.refusals.isEmpty)
    }

    @Test("Of a user whose credentials are refused the core, the client and the operator hear what to do")
    func credentials() async throws {
        let bench = try await Bench()
        try await bench.put("a", bench.event("a@x", Bench.asking))
        try await bench.round()
        bench.server.refuse(bench.alice)
        await bench.parts.accounts.forget("alice")
        await #expect(throws: CalendarError.self) { try await bench.round() }
        try await bench.send()
        #expect(bench.core.all.status["alice"] == "error calendar-credentials-refused")
        let state = try await bench.parts.state()
        let known = try #require(try await state.user("alice"))
        #expect(known.trouble != nil && known.fix != nil)
        #expect(bench.connector.summary().refusedCredentials == 1)
        bench.server.refuse(bench.alice, false)
        try await bench.round()
        #expect(bench.core.all.status["alice"] == "ok")
        #expect(bench.connector.summary().refusedCredentials == 0)
    }

    @Test("Events go in each user's order, in calls of a bounded size, and wait while the core is away")
    func sending() async throws {
        let bench = try await Bench()
        let notes = "DESCRIPTION:" + String(repeating: "x", count: 20_000)
        for number in 0..<40 { try await bench.put("m\(number)", bench.event("m\(number)@x", Bench.asking + [notes])) }
        bench.core.away(true)
        await #expect(throws: DiagnosedError.self) { try await bench.round() }
        #expect(bench.core.meetings.isEmpty)
        bench.core.away(false)
        try await bench.send()
        #expect(bench.core.meetings.count == 40)
        #expect(bench.core.all.calls.count > 3)
        for call in bench.core.all.calls { #expect(CalendarEvent.call(call).count <= CalendarEvent.mostOctets) }
        let revisions = try bench.core.all.calls.joined().compactMap {
            try JSONDocument(text: $0).root["meeting"]?["revision"]?.integer
        }
        #expect(revisions == revisions.sorted() && revisions.count == 40)
        #expect(try await bench.store.documents(of: "alice", kind: .event).isEmpty)
    }

    @Test("One event that the core does not take stops no other")
    func refusedEvent() async throws {
        let bench = try await Bench()
        for number in 0..<3 { try await bench.put("m\(number)", bench.event("m\(number)@x", Bench.asking)) }
        bench.core.takeNo("connector.user.status")
        try await bench.round()
        #expect(bench.core.meetings.count == 3 && bench.core.all.refused.count == 2)
        #expect(try await bench.store.documents(of: "alice", kind: .event).isEmpty)
    }

    @Test(
        "Who leaves the list of users is off, and nothing of the calendar stays but the keys' names",
        .timeLimit(.minutes(1)))
    func leaving() async throws {
        let bench = try await Bench()
        try await bench.put("a", bench.event("a@x", Bench.asking))
        try await bench.round()
        let running = Task { try await bench.connector.run() }
        let path = bench.folder.path + "/users.json"
        try Data(#"{"users": [{"id": "bob", "email": "bob@example.org"}]}"#.utf8).write(to: URL(filePath: path))
        #expect(try bench.parts.users.refresh())
        while bench.core.all.status["alice"] != "off" {
            try await Task.sleep(for: .milliseconds(20))
            try await bench.send()
        }
        #expect(try await bench.store.documents(of: "alice", kind: .object).isEmpty)
        let state = try await bench.parts.state()
        #expect(try await state.user("alice")?.keyURI != nil)
        running.cancel()
        _ = try? await running.value
    }

    @Test("A list of users that can not be used leaves the one before in force")
    func users() throws {
        func list(_ text: String) throws -> UserList { try UserList(Array(text.utf8), backends: ["main"], folder: "/") }
        let good = try list(Bench.users)
        #expect(good.id(of: "BOB@example.org") == "bob" && good.users["bob"]?.backend == "main")
        for bad in [
            "", "{}", #"{"users":[{"id":"a"}]}"#, #"{"users":[{"id":"a","email":"x"}]}"#,
            #"{"users":[{"id":"a","email":"a@x"},{"id":"a","email":"b@x"}]}"#,
            #"{"users":[{"id":"a","email":"a@x"},{"id":"b","email":"A@x"}]}"#,
            #"{"users":[{"id":"a","email":"a@x","backend":"other"}]}"#,
            #"{"users":[{"id":"a","email":"a@x","timeZone":"Mars/Olympus"}]}"#,
        ] {
            #expect(throws: DiagnosedError.self, "\(bad)") { try list(bad) }
        }
    }

    @Test("The example of the configuration shows every key and is taken")
    func example() throws {
        let read = try Bench.configuration()
        #expect(read.node == "calendar-1" && read.backends[0].accounts[0].expires != nil)
        #expect(read.rounds.interval == .seconds(30) && read.meetings.keywords.count == 2)
        let names =
            CalendarServiceConfiguration.CodingKeys.allCases.map(\.rawValue)
            + CalendarStoreSection.CodingKeys.allCases.map(\.rawValue)
            + BackendSection.CodingKeys.allCases.map(\.rawValue)
            + BackendSection.Account.CodingKeys.allCases.map(\.rawValue)
            + MeetingsSection.CodingKeys.allCases.map(\.rawValue)
            + MeetingsSection.Keyword.CodingKeys.allCases.map(\.rawValue)
            + RoundsSection.CodingKeys.allCases.map(\.rawValue)
            + CalendarControlSection.CodingKeys.allCases.map(\.rawValue)
        for name in names { #expect(Bench.example.contains("\(name):"), "\(name)") }
    }

    @Test(
        "What can not be meant is refused",
        arguments: [
            ("url: https://calendar.example.com/", "url: http://calendar.example.com/"),
            ("principal: /principals/{address}/", "principal: /principals/all/"),
            ("mode: impersonation", "mode: per-user"), ("join-hosts: [meet.example.com]", "join-hosts: []"),
            ("interval: 30s", "interval: 10ms"), ("word: \"@meet\"", "word: meet"),
            ("expires: 2027-12-31", "expires: soon"), ("type: caldav", "type: graph"),
            ("scheme: basic", "scheme: entra"), ("scheme: basic", "scheme: service-account"),
            ("past-days: 1", "past-days: 401"),
        ])
    func refused(_ change: (String, String)) throws {
        #expect(Bench.example.contains(change.0))
        #expect(throws: (any Error).self) { try Bench.configuration { $0.replacing(change.0, with: change.1) } }
    }

    @Test("Other calendar systems are configured with what they need, at their public addresses")
    func systems() throws {
        func backend(_ text: String) throws -> BackendSection {
            let start = try #require(Bench.example.range(of: "backends:\n")?.lowerBound)
            let end = try #require(Bench.example.range(of: "# What is a meeting that asks")?.lowerBound)
            return try Bench.configuration {
                $0.replacing($0[start..<end], with: "backends:\n  - {id: main, mode: impersonation, \(text)}\n")
            }.backends[0]
        }
        let entra = "accounts: [{scheme: entra, tenant: t, application: a, secret: /x}]"
        #expect(try backend("type: graph, \(entra)").url.origin == "https://graph.microsoft.com")
        #expect(
            try backend("type: google, accounts: [{scheme: service-account, secret: /x}]").url.origin
                == "https://www.googleapis.com")
        #expect(
            try backend("type: exchange, url: \"https://mail.example.com:444/EWS/x\", \(entra)").url.origin
                == "https://mail.example.com:444")
        let certificate = "client: {certificate: /c.pem, private-key: /k.pem}"
        let caldav = "type: caldav, url: \"https://x/\", principal: \"/{user}/\""
        let shown = try backend("\(caldav), \(certificate), accounts: [{scheme: certificate}]")
        #expect(shown.identity != nil && shown.accounts[0].secret == nil)
        for bad in [
            "\(caldav), accounts: [{scheme: certificate}]",
            "\(caldav), \(certificate), accounts: [{scheme: certificate, secret: /x}]",
            "\(caldav), \(certificate), accounts: [{scheme: bearer}]",
            "type: exchange, \(entra)", "type: google, \(entra)", "type: caldav, url: \"https://x/\", \(entra)",
            "type: graph, accounts: [{scheme: basic, user: u, secret: /x}]",
            "type: graph, principal: \"/{user}/\", \(entra)",
            "type: graph, accounts: [{scheme: entra, tenant: t, secret: /x}]",
        ] {
            #expect(throws: (any Error).self, "\(bad)") { try backend(bad) }
        }
    }

    private func raised(_ health: HealthRegistry) -> Set<String> { Set(health.alarms.current.map { $0.alarm.id }) }

    @Test("[HDS-CAL-CONSENT] [HDS-CAL-AUTH] [HDS-CAL-LAG] [HDS-CAL-EXPIRY] stand while there is something to do")
    func alarms() async throws {
        let health = HealthRegistry(events: Silence(), metrics: MetricRegistry())
        let watch = CalendarWatch(health)
        let consents = ConsentHealth(health, .calendarConsent)
        consents.report(.refused(DiagnosedError("x", fault: .peer, "no consent")))
        #expect(raised(health) == ["HDS-CAL-CONSENT"])
        consents.report(.granted)
        #expect(raised(health).isEmpty)
        let metrics = MetricRegistry()
        watch.rounds(.init(users: 3, refusedCredentials: 1), beat: nil, interval: .seconds(30), metrics)
        #expect(raised(health) == ["HDS-CAL-AUTH"])
        watch.rounds(.init(users: 3, lag: 301), beat: nil, interval: .seconds(30), metrics)
        #expect(raised(health) == ["HDS-CAL-LAG"])
        watch.rounds(.init(users: 3, lag: 299), beat: nil, interval: .seconds(30), metrics)
        #expect(raised(health).isEmpty)
        let now = Timestamp.now()
        watch.expirations([("main", now.adding(seconds: 13 * 86_400))], now: now)
        #expect(raised(health) == ["HDS-CAL-EXPIRY"])
        watch.expirations([("main", now.adding(seconds: 15 * 86_400))], now: now)
        #expect(raised(health).isEmpty)
    }
}
