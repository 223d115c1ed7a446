import CoreLink
import Diagnostics
import KMSClient
import KMSProtocol
import LinkedService
import SearchIndexing
import SearchProtocol
import SecretMemory
import Synchronization
import TextAnalysis

/// Indexes what the feed brings: at least once in, exactly once out.
///
/// Rules:
/// 1. A batch of items is acknowledged when its entries are on the core's disk and its words on this one's. What fails is
///    tried again with the whole batch; storing an entry again has no effect.
/// 2. A message belongs to the resource that the KMS says its key is bound to. If its room had another one before, by this
///    indexer's notes or by the KMS's, it is quarantined: counted, and not indexed (security model, rule 27). What the core
///    says of rooms and resources counts for nothing.
/// 3. What the KMS refuses for this one message for good (its space is gone, or not part of the consent) is counted and passed
///    over. Every other refusal stops the feed where it is.
/// 4. What can not be decrypted, or is no message of the form, is counted and passed over.
final class IndexRun: Sendable {
    enum Outcome: String, Sendable, CaseIterable {
        case indexed, deleted, quarantined, refused, unreadable
        case tooLong = "too-long"
        /// Indexed in part: over a limit of the analyser.
        case cut
    }

    private let consent: Consent
    private let keys: SpaceKeys
    private let workshop: IndexWorkshop
    private let store: SealedStore
    private let search: any SearchAsking
    private let files: FileTexts
    private let fill: EpochFill
    private let count: @Sendable (Outcome) -> Void
    /// The place up to which the feed has brought messages of each room since it was last asked for; their words are on the disk.
    private let fed = Mutex<[String: UInt64]>([:])

    init(
        consent: Consent, keys: SpaceKeys, workshop: IndexWorkshop, store: SealedStore, search: any SearchAsking,
        files: FileTexts, messagesPerEpoch: Int, count: @escaping @Sendable (Outcome) -> Void
    ) {
        self.consent = consent
        self.keys = keys
        self.workshop = workshop
        self.store = store
        self.search = search
        self.files = files
        fill = EpochFill(keys: keys, store: store, search: search, messagesPerEpoch: messagesPerEpoch)
        self.count = count
    }

    func take(_ items: [FeedReader.Item]) async throws {
        let key = try await consent.sealingKey()
        var entries: [SearchUpload.Item] = []
        var outcomes: [Outcome] = []
        var filled: [EpochFill.Message] = []
        var places: [String: UInt64] = [:]
        for item in items {
            let event: FeedEvent
            do throws(DiagnosedError) {
                event = try FeedEvent(item.octets)
            } catch {
                outcomes.append(.unreadable)
                continue
            }
            switch event {
            case .message(let message):
                let made = try await index(message, key)
                outcomes += made.outcomes
                places[message.room] = max(places[message.room] ?? 0, message.sequence)
                guard let entry = made.entry else { continue }
                entries.append(.entry(entry))
                filled.append(.init(room: message.room, resource: made.resource, epoch: made.epoch))
            case .deletion(let room, let message, let sequence):
                try store.forgetFiles(of: message)
                entries.append(try await burial(of: message, in: room, sequence: sequence, key))
                outcomes.append(.deleted)
            case .removal(let room):
                if let resource = try store.resource(of: room, firstSeen: nil, under: key) {
                    await keys.forget(resource: resource)
                }
            case .tooLong: outcomes.append(.tooLong)
            case .other, .resource: break
            }
        }
        try await workshop.keepWords(under: key)
        fed.withLock { $0.merge(places) { max($0, $1) } }
        try await search.upload(entries)
        for outcome in outcomes { count(outcome) }
        try await fill.add(filled)
    }

    func takeFed() -> [String: UInt64] {
        fed.withLock { fed in
            defer { fed = [:] }
            return fed
        }
    }

