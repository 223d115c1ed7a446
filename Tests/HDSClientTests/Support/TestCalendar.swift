import CalendarProtocol
import CoreLink
import Cryptography
import Diagnostics
import KMSClient
import KMSProtocol
import LinkProtocol
import SecretMemory
import Synchronization
import TestServers
import WireText

/// A small calendar connector on a real link: its keys are at the `TestKMS`, what it tells is sealed under them, and commands
/// are opened, judged by revision and answered as the contract says.
final class TestCalendar: Sendable {
    static let service = "hds-calendar"

    struct State {
        var meetings: [String: MeetingRecord] = [:]
        /// What was asked, opened.
        var commands: [CalendarCommand] = []
        /// So many writes find that somebody else was quicker.
        var interruptions = 0
        /// Answers with this instead.
        var answer: (@Sendable (CalendarCommand) -> CalendarAnswer)?
        var lastRevision: Int64 = 100
    }

    let state = Mutex(State())
    let keys: Keys
    private let kms: TestKMS
    private let link: CoreLink
    private let running: RunningService
    private let states: AsyncStream<LinkState>
    private let holder = Holder()

    struct Keys: Sendable {
        let calendar: KMSKey
        let series: KMSKey
    }

    private struct Weak: Sendable { weak let calendar: TestCalendar? }
    private final class Holder: Sendable { let calendar = Mutex<Weak?>(nil) }

    init(_ world: SocketWorld) throws {
        kms = world.kms
        keys = Keys(
            calendar: try Self.makeKey(kms, readers: [TestKMS.user, Self.service], in: "calendar"),
            series: try Self.makeKey(kms, readers: [TestKMS.user, Self.service], in: "calendar"))
        let (states, sink) = AsyncStream.makeStream(of: LinkState.self)
        self.states = states
        let holder = holder
        link = CoreLink(
            configuration: world.linkOfConnector(),
            handler: { delivery in
                guard let calendar = holder.calendar.withLock({ $0?.calendar }) else { return }
                Task { await calendar.take(delivery) }
            }, state: { sink.yield($0) })
        running = RunningService([link])
        holder.calendar.withLock { $0 = Weak(calendar: self) }
    }

    func open() async throws -> TestCalendar {
        for await state in states where state.phase == .open { return self }
        throw CancellationError()
    }

    func stop() async { await running.stop() }

    // MARK: - Keys

    /// A key in a resource of that name, which those may read.
    static func makeKey(_ kms: TestKMS, readers: [String], in name: String) throws -> KMSKey {
        let resource = kms.names.resource(uuid(name))
        let now = kms.clock.now
        let key = KMSKey(
            uri: kms.names.key(UUIDText.random()), key: try SymmetricKey.random(), userID: service, clientID: service,
            createDate: now, expirationDate: now.adding(seconds: 86_400), resourceURI: resource, bindDate: now)
        kms.state.withLock { state in
            var entry =
                state.resources[resource]
                ?? (KMSResource(uri: resource, keyURIs: [], authorizationURIs: []), [:])
            for reader in readers { entry.members[reader] = kms.names.authorization(uuid(name + reader)) }
            entry.resource.keyURIs.append(key.uri)
            entry.resource.authorizationURIs = entry.members.values.sorted()
            state.resources[resource] = entry
            state.keys[key.uri] = key
        }
        return key
    }

    private static func uuid(_ name: String) -> String {
        let digits = Hexadecimal.encode(Array(SHA256.hash(Array(name.utf8)).prefix(6)))
        return "5b1e0000-0000-4000-8000-\(digits)"
    }

    // MARK: - Telling

    /// A meeting of the user, sealed under the key of its series (or another), that is in the calendar from now on.
    func meeting(
        _ id: String, _ subject: String, start: Timestamp, people: [MeetingPerson] = [], under key: KMSKey? = nil,
        change: (inout MeetingRecord) -> Void = { _ in }
    ) throws -> MeetingRecord {
        let key = key ?? keys.series
        var record = MeetingRecord(
            id: id, userID: TestKMS.user, seriesID: "series-" + id, icalUID: "uid-" + id, revision: next(),
            start: start,
            startTimeZone: "Europe/Berlin", durationMinutes: 30, keyURI: key.uri)
        record.subject = try EncryptedText(encrypting: subject, under: key.key)
        record.location = try EncryptedText(encrypting: "@meet", under: key.key)
        record.participants = try EncryptedText(encrypting: MeetingPerson.text(people), under: key.key)
        record.isOrganizer = true
        change(&record)
        let made = record
        state.withLock { $0.meetings[id] = made }
        return made
    }

