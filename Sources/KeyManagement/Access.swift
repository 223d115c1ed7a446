import KMSProtocol
import KeyStore
import SignedPolicy
import WireText

/// Who asks, after the token was checked: the token's own user, the user whose rights count, and in which capacity.
struct Caller: Sendable, Equatable {
    enum Capacity: Sendable, Equatable {
        case user
        /// A compliance officer of the signed policy, on behalf of another user.
        case officer
        /// A service account; on behalf of somebody else with the compliance officer for whom it asks.
        case service(agent: String?)
        /// The holder of an anonymous authorization's bearer; by the authorization's id.
        case anonymous(authorization: String)
        /// A partner's KMS, for one of its users.
        case partner(host: String)
    }

    let tokenUser: String
    let effectiveUser: String
    let clientID: String
    let capacity: Capacity
    /// What consents are held against; nil for whom the signed policy has none.
    let identity: ConsentIdentity?
    /// In which matter it is asked on behalf of somebody.
    let matter: String?
    /// What the whole request is judged by.
    let snapshot: PolicySnapshot

    init(
        tokenUser: String, effectiveUser: String, clientID: String, capacity: Capacity,
        identity: ConsentIdentity? = nil,
        matter: String? = nil, snapshot: PolicySnapshot
    ) {
        self.tokenUser = tokenUser
        self.effectiveUser = effectiveUser
        self.clientID = clientID
        self.capacity = capacity
        self.identity = identity
        self.matter = matter
        self.snapshot = snapshot
    }

    /// Whether somebody acts for himself, so that what is his own is at hand.
    var isSelf: Bool { capacity == .user || capacity == .service(agent: nil) }

    /// For whom and why a service asks, for the audit.
    var errand: String? {
        guard case .service(let agent?) = capacity else { return nil }
        return "for the compliance officer \(agent)" + (matter.map { " in the matter \($0)" } ?? "")
    }

    /// Under which names a freeze of a service meets this caller: those of its consents, its account, its client. A
    /// person comes under the service whose client brings the token.
    var serviceNames: Set<String> {
        guard let identity else { return [] }
        let services = snapshot.signed.services
        if case .service = capacity {
            let named = services.filter { $0.subject == identity.subject }.map(\.name)
            return Set(named + [identity.subject] + (identity.clientID.map { [$0] } ?? []))
        }
        guard let client = identity.clientID else { return [] }
        let named = services.filter { $0.client == client }.map(\.name)
        return named.isEmpty ? [] : Set(named + [client])
    }

    /// Rules (protocol, section 6; security model, rules 1, 11 and 15):
    /// 1. The token's user is the one who opened the session.
    /// 2. The effective user is `onBehalfOf` if present, else `userId`, else the token's own user.
    /// 3. A service's token makes a service, whatever else its subject is called; what follows for it is below.
    /// 4. Another user than the token's own needs the token's user to be a compliance officer of the signed policy now,
    ///    for the matter that is named if there is one.
    /// 5. On behalf of another, only retrieving is allowed.
    /// 6. The holder of an anonymous bearer acts for himself and only retrieves.
    static func judge(
        _ request: KMSRequest, token: TokenIdentity, session: SessionContent, policy: PolicySnapshot, now: Timestamp
    ) throws(KMSFailure) -> Caller {
        let own = token.userID
        guard own == session.userID else {
            throw KMSFailure(
                KMSStatus.forbidden, "ephemeral key belongs to another user", rule: "session-of-another-user")
        }
        let asked = request.credential.onBehalfOf ?? request.credential.userID ?? own
        let isOwn = asked == own || asked.lowercased() == own.lowercased()
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
                capacity: .anonymous(authorization: authorization), snapshot: policy)
        }
        let identity = ConsentIdentity(
            subject: own, clientID: token.clientID, organisation: token.organisation,
            isIntegration: token.scopes.contains(ConsentIdentity.integrationScope))
        func caller(_ effective: String, _ capacity: Capacity) -> Caller {
            Caller(
                tokenUser: own, effectiveUser: effective, clientID: request.clientID, capacity: capacity,
                identity: identity, matter: request.credential.matter, snapshot: policy)
        }
        let isService = token.isService || policy.isService(own)
        if isOwn { return caller(own, isService ? .service(agent: nil) : .user) }
        let agent = isService ? try agent(named: request.credential, by: own) : own
        let verdict = policy.rules.agent(user: agent, matter: request.credential.matter, now: now)
        guard verdict.allowed else {
            guard isService || verdict.rule != "not-an-agent" else {
                throw KMSFailure(
                    KMSStatus.forbidden, "userId does not match the bearer token", rule: "no-compliance-role")
            }
            throw KMSFailure(refusedBy: verdict)
        }
        guard request.method == .retrieve else {
            throw KMSFailure(
                KMSStatus.forbidden, "on behalf of another user only retrieve is allowed", rule: "on-behalf-changes")
        }
        return caller(asked, isService ? .service(agent: agent) : .officer)
    }

    /// For whom a service asks about somebody else: `userId`, where `onBehalfOf` says about whom.
    private static func agent(
        named credential: KMSRequest.Credential, by service: String
    ) throws(KMSFailure) -> String {
        guard credential.onBehalfOf != nil, let agent = credential.userID, agent.lowercased() != service.lowercased()
        else {
            throw KMSFailure(
                KMSStatus.forbidden,
                "a service that asks on behalf of somebody names its compliance officer in userId (agent-missing)",
                rule: "agent-missing")
        }
        return agent
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
    /// By a consent of the signed policy, by its name.
    case service(String)
    /// A key of the person's own, which a service opens a query or a report request with; by its name.
    case query(String)
    /// By a consent, for a former member: keys that were bound until then.
    case formerMember(service: String, until: Timestamp)

    /// The last bind date of the keys that it opens; nil: all.
    var boundUntil: Timestamp? {
        if case .formerMember(_, let until) = self { return until }
        return nil
    }

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
        case .service(let name): "service-consent:\(name)"
        case .query(let name): "query-key:\(name)"
        case .formerMember(let name, _): "former-member:\(name)"
        }
    }
}

