import CalendarBackend
import CalendarTime
import CalendarTransport
import CalendarTranslation
import WireText

extension GraphClient {
    // MARK: - New objects

    func create(
        _ octets: [UInt8], at href: CalendarHref, in calendar: CalendarReference
    ) async throws -> WriteOutcome {
        let text = try EventSeries(parsing: octets)
        // The name may be that of an event that Graph named.
        if let id = id(of: href, in: calendar), !id.hasPrefix("new-"), try await exists(id, in: calendar) {
            return .conflict
        }
        if let other = try await event(withUID: text.uid, in: calendar) {
            return .uidInUse(self.href(of: other, in: calendar))
        }
        var body = try GraphEvent.patch(
            text.main, Self.whole(text.main), raw: nil, zones: zones)
        var properties = body["singleValueExtendedProperties"]?.list ?? []
        properties.append(["id": .string(GraphEvent.uidProperty), "value": .string(text.uid)])
        body["singleValueExtendedProperties"] = .array(properties)
        body["transactionId"] = .string(text.uid)
        let answer = try await ask("POST", place(of: calendar) + "events", body, for: calendar.user)
        switch answer.status {
        case 200, 201:
            guard let id = answer.body["id"]?.text else {
                throw CalendarError.violation("a new event has no name", expected: "an id")
            }
            let outcome = WriteOutcome.created(self.href(of: id, in: calendar))
            guard !text.exceptions.isEmpty || !text.main.removedDates.isEmpty else { return outcome }
            guard let base = try await reading(id, in: calendar) else { return .conflict }
            let parts = try await writeParts(of: text, over: base, in: calendar)
            return parts == .written ? outcome : parts
        case 404, 410: throw CalendarError.notFound("the calendar")
        case 400 where !Self.isAbsent(answer), 409, 413, 422:
            // The transaction was used before: the event is there, or was.
            if Self.code(answer.body) == "ErrorDuplicateTransactionId" { return .uidInUse(nil) }
            throw CalendarError.objectRefused("status \(answer.status), \(Self.code(answer.body))")
        default:
            if Self.isAbsent(answer) { throw CalendarError.notFound("the calendar") }
            throw Self.failure(answer, about: "the calendar")
        }
    }

    private static func whole(_ fields: EventFields) -> Set<EventFields.Field> {
        var all = Set(EventFields.Field.allCases).subtracting([.removedDates, .status])
        if fields.rules.isEmpty { all.remove(.rules) }
        if fields.rest.isEmpty { all.remove(.rest) }
        return all
    }

    private func exists(_ id: String, in calendar: CalendarReference) async throws -> Bool {
        try await read(path(ofEvent: id, in: calendar) + "?$select=id", for: calendar.user, about: "the event") != nil
    }

    /// By the UID that Graph gave, or the one that it was made with here.
    private func event(withUID uid: String, in calendar: CalendarReference) async throws -> String? {
        let quoted = uid.replacing("'", with: "''")
        let own =
            "singleValueExtendedProperties/Any(ep: ep/id eq '\(GraphEvent.uidProperty)' and ep/value eq '\(quoted)')"
        for filter in ["iCalUId eq '\(quoted)'", own] {
            let path = place(of: calendar) + "events?$select=id&$top=1&$filter=" + URLText.encoded(filter)
            let found = try await pages(path, for: calendar.user, about: "the calendar").items
            if let id = found.lazy.compactMap({ $0["id"]?.text }).first { return id }
        }
        return nil
    }

    // MARK: - Changes

    /// Sends what differs from what was read: the master's fields first, then the occurrences'.
    func write(
        _ text: EventSeries, over base: Reading, _ etag: ETag, in calendar: CalendarReference
    ) async throws -> WriteOutcome {
        let read = try EventSeries(parsing: base.series.octets)
        var changed = text.main.differences(from: read.main)
        changed.remove(.removedDates)
        if changed.contains(.rules), try isSameRule(text.main, read.main) { changed.remove(.rules) }
        let path = path(ofEvent: base.id, in: calendar)
        if let answer = ownAnswer(text.main, read.main, base.raw, calendar.user) {
            // The reply is no PATCH and takes no condition: nothing but the answer is in it.
            let reply = try await ask("POST", path + "/" + answer, ["sendResponse": true], for: calendar.user)
            if Self.isAbsent(reply) { return .conflict }
            guard (200..<300).contains(reply.status) else { throw Self.failure(reply, about: "the event") }
            guard changed.isEmpty else { return .conflict }
        }
        if !changed.isEmpty {
            let patch = try GraphEvent.patch(text.main, changed, raw: base.raw, zones: zones)
            let outcome = try await send(patch, to: path, Self.condition(etag), calendar.user)
            guard outcome == .written else { return outcome }
        }
        return try await writeParts(of: text, over: base, in: calendar)
    }

    private func isSameRule(_ one: EventFields, _ other: EventFields) throws(CalendarError) -> Bool {
        guard one.rules.count == 1, other.rules.count == 1, one.start == other.start else { return false }
        return try RulePattern(rule: one.rules[0], start: one.start, zones: zones)
            == RulePattern(rule: other.rules[0], start: other.start, zones: zones)
    }

    /// The action by which an attendee answers; nil: his answer is as it was, or it is not his to give.
    private func ownAnswer(
        _ new: EventFields, _ old: EventFields, _ raw: JSONValue, _ user: CalendarUser
    ) -> String? {
        guard raw["isOrganizer"]?.flag == false, let answer = new.answer(of: user.address),
            answer != old.answer(of: user.address)
        else { return nil }
        return switch answer {
        case .accepted: "accept"
        case .declined: "decline"
        case .tentative: "tentativelyAccept"
        case .none: nil
        }
    }

