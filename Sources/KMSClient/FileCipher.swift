import Cryptography
package import Diagnostics
import Encryption
import SecretMemory
package import WireText

/// Encrypts one file under a key of its own, piece by piece; memory stays that of one piece (protocol, section 11).
///
/// ```swift
/// var sealer = try FileSealer(at: now)
/// while let piece = try read() { try write(sealer.update(piece)) }
/// let record = try sealer.finish(location: downloadURL)
/// ```
package struct FileSealer: ~Copyable {
    private let key: SymmetricKey
    private let iv: [UInt8]
    private let aad: String
    private var sealer: AESGCM.Sealer

    package init(at time: Timestamp) throws {
        let (key, iv, aad) = (try SymmetricKey.random(), try RandomBytes.bytes(12), time.iso8601)
        sealer = try AESGCM.Sealer(key: key, nonce: iv, aad: Array(aad.utf8))
        self.key = key
        self.iv = iv
        self.aad = aad
    }

    /// The ciphertext of the next octets, of the same length.
    package mutating func update(_ plaintext: [UInt8]) throws -> [UInt8] { try sealer.update(plaintext) }

    package consuming func finish(location: String) throws -> SecureContentRecord {
        let tag = try sealer.finish()
        return SecureContentRecord(key: key, iv: iv, aad: aad, location: location, tag: tag)
    }
}

/// Decrypts a file piece by piece. What `update` gives is worth nothing until `finish` has returned: show it to nobody.
package struct FileOpener: ~Copyable {
    private let tag: [UInt8]
    private var opener: AESGCM.Opener

    package init(_ record: SecureContentRecord) throws {
        opener = try AESGCM.Opener(key: record.key, nonce: record.iv, aad: Array(record.aad.utf8))
        tag = record.tag
    }

    package mutating func update(_ ciphertext: [UInt8]) throws -> [UInt8] { try opener.update(ciphertext) }

    /// Throws when one octet of the file, its key, its time stamp or its tag is not the sender's.
    package consuming func finish() throws(DiagnosedError) {
        do {
            try opener.finish(tag: tag)
        } catch {
            throw DiagnosedError(
                .contentUnreadable, fault: .peer, "the file is not what its sender encrypted",
                hint: "it was damaged or changed in the store; nothing of it was kept")
        }
    }
}
