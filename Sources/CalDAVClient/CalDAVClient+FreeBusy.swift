package import CalendarBackend
import CalendarXML
import Diagnostics
import HTTPClient
import ICalendar
import WireText

extension CalDAVClient {
    package func freeBusy(of calendar: CalendarReference, during time: CalendarInterval) async throws -> [BusyPeriod] {
        let range = "start=\"\(time.start.calendarUTC)\" end=\"\(time.end.calendarUTC)\""
        let body = DAVText.document(.caldav("free-busy-query"), "<C:time-range \(range)/>")
        let answer = try await ask("REPORT", try address(of: calendar.href), depth: 1, body, for: calendar.user)
        switch answer.status {
        case 200: return try FreeBusyText.periods(Self.calendarOctets(answer), within: time)
        case 405, 415, 501: throw CalendarError.unsupported("free-busy query")
        default:
            if DAVErrorBody(answer.body).conditions.contains(.dav("supported-report")) {
                throw CalendarError.unsupported("free-busy query")
            }
            throw CalDAVTransport.failure(answer, about: "the calendar")
        }
    }
}

/// VFREEBUSY (RFC 5545, section 3.6.4) as periods.
enum FreeBusyText {
    private static let mostPeriods = 100_000

    /// Those that touch the time, in order.
    static func periods(_ octets: [UInt8], within time: CalendarInterval) throws(CalendarError) -> [BusyPeriod] {
        let document: CalendarDocument
        do throws(DiagnosedError) {
            document = try CalendarDocument(parsing: octets)
        } catch {
            throw .violation("the free-busy answer can not be read", expected: error.expected, found: error.found)
        }
        var periods: [BusyPeriod] = []
        for component in document.components where component.name == "VFREEBUSY" {
            for line in document.properties(of: component) where line.name == "FREEBUSY" {
                let told = line.values(of: "FBTYPE").first?.uppercased() ?? "BUSY"
                if told == "FREE" { continue }
                let kind = BusyPeriod.Kind(rawValue: told) ?? .busy
                for text in line.value.split(separator: ",") {
                    guard periods.count < mostPeriods, let span = span(text) else {
                        throw .violation(
                            "the free-busy answer can not be read", expected: "periods in UTC, within bounds")
                    }
                    if span.overlaps(time) { periods.append(BusyPeriod(span, kind)) }
                }
            }
        }
        return periods.sorted { ($0.time.start, $0.time.end) < ($1.time.start, $1.time.end) }
    }

    /// `start/end` or `start/duration` (section 3.3.9).
    private static func span(_ text: Substring) -> CalendarInterval? {
        let parts = text.split(separator: "/", omittingEmptySubsequences: false)
        guard parts.count == 2, let start = Timestamp(calendarUTC: parts[0]) else { return nil }
        if let end = Timestamp(calendarUTC: parts[1]) { return CalendarInterval(from: start, until: end) }
        return seconds(parts[1]).flatMap { CalendarInterval(from: start, until: start.adding(seconds: $0)) }
    }

    /// A positive DURATION (section 3.3.6).
    static func seconds(_ text: Substring) -> Int64? {
        var rest = text.hasPrefix("+") ? text.dropFirst() : text
        guard rest.popFirst() == "P", !rest.isEmpty else { return nil }
        var total: Int64 = 0
        var isTime = false
        while !rest.isEmpty {
            if rest.first == "T" {
                guard !isTime else { return nil }
                isTime = true
                rest.removeFirst()
            }
            let digits = rest.prefix { $0.isASCII && $0.isNumber }
            guard (1...9).contains(digits.count), let count = Int64(digits) else { return nil }
            rest = rest[digits.endIndex...]
            let unit: Int64? =
                switch (rest.popFirst(), isTime) {
                case ("W", false): 604_800
                case ("D", false): 86_400
                case ("H", true): 3600
                case ("M", true): 60
                case ("S", true): 1
                default: nil
                }
            guard let unit else { return nil }
            total += count * unit
        }
        return total
    }
}
