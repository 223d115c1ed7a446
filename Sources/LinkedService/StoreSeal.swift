import Cryptography
package import Diagnostics
import Encryption
package import SecretMemory

/// Seals what a service stores: a salt, ciphertext and tag under a key of their own, derived from the key that goes with the
/// consent and bound to what they are (security model, rule 30).
package struct StoreSeal: Sendable {
    private let info: [UInt8]
    private let unreadable: DiagnosedError
    private static let saltByteCount = 16
    /// The derived key is for one value, so its nonce may stand still.
    private static let nonce = [UInt8](repeating: 0, count: AESGCM.nonceByteCount)

    /// - Parameters:
    ///   - service: whose store it is; never changed, for what is stored stands under it.
    ///   - unreadable: thrown for what does not open, whatever is wrong with it.
    package init(_ service: String, unreadable: DiagnosedError) {
        info = Array("hds \(service) store".utf8)
        self.unreadable = unreadable
    }

    package func seal(_ plain: [UInt8], _ what: [UInt8], _ key: SymmetricKey) throws -> [UInt8] {
        let salt = try RandomBytes.bytes(Self.saltByteCount)
        let (ciphertext, tag) = try AESGCM.seal(plain, key: try own(key, salt), nonce: Self.nonce, aad: what)
        return salt + ciphertext + tag
    }

    package func open(_ sealed: [UInt8], _ what: [UInt8], _ key: SymmetricKey) throws -> [UInt8] {
        do {
            guard sealed.count >= Self.saltByteCount + AESGCM.tagByteCount else { throw unreadable }
            let plain = try AESGCM.open(
                Array(sealed[Self.saltByteCount..<(sealed.count - AESGCM.tagByteCount)]),
                tag: Array(sealed.suffix(AESGCM.tagByteCount)),
                key: try own(key, Array(sealed.prefix(Self.saltByteCount))), nonce: Self.nonce, aad: what)
            return plain.withUnsafeBytes { Array($0) }
        } catch {
            throw unreadable
        }
    }

    private func own(_ key: SymmetricKey, _ salt: [UInt8]) throws -> SymmetricKey {
        try HKDFSHA256.derive(from: key, salt: salt, info: info, count: 32)
    }
}
