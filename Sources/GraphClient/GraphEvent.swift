import CalendarBackend
import CalendarTime
import CalendarTranslation
import WireText

/// An `event` of Microsoft Graph as fields, and changed fields as what a PATCH or POST of it says.
///
/// Times come in UTC (no `Prefer: outlook.timezone` is sent) and go into the zone of `originalStartTimeZone`, a name of
/// Windows by CLDR or of IANA; a zone that nobody knows leaves one event in UTC, which is exact, and refuses a series,
/// which would be wrong after a change of clocks.
enum GraphEvent {
    /// Where lines without a field are kept: a named property of the project's own set
    /// (`singleValueLegacyExtendedProperty`).
    static let linesProperty = "String {7c2c8f0e-4f5f-4d53-9d0b-6f2f2f2c9a51} Name hds-lines"
    /// The UID of a text that was created here: Graph gives every event an `iCalUId` of its own, which can not be set.
    static let uidProperty = "String {7c2c8f0e-4f5f-4d53-9d0b-6f2f2f2c9a51} Name hds-uid"

    // MARK: - Reading

    static func fields(of event: JSONValue, zones: ZoneCatalogue) throws(CalendarError) -> EventFields {
        let isAllDay = event["isAllDay"]?.flag == true
        var zone = zoneName(event["originalStartTimeZone"]?.text, zones)
        if let own = zoneName(event["recurrence"]?["range"]?["recurrenceTimeZone"]?.text, zones) { zone = own }
        if event["recurrence"] != nil, zone == nil, !isAllDay {
            throw .violation(
                "the time zone of a series is not known", expected: "a name of Windows or of IANA",
                found: event["originalStartTimeZone"]?.text.map { String($0.prefix(60)) })
        }
        let start = try moment(event["start"], isAllDay, zone, zones)
        var fields = EventFields(start: start, end: try moment(event["end"], isAllDay, zone, zones))
        fields.summary = event["subject"]?.text ?? ""
        fields.description = description(event["body"])
        fields.location = event["location"]?["displayName"]?.text ?? ""
        fields.busy = busy.first { $0.value == event["showAs"]?.text }?.key ?? .busy
        switch event["sensitivity"]?.text {
        case "personal", "private": fields.sensitivity = .private
        case "confidential": fields.sensitivity = .confidential
        default: break
        }
        fields.importance = event["importance"]?.text.flatMap(EventFields.Importance.init) ?? .normal
        fields.categories = event["categories"]?.list.compactMap(\.text) ?? []
        if event["isReminderOn"]?.flag == true { fields.reminder = event["reminderMinutesBeforeStart"]?.integer }
        fields.isCancelled = event["isCancelled"]?.flag == true
        fields.organizer = person(event["organizer"])
        fields.attendees = (event["attendees"]?.list ?? []).compactMap(attendee)
        if let url = event["onlineMeeting"]?["joinUrl"]?.text ?? event["onlineMeetingUrl"]?.text, !url.isEmpty {
            fields.conferences = [url]
        }
        if let recurrence = event["recurrence"] {
            fields.rules = [try GraphRecurrence.pattern(recurrence).rule(start: start, zones: zones)]
        }
        fields.stamps = stamps(event)
        fields.rest = RestLines.lines(extended(event, linesProperty) ?? "")
        return fields
    }

    static func extended(_ event: JSONValue, _ name: String) -> String? {
        event["singleValueExtendedProperties"]?.list
            .first { $0["id"]?.text?.lowercased() == name.lowercased() }?["value"]?.text
    }

    private static func description(_ body: JSONValue?) -> String {
        let content = body?["content"]?.text ?? ""
        guard body?["contentType"]?.text?.lowercased() == "html" else {
            return content.replacing("\r\n", with: "\n")
        }
        return HTMLText.plain(content)
    }

    private static func zoneName(_ text: String?, _ zones: ZoneCatalogue) -> String? {
        guard let text, !text.isEmpty else { return nil }
        return zones.rules(named: text) == nil ? nil : text
    }

