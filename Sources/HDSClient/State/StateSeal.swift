import Cryptography
import Diagnostics
import Encryption
import SecretMemory

/// How the state file is encrypted: a heading, a salt, a nonce, AES-256-GCM ciphertext and tag.
///
/// Each writing has a key of its own, HKDF of the device key with a fresh salt, so that no nonce can meet its key twice.
/// Heading and salt are authenticated too.
enum StateSeal {
    private static let heading = Array("HDS-STATE-1\n".utf8)
    private static let saltCount = 32
    private static let nonceCount = 12
    private static let tagCount = 16
    private static let info = Array("hds client state".utf8)

    static func seal(_ plaintext: UnsafeRawBufferPointer, under device: SymmetricKey) throws -> [UInt8] {
        let header = heading + (try RandomBytes.bytes(saltCount))
        let nonce = try RandomBytes.bytes(nonceCount)
        let key = try HKDFSHA256.derive(from: device, salt: Array(header.suffix(saltCount)), info: info, count: 32)
        let (ciphertext, tag) = try header.withUnsafeBytes {
            try AESGCM.seal(plaintext, key: key, nonce: nonce, aad: $0)
        }
        return header + nonce + ciphertext + tag
    }

    static func open(_ sealed: [UInt8], under device: SymmetricKey) throws(DiagnosedError) -> SecretBytes {
        let start = heading.count + saltCount + nonceCount
        guard sealed.count >= start + tagCount, sealed.starts(with: heading) else {
            throw unreadable("it is cut short or no state file")
        }
        let header = Array(sealed[..<(heading.count + saltCount)])
        do {
            let key = try HKDFSHA256.derive(from: device, salt: Array(header.suffix(saltCount)), info: info, count: 32)
            return try AESGCM.open(
                Array(sealed[start..<(sealed.count - tagCount)]), tag: Array(sealed.suffix(tagCount)), key: key,
                nonce: Array(sealed[header.count..<start]), aad: header)
        } catch {
            throw unreadable("it was changed or damaged")
        }
    }

    static func unreadable(_ why: String) -> DiagnosedError {
        DiagnosedError(
            .stateUnreadable, fault: .store, "the client's state can not be opened: \(why)",
            expected: "a file that this device wrote",
            hint: "put it back from a copy, or run 'hds logout --forget' and log in anew")
    }
}
