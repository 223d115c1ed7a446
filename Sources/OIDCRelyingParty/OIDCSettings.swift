package import Diagnostics

/// What a relying party has to know of one OpenID provider and of itself there: the checked form of its configuration.
package struct OIDCSettings: Sendable {
    /// As the provider writes it in `iss`, to the octet.
    package var issuer: String
    package var clientID: String
    /// Nil for a public client, which proves itself by PKCE alone.
    package var clientSecret: Redacted<String>?
    /// Of this provider alone: an answer of another one never arrives here (RFC 9700, section 4.4.2).
    package var redirectURI: String
    /// Where a browser comes back after it was signed out there.
    package var signedOutURI: String
    package var scopes = ["openid", "email", "profile"]
    package var claims = Claims()
    /// Whether an address counts only with `email_verified`.
    package var wantsVerifiedAddress = true
    /// Seconds by which the clocks may differ.
    package var leeway: Int64 = 60
    /// The user has to have signed in there within so many seconds; nil: the provider decides.
    package var maximumAge: Int64?

    /// The names of the claims that are read.
    package struct Claims: Sendable, Equatable {
        package var subject = "sub"
        package var address = "email"
        package var name = "name"

        package init() {}
    }

    package init(issuer: String, clientID: String, redirectURI: String, signedOutURI: String) {
        self.issuer = issuer
        self.clientID = clientID
        self.redirectURI = redirectURI
        self.signedOutURI = signedOutURI
    }

    /// Whether a text can be an issuer (OpenID Connect Discovery 1.0, section 2): `https` without query and fragment;
    /// plain `http` on this machine only.
    package static func isIssuer(_ text: String) -> Bool {
        isEndpoint(text, of: text) && !text.contains("?") && text.utf8.count <= 512
    }

    /// An address that the provider names may be asked: `https`, or plain when the provider itself is on this machine.
    static func isEndpoint(_ text: String, of issuer: String) -> Bool {
        guard text.utf8.count <= 2048, text.utf8.allSatisfy({ $0 > 0x20 && $0 < 0x7F }), !text.contains("#"),
            !text.utf8.contains(where: { "\"<>\\^`{|}".utf8.contains($0) })
        else { return false }
        if text.hasPrefix("https://") {
            return text.utf8.count > "https://".utf8.count && !authority(text).contains("@")
        }
        return isLoopback(text) && isLoopback(issuer)
    }

    private static func isLoopback(_ text: String) -> Bool {
        guard text.hasPrefix("http://") else { return false }
        let host = authority(text).prefix { $0 != ":" }
        return host == "localhost" || host == "127.0.0.1"
    }

    private static func authority(_ text: String) -> Substring {
        guard let mark = text.firstRange(of: "://") else { return "" }
        return text[mark.upperBound...].prefix { $0 != "/" && $0 != "?" }
    }
}
