import KMSProtocol
import KeyStore
import WireText

/// Who asks, after the token was checked: the token's own user, the user whose rights count, and in which capacity.
struct Caller: Sendable, Equatable {
    enum Capacity: Sendable, Equatable {
        case user
        /// An agent of the organisation, on behalf of another user.
        case officer
        /// The holder of an anonymous authorization's bearer; by the authorization's id.
        case anonymous(authorization: String)
        /// A partner's KMS, for one of its users.
        case partner(host: String)
    }

    let tokenUser: String
    let effectiveUser: String
    let clientID: String
    let capacity: Capacity

    init(tokenUser: String, effectiveUser: String, clientID: String, capacity: Capacity = .user) {
        self.tokenUser = tokenUser
        self.effectiveUser = effectiveUser
        self.clientID = clientID
        self.capacity = capacity
    }

    /// Rules (protocol, section 6; security model, rules 11 and 15):
    /// 1. The token's user is the one who opened the session.
    /// 2. The effective user is `onBehalfOf` if present, else `userId`, else the token's own user.
    /// 3. Another user than the token's own needs the token's user to be an agent of the organisation by policy.
    /// 4. On behalf of another, only retrieving is allowed.
    /// 5. The holder of an anonymous bearer acts for himself and only retrieves.
    static func judge(
        _ request: KMSRequest, token: TokenIdentity, session: SessionContent, policy: KMSPolicy
    ) throws(KMSFailure) -> Caller {
        let own = token.userID
        guard own == session.userID else {
            throw KMSFailure(
                KMSStatus.forbidden, "ephemeral key belongs to another user", rule: "session-of-another-user")
        }
        let asked = request.credential.onBehalfOf ?? request.credential.userID ?? own
        let isOwn = asked.lowercased() == own.lowercased()
        if case .anonymous(let authorization) = session.holder {
            guard isOwn else {
                throw KMSFailure(
                    KMSStatus.forbidden, "userId does not match the bearer token", rule: "anonymous-for-another")
            }
            let endsSession = request.method == .delete && request.uri.object.isSession
            guard request.method == .retrieve || request.uri.object == .ping || endsSession else {
                throw KMSFailure(
                    KMSStatus.forbidden, "the bearer of an unnamed holder only reads keys", rule: "anonymous-changes")
            }
            return Caller(
                tokenUser: own, effectiveUser: own, clientID: request.clientID,
                capacity: .anonymous(authorization: authorization))
        }
        if isOwn { return Caller(tokenUser: own, effectiveUser: own, clientID: request.clientID) }
        guard policy.organisationAgents.contains(own) else {
            throw KMSFailure(KMSStatus.forbidden, "userId does not match the bearer token", rule: "no-compliance-role")
        }
        guard request.method == .retrieve else {
            throw KMSFailure(
                KMSStatus.forbidden, "on behalf of another user only retrieve is allowed", rule: "on-behalf-changes")
        }
        return Caller(tokenUser: own, effectiveUser: asked, clientID: request.clientID, capacity: .officer)
    }
}

/// By which path somebody may read a resource's keys.
enum AccessPath: Sendable, Equatable {
    /// Listed on the resource itself: for a user the only path that also gives the right to change it.
    case direct(authorization: String)
    /// Through resources that are listed on it, outermost first.
    case nested([String])
    /// Through `/public`.
    case everybody
    /// With the bearer of an unnamed holder.
    case anonymous(authorization: String)

    /// The resource and those that lead to it.
    func spaces(to resource: String) -> [String] {
        if case .nested(let path) = self { return path + [resource] }
        return [resource]
    }

    /// The name of the rule that grants, as audit and explanations show it.
    var rule: String {
        switch self {
        case .direct: "member"
        case .nested: "nested"
        case .everybody: "public"
        case .anonymous: "anonymous-bearer"
        }
    }
}

extension KeyManagement {
    static let publicAuthID = "/public"

