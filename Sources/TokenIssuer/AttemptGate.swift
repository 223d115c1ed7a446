import Synchronization
package import WireText

/// The limits on guessing passwords and secrets: per account, known or not, and per network address.
///
/// An attempt is paid for before the password is looked at, so that parallel guesses count, and given back when it was
/// right, so that a company behind one address is not shut out by its own successful logins. An address from which an
/// account got in lately has an allowance of its own for it: who guesses from elsewhere does not lock the owner out.
/// Thread-safe; all of it is memory of this process.
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
        /// Under which name the attempt was counted: that of the account, or of the account at this address.
        fileprivate let counted: String
    }

    package enum Verdict: Sendable {
        case pass(Pass)
        case wait(seconds: Int64)
    }

    private struct State {
        var accounts: AttemptLimiter
        var addresses: AttemptLimiter
        /// Accounts at addresses from which they got in, and until when that counts.
        var proven: [String: Timestamp] = [:]
    }

    private static let provenForSeconds: Int64 = 30 * 86_400
    private static let maximumProven = 50_000
    private let state: Mutex<State>

    package init(rates: Rates = Rates()) {
        state = Mutex(
            State(accounts: AttemptLimiter(rate: rates.account), addresses: AttemptLimiter(rate: rates.address)))
    }

    /// `account` is any text that names one: it is compared in its normal form.
    package func enter(account: String, address: String, now: Timestamp) -> Verdict {
        let account = String(Accounts.normalized(account).prefix(AuthorizationRequest.maximumHintLength))
        let address = Self.network(of: address)
        let pair = Self.pair(account, address)
        return state.withLock { state in
            if let seconds = state.addresses.take(address, now: now) { return .wait(seconds: seconds) }
            let isProven = state.proven[pair].map { now < $0 } ?? false
            let counted = isProven ? pair : "account " + account
            if let seconds = state.accounts.take(counted, now: now) {
                state.addresses.giveBack(address, now: now)
                return .wait(seconds: seconds)
            }
            return .pass(Pass(account: account, address: address, counted: counted))
        }
    }

    /// The attempt was right.
    package func succeeded(_ pass: Pass, now: Timestamp) {
        giveBack(pass, now: now)
        state.withLock { state in
            if state.proven.count >= Self.maximumProven { state.proven = state.proven.filter { now < $0.value } }
            guard state.proven.count < Self.maximumProven else { return }
            state.proven[Self.pair(pass.account, pass.address)] = now.adding(seconds: Self.provenForSeconds)
        }
    }

    /// The attempt was never judged.
    package func giveBack(_ pass: Pass, now: Timestamp) {
        state.withLock { state in
            state.accounts.giveBack(pass.counted, now: now)
            state.addresses.giveBack(pass.address, now: now)
        }
    }

    /// Never the name under which an account without proof is counted, whatever somebody types as an account.
    private static func pair(_ account: String, _ address: String) -> String { "address \(address) account \(account)" }

    /// One subscriber owns a whole /64 of IPv6, so that is what counts as one address. An IPv4 address that is mapped
    /// into IPv6 stays whole.
    static func network(of address: String) -> String {
        guard address.contains(":"), !address.contains(".") else { return address }
        let text = address.prefix { $0 != "%" }
        let groups = text.split(separator: ":", omittingEmptySubsequences: false).map { $0.lowercased() }
        guard let gap = groups.dropFirst().firstIndex(of: "") else { return groups.prefix(4).joined(separator: ":") }
        let head = groups[..<gap].map { $0.isEmpty ? "0" : $0 }
        let tail = groups[gap...].filter { !$0.isEmpty }
        let zeros = [String](repeating: "0", count: max(0, 8 - head.count - tail.count))
        return (head + zeros + tail).prefix(4).joined(separator: ":")
    }
}
