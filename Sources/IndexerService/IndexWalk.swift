import CoreLink
import Diagnostics
import KMSClient
import KMSProtocol
import LinkedService
import SearchIndexing
import SearchProtocol
import SecretMemory
import WireText

/// Walks through what was said long ago, beside the feed: to index it anew, to put many epochs into one, and to learn words
/// that another indexer has indexed.
///
/// Rules:
/// 1. Each walk goes through the rooms in the order of their ids and through each room in the order of its messages, a page
///    at a time. What a page gives is on the core's disk and on this one's before the place is noted, so a walk that was
///    killed goes on with the same page, and storing that again has no effect.
/// 2. Indexing anew (other profile, languages or analyser) first ends the room's epoch; then every message gets an entry in
///    the new one, which replaces its old one, for a store has one entry of a message. Until a room is done, searches name it
///    as not yet read.
/// 3. Compaction makes entries anew in the present epoch of rooms whose oldest entries stand many epochs back. Afterwards
///    only epochs that have some are asked for.
/// 4. Only the indexer that reads the feed does 2 and 3. Each one learns words, of what it has not seen yet.
/// 5. What the core says of rooms and places decides what is looked at, never under which key it is indexed (`IndexRun`,
///    rule 2).
actor IndexWalk {
    enum Kind: String, Sendable, CaseIterable {
        case anew, compaction, words
    }

    private let consent: Consent
    private let keys: SpaceKeys
    private let workshop: IndexWorkshop
    private let store: SealedStore
    private let search: any SearchAsking
    private let run: IndexRun
    private let progress: WalkProgress
    private let now: @Sendable () -> Timestamp
    private let page: Int
    private let mostEpochs: Int
    private var hasFloors = false
    /// The turn in which all that was said before it has been learned.
    private var learnedTurn: Int?

    /// A room with entries so many epochs back is put together; a search looks at 16.
    static let mostEpochs = 8
    static let compactionPause: Int64 = 86_400
    private static let roomsOfPage = 200
    /// What a core may claim.
    private static let highestPlace: UInt64 = 1 << 40
    private static let mostRooms = 1_000_000

    init(
        consent: Consent, keys: SpaceKeys, workshop: IndexWorkshop, store: SealedStore, search: any SearchAsking,
        run: IndexRun, progress: WalkProgress, page: Int = 100, mostEpochs: Int = IndexWalk.mostEpochs,
        now: @escaping @Sendable () -> Timestamp = { .now() }
    ) {
        self.consent = consent
        self.keys = keys
        self.workshop = workshop
        self.store = store
        self.search = search
        self.run = run
        self.progress = progress
        self.page = page
        self.mostEpochs = mostEpochs
        self.now = now
    }

    /// Everything that is to be done now; what fails is done again at the next time, from where it was.
    ///
    /// - Parameter turn: the number of this indexer's turn to read the feed; nil when it is not its turn.
    func round(turn: Int?) async {
        let reads = turn != nil
        do {
            if !hasFloors {
                for floor in try store.floors() { await keys.raise(floor.room, to: floor.epoch) }
                hasFloors = true
            }
            if reads, let format = progress.pendingFormat {
                try await walk(.anew, note: format)
                try store.finish(Kind.anew.rawValue, settings: ["format": format])
                progress.isAnew()
            }
            try await learn(turn)
            if reads, try isCompactionDue() {
                try await walk(.compaction, note: "")
                try store.finish(Kind.compaction.rawValue, settings: ["compaction": "\(now().milliseconds)"])
            }
            progress.rest()
        } catch is CancellationError {
        } catch {
            progress.fail(error as? DiagnosedError ?? (error as? KMSRefusal)?.diagnosed)
        }
    }

    private func isCompactionDue() throws -> Bool {
        if try store.walk(Kind.compaction.rawValue) != nil { return true }
        let last = try store.setting("compaction").flatMap { Int64($0) } ?? 0
        return now().milliseconds >= last + Self.compactionPause * 1000
    }

    // MARK: - Entries anew

    private func walk(_ kind: Kind, note: String) async throws {
        var state = try store.walk(kind.rawValue)
        if state?.note != note {
            var total: UInt64 = 0
            try await forEachRoom(after: "") { total += $0.last }
            state = SealedStore.Walk(note: note, total: total)
        }
        guard var walk = state else { return }
        try store.keep(walk, kind.rawValue)
        progress.start(kind, done: walk.done, total: walk.total, room: walk.room)
        try await forEachRoom(after: walk.room) { room in
            if walk.inside != room.id { (walk.inside, walk.place, walk.isPrepared) = (room.id, 0, false) }
            switch kind {
            case .anew: try await self.remake(room, kind, &walk, endingEpoch: true)
            case .compaction:
                if let span = try await self.span(room.id), Int(span.present - span.lowest) >= self.mostEpochs {
                    try await self.remake(room, kind, &walk, endingEpoch: false)
                }
                // What new entries are made in, and what one makes that has not heard of it yet.
                if let span = try await self.span(room.id), span.present > 1 {
                    let floor = min(span.lowest, span.present - 1)
                    try self.store.keep(floor: room.id, floor)
                    await self.keys.raise(room.id, to: floor)
                }
            case .words: break
            }
            walk.done += room.last - min(room.last, walk.place)
            walk.room = room.id
            (walk.inside, walk.place, walk.isPrepared) = ("", 0, false)
            try self.store.keep(walk, kind.rawValue)
            self.progress.move(done: walk.done, room: walk.room)
        }
    }

    /// New entries of all that stands in a room.
    private func remake(
        _ room: SearchCall.Room, _ kind: Kind, _ walk: inout SealedStore.Walk, endingEpoch: Bool
    ) async throws {
        while true {
            let key = try await consent.sealingKey()
            let (messages, next) = try await history(room.id, after: walk.place)
            if endingEpoch, !walk.isPrepared, let resource = try await resource(of: room.id, messages, key) {
                if let present = try await present(room.id, resource) {
                    try await keys.end(present, of: resource, because: .compromise)
                }
                walk.isPrepared = true
                try store.keep(walk, kind.rawValue)
            }
            var entries: [SearchUpload.Item] = []
            for message in messages {
                if let entry = try await run.index(message, key).entry { entries.append(.entry(entry)) }
            }
            try await workshop.keepWords(under: key)
            try await search.upload(entries)
            guard let next, next > walk.place else { return }
            walk.done += next - walk.place
            walk.place = next
            try store.keep(walk, kind.rawValue)
            progress.move(done: walk.done, room: walk.room)
        }
    }

    /// By this indexer's notes, else by the KMS's word on the first message of which it has one.
    private func resource(of room: String, _ messages: [FeedMessage], _ key: SymmetricKey) async throws -> String? {
        if let known = try store.resource(of: room, firstSeen: nil, under: key) { return known }
        for message in messages {
            let made = try await run.index(message, key)
            if made.entry != nil { return made.resource }
        }
        return nil
    }

    /// The first epoch in which something of the room stands, and the present one; nil for a room of which nothing is known.
    private func span(_ room: String) async throws -> (lowest: UInt32, present: UInt32)? {
        guard let lowest = try await census(room).first?.epoch else { return nil }
        let key = try await consent.sealingKey()
        guard let resource = try store.resource(of: room, firstSeen: nil, under: key) else { return nil }
        guard let present = try await present(room, resource)?.epoch else { return nil }
        return lowest <= present ? (lowest, present) : nil
    }

    /// Nil when the KMS does not give it for good: the space is gone, not part of the consent, or the room is another one's.
    private func present(_ room: String, _ resource: String) async throws -> IndexEpoch? {
        do {
            return try await keys.present(room, resource)
        } catch let refusal as KMSRefusal where refusal.status == KMSStatus.conflict || IndexRun.isFinal(refusal) {
            return nil
        }
    }

    // MARK: - Words

    /// What has been said in each room since this indexer last looked: its words, without entries.
    ///
    /// Who has learned everything since its turn began learns the rest from the feed, without a gap.
    private func learn(_ turn: Int?) async throws {
        if turn != nil, turn == learnedTurn {
            for (room, place) in run.takeFed() where try place > store.seen(room) {
                try store.keep(seen: room, place)
            }
        }
        try await learnUnseen()
        learnedTurn = turn
    }

    private func learnUnseen() async throws {
        var total: UInt64 = 0
        try await forEachRoom(after: "") { room in
            let seen = try self.store.seen(room.id)
            total += room.last - min(room.last, seen)
        }
        guard total > 0 else { return }
        progress.start(.words, done: 0, total: total, room: "")
        var done: UInt64 = 0
        try await forEachRoom(after: "") { room in
            var place = try self.store.seen(room.id)
            while place < room.last {
                let key = try await self.consent.sealingKey()
                let (messages, next) = try await self.history(room.id, after: place)
                for message in messages { _ = try await self.run.index(message, key) }
                try await self.workshop.keepWords(under: key)
                let end = max(next ?? room.last, place + 1)
                try self.store.keep(seen: room.id, end)
                done += end - place
                place = end
                self.progress.move(done: done, room: room.id)
            }
        }
    }

    // MARK: - Asking the core

    private func forEachRoom(
        after start: String, _ body: (SearchCall.Room) async throws -> Void
    ) async throws {
        var after = start
        var count = 0
        while true {
            try Task.checkCancellation()
            let call = SearchCall.rooms(after: after.isEmpty ? nil : after, limit: Self.roomsOfPage)
            guard case .rooms(let rooms) = try await search.call(call) else {
                throw CoreSearch.unavailable("no list of rooms")
            }
            for room in rooms {
                // The order is what a walk goes on by; a core that breaks it would let it go round in circles.
                count += 1
                guard room.id > after, room.last <= Self.highestPlace, count <= Self.mostRooms else {
                    throw CoreSearch.unavailable("rooms out of their order, too many of them, or too long ones")
                }
                try await body(room)
                after = room.id
            }
            guard rooms.count == Self.roomsOfPage else { return }
        }
    }

    private func history(
        _ room: String, after place: UInt64
    ) async throws -> (messages: [FeedMessage], next: UInt64?) {
        try Task.checkCancellation()
        let call = SearchCall.history(room: room, after: place, limit: page)
        guard case .history(let activities, let next) = try await search.call(call) else {
            throw CoreSearch.unavailable("no history of a room")
        }
        guard next.map({ $0 > place && $0 <= Self.highestPlace && !activities.isEmpty }) ?? true else {
            throw CoreSearch.unavailable("a history that does not go on")
        }
        let messages = activities.compactMap { octets in
            ((try? JSONDocument(octets))?.root).flatMap { FeedMessage($0) }
        }
        // What is left of the edit of a deleted message says nothing.
        return (messages.filter { $0.room == room && ($0.text != nil || !$0.files.isEmpty) }, next)
    }

    private func census(_ room: String) async throws -> [SearchCall.Count] {
        guard case .census(let counts) = try await search.call(.census(room: room)) else {
            throw CoreSearch.unavailable("no census of a room")
        }
        return counts.sorted { $0.epoch < $1.epoch }
    }
}
