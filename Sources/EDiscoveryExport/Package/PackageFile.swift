import Cryptography
import Diagnostics
import Glibc

/// One file of a package while it is written: buffered, its digest taken on the way. One task at a time.
///
/// It stands in the manifest once it is closed; `discard` takes it away as if it had never been.
final class PackageFile {
    /// Below the package's `data/`, or below the package for a tag file.
    let path: String
    private let place: String
    private let descriptor: Int32
    private var buffer: [UInt8] = []
    private var hasher: SHA256Hasher? = SHA256Hasher()
    private(set) var count: Int64 = 0
    private var isOpen = true
    private let closed: ((PackageFile, [UInt8]) throws -> Void)?

    private static let capacity = 128 << 10

    init(
        _ path: String, at place: String, closed: ((PackageFile, [UInt8]) throws -> Void)? = nil
    ) throws(DiagnosedError) {
        self.path = path
        self.place = place
        self.closed = closed
        descriptor = open(place, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0o600)
        guard descriptor >= 0 else { throw .exportFile("a file of the export can not be made", place, errno: errno) }
    }

    deinit { if isOpen { Glibc.close(descriptor) } }

    func write(_ octets: [UInt8]) throws(DiagnosedError) {
        buffer += octets
        if buffer.count >= Self.capacity { try flush() }
    }

    func write(_ text: String) throws(DiagnosedError) {
        buffer += text.utf8
        if buffer.count >= Self.capacity { try flush() }
    }

    private func flush() throws(DiagnosedError) {
        hasher?.update(buffer)
        count += Int64(buffer.count)
        var written = 0
        while written < buffer.count {
            let result = buffer.withUnsafeBytes {
                Glibc.write(descriptor, $0.baseAddress.map { $0 + written }, $0.count - written)
            }
            if result < 0, errno == EINTR { continue }
            guard result > 0 else { throw .exportFile("the export can not be written", place, errno: errno) }
            written += result
        }
        buffer.removeAll(keepingCapacity: true)
    }

    /// - Returns: the digest.
    @discardableResult
    func close() throws -> [UInt8] {
        try flush()
        isOpen = false
        guard Glibc.close(descriptor) == 0 else {
            throw DiagnosedError.exportFile("the export can not be written", place, errno: errno)
        }
        guard let digest = hasher.take()?.finalize() else { return [] }
        try closed?(self, digest)
        return digest
    }

    /// Waits until what was written so far is on the disk.
    func synchronize() throws {
        try flush()
        guard fsync(descriptor) == 0 else {
            throw DiagnosedError.exportFile("the export can not be written", place, errno: errno)
        }
    }

    /// The digest of what will have been written, as `close` gives it, leaves the file to `discard` or to `keep`.
    func finish() throws -> [UInt8] {
        try flush()
        return hasher.take()?.finalize() ?? []
    }

    /// After `finish`: the file stays.
    func keep(_ digest: [UInt8]) throws {
        isOpen = false
        guard Glibc.close(descriptor) == 0 else {
            throw DiagnosedError.exportFile("the export can not be written", place, errno: errno)
        }
        try closed?(self, digest)
    }

    func discard() {
        if isOpen { Glibc.close(descriptor) }
        isOpen = false
        unlink(place)
    }
}
