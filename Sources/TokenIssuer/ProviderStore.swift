import GRDB
package import WireText

/// A login that is under way at a provider: begun here, to be ended in the same browser.
package struct ProviderAttempt: Sendable, Equatable {
    /// Digest of what comes back with the answer: `state`, or the id of the request.
    let key: String
    let provider: String
    /// Digest of the cookie of the browser.
    let browser: String
    /// Network address of who began it.
    let network: String
    /// The parameters of the authorization request, form-encoded.
    let request: String
    let nonce: String
    let verifier: String
    let expires: Timestamp
}

/// What a login at a provider leaves: by it the provider can end the login, and the login that of the provider.
package struct ProviderSession: Sendable, Equatable {
    package let provider: String
    package let subject: String
    /// `sid` or `SessionIndex`.
    package let session: String?
    /// What a request for logout there shows: the ID token, or the name identifier.
    package let hint: String?
}

// Logins at providers in the database of logins. Each function is one transaction.
extension GrantStore {
    /// Who begins logins and does not end them must not fill the disk, nor keep others out.
    static let maximumAttempts = 20_000
    static let maximumAttemptsOfNetwork = 200

    /// False when too many are under way.
    func insert(_ attempt: ProviderAttempt, now: Timestamp) async throws -> Bool {
        try await write { database in
            try database.execute(
                sql: "DELETE FROM provider_attempt WHERE expires <= ?", arguments: [now.milliseconds])
            let all = try Int.fetchOne(database, sql: "SELECT count(*) FROM provider_attempt") ?? 0
            let own =
                try Int.fetchOne(
                    database, sql: "SELECT count(*) FROM provider_attempt WHERE network = ?",
                    arguments: [attempt.network]) ?? 0
            guard all < Self.maximumAttempts, own < Self.maximumAttemptsOfNetwork else { return false }
            try database.execute(
                sql: "INSERT INTO provider_attempt VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
                arguments: [
                    attempt.key, attempt.provider, attempt.browser, attempt.network, attempt.request, attempt.nonce,
                    attempt.verifier, attempt.expires.milliseconds,
                ])
            return true
        }
    }

    /// The attempt, once: of this provider, in this browser, not expired. In another browser it stays.
    func take(key: String, provider: String, browser: String, now: Timestamp) async throws -> ProviderAttempt? {
        try await write { database in
            guard
                let row = try Row.fetchOne(
                    database,
                    sql: """
                        DELETE FROM provider_attempt WHERE key = ? AND provider = ? AND browser = ? AND expires > ?
                        RETURNING *
                        """, arguments: [key, provider, browser, now.milliseconds])
            else { return nil }
            return ProviderAttempt(
                key: key, provider: provider, browser: browser, network: row["network"], request: row["request"],
                nonce: row["nonce"], verifier: row["verifier"], expires: Timestamp(milliseconds: row["expires"]))
        }
    }

    // MARK: - Who is who there

    enum LinkOutcome: Sendable, Equatable {
        /// The user of this subject, as it was or as it is from now on.
        case linked(user: String, isNew: Bool)
        /// Another subject of this provider is that user.
        case taken
    }

    /// The user that a subject is linked with.
    package func linkedUser(provider: String, subject: String) async throws -> String? {
        try await read { database in try Self.linkedUser(provider, subject, database) }
    }

    func link(provider: String, subject: String, user: String, now: Timestamp) async throws -> LinkOutcome {
        try await write { database in try Self.link(provider, subject, user, now, database) }
    }

    /// Makes an account with its link; when the subject has one meanwhile, that one.
    func insert(
        _ account: UserAccount, provider: String, subject: String, now: Timestamp
    ) async throws -> LinkOutcome {
        try await write { database in
            if let user = try Self.linkedUser(provider, subject, database) { return .linked(user: user, isNew: false) }
            let isTaken = try Bool.fetchOne(
                database, sql: "SELECT EXISTS (SELECT 1 FROM provider_account WHERE email = ?)",
                arguments: [account.email])
            guard isTaken == false else { return .taken }
            try database.execute(
                sql: "INSERT INTO provider_account VALUES (?, ?, ?, ?, ?, ?)",
                arguments: [
                    account.id, account.email, account.name, account.organisation, provider, now.milliseconds,
                ])
            return try Self.link(provider, subject, account.id, now, database)
        }
    }

