import Synchronization

/// A bounded cache in two generations: what was not used while `capacity / 2` others came is forgotten.
///
/// Every call takes one lock for the time of one or two dictionary accesses.
package final class TwoGenerationCache<Key: Hashable & Sendable, Value: Sendable>: Sendable {
    private struct State {
        var young: [Key: Value] = [:]
        var old: [Key: Value] = [:]
    }

    private let half: Int
    private let state = Mutex(State())

    package init(capacity: Int) { half = max(1, capacity / 2) }

    package subscript(key: Key) -> Value? {
        get {
            state.withLock { state in
                if let value = state.young[key] { return value }
                guard let value = state.old.removeValue(forKey: key) else { return nil }
                insert(value, key, &state)
                return value
            }
        }
        set {
            state.withLock { state in
                state.old[key] = nil
                if let newValue {
                    insert(newValue, key, &state)
                } else {
                    state.young[key] = nil
                }
            }
        }
    }

    private func insert(_ value: Value, _ key: Key, _ state: inout State) {
        if state.young.count >= half {
            state.old = state.young
            state.young = [:]
        }
        state.young[key] = value
    }
}
