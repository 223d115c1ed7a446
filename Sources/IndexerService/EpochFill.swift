import KMSClient
import SearchIndexing
import SearchProtocol

/// How many messages stand in the present epoch of each room, so that a full one ends.
///
/// Counted on this indexer's disk after each batch, and, when an epoch is first seen after a start or a takeover, asked of the
/// search service, which has the entries of other indexers too. The greater number counts: a service that says less than there
/// is lengthens an epoch by no more than what this indexer puts into it itself.
actor EpochFill {
    struct Message: Sendable {
        let room: String
        let resource: String
        let epoch: IndexEpoch?
    }

    private struct Level {
        let epoch: UInt32
        var count: Int
        /// When the KMS is told next: it lets an epoch end once an hour.
        var next: Int
    }

    private let keys: SpaceKeys
    private let store: SealedStore
    private let search: any SearchAsking
    private let messagesPerEpoch: Int
    private var levels: [String: Level] = [:]
    private static let mostLevels = 100_000
    /// What a core may claim.
    private static let mostEntries: UInt64 = 1 << 40

    init(keys: SpaceKeys, store: SealedStore, search: any SearchAsking, messagesPerEpoch: Int) {
        self.keys = keys
        self.store = store
        self.search = search
        self.messagesPerEpoch = messagesPerEpoch
    }

    /// What has just been stored.
    func add(_ messages: [Message]) async throws {
        var added: [String: (resource: String, epoch: IndexEpoch, count: Int)] = [:]
        for message in messages {
            guard let epoch = message.epoch else { continue }
            let before = added[message.room]
            // The later epoch, if one ended within the batch.
            added[message.room] = (
                message.resource, epoch, before?.epoch.epoch == epoch.epoch ? (before?.count ?? 0) + 1 : 1
            )
        }
        for (room, new) in added {
            var level = try await level(of: room, new.epoch.epoch, adding: new.count)
            if level.count >= level.next {
                level.next = level.count + max(1, messagesPerEpoch / 100)
                do {
                    try await keys.end(new.epoch, of: new.resource)
                } catch let refusal as KMSRefusal where refusal.status < 500 {
                    // Its space is gone, or not part of the consent any more: what comes next of it is told so.
                }
            }
            levels[room] = level
        }
        try store.keep(fill: added.keys.compactMap { room in levels[room].map { (room, $0.epoch, $0.count) } })
    }

    private func level(of room: String, _ epoch: UInt32, adding count: Int) async throws -> Level {
        if var level = levels[room], level.epoch == epoch {
            level.count += count
            return level
        }
        if levels.count > Self.mostLevels { levels = [:] }
        let kept = try store.fill(of: room, epoch)
        guard case .census(let counts) = try await search.call(.census(room: room)) else {
            throw CoreSearch.unavailable("no census of a room")
        }
        // What was just stored stands in the census already.
        let said = Int(min(counts.first { $0.epoch == epoch }?.entries ?? 0, Self.mostEntries))
        return Level(epoch: epoch, count: max(kept + count, said), next: messagesPerEpoch)
    }
}
