package import WireText

/// A stretch of time, its end not in it.
package struct CalendarInterval: Hashable, Sendable {
    package let start: Timestamp
    package let end: Timestamp

    /// Nil unless the end is behind the start.
    package init?(from start: Timestamp, until end: Timestamp) {
        guard start < end else { return nil }
        self.start = start
        self.end = end
    }

    package func overlaps(_ other: CalendarInterval) -> Bool { start < other.end && other.start < end }
}

package struct BusyPeriod: Hashable, Sendable {
    /// FBTYPE (RFC 5545, section 3.2.9); one that is not known counts as busy.
    package enum Kind: String, Hashable, Sendable {
        case busy = "BUSY"
        case unavailable = "BUSY-UNAVAILABLE"
        case tentative = "BUSY-TENTATIVE"
    }

    package let time: CalendarInterval
    package let kind: Kind

    package init(_ time: CalendarInterval, _ kind: Kind) {
        self.time = time
        self.kind = kind
    }
}

extension Timestamp {
    /// A DATE-TIME in UTC (RFC 5545, section 3.3.5), such as `20270105T100000Z`.
    package init?(calendarUTC text: some StringProtocol) {
        let octets = Array(text.utf8)
        guard octets.count == 16, octets[8] == UInt8(ascii: "T"), octets[15] == UInt8(ascii: "Z") else { return nil }
        let part = { (from: Int, count: Int) in String(decoding: octets[from..<from + count], as: UTF8.self) }
        self.init(
            iso8601: "\(part(0, 4))-\(part(4, 2))-\(part(6, 2))T\(part(9, 2)):\(part(11, 2)):\(part(13, 2))Z")
    }

    package var calendarUTC: String {
        String(iso8601.prefix(19).filter { $0 != "-" && $0 != ":" }) + "Z"
    }
}
