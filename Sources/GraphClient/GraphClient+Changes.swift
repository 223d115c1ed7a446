package import CalendarBackend
import CalendarTransport
import CalendarTranslation
import Diagnostics
import WireText

extension GraphClient {
    /// The token is a `deltaLink` with the end of its window.
    package func changes(in calendar: CalendarReference, since token: SyncToken?) async throws -> SyncOutcome {
        let (end, path): (Int64, String)
        if let token {
            guard let known = Self.read(token), let link = try? own(known.link), link.contains("/calendarView/delta")
            else {
                return .fullResyncNeeded(.tokenRefused)
            }
            guard known.end >= settings.now().adding(seconds: Int64(settings.futureDays) * 86_400).seconds else {
                return .fullResyncNeeded(.windowMoved)
            }
            (end, path) = (known.end, link)
        } else {
            let window = window
            end = window.end.seconds
            path = place(of: calendar) + "calendarView/delta?" + Self.query(window)
        }
        let round: (items: [JSONValue], deltaLink: String?)
        do {
            round = try await pages(path, for: calendar.user, about: "the calendar")
        } catch let error as CalendarError where error.reason == .notFound && token != nil {
            // 410 is the token's end; 404 that of the calendar, which its own path tells.
            guard
                try await read(String(place(of: calendar).dropLast()), for: calendar.user, about: "the calendar") != nil
            else { throw error }
            return .fullResyncNeeded(.tokenRefused)
        } catch let error as CalendarError where error.reason == .protocolViolation && token != nil {
            let told = (error.diagnosis.found ?? "").lowercased()
            guard ["syncstate", "resync"].contains(where: told.contains) else { throw error }
            return .fullResyncNeeded(.tokenRefused)
        }
        guard let link = round.deltaLink else { return .fullResyncNeeded(.answerCut) }
        var changes = try await fold(round.items, in: calendar)
        changes.token = SyncToken("\(end) \(link)")
        return .changes(changes)
    }

    /// By a plain `calendarView`, in the same window.
    package func members(of calendar: CalendarReference) async throws -> [CalendarMember] {
        let select = "&$select=id,type,seriesMasterId&$top=200"
        let view = try await pages(
            place(of: calendar) + "calendarView?" + Self.query(window) + select, for: calendar.user,
            about: "the calendar")
        return try await fold(view.items, in: calendar).changed
    }

    package func objects(
        in calendar: CalendarReference, during time: CalendarInterval, expanded: Bool
    ) async throws -> [CalendarObject] {
        guard !expanded else { throw CalendarError.unsupported("expansion of series") }
        let view = try await pages(
            place(of: calendar) + "calendarView?" + Self.query(time) + "&$select=id,type,seriesMasterId&$top=200",
            for: calendar.user, about: "the calendar")
        let members = try await fold(view.items, in: calendar).changed
        return try await objects(members.map(\.href), in: calendar).found
    }

    // MARK: - Helpers

    private var window: CalendarInterval {
        let now = settings.now()
        let start = now.adding(seconds: -Int64(settings.pastDays) * 86_400)
        let end = now.adding(seconds: Int64(max(1, settings.futureDays + settings.spareDays)) * 86_400)
        return CalendarInterval(from: start, until: end) ?? CalendarInterval.everything
    }

    private static func query(_ time: CalendarInterval) -> String {
        let (start, end) = (URLText.encoded(time.start.iso8601), URLText.encoded(time.end.iso8601))
        return "startDateTime=\(start)&endDateTime=\(end)"
    }

    private static func read(_ token: SyncToken) -> (end: Int64, link: String)? {
        let parts = token.text.split(separator: " ", maxSplits: 1)
        guard parts.count == 2, let end = Int64(parts[0]) else { return nil }
        return (end, String(parts[1]))
    }

    /// Items of a view as objects: occurrences and exceptions are their series, each told once.
    private func fold(_ items: [JSONValue], in calendar: CalendarReference) async throws -> CalendarChanges {
        var order: [String] = []
        var etags: [String: ETag?] = [:]
        var removed: [String] = []
        for item in items {
            guard let id = item["id"]?.text, !id.isEmpty else { continue }
            if item["@removed"] != nil {
                removed.append(id)
                continue
            }
            // A series master may also be named by its occurrences; its own ETag counts.
            let isPart = item["type"]?.text == "occurrence" || item["type"]?.text == "exception"
            let name = isPart ? item["seriesMasterId"]?.text ?? id : id
            if etags[name] == nil { order.append(name) }
            if !isPart {
                etags[name] = .some(Self.etag(of: item))
            } else if etags[name] == nil {
                etags[name] = .some(nil)
            }
        }
        var changes = CalendarChanges(token: nil)
        for id in order {
            if let etag = etags[id] ?? nil {
                changes.changed.append(CalendarMember(href: href(of: id, in: calendar), etag: etag))
            } else if let etag = try await version(of: id, in: calendar) {
                changes.changed.append(CalendarMember(href: href(of: id, in: calendar), etag: etag.etag))
            }
        }
        var seen: Set<String> = []
        for id in removed where etags[id] == nil && seen.insert(id).inserted {
            // Deleted, or outside of the window by now.
            if let version = try await version(of: id, in: calendar) {
                if etags[version.object] == nil {
                    etags[version.object] = .some(version.etag)
                    changes.changed.append(
                        CalendarMember(href: href(of: version.object, in: calendar), etag: version.etag))
                }
            } else {
                changes.removed.append(href(of: id, in: calendar))
            }
        }
        return changes
    }

    /// Nil: it is not there.
    private func version(
        of id: String, in calendar: CalendarReference
    ) async throws -> (object: String, etag: ETag?)? {
        let path = path(ofEvent: id, in: calendar) + "?$select=id,type,seriesMasterId"
        guard let event = try await read(path, for: calendar.user, about: "an event") else { return nil }
        guard let master = event["seriesMasterId"]?.text, !master.isEmpty, master != id else {
            return (id, Self.etag(of: event))
        }
        guard
            let series = try await read(
                self.path(ofEvent: master, in: calendar) + "?$select=id,type", for: calendar.user, about: "a series")
        else { return nil }
        return (master, Self.etag(of: series))
    }
}

extension CalendarInterval {
    static var everything: CalendarInterval {
        guard let all = CalendarInterval(from: Timestamp(seconds: 0), until: Timestamp(seconds: 4_102_444_800)) else {
            preconditionFailure("1970 is before 2100")
        }
        return all
    }
}
