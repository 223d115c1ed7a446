import CalendarTime
import Diagnostics
import ICalendar

/// The properties of an event that are the connector's: nothing else of it is ever written.
///
/// `CONFERENCE` with the parameter `X-HDS-MEETING`, the part of `DESCRIPTION` between the marker lines, and the
/// properties `X-HDS-MEETING` (whose details stand here) and `X-HDS-REVISION` (which).
enum JoinProperties {
    static let meetingName = "X-HDS-MEETING"
    static let revisionName = "X-HDS-REVISION"

    static func isOurs(_ line: ContentLine) -> Bool { !line.values(of: meetingName).isEmpty }

    static func revision(in lines: [ContentLine]) -> String? { lines.first { $0.name == revisionName }?.value }
    static func meeting(in lines: [ContentLine]) -> String? { lines.first { $0.name == meetingName }?.value }

    /// Whether anything of the connector stands there that a reader sees.
    static func isThere(in lines: [ContentLine]) -> Bool {
        lines.contains { line in
            switch line.name {
            case "CONFERENCE": isOurs(line)
            case "DESCRIPTION": (try? JoinNotes.put(nil, into: line.value)) != line.value
            default: false
            }
        }
    }

    /// Puts the details of an edit into an event, or takes them out. A second time changes nothing.
    static func put(
        _ edit: JoinEdit, in event: CalendarDocument.Component, of document: inout CalendarDocument
    ) throws(DiagnosedError) {
        guard let details = edit.details else { return try remove(from: event, of: &document) }
        try document.put(
            "CONFERENCE",
            [
                .init("VALUE", ["URI"]), .init("FEATURE", ["AUDIO", "VIDEO"]), .init(meetingName, [edit.meetingID]),
            ], value: details.url, in: event,
            // Also where a server took out the parameter.
            replacing: { isOurs($0) || $0.value == details.url })
        let text = edit.template.text(details)
        guard text.unicodeScalars.allSatisfy({ $0.value >= 32 && $0.value != 127 || $0 == "\n" || $0 == "\t" }) else {
            throw .refusedObject("join details without control characters")
        }
        if let present = document.property("DESCRIPTION", of: event) {
            _ = try document.putValue(JoinNotes.put(text, into: present.value), ofFirst: "DESCRIPTION", in: event)
        } else {
            try document.put("DESCRIPTION", value: JoinNotes.put(text, into: ""), in: event)
        }
        try document.put(meetingName, value: edit.meetingID, in: event)
        try document.put(revisionName, value: edit.revision, in: event)
    }

    private static func remove(
        from event: CalendarDocument.Component, of document: inout CalendarDocument
    ) throws(DiagnosedError) {
        document.remove("CONFERENCE", from: event, where: isOurs)
        document.remove(meetingName, from: event)
        document.remove(revisionName, from: event)
        guard let present = document.property("DESCRIPTION", of: event) else { return }
        let own = try JoinNotes.put(nil, into: present.value)
        guard own != present.value else { return }
        if own.isEmpty {
            document.remove("DESCRIPTION", from: event)
        } else {
            _ = try document.putValue(own, ofFirst: "DESCRIPTION", in: event)
        }
    }
}
