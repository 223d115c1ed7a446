import CalendarProtocol
import Cryptography
import Diagnostics
import KMSClient
import SecretMemory
import Testing
import WireText

@Suite("What goes between client, core and connector of calendars")
struct CalendarWireTests {
    private static let time = Timestamp(milliseconds: 1_800_000_000_000)

    private static func meeting() throws -> MeetingRecord {
        let key = try SymmetricKey.random()
        var meeting = MeetingRecord(
            id: "m1", userID: "u1", seriesID: "s1", icalUID: "d1", recurrenceID: "20270115T080000Z", revision: 7,
            start: time, startTimeZone: "Europe/Berlin", durationMinutes: 45, keyURI: "kms://kms.example/keys/1")
        meeting.subject = try EncryptedText(encrypting: "Quarter", under: key)
        meeting.participants = try EncryptedText(encrypting: "[]", under: key)
        meeting.participantIDs = ["u2", "u3"]
        meeting.trigger = .init(.keyword, .space)
        meeting.joinInfo = .init(uri: nil, url: try EncryptedText(encrypting: "https://meet.example/1", under: key))
        meeting.hasJoinDetails = true
        meeting.isOrganizer = true
        meeting.isRecurring = true
        meeting.sensitivity = .personal
        meeting.busy = .outOfOffice
        return meeting
    }

    @Test("A meeting that was written is read back the same")
    func meetingRoundTrip() throws {
        let meeting = try Self.meeting()
        var json = JSONWriter()
        meeting.write(to: &json)
        #expect(try MeetingRecord(from: JSONDocument(json.bytes()).root) == meeting)
    }

    @Test(
        "A meeting without a member that it needs is refused by its name",
        arguments: ["id", "userId", "revision", "start", "durationMinutes", "encryptionKeyUrl", "status", "busy"])
    func missingMember(_ name: String) throws {
        var json = JSONWriter()
        try Self.meeting().write(to: &json)
        let broken = json.text().replacing("\"\(name)\":", with: "\"other\":")
        let error = #expect(throws: DiagnosedError.self) { try MeetingRecord(from: JSONDocument(text: broken).root) }
        #expect(error?.expected?.contains(name) == true)
    }

    private static let id = "0b8cfd7e-5b1f-4f0e-9b0a-6f3a3f0b1c2d"

    @Test(
        "A command that was written is read back the same",
        arguments: [
            CalendarCommand.Action.putJoinDetails(
                meetingID: "m1", revision: 3, .init(url: "https://meet.example/1", pin: "42", spaceID: "c1")),
            .createEvent(
                .init(
                    subject: "A \"b\"\n", start: time, end: time.adding(seconds: 60), timeZone: "Asia/Tokyo",
                    attendees: [.init(email: "o'neil+x@example.com", name: "O")])),
            .updateEvent(meetingID: "m1", revision: 0, .init(location: "@meet")),
            .deleteEvent(meetingID: "m1", revision: 9),
            .freeBusy(from: time, to: time.adding(seconds: 86_400), emails: ["a@example.com"]),
            .list(from: time, to: time.adding(seconds: 86_400)),
        ])
    func commandRoundTrip(_ action: CalendarCommand.Action) throws {
        let command = CalendarCommand(id: Self.id, issued: Self.time, userID: "u1", action)
        #expect(try CalendarCommand(parsing: command.encoded()) == command)
    }

    @Test(
        "What is no command is refused",
        arguments: [
            "", "[]", "{}", #"{"action":"list"}"#,
            #"{"action":"rm","id":"\#(id)","issued":"2027-01-15T08:00:00Z","userId":"u"}"#,
            #"{"action":"list","id":"\#(id)","issued":"2027-01-15T08:00:00Z","userId":"u","from":"2027-01-15T08:00:00Z","to":"2028-01-15T08:00:00Z"}"#,
            #"{"action":"freebusy","id":"\#(id)","issued":"2027-01-15T08:00:00Z","userId":"u","from":"2027-01-15T08:00:00Z","to":"2027-01-16T08:00:00Z","emails":[]}"#,
        ])
    func malformed(_ text: String) {
        let error = #expect(throws: DiagnosedError.self) { try CalendarCommand(parsing: text) }
        #expect(error?.code == .calendarWire)
    }

    @Test("An answer is read by whoever asked, and by nobody who asked something else")
    func answers() throws {
        let answer = CalendarAnswer(
            to: Self.id, .conflict, reason: "changed", latest: 4, meetingID: "m1",
            busy: [
                .init(email: "a@x", spans: [.init(from: Self.time, to: Self.time.adding(seconds: 9), kind: "busy")]),
                .init(email: "b@x", spans: nil),
            ],
            meetings: [
                .init(
                    id: "m1", revision: 4, start: Self.time, durationMinutes: 5, subject: "s", location: nil,
                    joinURL: nil)
            ])
        #expect(try CalendarAnswer(parsing: answer.encoded(), to: Self.id) == answer)
        #expect(throws: DiagnosedError.self) {
            try CalendarAnswer(parsing: answer.encoded(), to: "1b8cfd7e-5b1f-4f0e-9b0a-6f3a3f0b1c2d")
        }
    }

    @Test("People of a meeting are read back, and a list with one that is none is none")
    func people() {
        let people = [
            MeetingPerson(address: "mailto:a@x", name: "A", userID: "u", answer: "accepted"),
            MeetingPerson(address: "room@x", isRequired: false, isResource: true),
        ]
        #expect(MeetingPerson.people(in: MeetingPerson.text(people)) == people)
        #expect(MeetingPerson.people(in: #"[{"name":"A"}]"#) == nil)
    }

    @Test("A call carries its events in their order")
    func calls() throws {
        let events: [CalendarEvent] = [
            .created(try Self.meeting()), .deleted(userID: "u1", meetingID: "m2", revision: 8, .cancelled),
            .absence(userID: "u1", .init(from: Self.time, to: Self.time.adding(seconds: 5))),
            .absence(userID: "u1", nil),
            .status(
                userID: "u1", .error, code: "calendar-credentials-refused", since: Self.time, keyURI: "kms://k/keys/1"),
        ]
        let root = try JSONDocument(CalendarEvent.call(events.map { $0.encoded() })).root
        let read = try #require(root["events"]?.elements)
        #expect(
            read.map { $0["type"]?.string } == [
                "calendar.meeting.created", "calendar.meeting.deleted", "presence.outOfOffice", "presence.outOfOffice",
                "connector.user.status",
            ])
        #expect(read[3]["from"]?.isNull == true)
    }
}
