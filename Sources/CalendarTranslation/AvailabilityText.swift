package import CalendarTime

/// VAVAILABILITYs (RFC 7953) of somebody who is away.
package enum AvailabilityText {
    /// - Parameters:
    ///   - start: in UTC; nil: since ever.
    ///   - end: nil: until further notice.
    package static func away(uid: String, from start: CalendarMoment?, until end: CalendarMoment?) -> [UInt8] {
        away(uid: uid, [(start, end)])
    }

    /// One for each absence.
    package static func away(
        uid: String, _ absences: [(start: CalendarMoment?, end: CalendarMoment?)]
    ) -> [UInt8] {
        let plain = uid.filter { $0.isASCII && ($0.isLetter || $0.isNumber || "@.-_".contains($0)) }
        var lines = ["BEGIN:VCALENDAR", "VERSION:2.0", "PRODID:-//hybrid-data-security//calendar//EN"]
        for (number, absence) in absences.enumerated() {
            lines += [
                "BEGIN:VAVAILABILITY", "UID:away-\(number)-\(plain.prefix(60))", "DTSTAMP:19700101T000000Z",
            ]
            if let start = absence.start { lines.append("DTSTART:" + start.written.value) }
            if let end = absence.end { lines.append("DTEND:" + end.written.value) }
            lines += ["BUSYTYPE:BUSY-UNAVAILABLE", "END:VAVAILABILITY"]
        }
        return Array((lines + ["END:VCALENDAR", ""]).joined(separator: "\r\n").utf8)
    }
}
