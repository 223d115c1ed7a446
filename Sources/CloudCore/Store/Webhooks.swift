import GRDB
import WireText

/// Webhooks and what waits to be delivered to them.
extension CloudStore {
    static let webhookTables = """
        CREATE TABLE webhook (
            id TEXT NOT NULL PRIMARY KEY, organisation TEXT NOT NULL, owner TEXT NOT NULL, url TEXT NOT NULL,
            secret TEXT NOT NULL, conversation TEXT, verbs TEXT NOT NULL, created INTEGER NOT NULL, until INTEGER NOT NULL,
            failures INTEGER NOT NULL DEFAULT 0, off TEXT, dropped INTEGER NOT NULL DEFAULT 0,
            notBefore INTEGER NOT NULL DEFAULT 0,
            FOREIGN KEY (organisation, owner) REFERENCES user (organisation, id)) STRICT, WITHOUT ROWID;
        CREATE INDEX webhookByOwner ON webhook (organisation, owner);
        CREATE TABLE webhookDelivery (
            number INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT,
            webhook TEXT NOT NULL REFERENCES webhook (id) ON DELETE CASCADE, body TEXT NOT NULL) STRICT;
        CREATE INDEX webhookDeliveryByWebhook ON webhookDelivery (webhook, number);
        """

    func register(_ webhook: Webhook) async throws {
        try await pool.write { db in
            let count = try Int.fetchOne(
                db, sql: "SELECT count(*) FROM webhook WHERE organisation = ? AND owner = ?",
                arguments: [webhook.owner.organisation, webhook.owner.user])
            guard (count ?? 0) < Webhook.maximumPerUser else {
                throw Refusal(.conflict, "a user has at most \(Webhook.maximumPerUser) webhooks: delete one")
            }
            _ = try Self.requireUser(webhook.owner.user, of: [webhook.owner.organisation], db)
            if let conversation = webhook.conversation {
                _ = try Self.requireParticipant(webhook.owner, in: conversation, db)
            }
            try db.execute(
                sql: """
                    INSERT INTO webhook (id, organisation, owner, url, secret, conversation, verbs, created, until)
                    VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)
                    """,
                arguments: [
                    webhook.id, webhook.owner.organisation, webhook.owner.user, webhook.url, webhook.secret,
                    webhook.conversation, Self.text(of: webhook.verbs), webhook.created.milliseconds,
                    webhook.until.milliseconds,
                ])
        }
    }

    func webhooks(of owner: UserKey) async throws -> [Webhook] {
        try await pool.read { db in
            try Row.fetchAll(
                db, sql: "SELECT * FROM webhook WHERE organisation = ? AND owner = ? ORDER BY created, id",
                arguments: [owner.organisation, owner.user]
            ).map(Self.webhook)
        }
    }

    func deleteWebhook(_ id: String, of owner: UserKey) async throws {
        try await pool.write { db in
            try db.execute(
                sql: "DELETE FROM webhook WHERE id = ? AND organisation = ? AND owner = ?",
                arguments: [id, owner.organisation, owner.user])
            guard db.changesCount == 1 else { throw Self.noSuchWebhook }
        }
    }

    /// On again, and for another while.
    func renewWebhook(_ id: String, of owner: UserKey, until: Timestamp) async throws -> Webhook {
        try await pool.write { db in
            try db.execute(
                sql: """
                    UPDATE webhook SET until = ?, failures = 0, off = NULL, notBefore = 0
                    WHERE id = ? AND organisation = ? AND owner = ?
                    """,
                arguments: [until.milliseconds, id, owner.organisation, owner.user])
            guard let row = try Row.fetchOne(db, sql: "SELECT * FROM webhook WHERE id = ?", arguments: [id]),
                db.changesCount == 1
            else { throw Self.noSuchWebhook }
            return Self.webhook(row)
        }
    }

    private static let noSuchWebhook = Refusal(.notFound, "there is no such webhook, or it is not yours")

