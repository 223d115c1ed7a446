internal import COpenSSL
package import Diagnostics

extension DiagnosedError.Code {
    /// libcrypto refused an operation that no input should make it refuse.
    package static let cryptographyFailure: Self = "cryptography-failure"
    package static let randomnessUnavailable: Self = "randomness-unavailable"
    /// A public key that is malformed, off its curve, or of a kind that is not supported.
    package static let keyInvalid: Self = "key-invalid"
    package static let keyTooSmall: Self = "key-too-small"
    /// A key whose private half can be computed from it (ROCA).
    package static let keyVulnerable: Self = "key-vulnerable"
    package static let privateKeyInvalid: Self = "private-key-invalid"
    /// An encrypted private key does not open with the passphrase at hand.
    package static let keyPassphraseWrong: Self = "key-passphrase-wrong"
    package static let signatureFailure: Self = "signature-failure"
}

/// OpenSSL's error queue of the calling thread, as errors of this project.
package enum OpenSSLFailure {
    /// An error that carries the reasons OpenSSL left behind; the queue is empty afterwards.
    ///
    /// Never to be used for a failed decryption: there the reason would be an oracle.
    package static func error(
        _ code: DiagnosedError.Code, fault: DiagnosedError.Fault = .internal,
        _ summary: String, expected: String? = nil, hint: String? = nil
    ) -> DiagnosedError {
        DiagnosedError(code, fault: fault, summary, expected: expected, found: drainReasons(), hint: hint)
    }

    /// Forgets what stands in the queue, so that it is not taken for the reason of a later failure.
    package static func discard() {
        ERR_clear_error()
    }

    /// The reasons in the order they were raised, such as `asn1 encoding routines: wrong tag`; nil without any.
    package static func drainReasons() -> String? {
        var reasons: [String] = []
        while case let code = ERR_get_error(), code != 0 {
            // The data that OpenSSL attaches to an entry may quote input, so only the fixed texts are kept.
            let library = unsafe ERR_lib_error_string(code).map { unsafe String(cString: $0) }
            let reason = unsafe ERR_reason_error_string(code).map { unsafe String(cString: $0) }
            let text = [library, reason ?? "reason \(code & 0x7F_FFFF)"].compactMap { $0 }.joined(separator: ": ")
            if reasons.count < 4, !reasons.contains(text) { reasons.append(text) }
        }
        return reasons.isEmpty ? nil : reasons.joined(separator: ", ")
    }
}
