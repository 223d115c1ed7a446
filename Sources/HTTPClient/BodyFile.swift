import Diagnostics
import Glibc
import NIOCore
import NIOPosix

/// A file that is the body of a request or takes that of a response; every access runs on NIO's thread pool.
///
/// One task at a time uses it. The descriptor is closed when the object goes.
final class BodyFile: Sendable {
    private let descriptor: Int32
    private let path: String

    enum Use { case reading, writing }

    static func open(_ path: String, for use: Use) async throws -> BodyFile {
        try await NIOThreadPool.singleton.runIfActive {
            let flags = use == .reading ? O_RDONLY | O_CLOEXEC : O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC
            let descriptor = Glibc.open(path, flags, 0o600)
            guard descriptor >= 0 else { throw failure(path, "open") }
            return BodyFile(descriptor: descriptor, path: path)
        }
    }

    private init(descriptor: Int32, path: String) {
        self.descriptor = descriptor
        self.path = path
    }

    deinit { _ = Glibc.close(descriptor) }

    /// Octets of a regular file.
    func size() async throws -> Int {
        try await NIOThreadPool.singleton.runIfActive { [self] in
            var status = stat()
            guard fstat(descriptor, &status) == 0 else { throw Self.failure(path, "examine") }
            guard status.st_mode & S_IFMT == S_IFREG else {
                throw DiagnosedError(
                    .httpBodyFile, fault: .client, "\(path) can not be sent", expected: "a regular file",
                    found: "something else")
            }
            return Int(status.st_size)
        }
    }

    /// Up to `count` octets; empty at the end.
    func read(_ count: Int) async throws -> ByteBuffer {
        try await NIOThreadPool.singleton.runIfActive { [self] in
            var buffer = ByteBufferAllocator().buffer(capacity: count)
            var outcome = 0
            buffer.writeWithUnsafeMutableBytes(minimumWritableBytes: count) { target in
                repeat {
                    outcome = Glibc.read(descriptor, target.baseAddress, count)
                } while outcome < 0 && errno == EINTR
                return max(outcome, 0)
            }
            guard outcome >= 0 else { throw Self.failure(path, "read") }
            return buffer
        }
    }

    func write(_ buffer: ByteBuffer) async throws {
        try await NIOThreadPool.singleton.runIfActive { [self] in
            try buffer.withUnsafeReadableBytes { bytes in
                var rest = bytes[...]
                while !rest.isEmpty {
                    let piece = UnsafeRawBufferPointer(rebasing: rest)
                    let written = Glibc.write(descriptor, piece.baseAddress, piece.count)
                    if written < 0, errno == EINTR { continue }
                    guard written > 0 else { throw Self.failure(path, "write") }
                    rest = rest.dropFirst(written)
                }
            }
        }
    }

    private static func failure(_ path: String, _ verb: String) -> DiagnosedError {
        let reason = String(cString: strerror(errno))
        return DiagnosedError(.httpBodyFile, fault: .client, "can not \(verb) \(path)", found: reason)
    }
}