    /// A `dateTimeTimeZone`, such as `2027-01-05T10:00:00.0000000` in `UTC`.
    static func moment(
        _ value: JSONValue?, _ isAllDay: Bool, _ zone: String?, _ zones: ZoneCatalogue
    ) throws(CalendarError) -> CalendarMoment {
        let violation = CalendarError.violation(
            "an event has a time that can not be read", expected: "a dateTimeTimeZone in a zone that is known")
        guard let text = value?["dateTime"]?.text,
            let stamp = Timestamp(iso8601: text.hasSuffix("Z") ? text : text + "Z")
        else { throw violation }
        let local = LocalTime(seconds: Int(stamp.seconds))
        // Midnights of a day that has no zone.
        if isAllDay { return .date(local.date) }
        let told = value?["timeZone"]?.text ?? "UTC"
        guard let rules = zones.rules(named: told) else { throw violation }
        let instant = rules.instant(of: local)
        guard let zone, let own = zones.rules(named: zone), !["UTC", "GMT"].contains(zone.uppercased()) else {
            return .utc(LocalTime(seconds: instant.seconds))
        }
        return .zoned(own.local(of: instant), zone: zone)
    }

    private static let busy: [EventFields.Busy: String] = [
        .free: "free", .tentative: "tentative", .busy: "busy", .away: "oof", .elsewhere: "workingElsewhere",
    ]

    private static func person(_ value: JSONValue?) -> EventFields.Person? {
        guard let address = value?["emailAddress"]?["address"]?.text, !address.isEmpty else { return nil }
        return EventFields.Person(address, name: value?["emailAddress"]?["name"]?.text)
    }

    private static func attendee(_ value: JSONValue) -> EventFields.Attendee? {
        guard let person = person(value) else { return nil }
        let type = value["type"]?.text
        return EventFields.Attendee(
            person, role: type == "optional" ? .optional : type == "resource" ? .observer : .required,
            kind: type == "resource" ? .resource : .individual, answer: answer(value["status"]?["response"]?.text))
    }

    /// `responseType`: none, organizer, tentativelyAccepted, accepted, declined, notResponded.
    static func answer(_ text: String?) -> EventFields.Answer {
        switch text {
        case "accepted", "organizer": .accepted
        case "declined": .declined
        case "tentativelyAccepted": .tentative
        default: .none
        }
    }

    private static func stamps(_ event: JSONValue) -> [String] {
        func stamp(_ name: String, _ member: String) -> String? {
            event[member]?.text.flatMap { Timestamp(iso8601: $0) }.map { "\(name):\($0.calendarUTC)" }
        }
        return [
            stamp("DTSTAMP", "lastModifiedDateTime") ?? "DTSTAMP:19700101T000000Z", stamp("CREATED", "createdDateTime"),
            stamp("LAST-MODIFIED", "lastModifiedDateTime"),
        ].compactMap { $0 }
    }

    // MARK: - Writing

