import Diagnostics
import Glibc
import KeyStore
import LinkedService
import Synchronization
import WireText

/// The highest epoch that this node has seen, in a file of its own: a database that is older is not served from.
///
/// One line, `HDS-EPOCH-1 7`, in a file of mode 0600. A higher one is on the disk before it counts: written beside it,
/// synced, moved over, and the folder synced.
final class EpochFile: Sendable {
    static let name = "epoch"
    private static let head = "HDS-EPOCH-1 "

    let path: String
    private let highest: Mutex<Int64>

    /// 0 without a file.
    init(folder: String) throws(DiagnosedError) {
        path = folder + "/" + Self.name
        highest = Mutex(try Self.read(path))
    }

    var epoch: Int64 { highest.withLock { $0 } }

    /// Durable when it returns; a lower one changes nothing.
    func raise(to epoch: Int64) throws(DiagnosedError) {
        try highest.withLock { (highest) throws(DiagnosedError) in
            guard epoch > highest else { return }
            try write(epoch)
            highest = epoch
        }
    }

    private static func read(_ path: String) throws(DiagnosedError) -> Int64 {
        let descriptor = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW)
        guard descriptor >= 0 else {
            if errno == ENOENT { return 0 }
            throw unusable(path, "open: \(String(cString: strerror(errno)))")
        }
        defer { close(descriptor) }
        var octets = [UInt8](repeating: 0, count: 64)
        let count = Glibc.read(descriptor, &octets, octets.count)
        let text = String(decoding: octets[..<max(0, count)], as: UTF8.self)
        guard text.hasPrefix(head), text.hasSuffix("\n"), let epoch = Int64(text.dropFirst(head.count).dropLast()),
            epoch > 0
        else { throw unusable(path, "\(max(0, count)) octets of something else") }
        return epoch
    }

    private func write(_ epoch: Int64) throws(DiagnosedError) {
        let new = path + ".new"
        unlink(new)
        let descriptor = open(new, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0o600)
        guard descriptor >= 0 else { throw Self.unusable(path, "create: \(String(cString: strerror(errno)))") }
        let line = Array("\(Self.head)\(epoch)\n".utf8)
        let isWritten = Glibc.write(descriptor, line, line.count) == line.count && fsync(descriptor) == 0
        close(descriptor)
        guard isWritten, rename(new, path) == 0 else {
            throw Self.unusable(path, "write: \(String(cString: strerror(errno)))")
        }
        let folder = open(path.folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC)
        defer { if folder >= 0 { close(folder) } }
        guard folder >= 0, fsync(folder) == 0 else {
            throw Self.unusable(path, "sync of the folder: \(String(cString: strerror(errno)))")
        }
    }

    private static func unusable(_ path: String, _ found: String) -> DiagnosedError {
        DiagnosedError(
            "epoch-file", fault: .configuration, "the epoch that this node has seen can not be kept in \(path)",
            expected: "\(head)NUMBER, in a file that only the service's user can write", found: found,
            hint: "look after the disk and the folder; if the file is damaged, compare hdsctl failover plan on another "
                + "node before you remove it")
    }
}

extension DiagnosedError {
    /// The database is of an epoch that is over.
    static func epochIsOver(_ epoch: Int64, seen: Int64) -> DiagnosedError {
        DiagnosedError(
            .storeSuperseded, fault: .store, "the database is of an epoch that is over: it is not served from",
            expected: "epoch \(seen) or a higher one", found: "epoch \(epoch)",
            hint: "another database was promoted past this one: name that one in store.postgresql.hosts, and make this "
                + "one a standby of it (hdsctl failover plan)")
    }
}
