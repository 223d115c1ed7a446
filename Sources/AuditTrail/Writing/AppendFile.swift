package import Diagnostics
import Glibc

/// A file that only grows, but for cutting off what was never acknowledged.
package protocol AppendFile: AnyObject, Sendable {
    /// Writes all; after an error any part of it may stand in the file.
    func append(_ bytes: [UInt8]) throws(DiagnosedError)
    /// Returns when everything is on the disk.
    func synchronize() throws(DiagnosedError)
    func truncate(to count: Int) throws(DiagnosedError)
}

/// The file system below a trail's writer; tests put faults in between.
package protocol TrailFileSystem: Sendable {
    /// Opens for appending, mode 0600; makes the file when it is not there.
    func openSegment(_ path: String) throws(DiagnosedError) -> any AppendFile
    func remove(_ path: String) throws(DiagnosedError)
    func synchronizeFolder(_ path: String) throws(DiagnosedError)
}

package struct PosixFileSystem: TrailFileSystem {
    package init() {}

    package func openSegment(_ path: String) throws(DiagnosedError) -> any AppendFile { try PosixAppendFile(path) }

    package func remove(_ path: String) throws(DiagnosedError) {
        guard unlink(path) == 0 || errno == ENOENT else {
            throw .auditFile("the file can not be removed", path, errno: errno)
        }
    }

    package func synchronizeFolder(_ path: String) throws(DiagnosedError) { try FolderSync.synchronize(folder: path) }
}

/// A descriptor opened with O_APPEND; closed with the value.
final class PosixAppendFile: AppendFile {
    private let descriptor: Int32
    private let path: String

    init(_ path: String) throws(DiagnosedError) {
        self.path = path
        descriptor = open(path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK, 0o600)
        guard descriptor >= 0 else { throw .auditFile("the file can not be opened for writing", path, errno: errno) }
    }

    deinit { close(descriptor) }

    func append(_ bytes: [UInt8]) throws(DiagnosedError) {
        var written = 0
        while written < bytes.count {
            let count = bytes.withUnsafeBytes { write(descriptor, $0.baseAddress! + written, $0.count - written) }
            if count < 0, errno == EINTR { continue }
            guard count > 0 else { throw failure("can not be written", count == 0 ? EIO : errno) }
            written += count
        }
    }

    func synchronize() throws(DiagnosedError) {
        guard fdatasync(descriptor) == 0 else { throw failure("does not reach the disk", errno) }
    }

    func truncate(to count: Int) throws(DiagnosedError) {
        guard ftruncate(descriptor, count) == 0 else { throw failure("can not be cut back", errno) }
    }

    private func failure(_ what: String, _ code: Int32) -> DiagnosedError {
        .blocked(
            "\(path) \(what)", found: systemText(code),
            fix: code == ENOSPC || code == EDQUOT
                ? "free space on that disk; requests are answered again by themselves"
                : "look after that disk; requests are answered again when it takes writes")
    }
}

enum FolderSync {
    static func synchronize(folderOf path: String) throws(DiagnosedError) {
        try synchronize(
            folder: path.lastIndex(of: "/").map { $0 == path.startIndex ? "/" : String(path[..<$0]) } ?? ".")
    }

    static func synchronize(folder: String) throws(DiagnosedError) {
        let descriptor = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC)
        guard descriptor >= 0 else { throw .auditFile("the folder can not be opened", folder, errno: errno) }
        defer { close(descriptor) }
        guard fsync(descriptor) == 0 else {
            throw .auditFile("the folder does not reach the disk", folder, errno: errno)
        }
    }
}

/// Keeps a second writer away, until it is released or gone.
final class TrailLock: Sendable {
    private let descriptor: Int32

    init(folder: String) throws(DiagnosedError) {
        let path = folder + "/trail.lock"
        descriptor = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0o600)
        guard descriptor >= 0 else { throw .auditFile("the lock can not be made", path, errno: errno) }
        guard flock(descriptor, LOCK_EX | LOCK_NB) == 0 else {
            let code = errno
            close(descriptor)
            throw DiagnosedError(
                .auditLocked, fault: .configuration, "another process writes to the audit trail \(folder)",
                found: systemText(code), hint: "one service per folder: stop the other one")
        }
    }

    deinit { close(descriptor) }

    func release() { flock(descriptor, LOCK_UN) }
}
