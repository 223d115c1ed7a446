import Diagnostics
import Glibc

/// The file of a listening unix socket: made beside its place with the right mode and moved there, so that nobody can
/// connect too early; a file that nobody listens on any more is replaced, one that somebody listens on never.
struct SocketFile: ~Copyable {
    let path: String
    let descriptor: Int32
    private let device: dev_t
    private let inode: ino_t

    /// The longest path, without the octets that the temporary name needs.
    static let maximumPath = 107 - 16

    init(path: String, group: UInt32?) throws(DiagnosedError) {
        guard path.utf8.count <= Self.maximumPath, path.hasPrefix("/"), !path.utf8.contains(0) else {
            throw .control(
                .controlSocket, .configuration, "the path of the control socket can not be used",
                expected: "an absolute path of at most \(Self.maximumPath) octets", found: "\(path.utf8.count) octets",
                hint: "choose a shorter one, such as /run/hds-kms/control.sock")
        }
        try Self.checkFolder(of: path)
        try Self.checkNobodyListens(path)
        let descriptor = socket(AF_UNIX, Int32(SOCK_STREAM.rawValue) | Self.closeOnExec | Self.nonBlocking, 0)
        guard descriptor >= 0 else { throw Self.trouble("can not be made", path) }
        let temporary = "\(path).\(getpid())"
        unlink(temporary)
        var status = stat()
        let made =
            withSocketAddress(temporary) { bind(descriptor, $0, $1) } == 0
            // The file's mode before it can be found, and before anybody can wait in the queue.
            && chmod(temporary, 0o660) == 0 && stat(temporary, &status) == 0
            && Self.give(temporary, status, to: group)
            && listen(descriptor, 64) == 0 && rename(temporary, path) == 0
        guard made else {
            let failure = Self.trouble("can not be made", path)
            close(descriptor)
            unlink(temporary)
            throw failure
        }
        self.path = path
        self.descriptor = descriptor
        device = status.st_dev
        inode = status.st_ino
    }

    /// With the unit the socket belongs to the group from the beginning, for it is the process's own; the unit's filter of
    /// system calls would not let it be given to any.
    private static func give(_ path: String, _ status: stat, to group: UInt32?) -> Bool {
        guard let group, status.st_gid != group else { return true }
        return chown(path, uid_t.max, group) == 0
    }

    /// Closes it, and removes the file if it is still this one.
    consuming func remove() {
        var status = stat()
        if lstat(path, &status) == 0, status.st_dev == device, status.st_ino == inode { unlink(path) }
        close(descriptor)
    }

    private static let closeOnExec: Int32 = 0o2_000_000
    private static let nonBlocking: Int32 = 0o4_000

    /// In a folder that others may write to, anybody could put a socket of his own into the place.
    private static func checkFolder(of path: String) throws(DiagnosedError) {
        let folder = path.lastIndex(of: "/").map { $0 == path.startIndex ? "/" : String(path[..<$0]) } ?? "/"
        var status = stat()
        guard stat(folder, &status) == 0, status.st_mode & S_IFMT == S_IFDIR else {
            throw .control(
                .controlSocket, .configuration, "the folder of the control socket is not there", found: folder,
                hint: "RuntimeDirectory= of the unit makes it")
        }
        guard status.st_mode & 0o022 == 0 || status.st_mode & S_ISVTX != 0,
            status.st_uid == geteuid() || status.st_uid == 0
        else {
            throw .control(
                .controlSocket, .configuration, "others can replace what lies in the folder of the control socket",
                expected: "a folder of this user or root that nobody else may write to",
                found: "owner \(status.st_uid), mode 0\(String(status.st_mode & 0o7777, radix: 8))",
                hint: "choose a runtime folder of the service")
        }
    }

    private static func checkNobodyListens(_ path: String) throws(DiagnosedError) {
        var status = stat()
        guard lstat(path, &status) == 0 else { return }
        guard status.st_mode & S_IFMT == S_IFSOCK else {
            throw .control(
                .controlSocket, .configuration, "something else lies where the control socket belongs", found: path,
                hint: "move it away")
        }
        let probe = socket(AF_UNIX, Int32(SOCK_STREAM.rawValue) | closeOnExec | nonBlocking, 0)
        guard probe >= 0 else { throw trouble("can not be checked", path) }
        defer { close(probe) }
        // Refused: the file was left behind. Connected, or a full queue: somebody listens.
        if withSocketAddress(path, { connect(probe, $0, $1) }) != 0, errno == ECONNREFUSED || errno == ENOENT { return }
        throw .control(
            .controlBusy, .configuration, "another service listens on the control socket already", found: path,
            hint: "stop it, or give each service a socket of its own")
    }

    private static func trouble(_ what: String, _ path: String) -> DiagnosedError {
        let reason = String(cString: strerror(errno))
        return .control(
            .controlSocket, .configuration, "the control socket \(path) \(what)", found: reason,
            hint: "see whether the folder can be written to and the group is one of the service's")
    }
}

/// The path as the kernel takes it; it must fit.
func withSocketAddress<R>(_ path: String, _ body: (UnsafePointer<sockaddr>, socklen_t) -> R) -> R {
    var address = sockaddr_un()
    address.sun_family = sa_family_t(AF_UNIX)
    withUnsafeMutableBytes(of: &address.sun_path) { target in
        target.copyBytes(from: path.utf8.prefix(target.count - 1))
    }
    return withUnsafePointer(to: &address) { pointer in
        pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
            body($0, socklen_t(MemoryLayout<sockaddr_un>.size))
        }
    }
}
