import KMSProtocol
import SecretMemory
import WireText

// What lies sealed inside the store's records. Each repeats what its row shows in the clear; `RecordVault` compares.

/// What a key is for, as far as it is known (security model, rules 27 and 28).
enum KeyPurpose: Sendable, Equatable {
    /// No service has used it yet.
    case unmarked
    /// A service has used it, and uses it for nothing else.
    case marked(KMSKeyUse)
    /// Of a search index: it never goes to members.
    case searchIndex(epoch: Int64, KMSSearchKey.Beginning)

    fileprivate static let uses: [KMSKeyUse] = [.content, .search, .report]
    fileprivate static let beginnings: [KMSSearchKey.Beginning] = [.first, .time, .removal, .messages, .compromise]
}

/// A content key with its owner and dates.
struct KeyContent: Sendable {
    /// 1: without a purpose, which such keys have none of.
    static let format: UInt8 = 2

    var key: SymmetricKey
    var owner: String
    var clientID: String
    var created: Timestamp
    var expires: Timestamp
    var resource: String?
    var boundAt: Timestamp?
    var purpose = KeyPurpose.unmarked

    /// Keys without a purpose keep their form: what was sealed before and after is the same.
    func encoded() -> FieldWriter {
        var fields = FieldWriter(format: purpose == .unmarked ? 1 : Self.format)
        key.withUnsafeBytes { fields.field($0) }
        fields.field(owner)
        fields.field(clientID)
        fields.field(created)
        fields.field(expires)
        fields.field(optional: resource)
        fields.field(optional: boundAt)
        switch purpose {
        case .unmarked: break
        case .marked(let use):
            fields.field(Int64(KeyPurpose.uses.firstIndex(of: use) ?? 0))
        case .searchIndex(let epoch, let beginning):
            fields.field(Int64(16 + (KeyPurpose.beginnings.firstIndex(of: beginning) ?? 0)))
            fields.field(epoch)
        }
        return fields
    }

    init(
        key: SymmetricKey, owner: String, clientID: String, created: Timestamp, expires: Timestamp,
        resource: String? = nil, boundAt: Timestamp? = nil
    ) {
        self.key = key
        self.owner = owner
        self.clientID = clientID
        self.created = created
        self.expires = expires
        self.resource = resource
        self.boundAt = boundAt
    }

    init?(_ bytes: UnsafeRawBufferPointer) {
        guard var fields = FieldReader(bytes, format: Self.format) ?? FieldReader(bytes, format: 1),
            let key = fields.octets(), key.count == 32,
            let owner = fields.text(), let clientID = fields.text(), let created = fields.time(),
            let expires = fields.time(), let resource = fields.optionalText(), let boundAt = fields.optionalTime()
        else { return nil }
        self.init(
            key: SymmetricKey(copying: key), owner: owner, clientID: clientID, created: created, expires: expires,
            resource: resource, boundAt: boundAt)
        if bytes.first == Self.format {
            guard let number = fields.number() else { return nil }
            switch number {
            case 0..<Int64(KeyPurpose.uses.count): purpose = .marked(KeyPurpose.uses[Int(number)])
            case 16..<Int64(16 + KeyPurpose.beginnings.count):
                guard let epoch = fields.number(), epoch > 0 else { return nil }
                purpose = .searchIndex(epoch: epoch, KeyPurpose.beginnings[Int(number) - 16])
            default: return nil
            }
        }
        guard fields.isAtEnd else { return nil }
    }
}

/// The head of a resource: who made it, what of its access list is not a plain user, and what its rows must agree with.
struct ResourceContent: Sendable, Equatable {
    /// 2: without the removed grants.
    static let format: UInt8 = 3

    var creator: String
    var created: Timestamp
    var expires: Timestamp?
    var deletedAt: Timestamp?
    /// When the last authorization was removed: a space key bound before is due for rotation. Never before the bind
    /// date of a key that was bound by then, whatever the clock says.
    var lastRemoval: Timestamp?
    /// The latest bind date of its keys: each later one is later by a millisecond at least, and later than the last
    /// removal, so that "newest first" and "bound before the removal" are orders.
    var lastBound: Timestamp?
    /// Whether `/public` is authorized.
    var isPublic = false
    /// Resources whose members are authorized here too.
    var nested: [String] = []
    /// Creation order of the next authorization.
    var nextOrder: Int64 = 0
    /// SHA-256 over the request that created it, so that a repeat of the request is known (rule 14).
    var fingerprint: [UInt8] = []
    /// How many live authorizations have the moderator's role; with one, only moderators change the list (rule 13).
    var moderators: Int64 = 0
    /// Grants that were taken back: their rows grant nothing, whatever the database says.
    var removed = RemovedGrants()

