import Diagnostics
import Glibc
import HDSClient

/// Questions to the person at the terminal, and secrets from files: never from arguments, which others can see.
enum Prompt {
    /// A secret typed without echo, or nil when no terminal is there.
    static func secret(_ question: String) -> String? {
        let terminal = open("/dev/tty", O_RDWR | O_CLOEXEC)
        guard terminal >= 0 else { return nil }
        defer { close(terminal) }
        var settings = termios()
        guard tcgetattr(terminal, &settings) == 0 else { return nil }
        var silent = settings
        silent.c_lflag &= ~tcflag_t(ECHO)
        tcsetattr(terminal, TCSAFLUSH, &silent)
        defer {
            tcsetattr(terminal, TCSAFLUSH, &settings)
            put("\n", terminal)
        }
        put(question, terminal)
        return line(from: terminal)
    }

    /// Whether the person typed "yes"; false when no terminal is there.
    static func confirms(_ question: String) -> Bool {
        let terminal = open("/dev/tty", O_RDWR | O_CLOEXEC)
        guard terminal >= 0 else { return false }
        defer { close(terminal) }
        put(question, terminal)
        return line(from: terminal)?.lowercased() == "yes"
    }

    /// The first line of a file; `-` is standard input.
    static func secret(file path: String) throws -> String {
        let descriptor = path == "-" ? 0 : open(path, O_RDONLY | O_CLOEXEC)
        guard descriptor >= 0 else {
            throw DiagnosedError(
                .fileUnusable, fault: .client, "can not read \(path)", found: String(cString: strerror(errno)))
        }
        defer { if descriptor > 0 { close(descriptor) } }
        guard let text = line(from: descriptor), !text.isEmpty else {
            throw DiagnosedError(.fileUnusable, fault: .client, "\(path) has no first line")
        }
        return text
    }

    private static func line(from descriptor: Int32) -> String? {
        var bytes: [UInt8] = []
        var byte: UInt8 = 0
        while bytes.count < 4096 {
            let count = read(descriptor, &byte, 1)
            if count < 0, errno == EINTR { continue }
            guard count == 1 else { break }
            if byte == UInt8(ascii: "\n") { return text(bytes) }
            bytes.append(byte)
        }
        return bytes.isEmpty ? nil : text(bytes)
    }

    private static func text(_ bytes: [UInt8]) -> String? {
        String(validating: bytes.last == UInt8(ascii: "\r") ? bytes.dropLast() : bytes[...], as: UTF8.self)
    }

    private static func put(_ text: String, _ descriptor: Int32) {
        let bytes = Array(text.utf8)
        _ = bytes.withUnsafeBytes { write(descriptor, $0.baseAddress, $0.count) }
    }
}
