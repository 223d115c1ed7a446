import WireText

/// What the model, the generator and the wire side speak of: things by the step that made them, never by an id that a
/// server chose, so that a sequence of steps means the same on every run and with steps left out.
struct Ref: Hashable, Sendable, CustomStringConvertible {
    let step: Int
    var index = 0
    /// Something that nobody made.
    static func absent(_ number: Int) -> Ref { Ref(step: -1, index: number) }
    var description: String { step < 0 ? "absent\(index)" : "\(step).\(index)" }
}

/// Who is at the client's end of a session.
enum Actor: Hashable, Sendable {
    case user(Int)
    /// The holder of an unnamed authorization's bearer.
    case holder(Ref)
}

/// An id on an access list, as a client may write it.
enum Identity: Hashable, Sendable {
    case user(Int, isUpperCase: Bool = false)
    /// A UUID of nobody who ever asks: a device, a space of another service.
    case stranger(Int)
    case space(Ref, isUpperCase: Bool = false)
    case everybody
    case foreignSpace
    /// A `kms:` URI that names no resource.
    case key(Ref)

    /// Spelling does not make another one.
    var canonical: Identity {
        switch self {
        case .user(let number, _): .user(number)
        case .space(let ref, _): .space(ref)
        default: self
        }
    }
    var spaceRef: Ref? {
        if case .space(let ref, _) = self { return ref }
        return nil
    }
}

enum Role: String, Sendable {
    case moderator = "spark:roles/moderator"
    case guest = "spark:roles/guest"
}

/// In whose name a user asks.
enum Claim: Hashable, Sendable {
    case oneself
    case onBehalfOf(Int)
    /// The form of clients before 2021: a foreign `userId` and no `onBehalfOf`.
    case foreignUserID(Int)

    func effectiveUser(of own: Int) -> Int {
        switch self {
        case .oneself: own
        case .onBehalfOf(let user), .foreignUserID(let user): user
        }
    }
}

enum Request: Sendable {
    case ping
    case createKeys(count: Int)
    case retrieveKey(Ref)
    case bindKey(Ref, to: Ref)
    case bindKeyAbroad(Ref)
    case retrieveKeys(Ref, from: Timestamp?, before: Timestamp?, count: Int?)
    case createSpace(keys: [Ref], ids: [Identity], ttl: Int64?, unnamed: Int)
    case retrieveSpace(Ref)
    case deleteSpace(Ref)
    case authorize(Ref, [Identity], role: Role?, unnamed: Int, details: Bool)
    case list(Ref, only: Identity?)
    case remove(Ref, [Identity], byQuery: Bool)
    case removeEntry(Ref)
    case deleteSession(Ref)
    case odd(Oddity)

    var isMutating: Bool {
        switch self {
        case .ping, .retrieveKey, .retrieveKeys, .retrieveSpace, .list: false
        case .odd(let odd): odd.method != "retrieve" && odd.method != "shred"
        default: true
        }
    }
    var isRetrieving: Bool {
        switch self {
        case .retrieveKey, .retrieveKeys, .retrieveSpace, .list: true
        case .odd(let odd): odd.method == "retrieve"
        default: false
        }
    }
}

/// What the tables have no line for.
enum Oddity: String, CaseIterable, Sendable {
    case unknownMethod, otherScheme, malformedQuery, noSuchPath, pathUpwards, deleteKeys, updateResources, retrievePing,
        openUnderSession, foreignKey, foreignSpace, keyByWrongID

    var method: String {
        switch self {
        case .unknownMethod: "shred"
        case .deleteKeys: "delete"
        case .updateResources: "update"
        case .openUnderSession: "create"
        default: "retrieve"
        }
    }
    var uri: String {
        switch self {
        case .unknownMethod: "/keys"
        case .otherScheme: "https://kms.hds.example.com/keys"
        case .malformedQuery: "/resources/00000000-0000-4000-8000-000000000000/authorizations?authId=%zz"
        case .noSuchPath: "/nothing"
        case .pathUpwards: "/keys/../resources"
        case .deleteKeys: "/keys"
        case .updateResources: "/resources"
        case .retrievePing: "/ping"
        case .openUnderSession: "/ecdhe"
        case .foreignKey: "kms://kms.other.example.org/keys/00000000-0000-4000-8000-000000000000"
        case .foreignSpace: "kms://kms.other.example.org/resources/00000000-0000-4000-8000-000000000000"
        case .keyByWrongID: "/keys/not-a-uuid"
        }
    }
    /// The statuses of section 5 that name what is wrong.
    var statuses: Set<Int> {
        switch self {
        case .unknownMethod, .otherScheme, .malformedQuery, .openUnderSession: [400]
        case .noSuchPath, .pathUpwards, .keyByWrongID: [404]
        case .deleteKeys, .updateResources, .retrievePing: [405]
        case .foreignKey, .foreignSpace: [501]
        }
    }
    /// Refused before anybody looks who asks.
    var isMalformed: Bool { [.unknownMethod, .otherScheme, .malformedQuery].contains(self) }
}

/// One thing that happens, at a moment of its own: leaving others out does not move it.
struct Step: Sendable {
    enum Act: Sendable {
        case open(Actor, isCounted: Bool)
        /// A request is wrapped; one that is withheld is not sent by itself.
        case ask(session: Ref, Request, Claim, spelling: Int, isWithheld: Bool)
        /// The string of an earlier step arrives: again, or for the first time.
        case deliver(step: Int)
        case restart
        /// Expired sessions and old tombstones are cleared away.
        case sweep
    }
    let id: Int
    let at: Timestamp
    let node: Int
    let act: Act
}

extension Step: CustomStringConvertible {
    var description: String { "#\(id) \(at.iso8601) node\(node) \(act)" }
}
