import Cryptography
package import Diagnostics
import Encryption
import KeyStore
package import SecretMemory
import WireText

/// Somebody whom root keys are wrapped for: a key-encryption key, the escrow, a new node.
package protocol RootKeyHolder: Sendable {
    /// As it stands in the table of wraps, see `RootKeyRecord.wraps`.
    var holder: String { get }
    func wrap(_ rootKey: SymmetricKey, version: Int64) throws -> [UInt8]
}

/// Whatever holds a key-encryption key and wraps root keys with it: a file, a systemd credential, a hardware token.
///
/// Used when the service starts and when root keys or the key-encryption key change, never for a record: it may be slow
/// and may block.
package protocol RootKeyWrapping: RootKeyHolder {
    /// Names the key without telling anything about it: 16 hexadecimal digits.
    var fingerprint: String { get }
    /// Throws `root-key-damaged` when it was not wrapped by this key as that version.
    func unwrap(_ wrapped: [UInt8], version: Int64) throws -> SymmetricKey
}

extension RootKeyWrapping {
    package var holder: String { RootKeyRecord.holder(kek: fingerprint) }
}

/// The key that wraps the root keys: 256 random bits that live outside the database, in a file or systemd credential.
///
/// Wrapping is AES-256-GCM with a random nonce and the root key's version as associated data; a key-encryption key
/// wraps a handful of root keys in its life. Text form, one line:
/// `HDS-KEK-1 FINGERPRINT KEY`, the fingerprint as 16 hexadecimal digits, the key as base64url of 32 octets. The
/// fingerprint, computed from the key, also shows damage.
package struct KeyEncryptionKey: RootKeyWrapping {
    private let key: SymmetricKey
    package let fingerprint: String

    private init(_ key: SymmetricKey) {
        self.key = key
        let code = HMACSHA256.code(for: Array("HDS-KEK-1 fingerprint".utf8), key: key)
        fingerprint = Hexadecimal.encode(code.prefix(8))
    }

    /// A new random one.
    package static func create() throws -> KeyEncryptionKey { KeyEncryptionKey(try SymmetricKey.random()) }

    // MARK: Wrapping

    private static let wrapFormat: UInt8 = 1

    private static func context(_ version: Int64) -> [UInt8] {
        var octets = [wrapFormat]
        octets.append(lengthPrefixed: "HDS root key")
        octets.append(bigEndian: version)
        return octets
    }

    package func wrap(_ rootKey: SymmetricKey, version: Int64) throws -> [UInt8] {
        let nonce = try RandomBytes.bytes(AESGCM.nonceByteCount)
        let sealed = try rootKey.withUnsafeBytes { rootKey in
            try Self.context(version).withUnsafeBytes {
                try AESGCM.seal(rootKey, key: key, nonce: nonce, aad: $0)
            }
        }
        return [Self.wrapFormat] + nonce + sealed.ciphertext + sealed.tag
    }

    package func unwrap(_ wrapped: [UInt8], version: Int64) throws -> SymmetricKey {
        let body = 1 + AESGCM.nonceByteCount
        let tag = body + AESGCM.keyByteCount
        guard wrapped.count == tag + AESGCM.tagByteCount, wrapped[0] == Self.wrapFormat,
            let rootKey = try? AESGCM.open(
                Array(wrapped[body..<tag]), tag: Array(wrapped[tag...]), key: key, nonce: Array(wrapped[1..<body]),
                aad: Self.context(version))
        else {
            throw DiagnosedError(
                .rootKeyDamaged, fault: .store, "version \(version) of the root key does not unwrap",
                expected: "what key-encryption key \(fingerprint) wrapped",
                hint: "somebody changed the table of root keys; restore it from a backup")
        }
        return SymmetricKey(rootKey)
    }

    // MARK: Text form

    private static let header = "HDS-KEK-1"
    private static let keyTextCount = Base64URL.encodedCount(AESGCM.keyByteCount)
    /// Header, space, fingerprint, space, key, line feed.
    private static let textCount = header.utf8.count + 1 + 16 + 1 + keyTextCount + 1

    /// As it stands in a file.
    package func text() -> SecretBytes {
        let prefix = Array("\(Self.header) \(fingerprint) ".utf8)
        return SecretBytes(count: Self.textCount) { line in
            line.copyBytes(from: prefix)
            key.withUnsafeBytes { key in
                let target = UnsafeMutableRawBufferPointer(rebasing: line[prefix.count...])
                // Bound only here: the memory is raw and ours.
                if let start = target.bindMemory(to: UInt8.self).baseAddress { Base64URL.encode(key, into: start) }
            }
            line[line.count - 1] = UInt8(ascii: "\n")
        }
    }

    /// Reads the text form; `path` is for the error.
    package init(text: UnsafeRawBufferPointer, path: String) throws(DiagnosedError) {
        guard text.starts(with: Self.header.utf8.prefix(text.count)) else {
            throw Self.malformed(path, "a file that begins otherwise")
        }
        var line = text[...]
        if line.last == UInt8(ascii: "\n") { line = line.dropLast() }
        let fields = line.split(separator: UInt8(ascii: " "), omittingEmptySubsequences: false)
        let expected = [Self.header.utf8.count, 16, Self.keyTextCount]
        let isTruncated =
            fields.count < 3
            ? line.count < Self.textCount - 1 : fields.count == 3 && fields[2].count < Self.keyTextCount
        guard !isTruncated else {
            throw DiagnosedError(
                .masterKeyTruncated, fault: .configuration, "the key file \(path) is cut off",
                expected: "\(Self.textCount) octets", found: "\(text.count)", hint: "put back your copy of the file")
        }
        guard fields.map(\.count) == expected else {
            throw Self.malformed(path, "\(fields.count) fields in \(text.count) octets")
        }
        guard var key = Base64URL.decode(UnsafeRawBufferPointer(rebasing: fields[2])) else {
            throw Self.malformed(path, "a key that is not base64url")
        }
        defer { wipe(&key) }
        self.init(SymmetricKey(copying: key))
        let stated = String(decoding: fields[1], as: UTF8.self)
        guard stated == fingerprint else {
            throw DiagnosedError(
                .masterKeyDamaged, fault: .configuration, "key and fingerprint in \(path) do not belong together",
                expected: "fingerprint \(fingerprint) for that key",
                // What stands there may be anything, even a misplaced piece of the key.
                found: Hexadecimal.decode(stated).map { Hexadecimal.encode($0) } ?? "no fingerprint",
                hint: "a character changed; put back your copy of the file")
        }
    }

    private static func malformed(_ path: String, _ found: String) -> DiagnosedError {
        DiagnosedError(
            .masterKeyMalformed, fault: .configuration, "\(path) is no key file",
            expected: "one line '\(header) FINGERPRINT KEY'", found: found,
            hint: "check the path; hdsctl master-key create makes a key file")
    }
}
