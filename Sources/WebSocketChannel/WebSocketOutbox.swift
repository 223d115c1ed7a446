import Diagnostics
import Synchronization

/// Messages that wait for the event loop, and the count of octets that wait for the kernel. Any thread.
final class WebSocketOutbox: Sendable {
    enum Appended {
        case refused
        /// The caller has to schedule a drain, for none is on its way.
        case accepted(mustSchedule: Bool)
    }

    static let closedError = DiagnosedError(
        .webSocketClosed, fault: .peer, "the WebSocket is closed", hint: "open a new one")

    private struct State {
        var messages: [WebSocketMessage] = []
        var unsentBytes = 0
        var isDrainScheduled = false
        var isClosed = false
        var waiters: [(id: UInt64, limit: Int, continuation: CheckedContinuation<Void, any Error>)] = []
        var lastWaiter: UInt64 = 0
    }

    private let state = Mutex(State())

    var unsentBytes: Int { state.withLock { $0.unsentBytes } }

    func append(_ message: WebSocketMessage, limit: Int) -> Appended {
        let count = message.byteCount
        return state.withLock { state in
            // A single message longer than the limit passes when nothing else waits.
            guard !state.isClosed, state.unsentBytes == 0 || state.unsentBytes + count <= limit else {
                return .refused
            }
            state.messages.append(message)
            state.unsentBytes += count
            defer { state.isDrainScheduled = true }
            return .accepted(mustSchedule: !state.isDrainScheduled)
        }
    }

    /// Takes all messages; they stay counted until `sent`.
    func take() -> [WebSocketMessage] {
        state.withLock { state in
            state.isDrainScheduled = false
            defer { state.messages = [] }
            return state.messages
        }
    }

    func sent(_ count: Int) {
        let ready = state.withLock { state in
            state.unsentBytes -= count
            guard !state.waiters.isEmpty else { return [CheckedContinuation<Void, any Error>]() }
            let unsent = state.unsentBytes
            let ready = state.waiters.filter { unsent <= $0.limit / 2 }.map(\.continuation)
            state.waiters.removeAll { unsent <= $0.limit / 2 }
            return ready
        }
        for waiter in ready { waiter.resume() }
    }

    /// Returns when fewer octets wait than `limit`.
    func waitForRoom(limit: Int) async throws {
        let id: UInt64? = try state.withLock { state in
            guard !state.isClosed else { throw Self.closedError }
            guard state.unsentBytes >= limit else { return nil }
            state.lastWaiter += 1
            return state.lastWaiter
        }
        guard let id else { return }
        try await withTaskCancellationHandler {
            try await withCheckedThrowingContinuation { (continuation: CheckedContinuation<Void, any Error>) in
                let failure: (any Error)?? = state.withLock { state in
                    if state.isClosed { return .some(Self.closedError) }
                    if Task.isCancelled { return .some(CancellationError()) }
                    if state.unsentBytes < limit { return .some(nil) }
                    state.waiters.append((id, limit, continuation))
                    return nil
                }
                switch failure {
                case .none: break
                case .some(.none): continuation.resume()
                case .some(.some(let error)): continuation.resume(throwing: error)
                }
            }
        } onCancel: {
            let waiter = state.withLock { state in
                state.waiters.firstIndex { $0.id == id }.map { state.waiters.remove(at: $0).continuation }
            }
            waiter?.resume(throwing: CancellationError())
        }
    }

    /// Nothing more is taken; who waits for room is told.
    func close() {
        let waiters = state.withLock { state in
            state.isClosed = true
            state.messages = []
            defer { state.waiters = [] }
            return state.waiters.map(\.continuation)
        }
        for waiter in waiters { waiter.resume(throwing: Self.closedError) }
    }
}
