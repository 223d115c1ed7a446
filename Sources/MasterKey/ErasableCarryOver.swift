import Diagnostics
package import KeyStore
import SecretMemory
import WireText

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

    package init(store: any KeyStore, ring: SealRing) {
        self.store = store
        self.ring = ring
    }

    package func isDone() async throws -> Bool {
        guard let mark = try await store.setting(Self.setting) else { return false }
        _ = try ring.open(mark, kind: .setting, id: Self.setting, version: 1)
        return true
    }

    /// How many keys were sealed again. Nothing to do once it is done; throws when the store does.
    package func run(
        clock: ContinuousClock = ContinuousClock(), progress: (Int) -> Void = { _ in }
    ) async throws -> Int {
        guard try await !isDone() else { return 0 }
        var (count, isWhole) = (0, true)
        var last: String?
        while true {
            let resources = try await store.resources(after: last, limit: Self.page)
            guard let end = resources.last else { break }
            for resource in resources {
                let carried = try await carry(resource.id, clock: clock)
                count += carried.keys
                isWhole = isWhole && carried.isWhole
                if carried.keys > 0 { progress(count) }
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

    private func carry(_ resource: String, clock: ContinuousClock) async throws -> (keys: Int, isWhole: Bool) {
        if try await store.erasableKey(ofResource: resource) == nil {
            let made = try ring.makeErasableKey(for: resource)
            _ = try await store.commit(StoreChange(writes: [.insertErasableKey(made.record)]))
        }
        var (count, isWhole) = (0, true)
        var last: KeyRecord?
        while true {
            try Task.checkCancellation()
            let records = try await store.keys(ofResource: resource, behind: last, limit: Self.page)
            guard let end = records.last else { return (count, isWhole) }
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
                let took = start.duration(to: clock.now)
                if took > Resealer.slow { try await clock.sleep(for: took) }
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
