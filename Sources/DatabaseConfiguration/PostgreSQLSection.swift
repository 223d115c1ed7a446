package import Diagnostics
package import PostgreSQLClient
package import ServiceRuntime

/// Where the PostgreSQL database is and what proves that it is the right one.
package struct PostgreSQLSection: Decodable, Sendable {
    package enum TLS: String, NamedValue, Sendable {
        case verifyFull = "verify-full"
        case verifyCA = "verify-ca"
        case require
        case disable
    }

    /// `HOST` or `HOST:PORT`, or the folder of a unix socket; the one that takes writes is used.
    package let hosts: [String]
    package let database: String
    package let user: String
    package let password: SecretLocation?
    package let authorities: FileLocation?
    package let tls: TLS
    /// For servers that ask for a certificate.
    package let certificate: FileLocation?
    package let privateKey: FileLocation?
    /// Connections for reading; one more writes.
    package let connections: Int

    package enum CodingKeys: String, CodingKey, CaseIterable {
        case hosts, database, user, password
        case authorities = "ca"
        case tls, certificate
        case privateKey = "private-key"
        case connections
    }

    package init(from decoder: any Decoder) throws {
        let section = try decoder.container(keyedBy: CodingKeys.self)
        hosts = try section.value(.hosts)
        database = try section.value(.database)
        user = try section.value(.user)
        password = try section.optional(.password)
        authorities = try section.optional(.authorities)
        tls = try section.value(.tls, default: .verifyFull)
        certificate = try section.optional(.certificate)
        privateKey = try section.optional(.privateKey)
        connections = try section.value(.connections, default: 4, in: 1...64)
        let isRemote = hosts.contains { !$0.hasPrefix("/") }
        guard !hosts.isEmpty, hosts.allSatisfy({ Self.host($0) != nil }) else {
            throw section.problem(.hosts, "expected at least one HOST, HOST:PORT or folder of a socket")
        }
        guard !isRemote || authorities != nil || tls == .require || tls == .disable else {
            throw section.problem(.authorities, "expected the file with the authorities of the server's certificate")
        }
        guard (certificate == nil) == (privateKey == nil) else {
            throw section.problem(.certificate, "expected certificate and private-key, or neither")
        }
    }

    private static func host(_ text: String) -> PostgreSQLSettings.Host? {
        if text.hasPrefix("/") { return PostgreSQLSettings.Host(text) }
        let isWhole = text.hasPrefix("[") || text.filter { $0 == ":" }.count == 1
        guard let address = NetworkAddress(configurationText: isWhole ? text : "\(text):5432", folder: "/") else {
            return nil
        }
        return PostgreSQLSettings.Host(address.host, port: address.port)
    }

    package func settings(_ credentials: Credentials, application: String) -> PostgreSQLSettings {
        var settings = PostgreSQLSettings(hosts: hosts.compactMap(Self.host), database: database, user: user)
        if let password {
            settings.password = { try credentials.withBytes(of: password) { Self.line($0) } }
        }
        settings.tls =
            switch tls {
            case .verifyFull: .verified
            case .verifyCA: .authoritiesOnly
            case .require: .unverified
            case .disable: .none
            }
        settings.authorities = authorities?.path
        if let certificate, let privateKey { settings.clientCertificate = (certificate.path, privateKey.path) }
        settings.applicationName = String(decoding: application.utf8.prefix(63), as: UTF8.self)
        return settings
    }

    /// Without the end of the line that editors leave.
    private static func line(_ octets: UnsafeRawBufferPointer) -> [UInt8] {
        var line = octets[...]
        while let last = line.last, last == UInt8(ascii: "\n") || last == UInt8(ascii: "\r") { line = line.dropLast() }
        return Array(line)
    }

    /// What somebody on the way could read or change, in a sentence; nil when the connection is proven.
    package var weakness: Loggable? {
        guard hosts.contains(where: { !$0.hasPrefix("/") }) else { return nil }
        switch tls {
        case .verifyFull: return nil
        case .verifyCA: return "store.postgresql.tls is verify-ca: the host name of the server is not verified"
        case .require: return "store.postgresql.tls is require: whoever answers can ask for the password in clear"
        case .disable: return "store.postgresql.tls is disable: records travel in clear, a password may too"
        }
    }
}
