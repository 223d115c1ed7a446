import Glibc
package import PostgreSQLClient
import Synchronization

/// A real PostgreSQL server of one test or of all, made by deploy/lib/postgresql.sh and gone with this process.
package final class TestPostgreSQL: Sendable {
    package let folder: String
    package let port: Int
    /// As it is found in its network.
    package let host: String
    private let pipe: PrivatePipe
    private let child: pid_t
    private let isOpen = Mutex(true)

    /// Whether the programs of a server are on this machine; says so once when they are not.
    package static let isInstalled: Bool = {
        let found = (try? BashScript.start("postgresql.sh", ["--find"], input: nil)).map(BashScript.status) == 0
        if !found {
            print("no PostgreSQL server on this machine: its tests are skipped (apt-get install postgresql)")
        }
        return found
    }()

    /// One for all tests that do not stop it.
    package static let shared = Task { try await start() }

    /// A new server; `standbyOf`: one that follows another; `at`: on that host.
    package static func start(
        standbyOf primary: TestPostgreSQL? = nil, at place: NetworkPlace? = nil
    ) async throws -> TestPostgreSQL {
        let port = try LoopbackPort.take()
        return try await onOwnThread {
            var template = Array("/tmp/hds-postgres-XXXXXX".utf8CString)
            guard mkdtemp(&template) != nil else { throw TestPKI.Failure(what: "mkdtemp") }
            let folder = String(decoding: template.dropLast().map { UInt8(bitPattern: $0) }, as: UTF8.self)
            let pipe = try PrivatePipe()
            var words = [folder, "\(port)"]
            if let primary { words += ["--standby-of", primary.folder] }
            if let place { words += ["--at", place.name, place.address] }
            let order = words
            let start = { try BashScript.start("postgresql.sh", order, input: pipe.reading) }
            let child = try place.map { try $0.within(start) } ?? start()
            close(pipe.reading)
            let server = TestPostgreSQL(
                folder: folder, port: port, host: place?.name ?? "localhost", pipe: pipe, child: child)
            guard server.line() == "ready" else {
                throw TestPKI.Failure(what: "a PostgreSQL server: see \(folder)/log")
            }
            return server
        }
    }

    private init(folder: String, port: Int, host: String, pipe: PrivatePipe, child: pid_t) {
        (self.folder, self.port, self.host, self.pipe, self.child) = (folder, port, host, pipe, child)
    }

    deinit { end() }

    /// Stops it for ever and deletes its folder.
    package func end() {
        let wasOpen = isOpen.withLock { open in
            defer { open = false }
            return open
        }
        guard wasOpen else { return }
        close(pipe.writing)
        _ = BashScript.status(of: child)
    }

    /// `start`, `stop` (as a crash does it) or `promote`.
    package func tell(_ command: String) async throws {
        try await onOwnThread {
            let text = Array("\(command)\n".utf8)
            guard write(self.pipe.writing, text, text.count) == text.count, self.line() == "\(command) done" else {
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

    private func line() -> String {
        var bytes: [UInt8] = []
        var octet: UInt8 = 0
        while read(pipe.writing, &octet, 1) == 1, octet != UInt8(ascii: "\n") { bytes.append(octet) }
        return String(decoding: bytes, as: UTF8.self)
    }
}
