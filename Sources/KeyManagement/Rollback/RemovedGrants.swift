/// Which grants of a space were taken back, by their places in the order of its grants: part of the space's sealed head.
///
/// A grant that is given again has a new place, so a list holds exactly those that were removed since their last grant. Who
/// puts an old authorization row back into the database puts back a place that stands here. Neighbours are kept as one
/// range; beyond `maximum` ranges the oldest is forgotten: such a row is then found by the scan of all rows only.
struct RemovedGrants: Sendable, Equatable {
    static let maximum = 1024

    /// Apart from each other, lowest first.
    private(set) var ranges: [ClosedRange<Int64>] = []

    init() {}

    func contains(_ order: Int64) -> Bool {
        var (low, high) = (0, ranges.count)
        while low < high {
            let middle = (low + high) / 2
            if ranges[middle].upperBound < order { low = middle + 1 } else { high = middle }
        }
        return low < ranges.count && ranges[low].contains(order)
    }

    mutating func insert(_ order: Int64) {
        guard order >= 0, order < .max, !contains(order) else { return }
        let place = ranges.firstIndex { $0.lowerBound > order } ?? ranges.count
        var range = order...order
        var replaced = place..<place
        if place < ranges.count, ranges[place].lowerBound == order + 1 {
            range = order...ranges[place].upperBound
            replaced = place..<place + 1
        }
        if place > 0, ranges[place - 1].upperBound == order - 1 {
            range = ranges[place - 1].lowerBound...range.upperBound
            replaced = place - 1..<replaced.upperBound
        }
        ranges.replaceSubrange(replaced, with: [range])
        if ranges.count > Self.maximum { ranges.removeFirst() }
    }

    /// Distances and lengths in groups of 7 bits, lowest first, as LEB128 has them: mostly two octets for a range.
    var octets: [UInt8] {
        var octets: [UInt8] = []
        func append(_ number: Int64) {
            var rest = UInt64(bitPattern: number)
            while rest > 0x7F {
                octets.append(UInt8(truncatingIfNeeded: rest) | 0x80)
                rest >>= 7
            }
            octets.append(UInt8(truncatingIfNeeded: rest))
        }
        var end: Int64 = 0
        for range in ranges {
            append(range.lowerBound - end)
            append(range.upperBound - range.lowerBound)
            end = range.upperBound
        }
        return octets
    }

    /// Nil unless `octets` wrote it.
    init?(_ octets: some Collection<UInt8>) {
        var numbers: [Int64] = []
        var number: UInt64 = 0
        var shift: UInt64 = 0
        for octet in octets {
            guard shift < 63 else { return nil }
            number |= UInt64(octet & 0x7F) << shift
            shift += 7
            guard octet & 0x80 == 0 else { continue }
            numbers.append(Int64(bitPattern: number))
            (number, shift) = (0, 0)
        }
        guard shift == 0, numbers.count.isMultiple(of: 2), numbers.count <= 2 * Self.maximum else { return nil }
        var end: Int64 = 0
        for index in stride(from: 0, to: numbers.count, by: 2) {
            let (start, isStartTooLarge) = end.addingReportingOverflow(numbers[index])
            let (last, isLastTooLarge) = start.addingReportingOverflow(numbers[index + 1])
            guard !isStartTooLarge, !isLastTooLarge, numbers[index] >= (index == 0 ? 0 : 2), numbers[index + 1] >= 0
            else { return nil }
            ranges.append(start...last)
            end = last
        }
    }
}
