import Diagnostics
package import ServiceRuntime
import Synchronization

/// Whether the store takes so long for its changes that clients notice: counted from look to look. Thread-safe.
///
/// The alarm HDS-DB-LATENCY is raised when in two looks one after the other more than a tenth of the changes was slow, and
/// cleared when in two of them less was. One slow change, such as a checkpoint, is none.
package final class StoreLatency: Sendable {
    /// What a client of this protocol gives one operation on a key.
    static let limit = Duration.milliseconds(250)

    private struct Window {
        var count = 0
        var slow = 0
        var longest = Duration.zero

        var isSlow: Bool { slow * 10 > count }
    }

    private struct State {
        var window = Window()
        /// How many looks in sequence had the same outcome, and which.
        var row = 0
        var wasSlow = false
    }

    private let state = Mutex(State())

    package init() {}

    package func note(_ took: Duration) {
        state.withLock { state in
            state.window.count += 1
            guard took > Self.limit else { return }
            state.window.slow += 1
            state.window.longest = max(state.window.longest, took)
        }
    }

    /// Ends the time that is looked at. Called in an interval.
    package func report(to alarms: AlarmBoard) {
        let (window, row) = state.withLock { state in
            defer { state.window = Window() }
            state.row = state.window.isSlow == state.wasSlow ? state.row + 1 : 1
            state.wasSlow = state.window.isSlow
            return (state.window, state.row)
        }
        guard row >= 2 else { return }
        let longest = window.longest.components
        let milliseconds = Int(longest.seconds) * 1000 + Int(longest.attoseconds / 1_000_000_000_000_000)
        let slow = Loggable(window.slow), count = Loggable(window.count)
        if window.isSlow {
            alarms.raise(
                .databaseLatency,
                "\(slow) of \(count) changes took over 250 ms, the longest \(Loggable(milliseconds)) ms")
        } else {
            alarms.clear(.databaseLatency, "\(slow) of \(count) changes took over 250 ms")
        }
    }
}
