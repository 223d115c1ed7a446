package import CalendarBackend
import CalendarTime
import CalendarTransport
import CalendarTranslation
import WireText

extension GoogleCalendarClient {
    /// A series as it was read: the text's fields, and the events that they came from.
    struct Reading {
        var id: String
        var etag: ETag?
        var series: EventSeries
        var raw: JSONValue
        /// Raw exceptions by their place in the series, cancelled ones too.
        var exceptions: [Int: JSONValue] = [:]

        /// For `If-Match`: without the exceptions' digest.
        var ownETag: String? { raw["etag"]?.text }
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

    func reading(_ id: String, in calendar: CalendarReference) async throws -> Reading? {
        guard let raw = try await read(path(ofEvent: id, in: calendar), for: calendar.user, about: "the event"),
            raw["status"]?.text != "cancelled"
        else { return nil }
        guard let uid = raw["iCalUID"]?.text, !uid.isEmpty else {
            throw CalendarError.violation("an event has no iCalUID", expected: "one")
        }
        let parts = try await exceptions(of: raw, in: calendar)
        var reading = Reading(
            id: id, etag: Self.etag(of: raw, parts),
            series: EventSeries(uid: uid, main: try GoogleEvent.fields(of: raw, zones: zones)), raw: raw)
        if raw["recurringEventId"] != nil {
            reading.series.place = try GoogleEvent.moment(raw["originalStartTime"], zones)
        }
        for part in parts {
            let told = try GoogleEvent.moment(part["originalStartTime"], zones)
            let moment = try EventSeries.moment(utc(told), inZoneOf: reading.series.main.start, zones: zones)
            reading.exceptions[try EventSeries.place(moment, zones: zones)] = part
            if part["status"]?.text == "cancelled" {
                reading.series.main.removedDates.append(moment)
            } else {
                var fields = try GoogleEvent.fields(of: part, zones: zones)
                (fields.rules, fields.addedDates, fields.removedDates) = ([], [], [])
                reading.series.exceptions[moment] = fields
            }
        }
        return reading
    }

    private func utc(_ moment: CalendarMoment) throws(CalendarError) -> CalendarMoment {
        guard case .zoned = moment else { return moment }
        return .utc(LocalTime(seconds: try EventSeries.place(moment, zones: zones)))
    }

    // MARK: - Presence

    /// The `freeBusy` query, in parts that the service takes.
    package func freeBusy(of calendar: CalendarReference, during time: CalendarInterval) async throws -> [BusyPeriod] {
        let names = folder(calendar).split(separator: "/")
        guard names.count == 2, let id = URLText.decoded(names[1]) else { throw CalendarError.notFound("the calendar") }
        var periods: Set<BusyPeriod> = []
        var start = time.start
        while start < time.end {
            let end = min(time.end, start.adding(seconds: 42 * 86_400))
            let body: JSONValue = [
                "timeMin": .string(start.iso8601), "timeMax": .string(end.iso8601), "items": [["id": .string(id)]],
            ]
            let answer = try await ask("POST", "/freeBusy", body, for: calendar.user)
            guard answer.status == 200 else { throw Self.failure(answer, about: "the calendar") }
            let told = answer.body["calendars"]?[id]
            if let error = told?["errors"]?.list.first?["reason"]?.text {
                if error == "notFound" { throw CalendarError.notFound("the calendar") }
                throw CalendarError.violation(
                    "the calendar's busy times can not be told", expected: "times", found: String(error.prefix(60)))
            }
            for span in told?["busy"]?.list ?? [] {
                guard let from = span["start"]?.text.flatMap({ Timestamp(iso8601: $0) }),
                    let until = span["end"]?.text.flatMap({ Timestamp(iso8601: $0) })
                else { throw CalendarError.violation("a busy time can not be read", expected: "RFC 3339") }
                if let period = CalendarInterval(from: from, until: until), period.overlaps(time) {
                    periods.insert(BusyPeriod(period, .busy))
                }
            }
            start = end
        }
        return periods.sorted { ($0.time.start, $0.time.end) < ($1.time.start, $1.time.end) }
    }

    /// Events of the type `outOfOffice` that are not over, each as one VAVAILABILITY; at most fifty.
    package func availability(of account: CalendarAccount) async throws -> [UInt8]? {
        let query =
            "/calendars/primary/events?eventTypes=outOfOffice&singleEvents=true&orderBy=startTime&maxResults=50&timeMin="
            + URLText.encoded(settings.now().iso8601)
        let answer = try await ask("GET", query, for: account.user)
        guard answer.status == 200 else { throw Self.failure(answer, about: "the user's calendar") }
        let absences = try (answer.body["items"]?.list ?? []).prefix(50).filter { item in
            item["status"]?.text != "cancelled"
        }.map { item throws(CalendarError) -> (start: CalendarMoment?, end: CalendarMoment?) in
            (
                try utc(GoogleEvent.moment(item["start"], zones)),
                try utc(GoogleEvent.moment(item["end"], zones))
            )
        }
        return absences.isEmpty ? nil : AvailabilityText.away(uid: account.user.id, Array(absences))
    }
}
