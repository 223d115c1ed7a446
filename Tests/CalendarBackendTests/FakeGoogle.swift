import CalendarTime
import CalendarTranslation
import Cryptography
import HTTPClient
import JOSESignature
import Synchronization
import WireText

/// A small Google Calendar API on a real socket, with its token endpoint: what the published API says of ETags, sync
/// tokens, exceptions as events of their own, arrays in a PATCH, limits of extended properties and errors.
///
/// Series of days and weeks only.
final class FakeGoogle: Sendable {
    struct State {
        /// Masters, single events and exceptions by id; deleted ones stay as cancelled.
        var events: [String: JSONValue] = [:]
        var log: [String] = []
        var forgotten = 0
        var lastNumber = 0
        var faults = ServiceFaults()
        var pageSize = 7
        var patches: [JSONValue] = []
        var grants = 0
        var tokens: Set<String> = []
    }

    let state = Mutex(State())
    let proxy: CalendarProxy
    /// The public key of the service account.
    let key: PublicKey
    static let calendar = "team#1@group.calendar.google.com"

    init(key: PublicKey) async throws {
        self.key = key
        proxy = try await CalendarProxy()
        // It lives as long as its port does: to the end of the tests.
        proxy.play { request in
            let isLost = self.state.withLock { $0.faults.loses(request) }
            let answer = self.answer(ServiceRequest(request))
            return isLost ? .raw("") : .answer(answer)
        }
    }

    var origin: String { proxy.url }
    func change<R: Sendable>(_ body: (inout State) -> sending R) -> R { state.withLock { body(&$0) } }

    static func error(_ status: Int, _ reason: String) -> WebResponse {
        .json(
            status,
            [
                "error": [
                    "code": .integer(status), "message": "x",
                    "errors": [["domain": "global", "reason": .string(reason), "message": "x"]],
                ]
            ])
    }

    // MARK: - Routes

    private func answer(_ request: ServiceRequest) -> WebResponse {
        state.withLock { state in
            if request.path == ["token"] { return grant(request, &state) }
            if !state.faults.next.isEmpty { return state.faults.next.removeFirst() }
            let token = request.header("Authorization")?.dropFirst("Bearer ".count)
            guard let token, state.tokens.contains(String(token)) else { return Self.error(401, "authError") }
            guard request.path.starts(with: ["calendar", "v3"]) else { return Self.error(404, "notFound") }
            let rest = Array(request.path.dropFirst(2))
            if request.method == "GET", rest == ["users", "me", "calendarList"] {
                return .json(
                    200,
                    [
                        "items": [
                            [
                                "id": .string(Self.calendar), "summary": "Team", "accessRole": "owner", "primary": true,
                            ], ["id": "x", "summary": "Other", "accessRole": "freeBusyReader"],
                        ]
                    ])
            }
            if request.method == "POST", rest == ["freeBusy"] { return busy(request, state) }
            guard rest.count >= 2, rest[0] == "calendars", [Self.calendar, "primary"].contains(rest[1]) else {
                return Self.error(404, "notFound")
            }
            switch (request.method, rest.count) {
            case ("GET", 2): return .json(200, ["id": .string(Self.calendar)])
            case ("GET", 3): return list(request, state)
            case ("POST", 3): return insert(request, &state)
            case (_, 4): return event(request, rest[3], &state)
            case ("GET", 5) where rest[4] == "instances": return instances(request, rest[3], state)
            default: return Self.error(404, "notFound")
            }
        }
    }

    /// RFC 7523 as Google documents it.
    private func grant(_ request: ServiceRequest, _ state: inout State) -> WebResponse {
        let form = String(decoding: request.octets, as: UTF8.self).split(separator: "&")
        let assertion = form.first { $0.hasPrefix("assertion=") }?.dropFirst("assertion=".count)
        guard form.contains("grant_type=urn%3Aietf%3Aparams%3Aoauth%3Agrant-type%3Ajwt-bearer"), let assertion,
            let token = try? JWT.verify(
                String(assertion), keys: { _ in key }, allowing: [.rs256], issuer: "connector@project.example.com",
                audience: origin + "/token", type: "JWT", now: Timestamp(seconds: 1_800_000_000)),
            token.scope.contains("https://www.googleapis.com/auth/calendar")
        else { return .json(400, ["error": "invalid_grant"]) }
        guard token.subject == "alice@example.com" else { return .json(401, ["error": "unauthorized_client"]) }
        state.grants += 1
        let text = "ya29.\(state.grants)"
        state.tokens.insert(text)
        return .json(200, ["access_token": .string(text), "expires_in": .integer(3599), "token_type": "Bearer"])
    }

