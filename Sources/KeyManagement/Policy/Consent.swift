import KMSProtocol
import KeyStore
import SignedPolicy
import WireText

// What the signed policy says to a request, beside the members' rights (security model, rules 1, 3 and 11):
//
// 1. The token of a service account is judged by the consents for its subject and by nothing else: being on a list gives
//    it nothing. Without a consent it may nothing, and it is never taken for a person.
// 2. With a consent it retrieves in the spaces that the consent covers. What changes a space needs, besides the operation
//    in the consent, that the service stands on the space's list.
// 3. A person's token is held against the consents that name its client, and against the list of clients with which
//    people come in. That gives nothing: the person needs the right all the same.
// 4. For somebody else a service reads only what that person may read, for a compliance officer of the policy whom it
//    names, and with a consent that says so.
// 5. A calendar connector reads only what it was put on the list of: calendars that it made, and never a space's messages.
// 6. For a former member it reads the keys that were bound until he left: with `formerMembers`, in a matter, and as long
//    as the policy keeps the interval. Nobody else does.
extension KeyManagement {
    /// Throws the refusal by the rule that objects; the consent by which the request came, nil for people who come in
    /// with a client of their own.
    ///
    /// - Parameter space: the absolute URI of the space; nil for what belongs to none.
    @discardableResult
    func demandConsent(
        _ caller: Caller, space: String?, _ operation: KMSRequest.Method, _ now: Timestamp
    ) throws(KMSFailure) -> ServiceConsent? {
        guard let identity = caller.identity else { return nil }
        let rules = snapshot.rules
        let organisation = space == nil ? nil : snapshot.signed.organisation
        let verdict: Verdict?
        switch caller.capacity {
        case .service(let agent):
            verdict = rules.judge(
                identity, space: space, spaceOrganisation: organisation, operation: operation.rawValue,
                onBehalf: agent != nil, now: now)
        case .user, .officer:
            verdict = rules.judgeClient(
                identity, space: space, spaceOrganisation: organisation, operation: operation.rawValue,
                onBehalf: caller.capacity == .officer, now: now)
        case .anonymous, .partner: return nil
        }
        guard let verdict else { return nil }
        guard verdict.allowed else { throw KMSFailure(refusedBy: verdict) }
        return verdict.consent
    }

    /// Type of the services that keep calendars in step.
    static let calendar = "calendar"

    /// How a service reads a space that is there, or nil when the person for whom it asks may not. Throws the refusal of
    /// its consent.
    func serviceAccess(
        _ caller: Caller, agent: String?, resource id: String, _ now: Timestamp
    ) async throws -> AccessPath? {
        guard let record = try await store.resource(id), record.deletedAt == nil else { return nil }
        let head = try await self.head(record)
        guard !head.isGone(now) else { return nil }
        guard let consent = try demandConsent(caller, space: names.resource(id), .retrieve, now) else { return nil }
        let user = caller.effectiveUser
        if agent == nil, consent.type == Self.calendar {
            guard try await directAuthorization(of: user, resource: id, head: head, now: now) != nil else {
                throw KMSFailure(
                    KMSStatus.forbidden,
                    "a calendar service reads only calendars that it is on the list of (not-its-calendar)",
                    rule: "not-its-calendar")
            }
            return .service(consent.name)
        }
        guard agent != nil else { return .service(consent.name) }
        if try await directAuthorization(of: user, resource: id, head: head, now: now) != nil {
            return .service(consent.name)
        }
        if try await nestedAccess(user, from: id, head, now) != nil { return .service(consent.name) }
        guard consent.formerMembers, let left = try await lastInterval(of: user, resource: id, now) else { return nil }
        guard caller.matter != nil else {
            throw KMSFailure(
                KMSStatus.forbidden, "a former member's keys are read in a matter, and none is named (matter-missing)",
                rule: "matter-missing")
        }
        return .formerMember(service: consent.name, until: left)
    }

    /// When the user's last authorization on the resource ended. Its sealed row is the interval: it was written in the
    /// commit that ended it, and stays until the policy's time is over.
    private func lastInterval(of user: String, resource id: String, _ now: Timestamp) async throws -> Timestamp? {
        let lookup = vault.lookup(authID: user, resource: id)
        guard let row = try await store.lastRemoval(ofResource: id, lookup: lookup),
            let left = try vault.content(row, checkedFor: user).removedAt,
            now < left.adding(seconds: policy.intervalLife)
        else { return nil }
        return left
    }
}

extension KMSFailure {
    /// A refusal by the signed policy; client, journal and audit see which rule it was.
    init(refusedBy verdict: Verdict) {
        self.init(KMSStatus.forbidden, "\(verdict.sentence) (\(verdict.rule))", rule: verdict.rule)
    }
}
