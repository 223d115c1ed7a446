import Cryptography
import Diagnostics
import Encryption
import Glibc
import JOSEEncryption
package import JOSESignature
import SecretMemory
import WireText

/// Seals a volume for the owner of a key, who opens it later and elsewhere (`SealedFormat`).
///
/// What was sealed is on the disk. Each call draws a key of its own, so two sealed files of one volume differ and no nonce is used twice.
package enum ExportSealer {
    /// The name of the sealed file of a volume.
    package static func name(of volume: String) -> String { volume + ".sealed" }

    /// - Parameters:
    ///   - source: the volume.
    ///   - target: a new file; taken away when the sealing fails.
    ///   - recipient: P-256 (ECDH-ES) or RSA (RSA-OAEP-256).
    ///
    /// - Returns: octets and SHA-256 of the sealed file.
    @discardableResult
    package static func seal(
        _ source: String, to target: String, for recipient: JWK
    ) throws -> (octets: Int64, digest: [UInt8]) {
        let reader = try PackageReader(source)
        let file = try PackageFile("", at: target)
        do {
            let digest = try seal(reader, named: ExportName.base(source), to: file, recipient)
            return (file.count, digest)
        } catch {
            file.discard()
            throw error
        }
    }

    private static func seal(_ reader: PackageReader, named name: String, to file: PackageFile, _ recipient: JWK) throws
        -> [UInt8]
    {
        let key = try SymmetricKey.random()
        var json = JSONWriter()
        json.beginObject()
        json.member("chunk", SealedFormat.chunk)
        key.withUnsafeBytes { json.base64URLMember("key", $0) }
        json.member("name", name)
        json.member("octets", reader.count)
        json.endObject()
        let header = SealedFormat.header(try json.withUnsafeBytes { try JWE.encrypt($0, to: recipient) })
        try file.write(header)
        let aad = SHA256.hash(header)
        let count = SealedFormat.chunks(reader.count)
        var rest = reader.count
        for index in 0..<count {
            let size = min(rest, SealedFormat.chunk)
            let plaintext = size == 0 ? [] : try reader.read(exactly: Int(size)) ?? []
            guard plaintext.count == size else {
                throw DiagnosedError.exportFile("the volume became shorter while it was sealed", name, errno: EIO)
            }
            rest -= size
            let sealed = try AESGCM.seal(
                plaintext, key: key, nonce: SealedFormat.nonce(index, isLast: index == count - 1), aad: aad)
            try file.write(sealed.ciphertext)
            try file.write(sealed.tag)
        }
        try file.synchronize()
        return try file.close()
    }
}
