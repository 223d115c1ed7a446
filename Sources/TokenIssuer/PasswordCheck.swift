import Cryptography
import Dispatch
import Synchronization

/// Where passwords and secrets are compared: on threads of their own, a few at a time, with the same work for an account
/// that does not exist.
///
/// One scrypt comparison takes about 0.1 s of a core and 32 MiB. It must not sit on the cooperative pool, and a flood must
/// not take all memory: beyond `waiting` comparisons the next ones are refused at once.
package final class PasswordCheck: Sendable {
    /// Too many comparisons are waiting.
    package struct Busy: Error, Equatable {}

    private let lanes: [DispatchQueue]
    private let waiting: Int
    private let state = Mutex(State())
    /// What the password of an unknown account is compared with; nobody knows the password behind it.
    private let decoy: String

    private struct State {
        var next = 0
        var inFlight = 0
    }

    package init(lanes count: Int = 2, waiting: Int = 64) throws {
        lanes = (0..<max(1, count)).map { DispatchQueue(label: "password-check-\($0)") }
        self.waiting = waiting
        decoy = try PasswordHash.hash(SHA256.hash(RandomBytes.bytes(32)).description)
    }

    /// Whether `password` is the one behind `hash`. Nil for the hash of an unknown account: the work is done all the same
    /// and the answer is no.
    package func isRight(_ password: String, hash: String?) async throws(Busy) -> Bool {
        let lane = state.withLock { state -> DispatchQueue? in
            guard state.inFlight < waiting else { return nil }
            state.inFlight += 1
            state.next = (state.next + 1) % lanes.count
            return lanes[state.next]
        }
        guard let lane else { throw Busy() }
        let decoy = decoy
        let isRight = await withCheckedContinuation { continuation in
            lane.async { continuation.resume(returning: PasswordHash.verify(password, against: hash ?? decoy)) }
        }
        state.withLock { $0.inFlight -= 1 }
        return isRight && hash != nil
    }

    /// Whether a text has the outer form of a hash, so that a clear password in its place is refused when it is read.
    static func isHash(_ text: String) -> Bool {
        let parts = text.split(separator: "$", omittingEmptySubsequences: false)
        return parts.count == 4 && parts[0] == "scrypt" && parts[1].hasPrefix("ln=") && parts[2].count >= 16
            && parts[3].count >= 22
    }
}
