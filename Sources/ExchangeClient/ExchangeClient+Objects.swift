package import CalendarBackend
import CalendarTime
import CalendarTransport
import CalendarTranslation
import CalendarXML
import WireText

extension ExchangeClient {
    /// A series as it was read: the text's fields, and the items that they came from.
    struct Reading {
        var id: String
        var key: String
        var series: EventSeries
        var raw: XMLElement
        /// Raw exceptions by their place in the series.
        var exceptions: [Int: XMLElement] = [:]

        var etag: ETag { ExchangeClient.etag(key) }
    }

    package func object(_ href: CalendarHref, in calendar: CalendarReference) async throws -> CalendarObject? {
        guard let id = id(of: href, in: calendar),
            let reading = try await readings([id], calendar.user).first ?? nil
        else { return nil }
        return CalendarObject(href: href, etag: reading.etag, octets: try reading.series.octets)
    }

    package func objects(_ hrefs: [CalendarHref], in calendar: CalendarReference) async throws -> CalendarObjects {
        var asked: Set<CalendarHref> = []
        let unique = hrefs.filter { asked.insert($0).inserted }
        var result = CalendarObjects()
        var start = 0
        while start < unique.count {
            let batch = unique[start..<min(start + max(1, settings.batch), unique.count)]
            start += batch.count
            let named = batch.compactMap { href in id(of: href, in: calendar).map { (href, $0) } }
            result.missing += batch.filter { id(of: $0, in: calendar) == nil }
            let readings = try await readings(named.map(\.1), calendar.user)
            for (href, reading) in zip(named.map(\.0), readings) {
                if let reading {
                    result.found.append(
                        CalendarObject(href: href, etag: reading.etag, octets: try reading.series.octets))
                } else {
                    result.missing.append(href)
                }
            }
        }
        return result
    }

    // MARK: - Reading

    /// Nil for those that are not there, or are no objects of their own.
    func readings(_ ids: [String], _ user: CalendarUser) async throws -> [Reading?] {
        let items = try await items(ids, user)
        var readings: [Reading?] = []
        for (id, item) in zip(ids, items) {
            guard let item, !["Occurrence", "Exception"].contains(item.child("CalendarItemType")?.text) else {
                readings.append(nil)
                continue
            }
            readings.append(try await reading(id, item, user))
        }
        return readings
    }

    private func reading(_ id: String, _ item: XMLElement, _ user: CalendarUser) async throws -> Reading {
        guard let key = item.child("ItemId")?.attributes["ChangeKey"], !key.isEmpty, key.utf8.count <= 512,
            let uid = item.child("UID")?.text, !uid.isEmpty
        else { throw CalendarError.violation("an event has no UID or no version", expected: "UID and ChangeKey") }
        let main = own(try ExchangeItem.fields(of: item, zones: zones), item, user)
        var reading = Reading(id: id, key: key, series: EventSeries(uid: uid, main: main), raw: item)
        for deleted in item.child("DeletedOccurrences")?.children ?? [] {
            reading.series.main.removedDates.append(try place(deleted.child("Start"), in: reading.series))
        }
        let modified = item.child("ModifiedOccurrences")?.children ?? []
        guard modified.count <= EventSeries.mostExceptions else {
            throw CalendarError.violation(
                "a series has too many exceptions", expected: "at most \(EventSeries.mostExceptions)",
                found: String(modified.count))
        }
        let names = modified.compactMap { Self.identity(of: $0)?.id }
        guard names.count == modified.count else { return reading }
        for (told, exception) in zip(modified, try await items(names, user)) {
            guard let exception else { continue }
            let moment = try place(told.child("OriginalStart") ?? exception.child("OriginalStart"), in: reading.series)
            var fields = own(try ExchangeItem.fields(of: exception, zones: zones), exception, user)
            fields.rules = []
            reading.series.exceptions[moment] = fields
            reading.exceptions[try EventSeries.place(moment, zones: zones)] = exception
        }
        return reading
    }

    /// Several items by their properties, in their order; nil for those that are not there.
    func items(_ ids: [String], _ user: CalendarUser) async throws -> [XMLElement?] {
        var result: [XMLElement?] = []
        var start = 0
        while start < ids.count {
            let batch = ids[start..<min(start + max(1, settings.batch), ids.count)]
            start += batch.count
            let list = batch.map { "<t:ItemId Id=\"\(XMLText.escaped($0))\"/>" }.joined()
            let messages = try await messages(
                "<m:GetItem>\(ExchangeItem.shape)<m:ItemIds>\(list)</m:ItemIds></m:GetItem>", for: user)
            guard messages.count == batch.count else {
                throw CalendarError.violation(
                    "the calendar server's answer can not be read", expected: "\(batch.count) response messages",
                    found: String(messages.count))
            }
            for message in messages {
                if message.isAbsent {
                    result.append(nil)
                } else {
                    guard message.isSuccess else { throw message.failure("the event") }
                    // Other kinds of items, such as messages, are no events.
                    result.append(
                        message.element.child("Items")?.children.first { $0.name.name == "CalendarItem" })
                }
            }
        }
        return result
    }

    private func place(_ start: XMLElement?, in series: EventSeries) throws(CalendarError) -> CalendarMoment {
        guard !series.main.isAllDay else {
            let zone = series.main.start
            guard let stamp = start.flatMap({ Timestamp(iso8601: $0.text) }) else {
                throw .violation("an occurrence has no start", expected: "a dateTime")
            }
            // Midnight of the series' zone is at most fourteen hours from that of UTC.
            return zone.at(LocalTime(LocalTime(seconds: Int(stamp.seconds) + 43_200).date))
        }
        let utc = try ExchangeItem.moment(start, nil, false, zones)
        return try EventSeries.moment(utc, inZoneOf: series.main.start, zones: zones)
    }

    /// Puts the user's own answer in: in a copy that is not the organiser's, attendees' answers are not kept.
    private func own(_ fields: EventFields, _ item: XMLElement, _ user: CalendarUser) -> EventFields {
        let told = item.child("MyResponseType")?.text ?? "Organizer"
        guard !["Organizer", "Unknown"].contains(told) else { return fields }
        var fields = fields
        for index in fields.attendees.indices
        where fields.attendees[index].person.address.lowercased() == user.address.lowercased() {
            fields.attendees[index].answer = ExchangeItem.answer(told)
        }
        return fields
    }
}
