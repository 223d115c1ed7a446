import CalendarProtocol
import Diagnostics
import KMSClient
import KMSProtocol
import Synchronization
import Testing
import WireText

@testable import HDSClient

@Suite("Meetings of a client")
struct MeetingTests {
    private static let bob = "5b1e0000-0000-4000-8000-000000000002"
    private static let mallory = "5b1e0000-0000-4000-8000-000000000666"

    /// A client of Alice, whose calendar a connector looks after; Bob is known to the core.
    private static func run(
        _ body: (SocketWorld, TestCalendar, Client) async throws -> Void
    ) async throws {
        try await SocketWorld.run { world in
            let calendar = try await TestCalendar(world).open()
            try await calendar.tellStatus()
            try await world.withClient(world.loggedIn("bob", email: "bob@example.com")) { client in
                _ = try await client.changes(in: UUIDText.random())
            }
            try await world.withClient(world.loggedIn()) { client in try await body(world, calendar, client) }
            await calendar.stop()
        }
    }

    private static let people = [
        MeetingPerson(address: "alice@example.com", name: "Alice", userID: TestKMS.user, answer: "accepted"),
        MeetingPerson(address: "bob@example.com", name: "Bob", userID: bob),
        MeetingPerson(address: "carol@elsewhere.example", name: "Carol"),
    ]

    /// A meeting that asks for a space.
    @discardableResult
    private static func plan(
        _ calendar: TestCalendar, _ id: String, _ subject: String, at start: Timestamp,
        people: [MeetingPerson] = people, change: (inout MeetingRecord) -> Void = { _ in }
    ) async throws -> MeetingRecord {
        let record = try calendar.meeting(id, subject, start: start, people: people) { record in
            record.trigger = .init(.keyword, .space)
            change(&record)
        }
        try await calendar.tell([.created(record)])
        return record
    }

    @Test("what the connector sealed is shown in clear, and what is under a key of somebody else is not")
    func list() async throws {
        try await Self.run { world, calendar, client in
            let start = world.clock.now.adding(seconds: 3600)
            try await Self.plan(calendar, "m1", "Budget", at: start)
            let foreign = try TestCalendar.makeKey(
                world.kms, readers: [TestKMS.user, TestCalendar.service, Self.mallory], in: "third reader")
            let person = try TestCalendar.makeKey(world.kms, readers: [TestKMS.user, Self.mallory], in: "a person")
            let closed = try TestCalendar.makeKey(world.kms, readers: [TestCalendar.service], in: "closed")
            for (id, key) in [("m2", foreign), ("m3", person), ("m4", closed)] {
                try await calendar.tell([
                    .created(try calendar.meeting(id, "Trick", start: start.adding(seconds: 60), under: key))
                ])
            }
            let meetings = try await client.meetings.list()
            #expect(meetings.map(\.id) == ["m1", "m2", "m3", "m4"])
            #expect(meetings.map(\.subject) == ["Budget", nil, nil, nil])
            #expect(meetings[0].location == "@meet")
            #expect(meetings[0].participants == Self.people)
            #expect(meetings.dropFirst().allSatisfy { $0.problem != nil })
            #expect(try await client.meetings.find("m1").subject == "Budget")
            #expect(await code { _ = try await client.meetings.find("nowhere") } == .meetingUnknown)
            #expect(await code { _ = try await client.meetings.find("../devices") } == .meetingUnknown)
        }
    }