    // MARK: - Events

    private func event(_ request: ServiceRequest, _ id: String, _ state: inout State) -> WebResponse {
        guard let event = Self.find(id, state) else { return Self.error(404, "notFound") }
        if request.method == "GET" { return .json(200, event) }
        if let condition = request.header("If-Match"), condition != event["etag"]?.text {
            return Self.error(412, "conditionNotMet")
        }
        switch request.method {
        case "DELETE":
            guard event["status"]?.text != "cancelled" else { return Self.error(410, "deleted") }
            Self.store(event.merged(["status": "cancelled"]), &state)
            return WebResponse(status: 204)
        case "PATCH":
            state.patches.append(request.body)
            guard let new = Self.applied(request.body, to: event) else { return Self.error(400, "invalid") }
            Self.store(new, &state)
            return .json(200, state.events[id] ?? new)
        default: return Self.error(405, "httpMethodNotAllowed")
        }
    }

    private func insert(_ request: ServiceRequest, _ state: inout State) -> WebResponse {
        guard let uid = request.body["iCalUID"]?.text, request.body["id"] == nil else {
            return Self.error(400, "invalid")
        }
        guard !state.events.values.contains(where: { $0["iCalUID"]?.text == uid }) else {
            return Self.error(409, "duplicate")
        }
        state.lastNumber += 1
        let base: JSONValue = [
            "kind": "calendar#event", "id": .string("ev\(state.lastNumber)"), "iCalUID": .string(uid),
            "status": "confirmed", "created": "2026-11-01T08:00:00.000Z", "updated": "2026-11-01T08:00:00.000Z",
            "organizer": ["email": "alice@example.com", "self": true], "sequence": .integer(0),
            "reminders": ["useDefault": true], "colorId": "7", "eventType": "default",
            "guestsCanModify": false, "hangoutLink": "https://meet.google.com/abc",
        ]
        guard let event = Self.applied(request.body, to: base), event["start"] != nil, event["end"] != nil else {
            return Self.error(400, "required")
        }
        Self.store(event, &state)
        return .json(200, state.events[event["id"]?.text ?? ""] ?? event)
    }

    private static let writable: Set<String> = [
        "summary", "description", "location", "start", "end", "transparency", "status", "visibility", "attendees",
        "recurrence", "reminders", "extendedProperties", "iCalUID",
    ]

    /// What a PATCH leaves; nil: it says something that can not be written.
    static func applied(_ patch: JSONValue, to event: JSONValue) -> JSONValue? {
        var event = event
        for (name, value) in patch.members {
            guard writable.contains(name) else { return nil }
            switch name {
            case "start", "end":
                guard let time = time(value) else { return nil }
                event[name] = time
            case "extendedProperties":
                var kept = event[name]?["private"]?.members ?? [:]
                for (key, piece) in value["private"]?.members ?? [:] {
                    guard key.utf8.count <= 44, (piece.text ?? "").count <= 1024 else { return nil }
                    kept[key] = piece == .null ? nil : piece
                }
                guard kept.values.reduce(0, { $0 + ($1.text ?? "").utf8.count }) <= 32 << 10 else { return nil }
                event[name] = ["private": .object(kept)]
            case "recurrence":
                // A series needs the name of a zone, and its lines are those of RFC 5545.
                let lines = value.list.compactMap(\.text)
                guard lines.allSatisfy({ line in ["RRULE:", "RDATE", "EXDATE"].contains { line.hasPrefix($0) } }),
                    ((patch["start"] ?? event["start"])?["timeZone"] ?? (patch["start"] ?? event["start"])?["date"])
                        != nil
                else { return nil }
                event[name] = value
            default: event[name] = value
            }
        }
        return event
    }

