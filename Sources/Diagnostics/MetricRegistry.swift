import Synchronization

/// Every instrument of a process, made on first use by metric and label values.
///
/// Keep what `counter`, `gauge` and `histogram` return where the path is hot: using an instrument is one atomic
/// operation, finding it takes a lock and a dictionary. A metric holds at most 500 combinations of label values; what
/// comes after shares one series in which every label is `other`, so that no input can grow memory without end.
package final class MetricRegistry: Sendable {
    private enum Instrument: Sendable {
        case counter(Counter)
        case gauge(Gauge)
        case histogram(Histogram)
        case reading(@Sendable () -> Double)
    }

    private struct Family: Sendable {
        let metric: Metric
        var series: [[String]: Instrument] = [:]
    }

    package static let maximumSeries = 500
    private let families = Mutex<[String: Family]>([:])

    package init() {}

    package func counter(_ metric: Metric, _ labels: [String] = []) -> Counter {
        assert(metric.kind == .counter && metric.labels.count == labels.count, metric.name)
        if case .counter(let counter) = instrument(metric, labels, make: { .counter(Counter()) }) { return counter }
        return Counter()
    }
    package func gauge(_ metric: Metric, _ labels: [String] = []) -> Gauge {
        assert(metric.kind == .gauge && metric.labels.count == labels.count, metric.name)
        if case .gauge(let gauge) = instrument(metric, labels, make: { .gauge(Gauge()) }) { return gauge }
        return Gauge()
    }
    package func histogram(_ metric: Metric, _ labels: [String] = []) -> Histogram {
        let bounds = if case .histogram(let bounds) = metric.kind { bounds } else { [Double]() }
        assert(!bounds.isEmpty && metric.labels.count == labels.count, metric.name)
        let found = instrument(metric, labels, make: { .histogram(Histogram(bounds: bounds)) })
        if case .histogram(let histogram) = found { return histogram }
        return Histogram(bounds: bounds)
    }
    /// A value that is asked for when somebody looks; the closure must be quick and is called from any thread.
    package func read(_ metric: Metric, _ labels: [String] = [], _ value: @escaping @Sendable () -> Double) {
        _ = instrument(metric, labels, make: { .reading(value) })
    }

    private func instrument(_ metric: Metric, _ labels: [String], make: () -> Instrument) -> Instrument {
        families.withLock { families in
            if let known = families[metric.name]?.series[labels] { return known }
            var family = families[metric.name] ?? Family(metric: metric)
            var labels = labels
            if family.series.count >= Self.maximumSeries {
                labels = metric.labels.map { _ in "other" }
                if let known = family.series[labels] { return known }
            }
            let made = make()
            family.series[labels] = made
            families[metric.name] = family
            return made
        }
    }

    /// The values of this moment, by name and then by labels.
    package func collect() -> [MetricFamily] {
        let families = families.withLock { Array($0.values) }
        return families.sorted { $0.metric.name < $1.metric.name }.map { family in
            let series = family.series.sorted { $0.key.lexicographicallyPrecedes($1.key) }
            return MetricFamily(
                metric: family.metric,
                series: series.map { labels, instrument in
                    let value: MetricValue =
                        switch instrument {
                        case .counter(let counter): .number(Double(counter.value))
                        case .gauge(let gauge): .number(gauge.value)
                        case .reading(let read): .number(read())
                        case .histogram(let histogram):
                            .histogram(
                                bounds: histogram.bounds, cumulativeCounts: histogram.cumulativeCounts,
                                sum: histogram.sum)
                        }
                    return MetricFamily.Series(labels: labels, value: value)
                })
        }
    }
}

/// A metric with the values of all its series.
package struct MetricFamily: Sendable {
    package struct Series: Sendable {
        /// In the order of `metric.labels`.
        package let labels: [String]
        package let value: MetricValue
    }

    package let metric: Metric
    package let series: [Series]
}

package enum MetricValue: Sendable {
    case number(Double)
    case histogram(bounds: [Double], cumulativeCounts: [UInt64], sum: Double)
}
