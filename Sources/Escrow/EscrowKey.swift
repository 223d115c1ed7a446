import Cryptography
import Diagnostics
import Encryption
package import SecretMemory
import WireText

/// The public half of the escrow: root keys are wrapped to it, and nothing on the machine opens them again.
///
/// Wrapping is ECIES on P-256: a fresh agreement key, HKDF-SHA-256 over the common point with both points and the root
/// key's version in the info, AES-256-GCM. Octets: format (1), point of the fresh key (64), ciphertext, tag (16).
package struct EscrowPublicKey: Sendable {
    private let x: [UInt8], y: [UInt8]
    /// Tells escrows apart: 16 hexadecimal digits of the SHA-256 of the encoded key.
    package let fingerprint: String

    static let format: UInt8 = 1
    package static let pointCount = P256Wrap.pointCount

    /// - Parameter octets: the point, 64 octets.
    package init(octets: [UInt8]) throws {
        guard octets.count == Self.pointCount else {
            throw DiagnosedError(
                .escrowMismatch, fault: .store, "the public key of the escrow has another size",
                expected: "\(Self.pointCount) octets", found: "\(octets.count)")
        }
        x = Array(octets[..<32])
        y = Array(octets[32...])
        fingerprint = Hexadecimal.encode(try PublicKey(p256X: x, y: y).spkiSHA256.prefix(8))
    }

    package var octets: [UInt8] { x + y }

    package func wrap(_ rootKey: SymmetricKey, version: Int64) throws -> [UInt8] {
        try P256Wrap.wrap(rootKey, toX: x, y: y, format: Self.format, context: EscrowContext.octets(version))
    }
}

/// The private half: exists when enough shares have come together, and is forgotten then.
package struct EscrowPrivateKey: Sendable {
    /// What is split: 256 random bits.
    package static let secretCount = 32

    private let agreement: P256Agreement
    package let publicKey: EscrowPublicKey

    /// From the secret that the shares give.
    package init(secret: SymmetricKey) throws {
        guard secret.count == Self.secretCount else {
            throw DiagnosedError(
                .sharesMismatch, fault: .client, "the shares give a secret that is none of an escrow",
                expected: "\(Self.secretCount) octets", found: "\(secret.count)",
                hint: "these may be shares of something else")
        }
        agreement = try SecretScalar.derive(from: secret, purpose: "HDS escrow key") { scalar in
            try P256Agreement(privateScalar: scalar)
        }
        publicKey = try EscrowPublicKey(octets: agreement.publicX + agreement.publicY)
    }

    package func unwrap(_ wrapped: [UInt8], version: Int64) throws -> SymmetricKey {
        guard
            let rootKey = P256Wrap.unwrap(
                wrapped, with: agreement, format: EscrowPublicKey.format, context: EscrowContext.octets(version))
        else {
            throw DiagnosedError(
                .escrowMismatch, fault: .client, "version \(version) of the root key was not wrapped to this escrow",
                expected: "one wrapped to the escrow \(publicKey.fingerprint)",
                hint: "the shares are of another escrow, or the backup was changed")
        }
        return rootKey
    }
}

private enum EscrowContext {
    static func octets(_ version: Int64) -> [UInt8] {
        var octets = [EscrowPublicKey.format]
        octets.append(lengthPrefixed: "HDS escrowed root key")
        octets.append(bigEndian: version)
        return octets
    }
}

/// A number below the order of P-256 from a secret.
enum SecretScalar {
    /// The first of HKDF's outputs for counters 0, 1, … that `make` takes: all but one in 2^32 are.
    static func derive<R>(
        from secret: SymmetricKey, purpose: String, _ make: (UnsafeRawBufferPointer) throws -> R
    ) throws -> R {
        for counter in UInt8(0)..<8 {
            var info: [UInt8] = []
            info.append(lengthPrefixed: purpose)
            let scalar = try HKDFSHA256.derive(from: secret, info: info + [counter])
            if let made = try? scalar.withUnsafeBytes({ try make($0) }) { return made }
        }
        throw DiagnosedError(.cryptographyFailure, fault: .internal, "no key can be made from a secret")
    }
}
