import Cryptography
import WireText

/// The proof that whoever redeems an authorization code is whoever asked for it: PKCE with S256 (RFC 7636).
struct ProofKey: Sendable {
    /// 43 characters of base64url: 256 random bits.
    let verifier: String
    let challenge: String

    static func random() throws -> ProofKey { ProofKey(verifier: Base64URL.encode(try RandomBytes.bytes(32))) }

    init(verifier: String) {
        self.verifier = verifier
        challenge = Base64URL.encode(SHA256.hash(Array(verifier.utf8)))
    }
}
