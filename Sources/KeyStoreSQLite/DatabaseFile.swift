import Diagnostics
import Glibc
import KeyStore
import Synchronization

/// The files of one database: judged before SQLite touches them, and held by this process alone.
///
/// The directory and the database belong to the service's user (or root) and let nobody else write; the database is
/// made with mode 0600, which SQLite passes on to its `-wal` and `-shm`. Beside it `NAME.lock` carries a `flock` of one
/// writing process, released by the kernel however that process ends; the file itself stays. Reading tools need no
/// lock.
final class DatabaseFile: Sendable {
    let path: String
    private let lock: Mutex<Int32?>
    private let identity: Identity

    /// Which file a path leads to.
    private struct Identity: Equatable {
        var device: UInt
        var number: UInt

        init(_ status: stat) {
            device = UInt(status.st_dev)
            number = UInt(status.st_ino)
        }
    }

    /// Checks, locks, and makes the database's file if there is none.
    static func open(_ path: String) throws -> DatabaseFile {
        try checkDirectory(of: path)
        let lock = try acquireLock(path + ".lock", of: path)
        do {
            return DatabaseFile(path: path, lock: lock, identity: Identity(try prepare(path)))
        } catch {
            unlock(lock)
            throw error
        }
    }

    private init(path: String, lock: Int32, identity: Identity) {
        self.path = path
        self.lock = Mutex(lock)
        self.identity = identity
    }

    deinit { release() }

    /// Lets another process open the database.
    func release() {
        lock.withLock { descriptor in
            if let descriptor { Self.unlock(descriptor) }
            descriptor = nil
        }
    }

    /// Said, not only closed: a program that is being started has a copy of the descriptor for a moment.
    private static func unlock(_ descriptor: Int32) {
        flock(descriptor, LOCK_UN)
        close(descriptor)
    }

    var size: Int {
        var status = stat()
        return stat(path, &status) == 0 ? Int(status.st_size) : 0
    }

    /// Throws when the path leads to another file, or to none, since it was opened: SQLite would go on with the old one.
    /// `strictly`: also when it can not be seen where it leads, which does not keep the open file from working.
    func checkIdentity(strictly: Bool = false) throws(DiagnosedError) {
        var status = stat()
        guard lstat(path, &status) == 0 else {
            switch errno {
            case ENOENT, ENOTDIR: throw replaced("nothing is there")
            case let code where strictly:
                throw DiagnosedError(
                    .storePermissions, fault: .store, "the key store \(path) can not be reached any more",
                    expected: "a path that the service's user may follow", found: String(cString: strerror(code)),
                    hint: "give the service's user the directory back; what is open still works, a restart would not")
            default: return
            }
        }
        guard Identity(status) == identity else { throw replaced("another file is there") }
        // Without it a restart could not open what works now.
        guard !strictly || access(path, R_OK | W_OK) == 0 || errno == EROFS else {
            throw DiagnosedError(
                .storePermissions, fault: .store, "the key store \(path) no longer belongs to the service's user",
                expected: "a file that user \(geteuid()) may read and write",
                found: "owner \(status.st_uid), mode \(Self.octal(status.st_mode))",
                hint: "chown it back and chmod it to 600; what is open still works, a restart would not")
        }
    }

    private func replaced(_ found: String) -> DiagnosedError {
        DiagnosedError(
            .storeReplaced, fault: .store, "the file \(path) is not the key store that this service opened",
            expected: "the file that was opened", found: found,
            hint: "put the file back, and nothing was lost; to use another one stop the service first")
    }

    private static func checkDirectory(of path: String) throws {
        let directory = directory(of: path)
        var status = stat()
        guard stat(directory, &status) == 0, status.st_mode & S_IFMT == S_IFDIR else {
            throw DiagnosedError(
                .storeUnreachable, fault: .configuration, "no directory \(directory) for the key store",
                hint: "create it with mode 0700, owned by the service's user")
        }
        guard status.st_uid == geteuid() || status.st_uid == 0 else {
            throw permissions(directory, "owner \(geteuid()) or root", "owner \(status.st_uid)", "chown it")
        }
        guard status.st_mode & 0o022 == 0 else {
            throw permissions(
                directory, "a directory that nobody else can write", "mode \(octal(status.st_mode))",
                "chmod go-w \(directory)")
        }
    }

