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
        let script = """
            mkdir -p "$1/calendar"
            openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -out "$1/calendar/key.pem" 2>/dev/null
            openssl pkey -in "$1/calendar/key.pem" -pubout -out "$1/calendar/key.pub"
            chmod 600 "$1/calendar/key.pem"
            for name in alice bob; do printf '%spw' "$name" > "$1/calendar/$name.secret"; chmod 600 "$1/calendar/$name.secret"; done
            """
        try await ChildProcess.run("bash", ["-euc", script, "key", domain.folder], folder: domain.folder)
        try await ChildProcess.run(
            Repository.program("hds-auth"),
            [
                "add-service", "--accounts", domain.path("auth/accounts.yaml"), "--id", account, "--organisation",
                "example", "--grant", "cloud=link:calendar", "--grant", "kms", "--key", domain.path("calendar/key.pub"),
                "--secret-file", domain.path("calendar/client-secret"),
            ], folder: domain.folder)
        try domain.write("the passphrase of ada\n", to: "ada.pass")
        let made = try await ChildProcess.run(
            Repository.program("hdsctl"),
            [
                "officer", "create", domain.path("ada.pem"), "--id", "ada", "--duty", "policy", "--passphrase-file",
                domain.path("ada.pass"),
            ], folder: domain.folder)
        let officer = made.split(separator: "\n").first { $0.hasPrefix("{") } ?? ""
        try domain.write("{\"officers\":[\(officer)]}", to: "kms/officers.json")
        try domain.replace(
            "control:\n", with: "policy:\n  file: policy.signed\nofficers:\n  file: officers.json\ncontrol:\n",
            in: "kms/hds-kms.yaml")
    }

    /// What the KMS gives a service stands in a policy that an officer has signed.
    static func consent(_ domain: Domain, version: Int, isGiven: Bool = true) async throws {
        let service =
            "services:\n  - {name: calendar, type: calendar, subject: \(account), spaces: all, notAfter: 2099-12-31, "
            + "operations: [create, update]}\n"
        try domain.write(
            "version: \(version)\norganisation: example\nissued: 2026-01-15\n\(isGiven ? service : "")",
            to: "policy-\(version).yaml")
        try await ChildProcess.run(
            Repository.program("hdsctl"),
            [
                "policy", "sign", domain.path("policy-\(version).yaml"), "--key", domain.path("ada.pem"),
                "--passphrase-file", domain.path("ada.pass"),
            ], folder: domain.folder)
        try domain.write(try domain.read("policy-\(version).signed"), to: "kms/policy.signed")
    }

    /// - Parameter server: where the calendars are; each user has an account of its own there.
    static func start(
        _ name: String, in domain: Domain, users: [(id: String, email: String, login: String)], server: Int
    ) throws
        -> ConnectorNode
    {
        let port = try LoopbackPort.take()
        let kms = try domain.read("kms/hds-kms.yaml")
        // The same core, pins and authorities as the KMS's.
        guard let start = kms.range(of: "core:\n"), let end = kms.range(of: "authorization:\n") else {
            throw NotInTime(what: "the configuration of the KMS", limit: .zero, seen: kms)
        }
        let list = users.map { user in
            """
            {"id": "\(user.id)", "email": "\(user.email)", "login": "\(user.login)", \
            "secret": "\(domain.path("calendar/\(user.login).secret"))", "timeZone": "Europe/Berlin", "languages": ["de"]}
            """
        }
        try domain.write("{\"users\": [\(list.joined(separator: ", "))]}", to: "calendar/users.json")
        let socket = domain.path("calendar/\(name).sock")
        try domain.write(
            """
            node: \(name)
            organisation: example
            \(kms[start.lowerBound..<end.lowerBound])service-account:
              token-endpoint: \(domain.authURL)/token
              ca: ../pki/customer/root.pem
              client-id: \(account)
              client-secret: client-secret
            kms:
              host: \(Domain.kmsHost)
              certificate: ../pki/customer/kms.pem
              key: key.pem
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
            runtime:
              health:
                address: 127.0.0.1:\(port)
              allow-root: \(kms.contains("allow-root: true"))

            """, to: "calendar/\(name).yaml")
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
