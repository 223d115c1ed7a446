import Synchronization

/// A number that only rises. Any thread; one atomic addition.
package final class Counter: Sendable {
    private let count = Atomic<UInt64>(0)

    package init() {}
    package func increment(by amount: UInt64 = 1) { count.wrappingAdd(amount, ordering: .relaxed) }
    package var value: UInt64 { count.load(ordering: .relaxed) }
}

/// A number that rises and falls. Any thread; lock-free.
package final class Gauge: Sendable {
    private let number = AtomicDouble()

    package init() {}
    package func set(_ value: Double) { number.store(value) }
    package func set(_ flag: Bool) { number.store(flag ? 1 : 0) }
    package func add(_ amount: Double) { number.add(amount) }
    package var value: Double { number.load() }
}

/// How often a value fell under each of a row of bounds, with count and sum. Any thread; lock-free.
package final class Histogram: Sendable {
    package let bounds: [Double]
    /// One for each bound and the last for what lies above them all; not cumulative.
    private let buckets: [Counter]
    private let total = AtomicDouble()

    package init(bounds: [Double]) {
        self.bounds = bounds
        buckets = (0...bounds.count).map { _ in Counter() }
    }

    package func observe(_ value: Double) {
        let index = bounds.firstIndex { value <= $0 } ?? bounds.count
        buckets[index].increment()
        total.add(value)
    }
    /// For metrics whose unit is the second.
    package func observe(_ time: Duration) {
        let (seconds, attoseconds) = time.components
        observe(Double(seconds) + Double(attoseconds) * 1e-18)
    }

    package var sum: Double { total.load() }
    /// Observations at or below each bound; the last is the count of all.
    package var cumulativeCounts: [UInt64] {
        var running: UInt64 = 0
        return buckets.map {
            running += $0.value
            return running
        }
    }
}

/// A floating point number in an atomic word.
private final class AtomicDouble: Sendable {
    private let bits = Atomic<UInt64>(0)

    func load() -> Double { Double(bitPattern: bits.load(ordering: .relaxed)) }
    func store(_ value: Double) { bits.store(value.bitPattern, ordering: .relaxed) }
    func add(_ amount: Double) {
        var old = bits.load(ordering: .relaxed)
        while true {
            let new = (Double(bitPattern: old) + amount).bitPattern
            let (exchanged, current) = bits.weakCompareExchange(expected: old, desired: new, ordering: .relaxed)
            if exchanged { return }
            old = current
        }
    }
}
