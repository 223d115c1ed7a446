import Cryptography
package import Diagnostics
import JOSESignature
package import WireText

/// The organisation's policy: who but the members may get keys, and what takes how many officers. Immutable.
///
/// Default deny: what it does not name has no consent. Version 0 is the policy of a KMS that has none.
/// ```yaml
/// version: 3
/// organisation: example-org
/// issued: 2027-01-15T09:00:00Z
/// services:
///   - {name: indexer, type: search-indexing, subject: svc-indexer, spaces: all, notAfter: 2027-12-31}
/// ```
package struct Policy: Sendable, Equatable {
    /// At least 1 in a document; the KMS never takes a lower one than it has seen.
    package let version: Int
    package let organisation: String
    package let issued: Timestamp
    package let agents: [Agent]
    package let services: [ServiceConsent]
    /// `client_id`s with which persons may come in; tokens of others are refused, but for those that a consent names.
    package let personalClients: Coverage
    package let partners: [Partner]
    /// Nil: users of every domain may share keys with all partners.
    package let federation: [FederatedDomain]?
    package let freeze: FreezeRules
    package let erasure: ErasureRules
    package let explanations: ExplanationRules
    /// Whether only moderators may add and remove in a moderated space (rule 13).
    package let moderation: Bool
    /// Whether `/public` may be authorized (rule 12).
    package let publicAuthorizations: Bool
    package let retention: Retention
    package let limits: PolicyLimits
    package let anomaly: AnomalyThresholds
    /// SHA-256 of the canonical document; with the version it tells one policy from every other.
    package let digest: [UInt8]

    package static let maximumBytes = 512 << 10
    static let jsonLimits = JSONDocument.Limits(
        maximumDepth: 8, maximumNodes: 100_000, maximumBytes: maximumBytes)

    /// From the canonical text that officers sign; any other form of the same content is refused.
    package init(canonical bytes: [UInt8]) throws(DiagnosedError) {
        let root = try Self.document(bytes)
        guard CanonicalJSON.isCanonical(bytes, root) else {
            throw .policy(
                .policyMalformed, "the signed policy is not in canonical form",
                expected: "what hdsctl policy sign writes", hint: "sign the policy again with hdsctl policy sign")
        }
        try self.init(PolicyPlace(root: root), digest: SHA256.hash(bytes))
    }

    /// Checks a document as a person wrote it and gives the text to sign.
    package static func canonical(of json: [UInt8]) throws(DiagnosedError) -> (policy: Policy, bytes: [UInt8]) {
        let bytes: [UInt8]
        do {
            bytes = try CanonicalJSON.bytes(try document(json))
        } catch {
            throw error.code == .policyMalformed ? error : .policy(.policyMalformed, error.summary)
        }
        return (try Policy(canonical: bytes), bytes)
    }

    private static func document(_ bytes: [UInt8]) throws(DiagnosedError) -> JSONNode {
        do {
            return try JSONDocument(bytes, limits: jsonLimits).root
        } catch {
            throw .policy(
                .policyMalformed, "the policy can not be read: \(error.summary)", expected: error.expected,
                found: error.found)
        }
    }

    /// Nothing is allowed, and what can not be undone needs two officers.
    package static func none(organisation: String) -> Policy { Policy(noneOf: organisation) }

    private init(noneOf organisation: String) {
        version = 0
        self.organisation = organisation
        issued = Timestamp(milliseconds: 0)
        (agents, services, partners, federation) = ([], [], [], nil)
        personalClients = .all
        (freeze, erasure, explanations) = (FreezeRules(), ErasureRules(), ExplanationRules())
        (moderation, publicAuthorizations) = (true, false)
        (retention, limits, anomaly) = (Retention(), PolicyLimits(), AnomalyThresholds())
        digest = SHA256.hash(Array("no policy".utf8))
    }

    private init(_ place: PolicyPlace, digest: [UInt8]) throws(DiagnosedError) {
        let members = try place.object(
            [
                "version", "organisation", "issued", "agents", "services", "personalClients", "partners", "federation",
                "freeze", "erasure", "explanations", "moderation", "publicAuthorizations", "retention", "limits",
                "anomaly",
            ])
        self.digest = digest
        version = try members.required("version").integer(1...1_000_000_000)
        organisation = try members.required("organisation").text()
        issued = try members.required("issued").moment()
        agents = try Self.agents(members["agents"])
        services = try Self.services(members["services"])
        personalClients =
            try members["personalClients"]?.coverage(upTo: 1000) { (place) throws(DiagnosedError) in
                try place.text()
            } ?? .all
        partners = try Self.partners(members["partners"])
        federation = try Self.federation(members["federation"], partners)
        freeze = try FreezeRules(members["freeze"])
        erasure = try ErasureRules(members["erasure"])
        explanations = try ExplanationRules(members["explanations"])
        moderation = try members["moderation"]?.boolean() ?? true
        publicAuthorizations = try members["publicAuthorizations"]?.boolean() ?? false
        retention = try Retention(members["retention"])
        limits = try PolicyLimits(members["limits"])
        anomaly = try AnomalyThresholds(members["anomaly"])
        if case .only(let personal) = personalClients,
            let service = services.first(where: { $0.client.map(personal.contains) == true })
        {
            throw try members.required("personalClients").refusal(
                "a service's client can not be one for persons as well", found: "the client of \(service.name)",
                hint: "take it out of personalClients: its tokens are judged by the consent")
        }
    }

    private static func agents(_ place: PolicyPlace?) throws(DiagnosedError) -> [Agent] {
        var agents: [Agent] = []
        for place in try place?.list(upTo: 1000) ?? [] {
            let agent = try Agent(place)
            guard !agents.contains(where: { $0.user == agent.user && $0.matter == agent.matter }) else {
                throw place.refusal("this agent stands in the list twice", expected: "each user once for a matter")
            }
            agents.append(agent)
        }
        return agents
    }

    private static func services(_ place: PolicyPlace?) throws(DiagnosedError) -> [ServiceConsent] {
        var services: [ServiceConsent] = []
        for place in try place?.list(upTo: 200) ?? [] {
            let service = try ServiceConsent(place)
            for other in services {
                guard other.name != service.name else {
                    throw place.refusal("another service has this name", found: service.name)
                }
                guard !other.overlaps(service) else {
                    throw place.refusal(
                        "two consents speak of the same subject, spaces and time",
                        found: "\(other.name) and \(service.name)", hint: "join them, or divide spaces or time")
                }
            }
            services.append(service)
        }
        return services
    }

    private static func partners(_ place: PolicyPlace?) throws(DiagnosedError) -> [Partner] {
        var partners: [Partner] = []
        for place in try place?.list(upTo: 200) ?? [] {
            let partner = try Partner(place)
            for other in partners {
                guard other.host != partner.host else {
                    throw place.refusal("another partner has this host", found: partner.host)
                }
                guard other.domains.isDisjoint(with: partner.domains), other.issuers.isDisjoint(with: partner.issuers),
                    other.users.isDisjoint(with: partner.users)
                else {
                    throw place.refusal(
                        "two partners claim the same users", found: "\(other.host) and \(partner.host)",
                        hint: "leave domains, issuers and users to one of them")
                }
            }
            partners.append(partner)
        }
        return partners
    }

    private static func federation(
        _ place: PolicyPlace?, _ partners: [Partner]
    ) throws(DiagnosedError) -> [FederatedDomain]? {
        guard let place else { return nil }
        var domains: [FederatedDomain] = []
        for place in try place.list(upTo: 200) {
            let domain = try FederatedDomain(place)
            guard !domains.contains(where: { $0.domain == domain.domain }) else {
                throw place.refusal("the domain stands in the list twice", found: domain.domain)
            }
            if let partner = partners.first(where: { $0.domains.contains(domain.domain) }) {
                throw place.refusal(
                    "an own domain can not be a partner's", found: "\(domain.domain), claimed for \(partner.host)")
            }
            if case .only(let hosts) = domain.partners,
                let unknown = hosts.sorted().first(where: { host in !partners.contains { $0.host == host } })
            {
                throw place.refusal("there is no such partner", found: unknown)
            }
            domains.append(domain)
        }
        return domains
    }
}
