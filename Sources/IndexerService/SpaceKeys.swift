import Diagnostics
import KMSClient
import KMSProtocol
import LinkedService
import SearchIndexing
import SearchProtocol
import TextAnalysis
import WireText

/// Keys of messages and of the index, as the KMS gives them: asked for once and kept for five minutes at most (security
/// model, rule 30).
actor SpaceKeys {
    private let kms: any KMSAsking
    private let profile: SearchProfile
    private let languages: LanguageSet
    private let now: @Sendable () -> Timestamp

    private struct Held<Value> {
        let value: Value
        let until: Timestamp
    }

    /// Of messages and of queries, by URI and use.
    private var keys: [String: Held<KMSKey>] = [:]
    /// All search keys of a resource, newest first.
    private var searchKeys: [String: Held<[KMSSearchKey]>] = [:]
    /// By room, resource and epoch.
    private var epochs: [String: IndexEpoch] = [:]
    /// Rooms of which the KMS says that they are this resource's.
    private var confirmed: [String: String] = [:]
    /// Nothing of a room stands in epochs before this one.
    private var floors: [String: UInt32] = [:]

    init(
        _ kms: any KMSAsking, profile: SearchProfile, languages: LanguageSet,
        now: @escaping @Sendable () -> Timestamp = { .now() }
    ) {
        self.kms = kms
        self.profile = profile
        self.languages = languages
        self.now = now
    }

    /// Everything: the consent is gone.
    func forget() {
        keys = [:]
        searchKeys = [:]
        epochs = [:]
        confirmed = [:]
    }

    /// What is older than it may be; called in an interval.
    func sweep() {
        let time = now()
        keys = keys.filter { time < $0.value.until }
        let old = searchKeys.filter { time >= $0.value.until }.map(\.key)
        for resource in old { forget(resource: resource) }
    }

    /// Somebody left: the KMS may have begun an epoch.
    func forget(resource: String) {
        searchKeys[resource] = nil
        epochs = epochs.filter { !$0.key.hasPrefix(resource + " ") }
    }

    func key(_ uri: String, for use: KMSKeyUse) async throws -> KMSKey {
        let name = "\(use.rawValue) \(uri)"
        if let held = keys[name], now() < held.until { return held.value }
        guard case .key(let key) = try await kms.perform(.useKey(uri, use)).body else {
            throw DiagnosedError(.kmsMismatch, fault: .peer, "the KMS gave no key")
        }
        keys[name] = Held(value: key, until: now().adding(seconds: Consent.freshness))
        return key
    }

    /// What new entries of a room are made with. The KMS refuses a room that another indexer has put under another resource.
    func present(_ room: String, _ resource: String) async throws -> IndexEpoch {
        if confirmed[room] == resource, let held = searchKeys[resource], now() < held.until,
            let newest = held.value.first
        {
            return try epoch(room, newest)
        }
        guard
            case .searchKeys(let made) = try await kms.perform(.createSearchKey(resource: resource, room: room)).body,
            let newest = made.first
        else { throw DiagnosedError(.kmsMismatch, fault: .peer, "the KMS gave no search key") }
        if confirmed.count > Self.mostRooms { confirmed = [:] }
        confirmed[room] = resource
        if let held = searchKeys[resource], now() < held.until, held.value.first?.epoch == newest.epoch {
            return try epoch(room, newest)
        }
        searchKeys[resource] = nil
        _ = try await all(of: resource)
        return try epoch(room, newest)
    }

    private static let mostRooms = 1_000_000

    /// The present epoch of the resource is full, or what stands in it is made anew.
    func end(
        _ epoch: IndexEpoch, of resource: String, because: KMSSearchKey.Beginning = .messages
    ) async throws {
        _ = try await kms.perform(
            .createSearchKey(resource: resource, endedEpoch: Int64(epoch.epoch), because: because))
        forget(resource: resource)
    }

    /// Compaction has left nothing of the room before that epoch.
    func raise(_ room: String, to floor: UInt32) { floors[room] = floor }

    /// What a room is searched with.
    func epochs(_ room: String, _ resource: String) async throws -> [IndexEpoch] {
        let floor = Int64(floors[room] ?? 0)
        return try await all(of: resource).filter { $0.epoch >= floor }.map { try epoch(room, $0) }
    }

    private func all(of resource: String) async throws -> [KMSSearchKey] {
        if let held = searchKeys[resource], now() < held.until { return held.value }
        guard case .searchKeys(let keys) = try await kms.perform(.retrieveSearchKeys(resource: resource)).body else {
            throw DiagnosedError(.kmsMismatch, fault: .peer, "the KMS gave no search keys")
        }
        // A resource without a key gets its first one at any time, from whichever indexer reads the feed then.
        if !keys.isEmpty {
            searchKeys[resource] = Held(value: keys, until: now().adding(seconds: Consent.freshness))
        }
        return keys
    }

    private func epoch(_ room: String, _ key: KMSSearchKey) throws -> IndexEpoch {
        let name = "\(key.resourceURI) \(room) \(key.epoch)"
        if let known = epochs[name] { return known }
        let made = IndexEpoch(
            room: room, epoch: UInt32(key.epoch), profile: profile, languages: languages,
            keys: try SearchKeys(searchKey: key.key))
        epochs[name] = made
        return made
    }
}
