import CalendarBackend
import CalendarProtocol
import CalendarSync
import Diagnostics
import FoundationEssentials
import KMSClient
import LinkedService
import SecretMemory
import ServiceRuntime
import Synchronization
import TestServers
import WireText

@testable import CalendarService
import Cryptography

/// A connector without sockets: a calendar server in memory, keys in memory, a real database, and a core that remembers.
final class Bench: Sendable {
    static let spaceID = "0b8cfd7e-5b1f-4f0e-9b0a-6f3a3f0b1c2d"
    static let joinURL = "https://meet.example.com/r/1"

    let folder: TemporaryFolder
    let store: any CalendarStore
    let server = MemoryCalendarBackend()
    let faults: FaultingCalendarBackend
    let kms = TestKeys()
    let core = TestCore()
    let parts: ConnectorParts
    let held: HeldShares
    let connector: Connector
    let clock = Mutex(Timestamp(iso8601: "2027-01-11T08:00:00Z") ?? .now())
    let alice = ServerUser(id: "alice", address: "alice@example.org")
    let calendar: CalendarReference

    static let example: String = {
        let root = "/" + #filePath.split(separator: "/").dropLast(3).joined(separator: "/")
        return (try? FileLocation("\(root)/config/hds-calendar.yaml").text()) ?? ""
    }()

    static func configuration(_ change: (String) -> String = { $0 }) throws -> CalendarServiceConfiguration {
        try ConfigurationFile.decode(Array(change(example).utf8), file: "hds-calendar.yaml", folder: "/etc/hds")
    }

    /// No machine is so busy that holdings end by themselves between two steps of a test.
    static let life = Duration.seconds(3_600)

    init(
        node: String = "one", store: (any CalendarStore)? = nil,
        change: (String) -> String = { $0 }, users: String = Bench.users
    ) async throws {
        folder = TemporaryFolder()
        let configuration = try Self.configuration(change)
        let path = folder.path + "/users.json"
        try Data(users.utf8).write(to: URL(filePath: path))
        self.store = try store ?? SQLiteCalendarStore(path: folder.path + "/calendar.sqlite")
        faults = FaultingCalendarBackend(server)
        server.add(alice)
        calendar = server.addCalendar("home", of: alice)
        let access = BackendAccess(
            "main", backend: faults, accounts: configuration.backends[0].accounts.count)
        let outbox = OutboxFlags()
        let kms = kms
        let now = NowBox()
        parts = ConnectorParts(
            store: self.store, consent: ServiceConsent(kms) { _ in }, keys: CalendarKeys(kms),
            users: try UsersInForce(FileLocation(path), backends: ["main"]), backends: ["main": access],
            settings: try MeetingSettings(configuration.meetings, configuration.rounds), accounts: AccountCache(),
            turns: UserTurns(), outbox: outbox, instruments: .none, now: { now.value })
        held = HeldShares(self.store, node: node, outbox: outbox, life: Self.life)
        connector = Connector(parts, held, interval: .seconds(30), concurrent: 4)
        now.ask { [unowned self] in clock.withLock { $0 } }
        await held.beat()
    }

    static let users = """
        {"users": [
          {"id": "alice", "email": "alice@example.org", "timeZone": "Europe/Berlin"},
          {"id": "bob", "email": "bob@example.org"}]}
        """

    func user(_ id: String = "alice") throws -> ConnectedUser {
        guard let user = parts.users.list.users[id] else { throw TestTrouble("no user \(id)") }
        return user
    }

    /// A round of alice, then all events to the core.
    @discardableResult
    func round(everything: Bool = false) async throws -> UserRound.Outcome {
        guard let outcome = try await connector.perform(user(), everything: everything) else {
            throw TestTrouble("this node has not the user")
        }
        try await send()
        return outcome
    }

    func send() async throws {
        try await EventSender(parts: parts, held: held, core: core) { [core] in core.refuse($0) }.work()
    }

    func wait(_ seconds: Int64) { clock.withLock { $0 = $0.adding(seconds: seconds) } }

    // MARK: - The calendar

    func event(_ uid: String, _ lines: [String], start: String = "20270112T090000Z", end: String = "20270112T100000Z")
        -> [UInt8]
    {
        let all =
            [
                "BEGIN:VCALENDAR", "VERSION:2.0", "PRODID:-//test//", "BEGIN:VEVENT", "UID:\(uid)",
                "DTSTAMP:20270101T000000Z",
            ]
            + (start.isEmpty ? [] : ["DTSTART:\(start)", "DTEND:\(end)"]) + lines + ["END:VEVENT", "END:VCALENDAR"]
        return Array(all.map { $0 + "\r\n" }.joined().utf8)
    }

    static let asking = [
        "SUMMARY:Secret plan", "LOCATION:Room 4; @meet", "ORGANIZER:mailto:alice@example.org",
        "ATTENDEE;PARTSTAT=NEEDS-ACTION:mailto:bob@example.org",
    ]

