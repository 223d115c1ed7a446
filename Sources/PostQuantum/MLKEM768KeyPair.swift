internal import Crypto
internal import Cryptography
internal import Diagnostics
internal import Encryption
internal import FoundationEssentials
package import SecretMemory

/// One side of a key encapsulation by ML-KEM-768 (FIPS 203): a key pair that is made, used once and forgotten.
///
/// From swift-crypto, as the system's OpenSSL (3.0) has no ML-KEM. Any thread may use it; the private half ends with the
/// object.
package final class MLKEM768KeyPair: Sendable, CustomReflectable {
    /// Octets of a public key, of a ciphertext, and of the secret that both sides get.
    package static let publicKeyCount = 1184
    package static let ciphertextCount = 1088
    package static let secretCount = 32

    private let key: MLKEM768.PrivateKey
    /// The encapsulation key.
    package let publicKey: [UInt8]

    private init(_ key: MLKEM768.PrivateKey) {
        self.key = key
        publicKey = Array(key.publicKey.rawRepresentation)
    }

    package static func generate() throws -> MLKEM768KeyPair {
        do {
            return MLKEM768KeyPair(try MLKEM768.PrivateKey())
        } catch {
            throw DiagnosedError(.cryptographyFailure, fault: .internal, "no ML-KEM-768 key can be made")
        }
    }

    /// From the 64 octets `d || z` of FIPS 203, for vectors and tests.
    package convenience init(seed: [UInt8]) throws {
        do {
            self.init(try MLKEM768.PrivateKey(seedRepresentation: seed, publicKey: nil))
        } catch {
            throw DiagnosedError(
                .encryptionParameters, fault: .peer, "this is no seed of an ML-KEM-768 key", expected: "64 octets",
                found: "\(seed.count)")
        }
    }

    /// The secret that the other side encapsulated. A ciphertext of the right length always gives one: what was changed on
    /// its way gives another secret than the other side's (implicit rejection, FIPS 203 section 6.3).
    package func secret(from ciphertext: [UInt8]) throws -> SecretMemory.SymmetricKey {
        guard ciphertext.count == Self.ciphertextCount, let secret = try? key.decapsulate(ciphertext) else {
            throw DiagnosedError(
                .encryptionParameters, fault: .peer, "this is no ciphertext of ML-KEM-768",
                expected: "\(Self.ciphertextCount) octets", found: "\(ciphertext.count)")
        }
        return secret.withUnsafeBytes { SecretMemory.SymmetricKey(copying: $0) }
    }

    /// A fresh secret, and the ciphertext that tells it to the holder of the public key.
    package static func encapsulate(
        to publicKey: [UInt8]
    ) throws -> (ciphertext: [UInt8], secret: SecretMemory.SymmetricKey) {
        // The check of the modulus (FIPS 203 section 7.2) is the library's.
        guard publicKey.count == publicKeyCount, let key = try? MLKEM768.PublicKey(rawRepresentation: publicKey) else {
            throw DiagnosedError(
                .encryptionParameters, fault: .peer, "this is no public key of ML-KEM-768",
                expected: "\(publicKeyCount) octets of coefficients below 3329", found: "\(publicKey.count) octets")
        }
        do {
            let result = try key.encapsulate()
            return (
                Array(result.encapsulated),
                result.sharedSecret.withUnsafeBytes { SecretMemory.SymmetricKey(copying: $0) }
            )
        } catch {
            throw DiagnosedError(.cryptographyFailure, fault: .internal, "a secret can not be encapsulated")
        }
    }

    /// Nothing: a dump of any value that holds the key shows no key.
    package var customMirror: Mirror { Mirror(self, children: []) }
}
