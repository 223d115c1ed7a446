import Diagnostics
import ICalendar

/// Lines of an event that have no field, as one text that a service keeps for us.
///
/// A service gives back what anybody with rights there may have written: a text that is not the inside of one event is
/// passed over, so that no line of it ends the event and begins another.
package enum RestLines {
    package static let largestSize = 24 << 10

    package static func text(_ lines: [String]) -> String { lines.joined(separator: "\n") }

    /// - Parameter allowed: names of fields that a service has not, and that are kept with the other lines.
    package static func lines(_ text: String, allowing allowed: Set<String> = []) -> [String] {
        guard !text.isEmpty, text.utf8.count <= largestSize, !text.utf8.contains(13) else { return [] }
        let lines = text.split(separator: "\n", omittingEmptySubsequences: true).map(String.init)
        guard !lines.contains(where: { $0.hasPrefix(" ") || $0.hasPrefix("\t") }) else { return [] }
        let whole = ["BEGIN:VCALENDAR", "BEGIN:VEVENT"] + lines + ["END:VEVENT", "END:VCALENDAR", ""]
        guard let document = try? CalendarDocument(parsing: Array(whole.joined(separator: "\r\n").utf8)),
            document.components.count(where: { $0.parent == 0 }) == 1,
            let event = document.components.first(where: { $0.parent == 0 }), event.name == "VEVENT",
            document.properties(of: event).allSatisfy({
                !EventReader.known.contains($0.name) || allowed.contains($0.name)
            })
        else { return [] }
        return lines
    }

    /// Fields that Google has not, as lines beside the others.
    package static func withLabels(_ fields: EventFields) -> [String] {
        var labels = EventFields(start: fields.start, end: fields.end)
        labels.categories = fields.categories
        labels.importance = fields.importance
        labels.busy = fields.busy
        guard let octets = try? EventWriter.octets(of: labels, uid: "x", at: nil),
            let document = try? CalendarDocument(
                parsing: Array("BEGIN:VCALENDAR\r\n".utf8) + octets + Array("END:VCALENDAR\r\n".utf8)),
            let event = document.components.first(where: { $0.name == "VEVENT" })
        else { return fields.rest }
        let lines = document.properties(of: event).filter { line in
            Self.labels.contains(line.name)
                && !(line.name == "X-MICROSOFT-CDO-BUSYSTATUS" && [.free, .busy].contains(fields.busy))
        }
        return fields.rest + lines.map { String(decoding: ContentLine.unfolded($0.octets), as: UTF8.self) }
    }

    /// Puts what `withLabels` kept back into its fields.
    package static func restore(_ text: String, into fields: inout EventFields) {
        let lines = lines(text, allowing: labels)
        let whole =
            ["BEGIN:VCALENDAR", "BEGIN:VEVENT", "DTSTART:20270101T000000Z"] + lines
            + ["END:VEVENT", "END:VCALENDAR", ""]
        guard let document = try? CalendarDocument(parsing: Array(whole.joined(separator: "\r\n").utf8)),
            let event = document.components.first(where: { $0.name == "VEVENT" }),
            let kept = try? EventReader.fields(of: event, in: document)
        else { return }
        fields.categories = kept.categories
        fields.importance = kept.importance
        // An alarm that is a plain reminder is the service's own.
        fields.rest = kept.rest
        if fields.busy == .busy, ![.free, .busy].contains(kept.busy) { fields.busy = kept.busy }
    }

    private static let labels: Set<String> = ["CATEGORIES", "PRIORITY", "X-MICROSOFT-CDO-BUSYSTATUS"]
}