    /// Forgets who a user is at providers, and ends the logins that came from there; the next login links anew.
    /// Returns how many links there were.
    package func unlink(user: String, lifetime: Int64, now: Timestamp) async throws -> Int {
        try await write { database in
            let families = try String.fetchAll(
                database,
                sql: "SELECT f.id FROM family AS f JOIN provider_session AS s ON s.family = f.id WHERE f.user = ?",
                arguments: [user])
            for family in families { try Self.end(family: family, now: now, database) }
            try database.execute(sql: "DELETE FROM provider_link WHERE user = ?", arguments: [user])
            let count = database.changesCount
            if !families.isEmpty {
                try Self.cut("subject", user, expires: now.adding(seconds: lifetime), now: now, database)
            }
            return count
        }
    }

    /// Every account that was made by a first login.
    package func madeAccounts() throws -> [UserAccount] {
        try readNow { database in
            try Row.fetchAll(database, sql: "SELECT * FROM provider_account ORDER BY made").map { row in
                UserAccount(
                    id: row["id"], email: row["email"], name: row["name"], organisation: row["organisation"],
                    passwordHash: nil)
            }
        }
    }

    private static func linkedUser(_ provider: String, _ subject: String, _ database: Database) throws -> String? {
        try String.fetchOne(
            database, sql: "SELECT user FROM provider_link WHERE provider = ? AND subject = ?",
            arguments: [provider, subject])
    }

    private static func link(
        _ provider: String, _ subject: String, _ user: String, _ now: Timestamp, _ database: Database
    ) throws -> LinkOutcome {
        if let known = try linkedUser(provider, subject, database) { return .linked(user: known, isNew: false) }
        let isTaken = try Bool.fetchOne(
            database, sql: "SELECT EXISTS (SELECT 1 FROM provider_link WHERE provider = ? AND user = ?)",
            arguments: [provider, user])
        guard isTaken == false else { return .taken }
        try database.execute(
            sql: "INSERT INTO provider_link VALUES (?, ?, ?, ?)",
            arguments: [provider, subject, user, now.milliseconds])
        return .linked(user: user, isNew: true)
    }

    // MARK: - What counts once, and logout

    /// Notes an id until it has expired; false when it was there.
    func note(once id: String, of provider: String, until expires: Timestamp) async throws -> Bool {
        try await write { database in try Self.note(id, provider, expires, database) }
    }

    private static func note(
        _ id: String, _ provider: String, _ expires: Timestamp, _ database: Database
    ) throws -> Bool {
        try database.execute(
            sql: "INSERT INTO provider_seen VALUES (?, ?, ?) ON CONFLICT DO NOTHING",
            arguments: [provider, id, expires.milliseconds])
        return database.changesCount == 1
    }

    /// The login of a refresh token, if a provider vouched for it.
    func providerSession(refreshDigest: String) async throws -> ProviderSession? {
        try await read { database in
            try Row.fetchOne(
                database,
                sql: """
                    SELECT s.* FROM refresh AS t JOIN provider_session AS s ON s.family = t.family WHERE t.digest = ?
                    """, arguments: [refreshDigest]
            ).map { row in
                ProviderSession(
                    provider: row["provider"], subject: row["subject"], session: row["session"], hint: row["hint"])
            }
        }
    }

    /// Whom a provider signed out.
    struct SignedOut: Sendable {
        let subject: String?
        let session: String?
    }

    /// Ends the logins that came from there, with every access token of their users; nil when the notice came before.
    /// A session means the logins of that session, and those of the subject that know no session.
    /// - Parameters:
    ///   - lifetime: seconds that an access token lives.
    /// - Returns: the users.
    func end(
        _ whom: SignedOut, provider: String, noticeID: String, noticeExpires: Timestamp, lifetime: Int64, now: Timestamp
    ) async throws -> [String]? {
        try await write { database in
            guard try Self.note(noticeID, provider, noticeExpires, database) else { return nil }
            let rows = try Row.fetchAll(
                database,
                sql: """
                    SELECT f.id, f.user FROM family AS f JOIN provider_session AS s ON s.family = f.id
                    WHERE s.provider = ?1 AND (?3 IS NULL AND s.subject = ?2
                      OR ?3 IS NOT NULL AND s.session = ?3 AND (?2 IS NULL OR s.subject = ?2)
                      OR ?3 IS NOT NULL AND s.session IS NULL AND s.subject = ?2)
                    """, arguments: [provider, whom.subject, whom.session])
            for row in rows { try Self.end(family: row["id"], now: now, database) }
            let users = Set(rows.map { $0["user"] as String })
            for user in users {
                try Self.cut("subject", user, expires: now.adding(seconds: lifetime), now: now, database)
            }
            return users.sorted()
        }
    }
}
