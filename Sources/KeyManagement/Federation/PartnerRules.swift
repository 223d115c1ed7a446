import KMSProtocol
import SignedPolicy
import WireText

/// Which request of another KMS is judged at all, and for whom (protocol, section 10; security model, rules 11 and 16).
///
/// 1. The partner is configured now, and may ask.
/// 2. It retrieves: a key, a resource, a resource's keys or its authorizations. Nothing else.
/// 3. The object is this KMS's own: no KMS is asked through another one.
/// 4. It names one user, by a UUID, and nobody on behalf of whom it asks.
/// 5. The user is not one of this KMS's own: neither listed as such, nor one who had or has a session here.
/// 6. When the partner's users prove themselves by assertions, the request brings one: of the partner's issuer, for this
///    KMS, of this very user.
/// 7. The user is the partner's: in its list when it has one, and in no other partner's.
///
/// What follows is in `KeyManagement+Partner.swift`: 8. the user may read the object, `/public` not counted; 9. the user
/// is bound to this partner (`UserHomes`); 10. the partner may share with the domain of who made the space.
enum PartnerRules {
    /// Rules 1 to 4: what needs neither store nor network. The user, in lower case.
    static func judge(
        _ request: KMSRequest, partner: FederationPartner?, names: KMSNames
    ) throws(KMSFailure) -> String {
        guard let partner, partner.mayAskUs else {
            throw KMSFailure(KMSStatus.forbidden, "\(names.host) has no federation with the asking KMS")
        }
        guard request.method == .retrieve else {
            throw KMSFailure(KMSStatus.forbidden, "\(partner.host) may retrieve only")
        }
        switch request.uri.object {
        case .key, .resource, .resourceKeys, .resourceAuthorizations: break
        default: throw KMSFailure(KMSStatus.forbidden, "\(partner.host) may retrieve keys and resources only")
        }
        guard names.owns(request.uri) else {
            throw KMSFailure(KMSStatus.forbidden, "\(names.host) asks no other KMS for \(partner.host)")
        }
        let named = request.credential.userID ?? ""
        guard UUIDText.isValid(named) else {
            throw .malformedRequest("client.credential.userId has to name one user")
        }
        guard request.credential.onBehalfOf.map({ $0.lowercased() == named.lowercased() }) ?? true else {
            throw KMSFailure(KMSStatus.forbidden, "a partner asks on behalf of nobody")
        }
        return named.lowercased()
    }

    /// Rule 5.
    static func judgeOwn(
        _ user: String, of partner: FederationPartner, in federation: Federation, homes: UserHomes,
        sessions: SessionTable, now: Timestamp
    ) async throws {
        guard !federation.ownUsers.contains(user), try await homes.home(of: user)?.isOwn != true,
            try await sessions.count(ofUser: user, now: now) == 0
        else { throw ownUser(user, partner) }
    }

    /// Rule 6.
    static func judgeAssertion(
        _ request: KMSRequest, of user: String, partner: FederationPartner, now: Timestamp
    ) async throws(KMSFailure) {
        guard let assertions = partner.assertions else { return }
        guard !request.credential.bearer.isEmpty else {
            throw KMSFailure(
                KMSStatus.unauthorized, "\(partner.host) has to bring an assertion of user \(user)'s own issuer")
        }
        let identity = try await assertions.identity(of: request.credential.bearer, now: now)
        guard identity.userID.lowercased() == user else {
            throw KMSFailure(KMSStatus.forbidden, "the assertion is not of user \(user)")
        }
    }

    /// Rule 7. After the assertion: nobody raises an alarm about a user without a proof.
    static func judgeLists(
        _ user: String, of partner: FederationPartner, in federation: Federation
    ) throws(KMSFailure) {
        let listing = federation.partners(listing: user)
        guard partner.users == nil || listing.contains(partner.host) else {
            throw KMSFailure(KMSStatus.forbidden, "\(partner.host) may not speak for user \(user)")
        }
        guard listing.allSatisfy({ $0 == partner.host }) else {
            federation.observer.contested(user, Set(listing + [partner.host]).sorted())
            throw contested(user, partner)
        }
    }

    /// Rule 10, both ways: the signed policy names this partner for the domain of this own user.
    /// - Parameter user: who made the space whose key the partner wants, or who wants the partner's.
    static func judgeDomain(
        of user: String, partner host: String, _ snapshot: PolicySnapshot, _ homes: UserHomes
    ) async throws {
        guard let federation = snapshot.signed.federation else { return }
        guard let domain = try await homes.domain(ofOwn: user) else {
            throw KMSFailure(
                KMSStatus.forbidden, "it is not known which domain decides about \(host)",
                rule: "partner-domain-unknown")
        }
        guard federation.first(where: { $0.domain == domain })?.partners.covers(host) == true else {
            throw KMSFailure(
                KMSStatus.forbidden, "\(host) is no partner of \(domain)", rule: "partner-not-of-domain")
        }
    }

    static func ownUser(_ user: String, _ partner: FederationPartner) -> KMSFailure {
        KMSFailure(KMSStatus.forbidden, "\(partner.host) may not speak for user \(user) of this organisation")
    }

    static func contested(_ user: String, _ partner: FederationPartner) -> KMSFailure {
        KMSFailure(KMSStatus.forbidden, "\(partner.host) may not speak for user \(user): another side claims that user")
    }
}

extension KMSFailure {
    static func malformedRequest(_ reason: String) -> KMSFailure { KMSFailure(KMSStatus.malformed, reason) }
}
