/// Numbers of payment cards in a text: 13 to 19 digits of a known issuer whose check digit is right (ISO/IEC 7812-1), alone or in groups
/// with blanks or hyphens.
package enum CardNumber {
    /// How many stand in the text.
    package static func count(in text: [UInt8]) -> Int { DigitRuns(text).filter(isCard).count }

    static func isCard(_ digits: [UInt8]) -> Bool {
        (13...19).contains(digits.count) && isIssued(digits) && hasCheckDigit(digits)
            // Zeros and the like have a right check digit.
            && Set(digits).count > 1
    }

    /// American Express, Diners, JCB, Visa, Mastercard, Maestro, Discover, UnionPay: by the first digits and the length.
    private static func isIssued(_ digits: [UInt8]) -> Bool {
        let two = Int(digits[0]) * 10 + Int(digits[1])
        let four = two * 100 + Int(digits[2]) * 10 + Int(digits[3])
        return switch digits.count {
        case 15: two == 34 || two == 37 || four == 1800 || four == 2131
        case 14: two == 36 || two == 38 || two == 39 || (3000...3059).contains(four)
        case 13: digits[0] == 4
        case 16...19:
            digits[0] == 4 || (51...55).contains(two) || (2221...2720).contains(four) || (3528...3589).contains(four)
                || four == 6011 || (6440...6599).contains(four) || two == 62 || two == 50 || (56...58).contains(two)
                || (63...64).contains(two) || two == 67
        default: false
        }
    }

    static func hasCheckDigit(_ digits: [UInt8]) -> Bool {
        var sum = 0
        for (place, digit) in digits.reversed().enumerated() {
            let value = place.isMultiple(of: 2) ? Int(digit) : Int(digit) * 2
            sum += value > 9 ? value - 9 : value
        }
        return sum.isMultiple(of: 10)
    }
}

/// Runs of digits in a text, single blanks and hyphens between them left out. What hangs on a letter is no run.
struct DigitRuns: Sequence, IteratorProtocol {
    private let text: [UInt8]
    private var place = 0

    init(_ text: [UInt8]) { self.text = text }

    mutating func next() -> [UInt8]? {
        while place < text.count {
            guard Self.isDigit(text[place]) else {
                place += 1
                continue
            }
            let begin = place
            var digits: [UInt8] = []
            while place < text.count {
                if Self.isDigit(text[place]) {
                    digits.append(text[place] - 0x30)
                    place += 1
                } else if Self.isGap(text[place]), place + 1 < text.count, Self.isDigit(text[place + 1]) {
                    place += 1
                } else {
                    break
                }
            }
            let isBound =
                (begin > 0 && Self.isLetter(text[begin - 1])) || (place < text.count && Self.isLetter(text[place]))
            if !isBound { return digits }
        }
        return nil
    }

    static func isDigit(_ octet: UInt8) -> Bool { (0x30...0x39).contains(octet) }
    static func isGap(_ octet: UInt8) -> Bool { octet == 0x20 || octet == 0x2D }
    static func isLetter(_ octet: UInt8) -> Bool {
        (0x41...0x5A).contains(octet) || (0x61...0x7A).contains(octet) || octet == 0x5F
    }
}
