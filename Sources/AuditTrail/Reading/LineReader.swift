import Diagnostics
import Glibc

/// The lines of a file one after the other, in memory bounded by the longest line allowed.
final class LineReader {
    private let descriptor: Int32
    private let path: String
    private var buffer: [UInt8] = []
    private var start = 0
    private var isAtEnd = false
    /// Where the next line begins.
    private(set) var offset = 0
    /// What stands after the last line feed once `next` has answered nil.
    private(set) var rest: [UInt8] = []
    static let chunk = 1 << 16

    init(_ path: String) throws(DiagnosedError) {
        self.path = path
        descriptor = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW)
        guard descriptor >= 0 else { throw SmallFile.unreadable(path, errno) }
    }

    deinit { close(descriptor) }

    /// The next line without its line feed; nil at the end.
    func next() throws(DiagnosedError) -> [UInt8]? {
        var searched = start
        while true {
            if let end = ByteSearch.lineFeed(in: buffer, from: searched) {
                let line = Array(buffer[start..<end])
                offset += line.count + 1
                start = end + 1
                return line
            }
            if isAtEnd {
                rest = Array(buffer[start...])
                return nil
            }
            guard buffer.count - start <= RecordBody.maximumLine else {
                throw DiagnosedError(
                    .auditLineMalformed, fault: .client, "\(path) has a line that is too long",
                    expected: "at most \(RecordBody.maximumLine) octets", found: "more, from octet \(offset)")
            }
            searched = buffer.count - start
            try fill()
        }
    }

    /// What is left of the buffer, and the next piece of the file behind it.
    private func fill() throws(DiagnosedError) {
        let left = buffer[start...]
        var code: Int32 = 0
        var count = 0
        let filled = [UInt8](unsafeUninitializedCapacity: left.count + Self.chunk) { target, initialized in
            left.withUnsafeBufferPointer { left in
                if let from = left.baseAddress { memcpy(target.baseAddress!, from, left.count) }
            }
            repeat {
                count = read(descriptor, target.baseAddress! + left.count, Self.chunk)
            } while count < 0 && errno == EINTR
            code = errno
            initialized = left.count + max(0, count)
        }
        guard count >= 0 else { throw SmallFile.unreadable(path, code) }
        buffer = filled
        start = 0
        isAtEnd = count == 0
    }
}

/// The lines of a file from the last to the first; what stands after the last line feed is left out.
final class BackwardLineReader {
    private let descriptor: Int32
    private let path: String
    /// The unread part of the file ends here.
    private var position: Int
    /// Octets from `position` on that were read and not handed out, ending behind a line feed.
    private var buffer: [UInt8] = []
    private var hasBegun = false

    init(_ path: String) throws(DiagnosedError) {
        self.path = path
        descriptor = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW)
        guard descriptor >= 0 else { throw SmallFile.unreadable(path, errno) }
        position = lseek(descriptor, 0, SEEK_END)
    }

    deinit { close(descriptor) }

    func next() throws(DiagnosedError) -> [UInt8]? {
        while true {
            if !hasBegun, let end = ByteSearch.lastLineFeed(in: buffer, before: buffer.count) {
                buffer.removeLast(buffer.count - end - 1)
                hasBegun = true
            }
            if hasBegun, !buffer.isEmpty {
                if let before = ByteSearch.lastLineFeed(in: buffer, before: buffer.count - 1) {
                    let line = Array(buffer[(before + 1)..<(buffer.count - 1)])
                    buffer.removeLast(line.count + 1)
                    return line
                }
                if position == 0 {
                    defer { buffer = [] }
                    return Array(buffer.dropLast())
                }
            }
            guard position > 0 else { return nil }
            guard buffer.count <= RecordBody.maximumLine * 2 else {
                throw DiagnosedError(
                    .auditLineMalformed, fault: .client, "\(path) has a line that is too long",
                    expected: "at most \(RecordBody.maximumLine) octets", found: "more, before octet \(position)")
            }
            try fill()
        }
    }

    private func fill() throws(DiagnosedError) {
        let size = min(position, LineReader.chunk)
        var count = 0
        let chunk = [UInt8](unsafeUninitializedCapacity: size) { target, initialized in
            count = pread(descriptor, target.baseAddress, size, position - size)
            initialized = max(0, count)
        }
        guard count == size else { throw SmallFile.unreadable(path, count < 0 ? errno : EIO) }
        position -= size
        buffer = chunk + buffer
    }
}

/// Searches in octets, by the C library.
enum ByteSearch {
    static func lineFeed(in text: [UInt8], from start: Int) -> Int? {
        text.withUnsafeBytes { text in
            guard start < text.count, let base = text.baseAddress,
                let hit = memchr(base + start, 0x0A, text.count - start)
            else { return nil }
            return UnsafeRawPointer(hit) - base
        }
    }

    /// The last one among the first `end` octets.
    static func lastLineFeed(in text: [UInt8], before end: Int) -> Int? {
        text.withUnsafeBytes { text in
            var index = end
            while index > 0 {
                index -= 1
                if text[index] == 0x0A { return index }
            }
            return nil
        }
    }

    static func contains(_ text: [UInt8], _ needle: [UInt8]) -> Bool {
        text.withUnsafeBytes { text in needle.withUnsafeBytes { contains(text, $0) } }
    }

    private static func contains(_ text: UnsafeRawBufferPointer, _ needle: UnsafeRawBufferPointer) -> Bool {
        guard let base = text.baseAddress, let wanted = needle.baseAddress else { return false }
        var start = 0
        while start + needle.count <= text.count {
            guard let hit = memchr(base + start, Int32(needle[0]), text.count - start - needle.count + 1) else {
                return false
            }
            if memcmp(hit, wanted, needle.count) == 0 { return true }
            start = UnsafeRawPointer(hit) - base + 1
        }
        return false
    }
}
