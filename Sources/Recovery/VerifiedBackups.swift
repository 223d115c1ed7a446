import Cryptography
package import Diagnostics
import Glibc
package import MasterKey
import SecretMemory
package import WireText

/// A backup that was restored on trial and found whole: which one, when, and what opens it.
package struct VerifiedBackup: Sendable, Equatable {
    package let id: String
    /// Where it lies.
    package let file: String
    package let host: String
    package let created: Timestamp
    package let verified: Timestamp
    /// The version of the root key that the file's key is sealed under.
    package let rootVersion: Int64
    /// All versions whose wraps it carries: these can be had again from it.
    package let rootVersions: [Int64]
    /// How many keys, taken at random, were opened.
    package let opened: Int
}

/// Which backups were proved: a receipt beside each, `FILE.verified`, that only somebody with its root key can write.
///
/// The trial runs in the operators' tool, maybe on another machine; a receipt is carried back beside its backup. It is
/// sealed under the root key that the backup's own key is sealed under, and names the backup by id, length and SHA-256
/// of the header: whoever can only write into the folder can delete receipts and make none. It does not say that the
/// rest of the file is still what it was: that is what another trial says.
package enum VerifiedBackups {
    package static let ending = ".verified"
    private static let maximum = 1 << 16

    /// The newest first. A receipt that does not open, or whose backup is gone or another one, counts for nothing.
    package static func list(in folder: String, ring: SealRing) throws(DiagnosedError) -> [VerifiedBackup] {
        guard let directory = opendir(folder) else {
            throw DiagnosedError(
                .backupFile, fault: .configuration, "the folder of backups \(folder) can not be read",
                found: String(cString: strerror(errno)), hint: "make it, with mode 0700, for the service's user")
        }
        defer { closedir(directory) }
        var found: [VerifiedBackup] = []
        while let entry = readdir(directory) {
            let name = withUnsafeBytes(of: entry.pointee.d_name) {
                String(decoding: $0.prefix { $0 != 0 }, as: UTF8.self)
            }
            guard name.hasSuffix(ending) else { continue }
            let file = "\(folder)/\(name.dropLast(ending.count))"
            guard let backup = try? read(file, ring: ring) else { continue }
            found.append(backup)
        }
        return found.sorted { ($0.created, $0.id) > ($1.created, $1.id) }
    }

    private static func read(_ file: String, ring: SealRing) throws -> VerifiedBackup? {
        guard let (header, digest, length) = try? identity(of: file),
            let root = try? JSONDocument(BackupFile.open(file + ending).read(maximum)).root,
            let sealed = root["sealed"]?.string.flatMap({ Base64URL.decode($0) })
        else { return nil }
        let plain = try ring.open(sealed, kind: .backup, id: sealID(header), version: 1)
        guard let inner = try plain.withUnsafeBytes({ try JSONDocument(Array($0)).root.members() }),
            inner.digest == digest, inner.length == length
        else { return nil }
        return VerifiedBackup(
            id: header.id, file: file, host: header.host, created: header.created, verified: inner.verified,
            rootVersion: header.rootVersion, rootVersions: header.rootKeys.map(\.version).sorted(),
            opened: inner.opened)
    }

    /// Leaves the receipt beside the backup, in place of an older one.
    static func write(_ file: String, root: RootKeyOutside, opened: Int, now: Timestamp) throws {
        let (header, digest, length) = try identity(of: file)
        var inner = JSONWriter()
        inner.beginObject()
        inner.member("verified", now.iso8601)
        inner.member("opened", opened)
        inner.member("header", Hexadecimal.encode(digest))
        inner.member("length", length)
        inner.endObject()
        let sealed = try inner.bytes().withUnsafeBytes {
            try root.seal($0, kind: .backup, id: sealID(header), version: 1)
        }
        var json = JSONWriter()
        json.beginObject()
        json.member("backup", header.id)
        json.member("verified", now.iso8601)
        json.member("sealed", Base64URL.encode(sealed))
        json.endObject()
        // Not secret, and read by the service, which is another user than the one who tries.
        try SealedFile.replace(file + ending, with: json.bytes() + [UInt8(ascii: "\n")], mode: 0o644)
    }

    private static func sealID(_ header: BackupHeader) -> String { "verified " + header.id }

    private static func identity(of file: String) throws -> (header: BackupHeader, digest: [UInt8], length: Int64) {
        let header = try Backup.header(of: file)
        var status = stat()
        guard stat(file, &status) == 0 else {
            throw DiagnosedError(.backupFile, fault: .configuration, "the backup \(file) can not be read")
        }
        return (header, SHA256.hash(header.json()), Int64(status.st_size))
    }
}

extension JSONNode {
    fileprivate func members() -> (verified: Timestamp, opened: Int, digest: [UInt8], length: Int64)? {
        guard let verified = self["verified"]?.string.flatMap({ Timestamp(iso8601: $0) }),
            let opened = self["opened"]?.integer, let length = self["length"]?.integer,
            let digest = self["header"]?.string.flatMap({ Hexadecimal.decode($0) })
        else { return nil }
        return (verified, Int(opened), digest, length)
    }
}

/// A small file that is replaced as a whole: the old one or the new one is there, whenever it ends.
enum SealedFile {
    static func replace(_ path: String, with octets: [UInt8], mode: mode_t = 0o600) throws(DiagnosedError) {
        let partial = path + ".new"
        unlink(partial)
        let descriptor = open(partial, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, mode)
        guard descriptor >= 0 else { throw failure(path) }
        defer { close(descriptor) }
        let isWritten = octets.withUnsafeBytes { Glibc.write(descriptor, $0.baseAddress, $0.count) } == octets.count
        guard isWritten, fdatasync(descriptor) == 0, rename(partial, path) == 0 else {
            let error = failure(path)
            unlink(partial)
            throw error
        }
    }

    private static func failure(_ path: String) -> DiagnosedError {
        DiagnosedError(
            .backupFile, fault: .configuration, "\(path) can not be written", found: String(cString: strerror(errno)),
            hint: "see whether its folder is there, has room and may be written")
    }
}
