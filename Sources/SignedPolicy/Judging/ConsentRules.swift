package import WireText

/// What a policy says to one question: yes or no, by which rule, in a sentence for the person who asks why.
package struct Verdict: Sendable, Equatable {
    package let allowed: Bool
    /// A stable name, such as `consent-expired` or `service-consent:indexer`.
    package let rule: String
    /// Safe to log but for the identifiers of people and spaces, of which it holds none.
    package let sentence: String
    /// The consent that was judged, if there is one.
    package let consent: ServiceConsent?

    static func refused(_ rule: String, _ sentence: String, _ consent: ServiceConsent? = nil) -> Verdict {
        Verdict(allowed: false, rule: rule, sentence: sentence, consent: consent)
    }
}

/// Who asks, as a verified token says it.
package struct ConsentIdentity: Sendable, Equatable {
    package let subject: String
    package let clientID: String?
    /// Of the issuer of the token.
    package let organisation: String?
    /// Whether the issuer calls the token's client an integration: a program of others that a person lets act for him.
    package let isIntegration: Bool

    package init(subject: String, clientID: String?, organisation: String?, isIntegration: Bool = false) {
        self.subject = subject
        self.clientID = clientID
        self.organisation = organisation
        self.isIntegration = isIntegration
    }

    /// The scope that the authorization service puts into tokens of integrations, whatever they ask for.
    package static let integrationScope = "integration"
}

/// Judges whether a plaintext service may have what it asks for (security model, rules 1, 3 and 11).
///
/// A consent is held against these rules, in this order; the first that objects names the refusal:
/// 1. `no-consent`: the policy names a consent for the token's subject (or, for a person's token, for its client).
/// 2. `client-mismatch`: where the consent names a client, the token was issued to it.
/// 3. `organisation-not-covered`: where it names organisations, the token's issuer belongs to one, and so does the space.
/// 4. `consent-not-yet`, `consent-expired`: it is valid at this moment.
/// 5. `space-not-covered`: the space is one of those that it names.
/// 6. `operation-not-covered`: so is the operation.
/// 7. `on-behalf-not-covered`: acting on behalf of somebody else is part of it.
///
/// Where several consents name the subject, one that allows counts, else the refusal of the one that came furthest.
package struct ConsentRules: Sendable {
    package let policy: Policy

    package init(_ policy: Policy) { self.policy = policy }

    /// One question.
    struct Question {
        let identity: ConsentIdentity
        let space: String?
        let spaceOrganisation: String?
        let operation: String
        let onBehalf: Bool
        let now: Timestamp
    }

    /// Nil when the rule does not object.
    typealias Rule = @Sendable (ServiceConsent, Question) -> Verdict?

    private static let rules: [Rule] = [client, organisation, time, space, operation, onBehalf]

    /// Whether tokens of this subject are a service's: then only `judge` decides, never membership.
    package func isService(_ subject: String) -> Bool { policy.services.contains { $0.subject == subject } }

    /// For a service's own token.
    ///
    /// - Parameters:
    ///   - space: the absolute URI of the resource, the host in lower case; nil for what belongs to no space.
    ///   - spaceOrganisation: whose the space is, where that is known.
    package func judge(
        _ identity: ConsentIdentity, space: String?, spaceOrganisation: String? = nil, operation: String = "retrieve",
        onBehalf: Bool = false, now: Timestamp
    ) -> Verdict {
        let question = Question(
            identity: identity, space: space, spaceOrganisation: spaceOrganisation, operation: operation,
            onBehalf: onBehalf, now: now)
        return Self.judge(policy.services.filter { $0.subject == identity.subject }, question)
            ?? .refused("no-consent", "the policy names no consent for this service")
    }

    /// For a person's token: nil when it was issued to a client with which people come in, so that nothing but the
    /// person's own rights counts. An integration is no such client: without a consent that names it, it gets nothing, also
    /// where every client of persons is let in. A verdict that allows is no right of its own either: the person needs his as well.
    package func judgeClient(
        _ identity: ConsentIdentity, space: String?, spaceOrganisation: String? = nil, operation: String = "retrieve",
        onBehalf: Bool = false, now: Timestamp
    ) -> Verdict? {
        let question = Question(
            identity: identity, space: space, spaceOrganisation: spaceOrganisation, operation: operation,
            onBehalf: onBehalf, now: now)
        let consents = policy.services.filter { $0.client != nil && $0.client == identity.clientID }
        if let verdict = Self.judge(consents, question) { return verdict }
        guard !identity.isIntegration else {
            return .refused(
                "integration-without-consent", "the policy names no consent for the integration that brings this token")
        }
        switch policy.personalClients {
        case .all: return nil
        case .only(let clients):
            if let client = identity.clientID, clients.contains(client) { return nil }
            return .refused("unknown-client", "the token was issued to a client that the policy does not name")
        }
    }

    /// Whether a person has the capacity of a compliance officer now, for the matter if there is one.
    package func agent(user: String, matter: String? = nil, now: Timestamp) -> Verdict {
        let entries = policy.agents.filter { $0.user == user }
        guard !entries.isEmpty else {
            return .refused("not-an-agent", "the policy does not name this person as a compliance officer")
        }
        let fitting = entries.filter { $0.matter == nil || $0.matter == matter }
        guard !fitting.isEmpty else {
            return .refused("agent-matter", "this person is a compliance officer for another matter only")
        }
        guard fitting.contains(where: { $0.notAfter.map { now < $0 } ?? true }) else {
            return .refused("agent-expired", "this person's time as a compliance officer is over")
        }
        return Verdict(
            allowed: true, rule: "compliance-officer", sentence: "the policy names this person as a compliance officer",
            consent: nil)
    }

    private static func judge(_ consents: [ServiceConsent], _ question: Question) -> Verdict? {
        var furthest: (step: Int, verdict: Verdict)?
        for consent in consents {
            let objection = rules.enumerated().lazy.compactMap { step, rule in
                rule(consent, question).map { (step, $0) }
            }.first
            guard let (step, verdict) = objection else {
                return Verdict(
                    allowed: true, rule: "service-consent:\(consent.name)",
                    sentence: "the policy consents to the service \(consent.name) until \(consent.notAfter)",
                    consent: consent)
            }
            if furthest.map({ $0.step < step }) ?? true { furthest = (step, verdict) }
        }
        return furthest?.verdict
    }
}

