package import CalendarTime
package import Diagnostics
package import ICalendar

/// The three-way merge of join details: from what the details were made for (`base`), what stands on the server now
/// (`latest`), and the edit.
///
/// Everything of `latest` stays, octet for octet, but the connector's own properties. Of these the edit wins, except
/// when a user took out the very details that stood in `base`: they are not put back.
package struct JoinMerge: Sendable {
    package enum Refusal: String, Sendable {
        /// Another one is the organizer.
        case notOrganizer
        case cancelled
        case noSuchMeeting
        /// Nothing in the event asks for details any more, or for others.
        case notWanted
        /// A user took these details out.
        case takenOut
    }

    package enum Outcome: Sendable, Equatable {
        case write(CalendarDocument)
        /// It stands there already.
        case same
        case refused(Refusal)
    }

    /// The most events of one UID into which the details of a series are written.
    package static let mostOverrides = 500

    private let user: CalendarUser
    private let keywords: Keywords
    private let zones: ZoneCatalogue

    package init(user: CalendarUser, keywords: Keywords, zones: ZoneCatalogue) {
        self.user = user
        self.keywords = keywords
        self.zones = zones
    }

    /// - Parameter base: nil when the details are new.
    /// - Throws: `calendar-object-refused`, `calendar-edit-refused`, and those of `EventSchedule`.
    package func merged(
        _ edit: JoinEdit, base: CalendarDocument?, latest: CalendarDocument
    ) throws(DiagnosedError) -> Outcome {
        var document = latest
        let events = EventProperties.all(of: latest).filter { $0.uid == edit.uid }
        guard events.count <= MeetingReader.mostEvents else {
            throw .refusedObject("at most \(MeetingReader.mostEvents) events")
        }
        guard !events.isEmpty else { return .refused(.noSuchMeeting) }
        guard events.allSatisfy({ $0.isOrganized(by: user) }) else { return .refused(.notOrganizer) }
        let before = base.map { EventProperties.all(of: $0).filter { $0.uid == edit.uid } } ?? []
        let outcome: Refusal?
        if let key = edit.recurrenceID {
            outcome = try putInstance(edit, key, events, before, &document)
        } else {
            outcome = try putSeries(edit, events, before, &document)
        }
        if let outcome { return .refused(outcome) }
        return document == latest ? .same : .write(document)
    }

    private func putSeries(
        _ edit: JoinEdit, _ events: [EventProperties], _ before: [EventProperties], _ document: inout CalendarDocument
    ) throws(DiagnosedError) -> Refusal? {
        let master = events.first { $0.line("RECURRENCE-ID") == nil }
        // Invited to single occurrences only, there is no master: then the keyword is theirs.
        guard let master else { return .noSuchMeeting }
        if let refusal = refusal(edit, master, before.first { $0.line("RECURRENCE-ID") == nil }) { return refusal }
        guard events.count <= Self.mostOverrides else {
            throw .refusedObject("at most \(Self.mostOverrides) changed occurrences of a series")
        }
        let trigger = master.trigger(keywords)
        for event in events {
            let isMaster = event.line("RECURRENCE-ID") == nil
            // An override has the details of its series unless it has its own, or asks for none.
            let owner = JoinProperties.meeting(in: event.lines)
            guard isMaster || owner == edit.meetingID || owner == nil && event.trigger(keywords) == trigger else {
                continue
            }
            if !isMaster, event.isCancelled { continue }
            if edit.details == nil, owner != nil, owner != edit.meetingID { continue }
            try JoinProperties.put(edit, in: event.component, of: &document)
        }
        return nil
    }

    private func putInstance(
        _ edit: JoinEdit, _ key: String, _ events: [EventProperties], _ before: [EventProperties],
        _ document: inout CalendarDocument
    ) throws(DiagnosedError) -> Refusal? {
        if let event = try self.event(key, events, document) {
            if let refusal = refusal(edit, event, try self.event(key, before, document)) { return refusal }
            try JoinProperties.put(edit, in: event.component, of: &document)
            return nil
        }
        guard edit.details != nil else { return nil }
        guard let master = events.first(where: { $0.line("RECURRENCE-ID") == nil }) else { return .noSuchMeeting }
        if master.isCancelled { return .cancelled }
        let schedule = try EventSchedule(master.lines, in: document, zones: zones, userZone: user.zone)
        guard schedule.isRecurring, let place = try place(key, schedule, document) else { return .noSuchMeeting }
        let made = try override(of: master, at: place, schedule, &document)
        try JoinProperties.put(edit, in: made, of: &document)
        return nil
    }

    /// The event of one occurrence: its override, made as a copy of what the series says where there is none.
    ///
    /// - Returns: nil when the series has no such occurrence.
    package func occurrence(
        _ key: String, uid: String, in document: inout CalendarDocument
    ) throws(DiagnosedError) -> CalendarDocument.Component? {
        let events = EventProperties.all(of: document).filter { $0.uid == uid }
        guard events.count <= MeetingReader.mostEvents else {
            throw .refusedObject("at most \(MeetingReader.mostEvents) events")
        }
        if let event = try event(key, events, document) { return event.isCancelled ? nil : event.component }
        guard let master = events.first(where: { $0.line("RECURRENCE-ID") == nil }), !master.isCancelled else {
            return nil
        }
        let schedule = try EventSchedule(master.lines, in: document, zones: zones, userZone: user.zone)
        guard schedule.isRecurring, let place = try place(key, schedule, document) else { return nil }
        return try override(of: master, at: place, schedule, &document)
    }

    private func refusal(_ edit: JoinEdit, _ event: EventProperties, _ before: EventProperties?) -> Refusal? {
        guard edit.details != nil else { return nil }
        if event.isCancelled { return .cancelled }
        guard let before else { return nil }
        if before.trigger(keywords) != event.trigger(keywords) { return .notWanted }
        let isSameEdit = JoinProperties.revision(in: before.lines) == edit.revision
        if isSameEdit, JoinProperties.isThere(in: before.lines), !JoinProperties.isThere(in: event.lines) {
            return .takenOut
        }
        return nil
    }

    private func event(
        _ key: String, _ events: [EventProperties], _ document: CalendarDocument
    ) throws(DiagnosedError) -> EventProperties? {
        var resolver = MomentResolver(document: document, zones: zones, userZone: user.zone)
        for event in events {
            guard let line = event.line("RECURRENCE-ID") else { continue }
            if try RecurrenceKey(CalendarMoment(line), &resolver).text == key { return event }
        }
        return nil
    }

    /// Where in the series an occurrence is; nil when the series has none there.
    private func place(
        _ key: String, _ schedule: EventSchedule, _ document: CalendarDocument
    ) throws(DiagnosedError) -> LocalTime? {
        let moment = try CalendarMoment(parsing: key)
        let local: LocalTime
        switch (moment, schedule.start) {
        case (.utc(let utc), .utc), (.utc(let utc), .zoned):
            local = schedule.zone.local(of: Instant(seconds: utc.seconds))
        case (.date, .date), (.floating, .floating): local = moment.local
        default: return nil
        }
        return try schedule.contains(local) ? local : nil
    }

    /// An override that says what the series says for this occurrence.
    private func override(
        of master: EventProperties, at local: LocalTime, _ schedule: EventSchedule, _ document: inout CalendarDocument
    ) throws(DiagnosedError) -> CalendarDocument.Component {
        let end = master.lines.first?.octets ?? []
        let lineEnd: [UInt8] = end.suffix(2) == [13, 10] ? [13, 10] : [10]
        let occurrence = schedule.occurrence(at: local)
        var resolver = MomentResolver(document: document, zones: zones, userZone: user.zone)
        return try document.appendCopy(of: master.component) { line throws(DiagnosedError) in
            switch line.name {
            case "RRULE", "RDATE", "EXDATE": return []
            case "DTSTART":
                let start = schedule.start.at(local).written
                return [
                    try ContentLine("DTSTART", start.parameters, value: start.value, end: lineEnd),
                    try ContentLine("RECURRENCE-ID", start.parameters, value: start.value, end: lineEnd),
                ]
            case "DTEND":
                let moment = try CalendarMoment(line)
                let zone = try resolver.rules(for: moment)
                let end = moment.at(zone.local(of: occurrence.end)).written
                return [try ContentLine("DTEND", end.parameters, value: end.value, end: lineEnd)]
            default: return [line]
            }
        }
    }
}
