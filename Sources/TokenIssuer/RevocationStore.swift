import GRDB
package import JOSESignature
package import WireText

// Opaque access tokens and revocations in the database of logins: both are read by whoever asks what a token is worth.
//
// A token that ends before its time is forgotten and listed in one transaction, so that there is no moment in which the
// introspection endpoint and the list say different things.
extension GrantStore {
    /// Clocks of verifiers may be behind by so many seconds: entries stay for longer than the token lives.
    static let listedLonger: Int64 = 600
    /// More single tokens of one subject become one entry for the subject, more entries in all one for everybody: the
    /// list has a bounded size whatever holders of tokens do, and errs on the side of signing in again.
    static let maximumTokensOfSubject = 32
    static let maximumEntries = 10_000

    /// Keeps tokens by their digests, all or none; false when their login ended meanwhile: no token outlives it.
    package func insert(_ tokens: [(digest: String, token: AccessToken)]) async throws -> Bool {
        try await write { database in
            for family in Set(tokens.compactMap(\.token.family)) {
                let isAlive = try Bool.fetchOne(
                    database, sql: "SELECT EXISTS (SELECT 1 FROM family WHERE id = ?)", arguments: [family])
                guard isAlive == true else { return false }
            }
            for (digest, token) in tokens {
                try database.execute(
                    sql: "INSERT INTO access VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
                    arguments: [
                        digest, token.id, token.subject, token.client, token.organisation, token.audience.rawValue,
                        token.scope.joined(separator: " "), token.issued.milliseconds, token.expires.milliseconds,
                        token.confirmation, token.family, token.credential,
                    ])
            }
            return true
        }
    }

    /// An opaque token that has not ended.
    package func accessToken(digest: String, now: Timestamp) async throws -> AccessToken? {
        try await read { database in
            try Self.token(digest, database).flatMap { now < $0.expires ? $0 : nil }
        }
    }

    package enum AccessRevocation: Sendable, Equatable {
        case revoked
        case unknown
        case foreignClient
    }

    /// Ends an opaque token; `client` is who asks, nil for its holder.
    package func revokeAccess(digest: String, client: String?, now: Timestamp) async throws -> AccessRevocation {
        try await write { database in
            guard let token = try Self.token(digest, database) else { return .unknown }
            if let client, client != token.client { return .foreignClient }
            try database.execute(sql: "DELETE FROM access WHERE digest = ?", arguments: [digest])
            try Self.list(token: token.id, of: token.subject, expires: token.expires, now: now, database)
            return .revoked
        }
    }

    /// Ends a token by its id; nobody needs to know the token itself. An unknown id is listed as well: it may be a JWT's.
    package func revoke(tokenID: String, subject: String, expires: Timestamp, now: Timestamp) async throws {
        try await write { database in
            try database.execute(sql: "DELETE FROM access WHERE id = ?", arguments: [tokenID])
            try Self.list(token: tokenID, of: subject, expires: expires, now: now, database)
        }
    }

    /// Ends every token and every login of a subject. Tokens that are issued later are good.
    /// - Parameter lifetime: seconds that a token lives.
    package func revoke(subject: String, lifetime: Int64, now: Timestamp) async throws {
        try await write { database in
            try database.execute(sql: "DELETE FROM family WHERE user = ?", arguments: [subject])
            try database.execute(sql: "DELETE FROM access WHERE subject = ?", arguments: [subject])
            try Self.cut("subject", subject, expires: now.adding(seconds: lifetime), now: now, database)
        }
    }

    /// Ends every token and every login.
    package func revokeEveryone(lifetime: Int64, now: Timestamp) async throws {
        try await write { database in
            try database.execute(sql: "DELETE FROM family; DELETE FROM access")
            try Self.cut("everyone", "", expires: now.adding(seconds: lifetime), now: now, database)
        }
    }

    package func revocationVersion() async throws -> Int64 {
        try await read { try Int64.fetchOne($0, sql: "SELECT version FROM revocation_version") ?? 0 }
    }

    /// What is revoked now.
    package func revocations(issuer: String, now: Timestamp) async throws -> RevocationDocument {
        try await read { database in
            var document = RevocationDocument(
                issuer: issuer, issued: Timestamp(seconds: now.seconds),
                version: try Int64.fetchOne(database, sql: "SELECT version FROM revocation_version") ?? 0)
            let rows = try Row.fetchCursor(
                database, sql: "SELECT kind, name, before, expires FROM revocation WHERE expires > ?",
                arguments: [now.milliseconds])
            while let row = try rows.next() {
                let expires = Timestamp(milliseconds: row["expires"])
                let cut = RevocationDocument.Cut(before: Timestamp(milliseconds: row["before"]), expires: expires)
                let name: String = row["name"]
                switch row["kind"] as String {
                case "token": document.tokens[name] = expires
                case "subject": document.subjects[name] = cut
                default: document.everyone = cut
                }
            }
            return document
        }
    }

