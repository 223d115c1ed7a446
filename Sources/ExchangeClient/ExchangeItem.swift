import CalendarBackend
import CalendarTime
import CalendarTranslation
import CalendarXML
import WireText

/// A `CalendarItem` of Exchange Web Services as fields, and changed fields as the parts of an UpdateItem or CreateItem.
enum ExchangeItem {
    private static let set = "7c2c8f0e-4f5f-4d53-9d0b-6f2f2f2c9a51"
    static let linesURI =
        "<t:ExtendedFieldURI PropertySetId=\"\(set)\" PropertyName=\"hds-lines\" PropertyType=\"String\"/>"

    /// What a GetItem asks for.
    static let shape: String = {
        let names = [
            "item:Subject", "item:Sensitivity", "item:Body", "item:Categories", "item:Importance", "item:ReminderIsSet",
            "item:ReminderMinutesBeforeStart", "item:DateTimeCreated", "item:LastModifiedTime", "calendar:UID",
            "calendar:RecurrenceId", "calendar:Start", "calendar:End", "calendar:OriginalStart",
            "calendar:IsAllDayEvent", "calendar:LegacyFreeBusyStatus", "calendar:Location", "calendar:IsCancelled",
            "calendar:CalendarItemType", "calendar:MyResponseType", "calendar:Organizer",
            "calendar:RequiredAttendees", "calendar:OptionalAttendees", "calendar:Resources", "calendar:Recurrence",
            "calendar:ModifiedOccurrences", "calendar:DeletedOccurrences", "calendar:StartTimeZone",
            "calendar:AppointmentSequenceNumber", "calendar:JoinOnlineMeetingUrl",
        ]
        return "<m:ItemShape><t:BaseShape>IdOnly</t:BaseShape><t:BodyType>Best</t:BodyType><t:AdditionalProperties>"
            + names.map { "<t:FieldURI FieldURI=\"\($0)\"/>" }.joined() + linesURI
            + "</t:AdditionalProperties></m:ItemShape>"
    }()

    // MARK: - Reading

    static func fields(of item: XMLElement, zones: ZoneCatalogue) throws(CalendarError) -> EventFields {
        let isAllDay = flag(item, "IsAllDayEvent")
        let told = item.child("StartTimeZone")?.attributes["Id"]
        let zone = told.flatMap { zones.rules(named: $0) == nil ? nil : $0 }
        if item.child("Recurrence") != nil, zone == nil, !isAllDay {
            throw .violation(
                "the time zone of a series is not known", expected: "a name of Windows or of IANA",
                found: told.map { String($0.prefix(60)) })
        }
        let start = try moment(item.child("Start"), zone, isAllDay, zones)
        var fields = EventFields(start: start, end: try moment(item.child("End"), zone, isAllDay, zones))
        fields.summary = value(item, "Subject")
        fields.location = value(item, "Location")
        fields.description = description(item.child("Body"))
        fields.busy = busy.first { $0.value == value(item, "LegacyFreeBusyStatus") }?.key ?? .busy
        switch value(item, "Sensitivity") {
        case "Personal", "Private": fields.sensitivity = .private
        case "Confidential": fields.sensitivity = .confidential
        default: break
        }
        fields.importance = EventFields.Importance(rawValue: value(item, "Importance").lowercased()) ?? .normal
        fields.categories = (item.child("Categories")?.children ?? []).map {
            String(decoding: $0.octets, as: UTF8.self)
        }
        if flag(item, "ReminderIsSet") { fields.reminder = Int(value(item, "ReminderMinutesBeforeStart")) }
        fields.isCancelled = flag(item, "IsCancelled")
        fields.organizer = item.child("Organizer").flatMap(person)
        for list in lists {
            for attendee in item.child(list.name)?.children ?? [] {
                guard let person = person(attendee) else { continue }
                fields.attendees.append(
                    EventFields.Attendee(
                        person, role: list.role, kind: list.kind, answer: answer(value(attendee, "ResponseType"))))
            }
        }
        let url = value(item, "JoinOnlineMeetingUrl")
        if !url.isEmpty { fields.conferences = [url] }
        if let recurrence = item.child("Recurrence") {
            fields.rules = [try ExchangeRecurrence.pattern(recurrence).rule(start: start, zones: zones)]
        }
        fields.stamps = stamps(item)
        let kept = item.children.first { part in
            part.name.name == "ExtendedProperty"
                && part.child("ExtendedFieldURI")?.attributes["PropertyName"] == "hds-lines"
        }
        fields.rest = RestLines.lines(kept?.child("Value").map { String(decoding: $0.octets, as: UTF8.self) } ?? "")
        return fields
    }

