package import CalendarBackend
import CalendarTime
import CalendarTransport
import CalendarTranslation
import WireText

extension GoogleCalendarClient {
    package func put(
        _ octets: [UInt8], at href: CalendarHref, in calendar: CalendarReference, _ condition: WriteCondition
    ) async throws -> WriteOutcome {
        switch condition {
        case .create: return try await create(octets, at: href, in: calendar)
        case .match(let etag):
            guard etag.isStrong else { throw CalendarError.weakETag }
            let text = try EventSeries(parsing: octets)
            guard let id = id(of: href, in: calendar), let base = try await reading(id, in: calendar),
                base.etag == etag
            else { return .conflict }
            return try await write(text, over: base, in: calendar)
        }
    }

    package func delete(
        _ href: CalendarHref, in calendar: CalendarReference, ifMatch etag: ETag
    ) async throws -> RemovalOutcome {
        guard etag.isStrong else { throw CalendarError.weakETag }
        guard let id = id(of: href, in: calendar), let base = try await reading(id, in: calendar) else {
            return .absent
        }
        guard base.etag == etag else { return .conflict }
        let answer = try await ask(
            "DELETE", path(ofEvent: id, in: calendar) + "?" + updates, ifMatch: base.ownETag, for: calendar.user)
        switch answer.status {
        case 200, 204: return .deleted
        case 404, 410: return .absent
        case 412: return .conflict
        default: throw Self.failure(answer, about: "the event")
        }
    }

    private var updates: String { "sendUpdates=" + settings.sendUpdates }

    // MARK: - New objects

    private func create(
        _ octets: [UInt8], at href: CalendarHref, in calendar: CalendarReference
    ) async throws -> WriteOutcome {
        let text = try EventSeries(parsing: octets)
        guard text.place == nil else { throw CalendarError.objectRefused("an occurrence without its series") }
        // The name may be that of an event that Google named.
        if let id = id(of: href, in: calendar), !id.hasPrefix("new-"), try await reading(id, in: calendar) != nil {
            return .conflict
        }
        if let other = try await event(withUID: text.uid, in: calendar) {
            return .uidInUse(self.href(of: other, in: calendar))
        }
        var fields = Set(EventFields.Field.allCases)
        if !text.main.isSeries { fields.subtract([.rules, .addedDates, .removedDates]) }
        // The calendar's own reminders, unless the text has some.
        if text.main.reminder == nil { fields.remove(.reminder) }
        var body = try GoogleEvent.patch(text.main, fields, raw: nil, zones: zones)
        body["iCalUID"] = .string(text.uid)
        let answer = try await ask("POST", folder(calendar) + "events?" + updates, body, for: calendar.user)
        switch answer.status {
        case 200, 201:
            guard let id = answer.body["id"]?.text else {
                throw CalendarError.violation("a new event has no name", expected: "an id")
            }
            let outcome = WriteOutcome.created(self.href(of: id, in: calendar))
            guard !text.exceptions.isEmpty else { return outcome }
            guard let base = try await reading(id, in: calendar) else { return .conflict }
            let parts = try await writeParts(of: text, over: base, in: calendar)
            return parts == .written ? outcome : parts
        case 404, 410: throw CalendarError.notFound("the calendar")
        // Also that of an event that was deleted.
        case 409: return .uidInUse(nil)
        case 400, 413: throw CalendarError.objectRefused("status \(answer.status), \(Self.reason(answer.body))")
        default: throw Self.failure(answer, about: "the calendar")
        }
    }

    private func event(withUID uid: String, in calendar: CalendarReference) async throws -> String? {
        let query = folder(calendar) + "events?singleEvents=false&iCalUID=" + URLText.encoded(uid)
        return try await pages(query, for: calendar.user, about: "the calendar").items.first { item in
            item["recurringEventId"] == nil && item["status"]?.text != "cancelled"
        }?["id"]?.text
    }

    // MARK: - Changes

    /// Sends what differs from what was read: the event's fields first, then the occurrences'.
    private func write(
        _ text: EventSeries, over base: Reading, in calendar: CalendarReference
    ) async throws -> WriteOutcome {
        let read = try EventSeries(parsing: base.series.octets)
        var changed = text.main.differences(from: read.main)
        var main = text.main
        // Dates without an occurrence: those of the event's own list, and cancelled occurrences, which are events.
        let cancelled = Set(base.exceptions.filter { $0.value["status"]?.text == "cancelled" }.keys)
        let new = try places(text.main.removedDates)
        let old = try places(read.main.removedDates)
        main.removedDates = try text.main.removedDates.filter { moment throws(CalendarError) in
            let place = try EventSeries.place(moment, zones: zones)
            return old.contains(place) && !cancelled.contains(place)
        }
        if old.subtracting(cancelled).isSubset(of: new) { changed.remove(.removedDates) }
        var patch = try GoogleEvent.patch(main, changed, raw: base.raw, zones: zones)
        if let answer = text.main.answer(of: calendar.user.address),
            answer != read.main.answer(of: calendar.user.address)
        {
            let whole = base.raw.adding(["attendees": patch["attendees"] ?? base.raw["attendees"] ?? []])
            patch["attendees"] = GoogleEvent.answered(whole, by: calendar.user, answer)
        }
        if !patch.members.isEmpty {
            guard let etag = base.ownETag else { throw CalendarError.weakETag }
            let outcome = try await send(patch, to: path(ofEvent: base.id, in: calendar), etag, calendar.user)
            guard outcome == .written else { return outcome }
        }
        return try await writeParts(of: text, over: base, in: calendar)
    }

