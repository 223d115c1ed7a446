import CalendarTime
import CalendarTranslation
import CalendarTransport
import HTTPClient
import Synchronization
import WireText

/// A small Microsoft Graph on a real socket: one calendar of each of two users, with what the published API says of
/// ETags, delta, occurrences as stubs, extended properties, bodies that become HTML, transactions and errors.
///
/// Series of days and weeks only.
final class FakeGraph: Sendable {
    struct Series {
        var exceptions: [String: JSONValue] = [:]
        var cancelled: Set<String> = []
    }

    struct State {
        var events: [String: JSONValue] = [:]
        var series: [String: Series] = [:]
        /// Ids in the order in which they changed; a delta token is the count of them.
        var log: [String] = []
        var forgotten = 0
        var lastNumber = 0
        var transactions: Set<String> = []
        var faults = ServiceFaults()
        var automaticReplies: JSONValue = ["status": "disabled"]
        var pageSize = 7
        var patches: [JSONValue] = []
        var replies: [String] = []
    }

    let state = Mutex(State())
    let proxy: CalendarProxy
    static let calendar = "cal+1/="

    init() async throws {
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

    // MARK: - Routes

    private func answer(_ request: ServiceRequest) -> WebResponse {
        state.withLock { state in
            if !state.faults.next.isEmpty { return state.faults.next.removeFirst() }
            guard request.header("Authorization") == "Bearer alice-token" else {
                return .json(401, ["error": ["code": "InvalidAuthenticationToken"]])
            }
            guard request.path.first == "v1.0", request.path.count >= 4, request.path[1] == "users",
                request.path[2] == "alice@example.com"
            else {
                return Self.error(404, "ResourceNotFound")
            }
            let rest = Array(request.path.dropFirst(3))
            switch (request.method, rest[0]) {
            case ("GET", "calendars") where rest.count == 1:
                return .json(200, ["value": [Self.calendarResource]])
            case (_, "calendars") where rest.count >= 2 && rest[1] == Self.calendar:
                return calendar(request, Array(rest.dropFirst(2)), &state)
            case ("POST", "calendar") where rest.count == 2 && rest[1] == "getSchedule":
                return schedule(request, state)
            case ("GET", "mailboxSettings"): return .json(200, state.automaticReplies)
            default: return Self.error(404, "ErrorItemNotFound")
            }
        }
    }

    static let calendarResource: JSONValue = [
        "id": .string(calendar), "name": "Calendar", "canEdit": true, "changeKey": "ck",
        "owner": ["name": "Alice", "address": "alice@example.com"],
    ]

    static func error(_ status: Int, _ code: String) -> WebResponse {
        .json(status, ["error": ["code": .string(code), "message": "x"]])
    }

    private func calendar(_ request: ServiceRequest, _ rest: [String], _ state: inout State) -> WebResponse {
        switch (request.method, rest.first, rest.count) {
        case ("GET", nil, _): return .json(200, Self.calendarResource)
        case ("GET", "calendarView", 1): return view(request, state)
        case ("GET", "calendarView", 2): return delta(request, state)
        case ("GET", "events", 1): return list(request, state)
        case ("POST", "events", 1): return create(request, &state)
        case (_, "events", 2): return event(request, rest[1], &state)
        case ("GET", "events", 3) where rest[2] == "instances":
            guard let master = state.events[rest[1]], let window = Self.window(request) else {
                return Self.error(404, "ErrorItemNotFound")
            }
            let instances = Self.occurrences(of: master, state, window).map { Self.instance($0, of: master, state) }
            return .json(200, ["value": .array(instances)])
        case ("POST", "events", 3):
            guard var event = state.events[rest[1]] else { return Self.error(404, "ErrorItemNotFound") }
            state.replies.append(rest[2])
            let words = ["accept": "accepted", "decline": "declined", "tentativelyAccept": "tentativelyAccepted"]
            event["responseStatus"] = ["response": .string(words[rest[2]] ?? "none")]
            Self.store(event, &state)
            return WebResponse(status: 202)
        default: return Self.error(405, "MethodNotAllowed")
        }
    }

    // MARK: - Events

    private func event(_ request: ServiceRequest, _ id: String, _ state: inout State) -> WebResponse {
        guard let event = Self.find(id, state) else { return Self.error(404, "ErrorItemNotFound") }
        if request.method == "GET" { return .json(200, Self.shown(event, request, state)) }
        if let condition = request.header("If-Match"), condition != event["@odata.etag"]?.text {
            return Self.error(412, "ErrorIrresolvableConflict")
        }
        let master = event["seriesMasterId"]?.text
        switch request.method {
        case "DELETE":
            if let master {
                let date = String(id.suffix(10))
                state.series[master]?.exceptions[date] = nil
                state.series[master]?.cancelled.insert(date)
                if let series = state.events[master] { Self.store(series, &state) }
            } else {
                state.events[id] = nil
                state.series[id] = nil
                state.log.append(id)
            }
            return WebResponse(status: 204)
        case "PATCH":
            state.patches.append(request.body)
            guard let new = Self.applied(request.body, to: event) else { return Self.error(400, "ErrorInvalidRequest") }
            if let master, let series = state.events[master] {
                let date = String(id.suffix(10))
                state.lastNumber += 1
                var new = new
                new["type"] = "exception"
                new["@odata.etag"] = .string("W/\"ck\(state.lastNumber)\"")
                state.series[master]?.exceptions[date] = new
                Self.store(series, &state)
            } else {
                if request.body.members["recurrence"] != nil || request.body["start"] != nil {
                    state.series[id] = Series()
                }
                Self.store(new, &state)
            }
            return .json(200, new)
        default: return Self.error(405, "MethodNotAllowed")
        }
    }

    private func create(_ request: ServiceRequest, _ state: inout State) -> WebResponse {
        if let transaction = request.body["transactionId"]?.text, !state.transactions.insert(transaction).inserted {
            return Self.error(409, "ErrorDuplicateTransactionId")
        }
        state.lastNumber += 1
        let id = "AAMk\(state.lastNumber)+/="
        let base: JSONValue = [
            "id": .string(id), "iCalUId": .string("040000008200E00074C5B7101A82E008\(state.lastNumber)"),
            "isOrganizer": true, "seriesMasterId": .null, "createdDateTime": "2026-11-01T08:00:00Z",
            "lastModifiedDateTime": "2026-11-01T08:00:00Z", "responseStatus": ["response": "organizer"],
            "organizer": ["emailAddress": ["name": "Alice", "address": "alice@example.com"]], "isAllDay": false,
            "isCancelled": false, "showAs": "busy", "sensitivity": "normal", "importance": "normal",
            "isReminderOn": true, "reminderMinutesBeforeStart": .integer(15), "categories": [], "attendees": [],
            "hideAttendees": true, "allowNewTimeProposals": true, "subject": "",
            "body": ["contentType": "html", "content": ""],
        ]
        guard let event = Self.applied(request.body, to: base), event["start"] != nil, event["end"] != nil else {
            return Self.error(400, "ErrorPropertyValidationFailure")
        }
        Self.store(event, &state)
        return .json(201, state.events[id] ?? event)
    }

    static let writable: Set<String> = [
        "subject", "body", "location", "start", "end", "isAllDay", "showAs", "sensitivity", "importance", "categories",
        "isReminderOn", "reminderMinutesBeforeStart", "attendees", "recurrence", "singleValueExtendedProperties",
        "transactionId", "hideAttendees",
    ]

    /// What a PATCH leaves; nil: it says something that can not be written.
    static func applied(_ patch: JSONValue, to event: JSONValue) -> JSONValue? {
        var event = event
        for (name, value) in patch.members {
            guard writable.contains(name) else { return nil }
            switch name {
            case "start", "end":
                guard let zone = value["timeZone"]?.text, let rules = ZoneCatalogue.system.rules(named: zone),
                    let stamp = value["dateTime"]?.text.flatMap({ Timestamp(iso8601: $0 + "Z") })
                else { return nil }
                let isAllDay = (patch["isAllDay"] ?? event["isAllDay"])?.flag == true
                let instant =
                    isAllDay
                    ? Int(stamp.seconds) : rules.instant(of: LocalTime(seconds: Int(stamp.seconds))).seconds
                event[name] = Self.utc(instant)
                event[name == "start" ? "originalStartTimeZone" : "originalEndTimeZone"] = .string(zone)
            case "body":
                // Text is kept as HTML, in what Exchange puts around it.
                guard value["contentType"]?.text == "text" else {
                    event[name] = value
                    continue
                }
                let html = HTMLText.document(value["content"]?.text ?? "").replacing(
                    "<body>", with: "<head>\r\n<meta name=\"Generator\" content=\"Exchange\"></head>\r\n<body>\r\n<div>"
                ).replacing("</body>", with: "</div>\r\n</body>")
                event[name] = ["contentType": "html", "content": .string(html)]
            case "attendees":
                let old = event["attendees"]?.list ?? []
                event[name] = .array(
                    value.list.map { attendee in
                        let address = attendee["emailAddress"]?["address"]?.text?.lowercased()
                        let known = old.first { $0["emailAddress"]?["address"]?.text?.lowercased() == address }
                        return attendee.merged(["status": known?["status"] ?? ["response": "none"]])
                    })
            case "singleValueExtendedProperties":
                let new = value.list
                let kept = (event[name]?.list ?? []).filter { old in !new.contains { $0["id"] == old["id"] } }
                event[name] = .array(kept + new)
            default: event[name] = value
            }
        }
        event["type"] =
            event["recurrence"] == nil
            ? (event["type"]?.text == "exception" ? "exception" : "singleInstance") : "seriesMaster"
        return event
    }

    static func store(_ event: JSONValue, _ state: inout State) {
        guard let id = event["id"]?.text else { return }
        state.lastNumber += 1
        state.events[id] = event.merged(["@odata.etag": .string("W/\"ck\(state.lastNumber)\"")])
        if state.series[id] == nil { state.series[id] = Series() }
        state.log.append(id)
    }

    static func find(_ id: String, _ state: State) -> JSONValue? {
        if let event = state.events[id] { return event }
        guard id.hasPrefix("OCC."), let master = state.events[String(id.dropFirst(4).dropLast(11))],
            let series = state.series[master["id"]?.text ?? ""]
        else { return nil }
        let date = String(id.suffix(10))
        guard !series.cancelled.contains(date) else { return nil }
        return series.exceptions[date]
            ?? occurrences(of: master, state, 0..<Int.max).first { $0.date == date }.map {
                instance($0, of: master, state)
            }
    }

    // MARK: - Lists

    private func list(_ request: ServiceRequest, _ state: State) -> WebResponse {
        let filter = request.query["$filter"] ?? ""
        let wanted = filter.split(separator: "'").last(where: { !$0.hasPrefix(")") }).map(String.init) ?? ""
        let found = state.events.values.filter { event in
            filter.hasPrefix("iCalUId")
                ? event["iCalUId"]?.text == wanted
                : (event["singleValueExtendedProperties"]?.list ?? []).contains {
                    filter.contains($0["id"]?.text ?? "-") && $0["value"]?.text == wanted
                }
        }
        return .json(200, ["value": .array(found.map { Self.shown($0, request, state) })])
    }

    private func view(_ request: ServiceRequest, _ state: State) -> WebResponse {
        guard let window = Self.window(request) else { return Self.error(400, "ErrorInvalidParameter") }
        var items: [JSONValue] = []
        for event in state.events.values.sorted(by: { ($0["id"]?.text ?? "") < ($1["id"]?.text ?? "") }) {
            let found = Self.occurrences(of: event, state, window)
            if event["type"]?.text == "seriesMaster" {
                items += found.map { Self.instance($0, of: event, state) }
            } else if !found.isEmpty {
                items.append(event)
            }
        }
        return page(items, request, state) { [:] }
    }

    private func delta(_ request: ServiceRequest, _ state: State) -> WebResponse {
        let token = request.query["$deltatoken"]?.split(separator: "!").compactMap { Int($0) }
        let window: Range<Int>
        var ids: [String]
        if let token {
            guard token.count == 3, token[0] >= state.forgotten, token[0] <= state.log.count else {
                return Self.error(410, "SyncStateNotFound")
            }
            window = token[1]..<token[2]
            ids = Array(Set(state.log[token[0]...])).sorted()
        } else {
            guard let asked = Self.window(request) else { return Self.error(410, "SyncStateNotFound") }
            window = asked
            ids = state.events.keys.sorted()
        }
        var items: [JSONValue] = []
        for id in ids {
            guard let event = state.events[id] else {
                items.append(["id": .string(id), "@removed": ["reason": "deleted"]])
                continue
            }
            let found = Self.occurrences(of: event, state, window)
            guard !found.isEmpty else {
                if token != nil { items.append(["id": .string(id), "@removed": ["reason": "deleted"]]) }
                continue
            }
            if event["type"]?.text == "seriesMaster" {
                items += found.map { occurrence in
                    let whole = Self.instance(occurrence, of: event, state)
                    if whole["type"]?.text == "exception" { return whole }
                    return .object(
                        whole.members.filter {
                            ["@odata.etag", "id", "type", "seriesMasterId", "start", "end"].contains($0.key)
                        })
                }
            }
            items.append(event)
        }
        let count = state.log.count
        return page(items, request, state) {
            [
                "@odata.deltaLink": .string(
                    self.link(request, "$deltatoken=\(count)!\(window.lowerBound)!\(window.upperBound)"))
            ]
        }
    }

    private func link(_ request: ServiceRequest, _ query: String) -> String {
        origin + (request.target.split(separator: "?").first ?? "") + "?" + query
    }

    private func page(
        _ items: [JSONValue], _ request: ServiceRequest, _ state: State, _ end: () -> JSONValue
    ) -> WebResponse {
        let start = request.query["$skip"].flatMap { Int($0) } ?? 0
        let stop = min(items.count, start + state.pageSize)
        var value: JSONValue = ["value": .array(Array(items[min(start, stop)..<stop]))]
        if stop < items.count {
            let query = request.target.split(separator: "?").last ?? ""
            let kept = query.split(separator: "&").filter { !$0.hasPrefix("$skip=") }.joined(separator: "&")
            value["@odata.nextLink"] = .string(link(request, kept + "&$skip=\(stop)"))
        } else {
            value = value.merged(end())
        }
        return .json(200, value)
    }

    private func schedule(_ request: ServiceRequest, _ state: State) -> WebResponse {
        let second = { (name: String) in
            request.body[name]?["dateTime"]?.text.flatMap { Timestamp(iso8601: $0 + "Z") }.map { Int($0.seconds) } ?? 0
        }
        let window = second("startTime")..<second("endTime")
        let items = state.events.values.flatMap { event in
            Self.occurrences(of: event, state, window).map { occurrence -> JSONValue in
                [
                    "status": event["showAs"] ?? "busy", "start": Self.utc(occurrence.start),
                    "end": Self.utc(occurrence.end),
                ]
            }
        }
        return .json(200, ["value": [["scheduleId": "alice@example.com", "scheduleItems": .array(items)]]])
    }

    // MARK: - Occurrences

    struct Occurrence { var date: String; var start: Int; var end: Int }

    static func utc(_ seconds: Int) -> JSONValue {
        let text = Instant(seconds: seconds).description.dropLast() + ".0000000"
        return ["dateTime": .string(String(text)), "timeZone": "UTC"]
    }

    private static func seconds(_ value: JSONValue?) -> Int {
        value?["dateTime"]?.text.flatMap { Timestamp(iso8601: $0 + "Z") }.map { Int($0.seconds) } ?? 0
    }

    private static func window(_ request: ServiceRequest) -> Range<Int>? {
        guard let start = request.query["startDateTime"].flatMap({ Timestamp(iso8601: $0) }),
            let end = request.query["endDateTime"].flatMap({ Timestamp(iso8601: $0) }), start < end
        else { return nil }
        return Int(start.seconds)..<Int(end.seconds)
    }

    /// At most 1000, of days and weeks.
    static func occurrences(of event: JSONValue, _ state: State, _ window: Range<Int>) -> [Occurrence] {
        let (start, end) = (seconds(event["start"]), seconds(event["end"]))
        let touches = { (occurrence: Occurrence) in
            occurrence.start < window.upperBound && occurrence.end > window.lowerBound
        }
        guard let recurrence = event["recurrence"], let id = event["id"]?.text else {
            let single = Occurrence(date: "", start: start, end: end)
            return touches(single) ? [single] : []
        }
        let zone = event["originalStartTimeZone"]?.text.flatMap { ZoneCatalogue.system.rules(named: $0) } ?? .utc
        let first = zone.local(of: Instant(seconds: start))
        let names = ["monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday"]
        let days = Set(
            (recurrence["pattern"]?["daysOfWeek"]?.list ?? []).compactMap { $0.text.flatMap(names.firstIndex) })
        let interval = recurrence["pattern"]?["interval"]?.integer ?? 1
        let isWeekly = recurrence["pattern"]?["type"]?.text == "weekly"
        let last = recurrence["range"]?["endDate"]?.text
        var left = recurrence["range"]?["numberOfOccurrences"]?.integer ?? 1000
        var found: [Occurrence] = []
        for day in 0..<1000 where left > 0 {
            let date = CivilDate(number: first.date.number + day)
            let week = (date.number + 3) / 7 - (first.date.number + 3) / 7
            guard isWeekly ? days.contains(date.weekday) && week % interval == 0 : day % interval == 0 else { continue }
            let text = String(Instant(seconds: LocalTime(date).seconds).description.prefix(10))
            if let last, text > last { break }
            left -= 1
            let begin = zone.instant(of: LocalTime(date, secondOfDay: first.secondOfDay)).seconds
            var occurrence = Occurrence(date: text, start: begin, end: begin + end - start)
            if let exception = state.series[id]?.exceptions[text] {
                (occurrence.start, occurrence.end) = (seconds(exception["start"]), seconds(exception["end"]))
            }
            guard state.series[id]?.cancelled.contains(text) != true, touches(occurrence) else { continue }
            found.append(occurrence)
        }
        return found
    }

    static func instance(_ occurrence: Occurrence, of master: JSONValue, _ state: State) -> JSONValue {
        let id = master["id"]?.text ?? ""
        if let exception = state.series[id]?.exceptions[occurrence.date] { return exception }
        var value = master
        value["recurrence"] = nil
        return value.merged([
            "id": .string("OCC.\(id).\(occurrence.date)"), "seriesMasterId": .string(id), "type": "occurrence",
            "occurrenceId": .string("OID.\(id).\(occurrence.date)"), "start": utc(occurrence.start),
            "end": utc(occurrence.end), "originalStart": .string(Instant(seconds: occurrence.start).description),
            "singleValueExtendedProperties": [],
        ])
    }

    /// With what a request selects and expands.
    static func shown(_ event: JSONValue, _ request: ServiceRequest, _ state: State) -> JSONValue {
        var event = event
        if request.query["$expand"]?.contains("singleValueExtendedProperties") != true {
            event["singleValueExtendedProperties"] = nil
        }
        let id = event["id"]?.text ?? ""
        if request.query["$select"]?.contains("cancelledOccurrences") == true, let series = state.series[id] {
            event["cancelledOccurrences"] = .array(series.cancelled.sorted().map { .string("OID.\(id).\($0)") })
            if request.query["$expand"]?.contains("exceptionOccurrences") == true {
                event["exceptionOccurrences"] = .array(series.exceptions.sorted { $0.key < $1.key }.map(\.value))
            }
        }
        return event
    }
}
