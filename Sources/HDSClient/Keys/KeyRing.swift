import Diagnostics
import KMSClient
package import KMSProtocol
import WireText

/// Keys of spaces: from the state where they are known, from the KMS where not; and keys that are bound to nothing yet.
///
/// Concurrent calls for the same key make one request.
package actor KeyRing {
    private let kms: KMSConnection
    private let store: StateStore
    private let now: @Sendable () -> Timestamp
    private var requests: [String: Task<KMSKey, any Error>] = [:]

    /// Unbound keys asked for at once: making one costs as much as making five.
    static let supply = 5

    init(kms: KMSConnection, store: StateStore, now: @escaping @Sendable () -> Timestamp) {
        self.kms = kms
        self.store = store
        self.now = now
    }

    /// The bound key of that URI.
    package func key(_ uri: String) async throws -> KMSKey {
        if let known = try store.current().keys[uri], known.bindDate != nil { return known }
        return try await retrieve(uri)
    }

    /// The key as the KMS gives it now, whatever is known.
    package func retrieve(_ uri: String) async throws -> KMSKey {
        if let request = requests[uri] { return try await request.value }
        let request = Task { [kms, store] in
            guard case .key(let key) = try await kms.perform(.retrieveKey(uri)).body else {
                throw DiagnosedError(.kmsMismatch, fault: .peer, "the KMS answered without a key")
            }
            if key.bindDate != nil { try store.update { $0.remember(key) } }
            return key
        }
        requests[uri] = request
        defer { requests[uri] = nil }
        return try await request.value
    }

    /// Fetches those keys that are not known, side by side; what can not be had is left for `key` to tell.
    package func prefetch(_ uris: some Sequence<String>) async throws {
        let known = try store.current().keys
        let missing = Set(uris).filter { known[$0]?.bindDate == nil }
        guard missing.count > 1 else { return }
        await withTaskGroup(of: Void.self) { group in
            for (index, uri) in missing.enumerated() {
                if index >= 16 { await group.next() }
                group.addTask { _ = try? await self.retrieve(uri) }
            }
        }
    }

    /// An own key that is bound to nothing, for one use: it is out of the state before it is given.
    package func takeUnboundKey() async throws -> KMSKey {
        if let key = try takeKnown() { return key }
        guard case .keys(let keys) = try await kms.perform(.createKeys(count: Self.supply)).body,
            let first = keys.first
        else { throw DiagnosedError(.kmsMismatch, fault: .peer, "the KMS answered without keys") }
        let deadline = usefulUntil
        try store.update { state in
            state.unboundKeys.removeAll { $0.expirationDate <= deadline }
            state.unboundKeys += keys.dropFirst()
        }
        return first
    }

    private func takeKnown() throws -> KMSKey? {
        let deadline = usefulUntil
        guard try store.current().unboundKeys.contains(where: { $0.expirationDate > deadline }) else { return nil }
        return try store.update { state in
            state.unboundKeys.removeAll { $0.expirationDate <= deadline }
            return state.unboundKeys.popLast()
        }
    }

    /// An hour is left for a key to be bound.
    private var usefulUntil: Timestamp { now().adding(seconds: 3600) }
}