    /// Times are in UTC; days are those of the item's zone.
    static func moment(
        _ element: XMLElement?, _ zone: String?, _ isAllDay: Bool, _ zones: ZoneCatalogue
    ) throws(CalendarError) -> CalendarMoment {
        guard let text = element?.text, let stamp = Timestamp(iso8601: text) else {
            throw .violation("an event has a time that can not be read", expected: "a dateTime in UTC")
        }
        let instant = Instant(seconds: Int(stamp.seconds))
        guard let zone, let rules = zones.rules(named: zone) else {
            let local = LocalTime(seconds: instant.seconds)
            return isAllDay ? .date(local.date) : .utc(local)
        }
        let local = rules.local(of: instant)
        if isAllDay { return .date(local.date) }
        return zone.uppercased() == "UTC" ? .utc(local) : .zoned(local, zone: zone)
    }

    private static let lists: [(name: String, role: EventFields.Role, kind: EventFields.Kind)] = [
        ("RequiredAttendees", .required, .individual), ("OptionalAttendees", .optional, .individual),
        ("Resources", .observer, .resource),
    ]
    private static let busy: [EventFields.Busy: String] = [
        .free: "Free", .tentative: "Tentative", .busy: "Busy", .away: "OOF", .elsewhere: "WorkingElsewhere",
    ]

    static func value(_ item: XMLElement, _ name: String) -> String {
        item.child(name).map { String(decoding: $0.octets, as: UTF8.self) } ?? ""
    }

    private static func flag(_ item: XMLElement, _ name: String) -> Bool { item.child(name)?.text == "true" }

    private static func description(_ body: XMLElement?) -> String {
        let content = body.map { String(decoding: $0.octets, as: UTF8.self) } ?? ""
        return body?.attributes["BodyType"] == "HTML" ? HTMLText.plain(content) : content.replacing("\r\n", with: "\n")
    }

    private static func person(_ element: XMLElement) -> EventFields.Person? {
        guard let address = element.descend("Mailbox", "EmailAddress")?.text, !address.isEmpty else { return nil }
        return EventFields.Person(
            address, name: element.child("Mailbox").flatMap { $0.child("Name") == nil ? nil : value($0, "Name") })
    }

    /// `ResponseType`: Unknown, Organizer, Tentative, Accept, Decline, NoResponseReceived.
    static func answer(_ text: String) -> EventFields.Answer {
        switch text {
        case "Accept", "Organizer": .accepted
        case "Decline": .declined
        case "Tentative": .tentative
        default: .none
        }
    }

    private static func stamps(_ item: XMLElement) -> [String] {
        func stamp(_ name: String, _ member: String) -> String? {
            Timestamp(iso8601: value(item, member)).map { "\(name):\($0.calendarUTC)" }
        }
        return [
            stamp("DTSTAMP", "LastModifiedTime") ?? "DTSTAMP:19700101T000000Z", stamp("CREATED", "DateTimeCreated"),
            stamp("LAST-MODIFIED", "LastModifiedTime"),
            Int(value(item, "AppointmentSequenceNumber")).map { "SEQUENCE:\($0)" },
        ].compactMap { $0 }
    }

    // MARK: - Writing

    /// One property of an item, as an update or a new item writes it.
    struct Part {
        /// Its place in the schema's sequence.
        var order: Int
        /// The name of what is set.
        var uri: String
        /// Nil: it is taken out.
        var element: String?
        /// To what is there, not in its place.
        var appends = false
    }

