import Cryptography
import Diagnostics
import Encryption
import SecretMemory
import WireText

/// A sealed volume: `HDSXPRT1`, the length of a JWE (4 octets), the JWE to the officer's key, then chunks.
///
/// The JWE holds a key for this file alone, the plaintext's name and its size. Each chunk is AES-256-GCM of 1 MiB of plaintext,
/// the last one of what is left, with its tag behind. The nonce is the chunk's number in 11 octets and one that is 1 for the last
/// chunk; the digest of everything before the chunks is the associated data. So a chunk opens at its place, in its file and with its
/// end only, and any of them opens without the others.
enum SealedFormat {
    static let magic = Array("HDSXPRT1".utf8)
    static let chunk: Int64 = 1 << 20
    static let tag = Int64(AESGCM.tagByteCount)
    static let maximumHeader = 16 << 10
    /// GCM's own bound for one key is far above.
    static let maximumOctets: Int64 = 1 << 50

    /// An empty file has one chunk, too, so that its end is authentic.
    static func chunks(_ octets: Int64) -> Int64 { max(1, (octets + chunk - 1) / chunk) }
    static func sealedCount(_ octets: Int64) -> Int64 { octets + chunks(octets) * tag }

    static func nonce(_ index: Int64, isLast: Bool) -> [UInt8] {
        var nonce: [UInt8] = [0, 0, 0]
        nonce.append(bigEndian: index)
        nonce.append(isLast ? 1 : 0)
        return nonce
    }

    static func header(_ message: [UInt8]) -> [UInt8] {
        var header = magic
        header.append(bigEndian: UInt32(message.count))
        return header + message
    }

    static func damaged(_ what: String, _ expected: String? = nil, found: String? = nil) -> DiagnosedError {
        DiagnosedError(
            .exportSealed, fault: .client, "the sealed volume can not be opened: \(what)", expected: expected,
            found: found,
            hint: "fetch it again, and see that the key is the one that the export was made for")
    }
}
