package import CalendarBackend
import CalendarTime
import CalendarTransport
import CalendarTranslation
import WireText

extension GraphClient {
    /// A series as it was read: the text's fields, and the events that they came from.
    struct Reading {
        var id: String
        var etag: ETag?
        var series: EventSeries
        var raw: JSONValue
        /// Raw exceptions by their place in the series.
        var exceptions: [Int: JSONValue] = [:]
    }

    package func object(_ href: CalendarHref, in calendar: CalendarReference) async throws -> CalendarObject? {
        guard let id = id(of: href, in: calendar), let reading = try await reading(id, in: calendar) else { return nil }
        return CalendarObject(href: href, etag: reading.etag, octets: try reading.series.octets)
    }

    package func objects(_ hrefs: [CalendarHref], in calendar: CalendarReference) async throws -> CalendarObjects {
        var asked: Set<CalendarHref> = []
        let unique = hrefs.filter { asked.insert($0).inserted }
        let objects = try await Concurrently.map(unique) { href in try await self.object(href, in: calendar) }
        var result = CalendarObjects()
        for (href, object) in zip(unique, objects) {
            if let object { result.found.append(object) } else { result.missing.append(href) }
        }
        return result
    }

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
            return try await write(text, over: base, etag, in: calendar)
        }
    }

    package func delete(
        _ href: CalendarHref, in calendar: CalendarReference, ifMatch etag: ETag
    ) async throws -> RemovalOutcome {
        guard etag.isStrong else { throw CalendarError.weakETag }
        // The condition is in no description of this request, so the version is compared before, too.
        guard let id = id(of: href, in: calendar),
            let event = try await read(
                path(ofEvent: id, in: calendar) + "?$select=id", for: calendar.user, about: "the event")
        else { return .absent }
        guard Self.etag(of: event) == etag else { return .conflict }
        let answer = try await ask(
            "DELETE", path(ofEvent: id, in: calendar), headers: [Self.condition(etag)], for: calendar.user)
        if Self.isAbsent(answer) { return .absent }
        switch answer.status {
        case 200, 202, 204: return .deleted
        case 412: return .conflict
        default: throw Self.failure(answer, about: "the event")
        }
    }

    // MARK: - Reading

    private static let expansion: String = {
        let names = [GraphEvent.linesProperty, GraphEvent.uidProperty]
        let filter = names.map { "id eq '\($0)'" }.joined(separator: " or ")
        return "$expand=" + URLText.encoded("singleValueExtendedProperties($filter=\(filter))")
    }()

    func reading(_ id: String, in calendar: CalendarReference) async throws -> Reading? {
        let path = path(ofEvent: id, in: calendar)
        guard let raw = try await read(path + "?" + Self.expansion, for: calendar.user, about: "the event") else {
            return nil
        }
        // An occurrence is no object of its own.
        guard raw["type"]?.text != "occurrence", raw["type"]?.text != "exception" else { return nil }
        let main = own(try GraphEvent.fields(of: raw, zones: zones), raw, calendar.user)
        guard let uid = raw["iCalUId"]?.text, !uid.isEmpty else {
            throw CalendarError.violation("an event has no iCalUId", expected: "one")
        }
        var reading = Reading(id: id, etag: Self.etag(of: raw), series: EventSeries(uid: uid, main: main), raw: raw)
        if raw["type"]?.text == "seriesMaster" { try await readExceptions(into: &reading, path, calendar) }
        return reading
    }

    /// `cancelledOccurrences` and `exceptionOccurrences` come only when a GET of the master selects and expands them.
    private func readExceptions(
        into reading: inout Reading, _ path: String, _ calendar: CalendarReference
    ) async throws {
        let query = "?$select=id,cancelledOccurrences,exceptionOccurrences&$expand=exceptionOccurrences"
        guard let parts = try await read(path + query, for: calendar.user, about: "the series") else { return }
        for cancelled in parts["cancelledOccurrences"]?.list ?? [] {
            if let moment = place(occurrenceID: cancelled.text, in: reading.series) {
                reading.series.main.removedDates.append(moment)
            }
        }
        let exceptions = parts["exceptionOccurrences"]?.list ?? []
        guard exceptions.count <= EventSeries.mostExceptions else {
            throw CalendarError.violation(
                "a series has too many exceptions", expected: "at most \(EventSeries.mostExceptions)",
                found: String(exceptions.count))
        }
        for exception in exceptions {
            guard let id = exception["id"]?.text,
                let raw = try await read(
                    self.path(ofEvent: id, in: calendar) + "?" + Self.expansion, for: calendar.user,
                    about: "an exception"),
                let moment = originalStart(of: raw, exception, in: reading.series)
            else { continue }
            var fields = own(try GraphEvent.fields(of: raw, zones: zones), raw, calendar.user)
            fields.rules = []
            reading.series.exceptions[moment] = fields
            reading.exceptions[try EventSeries.place(moment, zones: zones)] = raw
        }
    }

    /// `OID.<id of the series>.<date>`: the date on which it would have been, at the time of the series.
    private func place(occurrenceID: String?, in series: EventSeries) -> CalendarMoment? {
        guard let text = occurrenceID, let date = GraphRecurrence.date(String(text.suffix(10))) else { return nil }
        let start = series.main.start
        return start.at(LocalTime(date, secondOfDay: start.local.secondOfDay))
    }

    private func originalStart(
        of raw: JSONValue, _ exception: JSONValue, in series: EventSeries
    ) -> CalendarMoment? {
        // Some answers have no `originalStart`.
        if let text = raw["originalStart"]?.text, let stamp = Timestamp(iso8601: text), !series.main.isAllDay {
            let utc = CalendarMoment.utc(LocalTime(seconds: Int(stamp.seconds)))
            return try? EventSeries.moment(utc, inZoneOf: series.main.start, zones: zones)
        }
        return place(occurrenceID: (raw["occurrenceId"] ?? exception["occurrenceId"])?.text, in: series)
    }

    /// Puts the user's own answer in: in a copy that is not the organiser's, attendees' answers are not kept.
    private func own(_ fields: EventFields, _ raw: JSONValue, _ user: CalendarUser) -> EventFields {
        guard raw["isOrganizer"]?.flag == false, let told = raw["responseStatus"]?["response"]?.text else {
            return fields
        }
        var fields = fields
        for index in fields.attendees.indices
        where fields.attendees[index].person.address.lowercased() == user.address.lowercased() {
            fields.attendees[index].answer = GraphEvent.answer(told)
        }
        return fields
    }
}
