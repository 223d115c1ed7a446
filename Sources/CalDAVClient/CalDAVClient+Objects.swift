package import CalendarBackend
import CalendarXML
import Diagnostics
import HTTPClient
import WireText

extension CalDAVClient {
    package func objects(_ hrefs: [CalendarHref], in calendar: CalendarReference) async throws -> CalendarObjects {
        var asked: Set<CalendarHref> = []
        let unique = hrefs.filter { asked.insert($0).inserted }
        var result = CalendarObjects()
        var start = 0
        while start < unique.count {
            let end = min(start + max(1, settings.batch), unique.count)
            try await read(Array(unique[start..<end]), in: calendar, into: &result)
            start = end
        }
        return result
    }

    package func object(_ href: CalendarHref, in calendar: CalendarReference) async throws -> CalendarObject? {
        let answer = try await transport.send(
            CalDAVTransport.Request(
                method: "GET", address: try address(of: href), headers: [("Accept", "text/calendar")],
                limit: settings.objectLimit), for: calendar.user)
        switch answer.status {
        case 200:
            return CalendarObject(
                href: href, etag: answer.response.header("ETag").flatMap { $0.isEmpty ? nil : ETag($0) },
                scheduleTag: answer.response.header("Schedule-Tag"), octets: try Self.calendarOctets(answer))
        case 404, 410: return nil
        default: throw CalDAVTransport.failure(answer, about: "the object")
        }
    }

    package func objects(
        in calendar: CalendarReference, during time: CalendarInterval, expanded: Bool
    ) async throws -> [CalendarObject] {
        let range = "start=\"\(time.start.calendarUTC)\" end=\"\(time.end.calendarUTC)\""
        let data = expanded ? "<C:calendar-data><C:expand \(range)/></C:calendar-data>" : "<C:calendar-data/>"
        let body = DAVText.document(
            .caldav("calendar-query"),
            "<D:prop><D:getetag/><C:schedule-tag/>\(data)</D:prop><C:filter><C:comp-filter name=\"VCALENDAR\">"
                + "<C:comp-filter name=\"VEVENT\"><C:time-range \(range)/></C:comp-filter></C:comp-filter></C:filter>")
        let answer = try await ask("REPORT", try address(of: calendar.href), depth: 1, body, for: calendar.user)
        let status = try multistatus(of: answer, about: "the calendar")
        var seen: Set<CalendarHref> = []
        return try status.responses.compactMap { response in
            let href = try href(response.href, in: answer)
            if Self.isSame(href, calendar.href) {
                try Self.checkWhole(response)
                return nil
            }
            return seen.insert(href).inserted ? try object(in: response, href) : nil
        }
    }

    package func put(
        _ octets: [UInt8], at href: CalendarHref, in calendar: CalendarReference, _ condition: WriteCondition
    ) async throws -> WriteOutcome {
        var headers = [("Content-Type", "text/calendar; charset=utf-8")]
        switch condition {
        case .create: headers.append(("If-None-Match", "*"))
        case .match(let etag): headers.append(("If-Match", try Self.sendable(etag)))
        }
        let answer = try await write(
            CalDAVTransport.Request(
                method: "PUT", address: try address(of: href), headers: headers, body: octets, limit: 1 << 20),
            for: calendar.user)
        // Its ETag and Schedule-Tag are not looked at.
        if [200, 201, 204].contains(answer.status) { return .written }
        let error = DAVErrorBody(answer.body)
        if error.conditions.contains(.caldav("no-uid-conflict")) {
            return .uidInUse(try error.href.map { text in try self.href(text, in: answer) })
        }
        if let refused = error.conditions.first(where: { $0.namespace == DAVName.caldav("").namespace }) {
            throw CalendarError.objectRefused("status \(answer.status), \(refused.name.prefix(60))")
        }
        switch answer.status {
        case 412: return .conflict
        case 400, 413, 415, 422: throw CalendarError.objectRefused("status \(answer.status)")
        case 409: throw CalendarError.notFound("the calendar")
        default: throw CalDAVTransport.failure(answer, about: "the calendar")
        }
    }

