package import CalendarBackend
import CalendarProtocol
import Diagnostics
package import KMSClient
package import KMSProtocol
import LinkedService
import SecretMemory
import Synchronization
import WireText

/// Rounds and commands of a connector without a link: what the benchmark measures.
///
/// The same parts as in the service, over any backend, with any answerer in the place of the KMS, and a core that only counts. One
/// caller at a time.
package final class ConnectorRun: Sendable {
    package typealias Answerer = @Sendable (KMSOperation) async throws -> KMSAnswer

    private struct Asking: KMSAsking {
        let answer: Answerer
        func perform(_ operation: KMSOperation) async throws -> KMSAnswer { try await answer(operation) }
    }

    /// Takes events, and remembers meetings by user with their revisions.
    private final class Counting: CoreTelling {
        let meetings = Mutex<[String: [(id: String, revision: Int64)]]>([:])
        let keys = Mutex<[String: String]>([:])
        let events = Mutex(0)

        func tell(_ events: [String]) async throws {
            for text in events {
                self.events.withLock { $0 += 1 }
                let root = try JSONDocument(text: text).root
                if let user = root["userId"]?.string, let key = root["calendarKeyUrl"]?.string {
                    keys.withLock { $0[user] = key }
                }
                guard let node = root["meeting"] else { continue }
                let meeting = try MeetingRecord(from: node)
                meetings.withLock {
                    $0[meeting.userID, default: []].append((meeting.id, meeting.revision))
                }
            }
        }
    }

    private let parts: ConnectorParts
    private let held: HeldShares
    private let connector: Connector
    private let core = Counting()
    private let kms: Asking

    /// - Parameters:
    ///   - database: path of the SQLite file.
    ///   - users: ids with addresses.
    package init(
        database: String, users: [(id: String, email: String)], backend: any CalendarBackend, joinHost: String,
        kms answer: @escaping Answerer
    ) async throws {
        kms = Asking(answer: answer)
        let store = try SQLiteCalendarStore(path: database)
        var json = JSONWriter(reserving: users.count * 64)
        json.beginObject()
        json.name("users")
        json.beginArray()
        for user in users {
            json.beginObject()
            json.member("id", user.id)
            json.member("email", user.email)
            json.endObject()
        }
        json.endArray()
        json.endObject()
        parts = ConnectorParts(
            store: store, consent: ServiceConsent(kms) { _ in }, keys: CalendarKeys(kms),
            users: UsersInForce(try UserList(json.bytes(), backends: ["bench"], folder: "/")),
            backends: ["bench": BackendAccess("bench", backend: backend)],
            settings: MeetingSettings(joinHosts: [joinHost]), accounts: AccountCache(), turns: UserTurns(),
            outbox: OutboxFlags(), instruments: .none, now: { .now() })
        held = HeldShares(store, node: "bench", outbox: parts.outbox)
        connector = Connector(parts, held, interval: .seconds(30), concurrent: 16)
        await held.beat()
    }

    package var events: Int { core.events.withLock { $0 } }

    /// A round of one user, and its events to the core.
    package func round(_ id: String) async throws {
        await held.beat()
        guard let user = parts.users.list.users[id], try await connector.perform(user) != nil else {
            throw DiagnosedError(.calendarStore, fault: .internal, "the run has not this user")
        }
    }

    package func send() async throws {
        try await EventSender(parts: parts, held: held, core: core) { _ in }.work()
    }

    /// Writes join details into each of a user's meetings as a client's commands do; the seconds that each took.
    package func join(_ id: String, url: String) async throws -> [Double] {
        let desk = CommandDesk(parts: parts, held: held)
        var taken: [Double] = []
        guard let uri = core.keys.withLock({ $0[id] }),
            case .key(let key) = try await kms.perform(.useKey(uri, .content)).body
        else { return [] }
        for meeting in core.meetings.withLock({ $0[id] ?? [] }) {
            let command = CalendarCommand(
                id: UUIDText.random(), issued: .now(), userID: id,
                .putJoinDetails(meetingID: meeting.id, revision: meeting.revision, .init(url: url)))
            var json = JSONWriter()
            json.beginObject()
            json.member("type", "calendar.command")
            json.member("userId", id)
            json.member("encryptionKeyUrl", uri)
            json.member("message", try EncryptedText(encrypting: command.encoded(), under: key.key).jwe)
            json.endObject()
            let octets = json.bytes()
            let start = ContinuousClock.now
            let answer = await desk.answer(octets)
            taken.append((ContinuousClock.now - start) / .seconds(1))
            let text = try answer.message.map { try EncryptedText(received: $0).text(with: key.key) }
            guard try text.map({ try CalendarAnswer(parsing: $0, to: command.id).outcome }) == .written else {
                throw DiagnosedError(.calendarWire, fault: .internal, "details were not written", found: answer.reason)
            }
            await held.beat()
        }
        return taken
    }

    package func close() async { await parts.store.close() }
}
