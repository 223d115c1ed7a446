import Diagnostics
import Dispatch
import Synchronization

/// Where signatures are verified: on threads of their own, a few at a time, for each starts a program. Whoever sends
/// messages without end is refused at once when too many wait, and holds up nobody on other lanes.
final class VerificationLanes: Sendable {
    private let lanes: [DispatchQueue]
    private let waiting: Int
    private let state = Mutex((next: 0, inFlight: 0))

    init(_ name: String, count: Int, waiting: Int) {
        lanes = (0..<count).map { DispatchQueue(label: "\(name)-\($0)") }
        self.waiting = waiting
    }

    func run<Value: Sendable>(_ work: @escaping @Sendable () throws -> Value) async throws -> Value {
        let lane = state.withLock { state -> DispatchQueue? in
            guard state.inFlight < waiting else { return nil }
            state.inFlight += 1
            state.next = (state.next + 1) % lanes.count
            return lanes[state.next]
        }
        guard let lane else {
            throw DiagnosedError(
                .samlBusy, fault: .client, "too many messages wait to be verified", expected: "at most \(waiting)")
        }
        defer { state.withLock { $0.inFlight -= 1 } }
        return try await withCheckedThrowingContinuation { continuation in
            lane.async { continuation.resume(with: Result { try work() }) }
        }
    }
}
