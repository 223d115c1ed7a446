import Diagnostics
import Synchronization

/// Tells once how keeping a record ended, whether the end comes before the question or after it.
final class KeepTicket: Sendable {
    typealias Completion = @Sendable (DiagnosedError?) -> Void

    private enum State {
        case open
        case asked(Completion)
        case ended(DiagnosedError?)
    }

    private let state = Mutex(State.open)

    init() {}

    /// Of what needs no record.
    static var kept: KeepTicket {
        let ticket = KeepTicket()
        ticket.end(nil)
        return ticket
    }

    /// Nil: the record is on the disk. Called once.
    func end(_ failure: DiagnosedError?) {
        let completion = state.withLock { state -> Completion? in
            defer { state = .ended(failure) }
            if case .asked(let completion) = state { return completion }
            return nil
        }
        completion?(failure)
    }

    /// Calls `completion` when it has ended: at once, or later on the trail's thread, so it must be short. Asked once.
    func whenEnded(_ completion: @escaping Completion) {
        let ended = state.withLock { state -> DiagnosedError?? in
            if case .ended(let failure) = state { return .some(failure) }
            state = .asked(completion)
            return nil
        }
        if let ended { completion(ended) }
    }

    func ended() async -> DiagnosedError? {
        await withCheckedContinuation { continuation in whenEnded { continuation.resume(returning: $0) } }
    }
}
