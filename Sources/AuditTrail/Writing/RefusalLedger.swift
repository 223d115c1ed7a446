import WireText

/// Which refusals are kept one by one and which are only counted.
///
/// The first ones of a source in a minute are kept, up to a budget for all sources together; the rest is counted by
/// source, rule and status. Pure; bounded in memory: past the limit of counters everything falls into one.
struct RefusalLedger: Sendable {
    struct Limits: Sendable {
        var perSource = 5
        var perMinute = 100
        var counters = 200
    }

    struct Counter: Sendable, Hashable {
        let source: String
        let rule: String
        let status: Int
        /// Of all that found no counter of their own.
        static let others = Counter(source: "*", rule: "*", status: 0)
    }

    struct Aggregate: Sendable, Equatable {
        let counter: Counter
        var count: Int64
        var since: Timestamp
        var until: Timestamp
    }

    private let limits: Limits
    private var minute: Int64?
    private var keptBySource: [String: Int] = [:]
    private var keptInMinute = 0
    private var counts: [Counter: Aggregate] = [:]

    init(_ limits: Limits = Limits()) { self.limits = limits }

    /// How many refusals wait to be written as a count.
    var waiting: Int64 { counts.values.reduce(0) { $0 + $1.count } }

    /// Whether the refusal is to be kept by itself; else it was counted.
    mutating func note(_ counter: Counter, at time: Timestamp) -> Bool {
        let now = time.milliseconds / 60_000
        if now != minute {
            minute = now
            keptBySource = [:]
            keptInMinute = 0
        }
        let kept = keptBySource[counter.source] ?? 0
        guard kept < limits.perSource, keptInMinute < limits.perMinute else {
            add(Aggregate(counter: counter, count: 1, since: time, until: time))
            return false
        }
        keptBySource[counter.source] = kept + 1
        keptInMinute += 1
        return true
    }

    mutating func add(_ aggregate: Aggregate) {
        var aggregate = aggregate
        if counts[aggregate.counter] == nil, counts.count >= limits.counters {
            aggregate = Aggregate(
                counter: .others, count: aggregate.count, since: aggregate.since, until: aggregate.until)
        }
        guard let old = counts[aggregate.counter] else { return counts[aggregate.counter] = aggregate }
        counts[aggregate.counter] = Aggregate(
            counter: old.counter, count: old.count + aggregate.count, since: min(old.since, aggregate.since),
            until: max(old.until, aggregate.until))
    }

    /// Everything counted so far, in a fixed order; the counters start anew.
    mutating func take() -> [Aggregate] {
        defer { counts = [:] }
        return counts.values.sorted {
            ($0.counter.source, $0.counter.rule, $0.counter.status)
                < ($1.counter.source, $1.counter.rule, $1.counter.status)
        }
    }
}

extension RefusalLedger.Aggregate {
    func record(at now: Timestamp) -> AuditRecord {
        var record = AuditRecord(.refusals, at: now)
        record.rule = counter.rule
        record.status = counter.status
        record.own.source = counter.source
        record.own.count = count
        record.own.since = since
        record.own.until = until
        return record
    }
}
