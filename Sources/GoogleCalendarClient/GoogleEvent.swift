import CalendarBackend
import CalendarTime
import CalendarTranslation
import Diagnostics
import ICalendar
import WireText

/// An `Event` of the Google Calendar API v3 as fields, and changed fields as what a PATCH or an insert of it says.
///
/// Source: developers.google.com/workspace/calendar/api/v3/reference/events. Recurrence is lines of RFC 5545 there. The
/// description may be HTML; it is taken and given as it is, so that nothing of it is lost.
enum GoogleEvent {
    /// Lines without a field, in private extended properties: 1024 characters each and 32 KiB in all, as the API's limits
    /// for them say.
    private static let linesKey = "hdsLines"
    private static let pieceSize = 1000
    private static let mostPieces = 24

    // MARK: - Reading

    static func fields(of event: JSONValue, zones: ZoneCatalogue) throws(CalendarError) -> EventFields {
        let start = try moment(event["start"], zones)
        var fields = EventFields(start: start, end: try moment(event["end"], zones))
        fields.summary = event["summary"]?.text ?? ""
        fields.description = (event["description"]?.text ?? "").replacing("\r\n", with: "\n")
        fields.location = event["location"]?.text ?? ""
        fields.busy = event["transparency"]?.text == "transparent" ? .free : .busy
        if event["eventType"]?.text == "outOfOffice" { fields.busy = .away }
        switch event["visibility"]?.text {
        case "private": fields.sensitivity = .private
        case "confidential": fields.sensitivity = .confidential
        default: break
        }
        fields.isCancelled = event["status"]?.text == "cancelled"
        fields.isTentative = event["status"]?.text == "tentative"
        fields.reminder =
            event["reminders"]?["useDefault"]?.flag == true
            ? nil : event["reminders"]?["overrides"]?.list.first { $0["method"]?.text == "popup" }?["minutes"]?.integer
        fields.organizer = person(event["organizer"])
        fields.attendees = (event["attendees"]?.list ?? []).compactMap(attendee)
        let entries = (event["conferenceData"]?["entryPoints"]?.list ?? []).compactMap { $0["uri"]?.text }
        fields.conferences = entries.isEmpty ? [event["hangoutLink"]?.text].compactMap { $0 } : entries
        for line in event["recurrence"]?.list ?? [] { try read(line.text ?? "", into: &fields) }
        fields.stamps = stamps(event)
        RestLines.restore(lines(event), into: &fields)
        return fields
    }

    /// `date`, or `dateTime` with an offset and the name of a zone.
    static func moment(_ value: JSONValue?, _ zones: ZoneCatalogue) throws(CalendarError) -> CalendarMoment {
        let violation = CalendarError.violation(
            "an event has a time that can not be read", expected: "a date, or a dateTime in a zone that is known")
        if let date = value?["date"]?.text {
            guard let stamp = Timestamp(iso8601: date + "T00:00:00Z") else { throw violation }
            return .date(LocalTime(seconds: Int(stamp.seconds)).date)
        }
        guard let text = value?["dateTime"]?.text else { throw violation }
        let zone = value?["timeZone"]?.text
        guard let stamp = Timestamp(iso8601: text) else {
            // Without an offset the zone decides.
            guard let zone, zones.rules(named: zone) != nil, let local = Timestamp(iso8601: text + "Z") else {
                throw violation
            }
            return .zoned(LocalTime(seconds: Int(local.seconds)), zone: zone)
        }
        guard let zone, !["UTC", "GMT", "ETC/UTC"].contains(zone.uppercased()) else {
            return .utc(LocalTime(seconds: Int(stamp.seconds)))
        }
        guard let rules = zones.rules(named: zone) else { throw violation }
        return .zoned(rules.local(of: Instant(seconds: Int(stamp.seconds))), zone: zone)
    }

    private static func person(_ value: JSONValue?) -> EventFields.Person? {
        guard let address = value?["email"]?.text, !address.isEmpty else { return nil }
        return EventFields.Person(address, name: value?["displayName"]?.text)
    }

    private static func attendee(_ value: JSONValue) -> EventFields.Attendee? {
        guard let person = person(value) else { return nil }
        let answer: EventFields.Answer =
            switch value["responseStatus"]?.text {
            case "accepted": .accepted
            case "declined": .declined
            case "tentative": .tentative
            default: .none
            }
        return EventFields.Attendee(
            person, role: value["optional"]?.flag == true ? .optional : .required,
            kind: value["resource"]?.flag == true ? .resource : .individual, answer: answer)
    }