    /// Whether the list has the token, its subject since it was issued, or everybody.
    func isRevoked(_ token: AccessToken) async throws -> Bool {
        try await read { database in
            try Bool.fetchOne(
                database,
                sql: """
                    SELECT EXISTS (SELECT 1 FROM revocation WHERE kind = 'token' AND name = ?1
                      OR kind = 'subject' AND name = ?2 AND before > ?3 OR kind = 'everyone' AND before > ?3)
                    """, arguments: [token.id, token.subject, token.issued.milliseconds]) ?? true
        }
    }

    // MARK: -

    /// Forgets and lists the opaque tokens of a login that ends.
    static func endAccess(ofFamily family: String, now: Timestamp, _ database: Database) throws {
        let rows = try Row.fetchAll(
            database, sql: "SELECT id, subject, expires FROM access WHERE family = ?", arguments: [family])
        try database.execute(sql: "DELETE FROM access WHERE family = ?", arguments: [family])
        for row in rows {
            let expires = Timestamp(milliseconds: row["expires"])
            if now < expires { try list(token: row["id"], of: row["subject"], expires: expires, now: now, database) }
        }
    }

    private static func list(
        token id: String, of subject: String, expires: Timestamp, now: Timestamp, _ database: Database
    ) throws {
        try add("token", id, subject: subject, before: now, expires: expires, database)
        let count =
            try Int.fetchOne(
                database, sql: "SELECT count(*) FROM revocation WHERE kind = 'token' AND subject = ?",
                arguments: [subject]) ?? 0
        guard count > maximumTokensOfSubject, !subject.isEmpty else { return }
        let last =
            try Int64.fetchOne(
                database, sql: "SELECT max(expires) FROM revocation WHERE kind = 'token' AND subject = ?",
                arguments: [subject]) ?? expires.milliseconds
        try cut(
            "subject", subject, expires: Timestamp(milliseconds: last).adding(seconds: -listedLonger), now: now,
            database)
    }

    /// One entry for all tokens of a subject, or of everybody, that were issued until now. Tokens name whole seconds, so
    /// those of the whole present second are among them.
    static func cut(
        _ kind: String, _ name: String, expires: Timestamp, now: Timestamp, _ database: Database
    ) throws {
        if kind == "subject" {
            try database.execute(
                sql: "DELETE FROM revocation WHERE kind = 'token' AND subject = ?", arguments: [name])
        } else {
            try database.execute(sql: "DELETE FROM revocation")
        }
        let before = Timestamp(seconds: now.seconds + 1)
        try add(kind, name, subject: name, before: before, expires: expires, database)
    }

    private static func add(
        _ kind: String, _ name: String, subject: String, before: Timestamp, expires: Timestamp, _ database: Database
    ) throws {
        try database.execute(
            sql: """
                INSERT INTO revocation VALUES (?1, ?2, ?3, ?4, ?5) ON CONFLICT (kind, name) DO UPDATE
                SET before = max(before, excluded.before), expires = max(expires, excluded.expires)
                """,
            arguments: [
                kind, name, subject, before.milliseconds, expires.adding(seconds: listedLonger).milliseconds,
            ])
        try database.execute(sql: "UPDATE revocation_version SET version = version + 1")
        let count = try Int.fetchOne(database, sql: "SELECT count(*) FROM revocation") ?? 0
        guard count > maximumEntries else { return }
        let last = try Int64.fetchOne(database, sql: "SELECT max(expires) FROM revocation") ?? expires.milliseconds
        try cut(
            "everyone", "", expires: Timestamp(milliseconds: last).adding(seconds: -listedLonger), now: before, database
        )
    }

    private static func token(_ digest: String, _ database: Database) throws -> AccessToken? {
        guard let row = try Row.fetchOne(database, sql: "SELECT * FROM access WHERE digest = ?", arguments: [digest]),
            let audience = Audience(rawValue: row["audience"])
        else { return nil }
        let scope: String = row["scope"]
        return AccessToken(
            id: row["id"], subject: row["subject"], client: row["client"], organisation: row["organisation"],
            scope: scope.split(separator: " ").map(String.init), audience: audience,
            issued: Timestamp(milliseconds: row["issued"]), expires: Timestamp(milliseconds: row["expires"]),
            confirmation: row["confirmation"], family: row["family"], credential: row["credential"])
    }
}
