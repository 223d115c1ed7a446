import Diagnostics
import ICalendar

/// Lines of an event that have no field, as one text that a service keeps for us.
///
/// A service gives back what anybody with rights there may have written: a text that is not the inside of one event is
/// passed over, so that no line of it ends the event and begins another.
package enum RestLines {
    package static let largestSize = 24 << 10

    package static func text(_ lines: [String]) -> String { lines.joined(separator: "\n") }

    package static func lines(_ text: String) -> [String] {
        guard !text.isEmpty, text.utf8.count <= largestSize, !text.utf8.contains(13) else { return [] }
        let lines = text.split(separator: "\n", omittingEmptySubsequences: true).map(String.init)
        guard !lines.contains(where: { $0.hasPrefix(" ") || $0.hasPrefix("\t") }) else { return [] }
        let whole = ["BEGIN:VCALENDAR", "BEGIN:VEVENT"] + lines + ["END:VEVENT", "END:VCALENDAR", ""]
        guard let document = try? CalendarDocument(parsing: Array(whole.joined(separator: "\r\n").utf8)),
            document.components.count(where: { $0.parent == 0 }) == 1,
            let event = document.components.first(where: { $0.parent == 0 }), event.name == "VEVENT",
            document.properties(of: event).allSatisfy({ !EventReader.known.contains($0.name) })
        else { return [] }
        return lines
    }
}