    /// A line of `recurrence`; what is none of three kinds stays in the raw event, where a write leaves it.
    private static func read(_ line: String, into fields: inout EventFields) throws(CalendarError) {
        guard ["RRULE", "RDATE", "EXDATE"].contains(where: { line.uppercased().hasPrefix($0) }) else { return }
        let whole = "BEGIN:VCALENDAR\r\nBEGIN:VEVENT\r\nUID:x\r\nDTSTART:20270101T000000Z\r\n\(line)\r\n"
        guard line.utf8.count <= 1 << 17, !line.utf8.contains(where: { $0 < 32 && $0 != 9 }),
            let series = try? EventSeries(parsing: Array((whole + "END:VEVENT\r\nEND:VCALENDAR\r\n").utf8))
        else {
            throw .violation("the recurrence of an event can not be read", expected: "lines of RFC 5545")
        }
        fields.rules += series.main.rules
        fields.addedDates += series.main.addedDates
        fields.removedDates += series.main.removedDates
    }

    private static func stamps(_ event: JSONValue) -> [String] {
        func stamp(_ name: String, _ member: String) -> String? {
            event[member]?.text.flatMap { Timestamp(iso8601: $0) }.map { "\(name):\($0.calendarUTC)" }
        }
        return [
            stamp("DTSTAMP", "updated") ?? "DTSTAMP:19700101T000000Z", stamp("CREATED", "created"),
            stamp("LAST-MODIFIED", "updated"), event["sequence"]?.integer.map { "SEQUENCE:\($0)" },
        ].compactMap { $0 }
    }

    private static func lines(_ event: JSONValue) -> String {
        let kept = event["extendedProperties"]?["private"] ?? [:]
        var text = ""
        for number in 0..<mostPieces {
            guard let piece = kept["\(linesKey)\(number)"]?.text else { break }
            text += piece
        }
        return text
    }

    // MARK: - Writing

    /// What a PATCH says: the members of these fields, and no other.
    /// - Parameter raw: the event as it was read, whose attendees and reminders keep what the fields do not know; nil for a
    ///   new one.
    static func patch(
        _ fields: EventFields, _ changed: Set<EventFields.Field>, raw: JSONValue?, zones: ZoneCatalogue
    ) throws(CalendarError) -> JSONValue {
        var patch: JSONValue = [:]
        for field in changed {
            switch field {
            case .summary: patch["summary"] = .string(fields.summary)
            case .description: patch["description"] = .string(fields.description)
            case .location: patch["location"] = .string(fields.location)
            case .time:
                patch["start"] = try time(fields.start, zones)
                patch["end"] = try time(fields.end, zones)
            case .busy:
                patch["transparency"] = .string(fields.busy == .free ? "transparent" : "opaque")
                patch = patch.adding(try kept(fields, raw))
            case .status:
                guard !fields.isCancelled else { throw .objectRefused("a status of cancelled: delete the event") }
                patch["status"] = .string(fields.isTentative ? "tentative" : "confirmed")
            case .sensitivity:
                patch["visibility"] = .string(
                    fields.sensitivity == .public ? "default" : fields.sensitivity.rawValue.lowercased())
            case .importance, .categories, .rest: patch = patch.adding(try kept(fields, raw))
            case .reminder: patch["reminders"] = reminders(fields.reminder, raw?["reminders"])
            case .attendees: patch["attendees"] = .array(attendees(fields.attendees, raw?["attendees"]?.list ?? []))
            case .rules, .addedDates, .removedDates:
                patch["recurrence"] = .array(try recurrence(fields, raw?["recurrence"]?.list ?? [], zones))
            }
        }
        return patch
    }

    static func time(_ moment: CalendarMoment, _ zones: ZoneCatalogue) throws(CalendarError) -> JSONValue {
        let text = Instant(seconds: moment.local.seconds).description
        switch moment {
        case .date: return ["date": .string(String(text.prefix(10))), "dateTime": .null, "timeZone": .null]
        case .utc: return ["dateTime": .string(text), "timeZone": "UTC", "date": .null]
        case .floating: throw .objectRefused("a time without a zone")
        case .zoned(_, let zone):
            return [
                "dateTime": .string(String(text.dropLast())), "timeZone": .string(try name(zone, zones)), "date": .null,
            ]
        }
    }

