import Diagnostics
import Glibc

/// A file that is read or written in pieces of 1 MiB.
final class PlainFile: Sendable {
    private static let pieceBytes = 1 << 20
    private let descriptor: Int32
    private let path: String
    /// Octets when it was opened.
    let size: Int

    init(reading path: String) throws {
        let descriptor = open(path, O_RDONLY | O_CLOEXEC)
        guard descriptor >= 0 else { throw Self.failure("can not read", path) }
        var status = stat()
        guard fstat(descriptor, &status) == 0, status.st_mode & S_IFMT == S_IFREG else {
            close(descriptor)
            throw DiagnosedError(.fileUnusable, fault: .client, "\(path) is no regular file")
        }
        self.descriptor = descriptor
        self.path = path
        size = Int(status.st_size)
    }

    init(creating path: String) throws {
        let descriptor = open(path, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0o600)
        guard descriptor >= 0 else { throw Self.failure("can not create", path) }
        self.descriptor = descriptor
        self.path = path
        size = 0
    }

    deinit { close(descriptor) }

    /// The next octets, nil at the end.
    func next() throws -> [UInt8]? {
        var failed = false
        let bytes = [UInt8](unsafeUninitializedCapacity: Self.pieceBytes) { buffer, filled in
            var count = 0
            repeat { count = read(descriptor, buffer.baseAddress, Self.pieceBytes) } while count < 0 && errno == EINTR
            failed = count < 0
            filled = max(count, 0)
        }
        if failed { throw Self.failure("can not read", path) }
        return bytes.isEmpty ? nil : bytes
    }

    /// The whole content of a small file.
    func all(maximumBytes: Int) throws -> [UInt8] {
        guard size <= maximumBytes else {
            throw DiagnosedError(
                .fileUnusable, fault: .client, "\(path) is too large", expected: "at most \(maximumBytes) octets")
        }
        var bytes: [UInt8] = []
        while let piece = try next() { bytes += piece }
        return bytes
    }

    func write(_ bytes: [UInt8]) throws {
        try bytes.withUnsafeBytes { buffer in
            var done = 0
            while done < buffer.count {
                let count = Glibc.write(descriptor, buffer.baseAddress.map { $0 + done }, buffer.count - done)
                if count < 0, errno == EINTR { continue }
                guard count > 0 else { throw Self.failure("can not write", path) }
                done += count
            }
        }
    }

    func sync() throws {
        guard fsync(descriptor) == 0 else { throw Self.failure("can not sync", path) }
    }

    private static func failure(_ what: String, _ path: String) -> DiagnosedError {
        let reason = String(cString: strerror(errno))
        return DiagnosedError(.fileUnusable, fault: .client, "\(what) \(path)", found: reason)
    }
}
