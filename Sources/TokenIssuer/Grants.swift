import Cryptography
package import WireText

/// What a client holds after a login: who signed in, where, and with which rights. All tokens of one login share it.
package struct Grant: Sendable, Equatable {
    /// Names the family of refresh tokens that grew from one login.
    package let family: String
    package let user: String
    package let client: String
    package let scope: [String]
    /// Digest of the password hash at login, or the provider that vouched: when the password is changed, or who signs in
    /// where, the family ends.
    package let credential: String
    /// When the user signed in.
    package let signedIn: Timestamp
    /// When the user has to sign in again, however often the tokens were refreshed.
    package let expires: Timestamp

    package init(
        family: String, user: String, client: String, scope: [String], credential: String, signedIn: Timestamp,
        expires: Timestamp
    ) {
        self.family = family
        self.user = user
        self.client = client
        self.scope = scope
        self.credential = credential
        self.signedIn = signedIn
        self.expires = expires
    }
}

/// An authorization code as it is kept: by its digest, bound to everything that the token request has to repeat.
package struct AuthorizationCode: Sendable, Equatable {
    package let digest: String
    package let redirect: String
    package let challenge: String
    package let expires: Timestamp
    /// What it is good for; its family comes to life with the exchange.
    package let grant: Grant
    package let used: Bool

    package init(
        digest: String, redirect: String, challenge: String, expires: Timestamp, grant: Grant, used: Bool = false
    ) {
        self.digest = digest
        self.redirect = redirect
        self.challenge = challenge
        self.expires = expires
        self.grant = grant
        self.used = used
    }

    package enum Verdict: Sendable, Equatable {
        case good
        /// It came before: what the first exchange gave may be in wrong hands and ends (RFC 6749, section 4.1.2).
        case replayed
        case refused(Refusal)
    }

    /// In the order in which they are checked.
    package enum Refusal: String, Sendable, CaseIterable {
        case unknown = "unknown authorization code"
        case foreignClient = "authorization code of another client"
        case expired = "expired authorization code"
        case redirectMismatch = "redirect URI is not that of the authorization request"
        case verifierMismatch = "code verifier does not fit the challenge"
        case accountChanged = "account disabled, removed or with a new password"
    }

    /// What a token request presents.
    package struct Presentation: Sendable {
        package let client: String
        package let redirect: String
        package let verifier: String

        package init(client: String, redirect: String, verifier: String) {
            self.client = client
            self.redirect = redirect
            self.verifier = verifier
        }
    }

    /// A replay counts before anything else: also a late or wrong second use shows that the code has leaked.
    package func judge(_ presented: Presentation, now: Timestamp) -> Verdict {
        if used { return .replayed }
        if presented.client != grant.client { return .refused(.foreignClient) }
        if now >= expires { return .refused(.expired) }
        if presented.redirect != redirect { return .refused(.redirectMismatch) }
        if !ProofKey.isValid(verifier: presented.verifier, for: challenge) { return .refused(.verifierMismatch) }
        return .good
    }
}

/// A refresh token as it is kept: by its digest. Used ones stay until they expire, for a second use to be seen.
///
/// The answer that brings the successor can be lost. So a used token is taken once more, and gets another successor, as
/// long as nobody has used the one that it got before, and not longer than the grace after its first use. The successor
/// that it got before is worth nothing from then on, and ends the family when it comes: of two holders of one token the
/// second to come back ends the login for both (RFC 9700, section 4.14.2), however they share the grace.
package struct RefreshToken: Sendable, Equatable {
    package let digest: String
    package let expires: Timestamp
    package let used: Bool
    /// When it was first used; nil also for one that was replaced without having been used.
    package let usedAt: Timestamp?
    /// Whether the successor that it got is there and nobody has used it.
    package let hasUnusedSuccessor: Bool
    package let grant: Grant

    package enum Verdict: Sendable, Equatable {
        case good
        /// Its answer was lost, it seems.
        case repeated
        /// Somebody copied it: the family ends.
        case reused
        case refused(Refusal)
    }

    package enum Refusal: String, Sendable, CaseIterable {
        case unknown = "unknown refresh token"
        case foreignClient = "refresh token of another client"
        case expired = "expired refresh token"
        case replaced = "refresh token with a newer one"
        case scopeExceeded = "more scope than was granted"
        case accountChanged = "account disabled, removed or with a new password"
    }

    /// - Parameter grace: seconds.
    package func judge(client: String, now: Timestamp, grace: Int64) -> Verdict {
        if client != grant.client { return .refused(.foreignClient) }
        if used {
            guard let usedAt, hasUnusedSuccessor, usedAt <= now, now < usedAt.adding(seconds: grace) else {
                return .reused
            }
            return now < grant.expires ? .repeated : .refused(.expired)
        }
        if now >= expires || now >= grant.expires { return .refused(.expired) }
        return .good
    }
}

/// How a secret is kept: by its SHA-256 in base64url. The secrets have 256 random bits, so no salt or stretching is needed.
enum SecretDigest {
    static func of(_ secret: String) -> String { Base64URL.encode(SHA256.hash(Array(secret.utf8))) }
}
