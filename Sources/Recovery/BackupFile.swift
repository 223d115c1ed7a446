import Diagnostics
import Glibc

/// The file of a backup: grows under a name of its own and gets its real one when it is whole and on the disk.
final class BackupFile {
    private let path: String
    private let partial: String?
    private let descriptor: Int32

    /// Makes a new file of mode 0600; one that exists is never overwritten.
    static func create(_ path: String) throws(DiagnosedError) -> BackupFile {
        guard access(path, F_OK) != 0 else {
            throw DiagnosedError(
                .backupFile, fault: .configuration, "\(path) exists and is never overwritten", hint: "name a new file")
        }
        // What an interrupted backup left is not of use to anybody.
        let partial = path + ".partial"
        unlink(partial)
        let descriptor = Glibc.open(partial, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0o600)
        guard descriptor >= 0 else { throw failure("written", path) }
        return BackupFile(path, partial: partial, descriptor)
    }

    static func open(_ path: String) throws(DiagnosedError) -> BackupFile {
        let descriptor = Glibc.open(path, O_RDONLY | O_CLOEXEC)
        guard descriptor >= 0 else { throw failure("read", path) }
        return BackupFile(path, partial: nil, descriptor)
    }

    private init(_ path: String, partial: String?, _ descriptor: Int32) {
        (self.path, self.partial, self.descriptor) = (path, partial, descriptor)
    }

    deinit {
        close(descriptor)
        if let partial { unlink(partial) }
    }

    func append(_ octets: [UInt8]) throws(DiagnosedError) {
        var done = 0
        while done < octets.count {
            let count = octets[done...].withUnsafeBytes { write(descriptor, $0.baseAddress, $0.count) }
            guard count > 0 || errno == EINTR else { throw Self.failure("written", path) }
            done += max(0, count)
        }
    }

    /// So many octets, fewer at the end.
    func read(_ count: Int) throws(DiagnosedError) -> [UInt8] {
        var octets = [UInt8](repeating: 0, count: count)
        var done = 0
        while done < count {
            let more = octets.withUnsafeMutableBytes { Glibc.read(descriptor, $0.baseAddress! + done, count - done) }
            if more == 0 { break }
            guard more > 0 || errno == EINTR else { throw Self.failure("read", path) }
            done += max(0, more)
        }
        return Array(octets.prefix(done))
    }

    /// The names of a folder's files, in order.
    static func names(in folder: String) throws(DiagnosedError) -> [String] {
        guard let directory = opendir(folder) else { throw failure("read", folder) }
        defer { closedir(directory) }
        var names: [String] = []
        while let entry = readdir(directory) {
            names.append(
                withUnsafeBytes(of: entry.pointee.d_name) { String(decoding: $0.prefix { $0 != 0 }, as: UTF8.self) })
        }
        return names.sorted()
    }

    func size() throws(DiagnosedError) -> Int {
        var status = stat()
        guard fstat(descriptor, &status) == 0 else { throw Self.failure("read", path) }
        return Int(status.st_size)
    }

    func finish() throws(DiagnosedError) {
        guard let partial, fsync(descriptor) == 0, link(partial, path) == 0 else { throw Self.failure("written", path) }
        let folder = Glibc.open(path.folderOfFile, O_RDONLY | O_DIRECTORY | O_CLOEXEC)
        guard folder >= 0 else { throw Self.failure("written", path) }
        defer { close(folder) }
        guard fsync(folder) == 0 else { throw Self.failure("written", path) }
    }

    private static func failure(_ what: String, _ path: String) -> DiagnosedError {
        let reason = String(cString: strerror(errno))
        return DiagnosedError(
            .backupFile, fault: .configuration, "the backup \(path) can not be \(what)", found: reason,
            hint: "see whether its folder is there, has room and belongs to the service")
    }
}

extension String {
    /// The folder that a file's path names.
    var folderOfFile: String {
        guard let slash = lastIndex(of: "/") else { return "." }
        return slash == startIndex ? "/" : String(self[..<slash])
    }
}
