import Diagnostics
import WireText

/// Octets that are read from the front; whatever is missing or out of range is an error, never a trap.
struct SearchReader {
    private let octets: [UInt8]
    private var position: Int
    private let end: Int

    init(_ octets: [UInt8]) {
        self.octets = octets
        position = 0
        end = octets.count
    }

    init(_ octets: [UInt8], in range: Range<Int>) {
        self.octets = octets
        position = range.lowerBound
        end = range.upperBound
    }

    var remaining: Int { end - position }

    mutating func number(octets count: Int, _ what: String) throws(DiagnosedError) -> UInt64 {
        guard remaining >= count else { throw missing(what, count) }
        var value: UInt64 = 0
        for index in position..<(position + count) { value = value << 8 | UInt64(octets[index]) }
        position += count
        return value
    }

    mutating func octet(_ what: String) throws(DiagnosedError) -> UInt8 {
        UInt8(truncatingIfNeeded: try number(octets: 1, what))
    }

    mutating func signed(_ what: String) throws(DiagnosedError) -> Int64 {
        Int64(bitPattern: try number(octets: 8, what))
    }

    mutating func take(_ count: Int, _ what: String) throws(DiagnosedError) -> [UInt8] {
        let range = try span(count, what)
        return Array(octets[range])
    }

    /// Where the next octets stand, which count as read.
    mutating func span(_ count: Int, _ what: String) throws(DiagnosedError) -> Range<Int> {
        guard remaining >= count else { throw missing(what, count) }
        defer { position += count }
        return position..<(position + count)
    }

    /// A name behind its length in one octet: UTF-8, not empty.
    mutating func name(_ what: String) throws(DiagnosedError) -> String {
        let count = Int(try octet(what))
        guard count > 0 else { throw .searchMalformed("a name is empty", expected: what) }
        let bytes = try take(count, what)
        guard let text = bytes.withUnsafeBytes({ String(validUTF8: $0) }) else {
            throw .searchMalformed("a name is not UTF-8", expected: what)
        }
        return text
    }

    func finish(_ what: String) throws(DiagnosedError) {
        guard remaining == 0 else {
            throw .searchMalformed("\(what) is longer than its fields", found: "\(remaining) octets too many")
        }
    }

    private func missing(_ what: String, _ count: Int) -> DiagnosedError {
        .searchMalformed("octets are missing", expected: "\(what) of \(count) octets", found: "\(remaining) octets")
    }
}

extension [UInt8] {
    mutating func append(search number: UInt64, octets count: Int) {
        Swift.withUnsafeBytes(of: number.bigEndian) { append(contentsOf: $0[(8 - count)...]) }
    }

    /// All in one piece: an entry is mostly these.
    mutating func append(searchTokens tokens: [UInt64]) {
        tokens.map { $0.bigEndian }.withUnsafeBytes { append(contentsOf: $0) }
    }

    mutating func append(searchName text: String) {
        append(UInt8(truncatingIfNeeded: text.utf8.count))
        append(contentsOf: text.utf8)
    }
}

enum SearchName {
    /// A room or message id as the format carries it: 1 to 255 octets.
    static func check(_ text: String, _ what: String) throws(DiagnosedError) {
        guard (1...255).contains(text.utf8.count) else {
            throw .searchLimit(
                "\(what) does not fit into an entry", expected: "1 to 255 octets", found: "\(text.utf8.count)")
        }
    }
}
