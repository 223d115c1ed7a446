import GRDB
import WireText

/// Meetings of each user, presence, and what the connector says of its work; by organisation and user id.
///
/// A user need not have logged in yet: connectors serve people from the day on which they are entered, and ids count only
/// together with the organisation of the link that told them (docs/decisions/135-meetings-of-people-not-seen-yet.md).
extension CloudStore {
    static let maximumMeetings = 10_000
    /// Of all meetings of one user.
    static let maximumMeetingOctets: Int64 = 64 << 20
    /// Users of whom a connector has told, of one organisation.
    static let maximumCalendarUsers = 200_000

    static let calendarTables = """
        CREATE TABLE meeting (
            organisation TEXT NOT NULL, user TEXT NOT NULL, id TEXT NOT NULL, series TEXT NOT NULL,
            revision INTEGER NOT NULL, start INTEGER NOT NULL, ends INTEGER NOT NULL, space TEXT,
            octets INTEGER NOT NULL, json TEXT, updated INTEGER NOT NULL) STRICT;
        CREATE UNIQUE INDEX meetingByID ON meeting (organisation, user, id);
        CREATE INDEX meetingSizes ON meeting (organisation, user, octets);
        CREATE INDEX meetingByStart ON meeting (organisation, user, start) WHERE json IS NOT NULL;
        CREATE INDEX meetingGone ON meeting (updated) WHERE json IS NULL;
        CREATE INDEX meetingBySeries ON meeting (organisation, user, series);
        CREATE TABLE calendarUser (
            organisation TEXT NOT NULL, user TEXT NOT NULL, state TEXT, code TEXT, since INTEGER, calendarKeyURL TEXT,
            absence TEXT, PRIMARY KEY (organisation, user)) STRICT, WITHOUT ROWID;
        CREATE TABLE meetingSpace (
            organisation TEXT NOT NULL, user TEXT NOT NULL, series TEXT NOT NULL, space TEXT NOT NULL,
            used INTEGER NOT NULL, PRIMARY KEY (organisation, user, series)) STRICT, WITHOUT ROWID;
        CREATE TABLE meetingRoom (
            organisation TEXT NOT NULL, user TEXT NOT NULL, series TEXT NOT NULL, token TEXT NOT NULL,
            number INTEGER NOT NULL UNIQUE, pin TEXT NOT NULL, used INTEGER NOT NULL,
            PRIMARY KEY (organisation, user, series)) STRICT, WITHOUT ROWID;
        """

    /// Applies all of it in order, or nothing. What is returned has to be pushed.
    func take(
        _ news: [CalendarNews], of organisation: String, now: Timestamp
    ) async throws -> [CalendarService.Notice] {
        try await pool.write { db in
            var notices: [CalendarService.Notice] = []
            var written: Set<UserKey> = []
            var heard: Set<UserKey> = []
            for one in news {
                switch one {
                case .meeting(let meeting):
                    let user = UserKey(organisation: organisation, user: meeting.user)
                    try Self.know(user, db)
                    written.insert(user)
                    notices += try Self.keep(meeting, of: user, now, db)
                case .deleted(let id, let meeting, let revision, let reason):
                    let user = UserKey(organisation: organisation, user: id)
                    notices += try Self.delete(meeting, of: user, revision, reason, now, db)
                case .absence(let id, let json):
                    notices += try Self.setAbsence(json, of: UserKey(organisation: organisation, user: id), db)
                case .status(let id, let status):
                    let user = UserKey(organisation: organisation, user: id)
                    notices += try Self.setStatus(status, of: user, db)
                    heard.insert(user)
                case .reminder(let id, let meeting, let start):
                    let user = UserKey(organisation: organisation, user: id)
                    // What was held up is of no use any more, and of what is not there nobody is reminded.
                    guard start > now, try Self.meeting(meeting, of: user, db) != nil else { continue }
                    notices.append(.reminder(user, meeting: meeting, start: start))
                }
            }
            for user in heard.union(written) { try Self.hear(user, now, db) }
            for user in written { try Self.requireRoom(user, db) }
            return notices
        }
    }

