package import CalendarTime

/// What an event says, in the terms that iCalendar and the services have in common.
///
/// A service's event becomes fields, the fields become lines of iCalendar, and an edited text becomes fields again; a write
/// sends the fields in which the two texts differ, and nothing else. So what a service has and these fields have not is
/// never touched. What iCalendar has and a service has not is `rest`, lines that the service keeps as they are.
package struct EventFields: Sendable, Hashable {
    package struct Person: Sendable, Hashable {
        package var address: String
        package var name: String?

        package init(_ address: String, name: String? = nil) {
            self.address = address
            self.name = name
        }
    }

    package enum Role: String, Sendable, Hashable {
        case chair = "CHAIR", required = "REQ-PARTICIPANT", optional = "OPT-PARTICIPANT", observer = "NON-PARTICIPANT"
    }

    package enum Kind: String, Sendable, Hashable {
        case individual = "INDIVIDUAL", group = "GROUP", room = "ROOM", resource = "RESOURCE"
    }

    package enum Answer: String, Sendable, Hashable {
        case none = "NEEDS-ACTION", accepted = "ACCEPTED", declined = "DECLINED", tentative = "TENTATIVE"
    }

    package struct Attendee: Sendable, Hashable {
        package var person: Person
        package var role: Role
        package var kind: Kind
        package var answer: Answer

        package init(
            _ person: Person, role: Role = .required, kind: Kind = .individual, answer: Answer = .none
        ) {
            self.person = person
            self.role = role
            self.kind = kind
            self.answer = answer
        }

        /// Addresses compare without case: services write them as they like.
        package func isSame(_ other: Attendee) -> Bool {
            person.address.lowercased() == other.person.address.lowercased()
        }
    }

    /// As X-MICROSOFT-CDO-BUSYSTATUS says it, besides TRANSP.
    package enum Busy: String, Sendable, Hashable {
        case free = "FREE", tentative = "TENTATIVE", busy = "BUSY", away = "OOF", elsewhere = "WORKINGELSEWHERE"
    }

    package enum Sensitivity: String, Sendable, Hashable {
        case `public` = "PUBLIC", `private` = "PRIVATE", confidential = "CONFIDENTIAL"
    }

    package enum Importance: String, Sendable, Hashable { case high, normal, low }

    package var summary = ""
    package var description = ""
    package var location = ""
    package var start: CalendarMoment
    package var end: CalendarMoment
    package var busy = Busy.busy
    package var sensitivity = Sensitivity.public
    package var importance = Importance.normal
    package var categories: [String] = []
    /// Minutes before the start.
    package var reminder: Int?
    package var organizer: Person?
    package var attendees: [Attendee] = []
    package var isCancelled = false
    package var isTentative = false
    /// Values of RRULE.
    package var rules: [String] = []
    package var addedDates: [CalendarMoment] = []
    package var removedDates: [CalendarMoment] = []
    /// Where the service itself holds the meeting: told, never written.
    package var conferences: [String] = []
    /// Unfolded lines of properties and components that have no field here.
    package var rest: [String] = []
    /// Told, never written: SEQUENCE, CREATED, LAST-MODIFIED, DTSTAMP, as lines.
    package var stamps: [String] = []

    package init(start: CalendarMoment, end: CalendarMoment) {
        self.start = start
        self.end = end
    }

    package var isAllDay: Bool { start.isDate }
    package var isSeries: Bool { !rules.isEmpty || !addedDates.isEmpty }

    /// What a write can change.
    package enum Field: String, Sendable, CaseIterable {
        case summary, description, location, time, busy, sensitivity, importance, categories, reminder, attendees
        case status, rules, addedDates, removedDates, rest
    }

    /// In which fields this differs from what was read. Answers of attendees are not among them: they belong to who gave
    /// them, and a service keeps them.
    package func differences(from base: EventFields) -> Set<Field> {
        var fields: Set<Field> = []
        func compare(_ field: Field, _ isSame: Bool) { if !isSame { fields.insert(field) } }
        compare(.summary, summary == base.summary)
        compare(.description, description == base.description)
        compare(.location, location == base.location)
        compare(.time, start == base.start && end == base.end)
        compare(.busy, busy == base.busy)
        compare(.sensitivity, sensitivity == base.sensitivity)
        compare(.importance, importance == base.importance)
        compare(.categories, categories == base.categories)
        compare(.reminder, reminder == base.reminder)
        compare(.status, isCancelled == base.isCancelled && isTentative == base.isTentative)
        compare(.rules, rules == base.rules)
        compare(.addedDates, Set(addedDates) == Set(base.addedDates))
        compare(.removedDates, Set(removedDates) == Set(base.removedDates))
        compare(.rest, rest == base.rest)
        let silent = { (attendee: Attendee) in
            var attendee = attendee
            attendee.answer = .none
            attendee.person.address = attendee.person.address.lowercased()
            return attendee
        }
        compare(.attendees, Set(attendees.map(silent)) == Set(base.attendees.map(silent)))
        return fields
    }

    /// The answer of one attendee; nil: he is none.
    package func answer(of address: String) -> Answer? {
        attendees.first { $0.person.address.lowercased() == address.lowercased() }?.answer
    }
}
