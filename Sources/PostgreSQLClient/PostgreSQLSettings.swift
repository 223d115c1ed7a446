package import Diagnostics
import Glibc

extension DiagnosedError.Code {
    /// Settings from which no connection can be made.
    package static let postgreSQLSettings: Self = "postgresql-settings"
}

/// Where a PostgreSQL database is, who asks, and what proves that it is the right one.
///
/// Each value reaches libpq as a parameter of its own, never inside a connection string, so that no value can add
/// another. What libpq would take from the environment is either set here or refused. TLS with verified chain and host
/// name is the default; sockets of this machine (a host that starts with `/`) have none and need none.
package struct PostgreSQLSettings: Sendable {
    package struct Host: Hashable, Sendable, CustomStringConvertible {
        /// A DNS name, an address, or the folder of a unix socket.
        package var name: String
        package var port: Int

        package init(_ name: String, port: Int = 5432) {
            self.name = name
            self.port = port
        }

        package var isSocket: Bool { name.hasPrefix("/") }
        package var description: String { "\(name):\(port)" }
    }

    /// libpq's `sslmode`; everything but `verified` is a weakness that has to be decided for.
    package enum TLSMode: String, Sendable, CaseIterable {
        case verified = "verify-full"
        /// Any host that has a certificate of the authorities.
        case authoritiesOnly = "verify-ca"
        /// Encrypted towards whoever answers.
        case unverified = "require"
        case none = "disable"
    }

    /// Tried in their order, the one that answered last first.
    package var hosts: [Host]
    package var database: String
    package var user: String
    /// Asked at every connection, so that a password that was changed is taken over; its octets are wiped after use.
    package var password: (@Sendable () throws -> [UInt8])?
    package var tls: TLSMode = .verified
    /// PEM file with the only certification authorities that are taken for the server.
    package var authorities: String?
    /// PEM files of a certificate and its private key, for servers that ask for one.
    package var clientCertificate: (certificate: String, privateKey: String)?
    package var applicationName = "hds"
    /// Only a server that takes writes will do: a standby is passed over.
    package var needsWriting = true

    package init(hosts: [Host], database: String, user: String, password: (@Sendable () throws -> [UInt8])? = nil) {
        self.hosts = hosts
        self.database = database
        self.user = user
        self.password = password
    }

    /// Whether what is stored travels unprotected, or towards somebody unproven.
    package var isWeak: Bool { tls != .verified && hosts.contains { !$0.isSocket } }

    /// Variables by which libpq would be led elsewhere, or to settings of somebody else, past these ones.
    private static let refusedVariables = ["PGHOSTADDR", "PGSERVICE", "PGSERVICEFILE", "PGOPTIONS", "PGREQUIREPEER"]

    /// Refuses what can not be right, before any connection is tried.
    package func validate() throws(DiagnosedError) {
        try require(!hosts.isEmpty, "at least one host", "none")
        for host in hosts {
            let allowed = host.name.utf8.allSatisfy { octet in
                octet > 0x20 && octet < 0x7F && octet != UInt8(ascii: ",") && octet != UInt8(ascii: "@")
            }
            try require(
                allowed && !host.name.isEmpty && host.name.utf8.count < 256, "a host as a name, an address or a folder",
                "\(host.name.debugDescription.prefix(80))")
            try require((1...65_535).contains(host.port), "a port of 1 to 65535", "\(host.port)")
        }
        for (what, text) in [("database", database), ("user", user), ("application name", applicationName)] {
            try require(
                !text.isEmpty && text.utf8.count < 64 && !text.utf8.contains(0), "a \(what) of 1 to 63 octets",
                "\(text.utf8.count) octets")
        }
        let needsAuthorities = [.verified, .authoritiesOnly].contains(tls) && hosts.contains { !$0.isSocket }
        try require(!needsAuthorities || authorities != nil, "a file with the server's authorities", "none")
        for path in [authorities, clientCertificate?.certificate, clientCertificate?.privateKey].compactMap({ $0 }) {
            try require(path.hasPrefix("/") && !path.utf8.contains(0), "an absolute path", path)
        }
        for name in Self.refusedVariables where unsafe getenv(name) != nil {
            throw DiagnosedError(
                .postgreSQLSettings, fault: .configuration, "\(name) is set in the environment",
                expected: "settings in the configuration only", hint: "unset it for this program")
        }
    }

    private func require(_ holds: Bool, _ expected: String, _ found: String) throws(DiagnosedError) {
        guard !holds else { return }
        throw DiagnosedError(
            .postgreSQLSettings, fault: .configuration, "the settings of the PostgreSQL database can not be used",
            expected: expected, found: found, hint: "correct them in the configuration")
    }

    /// Parameters of libpq for one host; the password comes apart.
    func parameters(for host: Host) -> [(name: String, value: String)] {
        var list = [
            ("host", host.name), ("port", "\(host.port)"), ("dbname", database), ("user", user),
            ("application_name", applicationName), ("client_encoding", "UTF8"), ("fallback_application_name", "hds"),
            ("target_session_attrs", needsWriting ? "read-write" : "any"),
            // Encryption and trust by TLS only, never by what a Kerberos ticket of the machine allows.
            ("gssencmode", "disable"), ("sslmode", tls.rawValue), ("ssl_min_protocol_version", "TLSv1.2"),
            // No certificate, key or password of somebody's home folder.
            ("passfile", "/dev/null/none"), ("sslcert", clientCertificate?.certificate ?? "/dev/null/none"),
            ("sslkey", clientCertificate?.privateKey ?? "/dev/null/none"), ("sslcrl", "/dev/null/none"),
            // A peer that is gone without a word is noticed within 3 s, so that requests have time for another host.
            ("keepalives", "1"), ("keepalives_idle", "1"), ("keepalives_interval", "1"), ("keepalives_count", "2"),
            ("tcp_user_timeout", "2000"), ("connect_timeout", "5"),
        ]
        list.append(("sslrootcert", authorities ?? "/dev/null/none"))
        return list
    }
}