    /// Deleted, or its time is over.
    func isGone(_ now: Timestamp) -> Bool { deletedAt != nil || expires.map { $0 <= now } ?? false }

    func nextBindDate(_ now: Timestamp) -> Timestamp {
        [lastBound, lastRemoval].compactMap { $0?.adding(milliseconds: 1) }.reduce(now, max)
    }

    mutating func noteRemoval(_ now: Timestamp) {
        lastRemoval = max(now, lastBound ?? now, lastRemoval ?? now)
    }

    func encoded() -> FieldWriter {
        var fields = FieldWriter(format: Self.format)
        fields.field(creator)
        fields.field(created)
        fields.field(optional: expires)
        fields.field(optional: deletedAt)
        fields.field(optional: lastRemoval)
        fields.field(optional: lastBound)
        fields.field(isPublic)
        fields.field(Int64(nested.count))
        for id in nested { fields.field(id) }
        fields.field(nextOrder)
        fingerprint.withUnsafeBytes { fields.field($0) }
        fields.field(moderators)
        removed.octets.withUnsafeBytes { fields.field($0) }
        return fields
    }

    init(creator: String, created: Timestamp, expires: Timestamp?, fingerprint: [UInt8]) {
        self.creator = creator
        self.created = created
        self.expires = expires
        self.fingerprint = fingerprint
    }

    init?(_ bytes: UnsafeRawBufferPointer) {
        guard var fields = FieldReader(bytes, format: Self.format) ?? FieldReader(bytes, format: 2),
            let creator = fields.text(),
            let created = fields.time(), let expires = fields.optionalTime(), let deletedAt = fields.optionalTime(),
            let lastRemoval = fields.optionalTime(), let lastBound = fields.optionalTime(),
            let isPublic = fields.flag(), let count = fields.number(),
            (0...1_000_000).contains(count)
        else { return nil }
        self.init(creator: creator, created: created, expires: expires, fingerprint: [])
        self.deletedAt = deletedAt
        self.lastRemoval = lastRemoval
        self.lastBound = lastBound
        self.isPublic = isPublic
        for _ in 0..<count {
            guard let id = fields.text() else { return nil }
            nested.append(id)
        }
        guard let order = fields.number(), let fingerprint = fields.octets(),
            let moderators = fields.number(), moderators >= 0
        else { return nil }
        if bytes.first == Self.format {
            guard let octets = fields.octets(), let removed = RemovedGrants(octets) else { return nil }
            self.removed = removed
        }
        guard fields.isAtEnd else { return nil }
        nextOrder = order
        self.fingerprint = Array(fingerprint)
        self.moderators = moderators
    }
}

/// One entry of an access list.
struct AuthorizationContent: Sendable, Equatable {
    static let format: UInt8 = 2

    /// Exactly as the client gave it; for an unnamed holder the URI of the authorization itself.
    var authID: String
    var resource: String
    var roleURI: String?
    var created: Timestamp
    var createdBy: String
    var order: Int64
    /// When it ends by itself: with its resource, or with the bearer of an unnamed holder.
    var expires: Timestamp?
    /// Whoever has the bearer holds it (rule 15).
    var isAnonymous = false
    var removedAt: Timestamp?
    var removedBy: String?

    /// Whether it grants something at that moment.
    func isLive(_ now: Timestamp) -> Bool { removedAt == nil && expires.map { now < $0 } ?? true }

    func encoded() -> FieldWriter {
        var fields = FieldWriter(format: Self.format)
        fields.field(authID)
        fields.field(resource)
        fields.field(optional: roleURI)
        fields.field(created)
        fields.field(createdBy)
        fields.field(order)
        fields.field(optional: expires)
        fields.field(isAnonymous)
        fields.field(optional: removedAt)
        fields.field(optional: removedBy)
        return fields
    }

