/// Decides when a request to one host may go: so many at once, so many in a second, none while the host wants none.
///
/// A pure state machine; time is what has passed since its clock began.
package struct HostGate: Sendable {
    package struct Limits: Sendable {
        package var concurrent: Int
        package var perSecond: Int
        /// Who would have to wait longer is told so at once.
        package var patience: Duration

        package init(concurrent: Int = 4, perSecond: Int = 20, patience: Duration = .seconds(10)) {
            self.concurrent = max(1, concurrent)
            self.perSecond = max(1, perSecond)
            self.patience = patience
        }
    }

    package enum Decision: Sendable, Equatable {
        case go
        /// Ask again then.
        case wait(Duration)
        /// Ask again when a request ends.
        case full
        /// The host is closed for that much longer, and that is too long.
        case refuse(Duration)
    }

    /// The longest pause, whatever a host asks for.
    static let longestPause = Duration.seconds(3600)
    private static let firstPause = Duration.seconds(1)

    private let limits: Limits
    private var running = 0
    private var nextStart = Duration.zero
    private var closedUntil = Duration.zero
    private var refusals = 0

    package init(_ limits: Limits) { self.limits = limits }

    package mutating func ask(at now: Duration) -> Decision {
        if now < closedUntil {
            let left = closedUntil - now
            return left > limits.patience ? .refuse(left) : .wait(left)
        }
        guard running < limits.concurrent else { return .full }
        guard now >= nextStart else { return .wait(nextStart - now) }
        running += 1
        nextStart = now + .seconds(1) / limits.perSecond
        return .go
    }

    /// A request has ended, and the host did not ask for a pause.
    package mutating func end(isWelcome: Bool) {
        running -= 1
        if isWelcome { refusals = 0 }
    }

    /// A request has ended with a wish for a pause: as long as told, or twice as long as the last one.
    /// - Returns: how long the host is left alone.
    package mutating func pushedBack(at now: Duration, retryAfter: Duration?) -> Duration {
        running -= 1
        refusals += 1
        let own = Self.firstPause * (1 << min(refusals - 1, 8))
        let pause = min(max(retryAfter ?? own, .zero), Self.longestPause)
        closedUntil = max(closedUntil, now + pause)
        return pause
    }
}
