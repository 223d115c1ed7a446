import CalendarProtocol
import CoreLink
import Cryptography
import Diagnostics
import Foundation
import HDSClient
import HTTPClient
import KMSClient
import KMSProtocol
import LinkProtocol
import LinkedService
import Synchronization
import TLSChannel
import TestServers
import WireText

/// What stands in for a calendar connector: an account, a link and keys of its own at the real KMS, and a calendar that is a
/// dictionary. It opens and judges sealed commands as the contract says, and writes nothing anywhere.
final class StandInConnector: Sendable {
    static let account = "hds-calendar"

    struct Book {
        var meetings: [String: MeetingRecord] = [:]
        var commands: [CalendarCommand] = []
        var revision: Int64 = 0
    }

    let book = Mutex(Book())
    private let owner: String
    private let kms: KMSCaller
    private let link: CoreLink
    private let running: RunningService
    private let web: WebClient
    private let keys = Mutex<[KMSKey]>([])

    /// Makes the account; before the authorization service starts.
    static func enter(_ domain: Domain) async throws {
        let script = """
            mkdir -p "$1/calendar"
            openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -out "$1/calendar/key.pem" 2>/dev/null
            openssl pkey -in "$1/calendar/key.pem" -pubout -out "$1/calendar/key.pub"
            """
        try await ChildProcess.run("bash", ["-euc", script, "key", domain.folder], folder: domain.folder)
        try await ChildProcess.run(
            Repository.program("hds-auth"),
            [
                "add-service", "--accounts", domain.path("auth/accounts.yaml"), "--id", account, "--organisation",
                "example", "--grant", "cloud=link:calendar", "--grant", "kms", "--key", domain.path("calendar/key.pub"),
                "--secret-file", domain.path("calendar/client-secret"),
            ], folder: domain.folder)
        try await consent(domain)
    }

    /// What the KMS gives a service stands in a policy that an officer has signed: here to make keys, and to read.
    private static func consent(_ domain: Domain) async throws {
        func hdsctl(_ arguments: [String]) async throws -> String {
            try await ChildProcess.run(Repository.program("hdsctl"), arguments, folder: domain.folder)
        }
        let pass = ["--passphrase-file", domain.path("ada.pass")]
        try domain.write("the passphrase of ada\n", to: "ada.pass")
        let made = try await hdsctl(
            ["officer", "create", domain.path("ada.pem"), "--id", "ada", "--duty", "policy"] + pass)
        let officer = made.split(separator: "\n").first { $0.hasPrefix("{") } ?? ""
        try domain.write("{\"officers\":[\(officer)]}", to: "kms/officers.json")
        try domain.write(
            """
            version: 1
            organisation: example
            issued: 2026-01-15
            services:
              - {name: calendar, type: calendar, subject: \(account), spaces: all, notAfter: 2099-12-31, operations: [create]}

            """, to: "policy.yaml")
        _ = try await hdsctl(["policy", "sign", domain.path("policy.yaml"), "--key", domain.path("ada.pem")] + pass)
        try domain.write(try domain.read("policy.signed"), to: "kms/policy.signed")
        try domain.replace(
            "control:\n", with: "policy:\n  file: policy.signed\nofficers:\n  file: officers.json\ncontrol:\n",
            in: "kms/hds-kms.yaml")
    }

    /// - Parameter owner: the one user whose calendar it is.
    init(_ deployment: Deployment, owner: String) async throws {
        let domain = deployment.domain
        let profile = try deployment.profile()
        self.owner = owner
        let web = try deployment.authClient()
        self.web = web
        let secret = try domain.read("calendar/client-secret").trimmingCharacters(in: .whitespacesAndNewlines)
        let tokens = ServiceTokens(
            client: web, endpoint: domain.authURL + "/token", clientID: Self.account, secret: Redacted(secret),
            hint: "look at the accounts")
        let pinned = try VerifiedStaticKey(
            pinned: try Certificate.all(inPEM: domain.read("pki/customer/kms.pem")), host: Domain.kmsHost)
        let key = try domain.read("calendar/key.pem").utf8.withContiguousStorageIfAvailable {
            ServiceKey(try PrivateKey(pem: UnsafeRawBufferPointer($0)))
        }
        let links = LinkHolder()
        kms = KMSCaller(
            links, key: { pinned }, account: .init(clientID: "calendar/c1", subject: Self.account, key: key ?? nil),
            tokens: { tokens })
        let (states, sink) = AsyncStream.makeStream(of: LinkState.self)
        let (deliveries, taken) = AsyncStream.makeStream(of: LinkDelivery.self)
        link = CoreLink(
            configuration: CoreLinkConfiguration(
                url: "wss://" + domain.coreURL.dropFirst("https://".count) + "/link/v1",
                trust: TLSTrust(roots: profile.coreTrust.roots, pins: profile.coreTrust.pins), node: "c1",
                service: "calendar", organisation: "example", version: "1.0.0", destination: "calendar://example",
                details: { "{}" }, token: { try await tokens.token() }),
            handler: { taken.yield($0) }, state: { sink.yield($0) })
        links.hold(link)
        running = RunningService([link])
        Task { [weak self] in for await delivery in deliveries { await self?.take(delivery) } }
        for await state in states where state.phase == .open { break }
        // One resource: the user and the connector. One key for the calendar, one for all series.
        guard case .keys(let made) = try await kms.perform(.createKeys(count: 2)).body else {
            throw NotInTime(what: "keys", limit: .zero, seen: nil)
        }
        try await kms.perform(.createResource(keys: made.map(\.uri), users: [Self.account, owner]))
        keys.withLock { $0 = made }
        try await tell([.status(userID: owner, .ok, code: nil, since: .now(), keyURI: made[0].uri)])
    }

