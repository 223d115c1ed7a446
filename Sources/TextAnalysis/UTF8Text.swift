/// UTF-8 to code points and back, without `String`.
enum UTF8Text {
    /// What is not UTF-8 becomes U+FFFD, as in `String`.
    static func decode(_ octets: UnsafeBufferPointer<UInt8>) -> [UInt32] {
        var points: [UInt32] = []
        points.reserveCapacity(octets.count)
        var decoder = UTF8()
        var iterator = octets.makeIterator()
        while true {
            switch decoder.decode(&iterator) {
            case .scalarValue(let scalar): points.append(scalar.value)
            case .error: points.append(0xFFFD)
            case .emptyInput: return points
            }
        }
    }

    static func encode(_ points: some Sequence<UInt32>) -> [UInt8] {
        var octets: [UInt8] = []
        for point in points {
            if point < 0x80 {
                octets.append(UInt8(point))
            } else if point < 0x800 {
                octets.append(UInt8(0xC0 | point >> 6))
                octets.append(UInt8(0x80 | point & 0x3F))
            } else if point < 0x10000 {
                octets.append(UInt8(0xE0 | point >> 12))
                octets.append(UInt8(0x80 | point >> 6 & 0x3F))
                octets.append(UInt8(0x80 | point & 0x3F))
            } else {
                octets.append(UInt8(0xF0 | point >> 18 & 7))
                octets.append(UInt8(0x80 | point >> 12 & 0x3F))
                octets.append(UInt8(0x80 | point >> 6 & 0x3F))
                octets.append(UInt8(0x80 | point & 0x3F))
            }
        }
        return octets
    }
}