    private func places(_ moments: [CalendarMoment]) throws(CalendarError) -> Set<Int> {
        var places: Set<Int> = []
        for moment in moments { places.insert(try EventSeries.place(moment, zones: zones)) }
        return places
    }

    private func send(
        _ patch: JSONValue, to path: String, _ etag: String, _ user: CalendarUser
    ) async throws -> WriteOutcome {
        let answer = try await ask("PATCH", path + "?" + updates, patch, ifMatch: etag, for: user)
        switch answer.status {
        case 200, 204: return .written
        case 404, 409, 410, 412: return .conflict
        case 400, 413: throw CalendarError.objectRefused("status \(answer.status), \(Self.reason(answer.body))")
        default: throw Self.failure(answer, about: "the event")
        }
    }

    // MARK: - Occurrences

    private func writeParts(
        of text: EventSeries, over base: Reading, in calendar: CalendarReference
    ) async throws -> WriteOutcome {
        let read = try EventSeries(parsing: base.series.octets)
        let old = try places(read.main.removedDates)
        let new = try places(text.main.removedDates)
        var before: [Int: EventFields] = [:]
        for (moment, fields) in read.exceptions { before[try EventSeries.place(moment, zones: zones)] = fields }
        var wanted: Set<Int> = []
        for (moment, fields) in text.exceptions.sorted(by: { $0.key.local < $1.key.local }) {
            let place = try EventSeries.place(moment, zones: zones)
            wanted.insert(place)
            let known = try before[place] ?? read.occurrence(at: moment, zones: zones)
            var changed = fields.differences(from: known)
            changed.subtract([.rules, .addedDates, .removedDates])
            guard !changed.isEmpty else { continue }
            guard let now = try await occurrence(at: moment, base, in: calendar) else { return .conflict }
            let outcome = try await send(
                GoogleEvent.patch(fields, changed, raw: now.raw, zones: zones),
                to: path(ofEvent: now.id, in: calendar), now.etag, calendar.user)
            guard outcome == .written else { return outcome }
        }
        guard Set(before.keys).isSubset(of: wanted.union(new)) else {
            throw CalendarError.objectRefused("an exception that is to be none again")
        }
        // In the list of the event itself when it is made; cancelled occurrences afterwards.
        for moment in text.main.removedDates {
            guard !old.contains(try EventSeries.place(moment, zones: zones)),
                let now = try await occurrence(at: moment, base, in: calendar)
            else { continue }
            let answer = try await ask(
                "DELETE", path(ofEvent: now.id, in: calendar) + "?" + updates, ifMatch: now.etag, for: calendar.user)
            if answer.status == 412 { return .conflict }
            guard [200, 204, 404, 410].contains(answer.status) else {
                throw Self.failure(answer, about: "an occurrence")
            }
        }
        for (place, raw) in base.exceptions where raw["status"]?.text == "cancelled" && !new.contains(place) {
            guard let id = raw["id"]?.text, let etag = raw["etag"]?.text else { continue }
            let outcome = try await send(
                ["status": "confirmed"], to: path(ofEvent: id, in: calendar), etag, calendar.user)
            guard outcome == .written else { return outcome }
        }
        return .written
    }

    /// The occurrence that would have started then: as it was read, or a plain one as it is now; nil: there is none.
    private func occurrence(
        at moment: CalendarMoment, _ base: Reading, in calendar: CalendarReference
    ) async throws -> (id: String, etag: String, raw: JSONValue)? {
        let place = try EventSeries.place(moment, zones: zones)
        func named(_ raw: JSONValue) -> (id: String, etag: String, raw: JSONValue)? {
            guard let id = raw["id"]?.text, let etag = raw["etag"]?.text else { return nil }
            return (id, etag, raw)
        }
        if let known = base.exceptions[place] { return named(known) }
        let original =
            moment.isDate
            ? String(Instant(seconds: place).description.prefix(10)) : Instant(seconds: place).description
        let path =
            path(ofEvent: base.id, in: calendar) + "/instances?originalStart=" + URLText.encoded(original)
        guard let found = try await read(path, for: calendar.user, about: "the series")?["items"]?.list.first else {
            return nil
        }
        return named(found)
    }
}
