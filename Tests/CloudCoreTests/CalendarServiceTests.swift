import LinkProtocol
import TestServers
import Testing
import WireText

@testable import CloudCore

/// What connectors tell over real links, and what clients see of it: docs/link-protocol.md, Calendars.
@Suite("Calendar service of the core")
struct CalendarServiceTests {
    private static func run(_ body: (CoreBench, TestUser, TestConnector) async throws -> Void) async throws {
        try await CoreBench.run { bench in
            let alice = try await bench.signIn(.alice)
            let connector = try await TestConnector(bench).open()
            try await body(bench, alice, connector)
            await connector.stop()
        }
    }

    private static func list(_ bench: CoreBench, _ user: TestUser, _ query: String = "") async throws -> [JSONNode] {
        let window = query.isEmpty ? "?from=2026-11-30T00:00:00Z&to=2026-12-09T00:00:00Z" : query
        let answer = try await bench.send("GET", "/meetings" + window, token: user.token)
        try #require(answer.status == 200, "\(answer.text)")
        return answer.json["items"]?.elements ?? []
    }

    private static func next(_ events: TestEvents) async throws -> (type: String, data: JSONNode) {
        let frame = try await events.next()
        try await events.acknowledge(frame)
        let data = try #require(frame["data"])
        return (data["eventType"]?.string ?? "", data)
    }

