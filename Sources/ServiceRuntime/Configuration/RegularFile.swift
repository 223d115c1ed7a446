package import Diagnostics
import Glibc

/// Reads a whole file that must be a regular one of bounded size; never waits for a pipe or a device.
enum RegularFile {
    enum Trouble: Error {
        /// What the system says.
        case unreadable(String)
        case notRegular
        case tooLarge(bytes: Int)
    }

    static func read(_ path: String, upTo maximumBytes: Int) throws(Trouble) -> [UInt8] {
        let descriptor = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK)
        guard descriptor >= 0 else { throw .unreadable(String(cString: strerror(errno))) }
        defer { close(descriptor) }
        var status = stat()
        guard fstat(descriptor, &status) == 0, status.st_mode & S_IFMT == S_IFREG else { throw .notRegular }
        var bytes: [UInt8] = []
        while bytes.count <= maximumBytes {
            var failure: Int32 = 0
            let chunk = [UInt8](unsafeUninitializedCapacity: 65_536) { buffer, count in
                let read = Glibc.read(descriptor, buffer.baseAddress, buffer.count)
                if read < 0 { failure = errno }
                count = max(0, read)
            }
            if failure == EINTR { continue }
            guard failure == 0 else { throw .unreadable(String(cString: strerror(failure))) }
            if chunk.isEmpty { return bytes }
            bytes += chunk
        }
        throw .tooLarge(bytes: max(bytes.count, status.st_size))
    }
}

// Files that the configuration names and that hold no secret, such as certificates; secrets go through `Credentials`.
extension FileLocation {
    /// The whole file.
    package func octets(upTo maximumBytes: Int = 1 << 20) throws(DiagnosedError) -> [UInt8] {
        do {
            return try RegularFile.read(path, upTo: maximumBytes)
        } catch {
            switch error {
            case .unreadable(let reason):
                throw DiagnosedError(
                    .fileUnreadable, fault: .configuration, "\(path) can not be read",
                    expected: "a file that the service's user can read", found: reason,
                    hint: "create it, or correct its path in the configuration")
            case .notRegular:
                throw DiagnosedError(
                    .fileUnreadable, fault: .configuration, "\(path) can not be used", expected: "a regular file",
                    found: "a folder, a pipe or a device", hint: "correct the path in the configuration")
            case .tooLarge(let size):
                throw DiagnosedError(
                    .fileUnreadable, fault: .configuration, "\(path) is too large",
                    expected: "at most \(maximumBytes) bytes", found: "\(size) bytes",
                    hint: "correct the path in the configuration")
            }
        }
    }

    /// The whole file as UTF-8 text.
    package func text(upTo maximumBytes: Int = 1 << 20) throws(DiagnosedError) -> String {
        let bytes = try octets(upTo: maximumBytes)
        guard let text = String(validating: bytes, as: UTF8.self) else {
            throw DiagnosedError(
                .fileUnreadable, fault: .configuration, "\(path) is no text", expected: "UTF-8, such as PEM",
                hint: "convert it, or correct the path in the configuration")
        }
        return text
    }
}

extension DiagnosedError.Code {
    /// A file that the configuration names can not be read.
    package static let fileUnreadable: Self = "file-unreadable"
}
