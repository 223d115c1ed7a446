package import CalendarBackend
import CalendarTransport
import CalendarTranslation
import WireText

extension GoogleCalendarClient {
    /// The same for a token and the list that it came from, as the API wants it.
    private static let query =
        "events?maxResults=2500&singleEvents=false&fields="
        + URLText.encoded(
            "items(id,etag,status,recurringEventId,iCalUID),nextPageToken,nextSyncToken")

    package func changes(in calendar: CalendarReference, since token: SyncToken?) async throws -> SyncOutcome {
        let since = token.map { "&syncToken=" + URLText.encoded($0.text) } ?? ""
        guard since.utf8.count <= 4096 else { return .fullResyncNeeded(.tokenRefused) }
        let list: (items: [JSONValue], syncToken: String?)
        do {
            list = try await self.list(Self.query + since, in: calendar)
        } catch let error as CalendarError where error.reason == .notFound && token != nil {
            // 410 is the token's end; 404 that of the calendar, which its own path tells.
            guard try await isPresent(calendar) else { throw error }
            return .fullResyncNeeded(.tokenRefused)
        }
        guard let next = list.syncToken else { return .fullResyncNeeded(.answerCut) }
        var changes = try await fold(list.items, in: calendar, isWhole: token == nil)
        changes.token = SyncToken(next)
        return .changes(changes)
    }

    /// By a list without a token, ordered by change.
    package func members(of calendar: CalendarReference) async throws -> [CalendarMember] {
        let list = try await list(Self.query + "&orderBy=updated", in: calendar)
        return try await fold(list.items, in: calendar, isWhole: true).changed
    }

    package func objects(
        in calendar: CalendarReference, during time: CalendarInterval, expanded: Bool
    ) async throws -> [CalendarObject] {
        guard !expanded else { throw CalendarError.unsupported("expansion of series") }
        let range =
            "&timeMin=\(URLText.encoded(time.start.iso8601))&timeMax=\(URLText.encoded(time.end.iso8601))"
        // Instances, for a series is listed by its first day otherwise.
        let query = Self.query.replacing("singleEvents=false", with: "singleEvents=true") + range
        var hrefs: [CalendarHref] = []
        var seen: Set<String> = []
        for item in try await list(query, in: calendar).items where item["status"]?.text != "cancelled" {
            guard let id = item["id"]?.text else { continue }
            var name = item["recurringEventId"]?.text ?? id
            if name != id, !seen.contains(name),
                try await read(path(ofEvent: name, in: calendar), for: calendar.user, about: "a series") == nil
            {
                name = id
            }
            if seen.insert(name).inserted { hrefs.append(href(of: name, in: calendar)) }
        }
        return try await objects(hrefs, in: calendar).found
    }

    // MARK: - Helpers

    private func list(
        _ query: String, in calendar: CalendarReference
    ) async throws -> (items: [JSONValue], syncToken: String?) {
        try await pages(folder(calendar) + query, for: calendar.user, about: "the calendar")
    }

    private func isPresent(_ calendar: CalendarReference) async throws -> Bool {
        try await read(String(folder(calendar).dropLast()), for: calendar.user, about: "the calendar") != nil
    }

    /// Items as objects: an exception is its series.
    /// - Parameter isWhole: the items are all that there are, so that a series is there with its exceptions.
    private func fold(
        _ items: [JSONValue], in calendar: CalendarReference, isWhole: Bool
    ) async throws -> CalendarChanges {
        var order: [String] = []
        var masters: [String: JSONValue] = [:]
        var parts: [String: [JSONValue]] = [:]
        for item in items {
            guard let id = item["id"]?.text, !id.isEmpty else { continue }
            let name = item["recurringEventId"]?.text ?? id
            if masters[name] == nil, parts[name] == nil { order.append(name) }
            if name == id { masters[name] = item } else { parts[name, default: []].append(item) }
        }
        var changes = CalendarChanges(token: nil)
        func add(_ id: String, _ etag: ETag?) {
            changes.changed.append(CalendarMember(href: href(of: id, in: calendar), etag: etag))
        }
        for name in order {
            let exceptions = parts[name] ?? []
            if let master = masters[name] {
                if master["status"]?.text == "cancelled" {
                    changes.removed.append(href(of: name, in: calendar))
                } else if isWhole {
                    add(name, Self.etag(of: master, exceptions))
                } else if let version = try await version(of: name, in: calendar) {
                    add(name, version)
                } else {
                    changes.removed.append(href(of: name, in: calendar))
                }
            } else if !isWhole, let version = try await version(of: name, in: calendar) {
                add(name, version)
            } else {
                // Occurrences whose series is not in this calendar.
                for part in exceptions {
                    guard let id = part["id"]?.text else { continue }
                    if part["status"]?.text == "cancelled" {
                        if !isWhole { changes.removed.append(href(of: id, in: calendar)) }
                    } else {
                        add(id, Self.etag(of: part, []))
                    }
                }
            }
        }
        return changes
    }

    /// Nil: it is not there.
    private func version(of id: String, in calendar: CalendarReference) async throws -> ETag? {
        let path = path(ofEvent: id, in: calendar) + "?fields=" + URLText.encoded("id,etag,status,iCalUID,recurrence")
        guard let event = try await read(path, for: calendar.user, about: "an event"),
            event["status"]?.text != "cancelled"
        else { return nil }
        return Self.etag(of: event, try await exceptions(of: event, in: calendar))
    }

    /// The exceptions of a series, cancelled ones too; none of an event that is no series.
    func exceptions(of event: JSONValue, in calendar: CalendarReference) async throws -> [JSONValue] {
        guard let id = event["id"]?.text, !(event["recurrence"]?.list ?? []).isEmpty,
            let uid = event["iCalUID"]?.text
        else { return [] }
        let query = "events?maxResults=2500&singleEvents=false&iCalUID=" + URLText.encoded(uid)
        let found = try await list(query, in: calendar).items.filter { $0["recurringEventId"]?.text == id }
        guard found.count <= EventSeries.mostExceptions else {
            throw CalendarError.violation(
                "a series has too many exceptions", expected: "at most \(EventSeries.mostExceptions)",
                found: String(found.count))
        }
        return found
    }
}
