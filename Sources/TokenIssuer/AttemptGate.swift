import Synchronization
package import WireText

/// The two limits on guessing passwords and secrets: per account, known or not, and per network address.
///
/// An attempt is paid for before the password is looked at, so that parallel guesses count, and given back when it was
/// right, so that a company behind one address is not shut out by its own successful logins. Thread-safe.
package final class AttemptGate: Sendable {
    package struct Rates: Sendable, Equatable {
        package var account: AttemptLimiter.Rate
        package var address: AttemptLimiter.Rate

        package init(
            account: AttemptLimiter.Rate = .init(burst: 5, intervalSeconds: 60),
            address: AttemptLimiter.Rate = .init(burst: 30, intervalSeconds: 10)
        ) {
            self.account = account
            self.address = address
        }
    }

    /// An attempt that was let through.
    package struct Pass: Sendable {
        fileprivate let account: String
        fileprivate let address: String
    }

    package enum Verdict: Sendable {
        case pass(Pass)
        case wait(seconds: Int64)
    }

    private struct State {
        var accounts: AttemptLimiter
        var addresses: AttemptLimiter
    }

    private let state: Mutex<State>

    package init(rates: Rates = Rates()) {
        state = Mutex(
            State(accounts: AttemptLimiter(rate: rates.account), addresses: AttemptLimiter(rate: rates.address)))
    }

    /// `account` is any text that names one: it is compared in its normal form and kept in memory only.
    package func enter(account: String, address: String, now: Timestamp) -> Verdict {
        let account = String(Accounts.normalized(account).prefix(AuthorizationRequest.maximumHintLength))
        let address = Self.network(of: address)
        return state.withLock { state in
            if let seconds = state.addresses.take(address, now: now) { return .wait(seconds: seconds) }
            if let seconds = state.accounts.take(account, now: now) {
                state.addresses.giveBack(address, now: now)
                return .wait(seconds: seconds)
            }
            return .pass(Pass(account: account, address: address))
        }
    }

    /// The attempt was right, or was never judged.
    package func giveBack(_ pass: Pass, now: Timestamp) {
        state.withLock { state in
            state.accounts.giveBack(pass.account, now: now)
            state.addresses.giveBack(pass.address, now: now)
        }
    }

    /// One subscriber owns a whole /64 of IPv6, so that is what counts as one address. An IPv4 address that is mapped
    /// into IPv6 stays whole.
    static func network(of address: String) -> String {
        guard address.contains(":"), !address.contains(".") else { return address }
        let text = address.prefix { $0 != "%" }
        let halves = text.split(separator: ":", omittingEmptySubsequences: false).map { $0.lowercased() }
        guard let gap = halves.dropFirst().firstIndex(of: "") else { return halves.prefix(4).joined(separator: ":") }
        let head = halves[..<gap].map { $0.isEmpty ? "0" : $0 }
        let tail = halves[gap...].filter { !$0.isEmpty }
        let zeros = [String](repeating: "0", count: max(0, 8 - head.count - tail.count))
        return (head + zeros + tail).prefix(4).joined(separator: ":")
    }
}
