import KMSProtocol
import WireText

/// When a space gets a new search key (security model, rules 27 and 29).
///
/// Rules, the first that holds counts:
/// 1. A space without one gets its first.
/// 2. The indexer says that keys are known to somebody who must not know them.
/// 3. Somebody was removed since the present epoch began; epochs end so at most once a day.
/// 4. The epoch has lasted as long as the policy lets it.
/// 5. The indexer has put as many messages into it as it puts into one; at most once an hour.
///
/// What the indexer says counts for the epoch that it names only, so that saying it again has no effect.
enum SearchEpoch {
    static let shortestByRemoval: Int64 = 86_400
    static let shortestByMessages: Int64 = 3_600
    /// Of one space. Compaction has to keep below it.
    static let most: Int64 = 10_000

    /// Why a new epoch begins now; nil: the present one goes on.
    static func beginning(
        after present: KMSSearchKey?, lastRemoval: Timestamp?,
        asked: (epoch: Int64, because: KMSSearchKey.Beginning)?, life: Int64, now: Timestamp
    ) -> KMSSearchKey.Beginning? {
        guard let present else { return .first }
        let said = asked?.epoch == present.epoch ? asked?.because : nil
        if said == .compromise { return .compromise }
        if let lastRemoval, lastRemoval >= present.createDate,
            now >= present.createDate.adding(seconds: shortestByRemoval)
        {
            return .removal
        }
        if now >= present.createDate.adding(seconds: life) { return .time }
        if said == .messages, now >= present.createDate.adding(seconds: shortestByMessages) { return .messages }
        return nil
    }

    /// Where the row of an epoch's key stands among the rows of its space: before all content keys, the newest first. The
    /// owner of the database sees how many epochs a space has.
    static func place(_ epoch: Int64) -> Timestamp { Timestamp(milliseconds: epoch - 1 << 40) }

    /// Content keys stand at this moment and later.
    static let contentKeys = Timestamp(milliseconds: 0)

    /// The id of the row is made from space and epoch, so that no two nodes make a key for the same.
    static func id(space: String, epoch: Int64) -> String {
        KeyManagement.derivedID("search key \(space) \(epoch)")
    }
}
