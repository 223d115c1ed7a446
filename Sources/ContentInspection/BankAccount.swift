/// International bank account numbers in a text (ISO 13616): a country of the registry with its length, and check digits that are right
/// (ISO/IEC 7064, MOD 97-10), alone or in groups with blanks.
package enum BankAccount {
    /// Octets of an account number by country, after the registry of SWIFT.
    private static let lengths: [String: Int] = [
        "AD": 24, "AE": 23, "AL": 28, "AT": 20, "AZ": 28, "BA": 20, "BE": 16, "BG": 22, "BH": 22, "BR": 29, "BY": 28,
        "CH": 21, "CR": 22, "CY": 28, "CZ": 24, "DE": 22, "DK": 18, "DO": 28, "EE": 20, "EG": 29, "ES": 24, "FI": 18,
        "FO": 18, "FR": 27, "GB": 22, "GE": 22, "GI": 23, "GL": 18, "GR": 27, "GT": 28, "HR": 21, "HU": 28, "IE": 22,
        "IL": 23, "IQ": 23, "IS": 26, "IT": 27, "JO": 30, "KW": 30, "KZ": 20, "LB": 28, "LC": 32, "LI": 21, "LT": 20,
        "LU": 20, "LV": 21, "LY": 25, "MC": 27, "MD": 24, "ME": 22, "MK": 19, "MR": 27, "MT": 31, "MU": 30, "NL": 18,
        "NO": 15, "PK": 24, "PL": 28, "PS": 29, "PT": 25, "QA": 29, "RO": 24, "RS": 22, "SA": 24, "SC": 31, "SE": 24,
        "SI": 19, "SK": 24, "SM": 27, "ST": 25, "SV": 28, "TL": 23, "TN": 24, "TR": 26, "UA": 29, "VA": 22, "VG": 24,
        "XK": 20,
    ]

    /// How many stand in the text.
    package static func count(in text: [UInt8]) -> Int {
        var count = 0, place = 0
        while place + 15 <= text.count {
            if let end = end(of: text, from: place) {
                count += 1
                place = end
            } else {
                place += 1
            }
        }
        return count
    }

    private static func end(of text: [UInt8], from start: Int) -> Int? {
        guard start == 0 || !isAlphanumeric(text[start - 1]), let first = letter(text[start]),
            let second = letter(text[start + 1]),
            let length = lengths[String(decoding: [first, second], as: UTF8.self)]
        else { return nil }
        var octets: [UInt8] = [], place = start
        while octets.count < length, place < text.count {
            if isAlphanumeric(text[place]) {
                octets.append(letter(text[place]) ?? text[place])
            } else if text[place] != 0x20 || octets.count < 4 {
                return nil
            }
            place += 1
        }
        guard octets.count == length, place == text.count || !isAlphanumeric(text[place]),
            DigitRuns.isDigit(octets[2]), DigitRuns.isDigit(octets[3])
        else { return nil }
        var rest = 0
        for octet in octets[4...] + octets[..<4] {
            let value = DigitRuns.isDigit(octet) ? Int(octet - 0x30) : Int(octet) - 0x41 + 10
            rest = (rest * (value > 9 ? 100 : 10) + value) % 97
        }
        return rest == 1 ? place : nil
    }

    private static func letter(_ octet: UInt8) -> UInt8? {
        switch octet {
        case 0x41...0x5A: octet
        case 0x61...0x7A: octet - 0x20
        default: nil
        }
    }

    private static func isAlphanumeric(_ octet: UInt8) -> Bool {
        DigitRuns.isDigit(octet) || letter(octet) != nil
    }
}