    /// When the connector told of each user last.
    static let calendarHeard = """
        ALTER TABLE calendarUser ADD COLUMN heard INTEGER;
        CREATE INDEX calendarUserHeard ON calendarUser (heard);
        """

    private static func hear(_ user: UserKey, _ now: Timestamp, _ db: Database) throws {
        try db.execute(
            sql: "UPDATE calendarUser SET heard = ? WHERE organisation = ? AND user = ?",
            arguments: [now.milliseconds, user.organisation, user.user])
    }

    /// Forgets the calendars of users of whom no connector has told for long: of each it tells once a day, so the user was taken
    /// off its list while none ran, or none runs any more.
    func forgetSilentCalendars(heardBefore: Timestamp, now: Timestamp) async throws -> [CalendarService.Notice] {
        try await pool.write { db in
            // From before there was this column: their time begins now.
            try db.execute(sql: "UPDATE calendarUser SET heard = ? WHERE heard IS NULL", arguments: [now.milliseconds])
            let silent = try Row.fetchAll(
                db,
                sql: """
                    SELECT organisation, user FROM calendarUser WHERE heard < ? AND state IS NOT ? LIMIT 1000
                    """, arguments: [heardBefore.milliseconds, CalendarNews.off])
            var notices: [CalendarService.Notice] = []
            for row in silent {
                let user = UserKey(organisation: row["organisation"], user: row["user"])
                let off = CalendarNews.ConnectorStatus(
                    state: CalendarNews.off, code: "connector-silent", since: now, calendarKeyURL: nil)
                notices += try Self.setStatus(off, of: user, db)
            }
            return notices
        }
    }

    /// A row for the user; the number of users of whom a connector may tell is bounded.
    private static func know(_ user: UserKey, _ db: Database) throws {
        try db.execute(
            sql: "INSERT OR IGNORE INTO calendarUser (organisation, user) VALUES (?, ?)",
            arguments: [user.organisation, user.user])
        guard db.changesCount > 0 else { return }
        let count = try Int.fetchOne(
            db, sql: "SELECT count(*) FROM calendarUser WHERE organisation = ?", arguments: [user.organisation])
        guard count ?? 0 <= maximumCalendarUsers else {
            throw Refusal(
                .tooMany, "this organisation has calendars of \(maximumCalendarUsers) users: no more are taken")
        }
    }

    private static func keep(
        _ meeting: MeetingRecord, of user: UserKey, _ now: Timestamp, _ db: Database
    ) throws -> [CalendarService.Notice] {
        let row = try Row.fetchOne(
            db, sql: "SELECT revision, json, space FROM meeting WHERE organisation = ? AND user = ? AND id = ?",
            arguments: [user.organisation, user.user, meeting.id])
        if let row {
            let (revision, json, space): (Int64, String?, String?) = (row["revision"], row["json"], row["space"])
            // What came before a deletion does not bring the meeting back.
            guard meeting.revision > revision || (json != nil && meeting.revision == revision) else { return [] }
            if json == meeting.json, space == meeting.space { return [] }
        }
        try db.execute(
            sql: """
                INSERT INTO meeting
                    (organisation, user, id, series, revision, start, ends, space, octets, json, updated)
                VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11)
                ON CONFLICT (organisation, user, id) DO UPDATE SET
                    series = ?4, revision = ?5, start = ?6, ends = ?7, space = ?8, octets = ?9, json = ?10, updated = ?11
                """,
            arguments: [
                user.organisation, user.user, meeting.id, meeting.series, meeting.revision, meeting.start.milliseconds,
                meeting.end.milliseconds, meeting.space, meeting.json.utf8.count, meeting.json, now.milliseconds,
            ])
        for table in ["meetingSpace", "meetingRoom"] {
            try db.execute(
                sql: "UPDATE \(table) SET used = ? WHERE organisation = ? AND user = ? AND series = ?",
                arguments: [now.milliseconds, user.organisation, user.user, meeting.series])
        }
        guard let kept = try Self.meeting(meeting.id, of: user, db) else { return [] }
        let isNew = row == nil || (row?["json"] as String?) == nil
        return [isNew ? .created(user, meeting: kept.object) : .updated(user, meeting: kept.object)]
    }

