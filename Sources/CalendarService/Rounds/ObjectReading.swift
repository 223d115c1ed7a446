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
    /// Seconds before the start at which the user wants to be told, by UID and place in the series.
    private var alarms: [String: [Int]] = [:]
    private static let mostAlarms = 5
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

    /// Seconds before the start of a meeting; nil: the user has set no alarm for it.
    func alarms(of meeting: Meeting) -> [Int]? {
        alarms["\(meeting.icalUID)\n\(meeting.recurrenceID ?? "")"] ?? alarms["\(meeting.icalUID)\n"]
    }

    /// Of alarms that sound or show before the start, at most a day; others (mail, at a time, behind the end) are the
    /// calendar's own.
    private static func lead(_ lines: [ContentLine]) -> Int? {
        let action = lines.first { $0.name == "ACTION" }?.value.uppercased() ?? "DISPLAY"
        guard action == "DISPLAY" || action == "AUDIO", let trigger = lines.first(where: { $0.name == "TRIGGER" }),
            trigger.values(of: "VALUE").first?.uppercased() ?? "DURATION" == "DURATION",
            trigger.values(of: "RELATED").first?.uppercased() ?? "START" == "START",
            let duration = try? CalendarDuration(trigger.value)
        else { return nil }
        let lead = -(duration.days * 86_400 + duration.seconds)
        return (0...86_400).contains(lead) ? lead : nil
    }

    private mutating func look(into document: CalendarDocument, from start: Instant) {
        isOver = true
        // Days, with two to spare for zones.
        let limit = start.advanced(by: -2 * 86_400).description.filter(\.isNumber).prefix(8)
        let properties = document.allProperties()
        var leads: [Int: [Int]] = [:]
        for component in document.components where component.name == "VALARM" {
            guard let parent = component.parent, leads[parent, default: []].count < Self.mostAlarms,
                let lead = Self.lead(properties[component.ordinal])
            else { continue }
            leads[parent, default: []].append(lead)
        }
        for component in document.components where component.name == "VEVENT" {
            let lines = properties[component.ordinal]
            func value(_ name: String) -> String? { lines.first { $0.name == name }?.value }
            if let uid = value("UID"), let url = value("CONFERENCE") {
                let place = value("RECURRENCE-ID").map { $0.filter { $0.isNumber || $0 == "T" || $0 == "Z" } }
                conferences["\(uid)\n\(place ?? "")"] = url
            }
            if let uid = value("UID"), let leads = leads[component.ordinal] {
                let place = value("RECURRENCE-ID").map { $0.filter { $0.isNumber || $0 == "T" || $0 == "Z" } }
                alarms["\(uid)\n\(place ?? "")"] = leads
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