extension KeyManagement {
    static let publicAuthID = "/public"

    /// How the caller may read, or nil. Direct entries are looked up in constant time; only when there is none the head
    /// is read for nested resources and `/public`. Depth and number of visits are bounded and fail closed (rule 12).
    ///
    /// The signed policy is asked, too: it alone opens a space to a service, and it may forbid what a person's right gives
    /// when the token came through a service's client. Its refusals are thrown.
    ///
    /// - Parameters:
    ///   - known: what was read already, in one view; nil: it is looked up.
    ///   - head: of the resource, read just before; nil: it is read.
    func access(
        _ caller: Caller, resource id: String, known: KeyWithGrant? = nil, head: ResourceContent? = nil, now: Timestamp
    ) async throws -> AccessPath? {
        if case .anonymous(let authorization) = caller.capacity {
            guard let record = try await store.resource(id) else { return nil }
            let head = try await self.head(record)
            guard let row = try await store.authorization(authorization), row.resource == id else { return nil }
            let content = try vault.content(row)
            guard stands(content, row, in: head) else { return nil }
            return content.isLive(now) ? .anonymous(authorization: authorization) : nil
        }
        if case .service(let agent) = caller.capacity {
            return try await serviceAccess(caller, agent: agent, resource: id, now)
        }
        guard let path = try await memberAccess(caller, resource: id, known: known, head: head, now: now) else {
            return nil
        }
        try demandConsent(caller, space: names.resource(id), .retrieve, now)
        return path
    }

    private func memberAccess(
        _ caller: Caller, resource id: String, known: KeyWithGrant?, head before: ResourceContent?, now: Timestamp
    ) async throws -> AccessPath? {
        let user = caller.effectiveUser
        if let known {
            if let row = known.authorization, let record = known.resource {
                let content = try vault.content(row, checkedFor: user)
                if content.isLive(now), stands(content, row, in: try await self.head(record)) {
                    return .direct(authorization: row.id)
                }
            }
        } else if let (row, _) = try await directAuthorization(of: user, resource: id, head: before, now: now) {
            return .direct(authorization: row.id)
        }
        guard let record = try await store.resource(id), record.deletedAt == nil else { return nil }
        let head = try await self.head(record)
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
                let head = try await self.head(record)
                guard !head.isGone(now) else { continue }
                if try await directAuthorization(of: user, resource: inner, head: head, now: now) != nil {
                    return .nested(path)
                }
                for deeper in head.nested { next.append(path + [deeper]) }
            }
            if next.isEmpty { break }
            level = next
        }
        return nil
    }

    /// - Parameter known: the head of the resource, read just before; nil: it is read.
    func directAuthorization(
        of user: String, resource id: String, head known: ResourceContent? = nil, now: Timestamp
    ) async throws -> (row: AuthorizationRecord, content: AuthorizationContent)? {
        var before = known
        if before == nil, let record = try await store.resource(id) { before = try await self.head(record) }
        guard let before else { return nil }
        guard
            let row = try await store.authorization(ofResource: id, lookup: vault.lookup(authID: user, resource: id))
        else { return nil }
        let content = try vault.content(row, checkedFor: user)
        return content.isLive(now) && stands(content, row, in: before) ? (row, content) : nil
    }

    /// The head of a resource that the caller may change, and the caller's own entry on its list. A service needs both:
    /// the consent for the operation, and the entry.
    func changeable(
        _ id: String, by caller: Caller, _ operation: KMSRequest.Method, now: Timestamp
    ) async throws -> (record: ResourceRecord, head: ResourceContent, own: AuthorizationContent) {
        let (record, head) = try await present(id, now)
        guard caller.isSelf,
            let (_, own) = try await directAuthorization(of: caller.effectiveUser, resource: id, head: head, now: now)
        else { throw notAuthorized(caller, resource: id) }
        try demandConsent(caller, space: names.resource(id), operation, now)
        return (record, head, own)
    }

    /// The head of a resource that the caller may read, and by which path.
    func readable(
        _ id: String, by caller: Caller, now: Timestamp
    ) async throws -> (record: ResourceRecord, head: ResourceContent, path: AccessPath) {
        let (record, head) = try await present(id, now)
        guard let path = try await access(caller, resource: id, head: head, now: now) else {
            throw notAuthorized(caller, resource: id)
        }
        return (record, head, path)
    }

    func present(_ id: String, _ now: Timestamp) async throws -> (ResourceRecord, ResourceContent) {
        guard let record = try await store.resource(id), record.deletedAt == nil else { throw noSuchResource(id) }
        let head = try await self.head(record)
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

extension KMSURI {
    /// The absolute URI of the space that it names, or else its own.
    var spaceText: String {
        switch object {
        case .resource(let id), .resourceKeys(let id), .resourceAuthorizations(let id), .resourceSearchKeys(let id):
            (host.map { "kms://" + $0 } ?? "") + "/resources/" + id
        default: absoluteText
        }
    }
}

extension KMSURI.Object {
    var isSession: Bool {
        if case .session = self { return true }
        return false
    }
}
