import GRDB
import WireText

/// Where a meeting is met: the conversation that its user chose for it, and rooms of the core. Both are a series', so they stay
/// when a meeting is moved, and serve every occurrence.
struct MeetingRoom: Equatable, Sendable {
    /// In the URL; not to be guessed.
    var token: String
    /// In the SIP address, and to be dialled.
    var number: Int64
    var pin: String
}

extension CloudStore {
    /// Rooms and conversations of one user.
    static let maximumRooms = 20_000
    /// The place of a personal room beside those of series, whose names are never empty.
    private static let personal = ""

    /// The room of the meeting's series, made at the first call. `isNew` says whether it was now.
    func room(
        forMeeting id: String, of user: UserKey, proposing room: MeetingRoom, now: Timestamp
    ) async throws -> (MeetingRoom, isNew: Bool) {
        try await pool.write { db in
            let meeting = try Self.requireMeeting(id, of: user, db)
            return try Self.room(meeting.series, of: user, room, now, db)
        }
    }

    func personalRoom(
        of user: UserKey, proposing room: MeetingRoom, now: Timestamp
    ) async throws -> MeetingRoom {
        try await pool.write { db in
            try Self.requireKnown(user, db)
            return try Self.room(Self.personal, of: user, room, now, db).0
        }
    }

    private static func room(
        _ series: String, of user: UserKey, _ proposal: MeetingRoom, _ now: Timestamp, _ db: Database
    ) throws -> (MeetingRoom, isNew: Bool) {
        let known = try Row.fetchOne(
            db, sql: "SELECT * FROM meetingRoom WHERE organisation = ? AND user = ? AND series = ?",
            arguments: [user.organisation, user.user, series])
        if let known {
            return (MeetingRoom(token: known["token"], number: known["number"], pin: known["pin"]), false)
        }
        try requireFew("meetingRoom", of: user, db)
        let taken = try Bool.fetchOne(
            db, sql: "SELECT 1 FROM meetingRoom WHERE number = ?", arguments: [proposal.number])
        guard taken == nil else {
            throw Refusal(.unavailable, "the number of the new room is taken: ask again", retryAfterSeconds: 1)
        }
        try db.execute(
            sql: """
                INSERT INTO meetingRoom (organisation, user, series, token, number, pin, used) VALUES (?, ?, ?, ?, ?, ?, ?)
                """,
            arguments: [
                user.organisation, user.user, series, proposal.token, proposal.number, proposal.pin, now.milliseconds,
            ])
        return (proposal, true)
    }

    /// Says which conversation of the user's own belongs to the series of the meeting; nil when it did already.
    func setSpace(
        _ space: String, ofMeeting id: String, by user: UserKey, now: Timestamp
    ) async throws -> MeetingRecord? {
        try await pool.write { db in
            let before = try Self.requireMeeting(id, of: user, db)
            _ = try Self.requireParticipant(user, in: space, db)
            let known = try String.fetchOne(
                db, sql: "SELECT space FROM meetingSpace WHERE organisation = ? AND user = ? AND series = ?",
                arguments: [user.organisation, user.user, before.series])
            guard known != space else { return nil }
            if known == nil { try Self.requireFew("meetingSpace", of: user, db) }
            try db.execute(
                sql: """
                    INSERT INTO meetingSpace (organisation, user, series, space, used) VALUES (?, ?, ?, ?, ?)
                    ON CONFLICT (organisation, user, series) DO UPDATE SET space = excluded.space, used = excluded.used
                    """,
                arguments: [user.organisation, user.user, before.series, space, now.milliseconds])
            return try Self.requireMeeting(id, of: user, db)
        }
    }

    private static func requireFew(_ table: String, of user: UserKey, _ db: Database) throws {
        let count = try Int.fetchOne(
            db, sql: "SELECT count(*) FROM \(table) WHERE organisation = ? AND user = ?",
            arguments: [user.organisation, user.user])
        guard count ?? 0 < maximumRooms else {
            throw Refusal(.tooMany, "this user has \(maximumRooms) of them: they go a year after the last meeting")
        }
    }

    /// Forgets the revisions of meetings that were deleted before a time, and rooms and conversations of series of which nothing
    /// was heard since another.
    func forgetMeetings(deletedBefore: Timestamp, unusedSince: Timestamp) async throws {
        try await pool.write { db in
            try db.execute(
                sql: "DELETE FROM meeting WHERE json IS NULL AND updated < ?", arguments: [deletedBefore.milliseconds])
            for table in ["meetingSpace", "meetingRoom"] {
                try db.execute(
                    sql: """
                        DELETE FROM \(table) WHERE used < ? AND series <> '' AND NOT EXISTS (
                            SELECT 1 FROM meeting WHERE meeting.organisation = \(table).organisation
                                AND meeting.user = \(table).user AND meeting.series = \(table).series)
                        """, arguments: [unusedSince.milliseconds])
            }
        }
    }
}