    private static func uri(_ name: String) -> String { "<t:FieldURI FieldURI=\"\(name)\"/>" }

    private static func part(_ order: Int, _ name: String, _ tag: String, _ text: String) -> Part {
        Part(order: order, uri: uri(name), element: "<t:\(tag)>\(XMLText.escaped(text))</t:\(tag)>")
    }

    /// - Parameter raw: the item as it was read; nil for a new one.
    static func parts(
        _ fields: EventFields, _ changed: Set<EventFields.Field>, raw: XMLElement?, zones: ZoneCatalogue
    ) throws(CalendarError) -> [Part] {
        var parts: [Part] = []
        for field in changed {
            switch field {
            case .summary: parts.append(part(10, "item:Subject", "Subject", fields.summary))
            case .sensitivity:
                let word: EventFields.Sensitivity = fields.sensitivity
                let told = word == .public ? "Normal" : word == .private ? "Private" : "Confidential"
                parts.append(part(11, "item:Sensitivity", "Sensitivity", told))
            case .description: parts.append(body(fields.description, raw?.child("Body")))
            case .categories:
                let list = fields.categories.map { "<t:String>\(XMLText.escaped($0))</t:String>" }.joined()
                parts.append(
                    Part(
                        order: 13, uri: uri("item:Categories"),
                        element: list.isEmpty ? nil : "<t:Categories>\(list)</t:Categories>"))
            case .importance:
                parts.append(part(14, "item:Importance", "Importance", fields.importance.rawValue.capitalizedWord))
            case .reminder:
                parts.append(part(15, "item:ReminderIsSet", "ReminderIsSet", fields.reminder == nil ? "false" : "true"))
                if let minutes = fields.reminder {
                    parts.append(
                        part(
                            16, "item:ReminderMinutesBeforeStart", "ReminderMinutesBeforeStart", String(minutes)))
                }
            case .rest:
                let text = RestLines.text(fields.rest)
                guard text.utf8.count <= RestLines.largestSize else {
                    throw .objectRefused("more than \(RestLines.largestSize) octets of other properties")
                }
                parts.append(
                    Part(
                        order: 17, uri: linesURI,
                        element: text.isEmpty
                            ? nil
                            : "<t:ExtendedProperty>\(linesURI)<t:Value>\(XMLText.escaped(text))</t:Value></t:ExtendedProperty>"
                    ))
            case .time: parts += try time(fields, zones)
            case .busy, .status:
                guard field == .busy || !fields.isCancelled else {
                    throw .objectRefused("a status of cancelled: delete the event")
                }
                let told = fields.isTentative && fields.busy == .busy ? .tentative : fields.busy
                if !parts.contains(where: { $0.order == 24 }) {
                    parts.append(
                        part(24, "calendar:LegacyFreeBusyStatus", "LegacyFreeBusyStatus", busy[told] ?? "Busy"))
                }
            case .location: parts.append(part(25, "calendar:Location", "Location", fields.location))
            case .attendees: parts += attendees(fields.attendees, raw)
            case .rules:
                guard fields.rules.count <= 1 else { throw .objectRefused("more than one rule for a series") }
                let xml = try fields.rules.first.map { rule throws(CalendarError) in
                    try ExchangeRecurrence.xml(
                        RulePattern(rule: rule, start: fields.start, zones: zones), start: fields.start)
                }
                parts.append(Part(order: 40, uri: uri("calendar:Recurrence"), element: xml))
            case .addedDates:
                guard fields.addedDates.isEmpty else { throw .objectRefused("RDATE, which Exchange has not") }
            case .removedDates: break
            }
        }
        return parts.sorted { $0.order < $1.order }
    }

    private static func body(_ text: String, _ raw: XMLElement?) -> Part {
        let old = raw.map { String(decoding: $0.octets, as: UTF8.self) } ?? ""
        let isHTML = raw?.attributes["BodyType"] == "HTML" && !old.isEmpty
        let content = isHTML ? HTMLText.replacing(old, by: text) : text
        return Part(
            order: 12, uri: uri("item:Body"),
            element: "<t:Body BodyType=\"\(isHTML ? "HTML" : "Text")\">\(XMLText.escaped(content))</t:Body>")
    }

