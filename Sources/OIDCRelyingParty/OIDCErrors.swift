package import Diagnostics

extension DiagnosedError.Code {
    /// The provider can not be reached, or gives no usable metadata.
    package static let oidcUnavailable: Self = "oidc-unavailable"
    /// The provider's metadata say something that must not be.
    package static let oidcMetadata: Self = "oidc-metadata"
    /// The provider refused the login or the code.
    package static let oidcRefused: Self = "oidc-refused"
    /// An ID token that this relying party must not believe.
    package static let oidcIDToken: Self = "oidc-id-token"
    /// A logout token that this relying party must not believe.
    package static let oidcLogoutToken: Self = "oidc-logout-token"
}

/// Texts of a provider that go into an error: its error codes, no free text.
enum ProviderCode {
    /// An `error` of RFC 6749: printable ASCII, short; everything else is not repeated.
    static func safe(_ text: String?) -> String {
        guard let text, (1...64).contains(text.utf8.count),
            text.utf8.allSatisfy({ $0 >= 0x61 && $0 <= 0x7A || $0 == 0x5F })
        else { return "no error code" }
        return text
    }
}
