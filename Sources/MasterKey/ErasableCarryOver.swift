import Diagnostics
package import KeyStore
import SecretMemory
package import WireText

/// Gives an erasable key to every resource that was made before there were any, and seals its keys again under it.
///
/// A setting says that it is done; until it stands, a start walks through all resources again, which only reads where
/// nothing is left. A key keeps its row's version, and one that moved on meanwhile is found by the next walk. The pace is
/// that of `Resealer`. Unbound keys are none of it: they stand under the root key until they are bound.
package struct ErasableCarryOver: Sendable {
    package static let setting = "erasable-keys-carried"
    private static let page = 64

    private let store: any KeyStore
    private let ring: SealRing
    private let pulse: ServingPulse?

    /// - Parameter pulse: how long requests take meanwhile; nil: there are none.
    package init(store: any KeyStore, ring: SealRing, pulse: ServingPulse? = nil) {
        self.store = store
        self.ring = ring
        self.pulse = pulse
    }

    package func isDone() async throws -> Bool {
        guard let mark = try await store.setting(Self.setting) else { return false }
        _ = try ring.open(mark, kind: .setting, id: Self.setting, version: 1)
        return true
    }

    /// How many keys were sealed again. Nothing to do once it is done; throws when the store does. `progress` is told how
    /// many keys were looked at, of all that there were at the start; unbound ones, which are few, are counted and not
    /// looked at.
    package func run(
        clock: ContinuousClock = ContinuousClock(), now: @Sendable () -> Timestamp = { .now() },
        progress: (Resealer.Progress) -> Void = { _ in }
    ) async throws -> Int {
        guard try await !isDone() else { return 0 }
        var (count, isWhole) = (0, true)
        let started = now()
        var state = Resealer.Progress(
            total: try await store.sealedCounts(.keys).values.reduce(0, +), started: started, now: started)
        progress(state)
        var pace = ResealPace()
        pulse?.listen()
        defer { pulse?.leave() }
        var last: String?
        while true {
            let resources = try await store.resources(after: last, limit: Self.page)
            guard let end = resources.last else { break }
            for resource in resources {
                let carried = try await carry(resource.id, &pace, clock) { looked in
                    state.done += looked
                    state.now = now()
                    progress(state)
                }
                count += carried.keys
                isWhole = isWhole && carried.isWhole
            }
            last = end.id
        }
        // Whoever got in between is found by the next walk.
        guard isWhole else { return count }
        let mark = try Array("done".utf8).withUnsafeBytes {
            try ring.seal($0, kind: .setting, id: Self.setting, version: 1)
        }
        _ = try await store.commit(
            StoreChange(
                writes: [.putSetting(name: Self.setting, value: mark)],
                expectations: [.setting(name: Self.setting, value: nil)]))
        return count
    }

    private func carry(
        _ resource: String, _ pace: inout ResealPace, _ clock: ContinuousClock, looked: (Int) -> Void
    ) async throws -> (keys: Int, isWhole: Bool) {
        if try await store.erasableKey(ofResource: resource) == nil {
            let made = try ring.makeErasableKey(for: resource)
            _ = try await store.commit(StoreChange(writes: [.insertErasableKey(made.record)]))
        }
        var (count, isWhole) = (0, true)
        var last: KeyRecord?
        while true {
            try Task.checkCancellation()
            let records = try await store.keys(ofResource: resource, behind: last, limit: min(Self.page, pace.limit))
            guard let end = records.last else { return (count, isWhole) }
            looked(records.count)
            let writes = try records.compactMap { try resealed($0) }
            if !writes.isEmpty {
                let start = clock.now
                guard try await store.commit(StoreChange(writes: writes)) == .committed else {
                    try await ring.refresh()
                    return (count, false)
                }
                count += writes.count
                // One that was changed between the look and the commit is left as it was: the walk comes again.
                isWhole = false
                try await pace.keep(after: start.duration(to: clock.now), pulse, clock)
            }
            last = end
        }
    }

    /// Nil for a key that stands under its erasable key, or that does not open: that one stays as it is.
    private func resealed(_ record: KeyRecord) throws -> StoreWrite? {
        guard let resource = record.resource, let sealed = record.erasable,
            let plain = try? ring.open(record.sealed, kind: .key, id: record.id, version: record.version)
        else { return nil }
        let erasable = try ring.erasableKey(sealed, of: resource)
        return try plain.withUnsafeBytes { content -> StoreWrite? in
            guard !ErasableSeal.isSeal(content) else { return nil }
            return .reseal(
                .keys, id: record.id, old: record.sealed,
                new: try ring.seal(
                    key: content, id: record.id, version: record.version, resource: resource, erasable: erasable))
        }
    }
}
