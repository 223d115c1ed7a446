import Diagnostics
import EDiscoveryCollection
import FoundationEssentials
import SecretMemory
import WireText

// What is to be destroyed, and what is. A removal is first wanted, then done or held; one that the core has to do as well waits for that.
extension Mirror {
    enum RemovalState: Int64 {
        case wanted, held
        /// Done here; the core still has its ciphertext.
        case atCore
    }

    /// What became of the removals of one space.
    struct Destruction: Equatable, Sendable {
        var removed = 0
        var held = 0
        /// Files whose octets nobody needs any more.
        var files: [String] = []
    }

    static func want(_ place: FeedPlace, message: String?, because cause: String, _ db: any Database) throws {
        try db.execute(
            sql: """
                INSERT INTO removal (space, sequence, cause, message)
                SELECT space, sequence, ?, ? FROM event WHERE space = ? AND sequence = ? AND kind IN (-1, 1)
                ON CONFLICT (space, sequence) DO UPDATE SET cause = excluded.cause, message = excluded.message
                    WHERE removal.state < 2
                """, arguments: [cause, message, place.space, Int64(clamping: place.sequence)])
    }

    func want(_ messages: [SpaceLog.Message], of space: String, because cause: String) throws {
        guard !messages.isEmpty else { return }
        try queue.write { db in
            for message in messages {
                try Self.want(
                    FeedPlace(space: space, sequence: message.sequence), message: message.id, because: cause, db)
            }
        }
    }

    /// Spaces with removals that are wanted, or held: what is held is looked at again when a hold was released.
    func spacesWithRemovals(alsoHeld: Bool) throws -> [String] {
        try queue.read { db in
            try String.fetchAll(
                db, sql: "SELECT DISTINCT space FROM removal WHERE state = 0 OR (state = 1 AND ? = 1) ORDER BY space",
                arguments: [alsoHeld])
        }
    }

    func removals(because cause: String) throws -> (wanted: Int, held: Int, atCore: Int) {
        try queue.read { db in
            func count(_ state: RemovalState) throws -> Int {
                try Int.fetchOne(
                    db, sql: "SELECT count(*) FROM removal WHERE cause = ? AND state = ?",
                    arguments: [cause, state.rawValue]) ?? 0
            }
            return (try count(.wanted), try count(.held), try count(.atCore))
        }
    }

    /// Does what is wanted in a space: holds are read in the same transaction that destroys, so none comes too late.
    func destroy(in space: String, under key: SymmetricKey) throws -> Destruction {
        try queue.write { db in
            let rows = try Row.fetchAll(
                db, sql: "SELECT sequence, cause, message FROM removal WHERE space = ? AND state IN (0, 1)",
                arguments: [space])
            let log = try Self.head(of: space, until: .max, key, db)
            let messages = Dictionary(
                try Self.messages(of: log, at: rows.map { $0["sequence"] }, key, db).map { ($0.sequence, $0) },
                uniquingKeysWith: { first, _ in first })
            let holds = try Self.documents("hold", key, db).map { try LegalHold($0.root) }
            var result = Destruction()
            for row in rows {
                let sequence: Int64 = row["sequence"], cause: String = row["cause"]
                guard let message = messages[UInt64(sequence)], message.removal == nil else {
                    try Self.settle(space, sequence, nil, db)
                    continue
                }
                guard !holds.contains(where: { $0.covers(message, in: log) }) else {
                    result.held += 1
                    try Self.settle(space, sequence, .held, db)
                    continue
                }
                try Self.rewrite(
                    FeedPlace(space: space, sequence: message.sequence),
                    SpaceLog.removed(message, of: space, because: cause), cause: cause, key, db)
                for other in try Row.fetchAll(
                    db, sql: "SELECT sequence, sealed FROM event WHERE space = ? AND about = ?",
                    arguments: [space, message.id])
                {
                    let event = try Self.opened(other, of: space, key)
                    let place = FeedPlace(space: space, sequence: UInt64(other["sequence"] as Int64))
                    try Self.rewrite(place, SpaceLog.stripped(event), cause: nil, key, db)
                }
                result.files += try Self.forgetFiles(of: space, sequence, db)
                result.removed += 1
                // The core has deleted what is expired already.
                try Self.settle(space, sequence, row["message"] as String? == nil ? nil : .atCore, db)
            }
            return result
        }
    }

    private static func settle(_ space: String, _ sequence: Int64, _ state: RemovalState?, _ db: any Database) throws {
        if let state {
            try db.execute(
                sql: "UPDATE removal SET state = ? WHERE space = ? AND sequence = ?",
                arguments: [state.rawValue, space, sequence])
        } else {
            try db.execute(
                sql: "DELETE FROM removal WHERE space = ? AND sequence = ?", arguments: [space, sequence])
        }
    }

    private static func rewrite(
        _ place: FeedPlace, _ octets: [UInt8], cause: String?, _ key: SymmetricKey, _ db: any Database
    ) throws {
        try db.execute(
            sql: "UPDATE event SET sealed = ?, kind = ?, cause = coalesce(?, cause) WHERE space = ? AND sequence = ?",
            arguments: [
                Data(try MirrorSeal.seal(octets, name(place), key)),
                (cause == nil ? EventKind.other : .removed).rawValue, cause, place.space,
                Int64(clamping: place.sequence),
            ])
    }

