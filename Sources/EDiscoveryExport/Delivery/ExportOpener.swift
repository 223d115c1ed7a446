package import Cryptography
import Diagnostics
import Encryption
import Glibc
import JOSEEncryption
import SecretMemory
import WireText

/// Opens a sealed volume with the officer's private key: at any offset, or as a whole into a file, also in several goes.
///
/// Nothing comes out that is not authentic. That the file is whole is checked when it is opened: its size and its last chunk are
/// those that the header promises.
package final class ExportOpener {
    private let reader: PackageReader
    private let key: SymmetricKey
    private let aad: [UInt8]
    /// Where the chunks begin.
    private let start: Int64
    private let chunks: Int64
    /// Octets of the plaintext.
    package let count: Int64
    /// What the volume was called: a base name.
    package let name: String

    package init(_ path: String, with privateKey: PrivateKey) throws {
        reader = try PackageReader(path)
        let head = try reader.read(at: 0, count: SealedFormat.magic.count + 4)
        guard head.count == SealedFormat.magic.count + 4, head.starts(with: SealedFormat.magic) else {
            throw SealedFormat.damaged("it is no sealed volume", "one that begins with HDSXPRT1")
        }
        let length = head.suffix(4).reduce(0) { $0 << 8 | Int($1) }
        guard length <= SealedFormat.maximumHeader else {
            throw SealedFormat.damaged("its header is too long", "at most \(SealedFormat.maximumHeader) octets")
        }
        let message = try reader.read(at: Int64(head.count), count: length)
        guard message.count == length else { throw SealedFormat.damaged("it is cut off within its header") }
        start = Int64(head.count + length)
        aad = SHA256.hash(head + message)
        let opened: SecretBytes
        do {
            opened = try JWE.decrypt(JWE.parse(message), with: privateKey)
        } catch {
            throw SealedFormat.damaged("its header does not open with this key")
        }
        let root = try opened.withUnsafeBytes { try JSONDocument($0) }.root
        guard var key = root["key"]?.withPlainString({ Base64URL.decode($0) }) ?? nil, key.count == AESGCM.keyByteCount,
            root["chunk"]?.integer == SealedFormat.chunk, let count = root["octets"]?.integer,
            (0...SealedFormat.maximumOctets).contains(count), let name = root["name"]?.string
        else { throw SealedFormat.damaged("its header is of another kind") }
        self.key = SymmetricKey(copying: key)
        wipe(&key)
        self.count = count
        self.name = ExportName.base(name)
        chunks = SealedFormat.chunks(count)
        let whole = start + SealedFormat.sealedCount(count)
        guard reader.count == whole else {
            throw SealedFormat.damaged(
                reader.count < whole ? "it is cut off" : "something follows its end", "\(whole) octets",
                found: "\(reader.count)")
        }
        _ = try chunk(chunks - 1)
    }

    /// - Returns: the plaintext from the offset on, fewer octets than asked for only at the end.
    package func read(at offset: Int64, count wanted: Int) throws -> [UInt8] {
        guard offset >= 0, offset < count, wanted > 0 else { return [] }
        let end = offset + min(Int64(wanted), count - offset)
        var result: [UInt8] = []
        var position = offset
        while position < end {
            let index = position / SealedFormat.chunk
            let plaintext = try chunk(index)
            let from = Int(position - index * SealedFormat.chunk)
            let to = min(plaintext.count, Int(end - index * SealedFormat.chunk))
            result += plaintext[from..<to]
            position += Int64(to - from)
        }
        return result
    }

    /// Writes the volume to a new file. What an earlier go has left beside it under `.partial` is gone on with.
    package func write(to target: String) throws {
        var status = stat()
        guard lstat(target, &status) != 0 else {
            throw DiagnosedError(
                .exportFile, fault: .client, "there is something at the volume's place already", found: target,
                hint: "name another file, or take it away")
        }
        let partial = target + ".partial"
        let descriptor = open(partial, O_WRONLY | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0o600)
        guard descriptor >= 0, fstat(descriptor, &status) == 0 else {
            throw DiagnosedError.exportFile("the volume can not be written", partial, errno: errno)
        }
        defer { close(descriptor) }
        // Whole chunks stay: only this writes there, and it writes nothing that is not authentic.
        var index = min(Int64(status.st_size) / SealedFormat.chunk, chunks - 1)
        guard ftruncate(descriptor, off_t(index * SealedFormat.chunk)) == 0 else {
            throw DiagnosedError.exportFile("the volume can not be written", partial, errno: errno)
        }
        while index < chunks {
            let plaintext = try chunk(index)
            var done = 0
            while done < plaintext.count {
                let result = plaintext.withUnsafeBytes {
                    pwrite(
                        descriptor, $0.baseAddress.map { $0 + done }, $0.count - done,
                        off_t(index * SealedFormat.chunk) + off_t(done))
                }
                if result < 0, errno == EINTR { continue }
                guard result > 0 else {
                    throw DiagnosedError.exportFile("the volume can not be written", partial, errno: errno)
                }
                done += result
            }
            index += 1
        }
        guard fsync(descriptor) == 0, rename(partial, target) == 0 else {
            throw DiagnosedError.exportFile("the volume can not be put to its place", target, errno: errno)
        }
    }

    private func chunk(_ index: Int64) throws -> [UInt8] {
        let isLast = index == chunks - 1
        let size = isLast ? count - index * SealedFormat.chunk : SealedFormat.chunk
        let sealed = try reader.read(
            at: start + index * (SealedFormat.chunk + SealedFormat.tag), count: Int(size + SealedFormat.tag))
        guard sealed.count == Int(size + SealedFormat.tag) else {
            throw SealedFormat.damaged("it became shorter while it was read")
        }
        do {
            var opener = try AESGCM.Opener(
                key: key, nonce: SealedFormat.nonce(index, isLast: isLast), aad: aad)
            let plaintext = try opener.update(Array(sealed.dropLast(Int(SealedFormat.tag))))
            try opener.finish(tag: Array(sealed.suffix(Int(SealedFormat.tag))))
            return plaintext
        } catch {
            throw SealedFormat.damaged(
                "chunk \(index + 1) of \(chunks) is damaged, out of its place or of another volume")
        }
    }
}