    private static func time(_ fields: EventFields, _ zones: ZoneCatalogue) throws(CalendarError) -> [Part] {
        let zone: String
        switch fields.start {
        case .utc, .date: zone = "UTC"
        case .floating: throw .objectRefused("a time without a zone")
        case .zoned(_, let name):
            guard let windows = zones.windowsName(for: name) else {
                throw .objectRefused("a time zone that Windows has not")
            }
            zone = windows
        }
        func text(_ moment: CalendarMoment) throws(CalendarError) -> String {
            if case .floating = moment { throw .objectRefused("a time without a zone") }
            return Instant(seconds: try EventSeries.place(moment, zones: zones)).description
        }
        return [
            part(21, "calendar:Start", "Start", try text(fields.start)),
            part(22, "calendar:End", "End", try text(fields.end)),
            part(23, "calendar:IsAllDayEvent", "IsAllDayEvent", fields.isAllDay ? "true" : "false"),
            Part(
                order: 50, uri: uri("calendar:StartTimeZone"),
                element: "<t:StartTimeZone Id=\"\(XMLText.escaped(zone))\"/>"),
            Part(
                order: 51, uri: uri("calendar:EndTimeZone"), element: "<t:EndTimeZone Id=\"\(XMLText.escaped(zone))\"/>"
            ),
        ]
    }

    /// Who is new is appended, so that the others and their answers are not written at all; only where somebody goes is a
    /// list set anew, with the answers that were read.
    private static func attendees(_ attendees: [EventFields.Attendee], _ raw: XMLElement?) -> [Part] {
        var parts: [Part] = []
        for (number, list) in lists.enumerated() {
            let new = attendees.filter { Self.list(of: $0) == number }
            let old = raw?.child(list.name)?.children ?? []
            let addresses = { (element: XMLElement) in
                element.descend("Mailbox", "EmailAddress")?.text.lowercased() ?? ""
            }
            let known = Set(old.map(addresses))
            let wanted = Set(new.map { $0.person.address.lowercased() })
            let added = new.filter { !known.contains($0.person.address.lowercased()) }
            let uri = uri("calendar:" + list.name)
            if known.isSubset(of: wanted) {
                guard !added.isEmpty else { continue }
                let content = added.map { xml($0, nil) }.joined()
                parts.append(
                    Part(
                        order: 30 + number, uri: uri, element: "<t:\(list.name)>\(content)</t:\(list.name)>",
                        appends: !known.isEmpty))
            } else {
                let content = new.map { attendee in
                    xml(attendee, old.first { addresses($0) == attendee.person.address.lowercased() })
                }.joined()
                parts.append(
                    Part(
                        order: 30 + number, uri: uri,
                        element: content.isEmpty ? nil : "<t:\(list.name)>\(content)</t:\(list.name)>"))
            }
        }
        return parts
    }

    private static func list(of attendee: EventFields.Attendee) -> Int {
        if attendee.kind == .resource || attendee.kind == .room { return 2 }
        return attendee.role == .required || attendee.role == .chair ? 0 : 1
    }

    private static func xml(_ attendee: EventFields.Attendee, _ raw: XMLElement?) -> String {
        let name = attendee.person.name.map { "<t:Name>\(XMLText.escaped($0))</t:Name>" } ?? ""
        let kept = ["ResponseType", "LastResponseTime"].compactMap { tag in
            raw?.child(tag).map { "<t:\(tag)>\(XMLText.escaped($0.text))</t:\(tag)>" }
        }.joined()
        return "<t:Attendee><t:Mailbox>\(name)<t:EmailAddress>\(XMLText.escaped(attendee.person.address))"
            + "</t:EmailAddress></t:Mailbox>\(kept)</t:Attendee>"
    }
}

extension String {
    var capitalizedWord: String { prefix(1).uppercased() + dropFirst() }
}
