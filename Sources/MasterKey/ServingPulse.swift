import Synchronization

/// How long requests took lately, for work in the background that is to leave them alone. Any thread may call.
///
/// Nothing is gathered before somebody listens; then each request costs one lock that nearly nobody else wants.
package final class ServingPulse: Sendable {
    private static let capacity = 8_192
    private let listeners = Atomic(0)
    private let durations = Mutex<[UInt32]>([])

    package init() {}

    /// A request was answered after so many microseconds.
    package func note(_ microseconds: Int) {
        guard listeners.load(ordering: .relaxed) > 0 else { return }
        durations.withLock { durations in
            guard durations.count < Self.capacity else { return }
            durations.append(UInt32(clamping: microseconds))
        }
    }

    func listen() { listeners.wrappingAdd(1, ordering: .relaxed) }

    func leave() {
        guard listeners.wrappingSubtract(1, ordering: .relaxed).newValue == 0 else { return }
        durations.withLock { $0 = [] }
    }

    /// What was noted since the last call, in microseconds; empty when nobody asked for anything.
    func take() -> [UInt32] {
        durations.withLock { durations in
            defer { durations.removeAll(keepingCapacity: true) }
            return durations
        }
    }
}
