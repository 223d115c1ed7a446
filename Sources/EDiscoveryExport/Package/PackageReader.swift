import Diagnostics
import Glibc

/// Reads one file in pieces or line by line; symbolic links are not followed.
final class PackageReader {
    private let descriptor: Int32
    private let place: String
    let count: Int64
    private var rest: [UInt8] = []
    private var start = 0
    private var isAtEnd = false

    init(_ place: String) throws(DiagnosedError) {
        self.place = place
        descriptor = open(place, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK)
        guard descriptor >= 0 else { throw .exportFile("a file can not be read", place, errno: errno) }
        var status = stat()
        guard fstat(descriptor, &status) == 0, status.st_mode & S_IFMT == S_IFREG else {
            close(descriptor)
            throw DiagnosedError(
                .exportFile, fault: .configuration, "this is no plain file", expected: "a file", found: place)
        }
        count = Int64(status.st_size)
    }

    deinit { close(descriptor) }

    /// The next octets, nil at the end.
    func read(upTo limit: Int = 256 << 10) throws(DiagnosedError) -> [UInt8]? {
        while true {
            var failure: Int32 = 0
            let chunk = [UInt8](unsafeUninitializedCapacity: limit) { target, initialized in
                let result = Glibc.read(descriptor, target.baseAddress, limit)
                if result < 0 { failure = errno } else { initialized = result }
            }
            if failure == EINTR { continue }
            guard failure == 0 else { throw .exportFile("a file can not be read", place, errno: failure) }
            return chunk.isEmpty ? nil : chunk
        }
    }

    /// As many octets as are asked for, fewer only at the end; nil behind it.
    func read(exactly count: Int) throws(DiagnosedError) -> [UInt8]? {
        var result: [UInt8] = []
        while result.count < count, let chunk = try read(upTo: count - result.count) { result += chunk }
        return result.isEmpty ? nil : result
    }

    func read(at offset: Int64, count: Int) throws(DiagnosedError) -> [UInt8] {
        var result: [UInt8] = []
        while result.count < count {
            let wanted = count - result.count
            var failure: Int32 = 0
            let chunk = [UInt8](unsafeUninitializedCapacity: wanted) { target, initialized in
                let done = pread(descriptor, target.baseAddress, wanted, off_t(offset) + off_t(result.count))
                if done < 0 { failure = errno } else { initialized = done }
            }
            if failure == EINTR { continue }
            guard failure == 0 else { throw .exportFile("a file can not be read", place, errno: failure) }
            if chunk.isEmpty { break }
            result += chunk
        }
        return result
    }

    /// The next line without its line feed, nil at the end. A line without one at the end of the file is a line, too.
    func line(limit: Int = ItemLine.maximumBytes) throws(DiagnosedError) -> [UInt8]? {
        var searched = start
        while true {
            if let end = Self.lineFeed(rest, from: searched) {
                defer { start = end + 1 }
                return Array(rest[start..<end])
            }
            searched = rest.count
            guard rest.count - start <= limit else {
                throw DiagnosedError.exportMalformed("a line is too long", expected: "at most \(limit) octets")
            }
            guard !isAtEnd, let chunk = try read() else {
                isAtEnd = true
                guard start < rest.count else { return nil }
                defer { start = rest.count }
                return Array(rest[start...])
            }
            if start > 0 {
                rest.removeFirst(start)
                searched -= start
                start = 0
            }
            rest += chunk
        }
    }

    private static func lineFeed(_ octets: [UInt8], from start: Int) -> Int? {
        octets.withUnsafeBytes { octets in
            guard let base = octets.baseAddress, start < octets.count,
                let found = memchr(base + start, 0x0A, octets.count - start)
            else { return nil }
            return UnsafeRawPointer(found) - base
        }
    }

    /// Whole, or nil when it is not there, no plain file, or longer; links are followed, for files that are no part of a package.
    static func smallFile(_ place: String, limit: Int) -> [UInt8]? {
        guard let path = realpath(place, nil) else { return nil }
        defer { free(path) }
        guard let reader = try? PackageReader(String(cString: path)), reader.count <= limit else { return nil }
        return try? reader.read(at: 0, count: Int(reader.count))
    }
}
