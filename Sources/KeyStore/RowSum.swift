import WireText

/// A sum over rows as a store adds it up: eight numbers, each modulo 2^32, 256 bits together.
///
/// Without carries any database adds it with plain integers. What is summed is a keyed code for each row that the layers
/// above make (`SealRing.term`): a store adds and knows nothing of it.
package struct RowSum: Hashable, Sendable {
    package static let count = 8
    package static let modulus: Int64 = 1 << 32

    private var parts: SIMD8<UInt32>

    /// Of no row.
    package init() { parts = .zero }

    /// Nil unless there are 32 octets.
    package init?(_ octets: some Collection<UInt8>) {
        guard octets.count == 4 * Self.count else { return nil }
        parts = .zero
        for (index, octet) in octets.enumerated() { parts[index / 4] = parts[index / 4] << 8 | UInt32(octet) }
    }

    /// Nil unless there are eight numbers of 0 to 2^32 - 1.
    package init?(numbers: [Int64]) {
        guard numbers.count == Self.count, numbers.allSatisfy({ (0..<Self.modulus).contains($0) }) else { return nil }
        parts = .zero
        for (index, number) in numbers.enumerated() { parts[index] = UInt32(truncatingIfNeeded: number) }
    }

    package var numbers: [Int64] { (0..<Self.count).map { Int64(parts[$0]) } }

    package var octets: [UInt8] {
        (0..<Self.count).flatMap { index in withUnsafeBytes(of: parts[index].bigEndian) { Array($0) } }
    }

    package static func + (left: RowSum, right: RowSum) -> RowSum {
        var sum = left
        sum.parts &+= right.parts
        return sum
    }

    package static func - (left: RowSum, right: RowSum) -> RowSum {
        var sum = left
        sum.parts &-= right.parts
        return sum
    }

    package static func += (left: inout RowSum, right: RowSum) { left = left + right }
    package static func -= (left: inout RowSum, right: RowSum) { left = left - right }
}

/// What one writer has done to the store: how many changes, and the sum over the rows that it put in, less those that it
/// took away. The sums of all writers make the sum over all rows.
package struct WriterSum: Hashable, Sendable {
    /// A UUID: a node has one for as long as it remembers it.
    package var writer: String
    package var counter: Int64
    package var sum: RowSum

    package init(writer: String, counter: Int64, sum: RowSum) {
        self.writer = writer
        self.counter = counter
        self.sum = sum
    }
}

/// What a change adds to its writer's sum, in its own transaction; the counter rises by one.
package struct SumChange: Hashable, Sendable {
    package var writer: String
    package var sum: RowSum

    package init(writer: String, sum: RowSum) {
        self.writer = writer
        self.sum = sum
    }
}

extension StoreTable {
    /// Columns of `row_sums` behind writer and counter.
    package static let sumColumns = (0..<RowSum.count).map { "s\($0)" }
}

extension WriterSum {
    /// A row of `StoreTable.rowSums`; nil for one of another form.
    package init?(_ row: [StoreTable.Value]) {
        guard row.count == 2 + RowSum.count, case .octets(let octets) = row[0], case .integer(let counter) = row[1],
            let writer = octets.withUnsafeBytes({ RecordID(octets: $0) })
        else { return nil }
        let numbers = row[2...].compactMap { value -> Int64? in
            if case .integer(let number) = value { number } else { nil }
        }
        guard let sum = RowSum(numbers: numbers) else { return nil }
        self.init(writer: writer.text, counter: counter, sum: sum)
    }
}
