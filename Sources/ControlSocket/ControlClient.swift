package import Diagnostics
import Glibc
package import WireText

/// The tool's end of the control socket: one connection, one request after the other, errors that say what to do.
///
/// Blocks its thread; for a program that has nothing else to do. Not safe to share.
package final class ControlClient {
    /// Who answered a `ping`.
    package struct Service: Sendable, Equatable {
        package let service: String
        package let host: String
        package let node: String
        package let version: String
        package let pid: Int64
    }

    private let path: String
    private let descriptor: Int32
    private let timeout: Int32
    private var received: [UInt8] = []
    private var searched = 0
    private var lastID = 0

    /// - Parameter timeout: milliseconds without any octet of the service before it counts as gone.
    package init(path: String, timeout: Int32 = 30_000) throws(DiagnosedError) {
        self.path = path
        self.timeout = timeout
        guard path.utf8.count <= 107 else {
            throw .control(.serviceNotRunning, .configuration, "the path of the control socket is too long")
        }
        descriptor = socket(AF_UNIX, Int32(SOCK_STREAM.rawValue) | Int32(SOCK_CLOEXEC.rawValue), 0)
        guard descriptor >= 0 else { throw Self.trouble(path, errno) }
        let status = withSocketAddress(path) { connect(descriptor, $0, $1) }
        let code = errno
        if status != 0 { throw Self.trouble(path, code) }
    }

    deinit { close(descriptor) }

    /// Sends a command and waits for its answer; a refusal of the service is thrown as the service told it.
    package func send(
        _ command: String, arguments: JSONNode, signature: String? = nil, confirmation: String? = nil,
        progress: (String) -> Void = { _ in }
    ) throws(DiagnosedError) -> JSONNode {
        lastID += 1
        let request = ControlRequest(
            id: "\(lastID)", command: command, arguments: arguments, signature: signature, confirmation: confirmation)
        // A service that refuses the connection says why before it closes: what can not be written may still be answered.
        let wasWritten = write(request.line())
        while let line = try line() {
            let root: JSONNode
            do {
                root = try JSONDocument(line, limits: .init(maximumNodes: 1_000_000, maximumBytes: Self.maximumLine))
                    .root
            } catch {
                throw Self.unreadable(error.summary)
            }
            guard root["id"] == nil || root["id"]?.string == request.id else { throw Self.unreadable("of another id") }
            if let text = root["progress"]?.string {
                progress(text)
                continue
            }
            switch root["ok"]?.boolean {
            case true?:
                guard let result = root["result"], result.kind == .object else { throw Self.unreadable("no result") }
                return result
            case false?: throw Self.refusal(root["error"])
            case nil: throw Self.unreadable("neither answer nor progress")
            }
        }
        throw DiagnosedError.control(
            .controlAnswer, .peer, "the service closed the connection before it answered",
            found: wasWritten ? "the request was sent" : "the request was not sent",
            hint: "see the service's journal; whether the command had an effect is not known")
    }

    package func ping() throws(DiagnosedError) -> Service {
        let empty: JSONNode
        do {
            empty = try JSONDocument(text: "{}").root
        } catch {
            throw Self.unreadable(error.summary)
        }
        let result = try send("ping", arguments: empty)
        guard let service = result["service"]?.string, let host = result["host"]?.string,
            let node = result["node"]?.string, let version = result["version"]?.string,
            let pid = result["pid"]?.integer
        else { throw Self.unreadable("a ping without service, host, node, version or pid") }
        return Service(service: service, host: host, node: node, version: version, pid: pid)
    }

    private static let maximumLine = ControlAnswer.maximumBytes + (1 << 16)

    private func write(_ bytes: [UInt8]) -> Bool {
        var rest = bytes[...]
        while !rest.isEmpty {
            let count = rest.withUnsafeBytes {
                Glibc.send(descriptor, $0.baseAddress, $0.count, Int32(MSG_NOSIGNAL))
            }
            if count < 0, errno == EINTR { continue }
            guard count > 0 else { return false }
            rest = rest.dropFirst(count)
        }
        return true
    }

    /// Nil when the service closed the connection.
    private func line() throws(DiagnosedError) -> [UInt8]? {
        while true {
            if let end = received[searched...].firstIndex(of: UInt8(ascii: "\n")) {
                defer {
                    received.removeSubrange(...end)
                    searched = 0
                }
                return Array(received[..<end])
            }
            searched = received.count
            guard received.count <= Self.maximumLine else { throw Self.unreadable("too long") }
            var waiting = pollfd(fd: descriptor, events: Int16(POLLIN), revents: 0)
            let ready = poll(&waiting, 1, timeout)
            if ready < 0, errno == EINTR { continue }
            guard ready > 0 else {
                throw DiagnosedError.control(
                    .controlAnswer, .peer, "the service does not answer", found: "nothing within \(timeout) ms",
                    hint: "see the service's journal; whether the command had an effect is not known")
            }
            var chunk = [UInt8](repeating: 0, count: 1 << 16)
            let count = recv(descriptor, &chunk, chunk.count, 0)
            if count < 0, errno == EINTR { continue }
            guard count > 0 else { return nil }
            received += chunk[..<count]
        }
    }

    private static func refusal(_ node: JSONNode?) -> DiagnosedError {
        guard let node, let code = node["code"]?.string, let summary = node["summary"]?.string else {
            return unreadable("an error without code")
        }
        let fault = node["fault"]?.string.flatMap { DiagnosedError.Fault(rawValue: $0) } ?? .peer
        return DiagnosedError(
            .init(rawValue: code), fault: fault, summary, expected: node["expected"]?.string,
            found: node["found"]?.string, hint: node["hint"]?.string)
    }

    private static func unreadable(_ what: String) -> DiagnosedError {
        .control(
            .controlAnswer, .peer, "the service's answer can not be read", found: what,
            hint: "use the hdsctl of the same version as the service")
    }

    private static func trouble(_ path: String, _ code: Int32) -> DiagnosedError {
        switch code {
        case ENOENT, ENOTDIR, ECONNREFUSED:
            .control(
                .serviceNotRunning, .peer, "the service is not running", expected: "a listener at \(path)",
                found: code == ECONNREFUSED ? "a socket that nobody listens on" : "no socket",
                hint: "systemctl start hds-kms, or name its socket with --socket")
        case EACCES, EPERM:
            .control(
                .controlPermission, .configuration, "this user may not connect to \(path)", found: "no permission",
                hint: "use sudo, or ask for membership in the operators' group and log in again")
        default:
            .control(
                .controlAnswer, .peer, "the service can not be connected to", found: String(cString: strerror(code)),
                hint: "see the service's journal")
        }
    }
}
