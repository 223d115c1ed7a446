import Diagnostics
import KeyStore
import KeyStorePostgreSQL
import PostgreSQLClient
import TestServers
import Testing

/// What a store refuses to work with: servers that are not proven, not fit, or not its own.
@Suite(.enabled(if: TestPostgreSQL.isInstalled), .timeLimit(.minutes(5)))
struct PostgreSQLOpeningTests {
    /// How opening ends with settings that were changed like that; nil when it works.
    private func opening(
        _ server: TestPostgreSQL? = nil, schema: String = PostgreSQL.schema(), patience: Duration = .seconds(60),
        _ change: (inout PostgreSQLSettings) -> Void = { _ in }
    ) async throws -> DiagnosedError? {
        let server = if let server { server } else { try await TestPostgreSQL.shared.value }
        var settings = server.settings
        change(&settings)
        var options = PostgreSQLKeyStore.Options()
        options.schema = schema
        options.patience = patience
        do {
            let store = try await PostgreSQLKeyStore.open(settings, options: options)
            await store.close()
            return nil
        } catch {
            return try #require(error as? DiagnosedError)
        }
    }

    @Test("the connection is TLS 1.3 to a server whose name and chain were verified")
    func verified() async throws {
        let store = try await PostgreSQL.store()
        #expect(store.protection?.hasPrefix("TLSv1.3 ") == true)
        await store.close()
        let server = try await TestPostgreSQL.shared.value
        #expect(server.settings.tls == .verified && !server.settings.isWeak)
    }

    @Test("a server of other authorities is refused")
    func otherAuthorities() async throws {
        let error = try await opening { $0.authorities = $0.authorities?.replacing("root.pem", with: "other.pem") }
        #expect(error?.code == .storeTLS)
        #expect(try await opening { $0.authorities = "/nowhere/root.pem" }?.code == .storeTLS)
        #expect(try await opening { $0.authorities = nil }?.code == .postgreSQLSettings)
    }

    @Test("a server whose certificate is for another name is refused, unless that is decided for")
    func otherName() async throws {
        let elsewhere = { (settings: inout PostgreSQLSettings) in settings.hosts[0].name = "127.0.0.1" }
        #expect(try await opening { elsewhere(&$0) }?.code == .storeTLS)
        let decided = try await opening {
            elsewhere(&$0)
            $0.tls = .authoritiesOnly
            #expect($0.isWeak)
        }
        #expect(decided == nil)
        let chainless = try await opening {
            elsewhere(&$0)
            $0.tls = .authoritiesOnly
            $0.authorities = $0.authorities?.replacing("root.pem", with: "other.pem")
        }
        #expect(chainless?.code == .storeTLS)
    }

    @Test("plain text is refused by this side, and by a server that demands TLS")
    func plainText() async throws {
        let server = try await TestPostgreSQL.start()
        defer { server.end() }
        #expect(try await opening(server) { $0.tls = .none }?.code == .storeTLS)
        try await server.sql("ALTER SYSTEM SET ssl = off", database: "postgres")
        try await server.sql("SELECT pg_reload_conf()")
        var error: DiagnosedError?
        // A reload takes effect when the server gets to it.
        while error == nil { error = try await opening(server) }
        #expect(error?.code == .storeTLS)
    }

    @Test("a wrong password, user or database is told apart")
    func logins() async throws {
        #expect(try await opening { $0.password = { Array("wrong".utf8) } }?.code == .storeLogin)
        #expect(try await opening { $0.password = nil }?.code == .storeLogin)
        #expect(try await opening { $0.user = "nobody-here" }?.code == .storeLogin)
        let missing = try await opening { $0.database = "nothing" }
        #expect(missing?.code == .storeForeign)
        #expect(missing?.fault == .configuration)
    }

    @Test("the password is asked for at every connection, and stands in no error")
    func password() async throws {
        let error = try await opening { $0.password = { Array("s3cret-of-nobody".utf8) } }
        #expect(error.map { "\($0)" }?.contains("s3cret") == false)
        #expect(try await opening { $0.password = { Array("a\0b".utf8) } }?.code == .postgreSQLSettings)
    }

