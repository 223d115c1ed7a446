import ArgumentParser
import CalendarProtocol
import Diagnostics
import HDSClient
import KMSClient
import WireText

struct MeetingsCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "meetings", abstract: "Your meetings: read them, join them, make and change them.",
        discussion: """
            What is in your calendar is read by your organisation's calendar connector and comes sealed: the cloud sees when you \
            meet, and no text. What you ask for goes to the connector sealed. Times are 2026-12-01T09:00 in the zone of this \
            machine or of --time-zone, or have an offset, 2026-12-01T09:00:00+01:00. An id may be cut short to its beginning.
            """,
        subcommands: [
            List.self, Show.self, Join.self, Attend.self, Create.self, Move.self, Change.self, Cancel.self, Busy.self,
            Away.self,
            Status.self,
        ], defaultSubcommand: List.self)

    struct List: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "List them: from yesterday to a week from now.",
            discussion: "With --json one line for each, with all that is known of it.")
        @OptionGroup var window: WindowOptions
        @OptionGroup var common: CommonOptions

        func run() async throws {
            let zone = try window.zone()
            let (from, to) = (try window.start(zone), try window.end(zone))
            try await common.withClient { client in
                let meetings = try await client.meetings.list(from: from, to: to)
                MeetingPrinter(asJSON: common.json, zone: zone).list(meetings)
            }
        }
    }

    struct Show: AsyncParsableCommand {
        static let configuration = CommandConfiguration(abstract: "Show all that is known of a meeting.")
        @Argument(help: "Id, or its beginning.") var id: String
        @OptionGroup var common: CommonOptions

        func run() async throws {
            let zone = try MeetingZone(nil)
            try await common.withClient { client in
                let meeting = try await client.meetings.find(id)
                MeetingPrinter(asJSON: common.json, zone: zone).show(meeting)
                if let problem = meeting.problem {
                    throw DiagnosedError(.contentUnreadable, fault: .peer, "the meeting can not be read: \(problem)")
                }
            }
        }
    }

    struct Join: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Say where a meeting is met; write it into the calendar when that is yours to do.",
            discussion: """
                For a meeting that you organize, with a keyword in its place and without details, a room is taken from the core \
                and, where the keyword asks for it, a space is made with those who take part. Only rooms on hosts that your \
                domain's profile allows are written.
                """)
        @Argument(help: "Id, or its beginning.") var id: String
        @OptionGroup var common: CommonOptions

        func run() async throws {
            let zone = try MeetingZone(nil)
            try await common.withClient { client in
                let meeting = try await client.meetings.find(id)
                if meeting.wantsJoinDetails {
                    let outcome = try await client.meetings.writeJoinDetails(of: meeting)
                    MeetingPrinter(asJSON: common.json, zone: zone).tell(outcome)
                    guard outcome.result == .refused else { return }
                    throw DiagnosedError(
                        .calendarRefused, fault: .client, "the calendar connector refused it", found: outcome.reason)
                }
                guard let url = meeting.joinURL else {
                    throw DiagnosedError(
                        .calendarRefused, fault: .client, "this meeting has no join details",
                        hint: meeting.record.isOrganizer
                            ? "write a keyword such as @meet into its place" : "its organizer's client writes them")
                }
                if common.json {
                    var json = JSONWriter()
                    json.beginObject()
                    json.member("meeting", meeting.id)
                    json.member("url", url)
                    json.member("spaceId", ifPresent: meeting.record.spaceID)
                    json.endObject()
                    Terminal.output.line(json.text())
                } else {
                    Terminal.output.line(Terminal.output.clean(url))
                }
                let brought = try await client.meetings.bringAll(into: meeting)
                if brought > 0, !common.json { Terminal.output.line("\(brought) more came into its space.") }
            }
        }
    }

    struct Attend: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Stay, and write join details into your meetings as they come.",
            discussion: """
                People who are invited later come into the space of the meeting, and what begins soon is said. With --once it ends \
                when nothing waits any more.
                """)
        @Flag(help: "Do what waits now, and end.") var once = false
        @OptionGroup var common: CommonOptions

        func run() async throws {
            let printer = MeetingPrinter(asJSON: common.json, zone: try MeetingZone(nil))
            let asJSON = common.json
            let once = once
            try await common.withClient { client in
                let reminding = Task {
                    guard !once else { return }
                    try await client.reminders { printer.remind($0) }
                }
                defer { reminding.cancel() }
                try await client.attend(staying: !once) { result, meeting in
                    switch result {
                    case .success(let outcome): printer.tell(outcome)
                    case .failure(let error):
                        if !asJSON {
                            let name = Terminal.error.clean(meeting.subject ?? meeting.id)
                            Terminal.error.line("hds: nothing was written into '\(name)':")
                        }
                        Failure(error, asJSON: asJSON).report()
                    }
                }
            }
        }
    }

    struct Create: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Make a meeting in your calendar, and invite people.",
            discussion: "With @meet or @webex in --location it gets join details from 'hds meetings attend'.")
        @Argument(help: "What it is about.") var subject: String
        @Option(help: ArgumentHelp("When it begins.", valueName: "time")) var start: String
        @Option(help: ArgumentHelp("How long it lasts, in minutes.", valueName: "minutes")) var minutes = 30
        @Option(help: ArgumentHelp("Where it is.", valueName: "place")) var location: String?
        @Option(help: ArgumentHelp("What else there is to say.", valueName: "text")) var notes: String?
        @Option(parsing: .upToNextOption, help: ArgumentHelp("Whom to invite.", valueName: "email")) var with:
            [String] = []
        @Option(help: ArgumentHelp("Time zone of the meeting, such as Europe/Berlin.", valueName: "name"))
        var timeZone: String?
        @OptionGroup var common: CommonOptions

        func validate() throws {
            guard !subject.isEmpty, subject.utf8.count <= 1024 else {
                throw ValidationError("The subject is too long.")
            }
            guard (1...14_400).contains(minutes) else { throw ValidationError("--minutes is 1 to 14400.") }
            guard with.count <= CalendarCommand.mostAttendees else { throw ValidationError("--with has too many.") }
            for email in with where !email.contains("@") { throw ValidationError("'\(email)' is no e-mail address.") }
        }

        func run() async throws {
            let zone = try MeetingZone(timeZone)
            let begin = try zone.time(start, "--start")
            let event = CalendarCommand.Event(
                subject: subject, location: location, notes: notes, start: begin,
                end: begin.adding(seconds: Int64(minutes) * 60), timeZone: zone.name ?? "UTC",
                attendees: with.map { CalendarCommand.Attendee(email: $0) })
            try await common.withClient { client in
                let id = try await client.meetings.create(event)
                guard !common.json else {
                    var json = JSONWriter()
                    json.beginObject()
                    json.member("created", true)
                    json.member("id", ifPresent: id)
                    json.endObject()
                    return Terminal.output.line(json.text())
                }
                let out = Terminal.output
                out.line(out.styled("Made", .green) + " '\(out.clean(subject))', \(zone.text(begin)).")
            }
        }
    }

    struct Move: AsyncParsableCommand {
        static let configuration = CommandConfiguration(abstract: "Give a meeting another time.")
        @Argument(help: "Id, or its beginning.") var id: String
        @Option(help: ArgumentHelp("When it begins.", valueName: "time")) var start: String
        @Option(help: ArgumentHelp("How long it lasts, in minutes; as it was without it.", valueName: "minutes"))
        var minutes: Int?
        @Option(help: ArgumentHelp("Time zone that --start is in.", valueName: "name")) var timeZone: String?
        @OptionGroup var common: CommonOptions

        func validate() throws {
            guard minutes.map({ (1...14_400).contains($0) }) ?? true else {
                throw ValidationError("--minutes is 1 to 14400.")
            }
        }

        func run() async throws {
            let zone = try MeetingZone(timeZone)
            let begin = try zone.time(start, "--start")
            try await common.withClient { client in
                let meeting = try await client.meetings.find(id)
                try await client.meetings.move(meeting, to: begin, minutes: minutes)
                common.tellMeeting(
                    "'\(meeting.subject ?? meeting.id)' begins \(zone.text(begin)) now.", "moved", meeting.id)
            }
        }
    }

    struct Change: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Give a meeting another subject, place or notes.",
            discussion: "Of a series it changes the one occurrence that the id names, as 'move' does.")
        @Argument(help: "Id, or its beginning.") var id: String
        @Option(help: ArgumentHelp("What it is about.", valueName: "text")) var subject: String?
        @Option(help: ArgumentHelp("Where it is.", valueName: "place")) var location: String?
        @Option(help: ArgumentHelp("What else there is to say.", valueName: "text")) var notes: String?
        @OptionGroup var common: CommonOptions

        func validate() throws {
            guard subject != nil || location != nil || notes != nil else {
                throw ValidationError("Name what is to change: --subject, --location or --notes.")
            }
            guard subject.map({ (1...1024).contains($0.utf8.count) }) ?? true else {
                throw ValidationError("--subject has 1 to 1024 octets.")
            }
        }

        func run() async throws {
            try await common.withClient { client in
                let meeting = try await client.meetings.find(id)
                try await client.meetings.change(meeting, subject: subject, location: location, notes: notes)
                common.tellMeeting("'\(subject ?? meeting.subject ?? meeting.id)' is changed.", "changed", meeting.id)
            }
        }
    }

    struct Cancel: AsyncParsableCommand {
        static let configuration = CommandConfiguration(abstract: "Cancel a meeting.")
        @Argument(help: "Id, or its beginning.") var id: String
        @OptionGroup var common: CommonOptions

        func run() async throws {
            try await common.withClient { client in
                let meeting = try await client.meetings.find(id)
                try await client.meetings.cancel(meeting)
                common.tellMeeting("'\(meeting.subject ?? meeting.id)' is cancelled.", "cancelled", meeting.id)
            }
        }
    }

    struct Busy: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Say when people are busy, by the word of your calendar's server.")
        @Argument(help: "E-mail addresses.") var emails: [String]
        @OptionGroup var window: WindowOptions
        @OptionGroup var common: CommonOptions

        func validate() throws {
            guard (1...CalendarCommand.mostEmails).contains(emails.count), emails.allSatisfy({ $0.contains("@") })
            else {
                throw ValidationError("Name 1 to \(CalendarCommand.mostEmails) e-mail addresses.")
            }
        }

        func run() async throws {
            let zone = try window.zone()
            let from = try window.start(zone) ?? .now()
            let to = try window.end(zone) ?? from.adding(seconds: 7 * 86_400)
            guard from < to, to <= from.adding(seconds: 62 * 86_400) else {
                throw ValidationError("--to is after --from, and at most 62 days.")
            }
            try await common.withClient { client in
                for person in try await client.meetings.busy(emails, from: from, to: to) {
                    if common.json { Terminal.output.line(Self.json(person)) } else { Self.print(person, zone) }
                }
            }
        }

        private static func print(_ person: CalendarAnswer.Person, _ zone: MeetingZone) {
            let out = Terminal.output
            out.line(out.styled(out.clean(person.email), .bold))
            guard let spans = person.spans else { return out.line("  nothing is known") }
            if spans.isEmpty { out.line("  free") }
            for span in spans {
                let sameDay = zone.text(span.from).prefix(14) == zone.text(span.to).prefix(14)
                out.line("  \(zone.text(span.from)) - \(zone.text(span.to, day: !sameDay))  \(out.clean(span.kind))")
            }
        }

        private static func json(_ person: CalendarAnswer.Person) -> String {
            var json = JSONWriter()
            json.beginObject()
            json.member("email", person.email)
            json.member("known", person.spans != nil)
            json.name("spans")
            json.beginArray()
            for span in person.spans ?? [] {
                json.beginObject()
                json.member("from", span.from.iso8601)
                json.member("to", span.to.iso8601)
                json.member("kind", span.kind)
                json.endObject()
            }
            json.endArray()
            json.endObject()
            return json.text()
        }
    }

    struct Away: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Say whether somebody of your organisation is out of office, and until when.")
        @Argument(help: "E-mail address.") var email: String
        @OptionGroup var common: CommonOptions

        func run() async throws {
            let zone = try MeetingZone(nil)
            try await common.withClient { client in
                let absence = try await client.meetings.absence(of: email)
                guard !common.json else {
                    var json = JSONWriter()
                    json.beginObject()
                    json.member("email", email)
                    json.member("away", absence != nil)
                    json.member("from", ifPresent: absence?.from.iso8601)
                    json.member("to", ifPresent: absence?.to.iso8601)
                    json.member("text", ifPresent: absence?.text)
                    json.endObject()
                    return Terminal.output.line(json.text())
                }
                let out = Terminal.output
                guard let absence else { return out.line("\(out.clean(email)) has no absence entered.") }
                out.line("\(out.clean(email)) is away from \(zone.text(absence.from)) to \(zone.text(absence.to)).")
                if let text = absence.text { out.line(out.clean(text, lines: true)) }
            }
        }
    }

    struct Status: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Say how the calendar connector gets on with your calendar.")
        @OptionGroup var common: CommonOptions

        func run() async throws {
            let zone = try MeetingZone(nil)
            try await common.withClient { client in
                let status = try await client.meetings.status()
                guard !common.json else {
                    var json = JSONWriter()
                    json.beginObject()
                    json.member("state", status.state)
                    json.member("code", ifPresent: status.code)
                    json.member("since", status.since.iso8601)
                    json.endObject()
                    return Terminal.output.line(json.text())
                }
                let out = Terminal.output
                let code = status.code.map { " (\(out.clean($0)))" } ?? ""
                out.line("\(out.clean(status.state))\(code) since \(zone.text(status.since))")
            }
        }
    }
}

/// Between which times.
struct WindowOptions: ParsableArguments {
    @Option(help: ArgumentHelp("Begin here.", valueName: "time")) var from: String?
    @Option(help: ArgumentHelp("End here.", valueName: "time")) var to: String?
    @Option(help: ArgumentHelp("Time zone for reading and showing times, such as Europe/Berlin.", valueName: "name"))
    var timeZone: String?

    func zone() throws -> MeetingZone { try MeetingZone(timeZone) }
    func start(_ zone: MeetingZone) throws -> Timestamp? { try from.map { try zone.time($0, "--from") } }
    func end(_ zone: MeetingZone) throws -> Timestamp? { try to.map { try zone.time($0, "--to") } }
}

extension CommonOptions {
    fileprivate func tellMeeting(_ text: String, _ member: String, _ id: String) {
        guard json else { return Terminal.output.line(Terminal.output.clean(text)) }
        var json = JSONWriter()
        json.beginObject()
        json.member(member, id)
        json.endObject()
        Terminal.output.line(json.text())
    }
}