    /// How the caller may read, or nil. Direct entries are looked up in constant time; only when there is none the head
    /// is read for nested resources and `/public`. Depth and number of visits are bounded and fail closed (rule 12).
    ///
    /// - Parameter direct: what was read already as the caller's own entry; nil: it is looked up.
    func access(
        _ caller: Caller, resource id: String, direct known: AuthorizationRecord?? = nil, now: Timestamp
    ) async throws -> AccessPath? {
        if case .anonymous(let authorization) = caller.capacity {
            guard let row = try await store.authorization(authorization), row.resource == id else { return nil }
            return try vault.content(row).isLive(now) ? .anonymous(authorization: authorization) : nil
        }
        let user = caller.effectiveUser
        if let known {
            if let row = known, try vault.content(row, checkedFor: user).isLive(now) {
                return .direct(authorization: row.id)
            }
        } else if let (row, _) = try await directAuthorization(of: user, resource: id, now: now) {
            return .direct(authorization: row.id)
        }
        guard let record = try await store.resource(id), record.deletedAt == nil else { return nil }
        let head = try vault.content(record)
        guard !head.isGone(now) else { return nil }
        // Nobody reads through `/public` in somebody else's name, and no partner's user does.
        if head.isPublic && policy.allowsPublic && caller.capacity == .user { return .everybody }
        return try await nestedAccess(user, from: id, head, now)
    }

    func nestedAccess(
        _ user: String, from id: String, _ head: ResourceContent, _ now: Timestamp
    ) async throws -> AccessPath? {
        guard !head.nested.isEmpty else { return nil }
        var visits = 0
        var seen: Set<String> = [id]
        var level: [[String]] = head.nested.map { [$0] }
        for _ in 0..<policy.nestingDepth {
            var next: [[String]] = []
            for path in level {
                guard let inner = path.last, seen.insert(inner).inserted else { continue }
                visits += 1
                guard visits <= policy.nestingVisits else { return nil }
                guard let record = try await store.resource(inner), record.deletedAt == nil else { continue }
                let head = try vault.content(record)
                guard !head.isGone(now) else { continue }
                if try await directAuthorization(of: user, resource: inner, now: now) != nil { return .nested(path) }
                for deeper in head.nested { next.append(path + [deeper]) }
            }
            if next.isEmpty { break }
            level = next
        }
        return nil
    }

    func directAuthorization(
        of user: String, resource id: String, now: Timestamp
    ) async throws -> (row: AuthorizationRecord, content: AuthorizationContent)? {
        guard
            let row = try await store.authorization(ofResource: id, lookup: vault.lookup(authID: user, resource: id))
        else { return nil }
        let content = try vault.content(row, checkedFor: user)
        return content.isLive(now) ? (row, content) : nil
    }

    /// The head of a resource that the caller may change, and the caller's own entry on its list.
    func changeable(
        _ id: String, by caller: Caller, now: Timestamp
    ) async throws -> (record: ResourceRecord, head: ResourceContent, own: AuthorizationContent) {
        let (record, head) = try await present(id, now)
        guard caller.capacity == .user,
            let (_, own) = try await directAuthorization(of: caller.effectiveUser, resource: id, now: now)
        else { throw notAuthorized(caller, resource: id) }
        return (record, head, own)
    }

    /// The head of a resource that the caller may read, and by which path.
    func readable(
        _ id: String, by caller: Caller, now: Timestamp
    ) async throws -> (record: ResourceRecord, head: ResourceContent, path: AccessPath) {
        let (record, head) = try await present(id, now)
        guard let path = try await access(caller, resource: id, now: now) else {
            throw notAuthorized(caller, resource: id)
        }
        return (record, head, path)
    }

    private func present(_ id: String, _ now: Timestamp) async throws -> (ResourceRecord, ResourceContent) {
        guard let record = try await store.resource(id), record.deletedAt == nil else { throw noSuchResource(id) }
        let head = try vault.content(record)
        guard !head.isGone(now) else { throw noSuchResource(id) }
        return (record, head)
    }

    /// Whether the resource does not exist, was deleted, or its time is over.
    func isGone(_ resource: String, now: Timestamp) async throws -> Bool {
        guard let record = try await store.resource(resource), record.deletedAt == nil else { return true }
        return try vault.content(record).isGone(now)
    }

    func noSuchResource(_ id: String) -> KMSFailure {
        KMSFailure(KMSStatus.notFound, "no such resource \(names.resource(id))", rule: "no-such-object")
    }

    func notAuthorized(_ caller: Caller, resource id: String) -> KMSFailure {
        KMSFailure(
            KMSStatus.forbidden,
            "User \(caller.effectiveUser) doesn't have authorization to access resource \(names.resource(id))",
            rule: "not-a-member")
    }
}

extension KMSURI.Object {
    var isSession: Bool {
        if case .session = self { return true }
        return false
    }
}
