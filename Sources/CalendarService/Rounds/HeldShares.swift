import Diagnostics
import Synchronization

/// The shares that this node holds, as far as it can be sure. A beat that does not come back in time costs all of them: another
/// node may have them then.
final class HeldShares: Sendable {
    /// How long the others wait for a node that is silent.
    static let life = Duration.seconds(12)
    static let pause = Duration.seconds(3)
    /// Before the life of a holding ends nothing new is begun under it.
    private static let margin = Duration.seconds(3)

    private struct State {
        var holdings: [Int: ShareHolding] = [:]
        var until = ContinuousClock.now
        var leaving: Set<Int> = []
        var trouble: DiagnosedError?
    }

    private let store: any CalendarStore
    private let node: String
    private let outbox: OutboxFlags
    private let life: Duration
    private let state = Mutex(State())

    /// - Parameter life: how long holdings count without another beat, more than the margin.
    init(_ store: any CalendarStore, node: String, outbox: OutboxFlags, life: Duration = HeldShares.life) {
        self.life = life
        self.store = store
        self.node = node
        self.outbox = outbox
    }

    /// The holding under which this user's work is done; nil when it is another node's, or nobody's for the moment.
    func holding(of user: String) -> ShareHolding? {
        let share = Shares.share(of: user)
        return state.withLock { state in
            guard ContinuousClock.now < state.until, !state.leaving.contains(share) else { return nil }
            return state.holdings[share]
        }
    }

    var all: [ShareHolding] {
        state.withLock { state in
            ContinuousClock.now < state.until
                ? state.holdings.values.filter { !state.leaving.contains($0.share) }.sorted { $0.share < $1.share } : []
        }
    }

    /// Why there was no beat; nil when the last one came back.
    var trouble: DiagnosedError? { state.withLock { $0.trouble } }

    func beat() async {
        let start = ContinuousClock.now
        let leaving = state.withLock { $0.leaving }
        do {
            let beat = try await store.beat(node: node, life: life, leaving: leaving)
            let surplus = Set(beat.surplus.map(\.share))
            let known = state.withLock { state -> Set<Int> in
                let known = Set(state.holdings.keys)
                state.holdings = Dictionary(
                    beat.holdings.map { ($0.share, $0) }, uniquingKeysWith: { first, _ in first })
                state.until = start + life - Self.margin
                // What is left now is free at the next beat, when work at it has ended.
                state.leaving = surplus
                state.trouble = nil
                return known
            }
            for holding in beat.holdings where !known.contains(holding.share) { outbox.raise(holding.share) }
        } catch {
            let trouble =
                error as? DiagnosedError
                ?? DiagnosedError(
                    .calendarStore, fault: .store, "the connector's database does not work", found: "\(error)")
            state.withLock { $0.trouble = trouble }
        }
    }

    /// Others may go on at once.
    func leave() async {
        state.withLock { $0.holdings = [:] }
        try? await store.leave(node: node)
    }
}
