import Cryptography
import KMSProtocol
import KeyStore
import SecretMemory
import WireText

// What a user of a partner may read here: rules 8 and 9 of `PartnerRules`.
extension KeyManagement {
    /// Who is asking for whom.
    struct PartnerCaller: Sendable {
        let partner: FederationPartner
        /// Lower case.
        let user: String
        let snapshot: PolicySnapshot
        let homes: UserHomes
        /// Whether the administrator has listed the user for this partner.
        var isListed: Bool { partner.users?.contains(user) == true }
        var caller: Caller {
            Caller(
                tokenUser: partner.host, effectiveUser: user, clientID: partner.host,
                capacity: .partner(host: partner.host), snapshot: snapshot)
        }
    }

    /// The answer to a request that `PartnerRules` let through, when the user may read the object.
    func decide(_ request: KMSRequest, for asking: PartnerCaller, now: Timestamp) async throws -> Outcome {
        switch request.uri.object {
        case .key(let id): return try await retrieveKey(id, request, for: asking, now)
        case .resourceKeys(let id):
            try await demandAccess(to: id, for: asking, now)
            return try await retrieveKeys(ofResource: id, request, asking.caller, now)
        case .resource(let id):
            try await demandAccess(to: id, for: asking, now)
            var outcome = try await retrieveResource(id, asking.caller, now)
            // Who else takes part is not the partner's business.
            if case .resource(var resource) = outcome.body {
                resource.authorizationURIs = try await own(of: asking, on: id, now).map { names.authorization($0.id) }
                outcome.body = .resource(resource)
            }
            return outcome
        case .resourceAuthorizations(let id):
            try await demandAccess(to: id, for: asking, now)
            let wanted = request.uri.authID.map { $0.canonicalAuthID == asking.user } ?? true
            let rows = wanted ? try await own(of: asking, on: id, now) : []
            return Outcome(
                KMSStatus.ok, .authorizations(try rows.map { wireAuthorization(try vault.content($0), id: $0.id) }))
        default: throw KMSFailure(KMSStatus.forbidden, "a partner may retrieve keys and resources only")
        }
    }

    private func retrieveKey(
        _ id: String, _ request: KMSRequest, for asking: PartnerCaller, _ now: Timestamp
    ) async throws -> Outcome {
        guard let record = try await store.key(id), let content = try vault.contentUnlessErased(record) else {
            throw noSuchKey(id)
        }
        if content.owner.canonicalAuthID == asking.user { throw PartnerRules.ownUser(asking.user, asking.partner) }
        guard let resource = content.resource else { throw notAuthorized(asking.caller, unboundKey: id) }
        try await demandAccess(to: resource, for: asking, now)
        let outcome = try await retrieveKey(id, request, asking.caller, now)
        // The partner has the octets: that they may be used now is all that it needs.
        let digest = content.key.withUnsafeBytes { Base64URL.encode(SHA256.hash($0)) }
        return request.body["knownDigest"]?.string == digest ? Outcome(outcome.status) : outcome
    }

    /// Rule 8: by an entry of the user's own, or through a nested resource where the partner's users may; never by
    /// `/public`. Whoever made the resource is an own user, whatever a partner says.
    private func demandAccess(to id: String, for asking: PartnerCaller, _ now: Timestamp) async throws {
        guard let record = try await store.resource(id), record.deletedAt == nil else {
            throw noSuchResource(id)
        }
        let head = try await self.head(record)
        if head.creator.canonicalAuthID == asking.user {
            throw PartnerRules.ownUser(asking.user, asking.partner)
        }
        // Who may not read learns nothing of domains: the access comes first.
        switch try await access(asking.caller, resource: id, head: head, now: now) {
        case .direct: break
        case .nested where asking.partner.allowsNested: break
        case .nested, .everybody, .anonymous, .service, .formerMember, .query, nil:
            throw notAuthorized(asking.caller, resource: id)
        }
        try await PartnerRules.judgeDomain(
            of: head.creator, partner: asking.partner.host, asking.snapshot, asking.homes)
    }

    private func own(
        of asking: PartnerCaller, on resource: String, _ now: Timestamp
    ) async throws -> [AuthorizationRecord] {
        guard let (row, _) = try await directAuthorization(of: asking.user, resource: resource, now: now) else {
            return []
        }
        return [row]
    }
}