    /// Puts an activity on the list of every webhook whose owner takes part: in the transaction that stores it.
    static func notify(
        _ draft: ActivityDraft, id: String, conversation: ConversationRecord, sequence: Int64, now: Timestamp,
        _ db: Database
    ) throws {
        let members = Set(conversation.members)
        let rows = try Row.fetchAll(
            db,
            sql: """
                SELECT webhook.* FROM webhook JOIN participant
                    ON participant.user = webhook.owner AND participant.organisation = webhook.organisation
                WHERE participant.conversation = ?1 AND webhook.off IS NULL AND webhook.until > ?2
                    AND (webhook.conversation IS NULL OR webhook.conversation = ?1)
                """,
            arguments: [draft.conversation, now.milliseconds])
        for webhook in rows.map(webhook) where members.contains(webhook.owner) && webhook.verbs.contains(draft.verb) {
            let body = Webhook.body(
                delivery: UUIDText.random(), webhook: webhook.id, activity: id, draft,
                organisation: conversation.organisation, sequence: sequence, now: now)
            try db.execute(
                sql: "INSERT INTO webhookDelivery (webhook, body) VALUES (?, ?)", arguments: [webhook.id, body])
            try db.execute(
                sql: """
                    DELETE FROM webhookDelivery WHERE webhook = ?1 AND number NOT IN
                        (SELECT number FROM webhookDelivery WHERE webhook = ?1 ORDER BY number DESC LIMIT ?2)
                    """,
                arguments: [webhook.id, Webhook.maximumWaiting])
            if db.changesCount > 0 {
                try db.execute(
                    sql: "UPDATE webhook SET dropped = dropped + ? WHERE id = ?",
                    arguments: [db.changesCount, webhook.id])
            }
        }
    }

    /// The oldest delivery of each webhook that is due, but of those that are busy.
    func dueDeliveries(now: Timestamp, except busy: Set<String>, limit: Int) async throws -> [WebhookDelivery] {
        try await pool.read { db in
            let rows = try Row.fetchCursor(
                db,
                sql: """
                    SELECT webhook.*, due.number AS number, webhookDelivery.body AS body
                    FROM (SELECT webhook, min(number) AS number FROM webhookDelivery GROUP BY webhook) AS due
                    JOIN webhook ON webhook.id = due.webhook JOIN webhookDelivery ON webhookDelivery.number = due.number
                    WHERE webhook.off IS NULL AND webhook.notBefore <= ? ORDER BY due.number
                    """,
                arguments: [now.milliseconds])
            var due: [WebhookDelivery] = []
            while due.count < limit, let row = try rows.next() {
                let webhook = Self.webhook(row)
                guard !busy.contains(webhook.id) else { continue }
                due.append(
                    WebhookDelivery(row: row["number"], webhook: webhook, body: row["body"], dropped: row["dropped"]))
            }
            return due
        }
    }

    func delivered(_ delivery: WebhookDelivery) async throws {
        try await pool.write { db in
            try db.execute(sql: "DELETE FROM webhookDelivery WHERE number = ?", arguments: [delivery.row])
            try db.execute(
                sql: "UPDATE webhook SET failures = 0, notBefore = 0, dropped = max(0, dropped - ?) WHERE id = ?",
                arguments: [delivery.dropped, delivery.webhook.id])
        }
    }

    /// Another attempt later; at last, or where `final` says why, it is switched off and forgets what waits.
    func deliveryFailed(_ delivery: WebhookDelivery, _ reason: String, final: Bool, now: Timestamp) async throws {
        try await pool.write { db in
            let failures = delivery.webhook.failures + 1
            let isOver = final || failures >= Webhook.maximumFailures
            try db.execute(
                sql: "UPDATE webhook SET failures = ?, notBefore = ?, off = ? WHERE id = ?",
                arguments: [
                    failures, now.adding(seconds: Webhook.pause(after: failures)).milliseconds, isOver ? reason : nil,
                    delivery.webhook.id,
                ])
            if isOver {
                try db.execute(
                    sql: "DELETE FROM webhookDelivery WHERE webhook = ?", arguments: [delivery.webhook.id])
            }
        }
    }

    func forgetWebhooks(endedBefore time: Timestamp) async throws {
        try await pool.write { db in
            try db.execute(sql: "DELETE FROM webhook WHERE until < ?", arguments: [time.milliseconds])
        }
    }

    private static func text(of verbs: Set<Verb>) -> String { verbs.map(\.rawValue).sorted().joined(separator: " ") }

    private static func webhook(_ row: Row) -> Webhook {
        let verbs: String = row["verbs"]
        return Webhook(
            id: row["id"], owner: UserKey(organisation: row["organisation"], user: row["owner"]), url: row["url"],
            secret: row["secret"], conversation: row["conversation"],
            verbs: Set(verbs.split(separator: " ").compactMap { Verb(rawValue: String($0)) }),
            created: Timestamp(milliseconds: row["created"]), until: Timestamp(milliseconds: row["until"]),
            failures: row["failures"], off: row["off"])
    }
}
