import WireText

/// The frozen tables of Unicode 15.0 that the analyser stands on, unpacked once.
///
/// Part of the index format: they do not follow the system's Unicode, because an index of HMACs can not be made again
/// without the messages. Immutable.
final class UnicodeTables: Sendable {
    static let frozen = UnicodeTables()

    /// A value for each code point, in pages of 256; pages of nothing but zeros are one.
    struct Pages<Value: FixedWidthInteger & Sendable>: Sendable {
        private var index = [UInt16](repeating: 0, count: 0x1100)
        private var values = [Value](repeating: 0, count: 256)

        @inline(__always)
        subscript(point: UInt32) -> Value {
            values[Int(index[Int(point >> 8)]) << 8 | Int(point & 0xFF)]
        }

        fileprivate mutating func set(_ points: Range<Int>, _ value: Value) {
            for point in points {
                if index[point >> 8] == 0 {
                    index[point >> 8] = UInt16(values.count / 256)
                    values.append(contentsOf: repeatElement(0, count: 256))
                }
                values[Int(index[point >> 8]) << 8 | point & 0xFF] = value
            }
        }
    }

    /// Word_Break with `WordBreak.pictographic`.
    let wordBreak: Pages<UInt8>
    let combiningClass: Pages<UInt8>
    /// 0: unchanged; 1: removed; else one less than the index in `images`, where the count stands before the points.
    let fold: Pages<UInt16>
    let images: [UInt32]
    private let decompositions: [UInt32: [UInt32]]
    private let compositions: [UInt64: UInt32]

    private init() {
        wordBreak = Self.pages(Self.wordBreak)
        combiningClass = Self.pages(Self.combiningClass)
        (fold, images) = Self.foldPages()
        decompositions = Self.decompositionTable()
        compositions = Self.compositionTable()
    }

    private static func pages(_ text: StaticString) -> Pages<UInt8> {
        var pages = Pages<UInt8>()
        var reader = Packed(text)
        var point = 0
        while !reader.isAtEnd {
            point += reader.number()
            let length = reader.number()
            let value = reader.octet()
            pages.set(point..<(point + length), value)
            point += length
        }
        return pages
    }

    private static func foldPages() -> (Pages<UInt16>, [UInt32]) {
        var pages = Pages<UInt16>()
        var images: [UInt32] = [0]
        var known: [[UInt32]: UInt16] = [:]
        func place(_ image: [UInt32]) -> UInt16 {
            if image.isEmpty { return 1 }
            if let place = known[image] { return place }
            let place = UInt16(images.count + 1)
            images.append(UInt32(image.count))
            images.append(contentsOf: image)
            known[image] = place
            return place
        }
        var reader = Packed(caseFold)
        var point = 0
        while !reader.isAtEnd {
            point += reader.number()
            let length = reader.number()
            let kind = reader.number()
            if kind == 0 {
                let difference = reader.signed()
                for index in point..<(point + length) {
                    pages.set(index..<(index + 1), place([UInt32(index + difference)]))
                }
            } else {
                let image = (1..<kind).map { _ in UInt32(reader.number()) }
                pages.set(point..<(point + length), place(image))
            }
            point += length
        }
        return (pages, images)
    }

    private static func decompositionTable() -> [UInt32: [UInt32]] {
        var table: [UInt32: [UInt32]] = [:]
        var reader = Packed(decomposition)
        var point = 0
        while !reader.isAtEnd {
            point += reader.number()
            let count = Int(reader.octet())
            table[UInt32(point)] = (0..<count).map { _ in UInt32(reader.number()) }
        }
        return table
    }

    private static func compositionTable() -> [UInt64: UInt32] {
        var table: [UInt64: UInt32] = [:]
        var reader = Packed(composition)
        while !reader.isAtEnd {
            let composite = UInt32(reader.number())
            let first = reader.number(), second = reader.number()
            table[UInt64(first) << 32 | UInt64(second)] = composite
        }
        return table
    }

    func decomposition(of point: UInt32) -> [UInt32]? { decompositions[point] }

    func composite(_ first: UInt32, _ second: UInt32) -> UInt32? {
        compositions[UInt64(first) << 32 | UInt64(second)]
    }
}

/// Numbers of 7 bits an octet, the low ones first, out of base64.
private struct Packed {
    private let octets: [UInt8]
    private var position = 0

    init(_ text: StaticString) {
        guard let octets = Base64.decode(text.description) else {
            // The text is part of the program; the tests read every table.
            fatalError("a table of Unicode is damaged in the program")
        }
        self.octets = octets
    }

    var isAtEnd: Bool { position == octets.count }

    mutating func octet() -> UInt8 {
        defer { position += 1 }
        return octets[position]
    }

    mutating func number() -> Int {
        var (value, shift) = (0, 0)
        while true {
            let next = octet()
            value |= Int(next & 0x7F) << shift
            if next < 0x80 { return value }
            shift += 7
        }
    }

    mutating func signed() -> Int {
        let value = number()
        return value & 1 == 0 ? value >> 1 : -((value + 1) >> 1)
    }
}
