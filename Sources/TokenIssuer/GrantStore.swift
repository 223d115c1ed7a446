import Diagnostics
import GRDB
package import WireText

/// Authorization codes, refresh tokens and opaque access tokens in SQLite, so that a restart or a crash ends no login.
///
/// Codes and tokens stand there as digests: who reads the file can use none. Each function is one transaction on the
/// database's own thread, durable (fsync) when it returns; so of two exchanges of one code exactly one wins.
package final class GrantStore: Sendable {
    private let database: DatabaseQueue
    private let path: String

    /// Opens or makes the database at `path`, mode 0600.
    package init(path: String) throws {
        try FileAccess.create(path, kind: "database of logins")
        self.path = path
        do {
            database = try DatabaseQueue(path: path, configuration: GrantSchema.configuration)
            try database.writeWithoutTransaction { try GrantSchema.prepare($0, path: path) }
        } catch {
            throw Self.diagnosed(error, path: path)
        }
    }

    /// Keeps the grant of a new login and the code that will fetch its tokens.
    /// - Parameter session: where it came from, when a provider vouches for it.
    package func insert(_ code: AuthorizationCode, session: ProviderSession? = nil) async throws {
        try await write { database in
            let grant = code.grant
            try database.execute(
                sql: "INSERT INTO family VALUES (?, ?, ?, ?, ?, ?, ?)",
                arguments: [
                    grant.family, grant.user, grant.client, grant.scope.joined(separator: " "), grant.credential,
                    grant.signedIn.milliseconds, grant.expires.milliseconds,
                ])
            try database.execute(
                sql: "INSERT INTO code VALUES (?, ?, ?, ?, 0, ?)",
                arguments: [code.digest, code.redirect, code.challenge, code.expires.milliseconds, grant.family])
            if let session {
                try database.execute(
                    sql: "INSERT INTO provider_session VALUES (?, ?, ?, ?, ?)",
                    arguments: [grant.family, session.provider, session.subject, session.session, session.hint])
            }
        }
    }

    package enum CodeOutcome: Sendable, Equatable {
        case granted(Grant)
        case replayed(Grant)
        case refused(AuthorizationCode.Refusal)
    }

    /// Exchanges a code for the first refresh token of its family; `mayGoOn` judges the user. Whatever the verdict, the
    /// code is spent.
    package func redeem(
        codeDigest: String, presented: AuthorizationCode.Presentation, refreshDigest: String, refreshExpires: Timestamp,
        now: Timestamp, mayGoOn: @escaping @Sendable (Grant) -> Bool
    ) async throws -> CodeOutcome {
        try await write { database in
            guard let row = try Row.fetchOne(database, sql: Self.codeQuery, arguments: [codeDigest]) else {
                return .refused(.unknown)
            }
            let grant = Self.grant(row)
            let code = AuthorizationCode(
                digest: codeDigest, redirect: row["redirect"], challenge: row["challenge"],
                expires: Timestamp(milliseconds: row["code_expires"]), grant: grant, used: row["code_used"])
            switch code.judge(presented, now: now) {
            case .replayed:
                try Self.end(family: grant.family, now: now, database)
                return .replayed(grant)
            case .refused(let refusal):
                try Self.end(family: grant.family, now: now, database)
                return .refused(refusal)
            case .good:
                guard mayGoOn(grant) else {
                    try Self.end(family: grant.family, now: now, database)
                    return .refused(.accountChanged)
                }
                try database.execute(sql: "UPDATE code SET used = 1 WHERE digest = ?", arguments: [codeDigest])
                try Self.insert(refreshDigest, family: grant.family, expires: refreshExpires, database)
                return .granted(grant)
            }
        }
    }

    package enum RefreshOutcome: Sendable, Equatable {
        case granted(Grant)
        case reused(Grant)
        case refused(RefreshToken.Refusal)
    }

    /// Replaces a refresh token by the next of its family. `judge` says whether the user may go on (nil: yes); a refusal
    /// for the account ends the family, one for the scope leaves everything as it was. A token whose answer was lost gets
    /// another successor within the grace (seconds).
    package func rotate(
        digest: String, client: String, nextDigest: String, nextExpires: Timestamp, now: Timestamp, grace: Int64,
        judge: @escaping @Sendable (Grant) -> RefreshToken.Refusal?
    ) async throws -> RefreshOutcome {
        try await write { database in
            guard let token = try Self.refreshToken(digest, database) else { return .refused(.unknown) }
            let grant = token.grant
            let verdict = token.judge(client: client, now: now, grace: grace)
            switch verdict {
            case .reused:
                try Self.end(family: grant.family, now: now, database)
                return .reused(grant)
            case .refused(let refusal):
                return .refused(refusal)
            case .good, .repeated:
                if let refusal = judge(grant) {
                    if refusal == .accountChanged { try Self.end(family: grant.family, now: now, database) }
                    return .refused(refusal)
                }
                // The successor that nobody used counts as used: if it comes after all, there are two holders.
                try database.execute(
                    sql: """
                        UPDATE refresh SET used = 1
                        WHERE digest = (SELECT successor FROM refresh WHERE digest = ?)
                        """, arguments: [digest])
                try database.execute(
                    sql: """
                        UPDATE refresh SET used = 1, used_at = coalesce(used_at, ?), successor = ? WHERE digest = ?
                        """, arguments: [now.milliseconds, nextDigest, digest])
                try Self.insert(nextDigest, family: grant.family, expires: nextExpires, database)
                return .granted(grant)
            }
        }
    }

    package enum Revocation: Sendable, Equatable {
        case revoked(Grant)
        case unknown
        case foreignClient
    }

    /// Ends the family of a refresh token. A used token ends it as well: its holder wants the login to end.
    package func revoke(digest: String, client: String?, now: Timestamp) async throws -> Revocation {
        try await write { database in
            guard let row = try Row.fetchOne(database, sql: Self.refreshQuery, arguments: [digest]) else {
                return .unknown
            }
            let grant = Self.grant(row)
            if let client, client != grant.client { return .foreignClient }
            try Self.end(family: grant.family, now: now, database)
            return .revoked(grant)
        }
    }

    /// Forgets what has expired and logins whose code was never exchanged.
    package func purge(now: Timestamp) async throws {
        try await write { database in
            let now = now.milliseconds
            try database.execute(sql: "DELETE FROM family WHERE expires <= ?", arguments: [now])
            for table in ["refresh", "access", "revocation", "provider_attempt", "provider_seen"] {
                try database.execute(sql: "DELETE FROM \(table) WHERE expires <= ?", arguments: [now])
            }
            try database.execute(sql: "DELETE FROM wipe WHERE ordered <= ?", arguments: [now - Self.wipeSeconds * 1000])
            // A used code stays as long as its family, for its second use to be seen.
            try database.execute(sql: "DELETE FROM code WHERE used = 0 AND expires <= ?", arguments: [now])
            try database.execute(
                sql: """
                    DELETE FROM family WHERE id NOT IN (SELECT family FROM refresh)
                      AND id NOT IN (SELECT family FROM code WHERE used = 0)
                    """)
        }
    }

    /// How many logins are alive: for the health address and tests.
    package func familyCount() async throws -> Int {
        try await read { try Int.fetchOne($0, sql: "SELECT count(*) FROM family") ?? 0 }
    }

    package func close() throws { try database.close() }

    // MARK: -

    private static let grantColumns =
        "f.id AS family, f.user, f.client, f.scope, f.credential, f.signed_in, f.expires AS family_expires"
    private static let codeQuery = """
        SELECT c.redirect, c.challenge, c.expires AS code_expires, c.used AS code_used, \(grantColumns)
        FROM code AS c JOIN family AS f ON f.id = c.family WHERE c.digest = ?
        """
    private static let refreshQuery = """
        SELECT t.expires AS token_expires, t.used AS token_used, t.used_at AS token_used_at,
          s.used AS successor_used, \(grantColumns)
        FROM refresh AS t JOIN family AS f ON f.id = t.family LEFT JOIN refresh AS s ON s.digest = t.successor
        WHERE t.digest = ?
        """

    static func refreshToken(_ digest: String, _ database: Database) throws -> RefreshToken? {
        guard let row = try Row.fetchOne(database, sql: refreshQuery, arguments: [digest]) else { return nil }
        let usedAt: Int64? = row["token_used_at"]
        let successorUsed: Bool? = row["successor_used"]
        return RefreshToken(
            digest: digest, expires: Timestamp(milliseconds: row["token_expires"]), used: row["token_used"],
            usedAt: usedAt.map { Timestamp(milliseconds: $0) }, hasUnusedSuccessor: successorUsed == false,
            grant: grant(row))
    }

    private static func grant(_ row: Row) -> Grant {
        let scope: String = row["scope"]
        return Grant(
            family: row["family"], user: row["user"], client: row["client"],
            scope: scope.split(separator: " ").map(String.init), credential: row["credential"],
            signedIn: Timestamp(milliseconds: row["signed_in"]),
            expires: Timestamp(milliseconds: row["family_expires"]))
    }

    private static func insert(_ digest: String, family: String, expires: Timestamp, _ database: Database) throws {
        try database.execute(
            sql: "INSERT INTO refresh (digest, expires, used, family) VALUES (?, ?, 0, ?)",
            arguments: [digest, expires.milliseconds, family])
    }

    /// Codes and tokens go with it.
    static func end(family: String, now: Timestamp, _ database: Database) throws {
        try endAccess(ofFamily: family, now: now, database)
        try database.execute(sql: "DELETE FROM family WHERE id = ?", arguments: [family])
    }

    /// For the start, before anybody waits.
    func readNow<Value>(_ body: (Database) throws -> Value) throws -> Value {
        do { return try database.read(body) } catch { throw Self.diagnosed(error, path: path) }
    }

    func read<Value: Sendable>(_ body: @escaping @Sendable (Database) throws -> Value) async throws -> Value {
        do { return try await database.read(body) } catch { throw Self.diagnosed(error, path: path) }
    }

    func write<Value: Sendable>(_ body: @escaping @Sendable (Database) throws -> Value) async throws -> Value {
        do { return try await database.write(body) } catch { throw Self.diagnosed(error, path: path) }
    }

    /// Errors of GRDB may quote statements and values: of them only the result code goes on.
    private static func diagnosed(_ error: any Error, path: String) -> any Error {
        guard let error = error as? DatabaseError else { return error }
        return DiagnosedError(
            .grantStore, fault: .store, "the database of logins \(path) can not be used",
            found: "SQLite result \(error.extendedResultCode.rawValue)",
            hint: "check owner, mode and free space; if the file is damaged move it away: all users sign in again"
                + " (accounts made by first logins at providers are lost with it: docs/login.md)")
    }
}