    /// With the offset that Google adds.
    private static func time(_ value: JSONValue) -> JSONValue? {
        if let date = value["date"]?.text { return ["date": .string(date)] }
        guard let text = value["dateTime"]?.text, let name = value["timeZone"]?.text,
            // No name of Windows.
            !name.contains(" "), let zone = ZoneCatalogue.system.rules(named: name)
        else { return nil }
        if text.hasSuffix("Z") { return ["dateTime": .string(text), "timeZone": .string(name)] }
        guard let stamp = Timestamp(iso8601: text + "Z") else { return nil }
        let local = LocalTime(seconds: Int(stamp.seconds))
        let offset = local.seconds - zone.instant(of: local).seconds
        let minutes = abs(offset) / 60
        let sign = offset < 0 ? "-" : "+"
        let digits = { (number: Int) in (number < 10 ? "0" : "") + String(number) }
        return [
            "dateTime": .string(text + sign + digits(minutes / 60) + ":" + digits(minutes % 60)),
            "timeZone": .string(name),
        ]
    }

    static func store(_ event: JSONValue, _ state: inout State) {
        guard let id = event["id"]?.text else { return }
        state.lastNumber += 1
        state.events[id] = event.merged(["etag": .string("\"31\(state.lastNumber)000\"")])
        state.log.append(id)
    }

    static func find(_ id: String, _ state: State) -> JSONValue? {
        if let event = state.events[id] { return event }
        guard let mark = id.lastIndex(of: "_"), let master = state.events[String(id[..<mark])] else { return nil }
        return occurrences(of: master, state, 0..<Int.max).first { $0["id"]?.text == id }
    }

    // MARK: - Lists

    private func list(_ request: ServiceRequest, _ state: State) -> WebResponse {
        var items: [JSONValue]
        if let token = request.query["syncToken"] {
            guard request.query["timeMin"] == nil, request.query["iCalUID"] == nil, request.query["orderBy"] == nil
            else {
                return Self.error(400, "invalid")
            }
            guard let count = Int(token.dropFirst(2)), token.hasPrefix("S:"), count >= state.forgotten,
                count <= state.log.count
            else { return Self.error(410, "fullSyncRequired") }
            items = Set(state.log[count...]).sorted().compactMap { state.events[$0] }
        } else {
            items = state.events.values.filter { event in
                // Cancelled exceptions of a series that is there are always told.
                guard event["status"]?.text == "cancelled" else { return true }
                let master = event["recurringEventId"]?.text.flatMap { state.events[$0] }
                return master != nil && master?["status"]?.text != "cancelled"
                    && request.query["singleEvents"] != "true"
            }.sorted { ($0["id"]?.text ?? "") < ($1["id"]?.text ?? "") }
            if let uid = request.query["iCalUID"] { items = items.filter { $0["iCalUID"]?.text == uid } }
            if let types = request.query["eventTypes"] { items = items.filter { $0["eventType"]?.text == types } }
            if request.query["singleEvents"] == "true" {
                let low = request.query["timeMin"].flatMap { Timestamp(iso8601: $0) }.map { Int($0.seconds) } ?? 0
                let high = request.query["timeMax"].flatMap { Timestamp(iso8601: $0) }.map { Int($0.seconds) } ?? .max
                guard low < high else { return Self.error(400, "timeRangeEmpty") }
                items = items.filter { $0["recurringEventId"] == nil }.flatMap {
                    Self.occurrences(of: $0, state, low..<high)
                }
            }
        }
        let start = request.query["pageToken"].flatMap { Int($0.dropFirst(2)) } ?? 0
        let stop = min(items.count, start + state.pageSize)
        var value: JSONValue = ["items": .array(Array(items[min(start, stop)..<stop]))]
        if stop < items.count {
            value["nextPageToken"] = .string("P:\(stop)")
        } else if request.query["orderBy"] == nil {
            value["nextSyncToken"] = .string("S:\(state.log.count)")
        }
        return .json(200, value)
    }

    private func instances(_ request: ServiceRequest, _ id: String, _ state: State) -> WebResponse {
        guard let master = state.events[id] else { return Self.error(404, "notFound") }
        let wanted = request.query["originalStart"] ?? ""
        let items = Self.occurrences(of: master, state, 0..<Int.max).filter { item in
            let original = item["originalStartTime"]
            if let date = original?["date"]?.text { return date == wanted }
            return original?["dateTime"]?.text.flatMap { Timestamp(iso8601: $0) } == Timestamp(iso8601: wanted)
        }
        return .json(200, ["items": .array(items)])
    }

