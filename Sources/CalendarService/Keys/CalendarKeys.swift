import Diagnostics
import KMSClient
import KMSProtocol
import LinkedService
import SecretMemory
import WireText

/// Keys of calendars at the KMS: one resource for each user, who stands on its list beside the connector; under it one key for
/// commands and one for each series. No other resource's key is ever asked for.
///
/// What the KMS gave stays in memory for five minutes; `forget` takes it all at once.
actor CalendarKeys {
    private let kms: any KMSAsking
    private let now: @Sendable () -> Timestamp
    private var held: [String: (key: SymmetricKey, until: Timestamp)] = [:]
    /// Made and not yet bound.
    private var fresh: [(key: KMSKey, until: Timestamp)] = []
    private var epoch = 0
    private static let atOnce = 20
    /// An unbound key may go at the KMS after a while.
    private static let freshness: Int64 = 300
    private static let mostHeld = 50_000

    init(_ kms: any KMSAsking, now: @escaping @Sendable () -> Timestamp = { .now() }) {
        self.kms = kms
        self.now = now
    }

    struct Made: Sendable {
        let uri: String
        let key: SymmetricKey
        /// When a tenth of its life is left: clients seal nothing under a key whose time is over.
        let renew: Timestamp
    }

    /// A resource for a user's calendar with its first key.
    func makeCalendar(for user: String) async throws -> (resource: String, key: Made) {
        let key = try await unbound()
        guard
            case .resource(let resource) = try await kms.perform(.createResource(keys: [key.uri], users: [user])).body
        else { throw Self.foreign }
        // Its life as a bound one tells the KMS when it is asked.
        let known = try await fetch(key.uri)
        return (resource.uri, made(known))
    }

    /// A key of its own for a series.
    func makeKey(in resource: String) async throws -> Made {
        let key = try await unbound()
        let begun = epoch
        guard case .key(let bound) = try await kms.perform(.bindKey(key.uri, resource: resource)).body else {
            throw Self.foreign
        }
        guard begun == epoch else { throw Self.withdrawn }
        keep(key.uri, key.key)
        return Made(uri: key.uri, key: key.key, renew: Self.renewal(bound.expirationDate, now()))
    }

    private func made(_ key: KMSKey) -> Made {
        Made(uri: key.uri, key: key.key, renew: Self.renewal(key.expirationDate, now()))
    }

    private static func renewal(_ end: Timestamp, _ now: Timestamp) -> Timestamp {
        now.adding(milliseconds: max(0, (end.milliseconds - now.milliseconds) / 10 * 9))
    }

    func key(_ uri: String) async throws -> SymmetricKey {
        if let held = held[uri], now() < held.until { return held.key }
        return try await fetch(uri).key
    }

    private func fetch(_ uri: String) async throws -> KMSKey {
        let begun = epoch
        guard case .key(let key) = try await kms.perform(.useKey(uri, .content)).body else { throw Self.foreign }
        guard begun == epoch else { throw Self.withdrawn }
        keep(uri, key.key)
        return key
    }

    /// The KMS takes the consent back: also what is under way brings nothing in any more.
    func forget() {
        epoch += 1
        held = [:]
        fresh = []
    }

    /// What has been held for five minutes goes; called each minute.
    func purge() {
        let present = now()
        held = held.filter { present < $0.value.until }
        fresh.removeAll { $0.until <= present }
    }

    private func unbound() async throws -> KMSKey {
        let present = now()
        fresh.removeAll { $0.until <= present }
        if let (key, _) = fresh.popLast() { return key }
        let begun = epoch
        guard case .keys(let keys) = try await kms.perform(.createKeys(count: Self.atOnce)).body else {
            throw Self.foreign
        }
        guard begun == epoch else { throw Self.withdrawn }
        let until = now().adding(seconds: Self.freshness)
        fresh += keys.map { ($0, until) }
        guard let (key, _) = fresh.popLast() else { throw Self.foreign }
        return key
    }

    private func keep(_ uri: String, _ key: SymmetricKey) {
        if held.count >= Self.mostHeld {
            let present = now()
            held = held.filter { present < $0.value.until }
            if held.count >= Self.mostHeld { held = [:] }
        }
        held[uri] = (key, now().adding(seconds: ServiceConsent.freshness))
    }

    private static let withdrawn = DiagnosedError(
        .calendarConsent, fault: .configuration, "the KMS gives this service no keys at present",
        hint: "see HDS-CAL-CONSENT and the check consent")
    private static let foreign = DiagnosedError(
        .kmsMismatch, fault: .peer, "the KMS answered with something else than a key")
}