    @Test("join details are written once, with a room of the core and a space of those who are invited")
    func join() async throws {
        try await Self.run { world, calendar, client in
            // In clear the core says that Mallory takes part, too; she is not in the sealed list.
            let third = MeetingPerson(address: "dan@example.com", userID: "5b1e0000-0000-4000-8000-0000000000dd")
            let resource = MeetingPerson(address: "room@example.com", userID: Self.mallory, isResource: true)
            let declined = MeetingPerson(address: "eve@example.com", userID: Self.mallory, answer: "declined")
            try await Self.plan(
                calendar, "m1", "Budget 2027", at: world.clock.now.adding(seconds: 3600),
                people: Self.people + [third, resource, declined]
            ) { $0.participantIDs = [Self.bob, Self.mallory] }
            let outcome = try await client.meetings.writeJoinDetails(of: client.meetings.meeting("m1"))
            #expect(outcome.result == .written)
            let written = try await client.meetings.meeting("m1")
            #expect(written.record.hasJoinDetails)
            #expect(written.joinURL == outcome.url)
            #expect(outcome.url.hasPrefix(world.core.url + "/meet/"))
            let space = try await client.spaces.space(id: try #require(written.record.spaceID))
            #expect(space.name == "Budget 2027")
            #expect(Set(space.participants) == [TestKMS.user, Self.bob])
            guard case .putJoinDetails(_, _, let join) = calendar.state.withLock({ $0.commands.last?.action }) else {
                Issue.record("no details were sent")
                return
            }
            #expect(join.spaceID == space.id)
            #expect(join.spaceTitle == "Budget 2027")
            #expect(join.sip?.hasSuffix("@localhost") == true)
            #expect(await code { _ = try await client.meetings.writeJoinDetails(of: written) } == .calendarRefused)
            #expect(calendar.state.withLock { $0.commands.count } == 1)
        }
    }

    @Test("two people who meet alone have their own space, and every occurrence of a series the same")
    func spaces() async throws {
        try await Self.run { world, calendar, client in
            let pair = try await client.spaces.create(name: "Alice and Bob", with: ["bob@example.com"])
            let start = world.clock.now.adding(seconds: 3600)
            try await Self.plan(calendar, "m1", "Lunch", at: start, people: Array(Self.people.prefix(2)))
            let outcome = try await client.meetings.writeJoinDetails(of: client.meetings.meeting("m1"))
            #expect(outcome.space == pair.id)
            let more = Self.people + [MeetingPerson(address: "eve@example.com")]
            for id in ["m2", "m3"] {
                try await Self.plan(calendar, id, "Weekly", at: start, people: more) { $0.seriesID = "weekly" }
            }
            let first = try await client.meetings.writeJoinDetails(of: client.meetings.meeting("m2"))
            let second = try await client.meetings.writeJoinDetails(of: client.meetings.meeting("m3"))
            #expect(first.space == second.space)
            #expect(first.space != pair.id)
            #expect(first.url == second.url)
            let personal = try calendar.meeting("m4", "Call me", start: start) {
                $0.trigger = .init(.keyword, .personalRoom)
            }
            try await calendar.tell([.created(personal)])
            let own = try await client.meetings.writeJoinDetails(of: client.meetings.meeting("m4"))
            #expect(own.space == nil)
            #expect(own.url != first.url)
        }
    }

    @Test("a meeting that changes meanwhile is read again, and given up after five times")
    func conflicts() async throws {
        try await Self.run { world, calendar, client in
            let start = world.clock.now.adding(seconds: 3600)
            try await Self.plan(calendar, "m1", "Budget", at: start)
            calendar.state.withLock { $0.interruptions = 4 }
            let meeting = try await client.meetings.meeting("m1")
            #expect(try await client.meetings.writeJoinDetails(of: meeting).result == .written)
            #expect(calendar.state.withLock { $0.commands.count } == 5)
            try await Self.plan(calendar, "m2", "Plans", at: start)
            calendar.state.withLock { $0.interruptions = 100 }
            #expect(
                await code {
                    _ = try await client.meetings.writeJoinDetails(of: client.meetings.meeting("m2"))
                } == .meetingChanged)
            #expect(calendar.state.withLock { $0.commands.count } == 10)
        }
    }

    @Test(
        "a change that the core withholds stops what a user decided, and not join details, which the connector judges")
    func withheld() async throws {
        try await Self.run { world, calendar, client in
            let start = world.clock.now.adding(seconds: 3600)
            try await Self.plan(calendar, "m1", "Budget", at: start)
            // The calendar has another revision, of which the core says nothing.
            let revision = calendar.next()
            calendar.state.withLock { $0.meetings["m1"]?.revision = revision }
            let meeting = try await client.meetings.meeting("m1")
            #expect(await code { try await client.meetings.cancel(meeting) } == .meetingChanged)
            #expect(calendar.state.withLock { $0.meetings["m1"] != nil })
            #expect(try await client.meetings.writeJoinDetails(of: meeting).result == .written)
        }
    }

