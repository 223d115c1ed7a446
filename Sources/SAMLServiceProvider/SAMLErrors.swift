package import Diagnostics

extension DiagnosedError.Code {
    /// A message that is no SAML, or has what none may have.
    package static let samlMalformed: Self = "saml-malformed"
    /// Something that SAML has and this service provider refuses on purpose.
    package static let samlUnsupported: Self = "saml-unsupported"
    /// The signature is missing, in a wrong place, or does not verify with the provider's key.
    package static let samlSignature: Self = "saml-signature"
    /// xmlsec1 can not be run.
    package static let samlProgram: Self = "saml-program"
    /// Too many messages at once.
    package static let samlBusy: Self = "saml-busy"
    /// The provider says that nobody signed in.
    package static let samlStatus: Self = "saml-status"
    /// For another service, another request, another time.
    package static let samlIssuer: Self = "saml-issuer"
    package static let samlRecipient: Self = "saml-recipient"
    package static let samlAudience: Self = "saml-audience"
    package static let samlRequest: Self = "saml-request"
    package static let samlExpired: Self = "saml-expired"
    package static let samlNotYetValid: Self = "saml-not-yet-valid"
    /// It does not say who, or not in a way that counts.
    package static let samlSubject: Self = "saml-subject"
}

extension DiagnosedError {
    static func saml(
        _ code: Code, _ summary: String, expected: String? = nil, found: String? = nil, hint: String? = nil
    ) -> DiagnosedError {
        DiagnosedError(code, fault: .peer, summary, expected: expected, found: found, hint: hint)
    }
}