    func send(
        _ patch: JSONValue, to path: String, _ condition: (String, String), _ user: CalendarUser
    ) async throws -> WriteOutcome {
        let answer = try await ask("PATCH", path, patch, headers: [condition], for: user)
        if Self.isAbsent(answer) { return .conflict }
        switch answer.status {
        case 200, 204: return .written
        case 409, 412: return .conflict
        case 400, 413, 422: throw CalendarError.objectRefused("status \(answer.status), \(Self.code(answer.body))")
        default: throw Self.failure(answer, about: "the event")
        }
    }

    // MARK: - Occurrences

    /// Writes exceptions and cancellations, each under the condition that its occurrence says what was read.
    private func writeParts(
        of text: EventSeries, over base: Reading, in calendar: CalendarReference
    ) async throws -> WriteOutcome {
        let read = try EventSeries(parsing: base.series.octets)
        var before: [Int: EventFields] = [:]
        for (moment, fields) in read.exceptions { before[try EventSeries.place(moment, zones: zones)] = fields }
        var places: Set<Int> = []
        for (moment, fields) in text.exceptions.sorted(by: { $0.key.local < $1.key.local }) {
            let place = try EventSeries.place(moment, zones: zones)
            places.insert(place)
            var old = try read.occurrence(at: moment, zones: zones)
            // An occurrence has no lines of ours before it is an exception.
            old.rest = []
            if let known = before[place] { old = known }
            let outcome = try await writePart(fields, old, at: moment, base, in: calendar)
            guard outcome == .written else { return outcome }
        }
        let cancelled = Set(try read.main.removedDates.map { moment in try EventSeries.place(moment, zones: zones) })
        var wanted: Set<Int> = []
        for moment in text.main.removedDates {
            let place = try EventSeries.place(moment, zones: zones)
            guard wanted.insert(place).inserted, !cancelled.contains(place) else { continue }
            guard let raw = try await occurrence(at: moment, base, in: calendar), let id = raw["id"]?.text else {
                continue
            }
            let answer = try await ask("DELETE", path(ofEvent: id, in: calendar), for: calendar.user)
            guard Self.isAbsent(answer) || (200..<300).contains(answer.status) else {
                throw Self.failure(answer, about: "an occurrence")
            }
        }
        guard cancelled.isSubset(of: wanted) else {
            throw CalendarError.objectRefused("a cancelled occurrence that is to come back, which Graph can not")
        }
        guard Set(before.keys).isSubset(of: places.union(wanted)) else {
            throw CalendarError.objectRefused("an exception that is to be none again, which Graph can not")
        }
        return .written
    }

    private func writePart(
        _ fields: EventFields, _ old: EventFields, at moment: CalendarMoment, _ base: Reading,
        in calendar: CalendarReference
    ) async throws -> WriteOutcome {
        var changed = fields.differences(from: old)
        changed.subtract([.rules, .addedDates, .removedDates])
        guard !changed.isEmpty else { return .written }
        guard let now = try await occurrence(at: moment, base, in: calendar), let id = now["id"]?.text,
            let etag = Self.etag(of: now)
        else { return .conflict }
        // Whatever a write to the series did to its ETag: it has to say what was read.
        if let read = base.exceptions[try EventSeries.place(moment, zones: zones)] {
            guard
                try GraphEvent.fields(of: now, zones: zones).differences(
                    from: GraphEvent.fields(of: read, zones: zones)
                ).isEmpty
            else { return .conflict }
        }
        let patch = try GraphEvent.patch(fields, changed, raw: now, zones: zones)
        return try await send(patch, to: path(ofEvent: id, in: calendar), Self.condition(etag), calendar.user)
    }

    /// The occurrence that would have started then, as it is now; nil: the series has none.
    private func occurrence(
        at moment: CalendarMoment, _ base: Reading, in calendar: CalendarReference
    ) async throws -> JSONValue? {
        let place = try EventSeries.place(moment, zones: zones)
        let query = { (id: String) in self.path(ofEvent: id, in: calendar) + "?" + Self.lines }
        if let id = base.exceptions[place]?["id"]?.text {
            return try await read(query(id), for: calendar.user, about: "an occurrence")
        }
        let start = Timestamp(seconds: Int64(place) - 86_400)
        let end = Timestamp(seconds: Int64(place) + 2 * 86_400)
        let path =
            path(ofEvent: base.id, in: calendar) + "/instances?startDateTime=" + URLText.encoded(start.iso8601)
            + "&endDateTime=" + URLText.encoded(end.iso8601)
        for instance in try await pages(path, for: calendar.user, about: "the series").items {
            let told = try GraphEvent.moment(
                instance["start"], instance["isAllDay"]?.flag == true, nil, zones)
            let original = instance["originalStart"]?.text.flatMap { Timestamp(iso8601: $0) }.map { Int($0.seconds) }
            let begins = try original ?? EventSeries.place(told, zones: zones)
            guard begins == place, let id = instance["id"]?.text else {
                continue
            }
            return try await read(query(id), for: calendar.user, about: "an occurrence")
        }
        return nil
    }

    private static let lines: String =
        "$expand=" + URLText.encoded("singleValueExtendedProperties($filter=id eq '\(GraphEvent.linesProperty)')")
}