    /// What a PATCH says: the members of these fields, and no other.
    /// - Parameter raw: the event as it was read, whose attendees keep what the fields do not know; nil for a POST.
    static func patch(
        _ fields: EventFields, _ changed: Set<EventFields.Field>, raw: JSONValue?, zones: ZoneCatalogue
    ) throws(CalendarError) -> JSONValue {
        var patch: JSONValue = [:]
        for field in changed {
            switch field {
            case .summary: patch["subject"] = .string(fields.summary)
            case .description: patch["body"] = body(fields.description, raw?["body"])
            case .location: patch["location"] = ["displayName": .string(fields.location)]
            case .time:
                patch["start"] = try time(fields.start, zones)
                patch["end"] = try time(fields.end, zones)
                if raw == nil || (raw?["isAllDay"]?.flag == true) != fields.isAllDay {
                    patch["isAllDay"] = .boolean(fields.isAllDay)
                }
            case .busy, .status:
                guard field == .busy || !fields.isCancelled else {
                    throw .objectRefused("a status of cancelled: delete the event")
                }
                // Graph has no tentative status but that of the calendar's owner.
                let told = fields.isTentative && fields.busy == .busy ? .tentative : fields.busy
                patch["showAs"] = .string(busy[told] ?? "busy")
            case .sensitivity:
                patch["sensitivity"] = .string(
                    fields.sensitivity == .public ? "normal" : fields.sensitivity.rawValue.lowercased())
            case .importance: patch["importance"] = .string(fields.importance.rawValue)
            case .categories: patch["categories"] = .array(fields.categories.map(JSONValue.string))
            case .reminder:
                patch["isReminderOn"] = .boolean(fields.reminder != nil)
                if let reminder = fields.reminder { patch["reminderMinutesBeforeStart"] = .integer(reminder) }
            case .attendees: patch["attendees"] = .array(attendees(fields.attendees, raw?["attendees"]?.list ?? []))
            case .rules:
                guard fields.rules.count <= 1 else { throw .objectRefused("more than one rule for a series") }
                patch["recurrence"] =
                    try fields.rules.first.map { rule throws(CalendarError) in
                        try GraphRecurrence.value(
                            RulePattern(rule: rule, start: fields.start, zones: zones), start: fields.start, zones)
                    } ?? .null
            case .addedDates:
                guard fields.addedDates.isEmpty else { throw .objectRefused("RDATE, which Graph has not") }
            case .removedDates: break
            case .rest:
                let text = RestLines.text(fields.rest)
                guard text.utf8.count <= RestLines.largestSize else {
                    throw .objectRefused("more than \(RestLines.largestSize) octets of other properties")
                }
                patch["singleValueExtendedProperties"] = [
                    ["id": .string(linesProperty), "value": .string(text)]
                ]
            }
        }
        return patch
    }

    private static func body(_ text: String, _ raw: JSONValue?) -> JSONValue {
        guard raw?["contentType"]?.text?.lowercased() == "html", let html = raw?["content"]?.text, !html.isEmpty else {
            return ["contentType": "text", "content": .string(text)]
        }
        return ["contentType": "html", "content": .string(HTMLText.replacing(html, by: text))]
    }

    static func time(_ moment: CalendarMoment, _ zones: ZoneCatalogue) throws(CalendarError) -> JSONValue {
        let text = String(Instant(seconds: moment.local.seconds).description.dropLast())
        return ["dateTime": .string(text), "timeZone": .string(try zone(moment, zones))]
    }

    static func zone(_ moment: CalendarMoment, _ zones: ZoneCatalogue) throws(CalendarError) -> String {
        switch moment {
        case .utc, .date: return "UTC"
        case .zoned(_, let zone):
            guard zones.rules(named: zone) != nil, !zone.hasPrefix("/") else {
                throw .objectRefused("a time zone that is not known")
            }
            return zone
        case .floating: throw .objectRefused("a time without a zone")
        }
    }

    /// An attendee who was there keeps what came with him; his answer is not ours to say, and Graph takes none.
    private static func attendees(_ attendees: [EventFields.Attendee], _ raw: [JSONValue]) -> [JSONValue] {
        attendees.map { attendee in
            let known = raw.first {
                $0["emailAddress"]?["address"]?.text?.lowercased() == attendee.person.address.lowercased()
            }
            var value = known ?? ["emailAddress": ["address": .string(attendee.person.address)]]
            if let name = attendee.person.name {
                var address = value["emailAddress"] ?? [:]
                address["name"] = .string(name)
                value["emailAddress"] = address
            }
            let isThing = attendee.kind == .resource || attendee.kind == .room
            value["type"] =
                isThing ? "resource" : attendee.role == .required || attendee.role == .chair ? "required" : "optional"
            return value
        }
    }
}

/// `patternedRecurrence` of Graph.
enum GraphRecurrence {
    private static let days = ["monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday"]
    private static let indices: [String: Int] = ["first": 1, "second": 2, "third": 3, "fourth": 4, "last": -1]

