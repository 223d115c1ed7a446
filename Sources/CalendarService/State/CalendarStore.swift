import Diagnostics
import WireText

/// Where the connector keeps what it knows of calendars, shared by all nodes that use the same database. Values are sealed
/// before they come here; in clear are users' ids, kinds and digests.
///
/// Users are spread over `shareCount` shares. A share has one holder at a time, and everything of its users is written under
/// the fence of that holding: what was written by a node that lost its share in between is refused whole.
protocol CalendarStore: Sendable {
    func document(_ place: DocumentPlace) async throws -> [UInt8]?
    /// All of a kind, in the order of their ids.
    func documents(of owner: String, kind: DocumentKind) async throws -> [StoredDocument]
    /// The first of a kind of all owners of a share, by owner and id; for what is to be sent.
    func documents(ofShare share: Int, kind: DocumentKind, limit: Int) async throws -> [StoredDocument]
    /// All or nothing, and on the disk when it returns. False: the share is another's by now, nothing was written.
    func write(_ changes: [DocumentChange], under holding: ShareHolding) async throws -> Bool

    /// One beat of a node: it is alive for `life`; its holdings are renewed, but for those that it leaves, and up to its
    /// part of them it takes what is free.
    func beat(node: String, life: Duration, leaving: Set<Int>) async throws -> ShareBeat
    /// A node goes: its shares are free at once.
    func leave(node: String) async throws
    /// Who holds what; for operators.
    func holders() async throws -> [Int: String]

    /// True the first time, for an id that is remembered until then.
    func isNew(command id: String, until: Timestamp, now: Timestamp) async throws -> Bool
    /// Reads, and writes durably; for health.
    func check() async throws
    func close() async
}

enum DocumentKind: String, Sendable, CaseIterable {
    /// One of each user: keys, counter, trouble.
    case user
    case calendar
    case object
    case series
    /// What the core has not been told yet, in order.
    case event
}

struct DocumentPlace: Sendable, Hashable {
    let owner: String
    let kind: DocumentKind
    let id: String
}

struct StoredDocument: Sendable {
    let owner: String
    let id: String
    let octets: [UInt8]
}

enum DocumentChange: Sendable {
    case put(DocumentPlace, [UInt8])
    case remove(DocumentPlace)

    var place: DocumentPlace {
        switch self {
        case .put(let place, _), .remove(let place): place
        }
    }
}

/// A share that this node holds, as one beat found it.
struct ShareHolding: Sendable, Hashable {
    let share: Int
    let node: String
    /// Grows each time that the share gets another holder.
    let fence: Int64
}

struct ShareBeat: Sendable, Hashable {
    let holdings: [ShareHolding]
    /// How many nodes are alive, this one included.
    let nodes: Int

    /// What this node has to leave, for others are there that have less.
    var surplus: ArraySlice<ShareHolding> { holdings.dropFirst(Shares.most(for: nodes)) }
}

/// How shares and users go together.
enum Shares {
    static let count = 64

    static func share(of user: String) -> Int {
        // Nothing secret: an even spread that all nodes agree on.
        var sum: UInt32 = 2_166_136_261
        for octet in user.utf8 { sum = (sum ^ UInt32(octet)) &* 16_777_619 }
        return Int(sum % UInt32(count))
    }

    /// What a node does about its part: so many may it hold with so many nodes alive.
    static func most(for nodes: Int) -> Int { (count + max(1, nodes) - 1) / max(1, nodes) }
}

extension DiagnosedError.Code {
    static let calendarStore: Self = "calendar-store"
}
