/// A real CalDAV server of one test or of all, made by deploy/lib/calendar-server.sh and gone with this process.
package final class TestCalendarServer: Sendable {
    package enum Kind: String, Sendable {
        /// Users `alice`, `alicepw` and `bob`, `bobpw`.
        case radicale
        /// Schedules; the user stands in the field X-Remote-User.
        case xandikos
    }

    package let port: Int
    private let server: ScriptServer

    /// Whether both servers are on this machine; says so once when they are not.
    package static let isInstalled = ScriptServer.isFound(
        "calendar-server.sh",
        else:
            "no calendar servers on this machine, so nothing is tried with them (deploy/lib/calendar-server.sh --install)"
    )

    /// One of each for all tests.
    package static let radicale = Task { try await start(.radicale) }
    package static let xandikos = Task { try await start(.xandikos) }

    package static func start(_ kind: Kind) async throws -> TestCalendarServer {
        try await onOwnThread {
            TestCalendarServer(
                try ScriptServer("calendar-server.sh", [ScriptServer.folder("calendar"), kind.rawValue], ports: 1))
        }
    }

    private init(_ server: ScriptServer) {
        self.server = server
        port = server.ports[0]
    }

    /// Stops it for ever and deletes its folder; blocks until it is gone.
    package func end() { server.end() }
}
