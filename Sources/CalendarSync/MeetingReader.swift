package import CalendarTime
package import Diagnostics
package import ICalendar

/// Reads the meetings of one user out of calendar objects.
///
/// Every occurrence of a series in the window is a meeting of its own. Cancelled ones and those that the user declined
/// are none; `left` tells them. What can not be read is told as a problem and spoils nothing else.
package struct MeetingReader: Sendable {
    package static let mostEvents = 5000
    /// An object of a calendar server has one UID; imported ones have more. Rules are what costs time.
    package static let mostRules = 50
    package static let mostMeetings = 1000
    package static let mostParticipants = 5000

    package enum Reason: String, Sendable { case gone, cancelled, declined, outsideWindow }

    package struct Reading: Sendable {
        package var meetings: [Meeting] = []
        package var left: [String: Reason] = [:]
        /// Without any text of the calendar.
        package var problems: [DiagnosedError] = []
        /// There are more than `mostMeetings`.
        package var isCut = false
    }

    private let user: CalendarUser
    private let keywords: Keywords
    private let zones: ZoneCatalogue

    package init(user: CalendarUser, keywords: Keywords, zones: ZoneCatalogue) {
        self.user = user
        self.keywords = keywords
        self.zones = zones
    }

    package func meetings(in document: CalendarDocument, etag: String, window: Range<Instant>) -> Reading {
        var reading = Reading()
        let events = EventProperties.all(of: document)
        guard events.count <= Self.mostEvents else {
            reading.problems = [.refusedObject("at most \(Self.mostEvents) events")]
            return reading
        }
        guard events.reduce(0, { $0 + $1.lines.count { $0.name == "RRULE" } }) <= Self.mostRules else {
            reading.problems = [.refusedObject("at most \(Self.mostRules) rules")]
            return reading
        }
        var byUID: [String: [EventProperties]] = [:]
        for event in events {
            guard let uid = event.uid, !uid.isEmpty, uid.utf8.count <= 4096 else {
                reading.problems.append(.refusedObject("a UID in every event"))
                continue
            }
            byUID[uid, default: []].append(event)
        }
        var resolver = MomentResolver(document: document, zones: zones, userZone: user.zone)
        for uid in byUID.keys.sorted() {
            read(byUID[uid] ?? [], uid, Source(etag: etag, window: window), &resolver, &reading)
        }
        reading.meetings.sort { ($0.start, $0.id) < ($1.start, $1.id) }
        return reading
    }

    private struct Source {
        let etag: String
        let window: Range<Instant>
    }

    private func read(
        _ events: [EventProperties], _ uid: String, _ source: Source, _ resolver: inout MomentResolver,
        _ reading: inout Reading
    ) {
        let masters = events.filter { $0.line("RECURRENCE-ID") == nil }
        guard masters.count <= 1 else {
            reading.problems.append(.refusedObject("one event of a UID without RECURRENCE-ID"))
            return
        }
        let seriesTrigger = masters.first?.trigger(keywords)
        var overridden: Set<String> = []
        for event in events {
            guard let line = event.line("RECURRENCE-ID") else { continue }
            do throws(DiagnosedError) {
                guard line.values(of: "RANGE").isEmpty else { throw .refusedObject("overrides without a RANGE") }
                let key = try RecurrenceKey(CalendarMoment(line), &resolver).text
                overridden.insert(key)
                let schedule = try EventSchedule(event.lines, &resolver)
                let occurrence = schedule.occurrence(at: schedule.start.local)
                let trigger = event.trigger(keywords)
                add(event, uid, key, occurrence, schedule, source, isOwn: trigger != seriesTrigger, &reading)
            } catch {
                reading.problems.append(error)
            }
        }
        guard let master = masters.first else { return }
        do throws(DiagnosedError) {
            let schedule = try EventSchedule(master.lines, &resolver)
            guard schedule.isRecurring else {
                let occurrence = schedule.occurrence(at: schedule.start.local)
                add(master, uid, nil, occurrence, schedule, source, isOwn: false, &reading)
                return
            }
            let found = try schedule.occurrences(in: source.window, limit: Self.mostMeetings)
            reading.isCut = reading.isCut || found.isCut
            for occurrence in found.list {
                let key = RecurrenceKey(occurrence, of: schedule).text
                if overridden.contains(key) { continue }
                add(master, uid, key, occurrence, schedule, source, isOwn: false, &reading)
            }
        } catch {
            reading.problems.append(error)
        }
    }

    private func add(
        _ event: EventProperties, _ uid: String, _ key: String?, _ occurrence: EventSchedule.Occurrence,
        _ schedule: EventSchedule, _ source: Source, isOwn: Bool, _ reading: inout Reading
    ) {
        let id = Meeting.id(user: user.id, uid: uid, recurrenceID: key)
        let seriesID = Meeting.id(user: user.id, uid: uid, recurrenceID: nil)
        let participants = event.participants
        let answer = participants.first { user.addresses.contains($0.address) }?.answer
        let isOrganizer = event.isOrganized(by: user)
        if event.isCancelled {
            reading.left[id] = .cancelled
            return
        }
        if answer == .declined, !isOrganizer {
            reading.left[id] = .declined
            return
        }
        guard occurrence.start < source.window.upperBound,
            occurrence.end > source.window.lowerBound || occurrence.start >= source.window.lowerBound
        else {
            reading.left[id] = .outsideWindow
            return
        }
        guard reading.meetings.count < Self.mostMeetings else {
            reading.isCut = true
            return
        }
        guard participants.count <= Self.mostParticipants else {
            reading.problems.append(.refusedObject("at most \(Self.mostParticipants) attendees"))
            return
        }
        let isOpen = !event.isPrivate
        var zone: String?
        if case .zoned(_, let name) = schedule.start { zone = name }
        reading.meetings.append(
            Meeting(
                id: id, seriesID: seriesID, icalUID: uid, recurrenceID: key,
                revision: Meeting.Revision(
                    etag: source.etag, sequence: event.line("SEQUENCE").flatMap { Int($0.value) } ?? 0,
                    stamp: event.line("DTSTAMP")?.value),
                userID: user.id, start: occurrence.start, end: occurrence.end, startTimeZone: zone,
                isAllDay: schedule.isAllDay, isRecurring: key != nil, status: event.status,
                sensitivity: event.sensitivity, busy: event.busy(answer: isOrganizer ? nil : answer),
                subject: isOpen ? event.text("SUMMARY") : nil, location: isOpen ? event.text("LOCATION") : nil,
                notes: isOpen ? event.notes : nil, organizer: isOpen ? event.organizer : nil,
                isOrganizer: isOrganizer, participants: isOpen ? participants : [], trigger: event.trigger(keywords),
                spaceKey: isOwn ? id : seriesID, writtenRevision: JoinProperties.revision(in: event.lines),
                spaceID: nil))
    }
}

/// The place of an occurrence in its series, as a text that does not depend on how it was written.
struct RecurrenceKey: Sendable, Hashable {
    let text: String

    init(_ moment: CalendarMoment, _ resolver: inout MomentResolver) throws(DiagnosedError) {
        switch moment {
        case .date, .floating: text = moment.written.value
        case .utc, .zoned: text = LocalTime(seconds: try resolver.instant(of: moment).seconds).text + "Z"
        }
    }

    init(_ occurrence: EventSchedule.Occurrence, of schedule: EventSchedule) {
        switch schedule.start {
        case .date, .floating: text = schedule.start.at(occurrence.local).written.value
        case .utc, .zoned: text = LocalTime(seconds: occurrence.start.seconds).text + "Z"
        }
    }
}
