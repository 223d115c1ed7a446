import CalDAVClient
import CalendarBackend
import Diagnostics
import Foundation
import HTTPClient
import TestServers
import WireText

/// A real `hds-calendar` in a domain: its account, the policy that consents to it, its configuration and its process.
struct ConnectorNode {
    static let account = "hds-calendar"
    let name: String
    let child: ChildProcess
    let port: Int
    let socket: String

    /// Makes the account, and an officer; before the services start.
    static func enter(_ domain: Domain) async throws {
        try await domain.enter(service: "calendar")
        for name in ["alice", "bob"] {
            try domain.write("\(name)pw", to: "calendar/\(name).secret")
            try FileManager.default.setAttributes(
                [.posixPermissions: 0o600], ofItemAtPath: domain.path("calendar/\(name).secret"))
        }
        try await domain.enterPolicyOfficer()
    }

    /// What the KMS gives a service stands in a policy that an officer has signed.
    static func consent(_ domain: Domain, version: Int, isGiven: Bool = true) async throws {
        let service =
            "services:\n  - {name: calendar, type: calendar, subject: \(account), spaces: all, notAfter: 2099-12-31, "
            + "operations: [create, update]}\n"
        try await domain.sign(policy: version, isGiven ? service : "")
    }

    /// - Parameter server: where the calendars are; each user has an account of its own there.
    static func start(
        _ name: String, in domain: Domain, users: [(id: String, email: String, login: String)], server: Int
    ) throws
        -> ConnectorNode
    {
        let port = try LoopbackPort.take()
        let list = users.map { user in
            """
            {"id": "\(user.id)", "email": "\(user.email)", "login": "\(user.login)", \
            "secret": "\(domain.path("calendar/\(user.login).secret"))", "timeZone": "Europe/Berlin", "languages": ["de"]}
            """
        }
        try domain.write("{\"users\": [\(list.joined(separator: ", "))]}", to: "calendar/users.json")
        let socket = domain.path("calendar/\(name).sock")
        try domain.write(
            try domain.configuration(
                of: "calendar", node: name, health: port,
                """
                store:
                  file: calendar.sqlite
                users: users.json
                backends:
                  - {id: main, url: "http://127.0.0.1:\(server)/", mode: per-user, concurrent: 16, per-second: 1000}
                meetings:
                  join-hosts: [localhost]
                rounds:
                  interval: 1s
                control:
                  socket: \(socket)
                """), to: "calendar/\(name).yaml")
        let child = try ChildProcess(
            Repository.program("hds-calendar"), ["--config", domain.path("calendar/\(name).yaml")],
            output: domain.path("log/\(name).log"))
        return ConnectorNode(name: name, child: child, port: port, socket: socket)
    }

    /// What the health address says.
    func health() async -> String {
        let answer = try? await HealthAddress(port: port, place: nil).answer("/healthz")
        return String(decoding: answer?.body ?? [], as: UTF8.self)
    }

    func waitUntilReady() async throws {
        _ =
            try await eventually("\(name) ready", within: .seconds(60), seen: { child.tail() }) {
                guard child.isRunning else {
                    throw NotInTime(what: "\(name) has ended", limit: .zero, seen: child.tail())
                }
                return (try? await HealthAddress(port: port, place: nil).answer("/readyz"))?.status == 200 ? true : nil
            } as Bool
    }

    /// `hdsctl calendar …`
    func ask(_ words: String..., folder: String) async throws -> String {
        try await ChildProcess.run(
            Repository.program("hdsctl"), ["calendar"] + words + ["--socket", socket], folder: folder)
    }
}

/// Somebody's calendar program, on a real CalDAV server.
final class CalendarApp: Sendable {
    private let client: CalDAVClient
    let calendar: CalendarReference

    init(_ login: String, server: Int) async throws {
        let user = CalendarUser(id: login, address: "\(login)@example.com")
        client = try CalDAVClient(
            CalDAVSettings(url: "http://127.0.0.1:\(server)/") { _, _ in
                .basic(user: login, password: Redacted("\(login)pw"))
            }, client: WebClient(trust: nil))
        calendar = CalendarReference(user: user, href: CalendarHref("/\(login)/work/"))
        if try await client.discover(user).calendars.isEmpty {
            try await client.makeCalendar("Work", at: calendar.href, for: user)
        }
    }

    private func href(_ name: String) -> CalendarHref { CalendarHref(calendar.href.text + name + ".ics") }

    func put(_ name: String, _ text: String) async throws {
        let outcome = try await client.put(Array(text.utf8), at: href(name), in: calendar, .create)
        guard outcome == .written else { throw NotInTime(what: "the event \(name)", limit: .zero, seen: "\(outcome)") }
    }

    func text(_ name: String) async throws -> String? {
        try await client.object(href(name), in: calendar).map { String(decoding: $0.octets, as: UTF8.self) }
    }

    /// Changes an event as a careful program does it: from the version that it read, until it is that one still.
    func edit(_ name: String, _ change: (String) -> String) async throws {
        while true {
            guard let object = try await client.object(href(name), in: calendar), let etag = object.etag else { return }
            let text = change(String(decoding: object.octets, as: UTF8.self))
            if try await client.put(Array(text.utf8), at: href(name), in: calendar, .match(etag)) == .written { return }
        }
    }

    func close() async { await client.close() }
}