    @discardableResult
    func put(_ name: String, _ octets: [UInt8]) async throws -> CalendarHref {
        let href = CalendarHref("/alice/home/\(name).ics")
        if let object = try await server.object(href, in: calendar), let etag = object.etag {
            _ = try await server.put(octets, at: href, in: calendar, .match(etag))
        } else {
            _ = try await server.put(octets, at: href, in: calendar, .create)
        }
        return href
    }

    func text(_ name: String) async throws -> String {
        let object = try await server.object(CalendarHref("/alice/home/\(name).ics"), in: calendar)
        return String(decoding: object?.octets ?? [], as: UTF8.self)
    }

    // MARK: - Commands

    func command(
        _ action: CalendarCommand.Action, under uri: String? = nil, user: String = "alice",
        id: String = UUIDText.random(),
        issued: Timestamp? = nil, named: String = "alice"
    ) async throws -> (cover: CommandDesk.Answer, answer: CalendarAnswer?) {
        let uri = uri ?? core.keyURI(of: "alice") ?? ""
        let command = CalendarCommand(id: id, issued: issued ?? parts.now(), userID: user, action)
        let key = try kms.key(uri) ?? SymmetricKey.random()
        var json = JSONWriter()
        json.beginObject()
        json.member("type", "calendar.command")
        json.member("userId", named)
        json.member("encryptionKeyUrl", uri)
        json.member("message", try EncryptedText(encrypting: command.encoded(), under: key).jwe)
        json.endObject()
        let cover = await CommandDesk(parts: parts, held: held).answer(json.bytes())
        let answer = try cover.message.map {
            try CalendarAnswer(parsing: EncryptedText(received: $0).text(with: key), to: id)
        }
        return (cover, answer)
    }

    func join(_ meeting: MeetingRecord, url: String = Bench.joinURL) -> CalendarCommand.Action {
        .putJoinDetails(
            meetingID: meeting.id, revision: meeting.revision,
            .init(
                url: url, sip: "sip:1@meet.example.com", pin: "4711", spaceTitle: "Secret plan",
                spaceID: Bench.spaceID))
    }
}

struct TestTrouble: Error {
    let text: String
    init(_ text: String) { self.text = text }
}

/// The time, asked of somebody who is made later.
private final class NowBox: Sendable {
    private let asked = Mutex<(@Sendable () -> Timestamp)?>(nil)
    func ask(_ body: @escaping @Sendable () -> Timestamp) { asked.withLock { $0 = body } }
    var value: Timestamp { asked.withLock { $0 }?() ?? .now() }
}

/// The core's side of the events: what it is told it keeps, and by the same rules.
final class TestCore: CoreTelling {
    struct State {
        var calls: [[String]] = []
        var meetings: [String: MeetingRecord] = [:]
        var status: [String: String] = [:]
        var keys: [String: String] = [:]
        var absences: [CalendarEvent.Absence?] = []
        var refused: [String] = []
        var reminders: [String] = []
        var isAway = false
        var takesNo: String?
    }

    private let state = Mutex(State())
    var all: State { state.withLock { $0 } }
    var meetings: [MeetingRecord] { all.meetings.values.sorted { ($0.start, $0.id) < ($1.start, $1.id) } }
    func keyURI(of user: String) -> String? { all.keys[user] }
    func away(_ isAway: Bool) { state.withLock { $0.isAway = isAway } }
    func takeNo(_ word: String?) { state.withLock { $0.takesNo = word } }
    func refuse(_ reason: String) { state.withLock { $0.refused.append(reason) } }
    func forget() { state.withLock { $0 = State() } }

    func tell(_ events: [String]) async throws {
        try state.withLock { state in
            guard !state.isAway else { throw DiagnosedError(.calendarCore, fault: .peer, "away") }
            if let word = state.takesNo, events.contains(where: { $0.contains(word) }) {
                throw CoreCalendar.Refused(reason: "it has the word")
            }
            state.calls.append(events)
            for text in events {
                let event = try JSONDocument(text: text).root
                let user = event["userId"]?.string ?? ""
                switch event["type"]?.string {
                case "calendar.meeting.created", "calendar.meeting.updated":
                    guard let node = event["meeting"] else { throw TestTrouble("no meeting") }
                    let meeting = try MeetingRecord(from: node)
                    guard state.meetings[meeting.id].map({ $0.revision < meeting.revision }) ?? true else { continue }
                    state.meetings[meeting.id] = meeting
                case "calendar.meeting.deleted": state.meetings[event["meetingId"]?.string ?? ""] = nil
                case "calendar.reminder":
                    state.reminders.append("\(event["meetingId"]?.string ?? "") \(event["start"]?.string ?? "")")
                case "presence.outOfOffice":
                    let from = event["from"]?.string.flatMap { Timestamp(iso8601: $0) }
                    let to = event["to"]?.string.flatMap { Timestamp(iso8601: $0) }
                    state.absences.append(from.flatMap { from in to.map { .init(from: from, to: $0) } })
                case "connector.user.status":
                    state.status[user] = [event["state"]?.string, event["code"]?.string].compactMap { $0 }
                        .joined(separator: " ")
                    if let key = event["calendarKeyUrl"]?.string { state.keys[user] = key }
                default: throw TestTrouble("an event of no type")
                }
            }
        }
    }
}
