import CalendarSync
import CalendarTime
import Diagnostics
import ICalendar
import Synchronization
import TestServers
import Testing

@Suite("Meeting reader")
struct MeetingReaderTests {
    @Test("A meeting has its times, people, words and trigger")
    func one() throws {
        let meeting = try #require(try Samples.meetings(Samples.text(Samples.single)).meetings.first)
        #expect(meeting.subject == "Plan")
        #expect("\(meeting.start)" == "2026-01-05T08:00:00Z")
        #expect(meeting.durationMinutes == 60)
        #expect(meeting.startTimeZone == "Europe/Berlin")
        #expect(meeting.isOrganizer && !meeting.isRecurring && !meeting.isAllDay)
        #expect(meeting.participants.map(\.answer) == [.accepted, .needsAction])
        #expect(meeting.trigger == Trigger(.keyword, .space))
        #expect(meeting.id == Meeting.id(user: "alice", uid: "one@example.org", recurrenceID: nil))
        #expect(meeting.id == meeting.seriesID)
        #expect(meeting.revision.stamp == "20260101T000000Z")
    }

    @Test("Each occurrence of an endless series in the window is a meeting of its own, an override in its place")
    func series() throws {
        let override = [
            "UID:one@example.org", "RECURRENCE-ID:20260112T080000Z", "SUMMARY:Moved", "LOCATION:@meet",
            "DTSTART;TZID=Europe/Berlin:20260113T110000", "DURATION:PT30M", "ORGANIZER:mailto:alice@example.org",
        ]
        let cancelled = [
            "UID:one@example.org", "RECURRENCE-ID;TZID=Europe/Berlin:20260119T090000", "STATUS:CANCELLED",
            "DTSTART;TZID=Europe/Berlin:20260119T090000", "ORGANIZER:mailto:alice@example.org",
        ]
        let reading = try Samples.meetings(Samples.text(Samples.series, override, cancelled))
        #expect(reading.problems.isEmpty)
        #expect(
            reading.meetings.map { "\($0.start) \($0.recurrenceID ?? "")" } == [
                "2026-01-05T08:00:00Z 20260105T080000Z", "2026-01-13T10:00:00Z 20260112T080000Z",
                "2026-01-26T08:00:00Z 20260126T080000Z",
            ])
        #expect(Set(reading.meetings.map(\.id)).count == 3)
        #expect(Set(reading.meetings.map(\.seriesID)).count == 1)
        #expect(
            reading.meetings.map { $0.trigger != nil } == [false, true, false],
            "the keyword of one occurrence is its own")
        #expect(reading.meetings[1].spaceKey == reading.meetings[1].id)
        #expect(reading.meetings[0].spaceKey == reading.meetings[0].seriesID)
        #expect(reading.left.values.contains(.cancelled))
    }

    @Test("A private meeting has its times and nothing else", arguments: ["PRIVATE", "CONFIDENTIAL", "X-SECRET"])
    func privacy(_ value: String) throws {
        let reading = try Samples.meetings(Samples.text(Samples.single + ["CLASS:\(value)", "DESCRIPTION:secret"]))
        let meeting = try #require(reading.meetings.first)
        #expect(meeting.subject == nil && meeting.location == nil && meeting.notes == nil && meeting.trigger == nil)
        #expect(meeting.participants.isEmpty && meeting.organizer == nil)
        #expect(meeting.busy == .busy && meeting.durationMinutes == 60 && meeting.sensitivity != .normal)
    }

    @Test("What the user declined is no meeting, and what he has not answered is tentative")
    func answers() throws {
        let invited = Samples.single.map { $0.replacing("ORGANIZER:mailto:alice", with: "ORGANIZER:mailto:carol") }
        func reading(_ answer: String) throws -> MeetingReader.Reading {
            try Samples.meetings(
                Samples.text(invited.map { $0.replacing("ACCEPTED:mailto:alice", with: "\(answer):mailto:ALICE") }))
        }
        #expect(try reading("DECLINED").meetings.isEmpty)
        #expect(try reading("DECLINED").left.values.contains(.declined))
        #expect(try reading("NEEDS-ACTION").meetings.first?.busy == .tentative)
        #expect(try reading("ACCEPTED").meetings.first?.busy == .busy)
        #expect(try reading("ACCEPTED").meetings.first?.isOrganizer == false)
    }

    @Test("All-day and floating times are in the user's zone")
    func userZone() throws {
        let allDay = try Samples.meetings(Samples.text(["UID:1", "DTSTART;VALUE=DATE:20260105"]))
        #expect(
            allDay.meetings.map { "\($0.start) \($0.durationMinutes) \($0.isAllDay)" } == [
                "2026-01-04T23:00:00Z 1440 true"
            ])
        let floating = try Samples.meetings(Samples.text(["UID:1", "DTSTART:20260105T090000"]))
        #expect(floating.meetings.map { "\($0.start)" } == ["2026-01-05T08:00:00Z"])
    }

    @Test("Five hundred attendees, with apostrophes, plus signs and domains in other scripts, are read")
    func many() throws {
        let odd = ["o'neil+x@example.org", "bob@xn--bcher-kva.example", "x@中国.example"]
        let lines = (odd + (0..<500).map { "p\($0)@example.org" }).map { "ATTENDEE;CN=\"A, B\":mailto:\($0)" }
        let meeting = try #require(try Samples.meetings(Samples.text(Samples.single + lines)).meetings.first)
        #expect(meeting.participants.count == 505)
        #expect(meeting.participants.contains { $0.address == CalendarAddress("bob@b\u{FC}cher.example") })
        #expect(meeting.participants.contains { $0.address == CalendarAddress("mailto:o%27neil%2Bx@example.org") })
    }

    @Test(
        "What can not be told is a problem, never another time, and spoils nothing else",
        arguments: [
            ["UID:2", "DTSTART;TZID=Nowhere/Land:20260105T090000"],
            ["UID:2", "DTSTART:20260105T090000Z", "RRULE:FREQ=SECONDLY"],
            ["UID:2"], ["DTSTART:20260105T090000Z"],
            ["UID:one@example.org", "RECURRENCE-ID:x", "DTSTART:20260105T090000Z"],
        ])
    func problems(_ lines: [String]) throws {
        let reading = try Samples.meetings(Samples.text(Samples.single, lines))
        #expect(reading.problems.count == 1)
        #expect(reading.meetings.count == 1)
    }

    @Test("Any object is read and never ends the program", arguments: SeededGenerator.seeds)
    func hostile(_ seed: UInt64) throws {
        var random = SeededGenerator(seed: seed)
        let names = [
            "UID", "DTSTART", "DTEND", "DURATION", "RRULE", "RDATE", "EXDATE", "RECURRENCE-ID", "ATTENDEE", "ORGANIZER",
            "CLASS", "STATUS", "DESCRIPTION", "LOCATION", "SEQUENCE",
        ]
        let values = [
            "20260105T090000Z", "20260105", "99991231T235959Z", "00010101", "FREQ=DAILY", "FREQ=YEARLY;BYMONTHDAY=31",
            "FREQ=DAILY;INTERVAL=9999;COUNT=999999;BYSETPOS=-366", "PT99999999H", "-P1D", "P99999999W", "mailto:%",
            "@meet",
            "FREQ=MONTHLY;BYDAY=-53MO;UNTIL=00010101", "FREQ=YEARLY;BYWEEKNO=-53", "\\", "1", "20260105T090000/PT1H",
        ]
        for _ in 0..<400 {
            let lines = (0..<Int.random(in: 0...8, using: &random)).map { _ in
                (names.randomElement(using: &random) ?? "") + ":" + (values.randomElement(using: &random) ?? "")
            }
            let text = Samples.text(["UID:1", "DTSTART:20260105T090000Z"] + lines, lines)
            let document = try Samples.document(text)
            let reading = Samples.reader.meetings(in: document, etag: "", window: try Samples.window())
            #expect(reading.meetings.count <= MeetingReader.mostMeetings, "seed \(seed)")
            _ = OutOfOffice(user: Samples.alice, zones: .system).absences(in: [document], window: try Samples.window())
            _ = FreeBusy(of: reading.meetings, in: try Samples.window())
            for key in [nil, "20260105T090000Z", "20260105", "x"] {
                let edit = Samples.edit(recurrenceID: key, uid: "1")
                _ = try? Samples.merge.merged(edit, base: document, latest: document)
            }
        }
    }

    @Test("Thousands of overrides in a zone of the object, or in none, look each zone up once")
    func manyOverrides() throws {
        let overrides = (0..<2000).map { number in
            [
                "UID:one@example.org", "DTSTART;TZID=Nowhere:20260105T090000",
                "RECURRENCE-ID:2026\(number % 12 < 9 ? "0" : "")\(number % 12 + 1)05T0900\(number % 50 + 10)Z",
            ]
        }
        let lines = overrides.flatMap { ["BEGIN:VEVENT"] + $0 + ["END:VEVENT"] }
        let text = (["BEGIN:VCALENDAR"] + lines + ["END:VCALENDAR"]).map { $0 + "\n" }.joined()
        let asked = Mutex(0)
        let zones = ZoneCatalogue { _ in
            asked.withLock { $0 += 1 }
            return nil
        }
        let reader = MeetingReader(user: Samples.alice, keywords: Samples.keywords, zones: zones)
        let reading = try reader.meetings(in: Samples.document(text), etag: "", window: Samples.window())
        #expect(reading.meetings.isEmpty)
        #expect(reading.problems.count == 2000)
        #expect(asked.withLock { $0 } == 1)
    }

    @Test("An object with rules without number is refused as a whole, at once")
    func manyRules() throws {
        let rule = ["DTSTART:00010101T090000Z", "RRULE:FREQ=DAILY;COUNT=999999"]
        let lines = (0..<60).flatMap { ["BEGIN:VEVENT", "UID:\($0)"] + rule + ["END:VEVENT"] }
        let text = (["BEGIN:VCALENDAR"] + lines + ["END:VCALENDAR"]).map { $0 + "\n" }.joined()
        let reading = try Samples.meetings(text)
        #expect(reading.meetings.isEmpty)
        #expect(reading.problems == [DiagnosedError(.calendarObjectRefused, fault: .peer, "")])
    }

    @Test(
        "An object with any octets changed is refused or read, and never ends the program",
        arguments: SeededGenerator.seeds)
    func anyOctets(_ seed: UInt64) throws {
        var random = SeededGenerator(seed: seed)
        let zone = [
            "BEGIN:VTIMEZONE", "TZID:Own", "BEGIN:STANDARD", "DTSTART:16010101T030000", "TZOFFSETFROM:+0200",
            "TZOFFSETTO:+0100", "RRULE:FREQ=YEARLY;BYDAY=-1SU;BYMONTH=10", "END:STANDARD", "END:VTIMEZONE",
        ]
        let event = [
            "BEGIN:VEVENT", "UID:one@example.org", "DTSTART;TZID=Own:20260105T090000", "DURATION:P1DT2H",
            "RRULE:FREQ=MONTHLY;COUNT=99;BYDAY=-1MO,2FR;BYSETPOS=1,-1", "EXDATE;TZID=Own:20260202T090000",
            "RDATE;VALUE=PERIOD:20260109T090000Z/PT1H", "ORGANIZER:mailto:alice@xn--bcher-kva.example",
            "DESCRIPTION:a\\nb", "LOCATION:@meet:space", "END:VEVENT",
        ]
        let whole = (["BEGIN:VCALENDAR"] + zone + event + ["END:VCALENDAR"]).map { $0 + "\r\n" }.joined()
        var read = 0
        for _ in 0..<500 {
            var octets = Array(whole.utf8)
            for _ in 0..<Int.random(in: 1...6, using: &random) {
                let place = Int.random(in: 0..<octets.count, using: &random)
                switch Int.random(in: 0..<4, using: &random) {
                case 0: octets[place] = UInt8.random(in: 0...255, using: &random)
                case 1: octets[place] = UInt8.random(in: 48...57, using: &random)
                case 2: octets.insert(octets[Int.random(in: 0..<octets.count, using: &random)], at: place)
                default: octets.remove(at: place)
                }
            }
            guard let document = try? CalendarDocument(parsing: octets) else { continue }
            read += 1
            _ = Samples.reader.meetings(in: document, etag: "", window: try Samples.window())
            for key in [nil, "20260112T080000Z", "20260109T090000Z"] {
                _ = try? Samples.merge.merged(Samples.edit(recurrenceID: key), base: nil, latest: document)
            }
        }
        #expect(read > 100, "seed \(seed)")
    }
}