    func stop() async {
        await running.stop()
        await web.close()
    }

    private var series: KMSKey { get throws { try held(1) } }
    private func held(_ place: Int) throws -> KMSKey {
        let keys = keys.withLock { $0 }
        guard keys.count > place else { throw NotInTime(what: "keys", limit: .zero, seen: nil) }
        return keys[place]
    }

    /// A meeting that the user organizes, with `@meet` as its place.
    func plan(_ id: String, _ subject: String, people: [MeetingPerson]) async throws {
        let key = try series
        let start = Timestamp.now().adding(seconds: 3600)
        var record = MeetingRecord(
            id: id, userID: owner, seriesID: "series-" + id, icalUID: "uid-" + id, revision: next(), start: start,
            startTimeZone: "Europe/Berlin", durationMinutes: 45, keyURI: key.uri)
        record.subject = try EncryptedText(encrypting: subject, under: key.key)
        record.location = try EncryptedText(encrypting: "@meet", under: key.key)
        record.participants = try EncryptedText(encrypting: MeetingPerson.text(people), under: key.key)
        record.isOrganizer = true
        record.trigger = .init(.keyword, .space)
        let made = record
        book.withLock { $0.meetings[id] = made }
        try await tell([.created(made)])
    }

    private func next() -> Int64 {
        book.withLock { book in
            book.revision += 1
            return book.revision
        }
    }

    func tell(_ events: [CalendarEvent]) async throws {
        let call = CalendarEvent.call(events.map { $0.encoded() })
        let outcome = await link.call(CalendarEvent.destination, text: call, within: .seconds(20))
        guard case .answered(let octets) = outcome, try JSONDocument(octets).root["status"]?.integer == 200 else {
            throw NotInTime(what: "a call to the core", limit: .seconds(20), seen: "\(outcome)")
        }
    }

    private func take(_ delivery: LinkDelivery) async {
        var answer = #"{"status":403,"reason":"it does not open","code":"key"}"#
        if let made = try? await sealedAnswer(to: delivery.text) { answer = #"{"status":200,"message":"\#(made)"}"# }
        link.answer(delivery, text: Array(answer.utf8))
    }

    private func sealedAnswer(to text: [UInt8]) async throws -> String {
        let root = try JSONDocument(text).root
        guard let uri = root["encryptionKeyUrl"]?.string, let sealed = root["message"]?.string,
            // As the KMS has it, so that a key that it gives to nobody else opens nothing.
            case .key(let key) = try await kms.perform(.retrieveKey(uri)).body
        else { throw NotInTime(what: "a command", limit: .zero, seen: root.rawText) }
        let command = try CalendarCommand(parsing: EncryptedText(received: sealed).text(with: key.key))
        let (answer, news) = try judge(command, revision: next())
        if !news.isEmpty { try await tell(news) }
        return try EncryptedText(encrypting: answer.encoded(), under: key.key).jwe
    }

    private func judge(_ command: CalendarCommand, revision: Int64) throws -> (CalendarAnswer, [CalendarEvent]) {
        let key = try series
        return try book.withLock { book in
            book.commands.append(command)
            guard command.userID == owner else { return (CalendarAnswer(to: command.id, .refused), []) }
            switch command.action {
            case .putJoinDetails(let id, let named, _), .updateEvent(let id, let named, _),
                .deleteEvent(let id, let named):
                guard var record = book.meetings[id], record.revision == named else {
                    return (CalendarAnswer(to: command.id, .conflict, latest: book.meetings[id]?.revision), [])
                }
                record.revision = revision
                switch command.action {
                case .putJoinDetails(_, _, let join):
                    record.hasJoinDetails = true
                    record.joinInfo = .init(uri: nil, url: try EncryptedText(encrypting: join.url, under: key.key))
                case .updateEvent(_, _, let event): record.start = event.start ?? record.start
                default:
                    book.meetings[id] = nil
                    return (
                        CalendarAnswer(to: command.id, .written),
                        [.deleted(userID: owner, meetingID: id, revision: revision, .cancelled)]
                    )
                }
                book.meetings[id] = record
                return (CalendarAnswer(to: command.id, .written, latest: revision, meetingID: id), [.updated(record)])
            case .freeBusy(let from, _, let emails):
                let span = CalendarAnswer.BusySpan(from: from, to: from.adding(seconds: 1800), kind: "busy")
                return (CalendarAnswer(to: command.id, .ok, busy: emails.map { .init(email: $0, spans: [span]) }), [])
            case .createEvent, .list: return (CalendarAnswer(to: command.id, .written), [])
            }
        }
    }
}
