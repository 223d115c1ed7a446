import Cryptography
import Diagnostics
import FoundationEssentials
import SecretMemory
import WireText

// Commands that were seen, and what was done.
extension Mirror {
    /// False when the command was seen before. Ids are kept until no command of that age is taken any more.
    func isNew(command id: String, until: Timestamp, now: Timestamp) throws -> Bool {
        try queue.write { db in
            try db.execute(sql: "DELETE FROM command WHERE until < ?", arguments: [now.milliseconds])
            try db.execute(
                sql: "INSERT INTO command VALUES (?, ?) ON CONFLICT DO NOTHING", arguments: [id, until.milliseconds])
            return db.changesCount == 1
        }
    }

    /// Adds an entry: sealed, and chained to all before by SHA-256(chain || sealed).
    /// Gives the chain behind it.
    @discardableResult
    func audit(_ text: [UInt8], under key: SymmetricKey) throws -> [UInt8] {
        try queue.write { db in
            let last = try Row.fetchOne(db, sql: "SELECT position, chain FROM audit ORDER BY position DESC LIMIT 1")
            let position: Int64 = last.map { $0["position"] as Int64 + 1 } ?? 1
            let chain = last.map { [UInt8]($0["chain"] as Data) } ?? [UInt8](repeating: 0, count: 32)
            let sealed = try MirrorSeal.seal(text, "audit \(position)", key)
            let next = SHA256.hash(chain + sealed)
            try db.execute(
                sql: "INSERT INTO audit VALUES (?, ?, ?)", arguments: [position, Data(sealed), Data(next)])
            return next
        }
    }

    /// The newest entries, oldest first; throws when the chain does not hold.
    func audited(newest count: Int, under key: SymmetricKey) throws -> [String] {
        try queue.read { db in
            var chain = [UInt8](repeating: 0, count: 32)
            var position: Int64 = 0
            var entries: [String] = []
            var page: ArraySlice<Row> = []
            while true {
                if page.isEmpty {
                    page = try Row.fetchAll(
                        db,
                        sql: "SELECT position, sealed, chain FROM audit WHERE position > ? ORDER BY position LIMIT 500",
                        arguments: [position])[...]
                }
                guard let row = page.popFirst() else { break }
                position += 1
                let sealed = [UInt8](row["sealed"] as Data)
                chain = SHA256.hash(chain + sealed)
                guard row["position"] as Int64 == position, chain == [UInt8](row["chain"] as Data) else {
                    throw DiagnosedError(
                        .mirror, fault: .store, "the chain of the audit is broken", found: "at \(position)",
                        hint: "somebody changed the worker's database: keep a copy, and compare with the journal")
                }
                entries.append(
                    String(decoding: try MirrorSeal.open(sealed, "audit \(position)", key), as: UTF8.self))
                if entries.count > count { entries.removeFirst() }
            }
            return entries
        }
    }
}
