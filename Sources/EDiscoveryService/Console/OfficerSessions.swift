import Cryptography
import WireText

/// Who may use the console and the HTTP interface now. Begun by an officer's sealed command (`api.open`) alone: no password
/// comes to the worker, and the cloud sees nothing of it.
///
/// In memory only, as SHA-256 of secrets: a worker that starts anew has none. A session is no right: each command asks the KMS
/// again whether its officer is one.
actor OfficerSessions {
    struct Session: Sendable, Equatable {
        let officer: String
        let matter: String?
        /// The space of the officer's own report key: what the KMS is asked about.
        let resource: String
        let until: Timestamp
    }

    /// A ticket opens the console once, within this time.
    static let ticketSeconds: Int64 = 120
    static let longest: Int64 = 12 * 3600
    private static let mostOfOne = 20

    private let now: @Sendable () -> Timestamp
    private var tickets: [[UInt8]: (session: Session, until: Timestamp)] = [:]
    private var sessions: [[UInt8]: Session] = [:]
    private var downloads: [[UInt8]: (file: Download, until: Timestamp)] = [:]

    struct Download: Sendable, Equatable {
        let path: String
        let name: String
        let octets: Int64
    }

    init(now: @escaping @Sendable () -> Timestamp = { .now() }) { self.now = now }

    func ticket(for session: Session) throws -> String {
        let secret = try Self.secret()
        tickets = tickets.filter { now() < $0.value.until }
        tickets[Self.digest(secret)] = (session, now().adding(seconds: Self.ticketSeconds))
        return secret
    }

    /// The secret of a session, for a ticket that was not used before.
    func enter(_ ticket: String) throws -> (secret: String, session: Session)? {
        guard let found = tickets.removeValue(forKey: Self.digest(ticket)), now() < found.until else { return nil }
        return (try begin(found.session), found.session)
    }

    func begin(_ session: Session) throws -> String {
        let present = now()
        sessions = sessions.filter { present < $0.value.until }
        let own = sessions.filter { $0.value.officer == session.officer }.sorted { $0.value.until < $1.value.until }
        for (digest, _) in own.dropLast(Self.mostOfOne - 1) { sessions[digest] = nil }
        let secret = try Self.secret()
        sessions[Self.digest(secret)] = session
        return secret
    }

    func session(_ secret: String) -> Session? {
        guard let session = sessions[Self.digest(secret)], now() < session.until else { return nil }
        return session
    }

    /// A link to one sealed file, good once and for as long as a ticket: a browser saves it without keeping it in memory.
    func link(to file: Download) throws -> String {
        let secret = try Self.secret()
        downloads = downloads.filter { now() < $0.value.until }
        downloads[Self.digest(secret)] = (file, now().adding(seconds: Self.ticketSeconds))
        return secret
    }

    func download(_ secret: String) -> Download? {
        guard let found = downloads.removeValue(forKey: Self.digest(secret)), now() < found.until else { return nil }
        return found.file
    }

    func end(_ secret: String) { sessions[Self.digest(secret)] = nil }

    private static func secret() throws -> String { Base64URL.encode(try RandomBytes.bytes(32)) }
    private static func digest(_ secret: String) -> [UInt8] { SHA256.hash(Array(secret.utf8)) }
}
