package import WireText

/// Who is in a space at a moment. Between two moments at which somebody came or left nothing changes, and nothing is computed.
package struct Presence: Sendable {
    private let intervals: [String: [SpaceLog.Interval]]
    /// When somebody came or left, ascending.
    private let changes: [Timestamp]
    /// How many changes lie behind the present moment; -1: there was none yet.
    private(set) var epoch = -1
    /// joined <= t < left, ascending.
    package private(set) var ids: [String] = []
    /// For whom a key is asked for: who is still in the space first, then who left last.
    package private(set) var readers: [String] = []

    package init(_ log: SpaceLog) {
        intervals = log.intervals
        changes = Set(log.intervals.values.joined().flatMap { [$0.joined, $0.left].compactMap(\.self) }).sorted()
    }

    package mutating func move(to time: Timestamp) {
        var low = 0, high = changes.count
        while low < high {
            let middle = (low + high) / 2
            if changes[middle] <= time { low = middle + 1 } else { high = middle }
        }
        guard low != epoch else { return }
        epoch = low
        let end = Timestamp(milliseconds: .max)
        ids = intervals.filter { $0.value.contains { $0.joined <= time && time < $0.left ?? end } }.keys.sorted()
        let lasts = ids.map { id in (left: intervals[id]?.last?.left ?? end, id: id) }
        readers = lasts.sorted { ($1.left, $0.id) < ($0.left, $1.id) }.map(\.id)
    }
}
