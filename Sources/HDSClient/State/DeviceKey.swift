import Cryptography
import Diagnostics
import Encryption
package import SecretMemory
import WireText

/// The key of this device: everything the client keeps between runs is encrypted under it.
///
/// It stands in a file of its own, mode 0600: as it is, or wrapped under a passphrase (scrypt, then AES-256-GCM). File:
/// ```
/// hds-device-key 1
/// plain <key>
/// ```
/// or `scrypt <log2 of N> <salt> <nonce> <wrapped key and tag>`, all base64url. Whoever has this file and the state file,
/// and the passphrase if there is one, has the client's keys.
package struct DeviceKey: Sendable {
    package let key: SymmetricKey
    package let isProtected: Bool

    private static let heading = "hds-device-key 1"
    private static let aad = Array(heading.utf8)
    /// 64 MiB and about a fifth of a second for one guess.
    private static let cost = 16
    private static let costRange = 14...20

    static func random() throws -> DeviceKey { DeviceKey(key: try SymmetricKey.random(), isProtected: false) }

    /// First octets of the key's digest: names the state file that belongs to it.
    var name: String {
        Hexadecimal.encode(HMACSHA256.code(for: Array("hds device key name".utf8), key: key).prefix(8))
    }

    // MARK: - File

    /// Nil when there is no such file.
    static func read(_ path: String, passphrase: Passphrase?) throws -> DeviceKey? {
        guard var bytes = try SafeFile.read(path, maximumBytes: 4096) else { return nil }
        defer { wipe(&bytes) }
        let lines = bytes.split(separator: UInt8(ascii: "\n"), omittingEmptySubsequences: true)
        guard lines.count == 2, Array(lines[0]) == Array(heading.utf8) else { throw malformed(path) }
        let words = lines[1].split(separator: UInt8(ascii: " "))
        switch words.first.map({ String(decoding: $0, as: UTF8.self) }) {
        case "plain" where words.count == 2:
            guard var key = words[1].withUnsafeBytes({ Base64URL.decode($0) }), key.count == 32 else {
                throw malformed(path)
            }
            defer { wipe(&key) }
            return DeviceKey(key: SymmetricKey(copying: key), isProtected: false)
        case "scrypt" where words.count == 5:
            guard let cost = Int(String(decoding: words[1], as: UTF8.self)), costRange.contains(cost),
                let salt = Base64URL.decode(String(decoding: words[2], as: UTF8.self)), salt.count == 16,
                let nonce = Base64URL.decode(String(decoding: words[3], as: UTF8.self)), nonce.count == 12,
                let wrapped = Base64URL.decode(String(decoding: words[4], as: UTF8.self)), wrapped.count == 48
            else { throw malformed(path) }
            guard let passphrase else {
                throw DiagnosedError(
                    .passphraseNeeded, fault: .client, "this device is protected by a passphrase",
                    hint: "run it in a terminal, or name a file with --passphrase-file")
            }
            let kek = try passphrase.deriveKey(salt: salt, cost: cost)
            do {
                let plain = try AESGCM.open(
                    Array(wrapped.prefix(32)), tag: Array(wrapped.suffix(16)), key: kek, nonce: nonce, aad: aad)
                return DeviceKey(key: SymmetricKey(plain), isProtected: true)
            } catch {
                throw DiagnosedError(
                    .passphraseWrong, fault: .client, "the passphrase does not open this device's key",
                    hint: "try again; without the passphrase log in anew with another --home")
            }
        default: throw malformed(path)
        }
    }

    /// Writes the file, wrapped when there is a passphrase.
    func write(_ path: String, passphrase: Passphrase?) throws {
        var line: String
        if let passphrase {
            let salt = try RandomBytes.bytes(16)
            let nonce = try RandomBytes.bytes(12)
            let kek = try passphrase.deriveKey(salt: salt, cost: Self.cost)
            let (ciphertext, tag) = try key.withUnsafeBytes { bytes in
                try Self.aad.withUnsafeBytes { try AESGCM.seal(bytes, key: kek, nonce: nonce, aad: $0) }
            }
            line =
                "scrypt \(Self.cost) \(Base64URL.encode(salt)) \(Base64URL.encode(nonce)) "
                + Base64URL.encode(ciphertext + tag)
        } else {
            line = "plain " + key.withUnsafeBytes { String(decoding: Base64URL.encode($0), as: UTF8.self) }
        }
        var bytes = Array("\(Self.heading)\n\(line)\n".utf8)
        defer { wipe(&bytes) }
        try SafeFile.replace(path, with: bytes)
    }

    private static func malformed(_ path: String) -> DiagnosedError {
        DiagnosedError(
            .deviceKey, fault: .store, "\(path) is no device key", expected: heading,
            hint: "put back the right file, or log in anew with another --home")
    }
}

/// A passphrase of the user: shown to nobody, turned into a key by scrypt (RFC 7914).
package struct Passphrase: Sendable {
    private let text: Redacted<String>

    package init(_ text: String) { self.text = Redacted(text) }

    func deriveKey(salt: [UInt8], cost: Int) throws -> SymmetricKey {
        try text.reveal { text in
            var text = text
            return try text.withUTF8 {
                try PasswordHash.derive(password: UnsafeRawBufferPointer($0), salt: salt, logN: cost, count: 32)
            }
        }
    }
}
