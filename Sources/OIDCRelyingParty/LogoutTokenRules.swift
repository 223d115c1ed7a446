import Diagnostics
import JOSESignature
package import WireText

/// A provider's word that a user was signed out there.
package struct LogoutNotice: Sendable, Equatable {
    /// `jti`: counts once.
    package let id: String
    package let expires: Timestamp
    /// Nil when only a session is meant.
    package let subject: String?
    package let session: String?
}

/// Whether a verified token tells of a logout (OpenID Connect Back-Channel Logout 1.0, section 2.6).
///
/// Signature, algorithm, issuer, audience and `exp` have been checked. Rules, in this order:
/// 1. `typ` is absent, `JWT` or `logout+jwt`.
/// 2. `events` has the member of this standard, an object.
/// 3. There is no `nonce`: an ID token is never taken for a logout token.
/// 4. `iat` is there and not in the future, `exp` not more than 25 hours after it, so that ids need not be kept for long.
/// 5. `jti` is there.
/// 6. It names a subject or a session.
struct LogoutTokenRules {
    let settings: OIDCSettings
    let now: Timestamp

    static let event = "http://schemas.openid.net/event/backchannel-logout"
    static let longestLife: Int64 = 25 * 3600

    func judge(_ token: JWT) throws(DiagnosedError) -> LogoutNotice {
        let root = token.document.root
        let types = ["jwt", "logout+jwt"]
        guard token.header.typ.map({ types.contains($0.lowercased()) }) ?? true else {
            throw Self.refusal("the token is of another kind", found: token.header.typ?.quotedForError)
        }
        guard root["events"]?[Self.event]?.kind == .object else { throw Self.refusal("the token tells of no logout") }
        guard root["nonce"] == nil else { throw Self.refusal("the token has a nonce, so it is no logout token") }
        guard let issued = token.issuedAt, issued <= now.adding(seconds: settings.leeway), let expires = token.expires,
            expires <= issued.adding(seconds: Self.longestLife)
        else { throw Self.refusal("the times of the token can not be", expected: "an 'iat', 'exp' within 25 hours") }
        guard let id = token.id, OIDCIdentity.isIdentifier(id) else { throw Self.refusal("the token has no 'jti'") }
        let session = root["sid"]?.string
        let subject = token.subject
        guard subject != nil || session != nil else {
            throw Self.refusal("the token names neither subject nor session")
        }
        return LogoutNotice(
            id: id, expires: expires.adding(seconds: settings.leeway), subject: subject, session: session)
    }

    private static func refusal(_ summary: String, expected: String? = nil, found: String? = nil) -> DiagnosedError {
        DiagnosedError(.oidcLogoutToken, fault: .peer, summary, expected: expected, found: found)
    }
}
