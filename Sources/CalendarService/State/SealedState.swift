import CalendarProtocol
import Cryptography
import Diagnostics
import LinkedService
import SecretMemory
import WireText

/// What is known of one user.
struct UserState: Sendable, Hashable {
    /// The KMS resource of the user's calendar, and its key for commands.
    var resource: String?
    var keyURI: String?
    /// The one before it.
    var formerKeyURI: String?
    /// When a new one is due.
    var renewKey: Timestamp?
    /// The last number that was given to a change; `MeetingRecord.revision`, and the order of events.
    var counter: Int64 = 0
    /// The last number that was given to an event for the core.
    var told: Int64 = 0
    var absence: CalendarEvent.Absence?
    var state = CalendarEvent.UserState.pending
    var code: String?
    /// What an operator reads; no text of a calendar.
    var trouble: String?
    var fix: String?
    var since = Timestamp(milliseconds: 0)
    /// The last round that ended without trouble.
    var lastRound: Timestamp?
    /// Objects that could not be read, by code.
    var problems: [String: Int] = [:]
    /// Of all calendars together, stored.
    var objects = 0
    var octets = 0
    /// The last word to the core that the user is looked after.
    var toldAt: Timestamp?
    /// Reminders of the next hours, the next first.
    var reminders: [Reminder] = []
    /// Of which the core has been told, with the start of each meeting.
    var reminded: [String: Int64] = [:]

    struct Reminder: Sendable, Hashable {
        let meeting: String
        /// Seconds since 1970.
        let start: Int64
        let at: Int64

        var key: String { "\(meeting) \(start) \(at)" }
    }

    /// An object takes another size: nil is not there.
    mutating func resize(from before: Int?, to after: Int?) {
        objects = max(0, objects + (after == nil ? 0 : 1) - (before == nil ? 0 : 1))
        octets = max(0, octets + (after ?? 0) - (before ?? 0))
    }

    /// The number of a new change: above all before it, also where an older copy of the database was put back.
    mutating func next(_ now: Timestamp) -> Int64 {
        counter = max(counter + 1, now.milliseconds)
        return counter
    }
}

/// How far a calendar was read.
struct CalendarState: Sendable, Hashable {
    var href: String
    var name: String?
    var token: String?
    /// The window in which its objects were last read into meetings, in seconds since 1970.
    var windowStart: Int
    var windowEnd: Int
    /// The last comparison of all ETags.
    var auditedAt: Timestamp
}

/// One object of a calendar, as it was last read.
struct ObjectState: Sendable, Hashable {
    var calendar: String
    var href: String
    var etag: String?
    /// Empty for what is over.
    var octets: [UInt8]
    /// Revisions of the meetings that the core has of it, by id.
    var meetings: [String: Int64]
    /// The connector made it, on a user's command.
    var isOurs = false
}

/// What belongs to all meetings of a series.
struct SeriesState: Sendable, Hashable {
    var keyURI: String
    /// When a new one is due.
    var renewKey: Timestamp?
    var spaceID: String?
}

/// Documents of the store with their meaning, each sealed under the key that the KMS gives this service (security model, rule
/// 30) and bound to its place.
struct SealedState: Sendable {
    let store: any CalendarStore
    let key: SymmetricKey

    // MARK: - Reading

    func user(_ id: String) async throws -> UserState? {
        try await read(DocumentPlace(owner: id, kind: .user, id: "")).map(UserState.init(json:))
    }

    func calendars(of user: String) async throws -> [String: CalendarState] {
        try await all(of: user, .calendar).mapValues(CalendarState.init(json:))
    }

    func objects(of user: String) async throws -> [String: ObjectState] {
        try await all(of: user, .object).mapValues(ObjectState.init(json:))
    }

    func object(_ id: String, of user: String) async throws -> ObjectState? {
        try await read(DocumentPlace(owner: user, kind: .object, id: id)).map(ObjectState.init(json:))
    }

    func series(_ id: String, of user: String) async throws -> SeriesState? {
        try await read(DocumentPlace(owner: user, kind: .series, id: id)).map(SeriesState.init(json:))
    }