    /// What is left of a deleted meeting is its revision, for a day: so that what was under way does not bring it back.
    private static func delete(
        _ id: String, of user: UserKey, _ revision: Int64, _ reason: String, _ now: Timestamp, _ db: Database
    ) throws -> [CalendarService.Notice] {
        let row = try Row.fetchOne(
            db,
            sql:
                "SELECT revision, json IS NOT NULL AS isThere FROM meeting WHERE organisation = ? AND user = ? AND id = ?",
            arguments: [user.organisation, user.user, id])
        guard let row else { return [] }
        let (known, isThere): (Int64, Bool) = (row["revision"], row["isThere"])
        guard revision >= known else { return [] }
        try db.execute(
            sql: """
                UPDATE meeting SET revision = ?, json = NULL, octets = 0, updated = ?
                WHERE organisation = ? AND user = ? AND id = ?
                """,
            arguments: [revision, now.milliseconds, user.organisation, user.user, id])
        return isThere ? [.deleted(user, meeting: id, reason: reason)] : []
    }

    private static func setAbsence(
        _ json: String?, of user: UserKey, _ db: Database
    ) throws -> [CalendarService.Notice] {
        try know(user, db)
        try db.execute(
            sql: "UPDATE calendarUser SET absence = ?1 WHERE organisation = ?2 AND user = ?3 AND absence IS NOT ?1",
            arguments: [json, user.organisation, user.user])
        return db.changesCount > 0 ? [.absence(user, json: json)] : []
    }

    private static func setStatus(
        _ status: CalendarNews.ConnectorStatus, of user: UserKey, _ db: Database
    ) throws -> [CalendarService.Notice] {
        try know(user, db)
        // A status that names no key leaves the one that is known: the key does not go with an error.
        try db.execute(
            sql: """
                UPDATE calendarUser SET state = ?1, code = ?2, since = ?3, calendarKeyURL = coalesce(?4, calendarKeyURL)
                WHERE organisation = ?5 AND user = ?6 AND (state IS NOT ?1 OR code IS NOT ?2 OR since IS NOT ?3
                    OR calendarKeyURL IS NOT coalesce(?4, calendarKeyURL))
                """,
            arguments: [
                status.state, status.code, status.since.milliseconds, status.calendarKeyURL, user.organisation,
                user.user,
            ])
        let changed = db.changesCount > 0
        if status.state == CalendarNews.off { try forgetCalendar(of: user, db) }
        guard changed, let now = try Self.status(of: user, db) else { return [] }
        return [.status(user, now)]
    }

    /// A user who left, or whom the connector serves no more. Only that remains.
    private static func forgetCalendar(of user: UserKey, _ db: Database) throws {
        for table in ["meeting", "meetingSpace", "meetingRoom"] {
            try db.execute(
                sql: "DELETE FROM \(table) WHERE organisation = ? AND user = ?",
                arguments: [user.organisation, user.user])
        }
        try db.execute(
            sql: """
                UPDATE calendarUser SET absence = NULL, calendarKeyURL = NULL WHERE organisation = ? AND user = ?
                """,
            arguments: [user.organisation, user.user])
    }

    private static func requireRoom(_ user: UserKey, _ db: Database) throws {
        let row = try Row.fetchOne(
            db,
            sql: """
                SELECT count(*) FILTER (WHERE octets > 0) AS meetings, count(*) AS entries, sum(octets) AS octets
                FROM meeting WHERE organisation = ? AND user = ?
                """,
            arguments: [user.organisation, user.user])
        let (meetings, entries, octets): (Int, Int, Int64) =
            row.map { ($0["meetings"], $0["entries"], $0["octets"] ?? 0) } ?? (0, 0, 0)
        guard meetings <= maximumMeetings, entries <= 2 * maximumMeetings, octets <= maximumMeetingOctets else {
            throw Refusal(
                .tooMany,
                "user \(user.user) would have more than \(maximumMeetings) meetings, or more than "
                    + "\(maximumMeetingOctets >> 20) MiB of them: make the window smaller")
        }
    }

    // MARK: - Reading

