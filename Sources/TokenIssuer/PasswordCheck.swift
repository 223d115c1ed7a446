import Cryptography
import Dispatch
import Synchronization
import WireText

/// Where passwords and secrets are compared: on threads of their own, a few at a time, with the same work for an account
/// that does not exist.
///
/// One scrypt comparison takes about 0.1 s of a core and 32 MiB. It must not sit on the cooperative pool, and a flood must
/// not take all memory: beyond `waiting` comparisons the next ones are refused at once.
package final class PasswordCheck: Sendable {
    /// Too many comparisons are waiting.
    package struct Busy: Error, Equatable {}

    /// Compares a password with a hash; blocks for as long as it takes.
    package typealias Comparison = @Sendable (_ password: String, _ hash: String) -> Bool

    private let compare: Comparison
    private let lanes: [DispatchQueue]
    private let waiting: Int
    private let state = Mutex(State())
    /// What the password of an unknown account is compared with; nobody knows the password behind it.
    private let decoy: String

    private struct State {
        var next = 0
        var inFlight = 0
    }

    /// - Parameter decoy: a hash whose password nobody knows; made fresh by default, with the usual cost.
    package init(
        lanes count: Int = 2, waiting: Int = 64, decoy: String? = nil,
        compare: @escaping Comparison = { PasswordHash.verify($0, against: $1) }
    ) throws {
        self.compare = compare
        lanes = (0..<max(1, count)).map { DispatchQueue(label: "password-check-\($0)") }
        self.waiting = waiting
        self.decoy = try decoy ?? PasswordHash.hash(SHA256.hash(RandomBytes.bytes(32)).description)
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
        let (compare, other) = (compare, hash ?? decoy)
        let isRight = await withCheckedContinuation { continuation in
            lane.async { continuation.resume(returning: compare(password, other)) }
        }
        state.withLock { $0.inFlight -= 1 }
        return isRight && hash != nil
    }

    /// Whether a text is a hash that `PasswordHash` can compare with, so that a clear password in its place, or a hash with
    /// a missing end, is refused when the file is read and not at the login.
    static func isHash(_ text: String) -> Bool {
        let parts = text.split(separator: "$", omittingEmptySubsequences: false)
        guard parts.count == 4, parts[0] == "scrypt", text.utf8.count <= 256 else { return false }
        let parameters = parts[1].split(separator: ",", omittingEmptySubsequences: false)
        let bounds = [("ln=", 10...18), ("r=", 1...16), ("p=", 1...4)]
        guard parameters.count == bounds.count else { return false }
        for (parameter, (name, range)) in zip(parameters, bounds) {
            guard parameter.hasPrefix(name), let number = Int(parameter.dropFirst(name.count)), range.contains(number)
            else { return false }
        }
        guard let salt = Base64URL.decode(parts[2]), let hash = Base64URL.decode(parts[3]) else { return false }
        return (8...64).contains(salt.count) && (16...64).contains(hash.count)
    }
}