    package func delete(
        _ href: CalendarHref, in calendar: CalendarReference, ifMatch etag: ETag
    ) async throws -> RemovalOutcome {
        let answer = try await write(
            CalDAVTransport.Request(
                method: "DELETE", address: try address(of: href), headers: [("If-Match", try Self.sendable(etag))],
                limit: 1 << 20), for: calendar.user)
        switch answer.status {
        case 200, 202, 204: return .deleted
        case 404, 410: return .absent
        case 412: return .conflict
        default: throw CalDAVTransport.failure(answer, about: "the object")
        }
    }

    // MARK: - Helpers

    /// Sends what changes something, again while the server is busy with another write: nothing has happened then, and the
    /// condition of the request still guards it.
    private func write(
        _ request: CalDAVTransport.Request, for user: CalendarUser
    ) async throws -> CalDAVTransport.Answer {
        var pause = Duration.milliseconds(50)
        for _ in 0..<Self.mostLockedTries {
            let answer = try await transport.send(request, for: user)
            guard answer.status == 423 else { return answer }
            try await transport.sleep(for: pause)
            pause *= 2
        }
        return try await transport.send(request, for: user)
    }

    private static let mostLockedTries = 6

    /// One batch; an answer that is too long is asked for in halves.
    private func read(
        _ hrefs: [CalendarHref], in calendar: CalendarReference, into result: inout CalendarObjects
    ) async throws {
        // One by one where the server wants more than this client takes at once.
        guard hrefs.count > 1 else { return try await readSingly(hrefs, in: calendar, into: &result) }
        let paths = try hrefs.map { href in try address(of: href).path }
        let body = DAVText.document(
            .caldav("calendar-multiget"),
            DAVText.properties([.dav("getetag"), .caldav("schedule-tag"), .caldav("calendar-data")])
                + DAVText.hrefs(paths))
        let answer: CalDAVTransport.Answer
        do {
            answer = try await ask("REPORT", try address(of: calendar.href), depth: 1, body, for: calendar.user)
        } catch let error as CalendarError where error.diagnosis.code == .calendarAnswerTooLong {
            let middle = hrefs.count / 2
            try await read(Array(hrefs[..<middle]), in: calendar, into: &result)
            return try await read(Array(hrefs[middle...]), in: calendar, into: &result)
        }
        let status = try multistatus(of: answer, about: "the calendar")
        let wanted = Dictionary(hrefs.map { ($0, $0) }) { first, _ in first }
        var answered: Set<CalendarHref> = []
        for response in status.responses {
            // What was not asked for is passed over, and what comes twice counts once.
            guard let href = wanted[try href(response.href, in: answer)], !answered.contains(href) else { continue }
            if response.status == 404 || response.status == 410 {
                answered.insert(href)
                result.missing.append(href)
            } else if let object = try object(in: response, href) {
                answered.insert(href)
                result.found.append(object)
            }
        }
        // A name without an answer is not gone: only the object itself says so.
        try await readSingly(hrefs.filter { !answered.contains($0) }, in: calendar, into: &result)
    }

    private func readSingly(
        _ hrefs: [CalendarHref], in calendar: CalendarReference, into result: inout CalendarObjects
    ) async throws {
        for href in hrefs {
            if let object = try await object(href, in: calendar) {
                result.found.append(object)
            } else {
                result.missing.append(href)
            }
        }
    }

    /// Nil: it has no whole calendar data.
    private func object(
        in response: Multistatus.Response, _ href: CalendarHref
    ) throws(CalendarError) -> CalendarObject? {
        guard let data = response.properties[.caldav("calendar-data")]?.octets, Self.isWhole(data),
            data.count <= settings.objectLimit
        else { return nil }
        return CalendarObject(
            href: href, etag: response.etag, scheduleTag: response.properties[.caldav("schedule-tag")]?.text,
            octets: data)
    }

    private static func sendable(_ etag: ETag) throws(CalendarError) -> String {
        guard etag.isStrong else { throw .weakETag }
        guard etag.text.utf8.allSatisfy({ $0 >= 0x20 && $0 != 0x7F }), etag.text.utf8.count <= 1024 else {
            throw .violation("an ETag can not be sent back", expected: "at most 1 KiB without control characters")
        }
        return etag.text
    }
}
