import Cryptography
import Encryption
import PostQuantum
package import SecretMemory

/// The agreement that opens a session (protocol, section 4): P-256 ECDH, then HKDF-SHA-256; and, where the client offered
/// it, ML-KEM-768 beside it, so that who records it today and has a quantum computer some day reads nothing.
package enum KMSHandshake {
    /// What the KMS makes for one request: its public point and the session key. Its private half is gone afterwards.
    package struct Agreement: Sendable {
        /// Coordinates of the KMS's public point, 32 octets each.
        package let x: [UInt8]
        package let y: [UInt8]
        /// Of ML-KEM-768, 1088 octets, where the client offered it.
        package let ciphertext: [UInt8]?
        package let sessionKey: SymmetricKey
    }

    /// Agrees with a client's public point under a fresh key pair; throws when the point is not on the curve, or when the
    /// public key of ML-KEM-768 is none.
    package static func agree(
        withX x: [UInt8], y: [UInt8], encapsulationKey: [UInt8]? = nil
    ) throws -> Agreement {
        let own = try P256Agreement.generate()
        let z = try own.sharedSecret(withX: x, y: y)
        guard let encapsulationKey else {
            return Agreement(x: own.publicX, y: own.publicY, ciphertext: nil, sessionKey: try sessionKey(from: z))
        }
        let (ciphertext, secret) = try MLKEM768KeyPair.encapsulate(to: encapsulationKey)
        let key = try sessionKey(
            from: z, and: secret,
            transcript: .init(
                clientX: x, clientY: y, encapsulationKey: encapsulationKey, serverX: own.publicX, serverY: own.publicY,
                ciphertext: ciphertext))
        return Agreement(x: own.publicX, y: own.publicY, ciphertext: ciphertext, sessionKey: key)
    }

    /// K = HKDF-SHA-256(Z, empty salt, empty info, 32 octets); Z has 32 octets with leading zeros kept.
    package static func sessionKey(from z: SymmetricKey) throws -> SymmetricKey {
        try HKDFSHA256.derive(from: z, salt: [], info: [], count: 32)
    }

    /// All that both sides sent for a hybrid agreement.
    package struct Transcript {
        let clientX, clientY, encapsulationKey, serverX, serverY, ciphertext: [UInt8]

        package init(
            clientX: [UInt8], clientY: [UInt8], encapsulationKey: [UInt8], serverX: [UInt8], serverY: [UInt8],
            ciphertext: [UInt8]
        ) {
            self.clientX = clientX
            self.clientY = clientY
            self.encapsulationKey = encapsulationKey
            self.serverX = serverX
            self.serverY = serverY
            self.ciphertext = ciphertext
        }

        /// Coordinates come with or without their leading zeros; here all have 32 octets.
        var digest: [UInt8] {
            func padded(_ coordinate: [UInt8]) -> [UInt8] {
                [UInt8](repeating: 0, count: max(0, 32 - coordinate.count)) + coordinate
            }
            return SHA256.hash(
                padded(clientX) + padded(clientY) + encapsulationKey + padded(serverX) + padded(serverY) + ciphertext)
        }
    }

    /// K = HKDF-SHA-256(Z || S, salt = SHA-256 of the transcript, info, 32 octets), S the secret of ML-KEM-768: it is a
    /// secret as long as one of both is (docs/post-quantum.md).
    package static func sessionKey(
        from z: SymmetricKey, and secret: SymmetricKey, transcript: Transcript
    ) throws -> SymmetricKey {
        let both = HKDFSHA256.extract(from: [z, secret], salt: transcript.digest)
        return try HKDFSHA256.expand(both, info: info, count: 32)
    }

    private static let info = Array("hds session p256+ml-kem-768 v1".utf8)
}