    @Test("a meeting is kept for its user, pushed to the devices, and outlasts a restart")
    func keepAndPush() async throws {
        try await CoreBench.run { bench in
            let alice = try await bench.signIn(.alice)
            let bob = try await bench.signIn(.bob)
            let events = try await bench.events(of: alice)
            let connector = try await TestConnector(bench).open()
            let meeting = TestMeetings.meeting(alice.id)
            #expect(try await connector.tell([TestMeetings.created(meeting)]).status == 200)
            let first = try await Self.next(events)
            #expect(first.type == "calendar.meeting.create")
            #expect(first.data["meeting"]?["encryptedSubject"]?.string == TestTexts.content("budget"))
            // Again without effect; a changed one is an update, whatever the connector calls it.
            #expect(try await connector.tell([TestMeetings.created(meeting)]).status == 200)
            let moved = TestMeetings.meeting(alice.id, revision: 2, start: "2026-12-02T09:00:00Z")
            #expect(try await connector.tell([TestMeetings.created(moved)]).status == 200)
            let second = try await Self.next(events)
            #expect(second.type == "calendar.meeting.update")
            #expect(second.data["meeting"]?["start"]?.string == "2026-12-02T09:00:00.000Z")
            #expect(try await connector.tell([TestMeetings.deleted(alice.id, revision: 3)]).status == 200)
            let third = try await Self.next(events)
            #expect(third.type == "calendar.meeting.delete")
            #expect(third.data["meetingId"]?.string == "m1")
            #expect(
                try await connector.tell([TestMeetings.created(TestMeetings.meeting(alice.id, "m2"))]).status == 200)
            await events.close()
            await connector.stop()
            await bench.stopCore()
            try await bench.start()
            #expect(try await Self.list(bench, alice).map { $0["id"]?.string } == ["m2"])
            #expect(try await Self.list(bench, bob).isEmpty)
            #expect(try await bench.send("GET", "/meetings/m2", token: alice.token).status == 200)
            #expect(try await bench.send("GET", "/meetings/m2", token: bob.token).status == 404)
            #expect(try await bench.send("GET", "/meetings/m1", token: alice.token).status == 404)
            #expect(try await bench.send("GET", "/meetings", token: nil).status == 401)
        }
    }

    @Test("an older revision changes nothing, and what was under way does not bring a deleted meeting back")
    func revisions() async throws {
        try await Self.run { bench, alice, connector in
            func subject() async throws -> String? {
                try await Self.list(bench, alice).first?["encryptedSubject"]?.string
            }
            func tell(_ revision: Int64, _ text: String) async throws {
                let meeting = TestMeetings.meeting(alice.id, revision: revision, subject: text)
                #expect(try await connector.tell([TestMeetings.created(meeting)]).status == 200)
            }
            try await tell(5, "five")
            try await tell(4, "four")
            #expect(try await subject() == TestTexts.content("five"))
            _ = try await connector.tell([TestMeetings.deleted(alice.id, revision: 4)])
            #expect(try await subject() == TestTexts.content("five"), "an older deletion")
            _ = try await connector.tell([TestMeetings.deleted(alice.id, revision: 6)])
            try await tell(6, "late")
            #expect(try await subject() == nil)
            try await tell(7, "again")
            #expect(try await subject() == TestTexts.content("again"))
            // A deletion of what was never there is nothing to complain of.
            #expect(try await connector.tell([TestMeetings.deleted(alice.id, "m9", revision: 1)]).status == 200)
        }
    }

    @Test(
        "a call is taken as a whole or not at all",
        arguments: [
            #"{"type":"calendar.meeting.moved"}"#, #""text""#, #"{}"#,
            TestMeetings.created(#"{"id":"m1"}"#),
            #"{"type":"calendar.meeting.deleted","userId":"nobody","meetingId":"m1","revision":1,"reason":"removed"}"#,
            TestMeetings.deleted(TestPerson.alice.id, revision: -1),
            TestMeetings.deleted(TestPerson.alice.id, revision: 1, reason: "boredom"),
            TestMeetings.deleted(TestPerson.alice.id, "a/b", revision: 1),
            TestMeetings.status(TestPerson.alice.id, "splendid"),
            TestMeetings.status(TestPerson.alice.id, "ok", code: "two words"),
            TestMeetings.status(
                TestPerson.alice.id, "ok", key: "kms://kms.other.example.com/keys/31f0a1b2-0000-4000-8000-0123456789ab"),
            TestMeetings.absence(TestPerson.alice.id, from: "2026-12-02T00:00:00Z", to: "2026-12-01T00:00:00Z"),
            TestMeetings.absence(TestPerson.alice.id, from: "2026-12-02T00:00:00Z", to: nil),
        ])
    func whole(bad: String) async throws {
        try await Self.run { bench, alice, connector in
            let answer = try await connector.tell([TestMeetings.created(TestMeetings.meeting(alice.id)), bad])
            #expect(answer.status == 400)
            #expect(answer.reason?.hasPrefix("event 1: ") == true, "\(answer.reason ?? "")")
            #expect(try await Self.list(bench, alice).isEmpty)
        }
    }

    @Test(
        "a meeting with a member of another form is refused, and so is a text in clear",
        arguments: [
            ("encryptedSubject", #""Budget 2027""#), ("encryptedNotes", "5"), ("encryptedParticipants", "[]"),
            ("encryptionKeyUrl", #""kms://kms.other.example.com/keys/31f0a1b2-0000-4000-8000-0123456789ab""#),
            ("encryptionKeyUrl", "null"), ("id", #""""#), ("id", #""a b""#), ("id", #""..""#),
            ("id", #""personal-room""#),
            ("id", "\"" + String(repeating: "x", count: 129) + "\""), ("start", #""tomorrow""#),
            ("durationMinutes", "-1"), ("durationMinutes", "99999999999"), ("allDay", #""no""#),
            ("participantIds", #"["bob@example.com"]"#), ("trigger", #"{"kind":"whim","action":"space"}"#),
            ("meetingJoinInfo", #"{"meetingJoinURL":"https://meet.example.com/1"}"#), ("spaceId", #""here""#),
            ("revision", "1.5"), ("userId", #""alice""#), ("hasJoinDetails", "null"),
            ("icalUid", #""uid of a person""#),
        ])
    func forms(member: String, value: String) async throws {
        try await Self.run { bench, alice, connector in
            let meeting = TestMeetings.meeting(alice.id, more: [member: value])
            let answer = try await connector.tell([TestMeetings.created(meeting)])
            #expect(answer.status == 400, "\(answer)")
            #expect(try await Self.list(bench, alice).isEmpty)
        }
    }

    @Test("members that are not known are left out, so that nothing in clear gets through")
    func unknownMembers() async throws {
        try await Self.run { bench, alice, connector in
            let meeting = TestMeetings.meeting(alice.id, more: ["subject": #""Budget 2027""#])
            #expect(try await connector.tell([TestMeetings.created(meeting)]).status == 200)
            let answer = try await bench.send("GET", "/meetings/m1", token: alice.token)
            #expect(answer.status == 200)
            #expect(!answer.text.contains("Budget"))
        }
    }

    @Test("a connector writes for users of its own organisation only, and other services not at all")
    func walls() async throws {
        try await Self.run { bench, alice, connector in
            let stranger = try await TestConnector(bench, organisation: "other", issuer: bench.foreign).open()
            let key = TestTexts.key.replacing("kms.acme.example.com", with: "kms.other.example.com")
            let forged = TestMeetings.meeting(alice.id, more: ["encryptionKeyUrl": "\"\(key)\""])
            // The id counts together with the other organisation: it is somebody else.
            #expect(try await stranger.tell([TestMeetings.created(forged)]).status == 200)
            #expect(try await stranger.tell([TestMeetings.status(alice.id, "ok", key: key)]).status == 200)
            #expect(try await stranger.tell([TestMeetings.created(TestMeetings.meeting(alice.id))]).status == 400)
            #expect(try await Self.list(bench, alice).isEmpty)
            #expect(try await bench.send("GET", "/calendar", token: alice.token).status == 404)
            #expect(try await connector.tell([TestMeetings.created(TestMeetings.meeting(alice.id))]).status == 200)
            #expect(try await stranger.tell([TestMeetings.deleted(alice.id, revision: 99)]).status == 200)
            #expect(try await Self.list(bench, alice).count == 1)
            await stranger.stop()
            let indexer = try await TestConnector(bench, service: "indexer").open()
            await #expect(throws: TestConnector.Refused(reason: .unknownDestination)) {
                _ = try await indexer.tell([])
            }
            await indexer.stop()
        }
    }

    @Test(
        "every character that an id may have stands in a URL as it is",
        arguments: ["a:b=c@d+e~f_g.h-1", "personal", "..."])
    func ids(id: String) async throws {
        try await Self.run { bench, alice, connector in
            let meeting = TestMeetings.created(TestMeetings.meeting(alice.id, id))
            #expect(try await connector.tell([meeting]).status == 200)
            let answer = try await bench.send("GET", "/meetings/\(id)", token: alice.token)
            #expect(answer.json["id"]?.string == id, "\(answer.text)")
            #expect(try await bench.send("POST", "/meetings/\(id)/room", token: alice.token).status == 201)
        }
    }

    @Test("people who have not logged in yet find their meetings when they do")
    func beforeTheLogin() async throws {
        try await Self.run { bench, _, connector in
            let meeting = TestMeetings.created(TestMeetings.meeting(TestPerson.bob.id))
            #expect(try await connector.tell([meeting]).status == 200)
            let bob = try await bench.signIn(.bob)
            #expect(try await Self.list(bench, bob).count == 1)
        }
    }

    @Test("the list has what goes on in the window, by start")
    func window() async throws {
        try await Self.run { bench, alice, connector in
            let meetings = [
                ("late", "2026-12-03T10:00:00Z", 30), ("early", "2026-12-01T10:00:00Z", 30),
                ("long", "2026-11-20T10:00:00Z", 20 * 1440), ("over", "2026-11-28T10:00:00Z", 30),
                ("point", "2026-12-01T00:00:00Z", 0), ("next", "2026-12-04T00:00:00Z", 30),
            ]
            _ = try await connector.tell(
                meetings.map { id, start, minutes in
                    TestMeetings.created(
                        TestMeetings.meeting(alice.id, id, start: start, minutes: Int64(minutes)))
                })
            func ids(_ query: String) async throws -> [String] {
                try await Self.list(bench, alice, query).compactMap { $0["id"]?.string }
            }
            let window = "?from=2026-12-01T00:00:00Z&to=2026-12-04T00:00:00Z"
            #expect(try await ids(window) == ["long", "point", "early", "late"])
            let few = try await bench.send("GET", "/meetings\(window)&limit=2", token: alice.token)
            #expect(few.json["more"]?.boolean == true)
            #expect(few.json["items"]?.elements?.count == 2)
            for query in ["?from=yesterday", "?limit=0", "?limit=100000", "?to="] {
                #expect(try await bench.send("GET", "/meetings" + query, token: alice.token).status == 400)
            }
        }
    }

    @Test("without a window the list has a day back and a week on")
    func standardWindow() async throws {
        try await Self.run { bench, alice, connector in
            let now = Timestamp.now()
            let day: Int64 = 86_400
            let times = [("old", -2 * day), ("back", -day / 2), ("on", 6 * day), ("far", 8 * day)]
            _ = try await connector.tell(
                times.map { id, seconds in
                    let start = now.adding(seconds: seconds).iso8601
                    return TestMeetings.created(TestMeetings.meeting(alice.id, id, start: start))
                })
            let answer = try await bench.send("GET", "/meetings", token: alice.token)
            #expect(answer.json["items"]?.elements?.compactMap { $0["id"]?.string } == ["back", "on"])
        }
    }

    @Test("presence is for the own organisation, and changes are pushed once")
    func presence() async throws {
        try await CoreBench.run { bench in
            let alice = try await bench.signIn(.alice)
            let bob = try await bench.signIn(.bob)
            let events = try await bench.events(of: alice)
            let connector = try await TestConnector(bench).open()
            let away = TestMeetings.absence(
                alice.id, from: "2026-12-24T00:00:00Z", to: "2027-01-02T00:00:00Z", text: "skiing")
            for _ in 0..<2 { #expect(try await connector.tell([away]).status == 200) }
            let told = try await Self.next(events)
            #expect(told.type == "presence.outOfOffice")
            #expect(told.data["outOfOffice"]?["from"]?.string == "2026-12-24T00:00:00.000Z")
            let seen = try await bench.send("GET", "/presence/\(alice.id)", token: bob.token)
            #expect(seen.json["outOfOffice"]?["encryptedText"]?.string == TestTexts.content("skiing"))
            let none = TestMeetings.absence(alice.id, from: nil, to: nil)
            #expect(try await connector.tell([none]).status == 200)
            #expect(try await Self.next(events).data["outOfOffice"]?.isNull == true)
            let after = try await bench.send("GET", "/presence/\(alice.id)", token: bob.token)
            #expect(after.status == 200)
            #expect(after.json["outOfOffice"]?.isNull == true)
            let mallory = try bench.foreign.userToken(.bob)
            #expect(try await bench.send("GET", "/presence/\(alice.id)", token: mallory).status == 404)
            await events.close()
            await connector.stop()
        }
    }

    @Test("a status is told and pushed, and with off all that was kept goes")
    func leaving() async throws {
        try await CoreBench.run { bench in
            let alice = try await bench.signIn(.alice)
            let events = try await bench.events(of: alice)
            let connector = try await TestConnector(bench).open()
            #expect(try await bench.send("GET", "/calendar", token: alice.token).status == 404)
            #expect(try await connector.tell([TestMeetings.status(alice.id, "ok")]).status == 200)
            #expect(try await Self.next(events).type == "connector.user.status")
            let known = try await bench.send("GET", "/calendar", token: alice.token)
            #expect(known.json["state"]?.string == "ok")
            #expect(known.json["calendarKeyUrl"]?.string == TestTexts.key)
            // An error names no key; the one that is known stays.
            #expect(
                try await connector.tell([TestMeetings.status(alice.id, "error", code: "password", key: nil)]).status
                    == 200)
            let wrong = try await bench.send("GET", "/calendar", token: alice.token)
            #expect(wrong.json["code"]?.string == "password")
            #expect(wrong.json["calendarKeyUrl"]?.string == TestTexts.key)
            _ = try await connector.tell([
                TestMeetings.created(TestMeetings.meeting(alice.id)),
                TestMeetings.absence(alice.id, from: "2026-12-24T00:00:00Z", to: "2027-01-02T00:00:00Z"),
                TestMeetings.status(alice.id, "off", code: "left", key: nil),
            ])
            #expect(try await Self.list(bench, alice).isEmpty)
            #expect(
                try await bench.send("GET", "/presence/\(alice.id)", token: alice.token).json["outOfOffice"]?.isNull
                    == true)
            let gone = try await bench.send("GET", "/calendar", token: alice.token)
            #expect(gone.json["state"]?.string == "off")
            #expect(gone.json["calendarKeyUrl"] == nil)
            await events.close()
            await connector.stop()
        }
    }

    @Test("a reminder goes to the devices of the meeting's user and is not kept; one that comes late goes nowhere")
    func reminders() async throws {
        let folder = TemporaryFolder()
        let store = try CloudStore(path: folder.path + "/core.sqlite")
        let user = TestPerson.alice.id
        let now = try #require(Timestamp(iso8601: "2026-12-01T08:55:00Z"))
        func take(_ texts: String...) async throws -> [CalendarService.Notice] {
            let news = try texts.map {
                try CalendarNews(JSONDocument(text: $0).root, cluster: "kms://kms.acme.example.com")
            }
            return try await store.take(news, of: "acme", now: now)
        }
        func reminder(_ start: String, meeting: String = "m1") -> String {
            #"{"type":"calendar.reminder","userId":"\#(user)","meetingId":"\#(meeting)","start":"\#(start)","subject":"x"}"#
        }
        _ = try await take(TestMeetings.created(TestMeetings.meeting(user)))
        let told = try await take(reminder("2026-12-01T09:00:00Z"), reminder("2026-12-01T08:55:00Z"))
        let start = try #require(Timestamp(iso8601: "2026-12-01T09:00:00Z"))
        #expect(
            told == [.reminder(UserKey(organisation: "acme", user: user), meeting: "m1", start: start)])
        #expect(try await take(reminder("2026-12-01T09:00:00Z", meeting: "none")).isEmpty)
        await #expect(throws: Refusal.self) { try await take(reminder("soon")) }
        try store.close()
    }

    @Test("of whom no connector has told for long the calendar is forgotten, and of others it is not")
    func silence() async throws {
        let folder = TemporaryFolder()
        let store = try CloudStore(path: folder.path + "/core.sqlite")
        let (alice, bob) = (TestPerson.alice.id, TestPerson.bob.id)
        let start = try #require(Timestamp(iso8601: "2026-12-01T08:00:00Z"))
        func tell(_ user: String, at now: Timestamp) async throws {
            let news = try [
                TestMeetings.created(TestMeetings.meeting(user, start: "2030-01-01T00:00:00Z")),
                TestMeetings.status(user, "ok"),
            ].map { try CalendarNews(JSONDocument(text: $0).root, cluster: "kms://kms.acme.example.com") }
            _ = try await store.take(news, of: "acme", now: now)
        }
        func meetings(_ user: String) async throws -> Int {
            try await store.meetings(
                of: UserKey(organisation: "acme", user: user), from: start,
                to: start.adding(seconds: 10 * 365 * 86_400), limit: 10, octets: 1 << 20
            ).items.count
        }
        try await tell(alice, at: start)
        try await tell(bob, at: start)
        let later = start.adding(seconds: 29 * 86_400)
        try await tell(bob, at: later)
        #expect(try await store.forgetSilentCalendars(heardBefore: start, now: later).isEmpty)
        let end = start.adding(seconds: 31 * 86_400)
        let notices = try await store.forgetSilentCalendars(heardBefore: end.adding(seconds: -30 * 86_400), now: end)
        guard case .status(let user, let status)? = notices.first, notices.count == 1 else {
            Issue.record("nobody was told")
            return
        }
        #expect(user.user == alice && status.state == "off" && status.code == "connector-silent")
        #expect(try await meetings(alice) == 0)
        #expect(try await meetings(bob) == 1)
        // Once; and whoever is looked after again has meetings again.
        #expect(try await store.forgetSilentCalendars(heardBefore: end.adding(seconds: -30 * 86_400), now: end).isEmpty)
        try await tell(alice, at: end)
        #expect(try await meetings(alice) == 1)
        try store.close()
    }

    @Test(
        "whatever a connector sends gets an answer, and a call that was cut or changed stores a whole meeting or none")
    func mutations() async throws {
        let folder = TemporaryFolder()
        let store = try CloudStore(path: folder.path + "/core.sqlite")
        let service = CalendarService(
            store: store, events: EventHub(clock: { 0 }, wall: { .now() }), wall: { .now() })
        let seed = UInt64.random(in: 0...UInt64.max)
        var generator = Seeded(state: seed)
        let user = TestPerson.alice.id
        let valid = Array(
            #"{"events":[\#(TestMeetings.created(TestMeetings.meeting(user))),\#(TestMeetings.status(user, "ok"))]}"#
                .utf8)
        for _ in 0..<2_000 {
            var octets = valid
            for _ in 0...Int.random(in: 0...3, using: &generator) {
                let place = Int.random(in: 0..<octets.count, using: &generator)
                switch Int.random(in: 0..<4, using: &generator) {
                case 0: octets[place] = UInt8.random(in: 0...255, using: &generator)
                case 1: octets.remove(at: place)
                case 2: octets.insert(UInt8(ascii: "\""), at: place)
                default: octets.removeSubrange(place..<min(octets.count, place + 40))
                }
                if octets.isEmpty { octets = valid }
            }
            let answer = await service.reply(to: octets, of: "acme", cluster: "kms://kms.acme.example.com")
            let status = try JSONDocument(answer).root["status"]?.integer
            #expect(status == 200 || status == 400, "seed \(seed): \(status ?? 0)")
        }
        try store.close()
    }

    private struct Seeded: RandomNumberGenerator {
        var state: UInt64
        mutating func next() -> UInt64 {
            state = state &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
            return state ^ (state >> 29)
        }
    }

    @Test("a user has at most 10,000 meetings and 64 MiB of them")
    func limits() async throws {
        let folder = TemporaryFolder()
        let store = try CloudStore(path: folder.path + "/core.sqlite")
        let user = TestPerson.alice.id
        func news(_ count: Int, _ prefix: String, octets: Int = 300) -> [CalendarNews] {
            (0..<count).map { place in
                .meeting(
                    MeetingRecord(
                        user: user, id: "\(prefix)\(place)", series: "s", revision: 1, start: .init(seconds: 0),
                        end: .init(seconds: 60), space: nil, json: String(repeating: "x", count: octets)))
            }
        }
        _ = try await store.take(news(CloudStore.maximumMeetings, "a"), of: "acme", now: .now())
        await #expect(throws: Refusal.self) { _ = try await store.take(news(1, "b"), of: "acme", now: .now()) }
        // One goes, one comes, in one call.
        let gone = CalendarNews.deleted(user: user, meeting: "a1", revision: 2, reason: "cancelled")
        _ = try await store.take([gone] + news(1, "b"), of: "acme", now: .now())
        await #expect(throws: Refusal.self) {
            _ = try await store.take(news(400, "c", octets: 200 << 10), of: "other", now: .now())
        }
        // What is left of deleted meetings goes after its day.
        try await store.forgetMeetings(deletedBefore: .now().adding(seconds: 60), unusedSince: .init(seconds: 0))
        _ = try await store.take(news(1, "a"), of: "acme", now: .now())
        try store.close()
    }
}