    private static func acquireLock(_ lockPath: String, of path: String) throws -> Int32 {
        let descriptor = Glibc.open(lockPath, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0o600)
        guard descriptor >= 0 else { throw unreachable(lockPath, errno) }
        guard flock(descriptor, LOCK_EX | LOCK_NB) == 0 else {
            defer { close(descriptor) }
            throw DiagnosedError(
                .storeInUse, fault: .configuration, "another process works on the key store \(path)",
                expected: "a free lock \(lockPath)", found: "one held by \(holder(descriptor))",
                hint: "stop that process; two services need two databases, or PostgreSQL for one in common")
        }
        let text = "\(getpid())\n"
        guard ftruncate(descriptor, 0) == 0, pwrite(descriptor, text, text.utf8.count, 0) == text.utf8.count else {
            defer { unlock(descriptor) }
            throw unreachable(lockPath, errno)
        }
        return descriptor
    }

    private static func holder(_ descriptor: Int32) -> String {
        var bytes = [UInt8](repeating: 0, count: 20)
        let count = pread(descriptor, &bytes, bytes.count, 0)
        let digits = bytes.prefix(max(0, count)).prefix { (UInt8(ascii: "0")...UInt8(ascii: "9")).contains($0) }
        return digits.isEmpty ? "an unknown process" : "process \(String(decoding: digits, as: UTF8.self))"
    }

    private static func prepare(_ path: String) throws -> stat {
        // O_EXCL first: whether this call made the file decides whether its directory must reach the disk.
        var descriptor = Glibc.open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0o600)
        let created = descriptor >= 0
        if !created && errno == EEXIST {
            descriptor = Glibc.open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK)
        }
        guard descriptor >= 0 else { throw unreachable(path, errno) }
        defer { close(descriptor) }
        var status = stat()
        guard fstat(descriptor, &status) == 0, status.st_mode & S_IFMT == S_IFREG else {
            throw DiagnosedError(
                .storeUnreachable, fault: .configuration, "\(path) is no regular file",
                hint: "check the path in the configuration")
        }
        guard status.st_uid == geteuid() || status.st_uid == 0 else {
            throw permissions(path, "owner \(geteuid())", "owner \(status.st_uid)", "chown it to the service's user")
        }
        guard status.st_mode & 0o077 == 0 else {
            throw permissions(path, "mode 0600", "mode \(octal(status.st_mode))", "chmod 600 \(path)")
        }
        if created { try synchronize(directory(of: path)) }
        return status
    }

    private static func synchronize(_ directory: String) throws {
        let descriptor = Glibc.open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC)
        guard descriptor >= 0 else { throw unreachable(directory, errno) }
        defer { close(descriptor) }
        guard fsync(descriptor) == 0 else { throw unreachable(directory, errno) }
    }

    private static func directory(of path: String) -> String {
        guard let slash = path.lastIndex(of: "/") else { return "." }
        return slash == path.startIndex ? "/" : String(path[..<slash])
    }

    private static func octal(_ mode: mode_t) -> String { "0" + String(mode & 0o7777, radix: 8) }

    private static func permissions(_ path: String, _ expected: String, _ found: String, _ hint: String)
        -> DiagnosedError
    {
        DiagnosedError(
            .storePermissions, fault: .configuration, "\(path) lets others reach the key store", expected: expected,
            found: found, hint: hint)
    }

    private static func unreachable(_ path: String, _ code: Int32) -> DiagnosedError {
        let isFull = code == ENOSPC || code == EDQUOT
        return DiagnosedError(
            code == EROFS ? .storeReadOnly : isFull ? .storeFull : .storeUnreachable, fault: .store,
            "\(path) can not be opened for writing", found: String(cString: strerror(code)),
            hint: isFull ? "free space on its disk" : "see whether its directory is there and writable for this user")
    }
}
