import Cryptography
import Diagnostics
import Encryption
import SecretMemory

/// Seals values of the worker's database: a salt, ciphertext and tag under a key of their own, bound to what they are.
enum StoreSeal {
    static func seal(_ plain: [UInt8], _ what: String, _ key: SymmetricKey) throws -> [UInt8] {
        let salt = try RandomBytes.bytes(16)
        let (ciphertext, tag) = try AESGCM.seal(
            plain, key: try own(key, salt), nonce: [UInt8](repeating: 0, count: AESGCM.nonceByteCount),
            aad: Array(what.utf8))
        return salt + ciphertext + tag
    }

    static func open(_ sealed: [UInt8], _ what: String, _ key: SymmetricKey) throws -> [UInt8] {
        do {
            guard sealed.count >= 16 + AESGCM.tagByteCount else { throw unreadable }
            let plain = try AESGCM.open(
                Array(sealed[16..<(sealed.count - AESGCM.tagByteCount)]),
                tag: Array(sealed.suffix(AESGCM.tagByteCount)), key: try own(key, Array(sealed.prefix(16))),
                nonce: [UInt8](repeating: 0, count: AESGCM.nonceByteCount), aad: Array(what.utf8))
            return plain.withUnsafeBytes { Array($0) }
        } catch {
            throw unreadable
        }
    }

    private static func own(_ key: SymmetricKey, _ salt: [UInt8]) throws -> SymmetricKey {
        try HKDFSHA256.derive(from: key, salt: salt, info: Array("hds ediscovery store".utf8), count: 32)
    }

    private static let unreadable = DiagnosedError(
        .mirror, fault: .store, "what the worker has stored does not open",
        expected: "values sealed under the key of this service's account",
        hint: "the database belongs to another account or was changed")
}
