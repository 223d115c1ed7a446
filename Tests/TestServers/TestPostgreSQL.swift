import Glibc
package import PostgreSQLClient

/// A real PostgreSQL server of one test or of all, made by deploy/lib/postgresql.sh and gone with this process.
package final class TestPostgreSQL: Sendable {
    package let folder: String
    package let port: Int
    /// As it is found in its network.
    package let host: String
    private let server: ScriptServer

    /// Whether the programs of a server are on this machine; says so once when they are not.
    package static let isInstalled = ScriptServer.isFound(
        "postgresql.sh", else: "no PostgreSQL server on this machine (apt-get install postgresql)")

    /// One for all tests that do not stop it.
    package static let shared = Task { try await start() }

    /// A new server; `standbyOf`: one that follows another; `at`: on that host.
    package static func start(
        standbyOf primary: TestPostgreSQL? = nil, at place: NetworkPlace? = nil
    ) async throws -> TestPostgreSQL {
        let port = try LoopbackPort.take()
        return try await onOwnThread {
            let folder = try ScriptServer.folder("postgres")
            var words = [folder, "\(port)"]
            if let primary { words += ["--standby-of", primary.folder] }
            if let place { words += ["--at", place.name, place.address] }
            return TestPostgreSQL(
                folder: folder, port: port, host: place?.name ?? "localhost",
                try ScriptServer("postgresql.sh", words, ports: 0, at: place))
        }
    }

    private init(folder: String, port: Int, host: String, _ server: ScriptServer) {
        (self.folder, self.port, self.host, self.server) = (folder, port, host, server)
    }

    /// Stops it for ever and deletes its folder.
    package func end() { server.end() }

    /// `start`, `stop` (as a crash does it) or `promote`.
    package func tell(_ command: String) async throws {
        try await onOwnThread {
            guard try self.server.ask(command) == "\(command) done" else {
                throw TestPKI.Failure(what: "PostgreSQL: \(command)")
            }
        }
    }

    /// Gives a folder outside of its own to the user that it runs as.
    package func owns(_ path: String) -> Bool {
        var status = stat()
        return stat(folder + "/data", &status) == 0 && chown(path, status.st_uid, status.st_gid) == 0
    }

    /// What leads a service here: verified TLS to its name, the user hds and its password.
    package var settings: PostgreSQLSettings {
        let folder = folder
        var settings = PostgreSQLSettings(
            hosts: [.init(host, port: port)], database: "hds", user: "hds",
            password: { Array(try Self.contents(of: folder + "/password").utf8) })
        settings.authorities = folder + "/root.pem"
        return settings
    }

    /// Runs SQL as the server's superuser; the last answer.
    @discardableResult
    package func sql(_ text: String, database: String = "hds") async throws -> PostgreSQLRows? {
        let host = PostgreSQLSettings.Host(folder, port: port)
        return try await onOwnThread {
            var settings = PostgreSQLSettings(hosts: [host], database: database, user: "admin")
            settings.needsWriting = false
            let deadline = ContinuousClock.now + .seconds(30)
            return try PostgreSQLConnection.open(settings, host: host, until: deadline).script(text, until: deadline)
        }
    }

    private static func contents(of path: String) throws -> String {
        let descriptor = open(path, O_RDONLY | O_CLOEXEC)
        guard descriptor >= 0 else { throw TestPKI.Failure(what: "open \(path)") }
        defer { close(descriptor) }
        var bytes = [UInt8](repeating: 0, count: 1024)
        return String(decoding: bytes[..<max(0, read(descriptor, &bytes, bytes.count))], as: UTF8.self)
    }
}
