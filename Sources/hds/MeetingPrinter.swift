import CalendarProtocol
import Diagnostics
import HDSClient
import WireText

/// Meetings as lines for people, and as JSON for scripts.
struct MeetingPrinter {
    let asJSON: Bool
    let zone: MeetingZone

    func list(_ meetings: [Meeting]) {
        let out = Terminal.output
        guard !asJSON else {
            for meeting in meetings { out.line(Self.json(meeting)) }
            return
        }
        guard !meetings.isEmpty else { return out.line("No meetings.") }
        let length = Self.idLength(meetings.map(\.id))
        out.table(
            meetings.map { meeting in
                let title =
                    meeting.subject.map { out.clean($0) } ?? meeting.problem.map { "can not be read: \(out.clean($0))" }
                let marks = Self.marks(meeting)
                return [
                    zone.text(meeting.record.start), Self.length(meeting), String(out.clean(meeting.id).prefix(length)),
                    (title ?? (meeting.record.sensitivity == .normal ? "-" : "private"))
                        + (marks.isEmpty ? "" : "  (\(marks))"),
                ]
            }, header: ["START", "LENGTH", "ID", "SUBJECT"])
    }

    /// As much of each id as tells them apart.
    private static func idLength(_ ids: [String]) -> Int {
        var length = 8
        while length < 128, Set(ids.map { $0.prefix(length) }).count < Set(ids).count { length += 1 }
        return length
    }

    private static func length(_ meeting: Meeting) -> String {
        let minutes = meeting.record.durationMinutes
        if meeting.record.isAllDay { return minutes <= 1440 ? "all day" : "\(minutes / 1440) days" }
        return minutes % 60 == 0 && minutes > 0 ? "\(minutes / 60) h" : "\(minutes) min"
    }

    private static func marks(_ meeting: Meeting) -> String {
        var marks: [String] = []
        if meeting.record.hasJoinDetails { marks.append("join") }
        if meeting.wantsJoinDetails { marks.append("waits for join details") }
        if meeting.record.status == .tentative { marks.append("tentative") }
        return marks.joined(separator: ", ")
    }

    /// It begins soon.
    func remind(_ meeting: Meeting) {
        let out = Terminal.output
        guard !asJSON else {
            var json = JSONWriter()
            json.beginObject()
            json.member("reminder", meeting.id)
            json.member("start", meeting.record.start.iso8601)
            json.member("subject", ifPresent: meeting.subject)
            json.member("url", ifPresent: meeting.joinURL)
            json.endObject()
            return out.line(json.text())
        }
        let name = meeting.subject.map { "'\(out.clean($0))'" } ?? "a meeting"
        let place = meeting.joinURL.map { ": \(out.clean($0))" } ?? ""
        out.line("\(out.styled("Soon", .bold)) \(name) begins \(zone.text(meeting.record.start))\(place)")
    }

    func show(_ meeting: Meeting) {
        let out = Terminal.output
        guard !asJSON else { return out.line(Self.json(meeting)) }
        func line(_ label: String, _ value: String?) {
            guard let value, !value.isEmpty else { return }
            out.line(out.styled(label.padding(14), .dim) + out.clean(value))
        }
        out.line(out.styled(out.clean(meeting.subject ?? "(no subject)"), .bold))
        line("when", zone.text(meeting.record.start) + ", " + Self.length(meeting))
        line("where", meeting.location)
        line("join", meeting.joinURL)
        line(
            "organizer",
            meeting.organizer.map { person in
                person.name.map { "\($0) <\(person.address)>" } ?? person.address
            })
        for person in meeting.participants {
            line("with", (person.name.map { "\($0) " } ?? "") + "<\(person.address)>  \(person.answer)")
        }
        line("space", meeting.record.spaceID)
        line("state", Self.marks(meeting))
        line("id", meeting.id)
        if let problem = meeting.problem { out.line(out.styled("can not be read: \(out.clean(problem))", .red)) }
        if let notes = meeting.notes, !notes.isEmpty { out.line("\n" + out.clean(notes, lines: true)) }
    }

    func tell(_ outcome: JoinOutcome) {
        let out = Terminal.output
        guard !asJSON else {
            var json = JSONWriter()
            json.beginObject()
            json.member("meeting", outcome.meeting.id)
            json.member("outcome", outcome.result.rawValue)
            json.member("url", outcome.url)
            json.member("spaceId", ifPresent: outcome.space)
            json.member("reason", ifPresent: outcome.reason)
            json.endObject()
            return out.line(json.text())
        }
        let name = out.clean(outcome.meeting.subject ?? outcome.meeting.id)
        switch outcome.result {
        case .written: out.line(out.styled("Written", .green) + " into '\(name)': \(outcome.url)")
        case .unchanged: out.line("'\(name)' has its join details already.")
        case .refused:
            out.line(out.styled("Refused", .red) + " for '\(name)': \(out.clean(outcome.reason ?? "no reason"))")
        }
    }

    static func json(_ meeting: Meeting) -> String {
        let record = meeting.record
        var json = JSONWriter()
        json.beginObject()
        json.member("id", record.id)
        json.member("seriesId", record.seriesID)
        json.member("start", record.start.iso8601)
        json.member("timeZone", ifPresent: record.startTimeZone)
        json.member("durationMinutes", record.durationMinutes)
        json.member("allDay", record.isAllDay)
        json.member("isRecurring", record.isRecurring)
        json.member("status", record.status.rawValue)
        json.member("sensitivity", record.sensitivity.rawValue)
        json.member("busy", record.busy.rawValue)
        json.member("isOrganizer", record.isOrganizer)
        json.member("revision", record.revision)
        json.member("subject", ifPresent: meeting.subject)
        json.member("location", ifPresent: meeting.location)
        json.member("notes", ifPresent: meeting.notes)
        json.member("joinUrl", ifPresent: meeting.joinURL)
        json.member("spaceId", ifPresent: record.spaceID)
        json.member("hasJoinDetails", record.hasJoinDetails)
        json.member("wantsJoinDetails", meeting.wantsJoinDetails)
        if let organizer = meeting.organizer {
            json.name("organizer")
            write(organizer, to: &json)
        }
        json.name("participants")
        json.beginArray()
        for person in meeting.participants { write(person, to: &json) }
        json.endArray()
        json.member("unreadable", ifPresent: meeting.problem)
        json.endObject()
        return json.text()
    }

    private static func write(_ person: MeetingPerson, to json: inout JSONWriter) {
        json.beginObject()
        json.member("email", person.address)
        json.member("name", ifPresent: person.name)
        json.member("userId", ifPresent: person.userID)
        json.member("answer", person.answer)
        json.endObject()
    }
}

extension String {
    fileprivate func padding(_ width: Int) -> String { self + String(repeating: " ", count: max(1, width - count)) }
}
