import Diagnostics
import Glibc
import SecretMemory

/// A file of mode 0600 in a node's data folder: read whole, and replaced so that a crash leaves the old or the new.
enum StateFile {
    /// Nil when there is none. Refuses a file that others can open, links, and more than `maximum` octets.
    static func read(_ path: String, upTo maximum: Int) throws(DiagnosedError) -> SecretBytes? {
        let descriptor = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK)
        guard descriptor >= 0 else {
            if errno == ENOENT { return nil }
            throw unusable(path, "open: \(String(cString: strerror(errno)))")
        }
        defer { close(descriptor) }
        var status = stat()
        guard fstat(descriptor, &status) == 0, status.st_mode & S_IFMT == S_IFREG, status.st_size <= maximum else {
            throw unusable(path, "no regular file of at most \(maximum) octets")
        }
        guard status.st_uid == geteuid() || geteuid() == 0, status.st_mode & 0o7177 == 0 else {
            throw unusable(path, "owner \(status.st_uid), mode 0\(String(status.st_mode & 0o7777, radix: 8))")
        }
        return SecretBytes(capacity: maximum) { buffer in
            max(0, Glibc.read(descriptor, buffer.baseAddress, buffer.count))
        }
    }

    /// On the disk when it returns, and the folder's owner's.
    static func replace(_ path: String, with octets: borrowing SecretBytes) throws(DiagnosedError) {
        let new = path + ".new"
        unlink(new)
        let descriptor = open(new, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0o600)
        guard descriptor >= 0 else { throw unusable(path, "create: \(String(cString: strerror(errno)))") }
        let name = path.lastIndex(of: "/").map { path[..<$0] } ?? "."
        let folder = open(name.isEmpty ? "/" : String(name), O_RDONLY | O_DIRECTORY | O_CLOEXEC)
        defer { if folder >= 0 { close(folder) } }
        var owner = stat()
        // An administrator makes it for the service.
        let isOwned =
            folder >= 0 && fstat(folder, &owner) == 0
            && (geteuid() != 0 || fchown(descriptor, owner.st_uid, owner.st_gid) == 0)
        let isWritten = octets.withUnsafeBytes { octets in
            Glibc.write(descriptor, octets.baseAddress, octets.count) == octets.count
        }
        let isSynced = isOwned && isWritten && fsync(descriptor) == 0
        close(descriptor)
        guard isSynced, rename(new, path) == 0, fsync(folder) == 0 else {
            throw unusable(path, "write: \(String(cString: strerror(errno)))")
        }
    }

    private static func unusable(_ path: String, _ found: String) -> DiagnosedError {
        DiagnosedError(
            "node-file", fault: .configuration, "\(path) can not be used",
            expected: "a file of mode 0600 of the service's user, in a folder that is its own", found: found,
            hint:
                "look after owner, mode and space; a node's key is made anew when its file is gone, and then the node has "
                + "to be approved anew")
    }
}
