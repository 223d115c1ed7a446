import Diagnostics
import Glibc
import KeyStore

/// Where root makes a key store that a service's folder is to have: in a folder of its own beside it, from which the file goes
/// to its place, as its owner's, when it is whole.
///
/// The owner of a folder can put other names into it at any time, so root opens nothing inside. Everybody else, and root in
/// folders of his own, works in place.
struct RestorePlace {
    /// What the store is made as.
    let working: String
    private let path: String
    private let owner: (user: uid_t, group: gid_t)?

    init(_ path: String) throws {
        self.path = path
        let slash = path.lastIndex(of: "/")
        let folder = slash.map { $0 == path.startIndex ? "/" : String(path[..<$0]) } ?? "."
        var status = stat()
        let descriptor = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW)
        defer { if descriptor >= 0 { close(descriptor) } }
        guard geteuid() == 0, descriptor >= 0, fstat(descriptor, &status) == 0, status.st_uid != 0 else {
            // What is wrong with the folder, the store says.
            (working, owner) = (path, nil)
            return
        }
        guard access(path, F_OK) != 0 else {
            throw DiagnosedError(
                .storeNotEmpty, fault: .configuration, "\(path) exists and is never overwritten",
                hint: "move it away, or name a new file")
        }
        let name = slash.map { String(path[path.index(after: $0)...]) } ?? path
        let beside = folder.hasPrefix("/") ? folder : "./" + folder
        let parent = beside.lastIndex(of: "/").map { $0 == beside.startIndex ? "" : String(beside[..<$0]) } ?? "."
        var template = Array("\(parent)/.hds-restore-XXXXXX".utf8CString)
        guard mkdtemp(&template) != nil else { throw Self.failed("no folder can be made in \(parent)/", errno) }
        working = String(decoding: template.dropLast().map { UInt8(bitPattern: $0) }, as: UTF8.self) + "/" + name
        owner = (status.st_uid, status.st_gid)
    }

    /// The store is whole and closed: to its place with it.
    func finish() throws {
        guard let owner else { return }
        guard chown(working, owner.user, owner.group) == 0 else {
            throw Self.failed("\(working) can not be given away", errno)
        }
        // Unlike rename, it never replaces what somebody has put there meanwhile.
        guard link(working, path) == 0 else {
            let hint =
                "it is whole: install -o \(owner.user) -g \(owner.group) -m 600 \(working) \(path), then remove \(folder)"
            throw Self.failed("\(working) can not be put to \(path)", errno, hint: hint)
        }
        remove()
        sync()
    }

    /// Nothing of it stays, unless it never was beside.
    func remove() {
        guard owner != nil else { return }
        for ending in ["", "-wal", "-shm", "-journal", ".lock"] { unlink(working + ending) }
        rmdir(folder)
    }

    private var folder: String { working.lastIndex(of: "/").map { String(working[..<$0]) } ?? "." }

    private static func failed(_ what: String, _ code: Int32, hint: String = "see its folder and its disk")
        -> DiagnosedError
    {
        DiagnosedError(
            .storeUnreachable, fault: .configuration, what, found: String(cString: strerror(code)), hint: hint)
    }
}
