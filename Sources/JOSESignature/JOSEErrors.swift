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

extension String {
    /// A text of the sender as it may stand in an error: short, and free of what disturbs a log.
    package var quotedForError: String {
        let text = String(
            decoding: utf8.prefix(40).map { (0x20...0x7E).contains($0) ? $0 : UInt8(ascii: "?") }, as: UTF8.self)
        return utf8.count > 40 ? "'\(text)…'" : "'\(text)'"
    }
}
