import Glibc

/// A real OpenLDAP server of one test, made by deploy/lib/directory-server.sh and gone with this process.
package final class TestDirectoryServer: Sendable {
    package static let base = "dc=example,dc=com"
    package static let people = "ou=people,dc=example,dc=com"
    package static let groups = "ou=groups,dc=example,dc=com"
    package static let reader = (dn: "cn=hds,dc=example,dc=com", password: "hds-pw")

    /// Of `ldap://`, with StartTLS where it is asked for.
    package let port: Int
    package let tlsPort: Int
    private let server: ScriptServer

    /// Whether slapd is on this machine; says so once when it is not.
    package static let isInstalled = ScriptServer.isFound(
        "directory-server.sh",
        else: "no slapd and ldap-utils on this machine, so nothing is tried with a real directory (apt-get)")

    package static func start(_ files: DirectoryServerFiles) async throws -> TestDirectoryServer {
        try await onOwnThread {
            TestDirectoryServer(
                try ScriptServer(
                    "directory-server.sh", [ScriptServer.folder("directory"), files.certificate, files.key], ports: 2))
        }
    }

    private init(_ server: ScriptServer) {
        self.server = server
        (port, tlsPort) = (server.ports[0], server.ports[1])
    }

    /// Stops it for ever and deletes its folder; blocks until it is gone.
    package func end() { server.end() }

    /// Changes the directory as its administrator, with LDIF and ldapmodify of OpenLDAP.
    package func change(_ ldif: String) async throws {
        let port = port
        try await onOwnThread {
            let text = try PrivatePipe()
            let child = try BashScript.start(
                "directory-server.sh", ["--change", "\(port)"], input: text.reading)
            close(text.reading)
            let bytes = Array(ldif.utf8)
            var sent = 0
            while sent < bytes.count {
                let count = bytes[sent...].withUnsafeBytes { write(text.writing, $0.baseAddress, $0.count) }
                guard count > 0 else { break }
                sent += count
            }
            shutdown(text.writing, Int32(SHUT_WR))
            let told = ScriptServer.line(from: text.writing)
            close(text.writing)
            let status = BashScript.status(of: child)
            guard status == 0 else { throw TestPKI.Failure(what: "ldapmodify: \(told)") }
        }
    }

    /// Adds people `PREFIX1@example.com` and so on.
    package func add(people numbers: ClosedRange<Int>, prefix: String = "user") async throws {
        try await change(numbers.map { Self.person("\(prefix)\($0)") }.joined(separator: "\n"))
    }

    package static func person(_ name: String, mail: String? = nil) -> String {
        """
        dn: uid=\(name),\(people)
        changetype: add
        objectClass: inetOrgPerson
        uid: \(name)
        cn: Person \(name)
        sn: \(name)
        mail: \(mail ?? name + "@example.com")

        """
    }

    package func remove(_ name: String) async throws { try await remove([name]) }

    /// One behind the other as fast as the server can, in this order.
    package func remove(_ names: [String]) async throws {
        try await change(
            names.map { "dn: uid=\($0),\(Self.people)\nchangetype: delete\n" }.joined(separator: "\n"))
    }

    /// As an administrator locks an account for good.
    package func lock(_ name: String) async throws {
        try await change(
            "dn: uid=\(name),\(Self.people)\nchangetype: modify\nreplace: pwdAccountLockedTime\n"
                + "pwdAccountLockedTime: 000001010000Z\n")
    }
}