    init(
        authID: String, resource: String, roleURI: String?, created: Timestamp, createdBy: String, order: Int64,
        expires: Timestamp? = nil, isAnonymous: Bool = false
    ) {
        self.authID = authID
        self.resource = resource
        self.roleURI = roleURI
        self.created = created
        self.createdBy = createdBy
        self.order = order
        self.expires = expires
        self.isAnonymous = isAnonymous
    }

    init?(_ bytes: UnsafeRawBufferPointer) {
        guard var fields = FieldReader(bytes, format: Self.format), let authID = fields.text(),
            let resource = fields.text(), let roleURI = fields.optionalText(), let created = fields.time(),
            let createdBy = fields.text(), let order = fields.number(), let expires = fields.optionalTime(),
            let isAnonymous = fields.flag(), let removedAt = fields.optionalTime(),
            let removedBy = fields.optionalText(), fields.isAtEnd
        else { return nil }
        self.init(
            authID: authID, resource: resource, roleURI: roleURI, created: created, createdBy: createdBy, order: order,
            expires: expires, isAnonymous: isAnonymous)
        self.removedAt = removedAt
        self.removedBy = removedBy
    }
}

/// Who is at the other end of a session, decided when it was opened and never changed.
enum SessionHolder: Sendable, Equatable {
    /// A user, an officer or a service account of an issuer that the customer trusts. `confirmation` is the thumbprint of
    /// the key that a service proved to hold (security model, rule 3).
    case user(confirmation: String? = nil)
    /// Whoever holds the bearer of that authorization: the session reads its resource and nothing else (rule 15).
    case anonymous(authorization: String)
    /// Another KMS, by its host; it names the end user with each request (rule 16).
    case partner(host: String)
}

/// A session: the agreed key, whose it is and how long it lives.
struct SessionContent: Sendable {
    /// 1: without a holder; such sessions of users may be live after an upgrade.
    static let format: UInt8 = 2

    var key: SymmetricKey
    /// The user; for an anonymous session the URI of the authorization, for a partner its host.
    var userID: String
    var clientID: String
    var created: Timestamp
    var expires: Timestamp
    var holder: SessionHolder

    /// Thumbprint of the key that a service proved when it opened the session.
    var confirmation: String? {
        if case .user(let confirmation) = holder { return confirmation }
        return nil
    }

    func encoded() -> FieldWriter {
        var fields = FieldWriter(format: Self.format)
        key.withUnsafeBytes { fields.field($0) }
        fields.field(userID)
        fields.field(clientID)
        fields.field(created)
        fields.field(expires)
        switch holder {
        case .user(let confirmation):
            fields.field(Int64(0))
            fields.field(optional: confirmation)
        case .anonymous(let authorization):
            fields.field(Int64(1))
            fields.field(authorization)
        case .partner(let host):
            fields.field(Int64(2))
            fields.field(host)
        }
        return fields
    }

    init(
        key: SymmetricKey, userID: String, clientID: String, created: Timestamp, expires: Timestamp,
        holder: SessionHolder = .user()
    ) {
        self.key = key
        self.userID = userID
        self.clientID = clientID
        self.created = created
        self.expires = expires
        self.holder = holder
    }

    init?(_ bytes: UnsafeRawBufferPointer) {
        guard var fields = FieldReader(bytes, format: Self.format) ?? FieldReader(bytes, format: 1),
            let key = fields.octets(), key.count == 32, let userID = fields.text(), let clientID = fields.text(),
            let created = fields.time(), let expires = fields.time()
        else { return nil }
        let holder: SessionHolder
        switch bytes.first == 1 ? 0 : fields.number() {
        case 0 where bytes.first == 1: holder = .user()
        case 0:
            guard let confirmation = fields.optionalText() else { return nil }
            holder = .user(confirmation: confirmation)
        case 1:
            guard let authorization = fields.text() else { return nil }
            holder = .anonymous(authorization: authorization)
        case 2:
            guard let host = fields.text() else { return nil }
            holder = .partner(host: host)
        default: return nil
        }
        guard fields.isAtEnd else { return nil }
        self.init(
            key: SymmetricKey(copying: key), userID: userID, clientID: clientID, created: created, expires: expires,
            holder: holder)
    }
}