    func next() -> Int64 {
        state.withLock { state in
            state.lastRevision += 1
            return state.lastRevision
        }
    }

    func tell(_ events: [CalendarEvent]) async throws {
        let call = CalendarEvent.call(events.map { $0.encoded() })
        guard case .answered(let octets) = await link.call(CalendarEvent.destination, text: call, within: .seconds(20))
        else { throw TestFailure("the core took no call") }
        let root = try JSONDocument(octets).root
        guard root["status"]?.integer == 200 else { throw TestFailure(root["reason"]?.string ?? "refused") }
    }

    func tellStatus(_ key: String? = nil) async throws {
        try await tell([
            .status(userID: TestKMS.user, .ok, code: nil, since: kms.clock.now, keyURI: key ?? keys.calendar.uri)
        ])
    }

    // MARK: - Commands

    private func take(_ delivery: LinkDelivery) async {
        let answer: String
        do {
            let root = try JSONDocument(delivery.text).root
            let uri = root["encryptionKeyUrl"]?.string ?? ""
            guard let key = kms.state.withLock({ $0.keys[uri] }), let sealed = root["message"]?.string,
                root["type"]?.string == "calendar.command"
            else { throw TestFailure("no such key") }
            let command = try CalendarCommand(parsing: EncryptedText(received: sealed).text(with: key.key))
            let (made, news) = try judge(command)
            if !news.isEmpty { try await tell(news) }
            let text = try EncryptedText(encrypting: made.encoded(), under: key.key)
            answer = #"{"status":200,"message":"\#(text.jwe)"}"#
        } catch {
            answer = #"{"status":403,"reason":"it does not open","code":"key"}"#
        }
        link.answer(delivery, text: Array(answer.utf8))
    }

    private func judge(_ command: CalendarCommand) throws -> (CalendarAnswer, [CalendarEvent]) {
        let revision = next()
        return try state.withLock { state in
            state.commands.append(command)
            if let answer = state.answer { return (answer(command), []) }
            guard command.userID == TestKMS.user else { return (CalendarAnswer(to: command.id, .refused), []) }
            func write(
                _ id: String, _ named: Int64, _ change: (inout MeetingRecord) throws -> Void
            ) throws -> (CalendarAnswer, [CalendarEvent]) {
                guard var record = state.meetings[id] else {
                    return (CalendarAnswer(to: command.id, .refused, reason: "there is no such meeting"), [])
                }
                if state.interruptions > 0 {
                    state.interruptions -= 1
                    record.revision = revision
                    state.meetings[id] = record
                    return (CalendarAnswer(to: command.id, .conflict, latest: revision), [.updated(record)])
                }
                guard record.revision == named else {
                    return (CalendarAnswer(to: command.id, .conflict, latest: record.revision), [])
                }
                record.revision = revision
                try change(&record)
                state.meetings[id] = record
                return (CalendarAnswer(to: command.id, .written, latest: revision, meetingID: id), [.updated(record)])
            }
            switch command.action {
            case .putJoinDetails(let id, let named, let join):
                return try write(id, named) { record in
                    record.hasJoinDetails = true
                    record.joinInfo = .init(
                        uri: nil, url: try EncryptedText(encrypting: join.url, under: keys.series.key))
                }
            case .updateEvent(let id, let named, let event):
                return try write(id, named) { record in if let start = event.start { record.start = start } }
            case .deleteEvent(let id, let named):
                guard state.meetings[id]?.revision == named else {
                    return (CalendarAnswer(to: command.id, .conflict, latest: state.meetings[id]?.revision), [])
                }
                state.meetings[id] = nil
                return (
                    CalendarAnswer(to: command.id, .written),
                    [.deleted(userID: TestKMS.user, meetingID: id, revision: revision, .cancelled)]
                )
            case .createEvent: return (CalendarAnswer(to: command.id, .written, meetingID: "new"), [])
            case .freeBusy(let from, _, let emails):
                let span = CalendarAnswer.BusySpan(from: from, to: from.adding(seconds: 3600), kind: "busy")
                return (
                    CalendarAnswer(
                        to: command.id, .ok,
                        busy: emails.map { .init(email: $0, spans: $0.hasPrefix("bob@") ? [span] : nil) }), []
                )
            case .list: return (CalendarAnswer(to: command.id, .ok, meetings: []), [])
            }
        }
    }
}
