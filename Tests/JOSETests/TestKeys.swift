import Cryptography
import WireText

/// Keys made once for a run of the tests.
enum TestKeys {
    static let rsa = Result { try PrivateKey.generateRSA() }
    static let otherRSA = Result { try PrivateKey.generateRSA() }
    static let p256 = Result { try PrivateKey.generateP256() }
}

/// Base64url of a text, for parts of compact forms that no library would make.
func part(_ text: String) -> String { Base64URL.encode(text.utf8) }
