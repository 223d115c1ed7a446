import Cryptography
import WireText

/// Proof key for code exchange (RFC 7636), method S256 only: `plain` proves nothing to who reads the browser's traffic.
enum ProofKey {
    static let method = "S256"

    /// A challenge is BASE64URL(SHA-256(verifier)): 43 characters.
    static func isChallenge(_ text: String) -> Bool {
        text.utf8.count == 43 && Base64URL.decode(text)?.count == 32
    }

    /// Whether `verifier` has the form of section 4.1 and is the one behind `challenge`. The challenge is no secret, it
    /// came through the browser: no need for constant time.
    static func isValid(verifier: String, for challenge: String) -> Bool {
        guard (43...128).contains(verifier.utf8.count), verifier.utf8.allSatisfy(isUnreserved) else { return false }
        return Base64URL.encode(SHA256.hash(Array(verifier.utf8))) == challenge
    }

    private static func isUnreserved(_ byte: UInt8) -> Bool {
        switch byte {
        case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"),
            UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "-"), UInt8(ascii: "."), UInt8(ascii: "_"),
            UInt8(ascii: "~"):
            true
        default: false
        }
    }
}
