import GRDB
package import WireText

/// An order to one client of a user: erase what you keep. It stands beside the login that it ended.
package struct WipeOrder: Sendable, Equatable {
    /// Of the login, a random name.
    package let login: String
    /// The id under which the client is registered here.
    package let client: String
    package let signedIn: Timestamp
    package let ordered: Timestamp
    package let orderedBy: String
    /// When the client asked for new tokens and heard of it first.
    package let told: Timestamp?
    /// When it said that it has; proved by a refresh token of its login.
    package let done: Timestamp?
}

extension GrantStore {
    /// How long an order stands for a client that does not come, in seconds: 400 days.
    package static let wipeSeconds: Int64 = 400 * 86_400

    /// Orders it to the client of every login that a user has. Those logins have to be ended next: until then their clients
    /// go on and hear of nothing.
    /// - Returns: how many.
    @discardableResult
    package func orderWipe(of subject: String, by: String, now: Timestamp) async throws -> Int {
        try await write { database in
            // A login whose code was not fetched yet has no client that keeps anything.
            try database.execute(
                sql: """
                    INSERT OR IGNORE INTO wipe (login, subject, client, signed_in, ordered, ordered_by)
                    SELECT id, user, client, signed_in, ?, ? FROM family
                    WHERE user = ? AND id IN (SELECT family FROM refresh)
                    """, arguments: [now.milliseconds, by, subject])
            let count = database.changesCount
            try database.execute(
                sql: """
                    INSERT OR IGNORE INTO wipe_token (digest, login)
                    SELECT r.digest, r.family FROM refresh AS r JOIN family AS f ON f.id = r.family WHERE f.user = ?
                      AND r.family IN (SELECT login FROM wipe)
                    """, arguments: [subject])
            return count
        }
    }

    /// Whether a refresh token that is refused belongs to a login whose client is to erase what it keeps; notes that it was
    /// told.
    func isWiped(digest: String, client: String, now: Timestamp) async throws -> Bool {
        try await write { database in
            guard let order = try Self.order(digest, client, database) else { return false }
            if order.told == nil {
                try database.execute(
                    sql: "UPDATE wipe SET told = ? WHERE login = ?", arguments: [now.milliseconds, order.login])
            }
            return true
        }
    }

    enum WipeOutcome: Sendable, Equatable {
        case unknown
        /// The user, and whether it is said for the first time.
        case done(subject: String, isNew: Bool)
    }

    /// A client says that it has erased what it kept; any refresh token of its login proves that it is the one.
    func noteWipe(digest: String, client: String, now: Timestamp) async throws -> WipeOutcome {
        try await write { database in
            guard let order = try Self.order(digest, client, database),
                let subject = try String.fetchOne(
                    database, sql: "SELECT subject FROM wipe WHERE login = ?", arguments: [order.login])
            else { return .unknown }
            if order.done == nil {
                try database.execute(
                    sql: "UPDATE wipe SET done = ?, told = coalesce(told, ?) WHERE login = ?",
                    arguments: [now.milliseconds, now.milliseconds, order.login])
            }
            return .done(subject: subject, isNew: order.done == nil)
        }
    }

    /// What was ordered to clients of a user, the newest first.
    package func wipes(of subject: String) async throws -> [WipeOrder] {
        try await read { database in
            try Row.fetchAll(
                database,
                sql: "SELECT * FROM wipe WHERE subject = ? ORDER BY ordered DESC, signed_in DESC, login LIMIT 1000",
                arguments: [subject]
            ).map(Self.order)
        }
    }

    private static func order(_ digest: String, _ client: String, _ database: Database) throws -> WipeOrder? {
        try Row.fetchOne(
            database,
            sql:
                "SELECT w.* FROM wipe_token AS t JOIN wipe AS w ON w.login = t.login WHERE t.digest = ? AND w.client = ?",
            arguments: [digest, client]
        ).map(order)
    }

    private static func order(_ row: Row) -> WipeOrder {
        func moment(_ column: String) -> Timestamp? {
            let value: Int64? = row[column]
            return value.map { Timestamp(milliseconds: $0) }
        }
        return WipeOrder(
            login: row["login"], client: row["client"], signedIn: Timestamp(milliseconds: row["signed_in"]),
            ordered: Timestamp(milliseconds: row["ordered"]), orderedBy: row["ordered_by"], told: moment("told"),
            done: moment("done"))
    }
}