    /// A tombstone under the room's key, or, of a room that this indexer knows nothing of, a burial without one: the message
    /// may be another indexer's work and has to go all the same.
    private func burial(
        of message: String, in room: String, sequence: UInt64, _ key: SymmetricKey
    ) async throws -> SearchUpload.Item {
        do {
            if let resource = try store.resource(of: room, firstSeen: nil, under: key),
                let epoch = try await passingOver({ try await keys.present(room, resource) })
            {
                return .entry(try await workshop.tombstone(message, sequence: sequence, in: epoch))
            }
        } catch is RoomOfAnother {}
        return .burial(room: room, message: message, sequence: sequence)
    }

    /// What became of one message; the entry is for the caller to store.
    struct Indexed {
        var entry: SearchEntry?
        var resource = ""
        var epoch: IndexEpoch?
        var outcomes: [Outcome]
    }

    func index(_ message: FeedMessage, _ key: SymmetricKey) async throws -> Indexed {
        guard let content = try await passingOver({ try await keys.key(message.keyURI, for: .content) }) else {
            return Indexed(outcomes: [.refused])
        }
        let known = try store.resource(of: message.room, firstSeen: nil, under: key)
        guard let resource = content.resourceURI, known == nil || known == resource else {
            return Indexed(outcomes: [.quarantined])
        }
        var plain: SearchableMessage
        do throws(DiagnosedError) {
            plain = try SearchableMessage(message, key: content)
        } catch {
            return Indexed(outcomes: [.unreadable])
        }
        let epoch: IndexEpoch
        do {
            guard let present = try await passingOver({ try await keys.present(message.room, resource) }) else {
                return Indexed(outcomes: [.refused])
            }
            epoch = present
        } catch is RoomOfAnother {
            return Indexed(outcomes: [.quarantined])
        }
        if known == nil { _ = try store.resource(of: message.room, firstSeen: resource, under: key) }
        plain.text.fileTexts = try await files.texts(of: message, plain.records, under: key)
        let made = try await workshop.entry(
            IndexedMessage(
                id: message.id, sequence: message.sequence, content: plain.text, ciphertextDigest: message.digest),
            in: epoch, under: key)
        return Indexed(
            entry: made.entry, resource: resource, epoch: epoch, outcomes: made.isCut ? [.indexed, .cut] : [.indexed])
    }

    /// The KMS has the room under another resource.
    private struct RoomOfAnother: Error {}

    /// Nil for a refusal that concerns this message alone and for good.
    private func passingOver<Value>(_ body: () async throws -> Value) async throws -> Value? {
        do {
            return try await body()
        } catch let refusal as KMSRefusal {
            if refusal.status == KMSStatus.conflict, refusal.reason.contains("(room-of-another-space)") {
                throw RoomOfAnother()
            }
            guard Self.isFinal(refusal) else { throw refusal.diagnosed }
            return nil
        }
    }

    /// The KMS names its rule in brackets.
    static func isFinal(_ refusal: KMSRefusal) -> Bool {
        switch refusal.status {
        case KMSStatus.notFound, KMSStatus.notImplemented: true
        case KMSStatus.forbidden:
            ["(space-not-covered)", "(key-for-another-use)", "(foreign-on-behalf)", "unbound key"]
                .contains { refusal.reason.contains($0) }
        default: false
        }
    }
}

/// A message in clear, for as long as it is looked at.
struct SearchableMessage {
    var text: SearchableText
    /// Keys and places of its files, in their order; nil for one that has none.
    let records: [SecureContentRecord?]

    init(_ message: FeedMessage, key: KMSKey) throws(DiagnosedError) {
        let own = try message.text?.text(with: key.key) ?? ""
        var names: [String] = []
        var records: [SecureContentRecord?] = []
        for file in message.files {
            names.append(try file.name.text(with: key.key))
            // One that does not open costs the file, not the message.
            records.append(file.record.flatMap { try? SecureContentRecord(opening: $0, with: key.key) })
        }
        text = SearchableText(own, fileNames: names)
        self.records = records
    }
}
