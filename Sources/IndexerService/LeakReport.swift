import CoreLink
import Cryptography
import Diagnostics
import Dispatch
import KMSClient
import KMSProtocol
import LinkedService
import SearchIndexing
import SearchProtocol
import SecretMemory
import TextAnalysis
import WireText

/// What an attacker who owns the core could say about this organisation's messages: `LeakAttack` on what really stands in the
/// search service (docs/search-leak.md).
///
/// Reads rooms as a walk does, decrypts some thousand messages, takes their stored entries from the core, and lets the
/// attack loose on them. For the other profiles the same messages get entries under the same keys, which are stored nowhere.
/// Texts and terms stay in memory for the length of one report; the report has numbers alone.
actor LeakReporter {
    struct Wish: Sendable, Equatable {
        /// At most so many messages, room by room.
        var messages = 5_000
        /// What the attacker knows, in per mille of the messages.
        var known: [Int] = [10, 50]
        var queries: [Int] = [0, 100, 1_000]
        var seed: UInt64 = 42

        static let mostMessages = 50_000
    }

    struct Figure: Sendable, Equatable {
        let name: String
        /// Of entries as they are stored; else of entries made for the comparison.
        let isStored: Bool
        let figure: LeakFigure
    }

    struct Report: Sendable {
        var profile: SearchProfile
        var rooms = 0
        var messages = 0
        /// Messages without an entry of their last version: not indexed yet, or over a limit.
        var missing = 0
        /// Entries that were not made under the room's keys, or were changed.
        var notAuthentic = 0
        var figures: [Figure] = []
    }

    private let consent: Consent
    private let keys: SpaceKeys
    private let store: SealedStore
    private let search: any SearchAsking
    private let files: FileTexts
    private let profile: SearchProfile
    private let analyser: TextAnalyser
    private let thread = DispatchQueue(label: "hds.index.leak", qos: .utility)

    init(
        consent: Consent, keys: SpaceKeys, store: SealedStore, search: any SearchAsking, files: FileTexts,
        profile: SearchProfile
    ) throws {
        self.consent = consent
        self.keys = keys
        self.store = store
        self.search = search
        self.files = files
        self.profile = profile
        analyser = try TextAnalyser()
    }

    /// One message as the samples of all profiles need it.
    private struct Read: Sendable {
        let message: IndexedMessage
        let terms: [Term]
        let epoch: IndexEpoch
        let stored: SearchEntry
    }

    /// - Parameter told: what is being done; false ends it.
    func report(_ wish: Wish, told: @escaping @Sendable (String) -> Bool) async throws -> Report {
        var report = Report(profile: profile)
        let read = try await gather(wish, &report, told)
        guard !read.isEmpty else {
            throw DiagnosedError(
                "leak-report", fault: .configuration, "there is no indexed message to attack",
                hint: "see the checks index and consent: a report needs messages that are indexed")
        }
        let figures = try await withCheckedThrowingContinuation { continuation in
            thread.async { [profile] in
                continuation.resume(with: Result { try Self.attack(read, profile, wish, told) })
            }
        }
        report.figures = figures
        return report
    }

    // MARK: - Reading

    private func gather(
        _ wish: Wish, _ report: inout Report, _ told: @Sendable (String) -> Bool
    ) async throws -> [Read] {
        var all: [Read] = []
        var after: String?
        while all.count < wish.messages {
            guard case .rooms(let rooms) = try await search.call(.rooms(after: after, limit: 100)) else {
                throw CoreSearch.unavailable("no list of rooms")
            }
            for room in rooms where all.count < wish.messages {
                guard room.id > after ?? "" else { throw CoreSearch.unavailable("rooms out of their order") }
                after = room.id
                let found = try await self.read(room.id, atMost: wish.messages - all.count, &report)
                guard !found.isEmpty else { continue }
                report.rooms += 1
                all += found
                guard told("\(all.count) messages of \(report.rooms) rooms are read") else { throw CancellationError() }
            }
            guard rooms.count == 100 else { break }
        }
        report.messages = all.count
        return all
    }

    private func read(_ room: String, atMost limit: Int, _ report: inout Report) async throws -> [Read] {
        let key = try await consent.sealingKey()
        guard let resource = try store.resource(of: room, firstSeen: nil, under: key) else { return [] }
        let found: [IndexEpoch]
        do {
            found = try await keys.epochs(room, resource)
        } catch let refusal as KMSRefusal where refusal.status < 500 {
            return []
        }
        let epochs = Dictionary(found.map { ($0.epoch, $0) }, uniquingKeysWith: { first, _ in first })
        var all: [Read] = []
        var place: UInt64 = 0
        while all.count < limit {
            guard
                case .history(let activities, let next) = try await search.call(
                    .history(room: room, after: place, limit: min(200, limit - all.count)))
            else { throw CoreSearch.unavailable("no history of a room") }
            let messages = activities.compactMap { ((try? JSONDocument($0))?.root).flatMap { FeedMessage($0) } }
                .filter { $0.room == room }
            let entries = messages.isEmpty ? [] : try await stored(messages)
            for (message, octets) in zip(messages, entries) {
                guard let octets, let entry = try? SearchEntry(decoding: octets), entry.message == message.id,
                    entry.sequence == message.sequence, let epoch = epochs[entry.epoch], entry.profile == profile
                else {
                    report.missing += 1
                    continue
                }
                guard epoch.keys.isAuthentic(entry), entry.room == room else {
                    report.notAuthentic += 1
                    continue
                }
                guard let content = try? await keys.key(message.keyURI, for: .content), content.resourceURI == resource,
                    var plain = try? SearchableMessage(message, key: content)
                else { continue }
                plain.text.fileTexts = try await files.texts(of: message, plain.records, under: key)
                all.append(
                    Read(
                        message: IndexedMessage(
                            id: message.id, sequence: message.sequence, content: plain.text,
                            ciphertextDigest: message.digest),
                        terms: analyser.analyse(plain.text, languages: epoch.languages).terms, epoch: epoch,
                        stored: entry
                    ))
            }
            guard let next, next > place, !activities.isEmpty else { break }
            place = next
        }
        return all
    }

    private func stored(_ messages: [FeedMessage]) async throws -> [[UInt8]?] {
        var entries: [[UInt8]?] = []
        while entries.count < messages.count {
            let rest = messages.dropFirst(entries.count).map { SearchCall.Message(room: $0.room, id: $0.id) }
            guard case .messages(let part) = try await search.call(.entries(rest)),
                (1...rest.count).contains(part.count)
            else { throw CoreSearch.unavailable("no entries") }
            entries += part
        }
        return entries
    }

    // MARK: - Attacking

    private static func attack(
        _ read: [Read], _ profile: SearchProfile, _ wish: Wish, _ told: @Sendable (String) -> Bool
    ) throws -> [Figure] {
        var figures: [Figure] = []
        func run(_ name: String, isStored: Bool, _ samples: [LeakSample]) throws {
            let attack = LeakAttack(samples)
            for known in wish.known {
                for queries in wish.queries {
                    let figure = attack.run(known: Double(known) / 1_000, queries: queries, seed: wish.seed)
                    figures.append(Figure(name: name, isStored: isStored, figure: figure))
                    guard told(figure.description(profile: name)) else { throw CancellationError() }
                }
            }
        }
        try run(
            profile.name, isStored: true, read.map { LeakSample(epoch: $0.epoch, entry: $0.stored, terms: $0.terms) })
        for other in SearchProfile.allCases where other != profile {
            try run(other.name, isStored: false, made(read, other))
        }
        // The control: the attack has to work where nothing protects.
        let shared = try SearchKeys(searchKey: try .random())
        try run("one key for all", isStored: false, made(read, .list, keys: shared))
        return figures
    }

    /// Entries of another profile, or under other keys.
    private static func made(_ read: [Read], _ profile: SearchProfile, keys: SearchKeys? = nil) throws -> [LeakSample] {
        let builder = EntryBuilder(analyser: try TextAnalyser())
        var epochs: [ObjectIdentifier: IndexEpoch] = [:]
        return try read.map { one in
            let id = ObjectIdentifier(one.epoch)
            let epoch =
                epochs[id]
                ?? IndexEpoch(
                    room: one.epoch.room, epoch: one.epoch.epoch, profile: profile, languages: one.epoch.languages,
                    keys: keys ?? one.epoch.keys)
            epochs[id] = epoch
            return LeakSample(epoch: epoch, entry: try builder.entry(for: one.message, in: epoch), terms: one.terms)
        }
    }
}
