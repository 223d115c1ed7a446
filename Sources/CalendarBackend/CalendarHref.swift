/// Where an object or a collection is, as its server writes it; for a caller an opaque name.
///
/// Two are equal when they differ only in how octets are percent-encoded (RFC 3986, section 6.2.2), for servers write
/// `%40` in one answer and `@` in the next. What is sent is the form that came. An encoded slash is no slash.
package struct CalendarHref: Hashable, Sendable, CustomStringConvertible {
    package let text: String
    private let canonical: String

    package init(_ text: String) {
        self.text = text
        canonical = Self.canonical(text)
    }

    package static func == (left: CalendarHref, right: CalendarHref) -> Bool { left.canonical == right.canonical }
    package func hash(into hasher: inout Hasher) { hasher.combine(canonical) }

    /// Names of calendars and objects tell about people: a caller that logs asks for `text`.
    package var description: String { "[href of \(text.utf8.count) octets]" }

    /// With one way to write each octet: letters, digits, `-._~` and `/` as they are, all others encoded.
    private static func canonical(_ text: String) -> String {
        let octets = Array(text.utf8)
        var result: [UInt8] = []
        result.reserveCapacity(octets.count)
        var place = 0
        while place < octets.count {
            var octet = octets[place]
            var isEncoded = false
            if octet == UInt8(ascii: "%"), place + 2 < octets.count, let high = digit(octets[place + 1]),
                let low = digit(octets[place + 2])
            {
                octet = high << 4 | low
                isEncoded = true
                place += 2
            }
            place += 1
            if isUnreserved(octet) || octet == UInt8(ascii: "/") && !isEncoded {
                result.append(octet)
            } else {
                result += [UInt8(ascii: "%"), hexadecimal[Int(octet >> 4)], hexadecimal[Int(octet & 15)]]
            }
        }
        return String(decoding: result, as: UTF8.self)
    }

    private static let hexadecimal = Array("0123456789ABCDEF".utf8)

    private static func digit(_ octet: UInt8) -> UInt8? {
        switch octet {
        case UInt8(ascii: "0")...UInt8(ascii: "9"): octet - UInt8(ascii: "0")
        case UInt8(ascii: "A")...UInt8(ascii: "F"): octet - UInt8(ascii: "A") + 10
        case UInt8(ascii: "a")...UInt8(ascii: "f"): octet - UInt8(ascii: "a") + 10
        default: nil
        }
    }

    private static func isUnreserved(_ octet: UInt8) -> Bool {
        switch octet {
        case UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "A")...UInt8(ascii: "Z"),
            UInt8(ascii: "a")...UInt8(ascii: "z"):
            true
        default: [UInt8(ascii: "-"), UInt8(ascii: "."), UInt8(ascii: "_"), UInt8(ascii: "~")].contains(octet)
        }
    }
}

/// The version of an object that was **read**, with its quotes, as a server wrote it (RFC 9110, section 8.8.3).
package struct ETag: Hashable, Sendable {
    package let text: String

    package init(_ text: String) { self.text = text }

    /// Whether `If-Match` can ever hold: a weak one compares unequal to everything (section 13.1.1).
    package var isStrong: Bool { !text.hasPrefix("W/") }
}

/// How far a calendar was read, opaque (RFC 6578).
package struct SyncToken: Hashable, Sendable {
    package let text: String

    package init(_ text: String) { self.text = text }

    /// Whether this token stands before another of the same server, where tokens end in a counter. Tokens that are
    /// digests are never found to: with them a state that comes back has the token that it had.
    package func isBefore(_ other: SyncToken) -> Bool {
        let (prefix, count) = Self.parts(text)
        let (otherPrefix, otherCount) = Self.parts(other.text)
        guard prefix == otherPrefix, !count.isEmpty, !otherCount.isEmpty else { return false }
        return count.count == otherCount.count ? count < otherCount : count.count < otherCount.count
    }

    private static func parts(_ text: String) -> (prefix: Substring, count: Substring) {
        let reversed = text.utf8.reversed().prefix { (UInt8(ascii: "0")...UInt8(ascii: "9")).contains($0) }
        let split = text.utf8.index(text.utf8.endIndex, offsetBy: -reversed.count)
        return (text[..<split], text[split...].drop { $0 == "0" && text[split...].count > 1 })
    }
}
