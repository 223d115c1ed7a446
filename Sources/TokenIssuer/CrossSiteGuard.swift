import Cryptography
import WireText

/// Proof that a login form came from a page that this service gave to the same browser (login CSRF).
///
/// The browser holds 256 random bits in a cookie that no script and no other host can read or set (`__Host-`, HttpOnly);
/// the form holds a digest of them together with the parameters of the request it was made for. Nothing is kept here,
/// so a restart spoils no open page.
enum CrossSiteGuard {
    static let cookieName = "__Host-hds-login"
    /// How long an open login page stays good.
    static let lifetimeSeconds: Int64 = 3600

    /// The secret in a `Cookie` header, when it holds exactly one of the right form.
    static func secret(inCookieHeader header: String?) -> String? { secret(named: cookieName, inCookieHeader: header) }

    static func secret(named cookieName: String, inCookieHeader header: String?) -> String? {
        let values = (header ?? "").split(separator: ";").compactMap { pair -> Substring? in
            let pair = pair.drop { $0 == " " }
            return pair.hasPrefix(cookieName + "=") ? pair.dropFirst(cookieName.count + 1) : nil
        }
        guard values.count == 1, values[0].utf8.count == 43, Base64URL.decode(values[0]) != nil else { return nil }
        return String(values[0])
    }

    /// `Lax` lets a second login page that is opened from elsewhere find the cookie of the first, so both stay good; a
    /// form that another site posts comes without it.
    static func setCookie(_ secret: String) -> String {
        "\(cookieName)=\(secret); Path=/; Max-Age=\(lifetimeSeconds); Secure; HttpOnly; SameSite=Lax"
    }

    /// The value of the form's field `csrf`.
    static func token(secret: String, request: AuthorizationRequest) -> String {
        let text = "hds-auth login form\n\(secret)\n" + FormParameters.encode(request.parameters)
        return Base64URL.encode(SHA256.hash(Array(text.utf8)))
    }

    /// Digests are compared, not the texts, so that the time tells nothing about the right one.
    static func isValid(_ token: String, secret: String, request: AuthorizationRequest) -> Bool {
        SHA256.hash(Array(token.utf8)) == SHA256.hash(Array(self.token(secret: secret, request: request).utf8))
    }
}