// The rules, each for itself.
extension ConsentRules {
    private static let client: Rule = { consent, question in
        guard let client = consent.client, client != question.identity.clientID else { return nil }
        return .refused(
            "client-mismatch", "the token was issued to another client than the consent \(consent.name) names", consent)
    }

    private static let organisation: Rule = { consent, question in
        guard !consent.organisations.isEmpty else { return nil }
        let asking = question.identity.organisation.map(consent.organisations.contains) ?? false
        let asked = question.spaceOrganisation.map(consent.organisations.contains) ?? true
        guard !(asking && asked) else { return nil }
        return .refused(
            "organisation-not-covered", "the consent \(consent.name) is for other organisations", consent)
    }

    private static let time: Rule = { consent, question in
        if let notBefore = consent.notBefore, question.now < notBefore {
            return .refused("consent-not-yet", "the consent \(consent.name) begins at \(notBefore)", consent)
        }
        guard question.now < consent.notAfter else {
            return .refused("consent-expired", "the consent \(consent.name) ended at \(consent.notAfter)", consent)
        }
        return nil
    }

    private static let space: Rule = { consent, question in
        guard let space = question.space, !consent.spaces.covers(space) else { return nil }
        return .refused("space-not-covered", "the consent \(consent.name) is for other spaces", consent)
    }

    private static let operation: Rule = { consent, question in
        guard !consent.operations.contains(question.operation) else { return nil }
        return .refused(
            "operation-not-covered",
            "the consent \(consent.name) is for \(consent.operations.sorted().joined(separator: ", ")) only", consent)
    }

    private static let onBehalf: Rule = { consent, question in
        guard question.onBehalf, !consent.mayActOnBehalf else { return nil }
        return .refused(
            "on-behalf-not-covered", "the consent \(consent.name) does not let the service act for somebody else",
            consent)
    }
}
