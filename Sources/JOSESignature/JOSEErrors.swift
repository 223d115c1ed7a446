package import Diagnostics

extension DiagnosedError.Code {
    /// A compact JWS or JWE, or its header, does not have the form of one.
    package static let joseMalformed: Self = "jose-malformed"
    /// The header asks for something that is refused on purpose: another algorithm, `crit`, `zip`, `b64`.
    package static let joseRefused: Self = "jose-refused"
    package static let joseSignatureInvalid: Self = "jose-signature-invalid"
    package static let jwkInvalid: Self = "jwk-invalid"
    /// A JWK that says it is for something else.
    package static let jwkPurpose: Self = "jwk-purpose"
}

extension DiagnosedError {
    package static func malformedJOSE(
        _ summary: String, expected: String? = nil, found: String? = nil
    ) -> DiagnosedError {
        DiagnosedError(.joseMalformed, fault: .client, summary, expected: expected, found: found)
    }

    package static func refusedJOSE(
        _ summary: String, expected: String? = nil, found: String? = nil
    ) -> DiagnosedError {
        DiagnosedError(.joseRefused, fault: .client, summary, expected: expected, found: found)
    }
}