    private func busy(_ request: ServiceRequest, _ state: State) -> WebResponse {
        guard let low = request.body["timeMin"]?.text.flatMap({ Timestamp(iso8601: $0) }),
            let high = request.body["timeMax"]?.text.flatMap({ Timestamp(iso8601: $0) })
        else { return Self.error(400, "required") }
        var calendars: [String: JSONValue] = [:]
        for item in request.body["items"]?.list ?? [] {
            let id = item["id"]?.text ?? ""
            guard id == Self.calendar else {
                calendars[id] = ["errors": [["reason": "notFound"]]]
                continue
            }
            let events = state.events.values.filter {
                $0["recurringEventId"] == nil && $0["transparency"]?.text != "transparent"
                    && $0["status"]?.text != "cancelled"
            }
            let spans = events.flatMap { Self.occurrences(of: $0, state, Int(low.seconds)..<Int(high.seconds)) }
            calendars[id] = [
                "busy": .array(
                    spans.map {
                        ["start": $0["start"]?["dateTime"] ?? "", "end": $0["end"]?["dateTime"] ?? ""]
                    })
            ]
        }
        return .json(200, ["calendars": .object(calendars)])
    }

    // MARK: - Occurrences

    private static func seconds(_ value: JSONValue?) -> Int {
        let text = value?["dateTime"]?.text ?? (value?["date"]?.text ?? "") + "T00:00:00Z"
        return Timestamp(iso8601: text).map { Int($0.seconds) } ?? 0
    }

    /// Those that touch the window; the event itself where it is no series.
    static func occurrences(of event: JSONValue, _ state: State, _ window: Range<Int>) -> [JSONValue] {
        let (start, end) = (seconds(event["start"]), seconds(event["end"]))
        let touches = { (item: JSONValue) in
            seconds(item["start"]) < window.upperBound && seconds(item["end"]) > window.lowerBound
        }
        let lines = event["recurrence"]?.list.compactMap(\.text) ?? []
        guard let rule = lines.first(where: { $0.hasPrefix("RRULE:") })?.dropFirst(6), let id = event["id"]?.text else {
            return touches(event) ? [event] : []
        }
        let parts = Dictionary(
            rule.split(separator: ";").map { part in
                let pair = part.split(separator: "=").map(String.init)
                return (pair[0], pair.count > 1 ? pair[1] : "")
            }
        ) { first, _ in first }
        let name = event["start"]?["timeZone"]?.text ?? "UTC"
        let zone = ZoneCatalogue.system.rules(named: name) ?? .utc
        let first = zone.local(of: Instant(seconds: start))
        let names = ["MO", "TU", "WE", "TH", "FR", "SA", "SU"]
        let days = parts["BYDAY"].map { Set($0.split(separator: ",").compactMap { names.firstIndex(of: String($0)) }) }
        var left = parts["COUNT"].flatMap { Int($0) } ?? 1000
        var found: [JSONValue] = []
        for day in 0..<1000 where left > 0 {
            let date = CivilDate(number: first.date.number + day)
            let isDay =
                parts["FREQ"] == "WEEKLY" ? (days ?? [first.date.weekday]).contains(date.weekday) : true
            guard isDay else { continue }
            left -= 1
            let begin = zone.instant(of: LocalTime(date, secondOfDay: first.secondOfDay)).seconds
            let key = Instant(seconds: begin).description.filter { !"-:".contains($0) }
            let text = { (seconds: Int) -> JSONValue in
                ["dateTime": .string(Instant(seconds: seconds).description), "timeZone": .string(name)]
            }
            var item = event
            item["recurrence"] = nil
            item = item.merged([
                "id": .string("\(id)_\(key)"), "recurringEventId": .string(id), "start": text(begin),
                "end": text(begin + end - start), "originalStartTime": text(begin),
                "etag": .string("\"i" + (event["etag"]?.text ?? "").dropFirst()),
            ])
            if let exception = state.events["\(id)_\(key)"] { item = exception }
            let local = LocalTime(date, secondOfDay: first.secondOfDay).text
            let isRemoved = lines.contains { $0.hasPrefix("EXDATE") && ($0.contains(local) || $0.contains(key)) }
            guard item["status"]?.text != "cancelled", !isRemoved, touches(item) else { continue }
            found.append(item)
        }
        return found
    }
}
