package import CalendarBackend
import CalendarTransport
import CalendarXML
import Diagnostics
import HTTPClient
import ICalendar
import WireText

// Busy times of people whose calendars the user may not read: a VFREEBUSY request to the user's outbox (RFC 6638, section 5;
// RFC 5546, section 3.3.2).
extension CalDAVClient {
    package func freeBusy(
        of addresses: [String], asking account: CalendarAccount, during time: CalendarInterval
    ) async throws -> [String: [BusyPeriod]] {
        let asked = addresses.filter(Self.isAddress).prefix(mostAsked)
        guard !asked.isEmpty else { return [:] }
        guard let outbox = account.outbox,
            let organiser = account.addresses.first(where: { $0.lowercased().hasPrefix("mailto:") })
        else { throw CalendarError.unsupported("free-busy of others") }
        let request = Self.request(Array(asked), organiser: organiser, during: time)
        let answer = try await transport.send(
            CalDAVTransport.Request(
                method: "POST", address: try address(of: outbox),
                headers: [
                    ("Content-Type", "text/calendar; charset=utf-8; component=VFREEBUSY; method=REQUEST"),
                    ("Accept", "application/xml, text/xml"),
                ], body: request, limit: settings.answerLimit), for: account.user)
        switch answer.status {
        case 200, 207: break
        case 404, 405, 415, 501: throw CalendarError.unsupported("free-busy of others")
        default: throw CalDAVTransport.failure(answer, about: "the user's outbox")
        }
        let root = try DAVParser.parse(answer.body)
        guard root.name == .caldav("schedule-response") else {
            throw CalendarError.violation(
                "the calendar server's answer can not be read", expected: "a schedule-response",
                found: "another document")
        }
        var found: [String: [BusyPeriod]] = [:]
        for response in root.all(.caldav("response")) {
            // Who answers for others than were asked for is not believed.
            guard let recipient = response[.caldav("recipient")]?.hrefs.first,
                let address = asked.first(where: { "mailto:\($0)".lowercased() == recipient.lowercased() }),
                // 2.x is success (RFC 6638, section 9.1); without data nothing was told.
                response[.caldav("request-status")]?.text.hasPrefix("2.") == true,
                let data = response[.caldav("calendar-data")], !data.octets.isEmpty
            else { continue }
            found[address] = try FreeBusyText.periods(data.octets, within: time)
        }
        return found
    }

    /// An e-mail address that can stand in a line of iCalendar as it is.
    private static func isAddress(_ text: String) -> Bool {
        let parts = text.split(separator: "@", omittingEmptySubsequences: false)
        return parts.count == 2 && parts.allSatisfy { !$0.isEmpty } && text.utf8.count <= 254
            && text.unicodeScalars.allSatisfy { scalar in
                scalar.value > 0x20 && scalar.value != 0x7F && !(0x80...0x9F).contains(scalar.value)
                    && !"\"<>,;:\\".unicodeScalars.contains(scalar)
            }
    }

    private static func request(_ addresses: [String], organiser: String, during time: CalendarInterval) -> [UInt8] {
        let lines =
            [
                "BEGIN:VCALENDAR", "VERSION:2.0", "PRODID:-//Hybrid Data Security//hds-calendar//EN", "METHOD:REQUEST",
                "BEGIN:VFREEBUSY", "UID:\(UUIDText.random())", "DTSTAMP:\(Timestamp.now().calendarUTC)",
                "DTSTART:\(time.start.calendarUTC)", "DTEND:\(time.end.calendarUTC)", "ORGANIZER:\(organiser)",
            ] + addresses.map { "ATTENDEE:mailto:\($0)" } + ["END:VFREEBUSY", "END:VCALENDAR"]
        return lines.flatMap { ContentLine.folded(Array($0.utf8)) }
    }
}
