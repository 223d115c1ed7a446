/// Word boundaries by UAX #29, revision 41 (Unicode 15.0), over code points.
package enum WordBreak {
    /// Values of Word_Break; the order is that of deploy/unicode-tables.
    enum Property {
        static let other: UInt8 = 0
        static let cr: UInt8 = 1
        static let lf: UInt8 = 2
        static let newline: UInt8 = 3
        static let extend: UInt8 = 4
        static let zwj: UInt8 = 5
        static let format: UInt8 = 6
        static let regionalIndicator: UInt8 = 7
        static let katakana: UInt8 = 8
        static let hebrewLetter: UInt8 = 9
        static let aLetter: UInt8 = 10
        static let singleQuote: UInt8 = 11
        static let doubleQuote: UInt8 = 12
        static let midNumLet: UInt8 = 13
        static let midLetter: UInt8 = 14
        static let midNum: UInt8 = 15
        static let numeric: UInt8 = 16
        static let extendNumLet: UInt8 = 17
        static let wSegSpace: UInt8 = 18
    }

    /// Added to the property of an Extended_Pictographic character.
    static let pictographic: UInt8 = 0x20
    private static let mask: UInt8 = 0x1F

    @inline(__always)
    static func property(_ point: UInt32) -> UInt8 { UnicodeTables.frozen.wordBreak[point] }

    /// The starts of the segments, and the count of points at the end; the first is 0.
    package static func boundaries(of points: [UInt32]) -> [Int] {
        boundaries(properties: points.map(property))
    }

    static func boundaries(properties: [UInt8]) -> [Int] {
        guard let first = properties.first else { return [0] }
        var found = [0]
        // WB4: what stands to the left, without Extend, Format and ZWJ behind it.
        var left = first & mask
        var beforeLeft = Property.other
        var indicators = left == Property.regionalIndicator ? 1 : 0
        for index in properties.indices.dropFirst() {
            let direct = properties[index - 1] & mask
            let right = properties[index] & mask
            if isNewline(direct) {
                if !(direct == Property.cr && right == Property.lf) { found.append(index) }
            } else if isNewline(right) {
                found.append(index)
            } else if direct == Property.zwj && properties[index] & pictographic != 0 {
                // WB3c
            } else if direct == Property.wSegSpace && right == Property.wSegSpace {
                // WB3d
            } else if isIgnored(right) {
                continue
            } else if breaks(properties, index, beforeLeft, left, right, indicators) {
                found.append(index)
            }
            beforeLeft = left
            left = right
            indicators = right == Property.regionalIndicator ? indicators + 1 : 0
        }
        found.append(properties.count)
        return found
    }

    private static func isNewline(_ value: UInt8) -> Bool { (Property.cr...Property.newline).contains(value) }
    private static func isIgnored(_ value: UInt8) -> Bool { (Property.extend...Property.format).contains(value) }
    private static func isLetter(_ value: UInt8) -> Bool {
        value == Property.aLetter || value == Property.hebrewLetter
    }
    /// MidNumLetQ
    private static func isMiddle(_ value: UInt8) -> Bool {
        value == Property.midNumLet || value == Property.singleQuote
    }

    /// WB5 to WB999.
    private static func breaks(
        _ properties: [UInt8], _ index: Int, _ beforeLeft: UInt8, _ left: UInt8, _ right: UInt8, _ indicators: Int
    ) -> Bool {
        func next() -> UInt8 {
            for later in properties[(index + 1)...] where !isIgnored(later & mask) { return later & mask }
            return Property.other
        }
        if isLetter(left) {
            if isLetter(right) { return false }
            if right == Property.midLetter || isMiddle(right), isLetter(next()) { return false }
            if left == Property.hebrewLetter {
                if right == Property.singleQuote { return false }
                if right == Property.doubleQuote, next() == Property.hebrewLetter { return false }
            }
            if right == Property.numeric { return false }
        }
        if isLetter(right) {
            if isLetter(beforeLeft), left == Property.midLetter || isMiddle(left) { return false }
            if beforeLeft == Property.hebrewLetter, left == Property.doubleQuote, right == Property.hebrewLetter {
                return false
            }
            if left == Property.numeric { return false }
        }
        if left == Property.numeric {
            if right == Property.numeric { return false }
            if right == Property.midNum || isMiddle(right), next() == Property.numeric { return false }
        }
        if right == Property.numeric, beforeLeft == Property.numeric, left == Property.midNum || isMiddle(left) {
            return false
        }
        if left == Property.katakana, right == Property.katakana { return false }
        let leftJoins = isLetter(left) || left == Property.numeric || left == Property.katakana
        if leftJoins || left == Property.extendNumLet, right == Property.extendNumLet { return false }
        if left == Property.extendNumLet,
            isLetter(right) || right == Property.numeric || right == Property.katakana
        {
            return false
        }
        if left == Property.regionalIndicator, right == Property.regionalIndicator { return indicators % 2 == 0 }
        return true
    }
}
