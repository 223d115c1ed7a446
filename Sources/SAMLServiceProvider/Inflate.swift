/// Raw DEFLATE (RFC 1951), as the redirect binding uses it: small messages, whole in memory, with a bound.
///
/// Compressing writes stored blocks: nobody counts the octets of a redirect. Expanding reads every kind of block and
/// stops at the bound, before more is in memory.
enum Inflate {
    static func stored(_ octets: [UInt8]) -> [UInt8] {
        var result: [UInt8] = []
        var rest = octets[...]
        repeat {
            let part = rest.prefix(65_535)
            rest = rest.dropFirst(part.count)
            let (low, high) = (UInt8(part.count & 0xFF), UInt8(part.count >> 8))
            result += [rest.isEmpty ? 1 : 0, low, high, ~low, ~high] + part
        } while !rest.isEmpty
        return result
    }

    /// Nil for what is no DEFLATE, has something behind its end, or would become longer than `limit`.
    static func expand(_ octets: [UInt8], limit: Int) -> [UInt8]? {
        var reader = Reader(octets: octets)
        var output: [UInt8] = []
        while true {
            guard let isLast = reader.bits(1), let kind = reader.bits(2) else { return nil }
            switch kind {
            case 0: guard reader.copyStored(to: &output, limit: limit) else { return nil }
            case 1: guard block(&reader, .fixed, &output, limit) else { return nil }
            case 2:
                guard let codes = Codes(dynamic: &reader), block(&reader, codes, &output, limit) else { return nil }
            default: return nil
            }
            if isLast == 1 { return reader.isAtEnd ? output : nil }
        }
    }

    private static let lengthBase = [
        3, 4, 5, 6, 7, 8, 9, 10, 11, 13, 15, 17, 19, 23, 27, 31, 35, 43, 51, 59, 67, 83, 99, 115, 131, 163, 195, 227,
        258,
    ]
    private static let lengthBits = [
        0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 2, 2, 2, 2, 3, 3, 3, 3, 4, 4, 4, 4, 5, 5, 5, 5, 0,
    ]
    private static let distanceBase = [
        1, 2, 3, 4, 5, 7, 9, 13, 17, 25, 33, 49, 65, 97, 129, 193, 257, 385, 513, 769, 1025, 1537, 2049, 3073, 4097,
        6145, 8193, 12_289, 16_385, 24_577,
    ]
    private static let distanceBits = [
        0, 0, 0, 0, 1, 1, 2, 2, 3, 3, 4, 4, 5, 5, 6, 6, 7, 7, 8, 8, 9, 9, 10, 10, 11, 11, 12, 12, 13, 13,
    ]

    private static func block(
        _ reader: inout Reader, _ codes: Codes, _ output: inout [UInt8], _ limit: Int
    ) -> Bool {
        while true {
            guard let symbol = codes.literals.next(&reader) else { return false }
            if symbol < 256 {
                guard output.count < limit else { return false }
                output.append(UInt8(symbol))
                continue
            }
            if symbol == 256 { return true }
            let index = symbol - 257
            guard index < lengthBase.count, let more = reader.bits(lengthBits[index]),
                let code = codes.distances.next(&reader), code < distanceBase.count,
                let further = reader.bits(distanceBits[code])
            else { return false }
            let (length, distance) = (lengthBase[index] + more, distanceBase[code] + further)
            guard distance <= output.count, output.count + length <= limit else { return false }
            for _ in 0..<length { output.append(output[output.count - distance]) }
        }
    }

    private struct Reader {
        let octets: [UInt8]
        var position = 0
        var held = 0
        var count = 0

        init(octets: [UInt8]) { self.octets = octets }

        var isAtEnd: Bool { position == octets.count }

        mutating func bits(_ wanted: Int) -> Int? {
            while count < wanted {
                guard position < octets.count else { return nil }
                held |= Int(octets[position]) << count
                position += 1
                count += 8
            }
            defer {
                held >>= wanted
                count -= wanted
            }
            return held & ((1 << wanted) - 1)
        }

        mutating func copyStored(to output: inout [UInt8], limit: Int) -> Bool {
            (held, count) = (0, 0)
            guard let length = bits(16), let check = bits(16), length == ~check & 0xFFFF,
                position + length <= octets.count, output.count + length <= limit
            else { return false }
            output += octets[position..<position + length]
            position += length
            return true
        }
    }

    /// A canonical Huffman code (RFC 1951, section 3.2.2).
    private struct Code {
        private var counts = [Int](repeating: 0, count: 16)
        private var symbols: [Int] = []

        /// Nil for lengths that are more than a code can have.
        init?(_ lengths: some Collection<Int>) {
            for length in lengths { counts[length] += 1 }
            counts[0] = 0
            var left = 1
            for length in 1..<16 {
                left = left << 1 - counts[length]
                if left < 0 { return nil }
            }
            for length in 1..<16 {
                for (symbol, own) in lengths.enumerated() where own == length { symbols.append(symbol) }
            }
        }

        func next(_ reader: inout Reader) -> Int? {
            var (code, first, index) = (0, 0, 0)
            for length in 1..<16 {
                guard let bit = reader.bits(1) else { return nil }
                code |= bit
                let count = counts[length]
                if code - count < first { return symbols[index + code - first] }
                index += count
                first = (first + count) << 1
                code <<= 1
            }
            return nil
        }
    }

    private struct Codes {
        let literals: Code
        let distances: Code

        private init?(_ literals: [Int], _ distances: [Int]) {
            guard let literals = Code(literals), let distances = Code(distances) else { return nil }
            self.literals = literals
            self.distances = distances
        }

        static let fixed = Codes(
            [Int](repeating: 8, count: 144) + [Int](repeating: 9, count: 112) + [Int](repeating: 7, count: 24)
                + [Int](repeating: 8, count: 8), [Int](repeating: 5, count: 30)
        )!  // The lengths of section 3.2.6 are a code.

        init?(dynamic reader: inout Reader) {
            guard let literals = reader.bits(5), let distances = reader.bits(5), let own = reader.bits(4) else {
                return nil
            }
            let order = [16, 17, 18, 0, 8, 7, 9, 6, 10, 5, 11, 4, 12, 3, 13, 2, 14, 1, 15]
            var lengths = [Int](repeating: 0, count: 19)
            for place in order.prefix(own + 4) {
                guard let length = reader.bits(3) else { return nil }
                lengths[place] = length
            }
            guard let code = Code(lengths) else { return nil }
            let total = literals + 257 + distances + 1
            var found: [Int] = []
            while found.count < total {
                guard let symbol = code.next(&reader) else { return nil }
                switch symbol {
                case 0..<16: found.append(symbol)
                case 16:
                    guard let last = found.last, let more = reader.bits(2) else { return nil }
                    found += [Int](repeating: last, count: 3 + more)
                case 17:
                    guard let more = reader.bits(3) else { return nil }
                    found += [Int](repeating: 0, count: 3 + more)
                default:
                    guard let more = reader.bits(7) else { return nil }
                    found += [Int](repeating: 0, count: 11 + more)
                }
            }
            guard found.count == total else { return nil }
            self.init(Array(found[..<(literals + 257)]), Array(found[(literals + 257)...]))
        }
    }
}
