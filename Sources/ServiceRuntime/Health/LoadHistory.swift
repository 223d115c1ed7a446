package import Diagnostics
import ServiceLifecycle
import Synchronization
package import WireText

/// What the service did in the last hour, for the page of the health address: a ring in memory, lost with the process.
///
/// A sample each fifteen seconds, made of what the metrics have counted since the one before. Any thread.
package final class LoadHistory: Sendable {
    /// One moment; rates are of the time since the sample before it.
    package struct Sample: Sendable, Equatable {
        package let time: Timestamp
        /// Pieces of work in a second.
        package let rate: Double
        /// Within which time 95 of 100 were answered, in seconds; nil when nothing was, or it is not measured.
        package let answerTime: Double?
        /// Of one processor, 1 for all of it.
        package let processor: Double
        package let memoryBytes: Double
    }

    package static let kept = 240
    static let interval = Duration.seconds(15)
    /// What counts as a piece of work, one kind for each service, and its name.
    static let work: [(metric: Metric, title: String)] = [
        (.kmsRequests, "Requests"), (.coreDeliveries, "Deliveries"), (.tokens, "Tokens"),
    ]
    private static let quantile = 0.95

    private struct Counts {
        var time = Timestamp(seconds: 0)
        var work = 0.0
        var processor = 0.0
        var bounds: [Double] = []
        var answers: [UInt64] = []
    }

    private struct State {
        var last: Counts?
        var ring: [Sample] = []
        var next = 0
        var title = "Requests"
    }

    private let state = Mutex(State())

    package init() {}

    /// Oldest first.
    package var samples: [Sample] {
        state.withLock { state in Array(state.ring[state.next...]) + Array(state.ring[..<state.next]) }
    }
    /// What is counted, such as `Requests`.
    package var title: String { state.withLock { $0.title } }

    /// Takes a sample; the first call only begins to count.
    package func sample(_ families: [MetricFamily], now: Timestamp) {
        var counts = Counts(time: now)
        var (memory, title) = (0.0, String?.none)
        for family in families {
            if let work = Self.work.first(where: { $0.metric == family.metric }) {
                counts.work += family.series.reduce(0) { $0 + $1.value.count }
                title = work.title
            }
            switch family.metric {
            case .processCPU: counts.processor = family.series.reduce(0) { $0 + $1.value.count }
            case .processResidentMemory: memory = family.series.reduce(0) { $0 + $1.value.count }
            case .kmsRequestTime:
                for series in family.series {
                    guard case .histogram(let bounds, let cumulative, _) = series.value else { continue }
                    counts.bounds = bounds
                    if counts.answers.isEmpty { counts.answers = cumulative.map { _ in 0 } }
                    for (index, count) in cumulative.enumerated() { counts.answers[index] += count }
                }
            default: break
            }
        }
        let current = counts
        state.withLock { state in
            if let title { state.title = title }
            defer { state.last = current }
            guard let last = state.last, current.time > last.time else { return }
            let seconds = Double(current.time.milliseconds - last.time.milliseconds) / 1000
            let sample = Sample(
                time: now, rate: max(0, current.work - last.work) / seconds,
                answerTime: Self.quantile(current, since: last),
                processor: max(0, current.processor - last.processor) / seconds, memoryBytes: memory)
            if state.ring.count < Self.kept {
                state.ring.append(sample)
            } else {
                state.ring[state.next] = sample
                state.next = (state.next + 1) % Self.kept
            }
        }
    }

    /// By straight lines between the bounds, as Prometheus does it.
    private static func quantile(_ counts: Counts, since last: Counts) -> Double? {
        let before = last.answers.count == counts.answers.count ? last.answers : counts.answers.map { _ in 0 }
        let new = zip(counts.answers, before).map { Double($0) - Double($1) }
        guard let all = new.last, all > 0 else { return nil }
        let rank = quantile * all
        guard let index = new.firstIndex(where: { $0 >= rank }), index < counts.bounds.count else {
            return counts.bounds.last
        }
        let lower = index == 0 ? 0.0 : counts.bounds[index - 1]
        let below = index == 0 ? 0.0 : new[index - 1]
        let share = (rank - below) / max(new[index] - below, .leastNonzeroMagnitude)
        return lower + (counts.bounds[index] - lower) * share
    }
}

extension MetricValue {
    fileprivate var count: Double { if case .number(let value) = self { value } else { 0 } }
}

/// Takes the samples.
struct LoadSampling<Time: Clock>: Service where Time.Duration == Duration {
    let history: LoadHistory
    let metrics: MetricRegistry
    let clock: Time

    func run() async throws {
        try? await cancelWhenGracefulShutdown {
            while !Task.isCancelled {
                history.sample(metrics.collect(), now: .now())
                try await clock.sleep(for: LoadHistory.interval)
            }
        }
    }
}
