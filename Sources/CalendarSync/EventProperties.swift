import CalendarTime
import Diagnostics
import ICalendar

/// The properties of one VEVENT, by what they mean for meetings.
struct EventProperties {
    let component: CalendarDocument.Component
    let lines: [ContentLine]

    /// The VEVENTs of an object, each walked over once.
    static func all(of document: CalendarDocument) -> [EventProperties] {
        let properties = document.allProperties()
        return document.components.filter { $0.name == "VEVENT" }.map {
            EventProperties(component: $0, lines: properties[$0.ordinal])
        }
    }

    func line(_ name: String) -> ContentLine? { lines.first { $0.name == name } }
    func text(_ name: String) -> String? { line(name).map { CalendarText.unescape($0.value) } }
    func word(_ name: String) -> String? { line(name)?.value.uppercased() }

    var uid: String? { line("UID")?.value }
    var isCancelled: Bool { word("STATUS") == "CANCELLED" }

    /// The user's text, without the connector's.
    var notes: String? {
        guard let value = line("DESCRIPTION")?.value, let own = try? JoinNotes.put(nil, into: value) else { return nil }
        // A text that is only the connector's is none.
        return own.isEmpty ? nil : CalendarText.unescape(own)
    }

    var organizer: CalendarAddress? { line("ORGANIZER").map { CalendarAddress($0.value) } }

    /// Also for an event without an ORGANIZER, which is the owner's own.
    func isOrganized(by user: CalendarUser) -> Bool { organizer.map(user.addresses.contains) ?? true }

    func trigger(_ keywords: Keywords) -> Trigger? {
        isPrivate ? nil : keywords.trigger(location: text("LOCATION"), notes: notes)
    }

    var sensitivity: Meeting.Sensitivity {
        switch word("CLASS") {
        case nil, "PUBLIC": .normal
        case "CONFIDENTIAL": .confidential
        // RFC 5545, section 3.8.1.3: what is not known is private.
        default: .personal
        }
    }

    var isPrivate: Bool { sensitivity != .normal }

    var participants: [Meeting.Participant] {
        lines.filter { $0.name == "ATTENDEE" }.map { line in
            let kind = line.values(of: "CUTYPE").first?.uppercased()
            let role = line.values(of: "ROLE").first?.uppercased()
            return Meeting.Participant(
                address: CalendarAddress(line.value), name: line.values(of: "CN").first,
                answer: Self.answer(line.values(of: "PARTSTAT").first),
                isRequired: role != "OPT-PARTICIPANT" && role != "NON-PARTICIPANT",
                isResource: kind == "ROOM" || kind == "RESOURCE")
        }
    }

    private static func answer(_ text: String?) -> Meeting.Participant.Answer {
        switch text?.uppercased() {
        case "ACCEPTED": .accepted
        case "DECLINED": .declined
        case "TENTATIVE": .tentative
        case "DELEGATED": .delegated
        default: .needsAction
        }
    }

    func busy(answer: Meeting.Participant.Answer?) -> Meeting.Busy {
        switch word("X-MICROSOFT-CDO-BUSYSTATUS") {
        case "OOF": return .outOfOffice
        case "FREE": return .free
        case "WORKINGELSEWHERE": return .elsewhere
        case "TENTATIVE": return .tentative
        default: break
        }
        if word("TRANSP") == "TRANSPARENT" || isCancelled { return .free }
        return word("STATUS") == "TENTATIVE" || answer == .tentative || answer == .needsAction ? .tentative : .busy
    }

    var status: Meeting.Status {
        switch word("STATUS") {
        case "TENTATIVE": .tentative
        case "CANCELLED": .cancelled
        default: .confirmed
        }
    }
}
