package import Diagnostics
package import Glibc
package import SecretMemory

/// Files of the person who runs the tool: read whole and bounded, written new and never over another.
package enum OwnFile {
    package static func read(_ path: String, upTo maximum: Int) throws(DiagnosedError) -> [UInt8] {
        let content = try contents(path, upTo: maximum, isSecret: false)
        return content.withUnsafeBytes { Array($0) }
    }

    /// For a file with a secret: a regular one, no link, of this user or root, open to nobody else.
    package static func readSecret(_ path: String, upTo maximum: Int) throws(DiagnosedError) -> SecretBytes {
        try contents(path, upTo: maximum, isSecret: true)
    }

    /// A new file, on the disk when it returns.
    package static func write(
        _ bytes: [UInt8], toNew path: String, mode: mode_t = 0o600
    ) throws(DiagnosedError) {
        let descriptor = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, mode)
        guard descriptor >= 0 else {
            let code = errno
            guard code == EEXIST else { throw unwritten(path, code) }
            throw DiagnosedError(
                .ownFileExists, fault: .configuration, "\(path) exists and is never overwritten",
                hint: "name a new file")
        }
        defer { close(descriptor) }
        var rest = bytes[...]
        while !rest.isEmpty {
            let count = rest.withUnsafeBytes { Glibc.write(descriptor, $0.baseAddress, $0.count) }
            guard count > 0 else {
                let code = errno
                unlink(path)
                throw unwritten(path, code)
            }
            rest = rest.dropFirst(count)
        }
        guard fsync(descriptor) == 0 else {
            let code = errno
            unlink(path)
            throw unwritten(path, code)
        }
    }

    /// In the place of what is there: beside it first, then moved, so that a reader sees the old or the new.
    package static func replace(_ path: String, with bytes: [UInt8], mode: mode_t = 0o644) throws(DiagnosedError) {
        let beside = "\(path).\(getpid())"
        unlink(beside)
        try write(bytes, toNew: beside, mode: mode)
        guard rename(beside, path) == 0 else {
            let code = errno
            unlink(beside)
            throw unwritten(path, code)
        }
    }

    private static func contents(
        _ path: String, upTo maximum: Int, isSecret: Bool
    ) throws(DiagnosedError) -> SecretBytes {
        let descriptor = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | (isSecret ? O_NOFOLLOW : 0))
        guard descriptor >= 0 else { throw unread(path, String(cString: strerror(errno))) }
        defer { close(descriptor) }
        var status = stat()
        guard fstat(descriptor, &status) == 0, status.st_mode & S_IFMT == S_IFREG else {
            throw unread(path, "no regular file")
        }
        guard status.st_size <= maximum else { throw unread(path, "more than \(maximum) octets") }
        if isSecret {
            guard status.st_uid == geteuid() || status.st_uid == 0, status.st_mode & 0o7177 == 0 else {
                throw DiagnosedError(
                    .ownFilePermissions, fault: .configuration, "\(path) is open to others",
                    expected: "your own file of mode 0600 or 0400",
                    found: "owner \(status.st_uid), mode 0\(String(status.st_mode & 0o7777, radix: 8))",
                    hint: "chmod 600 \(path), and ask who may have read it")
            }
        }
        var failure: Int32 = 0
        let content = SecretBytes(capacity: maximum + 1) { buffer in
            var count = 0
            while count < buffer.count {
                let more = Glibc.read(descriptor, buffer.baseAddress! + count, buffer.count - count)
                if more < 0, errno == EINTR { continue }
                if more < 0 { failure = errno }
                guard more > 0 else { break }
                count += more
            }
            return count
        }
        guard failure == 0 else { throw unread(path, String(cString: strerror(failure))) }
        guard content.count <= maximum else { throw unread(path, "more than \(maximum) octets") }
        return content
    }

    private static func unread(_ path: String, _ reason: String) -> DiagnosedError {
        DiagnosedError(
            .ownFileUnreadable, fault: .configuration, "\(path) can not be read", found: reason,
            hint: "see path and permissions")
    }

    private static func unwritten(_ path: String, _ code: Int32) -> DiagnosedError {
        DiagnosedError(
            .ownFileUnwritable, fault: .configuration, "\(path) can not be written",
            found: String(cString: strerror(code)), hint: "see whether its folder is there and can be written to")
    }
}

extension DiagnosedError.Code {
    package static let ownFileUnreadable: Self = "file-unreadable"
    package static let ownFileUnwritable: Self = "file-unwritable"
    package static let ownFileExists: Self = "file-exists"
    /// A file with a secret is open to others.
    package static let ownFilePermissions: Self = "file-permissions"
}
