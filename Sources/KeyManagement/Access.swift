import KMSProtocol
import KeyStore
import WireText

/// Who asks, after the token was checked: the token's own user and the user whose rights count.
struct Caller: Sendable, Equatable {
    let tokenUser: String
    let effectiveUser: String
    let clientID: String

    var isOnBehalf: Bool { tokenUser != effectiveUser }

    /// Rules (protocol, section 6; security model, rule 11):
    /// 1. The effective user is `onBehalfOf` if present, else `userId`, else the token's own user.
    /// 2. Another user than the token's own needs the token's user to be an agent of the organisation by policy.
    /// 3. On behalf of another, only retrieving is allowed.
    /// 4. The token's user is the one who opened the session.
    static func judge(
        _ request: KMSRequest, token: TokenIdentity, sessionUser: String, policy: KMSPolicy
    ) throws(KMSFailure) -> Caller {
        let own = token.userID
        let asked = request.credential.onBehalfOf ?? request.credential.userID ?? own
        let isOwn = asked.lowercased() == own.lowercased()
        if !isOwn {
            guard policy.organisationAgents.contains(own) else {
                throw KMSFailure(KMSStatus.forbidden, "userId does not match the bearer token")
            }
            guard request.method == .retrieve else {
                throw KMSFailure(KMSStatus.forbidden, "on behalf of another user only retrieve is allowed")
            }
        }
        guard own == sessionUser else {
            throw KMSFailure(KMSStatus.forbidden, "ephemeral key belongs to another user")
        }
        return Caller(tokenUser: own, effectiveUser: isOwn ? own : asked, clientID: request.clientID)
    }
}

/// By which path a user may read a resource's keys.
enum AccessPath: Sendable, Equatable {
    /// Listed on the resource itself: the only path that also gives the right to change it.
    case direct(authorization: String)
    /// Through resources that are listed on it, outermost first.
    case nested([String])
    /// Through `/public`.
    case everybody
}

extension KeyManagement {
    static let publicAuthID = "/public"

    /// How the user may read, or nil. Direct entries are looked up in constant time; only when there is none the head
    /// is read for nested resources and `/public`. Depth and number of visits are bounded and fail closed (rule 12).
    func access(_ user: String, resource id: String) async throws -> AccessPath? {
        if let row = try await directAuthorization(of: user, resource: id) { return .direct(authorization: row.id) }
        guard let record = try await store.resource(id), record.deletedAt == nil else { return nil }
        let head = try vault.content(record)
        if head.isPublic && policy.allowsPublic { return .everybody }
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
                if try await directAuthorization(of: user, resource: inner) != nil { return .nested(path) }
                guard let record = try await store.resource(inner), record.deletedAt == nil else { continue }
                for deeper in try vault.content(record).nested { next.append(path + [deeper]) }
            }
            if next.isEmpty { break }
            level = next
        }
        return nil
    }

    private func directAuthorization(of user: String, resource id: String) async throws -> AuthorizationRecord? {
        guard
            let row = try await store.authorization(ofResource: id, lookup: vault.lookup(authID: user, resource: id))
        else { return nil }
        try vault.check(row, isFor: user)
        return row
    }

    /// The head of a resource that the caller may change.
    func changeable(_ id: String, by caller: Caller) async throws -> (record: ResourceRecord, head: ResourceContent) {
        guard let record = try await store.resource(id), record.deletedAt == nil else {
            throw KMSFailure(KMSStatus.notFound, "no such resource \(names.resource(id))")
        }
        let head = try vault.content(record)
        guard try await directAuthorization(of: caller.effectiveUser, resource: id) != nil else {
            throw notAuthorized(caller, resource: id)
        }
        return (record, head)
    }

    /// The head of a resource that the caller may read.
    func readable(_ id: String, by caller: Caller) async throws -> (record: ResourceRecord, head: ResourceContent) {
        guard let record = try await store.resource(id), record.deletedAt == nil else {
            throw KMSFailure(KMSStatus.notFound, "no such resource \(names.resource(id))")
        }
        guard try await access(caller.effectiveUser, resource: id) != nil else {
            throw notAuthorized(caller, resource: id)
        }
        return (record, try vault.content(record))
    }

    func notAuthorized(_ caller: Caller, resource id: String) -> KMSFailure {
        KMSFailure(
            KMSStatus.forbidden,
            "User \(caller.effectiveUser) doesn't have authorization to access resource \(names.resource(id))")
    }
}
