package import CalendarTime

/// What happened to the meetings of a user between two readings.
///
/// What the connector wrote itself is no content of a meeting, so its own writing is no event; nor are a new ETag, stamp
/// or number alone. A meeting that went out of the window because time passed is forgotten without an event.
package struct MeetingDifference: Sendable, Hashable {
    package enum Field: String, Sendable, CaseIterable {
        case time, subject, location, notes, organizer, participants, answers, status, sensitivity, busy, trigger
    }

    package enum Event: Sendable, Hashable {
        case created(Meeting)
        case updated(Meeting, Set<Field>)
        case deleted(Meeting, MeetingReader.Reason)
    }

    package let events: [Event]
    /// The newer meetings, with the spaces that they keep.
    package let meetings: [Meeting]

    /// - Parameters:
    ///   - old: of the reading before, with their spaces.
    ///   - left: why meetings are not among the newer.
    ///   - spaces: by `Meeting.spaceKey`, of meetings that are out of the window or not yet read.
    ///   - window: of the newer reading.
    package init(
        from old: [Meeting], to new: [Meeting], left: [String: MeetingReader.Reason] = [:],
        spaces known: [String: String] = [:], window: Range<Instant>
    ) {
        let before = Dictionary(old.map { ($0.id, $0) }, uniquingKeysWith: { first, _ in first })
        let spaces = Dictionary(
            old.compactMap { meeting in meeting.spaceID.map { (meeting.spaceKey, $0) } },
            uniquingKeysWith: { first, _ in first })
        let kept = new.map { meeting in
            var meeting = meeting
            meeting.spaceID =
                meeting.spaceID ?? spaces[meeting.spaceKey] ?? before[meeting.id]?.spaceID
                ?? known[meeting.spaceKey]
            return meeting
        }
        var events: [Event] = []
        for meeting in kept {
            guard let earlier = before[meeting.id] else {
                events.append(.created(meeting))
                continue
            }
            let fields = Self.fields(earlier, meeting)
            if !fields.isEmpty { events.append(.updated(meeting, fields)) }
        }
        let now = Set(kept.map(\.id))
        for meeting in old where !now.contains(meeting.id) {
            let isAhead = meeting.start >= window.upperBound
            let reason = left[meeting.id] ?? (isAhead ? .outsideWindow : .gone)
            // Ended before the window: time passed, and nobody took it away.
            let hasPassed = meeting.end <= window.lowerBound && meeting.start < window.lowerBound
            if hasPassed, reason == .gone || reason == .outsideWindow { continue }
            events.append(.deleted(meeting, reason))
        }
        self.events = events
        meetings = kept
    }

    private static func fields(_ old: Meeting, _ new: Meeting) -> Set<Field> {
        var fields: Set<Field> = []
        func note(_ field: Field, _ isSame: Bool) { if !isSame { fields.insert(field) } }
        note(
            .time,
            old.start == new.start && old.end == new.end && old.isAllDay == new.isAllDay
                && old.startTimeZone == new.startTimeZone)
        note(.subject, old.subject == new.subject)
        note(.location, old.location == new.location)
        note(.notes, old.notes == new.notes)
        note(.organizer, old.organizer == new.organizer)
        note(.status, old.status == new.status)
        note(.sensitivity, old.sensitivity == new.sensitivity)
        note(.busy, old.busy == new.busy)
        note(.trigger, old.trigger == new.trigger && old.spaceKey == new.spaceKey)
        if old.participants != new.participants {
            let people = { (meeting: Meeting) in Set(meeting.participants.map(\.address)) }
            // Order is no content.
            if people(old) != people(new) { fields.insert(.participants) }
            let answers = { (meeting: Meeting) in
                Dictionary(
                    meeting.participants.map { ($0.address, $0.answer) }, uniquingKeysWith: { first, _ in first })
            }
            if people(old) == people(new), answers(old) != answers(new) { fields.insert(.answers) }
            if people(old) == people(new), answers(old) == answers(new),
                Set(old.participants) != Set(new.participants)
            {
                fields.insert(.participants)
            }
        }
        return fields
    }
}
