import GRDB
import WireText

/// Users, devices and details documents.
extension CloudStore {
    static let maximumDevicesPerUser = 50

    /// Registers a device and makes its user known (or known anew: address and name are those of the latest token).
    func register(_ device: DeviceRecord, email: String, name: String) async throws {
        try await pool.write { db in
            let owner = device.owner
            let address = email.lowercased()
            // An address that moved to another account belongs to whoever holds it now.
            try db.execute(
                sql: "UPDATE user SET email = NULL WHERE organisation = ? AND email = ? AND id <> ?",
                arguments: [owner.organisation, address, owner.user])
            try db.execute(
                sql: """
                    INSERT INTO user (organisation, id, email, name, firstSeen) VALUES (?, ?, ?, ?, ?)
                    ON CONFLICT (organisation, id) DO UPDATE SET email = excluded.email, name = excluded.name
                    """,
                arguments: [owner.organisation, owner.user, address, name, device.created.milliseconds])
            let count = try Int.fetchOne(
                db, sql: "SELECT count(*) FROM device WHERE organisation = ? AND user = ?",
                arguments: [owner.organisation, owner.user])
            guard count ?? 0 < Self.maximumDevicesPerUser else {
                throw Refusal(.tooMany, "this user has \(Self.maximumDevicesPerUser) devices: delete one first")
            }
            try db.execute(
                sql: "INSERT INTO device (id, organisation, user, name, type, created) VALUES (?, ?, ?, ?, ?, ?)",
                arguments: [
                    device.id, owner.organisation, owner.user, device.name, device.type, device.created.milliseconds,
                ])
        }
    }

    func device(_ id: String) async throws -> DeviceRecord? {
        try await pool.read { db in
            try Row.fetchOne(db, sql: "SELECT * FROM device WHERE id = ?", arguments: [id]).map(DeviceRecord.init)
        }
    }

    func devices(of owner: UserKey) async throws -> [DeviceRecord] {
        try await pool.read { db in
            try Row.fetchAll(
                db, sql: "SELECT * FROM device WHERE organisation = ? AND user = ? ORDER BY created, id",
                arguments: [owner.organisation, owner.user]
            ).map(DeviceRecord.init)
        }
    }

    func deleteDevice(_ id: String) async throws {
        try await pool.write { try $0.execute(sql: "DELETE FROM device WHERE id = ?", arguments: [id]) }
    }

    func user(organisation: String, email: String) async throws -> UserRecord? {
        try await pool.read { db in
            try Row.fetchOne(
                db, sql: "SELECT id, email, name FROM user WHERE organisation = ? AND email = ?",
                arguments: [organisation, email.lowercased()]
            ).map(UserRecord.init)
        }
    }

    /// The user of that id as `requireUser` finds it; nil when there is none, or no single one.
    func user(_ id: String, of organisations: [String]) async throws -> UserRecord? {
        do {
            return try await user(try await pool.read { db in try Self.requireUser(id, of: organisations, db) })
        } catch is Refusal {
            return nil
        }
    }

    func user(_ key: UserKey) async throws -> UserRecord? {
        try await pool.read { db in
            try Row.fetchOne(
                db, sql: "SELECT id, coalesce(email, '') AS email, name FROM user WHERE organisation = ? AND id = ?",
                arguments: [key.organisation, key.user]
            ).map(UserRecord.init)
        }
    }

    /// The details document of a destination, as its service gave it last.
    func details(of destination: String) async throws -> String? {
        try await pool.read { db in
            try String.fetchOne(
                db, sql: "SELECT document FROM details WHERE destination = ?", arguments: [destination])
        }
    }

    func epoch(of destination: String) async throws -> Int64? {
        try await pool.read { db in
            try Int64.fetchOne(db, sql: "SELECT epoch FROM epoch WHERE destination = ?", arguments: [destination])
        }
    }

    /// A lower one than is stored changes nothing.
    func setEpoch(_ epoch: Int64, of destination: String, now: Timestamp) async throws {
        try await pool.write { db in
            try db.execute(
                sql: """
                    INSERT INTO epoch (destination, epoch, updated) VALUES (?, ?, ?)
                    ON CONFLICT (destination) DO UPDATE SET epoch = excluded.epoch, updated = excluded.updated
                    WHERE excluded.epoch > epoch.epoch
                    """,
                arguments: [destination, epoch, now.milliseconds])
        }
    }

    /// The signed list of nodes of a destination that counted last.
    func nodeList(of destination: String) async throws -> String? {
        try await pool.read { db in
            try String.fetchOne(
                db, sql: "SELECT document FROM nodeList WHERE destination = ?", arguments: [destination])
        }
    }

    func setNodeList(_ document: String, of destination: String, now: Timestamp) async throws {
        try await pool.write { db in
            try db.execute(
                sql: """
                    INSERT INTO nodeList (destination, document, updated) VALUES (?, ?, ?)
                    ON CONFLICT (destination) DO UPDATE SET document = excluded.document, updated = excluded.updated
                    """,
                arguments: [destination, document, now.milliseconds])
        }
    }

    func setDetails(_ document: String, of destination: String, now: Timestamp) async throws {
        try await pool.write { db in
            try db.execute(
                sql: """
                    INSERT INTO details (destination, document, updated) VALUES (?, ?, ?)
                    ON CONFLICT (destination) DO UPDATE SET document = excluded.document, updated = excluded.updated
                    """,
                arguments: [destination, document, now.milliseconds])
        }
    }
}

extension DeviceRecord {
    fileprivate init(row: Row) {
        self.init(
            id: row["id"], owner: UserKey(organisation: row["organisation"], user: row["user"]), name: row["name"],
            type: row["type"], created: Timestamp(milliseconds: row["created"]))
    }
}

extension UserRecord {
    fileprivate init(row: Row) { self.init(id: row["id"], email: row["email"], name: row["name"]) }
}