    @Test("values of settings are values: none of them can add a parameter or a host")
    func hostileSettings() async throws {
        for name in ["localhost,evil.example", "localhost evil", "", "host=evil", "user@evil", "a\0b", "ä"] {
            let error = try await opening(patience: .milliseconds(300)) { $0.hosts[0].name = name }
            let expected: DiagnosedError.Code = name.contains("=") ? .storeUnreachable : .postgreSQLSettings
            #expect(error?.code == expected, "\(name.debugDescription): \(error as Any)")
        }
        let injected = try await opening { $0.database = "hds sslmode=disable host=evil" }
        #expect(injected?.code == .storeForeign)
        #expect(try await opening { $0.user = "hds' sslmode='disable" }?.code == .storeLogin)
        #expect(try await opening { $0.database = "" }?.code == .postgreSQLSettings)
        #expect(try await opening { $0.hosts[0].port = 0 }?.code == .postgreSQLSettings)
        #expect(try await opening { $0.hosts = [] }?.code == .postgreSQLSettings)
        for schema in [
            "x; DROP TABLE keys", "\"x\"", "", "Upper", "pg_catalog", "1a", String(repeating: "a", count: 64),
        ] {
            #expect(try await opening(schema: schema)?.code == .postgreSQLSettings, "\(schema)")
        }
    }

    @Test("a database of a newer version is refused with what to do, and stays as it is")
    func newer() async throws {
        let schema = PostgreSQL.schema()
        let server = try await TestPostgreSQL.shared.value
        await (try PostgreSQL.store(schema: schema)).close()
        try await server.sql("INSERT INTO \(schema).schema_version (version) VALUES (99)")
        let error = try await opening(schema: schema)
        #expect(error?.code == .storeForeign)
        #expect(error?.found == "99")
        #expect(error?.hint?.contains("newer version") == true)
    }

    @Test("tables of another program are refused and left alone")
    func foreign() async throws {
        let schema = PostgreSQL.schema()
        let server = try await TestPostgreSQL.shared.value
        try await server.sql("CREATE SCHEMA \(schema) AUTHORIZATION hds; CREATE TABLE \(schema).theirs (a int)")
        #expect(try await opening(schema: schema)?.code == .storeForeign)
        try await server.sql("GRANT SELECT ON \(schema).theirs TO hds")
    }

    @Test("grants that are missing are named, with the statement that gives them")
    func grants() async throws {
        let schema = PostgreSQL.schema()
        let server = try await TestPostgreSQL.shared.value
        await (try PostgreSQL.store(schema: schema)).close()
        // The tables become somebody else's, as where one role makes them and another one uses them.
        try await server.sql(
            """
            DO $$ DECLARE name text; BEGIN
                FOR name IN SELECT relname FROM pg_class WHERE relkind = 'r' AND relnamespace = '\(schema)'::regnamespace
                LOOP EXECUTE format('ALTER TABLE \(schema).%I OWNER TO admin', name); END LOOP;
            END $$;
            ALTER SCHEMA \(schema) OWNER TO admin
            """)
        var error = try await opening(schema: schema)
        #expect(error?.code == .storePermissions)
        #expect(error?.hint?.contains("GRANT USAGE ON SCHEMA \(schema)") == true)
        try await server.sql(
            """
            GRANT USAGE ON SCHEMA \(schema) TO hds;
            GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA \(schema) TO hds;
            REVOKE DELETE ON \(schema).keys FROM hds
            """)
        error = try await opening(schema: schema)
        #expect(error?.code == .storePermissions)
        #expect(error?.expected == "DELETE on keys")
        try await server.sql("GRANT DELETE ON \(schema).keys TO hds")
        #expect(try await opening(schema: schema) == nil)
    }

    @Test(
        "a server that may lose what it acknowledged is refused; a database that does not wait for the disk is overruled"
    )
    func durability() async throws {
        let server = try await TestPostgreSQL.start()
        defer { server.end() }
        try await server.sql("ALTER DATABASE hds SET synchronous_commit = off")
        #expect(try await opening(server) == nil)
        try await server.sql("ALTER SYSTEM SET fsync = off", database: "postgres")
        try await server.sql("SELECT pg_reload_conf()")
        var error: DiagnosedError?
        while error == nil { error = try await opening(server) }
        #expect(error?.code == .storeUnsupported)
        #expect(error?.expected == "fsync = on")
    }

    @Test("a server that nobody answers for, and one that is not there, are unreachable")
    func unreachable() async throws {
        let port = try LoopbackPort.take()
        let error = try await opening(patience: .milliseconds(300)) { $0.hosts = [.init("localhost", port: port)] }
        #expect(error?.code == .storeUnreachable)
        #expect(error?.fault == .store)
        // The second host is found behind one that does not answer.
        #expect(try await opening { $0.hosts.insert(.init("localhost", port: port), at: 0) } == nil)
        let nowhere = try await opening(patience: .milliseconds(300)) { $0.hosts = [.init("no-such-host.invalid")] }
        #expect(nowhere?.code == .storeUnreachable)
    }
}
