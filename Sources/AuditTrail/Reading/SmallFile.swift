import Diagnostics
import Glibc

/// Whole files of limited size, read and replaced.
enum SmallFile {
    /// Nil when there is no such file.
    static func readIfPresent(_ path: String, limit: Int) throws(DiagnosedError) -> [UInt8]? {
        let descriptor = open(path, O_RDONLY | O_CLOEXEC)
        guard descriptor >= 0 else {
            if errno == ENOENT { return nil }
            throw unreadable(path, errno)
        }
        defer { close(descriptor) }
        var status = stat()
        guard fstat(descriptor, &status) == 0 else { throw unreadable(path, errno) }
        guard status.st_size <= limit else {
            throw DiagnosedError(
                .auditUnreadable, fault: .client, "\(path) is too long", expected: "at most \(limit) octets")
        }
        // A pipe has no size.
        let room = status.st_size > 0 ? Int(status.st_size) : limit
        var failure: Int32 = 0
        let bytes = [UInt8](unsafeUninitializedCapacity: room) { target, initialized in
            while initialized < room, let start = target.baseAddress {
                let count = Glibc.read(descriptor, start + initialized, room - initialized)
                if count < 0, errno == EINTR { continue }
                if count < 0 { failure = errno }
                guard count > 0 else { return }
                initialized += count
            }
        }
        guard failure == 0 else { throw unreadable(path, failure) }
        return bytes
    }

    static func read(_ path: String, limit: Int) throws(DiagnosedError) -> [UInt8] {
        guard let bytes = try readIfPresent(path, limit: limit) else { throw unreadable(path, ENOENT) }
        return bytes
    }

    /// Either the old or the new content stands there, also after a crash; the file belongs to the folder's owner.
    static func replace(_ path: String, _ bytes: [UInt8], in folder: String) throws(DiagnosedError) {
        let temporary = path + ".new"
        unlink(temporary)
        let descriptor = open(temporary, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0o600)
        guard descriptor >= 0 else { throw .auditFile("the file can not be made", temporary, errno: errno) }
        defer { close(descriptor) }
        // A tool that root runs must leave a file that the service can read.
        var status = stat()
        if stat(folder, &status) == 0, geteuid() == 0 { _ = fchown(descriptor, status.st_uid, status.st_gid) }
        guard write(descriptor, bytes, bytes.count) == bytes.count, fsync(descriptor) == 0,
            rename(temporary, path) == 0
        else { throw .auditFile("the file can not be written", path, errno: errno) }
        try FolderSync.synchronize(folder: folder)
    }

    static func unreadable(_ path: String, _ code: Int32) -> DiagnosedError {
        .auditFile(
            "the file can not be read", path, errno: code, as: .auditUnreadable, fault: .configuration,
            fix: "check the path and who may read it")
    }
}

extension SmallFile {
    /// 0 when there is no such file.
    static func size(_ path: String) -> Int {
        var status = stat()
        return stat(path, &status) == 0 ? Int(status.st_size) : 0
    }
}