    /// What the core still has to delete.
    func atCore(limit: Int) throws -> [(space: String, sequence: Int64, message: String)] {
        try queue.read { db in
            try Row.fetchAll(
                db, sql: "SELECT space, sequence, message FROM removal WHERE state = 2 AND message IS NOT NULL LIMIT ?",
                arguments: [limit]
            ).map { ($0["space"], $0["sequence"], $0["message"]) }
        }
    }

    func doneAtCore(_ space: String, _ sequence: Int64) throws {
        try queue.write { try Self.settle(space, sequence, nil, $0) }
    }

    /// The places of what was destroyed for a cause, in their order.
    func destroyed(because cause: String) throws -> [FeedPlace] {
        try queue.read { db in
            try Row.fetchAll(
                db, sql: "SELECT space, sequence FROM event WHERE cause = ? ORDER BY space, sequence",
                arguments: [cause]
            ).map { FeedPlace(space: $0["space"], sequence: UInt64($0["sequence"] as Int64)) }
        }
    }

    /// Spaces, with those of their messages that were published before a time and are there.
    func spacesWithMessages(before time: Timestamp) throws -> [String] {
        try queue.read { db in
            try String.fetchAll(
                db, sql: "SELECT DISTINCT space FROM event WHERE kind = 1 AND published < ? ORDER BY space",
                arguments: [time.milliseconds])
        }
    }

    /// Wants those messages of a space removed that were published before a time.
    func wantOld(in space: String, before time: Timestamp, because cause: String, under key: SymmetricKey) throws {
        try eachPage(of: space, under: key) { log in
            try want(Selection(end: time).messages(of: log), of: space, because: cause)
        }
    }

    func log(of space: String, until position: Int64 = .max, under key: SymmetricKey) throws -> SpaceLog {
        try queue.read { db in
            try SpaceLog(id: space, items: Self.events(of: space, until: position, key, db))
        }
    }

    /// Fills in what was not noted of events that an earlier release kept. True when nothing is left to do.
    func noteFacts(limit: Int = 500, under key: SymmetricKey) throws -> Bool {
        try queue.write { db in
            let rows = try Row.fetchAll(
                db, sql: "SELECT space, sequence, sealed FROM event WHERE kind = -1 ORDER BY position LIMIT ?",
                arguments: [limit])
            for row in rows {
                let place = FeedPlace(space: row["space"], sequence: UInt64(row["sequence"] as Int64))
                let octets = try MirrorSeal.open([UInt8](row["sealed"] as Data), Self.name(place), key)
                var facts: FeedEntry.Facts?
                if case .event(_, let found)? = FeedEntry(octets) { facts = found }
                try db.execute(
                    sql: "UPDATE event SET kind = ?, published = ?, about = ? WHERE space = ? AND sequence = ?",
                    arguments: [
                        (facts?.isMessage == true ? EventKind.message : .other).rawValue,
                        facts?.published.milliseconds ?? 0, facts?.about, place.space,
                        Int64(clamping: place.sequence),
                    ])
                for (number, file) in (facts?.files ?? []).enumerated() {
                    guard let id = file.id else { continue }
                    try db.execute(
                        sql: """
                            INSERT INTO file (space, sequence, number, id, size) VALUES (?, ?, ?, ?, ?)
                            ON CONFLICT DO NOTHING
                            """,
                        arguments: [
                            place.space, Int64(clamping: place.sequence), number, id, Int64(clamping: file.size ?? 0),
                        ])
                }
            }
            return rows.count < limit
        }
    }

    // MARK: - What the KMS holds

    func spaces(changedAfter position: Int64, until last: Int64) throws -> [String] {
        try queue.read { db in
            try String.fetchAll(
                db, sql: "SELECT DISTINCT space FROM event WHERE position > ? AND position <= ? ORDER BY space",
                arguments: [position, last])
        }
    }

    func heldResources(of space: String) throws -> Set<String> {
        try queue.read {
            Set(try String.fetchAll($0, sql: "SELECT resource FROM held WHERE space = ?", arguments: [space]))
        }
    }

    func noteHeld(_ resource: String, of space: String, _ isHeld: Bool) throws {
        try queue.write { db in
            try db.execute(
                sql: isHeld
                    ? "INSERT INTO held (space, resource) VALUES (?, ?) ON CONFLICT DO NOTHING"
                    : "DELETE FROM held WHERE space = ? AND resource = ?", arguments: [space, resource])
        }
    }

    func setting(_ name: String) throws -> String? {
        try queue.read { try String.fetchOne($0, sql: "SELECT value FROM setting WHERE name = ?", arguments: [name]) }
    }

    func set(_ name: String, _ value: String) throws {
        try queue.write { db in
            try db.execute(
                sql: "INSERT INTO setting VALUES (?1, ?2) ON CONFLICT (name) DO UPDATE SET value = ?2",
                arguments: [name, value])
        }
    }
}