    /// What the connector says of its work for the user; nil before it has told anything.
    func calendarStatus(of user: UserKey) async throws -> CalendarNews.ConnectorStatus? {
        try await pool.read { db in try Self.status(of: user, db) }
    }

    private static func status(of user: UserKey, _ db: Database) throws -> CalendarNews.ConnectorStatus? {
        let row = try Row.fetchOne(
            db, sql: "SELECT * FROM calendarUser WHERE organisation = ? AND user = ? AND state IS NOT NULL",
            arguments: [user.organisation, user.user])
        return row.map { row in
            CalendarNews.ConnectorStatus(
                state: row["state"], code: row["code"], since: Timestamp(milliseconds: row["since"]),
                calendarKeyURL: row["calendarKeyURL"])
        }
    }

    /// The absence of a user, as JSON; nil when there is none.
    func absence(of user: UserKey) async throws -> String? {
        try await pool.read { db in
            try String.fetchOne(
                db,
                sql: "SELECT absence FROM calendarUser WHERE organisation = ? AND user = ? AND absence IS NOT NULL",
                arguments: [user.organisation, user.user])
        }
    }

    /// Whether the id is one of the organisation: of somebody who has logged in, or of whom a connector has told.
    func isOfOrganisation(_ user: UserKey) async throws -> Bool {
        try await pool.read { db in
            try Bool.fetchOne(
                db,
                sql: """
                    SELECT EXISTS (SELECT 1 FROM user WHERE organisation = ?1 AND id = ?2)
                        OR EXISTS (SELECT 1 FROM calendarUser WHERE organisation = ?1 AND user = ?2)
                    """, arguments: [user.organisation, user.user]) ?? false
        }
    }

    /// Meetings that go on between two times, by their start; `more` when some were left out.
    func meetings(
        of user: UserKey, from: Timestamp, to: Timestamp, limit: Int, octets: Int
    ) async throws -> (items: [MeetingRecord], more: Bool) {
        try await pool.read { db in
            // What lasts has ended at its start as well; a meeting of no length is at its start.
            let rows = try Row.fetchCursor(
                db,
                sql: Self.selected + """
                     WHERE meeting.organisation = ?1 AND meeting.user = ?2 AND json IS NOT NULL AND start < ?4
                        AND (ends > ?3 OR start >= ?3) ORDER BY start, id LIMIT ?5
                    """,
                arguments: [
                    user.organisation, user.user, from.milliseconds, to.milliseconds, limit + 1,
                ])
            var items: [MeetingRecord] = []
            var left = octets
            while let row = try rows.next() {
                let item = Self.record(row)
                left -= item.json.utf8.count
                guard items.count < limit, left >= 0 || items.isEmpty else { return (items, true) }
                items.append(item)
            }
            return (items, false)
        }
    }

    /// One of the user's own.
    func meeting(_ id: String, of user: UserKey) async throws -> MeetingRecord {
        try await pool.read { db in try Self.requireMeeting(id, of: user, db) }
    }

    static func requireMeeting(_ id: String, of user: UserKey, _ db: Database) throws -> MeetingRecord {
        guard let meeting = try meeting(id, of: user, db) else {
            throw Refusal(.notFound, "there is no such meeting, or it is not yours")
        }
        return meeting
    }

    private static let selected = """
        SELECT meeting.*, coalesce(meetingSpace.space, meeting.space) AS place FROM meeting
        LEFT JOIN meetingSpace USING (organisation, user, series)
        """

    private static func meeting(_ id: String, of user: UserKey, _ db: Database) throws -> MeetingRecord? {
        try Row.fetchOne(
            db,
            sql: selected + " WHERE meeting.organisation = ? AND meeting.user = ? AND id = ? AND json IS NOT NULL",
            arguments: [user.organisation, user.user, id]
        ).map(record)
    }

    private static func record(_ row: Row) -> MeetingRecord {
        MeetingRecord(
            user: row["user"], id: row["id"], series: row["series"], revision: row["revision"],
            start: Timestamp(milliseconds: row["start"]), end: Timestamp(milliseconds: row["ends"]),
            space: row["place"], json: row["json"])
    }
}