    @Test("a host that is not on the list is written nowhere")
    func hosts() async throws {
        try await Self.run { world, calendar, client in
            try await Self.plan(calendar, "m1", "Budget", at: world.clock.now.adding(seconds: 3600))
            let strict = Meetings(
                cloud: client.cloud, keys: await client.meetings.keys, spaces: client.spaces, account: client.account,
                hosts: JoinHosts(["meet.example.net"]), now: { world.clock.now }, sleep: .real)
            #expect(
                await code { _ = try await strict.writeJoinDetails(of: client.meetings.meeting("m1")) }
                    == .joinHostRefused)
            #expect(calendar.state.withLock { $0.commands.isEmpty })
            #expect(try await client.spaces.all().isEmpty)
        }
    }

    @Test("who stays writes details into what comes, and no failure with one keeps another from it")
    func attend() async throws {
        try await Self.run { world, calendar, client in
            let (told, sink) = AsyncStream.makeStream(of: String.self)
            let start = world.clock.now.adding(seconds: 3600)
            try await Self.plan(calendar, "m1", "Before", at: start)
            let task = Task {
                try await client.attend(staying: true) { result, meeting in
                    switch result {
                    case .success(let outcome): sink.yield("\(meeting.id) \(outcome.result)")
                    case .failure(let error): sink.yield("\(meeting.id) \(error.code.rawValue)")
                    }
                }
            }
            var iterator = told.makeAsyncIterator()
            #expect(await iterator.next() == "m1 written")
            let person = try TestCalendar.makeKey(world.kms, readers: [TestKMS.user, Self.mallory], in: "a person")
            let trick = try calendar.meeting("m2", "Trick", start: start, under: person) {
                $0.trigger = .init(.keyword, .space)
            }
            try await calendar.tell([.created(trick)])
            #expect(await iterator.next() == "m2 content-unreadable")
            try await Self.plan(calendar, "m3", "After", at: start)
            #expect(await iterator.next() == "m3 written")
            task.cancel()
            _ = await task.result
            #expect(calendar.state.withLock { $0.commands.count } == 2)
            // Nothing waits any more.
            try await client.attend(staying: false) { _, meeting in
                #expect(meeting.id == "m2", "\(meeting.id) was tried again")
            }
        }
    }

    @Test("meetings are made, moved and cancelled by sealed commands, and the core sees none of their texts")
    func commands() async throws {
        try await Self.run { world, calendar, client in
            let start = world.clock.now.adding(seconds: 7200)
            let event = CalendarCommand.Event(
                subject: "Secret plan", start: start, end: start.adding(seconds: 1800), timeZone: "Europe/Berlin",
                attendees: [.init(email: "bob@example.com")])
            #expect(try await client.meetings.create(event) == "new")
            #expect(calendar.state.withLock { $0.commands.last?.action } == .createEvent(event))
            try await Self.plan(calendar, "m1", "Budget", at: start)
            let meeting = try await client.meetings.meeting("m1")
            try await client.meetings.move(meeting, to: start.adding(seconds: 3600), minutes: nil)
            #expect(try await client.meetings.meeting("m1").record.start == start.adding(seconds: 3600))
            // What the user saw is not what is there: nothing happens.
            #expect(await code { try await client.meetings.cancel(meeting) } == .meetingChanged)
            try await client.meetings.cancel(try await client.meetings.meeting("m1"))
            #expect(try await client.meetings.list().isEmpty)
            let busy = try await client.meetings.busy(
                ["bob@example.com", "carol@elsewhere.example"], from: start, to: start.adding(seconds: 86_400))
            #expect(busy.map(\.spans?.count) == [1, nil])
        }
    }

    @Test("a command is sealed for the connector alone: no key with another reader, and no other service than before")
    func foreignKeys() async throws {
        try await Self.run { world, calendar, client in
            let event = CalendarCommand.Event(subject: "Secret plan", start: .init(seconds: 0), end: .init(seconds: 60))
            for (name, readers) in [
                ("three", [TestKMS.user, TestCalendar.service, Self.mallory]),
                ("person", [TestKMS.user, Self.mallory]),
                ("alone", [TestKMS.user]),
            ] {
                let key = try TestCalendar.makeKey(world.kms, readers: readers, in: name)
                try await calendar.tellStatus(key.uri)
                #expect(await code { _ = try await client.meetings.create(event) } == .calendarKeyForeign)
            }
            try await calendar.tellStatus()
            _ = try await client.meetings.create(event)
            let other = try TestCalendar.makeKey(world.kms, readers: [TestKMS.user, "hds-stranger"], in: "stranger")
            try await calendar.tellStatus(other.uri)
            #expect(await code { _ = try await client.meetings.create(event) } == .calendarKeyForeign)
            #expect(calendar.state.withLock { $0.commands.count } == 1)
        }
    }

    @Test("an answer to another command is none, and a refusal is told")
    func answers() async throws {
        try await Self.run { world, calendar, client in
            let now = world.clock.now
            func busy() async throws {
                _ = try await client.meetings.busy(["bob@example.com"], from: now, to: now.adding(seconds: 60))
            }
            calendar.state.withLock { $0.answer = { _ in CalendarAnswer(to: UUIDText.random(), .ok) } }
            #expect(await code { try await busy() } == .calendarWire)
            calendar.state.withLock {
                $0.answer = { CalendarAnswer(to: $0.id, .refused, reason: "the server is away") }
            }
            #expect(await code { try await busy() } == .calendarRefused)
        }
    }

    @Test("a long list is read to its end")
    func pages() async throws {
        try await Self.run { world, calendar, client in
            let start = world.clock.now.adding(seconds: 3600)
            // Some begin at the same moment where one page ends.
            let records = try (0..<520).map { place in
                try calendar.meeting(
                    "m\(place)", "Meeting \(place)", start: start.adding(seconds: Int64(place / 20) * 600))
            }
            for batch in stride(from: 0, to: records.count, by: 65) {
                try await calendar.tell(records[batch..<min(batch + 65, records.count)].map { .created($0) })
            }
            let meetings = try await client.meetings.list()
            #expect(Set(meetings.map(\.id)) == Set(records.map(\.id)))
            #expect(meetings.count == records.count)
            #expect(meetings.allSatisfy { $0.subject == "Meeting " + $0.id.dropFirst() })
        }
    }

    @Test("without a connector nothing is settled, and it is said that it may go better later")
    func away() async throws {
        try await Self.run { world, calendar, client in
            try await Self.plan(calendar, "m1", "Budget", at: world.clock.now.adding(seconds: 3600))
            await calendar.stop()
            #expect(await code { try await client.attend(staying: false) { _, _ in } } == .cloudUnavailable)
        }
    }

    @Test("absences of colleagues are told, and without a connector it is said")
    func presence() async throws {
        try await Self.run { world, calendar, client in
            let from = world.clock.now
            #expect(try await client.meetings.absence(of: "alice@example.com") == nil)
            try await calendar.tell([
                .absence(userID: Self.bob, .init(from: from, to: from.adding(seconds: 86_400)))
            ])
            #expect(
                try await client.meetings.absence(of: "bob@example.com")
                    == Absence(from: from, to: from.adding(seconds: 86_400), text: nil))
            try await calendar.tell([.absence(userID: Self.bob, nil)])
            #expect(try await client.meetings.absence(of: "bob@example.com") == nil)
            try await calendar.tell([
                .status(userID: TestKMS.user, .off, code: "left", since: from, keyURI: nil)
            ])
            #expect(try await client.meetings.status().state == "off")
            #expect(await code { _ = try await client.meetings.calendarKey() } == .calendarNotReady)
        }
    }

    /// The connector's word on the space of a meeting.
    private static func answerList(_ calendar: TestCalendar, _ space: String?) {
        calendar.state.withLock { state in
            state.answer = { command in
                guard case .list = command.action else { return CalendarAnswer(to: command.id, .refused) }
                return CalendarAnswer(
                    to: command.id, .ok,
                    meetings: [
                        .init(
                            id: "m1", revision: 1, start: .now(), durationMinutes: 30, subject: nil, location: nil,
                            joinURL: nil, spaceID: space)
                    ])
            }
        }
    }

    private static func invite(_ calendar: TestCalendar, _ people: [MeetingPerson]) async throws {
        let key = calendar.keys.series
        let record = try calendar.state.withLock { state -> MeetingRecord? in
            guard var record = state.meetings["m1"] else { return nil }
            state.lastRevision += 1
            record.revision = state.lastRevision
            record.participants = try EncryptedText(encrypting: MeetingPerson.text(people), under: key.key)
            state.meetings["m1"] = record
            return record
        }
        try await calendar.tell([.updated(try #require(record))])
    }

    @Test("who is invited later comes into the space of the meeting, and of the space the connector's word counts")
    func newcomers() async throws {
        try await Self.run { world, calendar, client in
            try await Self.plan(
                calendar, "m1", "Budget", at: world.clock.now.adding(seconds: 3600),
                people: [Self.people[0], Self.people[2]])
            _ = try await client.meetings.writeJoinDetails(of: client.meetings.meeting("m1"))
            let space = try #require(try await client.meetings.meeting("m1").record.spaceID)
            #expect(try await client.spaces.space(id: space).participants == [TestKMS.user])
            try await client.attend(staying: false) { _, _ in }
            try await Self.invite(calendar, Self.people)
            // Another space than the connector knows: nobody is brought anywhere.
            Self.answerList(calendar, UUIDText.random())
            let told = Mutex<[String]>([])
            for _ in 0..<2 {
                try await client.attend(staying: false) { result, _ in
                    if case .failure(let error) = result { told.withLock { $0.append(error.code.rawValue) } }
                }
            }
            #expect(told.withLock { $0 } == ["meeting-space-foreign"])
            #expect(try await client.spaces.space(id: space).participants == [TestKMS.user])
            let meeting = try await client.meetings.meeting("m1")
            #expect(await code { _ = try await client.meetings.bringAll(into: meeting) } == .spaceForeign)
            Self.answerList(calendar, space)
            try await Self.invite(calendar, [Self.people[0], Self.people[2]])
            try await client.attend(staying: false) { _, _ in }
            try await Self.invite(calendar, Self.people)
            try await client.attend(staying: false) { _, _ in }
            #expect(Set(try await client.spaces.space(id: space).participants) == [TestKMS.user, Self.bob])
            // Whom somebody took out does not come back by himself.
            try await client.spaces.remove("bob@example.com", from: client.spaces.space(id: space))
            try await client.attend(staying: false) { _, _ in }
            #expect(try await client.spaces.space(id: space).participants == [TestKMS.user])
            #expect(try await client.meetings.bringAll(into: client.meetings.meeting("m1")) == 1)
            #expect(Set(try await client.spaces.space(id: space).participants) == [TestKMS.user, Self.bob])
        }
    }

    @Test("what begins soon is told with its name, which the core does not know")
    func reminders() async throws {
        try await Self.run { world, calendar, client in
            let start = world.clock.now.adding(seconds: 300)
            try await Self.plan(calendar, "m1", "Budget", at: start)
            let (told, sink) = AsyncStream.makeStream(of: String.self)
            let (ready, waits) = AsyncStream.makeStream(of: Void.self)
            let task = Task {
                try await withThrowingTaskGroup(of: Void.self) { group in
                    group.addTask { try await client.reminders { sink.yield($0.subject ?? "") } }
                    group.addTask {
                        try await client.attend(staying: true) { _, _ in waits.yield() }
                    }
                    try await group.waitForAll()
                }
            }
            // It attends, so its socket is open.
            for await _ in ready { break }
            try await calendar.tell([
                .reminder(userID: TestKMS.user, meetingID: "none", start: start),
                .reminder(userID: TestKMS.user, meetingID: "m1", start: start),
            ])
            var iterator = told.makeAsyncIterator()
            #expect(await iterator.next() == "Budget")
            task.cancel()
            _ = await task.result
        }
    }

    @Test("subject, place and notes are changed by a sealed command that names nothing else")
    func change() async throws {
        try await Self.run { world, calendar, client in
            try await Self.plan(calendar, "m1", "Budget", at: world.clock.now.adding(seconds: 3600))
            let meeting = try await client.meetings.meeting("m1")
            try await client.meetings.change(meeting, subject: "Plan", location: "Room 9")
            let last = calendar.state.withLock { $0.commands.last?.action }
            #expect(
                last
                    == .updateEvent(
                        meetingID: "m1", revision: meeting.record.revision,
                        .init(subject: "Plan", location: "Room 9")))
        }
    }
}
