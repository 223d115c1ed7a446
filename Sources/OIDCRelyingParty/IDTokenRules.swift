import Cryptography
import Diagnostics
import JOSESignature
import WireText

/// Whether a verified ID token is the answer to this login (OpenID Connect Core 1.0, section 3.1.3.7).
///
/// Signature, algorithm, issuer, audience and `exp` have been checked (`JWT.verify`). Rules, in this order:
/// 1. It is no token of another kind: `typ` is absent, `JWT` or `id_token+jwt`; it has no `events`.
/// 2. It is for this client alone: no other audience, and `azp`, if there, is this client.
/// 3. `iat` is there, not in the future, and not older than ten minutes.
/// 4. `nonce` is the one of this login.
/// 5. `at_hash`, if there, is that of the access token.
/// 6. `auth_time` is there and not too old, when an age was asked for.
struct IDTokenRules {
    let settings: OIDCSettings
    let now: Timestamp

    static let oldest: Int64 = 600

    func judge(_ token: JWT, nonce: String, accessToken: String?) throws(DiagnosedError) {
        let root = token.document.root
        let types = ["jwt", "id_token+jwt"]
        guard token.header.typ.map({ types.contains($0.lowercased()) }) ?? true, root["events"] == nil else {
            throw Self.refusal("the token is of another kind", found: token.header.typ?.quotedForError)
        }
        guard token.audience == [settings.clientID] else {
            throw Self.refusal("the token is for others, too", expected: "one audience, this client", found: nil)
        }
        if let party = root["azp"] {
            guard party.string == settings.clientID else {
                throw Self.refusal("the token was issued to another client")
            }
        }
        guard let issued = token.issuedAt else { throw Self.refusal("the token has no 'iat'") }
        guard issued <= now.adding(seconds: settings.leeway) else {
            throw Self.refusal(
                "the token is from the future", found: issued.iso8601, hint: "compare the clocks of both machines")
        }
        guard now < issued.adding(seconds: Self.oldest + settings.leeway) else {
            throw Self.refusal("the token is too old", expected: "at most \(Self.oldest) s", found: issued.iso8601)
        }
        guard let found = root["nonce"]?.string,
            SHA256.hash(Array(found.utf8)) == SHA256.hash(Array(nonce.utf8))
        else { throw Self.refusal("the token is not of this login", expected: "its nonce", found: nil) }
        if let hash = root["at_hash"]?.string, let accessToken {
            // All algorithms that are taken are of SHA-256: the left half of it.
            let half = SHA256.hash(Array(accessToken.utf8)).prefix(16)
            guard hash == Base64URL.encode(Array(half)) else { throw Self.refusal("the access token is another one") }
        }
        if let age = settings.maximumAge {
            guard let time = root["auth_time"]?.integer,
                now <= Timestamp(seconds: time).adding(seconds: age + settings.leeway)
            else { throw Self.refusal("the user signed in there too long ago", expected: "within \(age) s") }
        }
    }

    static func refusal(
        _ summary: String, expected: String? = nil, found: String? = nil, hint: String? = nil
    ) -> DiagnosedError {
        DiagnosedError(.oidcIDToken, fault: .peer, summary, expected: expected, found: found, hint: hint)
    }
}
