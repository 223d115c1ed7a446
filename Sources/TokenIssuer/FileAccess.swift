import Diagnostics
import Glibc

/// Small files with secrets: read whole with a look at who else may read them, written so that a crash at any moment
/// leaves the old or the new contents and never a mixture.
enum FileAccess {
    /// What tells one state of a file from another. A rename brings a new inode, so a new write always shows.
    struct Identity: Equatable, Sendable {
        let device: UInt64
        let inode: UInt64
        let size: Int64
        let modified: Int64
        let changed: Int64
    }

    static func identity(of path: String) -> Identity? {
        var status = stat()
        guard stat(path, &status) == 0 else { return nil }
        return Identity(status)
    }

    /// The permission bits of a file; nil when there is none.
    static func mode(of path: String) -> mode_t? {
        var status = stat()
        return stat(path, &status) == 0 ? status.st_mode & 0o777 : nil
    }

    /// The bytes of a regular file. `forbidden` are mode bits that must not be set, such as 0o077.
    static func read(
        _ path: String, maximumBytes: Int, forbidden: mode_t, kind: String
    ) throws(DiagnosedError) -> (bytes: [UInt8], identity: Identity) {
        let descriptor = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK)
        guard descriptor >= 0 else { throw failure("can not open", path, kind: kind) }
        defer { close(descriptor) }
        var status = stat()
        guard fstat(descriptor, &status) == 0 else { throw failure("can not look at", path, kind: kind) }
        guard status.st_mode & S_IFMT == S_IFREG else {
            throw DiagnosedError(.fileAccess, fault: .configuration, "\(path) is not a regular file")
        }
        guard status.st_mode & forbidden == 0 else {
            let allowed = 0o777 & ~forbidden & ~0o111
            throw DiagnosedError(
                .fileAccess, fault: .configuration, "\(path): others than its owner have access to the \(kind)",
                expected: "mode \(octal(allowed)) or less", found: "mode \(octal(status.st_mode & 0o777))",
                hint: "chmod \(octal(status.st_mode & 0o777 & ~forbidden)) \(path)")
        }
        guard status.st_size <= maximumBytes else {
            throw DiagnosedError(
                .fileAccess, fault: .configuration, "\(path): the \(kind) is too long",
                expected: "at most \(maximumBytes) bytes", found: "\(status.st_size)")
        }
        var bytes: [UInt8] = []
        bytes.reserveCapacity(Int(status.st_size))
        var chunk = [UInt8](repeating: 0, count: 64 << 10)
        while bytes.count <= maximumBytes {
            let count = Glibc.read(descriptor, &chunk, chunk.count)
            if count < 0, errno == EINTR { continue }
            guard count >= 0 else { throw failure("can not read", path, kind: kind) }
            guard count > 0 else { break }
            bytes += chunk[..<count]
        }
        return (bytes, Identity(status))
    }

    /// Writes to a new file beside the old one, brings it to the disk and puts it in the old one's place.
    static func replace(
        _ path: String, with bytes: [UInt8], mode: mode_t = 0o600, kind: String
    ) throws(DiagnosedError) {
        let temporary = path + ".new"
        // Left over from a crash: nobody reads it.
        unlink(temporary)
        let descriptor = open(temporary, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, mode)
        guard descriptor >= 0 else { throw failure("can not create", temporary, kind: kind) }
        var isOpen = true
        defer { if isOpen { close(descriptor) } }
        // The mode whatever the umask says.
        guard fchmod(descriptor, mode) == 0 else { throw failure("can not set the mode of", temporary, kind: kind) }
        var written = 0
        while written < bytes.count {
            let count = bytes[written...].withUnsafeBytes { write(descriptor, $0.baseAddress, $0.count) }
            if count < 0, errno == EINTR { continue }
            guard count > 0 else {
                let error = failure("can not write", temporary, kind: kind)
                unlink(temporary)
                throw error
            }
            written += count
        }
        guard fsync(descriptor) == 0 else { throw failure("can not sync", temporary, kind: kind) }
        isOpen = false
        guard close(descriptor) == 0 else { throw failure("can not close", temporary, kind: kind) }
        guard rename(temporary, path) == 0 else { throw failure("can not replace", path, kind: kind) }
        try syncFolder(of: path, kind: kind)
    }

    /// Makes an empty file with mode 0600 unless it is there; refuses one that others can read.
    static func create(_ path: String, kind: String) throws(DiagnosedError) {
        let descriptor = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0o600)
        guard descriptor >= 0 else { throw failure("can not open", path, kind: kind) }
        defer { close(descriptor) }
        var status = stat()
        guard fstat(descriptor, &status) == 0 else { throw failure("can not look at", path, kind: kind) }
        guard status.st_mode & 0o077 == 0 else {
            throw DiagnosedError(
                .fileAccess, fault: .configuration, "\(path): others than its owner have access to the \(kind)",
                expected: "mode 0600", found: "mode \(octal(status.st_mode & 0o777))", hint: "chmod 600 \(path)")
        }
    }

    private static func syncFolder(of path: String, kind: String) throws(DiagnosedError) {
        let folder = path.lastIndex(of: "/").map { $0 == path.startIndex ? "/" : String(path[..<$0]) } ?? "."
        let descriptor = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC)
        guard descriptor >= 0 else { throw failure("can not open the folder", folder, kind: kind) }
        defer { close(descriptor) }
        guard fsync(descriptor) == 0 else { throw failure("can not sync the folder", folder, kind: kind) }
    }

    /// Holds an exclusive lock among processes for the time of `body`.
    static func locked<Result>(_ path: String, kind: String, _ body: () throws -> Result) throws -> Result {
        let descriptor = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0o600)
        guard descriptor >= 0 else { throw failure("can not open", path, kind: kind) }
        defer { close(descriptor) }
        while flock(descriptor, LOCK_EX) != 0 {
            guard errno == EINTR else { throw failure("can not lock", path, kind: kind) }
        }
        return try body()
    }

    /// A folder for nobody but this service: made when missing, refused when others may look into it.
    static func privateFolder(_ path: String) throws(DiagnosedError) {
        if mkdir(path, 0o700) != 0, errno != EEXIST { throw failure("can not make the folder", path, kind: "state") }
        var status = stat()
        guard stat(path, &status) == 0 else { throw failure("can not look at", path, kind: "state") }
        guard status.st_mode & S_IFMT == S_IFDIR else {
            throw DiagnosedError(.fileAccess, fault: .configuration, "\(path) is not a folder")
        }
        guard status.st_mode & 0o027 == 0 else {
            throw DiagnosedError(
                .fileAccess, fault: .configuration, "\(path): others may look into the folder with the signing keys",
                expected: "mode 0700", found: "mode \(octal(status.st_mode & 0o777))", hint: "chmod 700 \(path)")
        }
    }

    private static func failure(_ what: String, _ path: String, kind: String) -> DiagnosedError {
        let number = errno
        // What is not there or not allowed, an administrator has to mend; everything else is the disk's.
        let isConfiguration = [ENOENT, ENOTDIR, EACCES, EPERM, ELOOP, EISDIR, EROFS].contains(number)
        return DiagnosedError(
            .fileAccess, fault: isConfiguration ? .configuration : .store, "\(what) \(path) (\(kind))",
            found: String(cString: strerror(number)),
            hint: isConfiguration ? "correct the path, or give the service's user access" : nil)
    }

    private static func octal(_ mode: mode_t) -> String { "0" + String(mode, radix: 8) }
}

extension FileAccess.Identity {
    fileprivate init(_ status: stat) {
        device = UInt64(status.st_dev)
        inode = UInt64(status.st_ino)
        size = Int64(status.st_size)
        modified = Int64(status.st_mtim.tv_sec) * 1_000_000_000 + Int64(status.st_mtim.tv_nsec)
        changed = Int64(status.st_ctim.tv_sec) * 1_000_000_000 + Int64(status.st_ctim.tv_nsec)
    }
}
