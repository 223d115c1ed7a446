import CalendarProtocol
import WireText

// How states stand in their documents. What is missing has the value of a fresh one, so that a newer release reads older ones.
extension UserState {
    func write(to json: inout JSONWriter) {
        json.beginObject()
        json.member("resource", ifPresent: resource)
        json.member("key", ifPresent: keyURI)
        json.member("formerKey", ifPresent: formerKeyURI)
        if let renewKey { json.member("renewKey", renewKey.milliseconds) }
        json.member("counter", counter)
        json.member("told", told)
        json.member("absentFrom", ifPresent: absence?.from.iso8601)
        json.member("absentTo", ifPresent: absence?.to.iso8601)
        json.member("state", state.rawValue)
        json.member("code", ifPresent: code)
        json.member("trouble", ifPresent: trouble)
        json.member("fix", ifPresent: fix)
        json.member("since", since.milliseconds)
        if let lastRound { json.member("lastRound", lastRound.milliseconds) }
        json.name("problems")
        json.beginObject()
        for (code, count) in problems.sorted(by: { $0.key < $1.key }) { json.member(code, count) }
        json.endObject()
        json.member("objects", objects)
        json.member("octets", octets)
        if let toldAt { json.member("toldAt", toldAt.milliseconds) }
        json.name("reminders")
        json.beginArray()
        for reminder in reminders {
            json.beginObject()
            json.member("meeting", reminder.meeting)
            json.member("start", reminder.start)
            json.member("at", reminder.at)
            json.endObject()
        }
        json.endArray()
        json.name("reminded")
        json.beginObject()
        for (key, start) in reminded.sorted(by: { $0.key < $1.key }) { json.member(key, start) }
        json.endObject()
        json.endObject()
    }

    init(json node: JSONNode) {
        self.init()
        resource = node["resource"]?.string
        keyURI = node["key"]?.string
        formerKeyURI = node["formerKey"]?.string
        renewKey = (node["renewKey"]?.integer).map { Timestamp(milliseconds: $0) }
        counter = node["counter"]?.integer ?? 0
        told = node["told"]?.integer ?? 0
        if let from = node["absentFrom"]?.string.flatMap({ Timestamp(iso8601: $0) }),
            let to = node["absentTo"]?.string.flatMap({ Timestamp(iso8601: $0) })
        {
            absence = .init(from: from, to: to)
        }
        state = node["state"]?.string.flatMap(CalendarEvent.UserState.init) ?? .pending
        code = node["code"]?.string
        trouble = node["trouble"]?.string
        fix = node["fix"]?.string
        since = Timestamp(milliseconds: node["since"]?.integer ?? 0)
        lastRound = (node["lastRound"]?.integer).map { Timestamp(milliseconds: $0) }
        for member in node["problems"]?.members ?? [] {
            problems[member.name] = Int(clamping: member.value.integer ?? 0)
        }
        objects = Int(clamping: node["objects"]?.integer ?? 0)
        octets = Int(clamping: node["octets"]?.integer ?? 0)
        toldAt = (node["toldAt"]?.integer).map { Timestamp(milliseconds: $0) }
        reminders = (node["reminders"]?.elements ?? []).compactMap { entry in
            guard let meeting = entry["meeting"]?.string, let start = entry["start"]?.integer,
                let at = entry["at"]?.integer
            else { return nil }
            return Reminder(meeting: meeting, start: start, at: at)
        }
        for member in node["reminded"]?.members ?? [] { reminded[member.name] = member.value.integer ?? 0 }
    }
}

extension CalendarState {
    func write(to json: inout JSONWriter) {
        json.beginObject()
        json.member("href", href)
        json.member("name", ifPresent: name)
        json.member("token", ifPresent: token)
        json.member("from", windowStart)
        json.member("to", windowEnd)
        json.member("audited", auditedAt.milliseconds)
        json.endObject()
    }

    init(json node: JSONNode) {
        href = node["href"]?.string ?? ""
        name = node["name"]?.string
        token = node["token"]?.string
        windowStart = Int(clamping: node["from"]?.integer ?? 0)
        windowEnd = Int(clamping: node["to"]?.integer ?? 0)
        auditedAt = Timestamp(milliseconds: node["audited"]?.integer ?? 0)
    }
}

extension ObjectState {
    func write(to json: inout JSONWriter) {
        json.beginObject()
        json.member("calendar", calendar)
        json.member("href", href)
        json.member("etag", ifPresent: etag)
        json.member("octets", Base64URL.encode(octets))
        json.name("meetings")
        json.beginObject()
        for (id, revision) in meetings.sorted(by: { $0.key < $1.key }) { json.member(id, revision) }
        json.endObject()
        if isOurs { json.member("ours", true) }
        json.endObject()
    }

    init(json node: JSONNode) {
        calendar = node["calendar"]?.string ?? ""
        href = node["href"]?.string ?? ""
        etag = node["etag"]?.string
        octets = (node["octets"]?.string).flatMap { Base64URL.decode($0) } ?? []
        meetings = [:]
        for member in node["meetings"]?.members ?? [] { meetings[member.name] = member.value.integer ?? 0 }
        isOurs = node["ours"]?.boolean ?? false
    }
}

extension SeriesState {
    func write(to json: inout JSONWriter) {
        json.beginObject()
        json.member("key", keyURI)
        if let renewKey { json.member("renewKey", renewKey.milliseconds) }
        json.member("space", ifPresent: spaceID)
        json.endObject()
    }

    init(json node: JSONNode) {
        keyURI = node["key"]?.string ?? ""
        renewKey = (node["renewKey"]?.integer).map { Timestamp(milliseconds: $0) }
        spaceID = node["space"]?.string
    }
}