    /// What waits to be told, the oldest first for each user.
    func events(ofShare share: Int, limit: Int) async throws -> [(place: DocumentPlace, json: String)] {
        try await store.documents(ofShare: share, kind: .event, limit: limit).map { document in
            let place = DocumentPlace(owner: document.owner, kind: .event, id: document.id)
            return (place, String(decoding: try open(document.octets, place), as: UTF8.self))
        }
    }

    func waitingEvents(of user: String) async throws -> Int {
        try await store.documents(of: user, kind: .event).count
    }

    private func read(_ place: DocumentPlace) async throws -> JSONNode? {
        guard let octets = try await store.document(place) else { return nil }
        return try Self.node(try open(octets, place))
    }

    private func all(of user: String, _ kind: DocumentKind) async throws -> [String: JSONNode] {
        var found: [String: JSONNode] = [:]
        for document in try await store.documents(of: user, kind: kind) {
            let place = DocumentPlace(owner: user, kind: kind, id: document.id)
            found[document.id] = try Self.node(try open(document.octets, place))
        }
        return found
    }

    private static func node(_ octets: [UInt8]) throws -> JSONNode {
        let limits = JSONDocument.Limits(maximumNodes: 400_000, maximumBytes: 24 << 20)
        guard let root = try? JSONDocument(octets, limits: limits).root else { throw unreadable }
        return root
    }

    // MARK: - Writing

    func put(_ state: UserState, of user: String) throws -> DocumentChange {
        try put(DocumentPlace(owner: user, kind: .user, id: ""), state.write)
    }

    func put(_ state: CalendarState, _ id: String, of user: String) throws -> DocumentChange {
        try put(DocumentPlace(owner: user, kind: .calendar, id: id), state.write)
    }

    func put(_ state: ObjectState, _ id: String, of user: String) throws -> DocumentChange {
        try put(DocumentPlace(owner: user, kind: .object, id: id), state.write)
    }

    func put(_ state: SeriesState, _ id: String, of user: String) throws -> DocumentChange {
        try put(DocumentPlace(owner: user, kind: .series, id: id), state.write)
    }

    /// An event for the core behind all others of the user.
    func append(_ event: CalendarEvent, of user: String, _ state: inout UserState) throws -> DocumentChange {
        state.told += 1
        let digits = String(state.told)
        let place = DocumentPlace(
            owner: user, kind: .event, id: String(repeating: "0", count: max(0, 16 - digits.utf8.count)) + digits)
        return .put(place, try seal(Array(event.encoded().utf8), place))
    }

    private func put(_ place: DocumentPlace, _ write: (inout JSONWriter) -> Void) throws -> DocumentChange {
        var json = JSONWriter(reserving: 512)
        write(&json)
        return .put(place, try seal(json.bytes(), place))
    }

    // MARK: - Seal

    /// The name of an object or calendar in the store: a keyed digest, so that the database tells no href.
    func name(_ href: String) -> String {
        Base64URL.encode(HMACSHA256.code(for: Array("hds calendar name\0\(href)".utf8), key: key))
    }

    private static let values = StoreSeal("calendar", unreadable: unreadable)
    private static let unreadable = DiagnosedError(
        .calendarStore, fault: .store, "what the connector has stored does not open",
        expected: "values sealed under the key of this service's account",
        hint: "the database belongs to another account, or was changed: put back what was there, "
            + "or begin with an empty one")

    private func seal(_ plain: [UInt8], _ place: DocumentPlace) throws -> [UInt8] {
        try Self.values.seal(plain, Self.aad(place), key)
    }

    private func open(_ sealed: [UInt8], _ place: DocumentPlace) throws -> [UInt8] {
        try Self.values.open(sealed, Self.aad(place), key)
    }

    private static func aad(_ place: DocumentPlace) -> [UInt8] {
        [place.owner, place.kind.rawValue, place.id].flatMap { Array("\($0.utf8.count):\($0)".utf8) }
    }
}
