import Encryption
package import SecretMemory

/// The agreement that opens a session (protocol, section 4): P-256 ECDH, then HKDF-SHA-256.
package enum KMSHandshake {
    /// What the KMS makes for one request: its public point and the session key. Its private half is gone afterwards.
    package struct Agreement: Sendable {
        /// Coordinates of the KMS's public point, 32 octets each.
        package let x: [UInt8]
        package let y: [UInt8]
        package let sessionKey: SymmetricKey
    }

    /// Agrees with a client's public point under a fresh key pair; throws when the point is not on the curve.
    package static func agree(withX x: [UInt8], y: [UInt8]) throws -> Agreement {
        let own = try P256Agreement.generate()
        return Agreement(
            x: own.publicX, y: own.publicY, sessionKey: try sessionKey(from: own.sharedSecret(withX: x, y: y)))
    }

    /// K = HKDF-SHA-256(Z, empty salt, empty info, 32 octets); Z has 32 octets with leading zeros kept.
    package static func sessionKey(from z: SymmetricKey) throws -> SymmetricKey {
        try HKDFSHA256.derive(from: z, salt: [], info: [], count: 32)
    }
}
