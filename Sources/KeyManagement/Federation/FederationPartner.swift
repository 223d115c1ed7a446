package import KMSProtocol

/// Another organisation's KMS as the administrator has decided about it (protocol, section 10; security model, rule 16).
///
/// Nothing is taken from the partner's word: whose users it may speak for stands here, by a list of ids or by what the
/// partner's own authorization service has to prove for each request, or both.
package struct FederationPartner: Sendable {
    /// By what its KMS is believed; names the host.
    package let trust: FederationTrust
    /// For the journal.
    package let organisation: String
    /// Whether its KMS may ask this one.
    package let mayAskUs: Bool
    /// Whether this KMS asks it.
    package let weMayAsk: Bool
    /// The users that it may speak for, as lower-case UUIDs; nil: those that `assertions` proves.
    package let users: Set<String>?
    /// Says whose an assertion of the partner's authorization service is; with one, every request needs one.
    package let assertions: (any BearerVerifier)?
    /// `iss` of those assertions, as the signed policy may name it.
    package let assertionIssuer: String?
    /// Whether its users may read through a resource that is authorized on another.
    package let allowsNested: Bool
    /// How long octets of its keys are kept here, in seconds; 0: not at all.
    package let cacheSeconds: Int64

    package init(
        trust: FederationTrust, organisation: String, mayAskUs: Bool, weMayAsk: Bool, users: Set<String>?,
        assertions: (any BearerVerifier)? = nil, assertionIssuer: String? = nil, allowsNested: Bool = false,
        cacheSeconds: Int64 = 0
    ) {
        self.trust = trust
        self.organisation = organisation
        self.mayAskUs = mayAskUs
        self.weMayAsk = weMayAsk
        self.users = users.map { Set($0.map { $0.lowercased() }) }
        self.assertions = assertions
        self.assertionIssuer = assertionIssuer
        self.allowsNested = allowsNested
        self.cacheSeconds = cacheSeconds
    }

    package var host: String { trust.host }
}

/// What the service is told of federation, for alarms and the journal.
package struct FederationObserver: Sendable {
    /// A user id that more than one side claims: it is refused to the partners until an administrator has decided.
    package var contested: @Sendable (_ user: String, _ claimants: [String]) -> Void
    /// A partner's KMS does not answer, or answers again (nil).
    package var partner: @Sendable (_ host: String, _ problem: String?) -> Void

    package init(
        contested: @escaping @Sendable (_ user: String, _ claimants: [String]) -> Void = { _, _ in },
        partner: @escaping @Sendable (_ host: String, _ problem: String?) -> Void = { _, _ in }
    ) {
        self.contested = contested
        self.partner = partner
    }
}

/// Federation as one KMS has it: its partners, what it knows of its own users, and the asking side.
package struct Federation: Sendable {
    var partners: [String: FederationPartner]
    /// Users of this KMS's own organisation, as lower-case UUIDs, beside those that it has met.
    let ownUsers: Set<String>
    let client: FederationClient
    let observer: FederationObserver

    package init(
        partners: [FederationPartner], ownUsers: Set<String> = [], client: FederationClient,
        observer: FederationObserver = FederationObserver()
    ) {
        self.partners = Dictionary(partners.map { ($0.host, $0) }, uniquingKeysWith: { first, _ in first })
        self.ownUsers = Set(ownUsers.map { $0.lowercased() })
        self.client = client
        self.observer = observer
    }

    /// The partners whose list has the user.
    func partners(listing user: String) -> [String] {
        partners.values.filter { $0.users?.contains(user) == true }.map(\.host).sorted()
    }
}
