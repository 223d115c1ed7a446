package import KMSProtocol
package import WireText

/// Whose token it is, as an issuer that the administrator trusts says it.
package struct TokenIdentity: Sendable, Equatable {
    package var userID: String
    /// Client that the token was issued to, where it says so.
    package var clientID: String?
    package var scopes: Set<String>
    package var issuer: String
    package var expires: Timestamp
    /// `jti`
    package var tokenID: String?
    /// `org`
    package var organisation: String?
    /// `domain`, lower case: that of a person's e-mail address.
    package var domain: String?
    package var audience: [String]
    /// Whether the customer runs the issuer (security model, rule 1).
    package var isCustomerControlled: Bool
    package var issued: Timestamp?
    /// Thumbprint of the key that the holder has to prove (`cnf.jkt`); nil for a token that is good by itself.
    package var confirmation: String?

    /// Whether it is a service account's and no person's. A token that a client got for itself has the client as its
    /// subject (RFC 9068, section 2.2), and keys are bound to services only. Other service accounts are known by the
    /// signed policy, which names their subject.
    package var isService: Bool {
        confirmation != nil || clientID.map { $0.lowercased() == userID.lowercased() } ?? false
    }

    package init(
        userID: String, clientID: String?, scopes: Set<String>, issuer: String, expires: Timestamp,
        tokenID: String? = nil, organisation: String? = nil, audience: [String] = [], isCustomerControlled: Bool = true,
        issued: Timestamp? = nil, confirmation: String? = nil, domain: String? = nil
    ) {
        self.domain = domain?.lowercased()
        self.userID = userID
        self.clientID = clientID
        self.scopes = scopes
        self.issuer = issuer
        self.expires = expires
        self.tokenID = tokenID
        self.organisation = organisation
        self.audience = audience
        self.isCustomerControlled = isCustomerControlled
        self.issued = issued
        self.confirmation = confirmation
    }
}

/// Says whose a bearer token is, on every request (protocol, section 6).
package protocol BearerVerifier: Sendable {
    /// Throws a `KMSFailure` of status 401 for a token that is not good, of status 500 when that can not be told now.
    func identity(of bearer: String, now: Timestamp) async throws(KMSFailure) -> TokenIdentity

    /// The same when it is known from an earlier call that gave an identity, and still holds; nil: ask `identity`.
    func remembered(_ bearer: String, now: Timestamp) throws(KMSFailure) -> TokenIdentity?
}

extension BearerVerifier {
    package func remembered(_ bearer: String, now: Timestamp) throws(KMSFailure) -> TokenIdentity? { nil }
}

/// By which rule a token is refused: for audit and explanations. Clients are told one sentence for all of them.
package enum TokenRule: String, Sendable, CaseIterable {
    case malformed = "token-malformed"
    case wrongType = "token-wrong-type"
    case unknownIssuer = "token-unknown-issuer"
    case keyUnknown = "token-key-unknown"
    case badSignature = "token-bad-signature"
    case wrongAudience = "token-wrong-audience"
    case wrongOrganisation = "token-wrong-organisation"
    case missingScope = "token-missing-scope"
    case expired = "token-expired"
    case notYetValid = "token-not-yet-valid"
    case tooLongLived = "token-too-long-lived"
    case inactive = "token-inactive"
    case revoked = "token-revoked"
    /// It can not be told now whether the token is good.
    case unchecked = "token-unchecked"
    /// The token is bound to a key that the session did not prove, or the reverse.
    case keyNotProven = "token-key-not-proven"
    /// A proof came that does not prove the key of the token.
    case badProof = "token-bad-proof"

    /// What the client is told: the same for every reason.
    package var failure: KMSFailure {
        switch self {
        case .unchecked:
            KMSFailure(KMSStatus.internalError, "the bearer token can not be checked now", rule: rawValue)
        case .keyNotProven, .badProof:
            KMSFailure(KMSStatus.forbidden, "the bearer token's key is not proven in this session", rule: rawValue)
        default: KMSFailure(KMSStatus.unauthorized, "Failed to authenticate the bearer token", rule: rawValue)
        }
    }
}
