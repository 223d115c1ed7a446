import Synchronization

/// A bounded cache in two generations: what was not used while `capacity / 2` others came is forgotten.
///
/// Every call takes one lock for the time of one or two dictionary accesses. These are inlinable, because what is generic
/// is not specialised across modules otherwise, and finding something would cost several times as much.
@usableFromInline
package final class TwoGenerationCache<Key: Hashable & Sendable, Value: Sendable>: Sendable {
    @usableFromInline
    struct State {
        @usableFromInline var young: [Key: Value] = [:]
        @usableFromInline var old: [Key: Value] = [:]

        @inlinable
        init() {}
    }

    @usableFromInline let half: Int
    private let state = Mutex(State())

    package init(capacity: Int) { half = max(1, capacity / 2) }

    @usableFromInline
    func withState<Result>(_ body: (inout sending State) -> sending Result) -> sending Result {
        state.withLock(body)
    }

    @inlinable
    package subscript(key: Key) -> Value? {
        get {
            withState { state in
                if let value = state.young[key] { return value }
                guard let value = state.old.removeValue(forKey: key) else { return nil }
                insert(value, key, &state)
                return value
            }
        }
        set {
            withState { state in
                if !state.old.isEmpty { state.old[key] = nil }
                if let newValue {
                    insert(newValue, key, &state)
                } else {
                    state.young[key] = nil
                }
            }
        }
    }

    @inlinable
    func insert(_ value: Value, _ key: Key, _ state: inout State) {
        if state.young.count >= half {
            state.old = state.young
            state.young = [:]
        }
        state.young[key] = value
    }
}
