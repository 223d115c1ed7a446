import CalendarSync
import CalendarTime
import Diagnostics
import ICalendar

/// One object of a calendar, read for one user: its meetings in a window, and how to join them.
struct ObjectReading: Sendable {
    var meetings: [Meeting] = []
    var left: [String: MeetingReader.Reason] = [:]
    var problems: [DiagnosedError] = []
    /// Addresses to join, by UID and place in the series.
    private var conferences: [String: String] = [:]
    /// Nothing of it can be in a window from now on.
    var isOver = false

    /// Nothing: an object that is gone.
    init() {}

    init(_ octets: [UInt8], etag: String, window: Range<Instant>, reader: MeetingReader) {
        guard !octets.isEmpty else {
            isOver = true
            return
        }
        do throws(DiagnosedError) {
            let document = try CalendarDocument(parsing: octets)
            let reading = reader.meetings(in: document, etag: etag, window: window)
            (meetings, left, problems) = (reading.meetings, reading.left, reading.problems)
            look(into: document, from: window.lowerBound)
        } catch {
            problems = [error]
        }
    }

    func joinURL(of meeting: Meeting) -> String? {
        conferences["\(meeting.icalUID)\n\(meeting.recurrenceID ?? "")"] ?? conferences["\(meeting.icalUID)\n"]
    }

    private mutating func look(into document: CalendarDocument, from start: Instant) {
        isOver = true
        // Days, with two to spare for zones.
        let limit = start.advanced(by: -2 * 86_400).description.filter(\.isNumber).prefix(8)
        let properties = document.allProperties()
        for component in document.components where component.name == "VEVENT" {
            let lines = properties[component.ordinal]
            func value(_ name: String) -> String? { lines.first { $0.name == name }?.value }
            if let uid = value("UID"), let url = value("CONFERENCE") {
                let place = value("RECURRENCE-ID").map { $0.filter { $0.isNumber || $0 == "T" || $0 == "Z" } }
                conferences["\(uid)\n\(place ?? "")"] = url
            }
            let mayComeAgain = lines.contains { ["RRULE", "RDATE", "DURATION"].contains($0.name) }
            let end = (value("DTEND") ?? value("DTSTART"))?.filter(\.isNumber).prefix(8)
            if mayComeAgain || end.map({ $0.count < 8 || $0 >= limit }) ?? true { isOver = false }
        }
        if document.components.allSatisfy({ $0.name != "VEVENT" }) {
            // Availability and the like is small, and speaks of absences.
            isOver = document.components.allSatisfy { $0.name != "VAVAILABILITY" }
        }
    }
}
