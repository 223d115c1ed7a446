import Glibc
import Synchronization

/// A program that a script of deploy/lib runs as long as somebody holds its standard input; it is gone with this process.
///
/// The script says one line when it serves, or why it does not.
final class ScriptServer: Sendable {
    /// What the script said behind the word `ready`.
    let ports: [Int]
    private let name: String
    private let pipe: PrivatePipe
    private let child: pid_t
    private let isOpen = Mutex(true)

    /// Blocks until it serves.
    /// - Parameters:
    ///   - count: of the ports that it tells.
    ///   - place: the host that it runs on.
    init(_ name: String, _ words: [String], ports count: Int, at place: NetworkPlace? = nil) throws {
        let pipe = try PrivatePipe()
        let start = { try BashScript.start(name, words, input: pipe.reading) }
        child = try place.map { try $0.within(start) } ?? start()
        self.pipe = pipe
        self.name = name
        close(pipe.reading)
        let line = Self.line(from: pipe.writing)
        let said = line.split(separator: " ")
        ports = said.dropFirst().compactMap { Int($0) }
        guard said.first == "ready", said.count == 1 + count, ports.count == count else {
            end()
            throw TestPKI.Failure(what: "\(name): \(line)")
        }
    }

    deinit { end() }

    /// Stops it for ever; blocks until it is gone.
    func end() {
        let wasOpen = isOpen.withLock { open in
            defer { open = false }
            return open
        }
        guard wasOpen else { return }
        close(pipe.writing)
        _ = BashScript.status(of: child)
    }

    /// Says a line to the script and waits for its answer.
    func ask(_ line: String) throws -> String {
        let text = Array("\(line)\n".utf8)
        guard write(pipe.writing, text, text.count) == text.count else {
            throw TestPKI.Failure(what: "\(name): \(line)")
        }
        return Self.line(from: pipe.writing)
    }

    static func line(from descriptor: Int32) -> String {
        var bytes: [UInt8] = []
        var octet: UInt8 = 0
        while read(descriptor, &octet, 1) == 1, octet != UInt8(ascii: "\n") { bytes.append(octet) }
        return String(decoding: bytes, as: UTF8.self)
    }

    /// A folder that the script may have for itself.
    static func folder(_ name: String) throws -> String {
        var template = Array("/tmp/hds-\(name)-XXXXXX".utf8CString)
        guard mkdtemp(&template) != nil else { throw TestPKI.Failure(what: "mkdtemp") }
        return String(decoding: template.dropLast().map { UInt8(bitPattern: $0) }, as: UTF8.self)
    }

    /// Whether the script finds what it runs.
    /// - Parameter missing: said when it does not.
    static func isFound(_ name: String, else missing: String) -> Bool {
        let found = (try? BashScript.start(name, ["--find"], input: nil)).map(BashScript.status) == 0
        if !found { print("skipped: \(missing)") }
        return found
    }
}
