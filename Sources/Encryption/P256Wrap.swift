internal import Cryptography
package import SecretMemory

/// A key that only the holder of a P-256 key opens: ECIES with a fresh agreement key, HKDF-SHA-256 over the common point
/// with the context and both points in the info, AES-256-GCM with the context as associated data.
///
/// Octets: format (1), point of the fresh key (64), ciphertext (32), tag (16). The context begins with the format and says
/// what the key is for. Each derived key seals once, hence one nonce.
package enum P256Wrap {
    package static let pointCount = 64
    private static let nonce = [UInt8](repeating: 0, count: AESGCM.nonceByteCount)

    package static func wrap(
        _ key: SymmetricKey, toX x: [UInt8], y: [UInt8], format: UInt8, context: [UInt8]
    ) throws -> [UInt8] {
        let fresh = try P256Agreement.generate()
        let point = fresh.publicX + fresh.publicY
        let wrapping = try HKDFSHA256.derive(
            from: try fresh.sharedSecret(withX: x, y: y), info: context + point + x + y)
        let sealed = try unsafe key.withUnsafeBytes { key in
            try unsafe context.withUnsafeBytes {
                try unsafe AESGCM.seal(key, key: wrapping, nonce: nonce, aad: $0)
            }
        }
        return [format] + point + sealed.ciphertext + sealed.tag
    }

    /// Nil when it was not wrapped to this key in that context.
    package static func unwrap(
        _ wrapped: [UInt8], with agreement: P256Agreement, format: UInt8, context: [UInt8]
    ) -> SymmetricKey? {
        let body = 1 + pointCount
        let tag = body + AESGCM.keyByteCount
        guard wrapped.count == tag + AESGCM.tagByteCount, wrapped[0] == format,
            let shared = try? agreement.sharedSecret(withX: Array(wrapped[1..<33]), y: Array(wrapped[33..<65])),
            let wrapping = try? HKDFSHA256.derive(
                from: shared, info: context + wrapped[1..<body] + agreement.publicX + agreement.publicY),
            let key = try? AESGCM.open(
                Array(wrapped[body..<tag]), tag: Array(wrapped[tag...]), key: wrapping, nonce: nonce, aad: context)
        else { return nil }
        return SymmetricKey(key)
    }
}