    static func pattern(_ recurrence: JSONValue) throws(CalendarError) -> RulePattern {
        let violation = CalendarError.violation(
            "the recurrence of an event can not be read", expected: "a patternedRecurrence")
        let pattern = recurrence["pattern"] ?? [:]
        let set = Set(
            (pattern["daysOfWeek"]?.list ?? []).compactMap { $0.text.flatMap { days.firstIndex(of: $0.lowercased()) } })
        let index = indices[pattern["index"]?.text ?? "first"] ?? 1
        let month = pattern["month"]?.integer ?? 0
        let day = pattern["dayOfMonth"]?.integer ?? 0
        let interval = pattern["interval"]?.integer ?? 1
        let kind: RulePattern.Kind
        switch pattern["type"]?.text {
        case "daily": kind = .daily
        case "weekly" where !set.isEmpty:
            let start = pattern["firstDayOfWeek"]?.text.flatMap { days.firstIndex(of: $0.lowercased()) }
            kind = .weekly(set, weekStart: start ?? 6)
        case "absoluteMonthly" where (1...31).contains(day): kind = .absoluteMonthly(day: day)
        case "relativeMonthly" where !set.isEmpty: kind = .relativeMonthly(set, index: index)
        case "absoluteYearly" where (1...31).contains(day) && (1...12).contains(month):
            kind = .absoluteYearly(month: month, day: day)
        case "relativeYearly" where !set.isEmpty && (1...12).contains(month):
            kind = .relativeYearly(set, index: index, month: month)
        default: throw violation
        }
        let range = recurrence["range"] ?? [:]
        let end: RulePattern.End
        switch range["type"]?.text {
        case "noEnd": end = .never
        case "numbered":
            guard let count = range["numberOfOccurrences"]?.integer, count > 0 else { throw violation }
            end = .count(count)
        case "endDate":
            guard let date = range["endDate"]?.text.flatMap(date) else { throw violation }
            end = .until(date)
        default: throw violation
        }
        guard interval > 0 else { throw violation }
        return RulePattern(kind, interval: interval, end: end)
    }

    static func value(
        _ pattern: RulePattern, start: CalendarMoment, _ zones: ZoneCatalogue
    ) throws(CalendarError) -> JSONValue {
        var value: JSONValue = ["interval": .integer(pattern.interval)]
        func set(_ days: Set<Int>) { value["daysOfWeek"] = .array(days.sorted().map { .string(Self.days[$0]) }) }
        func set(index: Int) { value["index"] = .string(indices.first { $0.value == index }?.key ?? "first") }
        switch pattern.kind {
        case .daily: value["type"] = "daily"
        case .weekly(let days, let weekStart):
            value["type"] = "weekly"
            set(days)
            value["firstDayOfWeek"] = .string(Self.days[weekStart])
        case .absoluteMonthly(let day):
            value["type"] = "absoluteMonthly"
            value["dayOfMonth"] = .integer(day)
        case .relativeMonthly(let days, let index):
            value["type"] = "relativeMonthly"
            set(days)
            set(index: index)
        case .absoluteYearly(let month, let day):
            value["type"] = "absoluteYearly"
            value["month"] = .integer(month)
            value["dayOfMonth"] = .integer(day)
        case .relativeYearly(let days, let index, let month):
            value["type"] = "relativeYearly"
            value["month"] = .integer(month)
            set(days)
            set(index: index)
        }
        var range: JSONValue = [
            "startDate": .string(text(start.local.date)),
            "recurrenceTimeZone": .string(try GraphEvent.zone(start, zones)),
        ]
        switch pattern.end {
        case .never: range["type"] = "noEnd"
        case .count(let count):
            range["type"] = "numbered"
            range["numberOfOccurrences"] = .integer(count)
        case .until(let date):
            range["type"] = "endDate"
            range["endDate"] = .string(text(date))
        }
        return ["pattern": value, "range": range]
    }

    static func text(_ date: CivilDate) -> String {
        String(Instant(seconds: LocalTime(date).seconds).description.prefix(10))
    }

    static func date(_ text: String) -> CivilDate? {
        Timestamp(iso8601: text.prefix(10) + "T00:00:00Z").map { LocalTime(seconds: Int($0.seconds)).date }
    }
}
