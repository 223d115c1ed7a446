import Glibc
import Synchronization

/// A real CalDAV server of one test or of all, made by deploy/lib/calendar-server.sh and gone with this process.
package final class TestCalendarServer: Sendable {
    package enum Kind: String, Sendable {
        /// Users `alice`, `alicepw` and `bob`, `bobpw`.
        case radicale
        /// Schedules; the user stands in the field X-Remote-User.
        case xandikos
    }

    package let port: Int
    private let pipe: PrivatePipe
    private let child: pid_t
    private let isOpen = Mutex(true)

    /// Whether both servers are on this machine; says so once when they are not.
    package static let isInstalled: Bool = {
        let found = (try? BashScript.start("calendar-server.sh", ["--find"], input: nil)).map(BashScript.status) == 0
        if !found {
            print(
                "skipped: no calendar servers on this machine, so nothing is tried with them (deploy/lib/calendar-server.sh --install)"
            )
        }
        return found
    }()

    /// One of each for all tests.
    package static let radicale = Task { try await start(.radicale) }
    package static let xandikos = Task { try await start(.xandikos) }

    package static func start(_ kind: Kind) async throws -> TestCalendarServer {
        try await onOwnThread {
            var template = Array("/tmp/hds-calendar-XXXXXX".utf8CString)
            guard mkdtemp(&template) != nil else { throw TestPKI.Failure(what: "mkdtemp") }
            let folder = String(decoding: template.dropLast().map { UInt8(bitPattern: $0) }, as: UTF8.self)
            let pipe = try PrivatePipe()
            let child = try BashScript.start("calendar-server.sh", [folder, kind.rawValue], input: pipe.reading)
            close(pipe.reading)
            let told = line(from: pipe.writing)
            guard told.hasPrefix("ready "), let port = Int(told.dropFirst(6)) else {
                close(pipe.writing)
                _ = BashScript.status(of: child)
                throw TestPKI.Failure(what: "\(kind.rawValue): \(told)")
            }
            return TestCalendarServer(port: port, pipe: pipe, child: child)
        }
    }

    private init(port: Int, pipe: PrivatePipe, child: pid_t) {
        (self.port, self.pipe, self.child) = (port, pipe, child)
    }

    deinit { end() }

    /// Stops it for ever and deletes its folder; blocks until it is gone.
    package func end() {
        let wasOpen = isOpen.withLock { open in
            defer { open = false }
            return open
        }
        guard wasOpen else { return }
        close(pipe.writing)
        _ = BashScript.status(of: child)
    }

    private static func line(from descriptor: Int32) -> String {
        var bytes: [UInt8] = []
        var octet: UInt8 = 0
        while read(descriptor, &octet, 1) == 1, octet != UInt8(ascii: "\n") { bytes.append(octet) }
        return String(decoding: bytes, as: UTF8.self)
    }
}