    /// Google knows the names of IANA only.
    private static func name(_ zone: String, _ zones: ZoneCatalogue) throws(CalendarError) -> String {
        guard let name = zones.ianaName(for: zone) else { throw .objectRefused("a time zone that is not known") }
        return name
    }

    private static func kept(_ fields: EventFields, _ raw: JSONValue?) throws(CalendarError) -> JSONValue {
        let text = RestLines.text(RestLines.withLabels(fields))
        var pieces: [String] = []
        var piece = ""
        for scalar in text.unicodeScalars {
            if piece.utf8.count + UTF8.width(scalar) > pieceSize {
                pieces.append(piece)
                piece = ""
            }
            piece.unicodeScalars.append(scalar)
        }
        if !piece.isEmpty { pieces.append(piece) }
        guard pieces.count <= mostPieces, text.utf8.count <= RestLines.largestSize else {
            throw .objectRefused("more than \(RestLines.largestSize) octets of other properties")
        }
        var members: [String: JSONValue] = [:]
        for (number, piece) in pieces.enumerated() { members["\(linesKey)\(number)"] = .string(piece) }
        // What was longer before.
        for name in (raw?["extendedProperties"]?["private"]?.members ?? [:]).keys
        where name.hasPrefix(linesKey) && members[name] == nil {
            members[name] = .null
        }
        return ["extendedProperties": ["private": .object(members)]]
    }

    private static func reminders(_ minutes: Int?, _ raw: JSONValue?) -> JSONValue {
        let others = (raw?["overrides"]?.list ?? []).filter { $0["method"]?.text != "popup" }
        let own = minutes.map { [["method": "popup", "minutes": .integer($0)] as JSONValue] } ?? []
        return ["useDefault": false, "overrides": .array(own + others)]
    }

    /// The whole list has to be sent: who was there keeps what came with him, his answer first of all.
    private static func attendees(_ attendees: [EventFields.Attendee], _ raw: [JSONValue]) -> [JSONValue] {
        attendees.map { attendee in
            let known = raw.first { $0["email"]?.text?.lowercased() == attendee.person.address.lowercased() }
            var value = known ?? ["email": .string(attendee.person.address), "responseStatus": "needsAction"]
            if let name = attendee.person.name { value["displayName"] = .string(name) }
            value["optional"] = .boolean(attendee.role == .optional || attendee.role == .observer)
            if known == nil, attendee.kind == .resource || attendee.kind == .room { value["resource"] = true }
            return value
        }
    }

    /// The same attendees with the user's own answer: the only one that a user may give.
    static func answered(_ raw: JSONValue, by user: CalendarUser, _ answer: EventFields.Answer) -> JSONValue {
        let word =
            switch answer {
            case .accepted: "accepted"
            case .declined: "declined"
            case .tentative: "tentative"
            case .none: "needsAction"
            }
        return .array(
            (raw["attendees"]?.list ?? []).map { attendee in
                guard attendee["email"]?.text?.lowercased() == user.address.lowercased() else { return attendee }
                var attendee = attendee
                attendee["responseStatus"] = .string(word)
                return attendee
            })
    }

    private static func recurrence(
        _ fields: EventFields, _ raw: [JSONValue], _ zones: ZoneCatalogue
    ) throws(CalendarError) -> [JSONValue] {
        var lines = fields.rules.map { "RRULE:" + $0 }
        for (name, dates) in [("RDATE", fields.addedDates), ("EXDATE", fields.removedDates)] {
            for date in dates {
                switch date {
                case .date: lines.append("\(name);VALUE=DATE:\(date.written.value)")
                case .utc: lines.append("\(name):\(date.written.value)")
                case .zoned(_, let zone):
                    lines.append("\(name);TZID=\(try self.name(zone, zones)):\(date.written.value)")
                case .floating: throw .objectRefused("a time without a zone")
                }
            }
        }
        let others = raw.compactMap(\.text).filter { line in
            !["RRULE", "RDATE", "EXDATE"].contains { line.uppercased().hasPrefix($0) }
        }
        return (lines + others).map(JSONValue.string)
    }
}

extension JSONValue {
    /// With the members of another beside its own.
    func adding(_ other: JSONValue) -> JSONValue {
        .object(members.merging(other.members) { _, new in new })
    }
}
