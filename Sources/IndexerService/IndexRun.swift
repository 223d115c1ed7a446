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
/// 2. A message belongs to the resource that the KMS says its key is bound to. If its room had another one before, it is
///    quarantined: counted, and not indexed (security model, rule 27).
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
    private let messagesPerEpoch: Int
    private let count: @Sendable (Outcome) -> Void
    /// Messages that this process has put into the present epoch of a resource.
    private let filled = Mutex<[String: (epoch: UInt32, count: Int)]>([:])

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
        self.messagesPerEpoch = messagesPerEpoch
        self.count = count
    }

    func take(_ items: [FeedReader.Item]) async throws {
        let key = try await consent.sealingKey()
        var entries: [SearchUpload.Item] = []
        var outcomes: [Outcome] = []
        for item in items {
            let event: FeedEvent
            do throws(DiagnosedError) {
                event = try FeedEvent(item.octets)
            } catch {
                outcomes.append(.unreadable)
                continue
            }
            switch event {
            case .message(let message): outcomes += try await index(message, key, &entries)
            case .deletion(let room, let message, let sequence):
                try store.forgetFiles(of: message)
                guard let resource = try store.resource(of: room, firstSeen: nil, under: key) else { continue }
                guard let epoch = try await passingOver({ try await keys.present(room, resource) }) else { continue }
                entries.append(.entry(try await workshop.tombstone(message, sequence: sequence, in: epoch)))
                outcomes.append(.deleted)
            case .removal(let room):
                if let resource = try store.resource(of: room, firstSeen: nil, under: key) {
                    await keys.forget(resource: resource)
                }
            case .resource(let room, let resource):
                _ = try store.resource(of: room, firstSeen: resource, under: key)
            case .tooLong: outcomes.append(.tooLong)
            case .other: break
            }
        }
        try await workshop.keepWords(under: key)
        try await search.upload(entries)
        for outcome in outcomes { count(outcome) }
    }

    private func index(
        _ message: FeedMessage, _ key: SymmetricKey, _ entries: inout [SearchUpload.Item]
    ) async throws -> [Outcome] {
        guard let content = try await passingOver({ try await keys.key(message.keyURI, for: .content) }) else {
            return [.refused]
        }
        guard let resource = content.resourceURI,
            try store.resource(of: message.room, firstSeen: resource, under: key) == resource
        else { return [.quarantined] }
        var plain: SearchableMessage
        do throws(DiagnosedError) {
            plain = try SearchableMessage(message, key: content)
        } catch {
            return [.unreadable]
        }
        guard let epoch = try await passingOver({ try await keys.present(message.room, resource) }) else {
            return [.refused]
        }
        plain.text.fileTexts = try await files.texts(of: message, plain.records, under: key)
        let made = try await workshop.entry(
            IndexedMessage(
                id: message.id, sequence: message.sequence, content: plain.text, ciphertextDigest: message.digest),
            in: epoch, under: key)
        entries.append(.entry(made.entry))
        try await note(epoch, of: resource)
        return made.isCut ? [.indexed, .cut] : [.indexed]
    }

    private func note(_ epoch: IndexEpoch, of resource: String) async throws {
        let isFull = filled.withLock { filled in
            var own = filled[resource] ?? (epoch.epoch, 0)
            if own.epoch != epoch.epoch { own = (epoch.epoch, 0) }
            own.count += 1
            filled[resource] = own
            return own.count >= messagesPerEpoch && own.count % messagesPerEpoch == 0
        }
        if isFull { try await keys.end(epoch, of: resource) }
    }

    /// Nil for a refusal that concerns this message alone and for good.
    private func passingOver<Value>(_ body: () async throws -> Value) async throws -> Value? {
        do {
            return try await body()
        } catch let refusal as KMSRefusal {
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
