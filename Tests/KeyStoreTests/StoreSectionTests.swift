import DatabaseConfiguration
import Diagnostics
import Glibc
import KMSService
import PostgreSQLClient
import ServiceRuntime
import TestServers
import Testing

/// The section `store` of the configuration of hds-kms.
@Suite struct StoreSectionTests {
    private struct Configuration: Decodable {
        let store: StoreSection
        enum CodingKeys: String, CodingKey, CaseIterable { case store }
    }

    private func section(_ text: String) throws -> StoreSection {
        try ConfigurationFile.decode(
            Array("store: \(text)".utf8), file: "kms.yaml", folder: "/etc/hds", as: Configuration.self
        ).store
    }

    private func settings(_ text: String) throws -> PostgreSQLSettings {
        guard case .postgresql(let section) = try section("{postgresql: \(text)}").backend else {
            throw TestFailure("not PostgreSQL: \(text)")
        }
        return section.settings(Credentials(folder: nil), application: "hds-kms kms-1")
    }

    @Test("a SQLite file is named in either way, relative to the configuration")
    func sqlite() throws {
        #expect(try section("{file: kms.sqlite}").file?.path == "/etc/hds/kms.sqlite")
        #expect(try section("{sqlite: {file: /var/lib/kms.sqlite}}").file?.path == "/var/lib/kms.sqlite")
        for wrong in [
            "{}", "{file: a, sqlite: {file: b}}", "{file: a, postgresql: {hosts: [h], database: d, user: u, ca: c}}",
        ] {
            #expect(throws: ConfigurationError.self, "\(wrong)") { try section(wrong) }
        }
    }

    @Test("PostgreSQL is verified TLS on port 5432 unless something else is said")
    func postgresql() throws {
        let settings = try settings(
            "{hosts: [a.example, 'b.example:5433', '[::1]:5434'], database: d, user: u, ca: ca.pem}")
        #expect(settings.hosts == [.init("a.example"), .init("b.example", port: 5433), .init("::1", port: 5434)])
        #expect(settings.tls == .verified && !settings.isWeak)
        #expect(settings.authorities == "/etc/hds/ca.pem")
        #expect(settings.applicationName == "hds-kms kms-1")
        #expect(throws: Never.self) { try settings.validate() }
        let socket = try self.settings("{hosts: [/run/postgresql], database: d, user: u}")
        #expect(socket.hosts == [.init("/run/postgresql")])
        #expect(!socket.isWeak)
    }

    @Test(
        "anything less than verified TLS is a decision that is told",
        arguments: [("verify-full", true), ("verify-ca", false), ("require", false), ("disable", false)])
    func weakness(_ mode: String, _ isStrong: Bool) throws {
        let text = "{postgresql: {hosts: [h.example], database: d, user: u, ca: c, tls: \(mode)}}"
        guard case .postgresql(let section) = try section(text).backend else { throw TestFailure(text) }
        #expect((section.weakness == nil) == isStrong)
        #expect(section.settings(Credentials(folder: nil), application: "x").isWeak == !isStrong)
        #expect(Alarm.all.contains(.databaseTLSWeak))
    }

    @Test("what can not be right is refused when the file is read")
    func refused() {
        for wrong in [
            "{hosts: [], database: d, user: u, ca: c}", "{hosts: ['a,b'], database: d, user: u, ca: c}",
            "{hosts: ['a b'], database: d, user: u, ca: c}", "{hosts: [a], database: d, user: u}",
            "{hosts: [a], database: d, user: u, ca: c, tls: prefer}", "{hosts: [a], user: u, ca: c}",
            "{hosts: [a], database: d, user: u, ca: c, certificate: x}",
            "{hosts: [a], database: d, user: u, ca: c, connections: 0}",
            "{hosts: [a], database: d, user: u, ca: c, sslmode: disable}",
        ] {
            #expect(throws: ConfigurationError.self, "\(wrong)") { try settings(wrong) }
        }
    }

    @Test("the password is read from its file at each use, without the end of its line")
    func password() throws {
        let folder = try TemporaryDirectory()
        let path = folder.path("password")
        let settings = try settings("{hosts: [a], database: d, user: u, ca: c, password: \(path)}")
        #expect(throws: DiagnosedError.self) { try settings.password?() }
        for text in ["first", "second"] {
            try write("\(text)\n", to: path)
            #expect(try settings.password?() == Array(text.utf8))
        }
    }
}

private func write(_ text: String, to path: String) throws {
    let descriptor = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0o600)
    guard descriptor >= 0 else { throw TestFailure("open \(path)") }
    defer { close(descriptor) }
    let octets = Array(text.utf8)
    guard Glibc.write(descriptor, octets, octets.count) == octets.count else { throw TestFailure("write \(path)") }
}
