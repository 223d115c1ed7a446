import Testing
import WireText

@testable import CloudCore

/// Rooms and conversations of meetings, and commands to the connector: docs/core-api.md, Calendars.
@Suite("Where meetings are met")
struct MeetingRoomTests {
    private static func run(
        answer: @escaping @Sendable (JSONNode) -> String? = { _ in nil },
        _ body: (CoreBench, TestUser, TestConnector) async throws -> Void
    ) async throws {
        try await CoreBench.run { bench in
            let alice = try await bench.signIn(.alice)
            let connector = try await TestConnector(bench, answer: answer).open()
            try await body(bench, alice, connector)
            await connector.stop()
        }
    }

    @Test("a series has one room of its user, whose URL is not to be guessed")
    func rooms() async throws {
        try await Self.run { bench, alice, connector in
            let bob = try await bench.signIn(.bob)
            _ = try await connector.tell([
                TestMeetings.created(TestMeetings.meeting(alice.id, "m1", series: "weekly")),
                TestMeetings.created(TestMeetings.meeting(alice.id, "m2", series: "weekly")),
                TestMeetings.created(TestMeetings.meeting(alice.id, "m3", series: "other")),
                TestMeetings.created(TestMeetings.meeting(bob.id, "m1", series: "weekly")),
            ])
            func room(_ id: String, _ user: TestUser, _ status: Int) async throws -> String {
                let answer = try await bench.send("POST", "/meetings/\(id)/room", token: user.token)
                #expect(answer.status == status, "\(answer.text)")
                return answer.text
            }
            let first = try await room("m1", alice, 201)
            #expect(try await room("m1", alice, 200) == first)
            #expect(try await room("m2", alice, 200) == first)
            #expect(try await room("m3", alice, 201) != first)
            #expect(try await room("m1", bob, 201) != first)
            let root = try JSONDocument(text: first).root
            let url = try #require(root["url"]?.string)
            #expect(url.hasPrefix("https://localhost:\(bench.port)/meet/"))
            #expect(url.split(separator: "/").last?.count == 20)
            #expect(root["sip"]?.string?.hasSuffix("@localhost") == true)
            #expect(root["pin"]?.string?.count == 8)
            #expect(root["phone"]?.isNull == true)
            #expect(try await bench.send("POST", "/meetings/m9/room", token: alice.token).status == 404)
            #expect(try await bench.send("POST", "/meetings/m3/room", token: bob.token).status == 404)
            let own = try await bench.send("GET", "/meetings/personal-room", token: alice.token)
            #expect(own.status == 200)
            #expect(own.text != first)
            #expect(try await bench.send("GET", "/meetings/personal-room", token: alice.token).text == own.text)
            #expect(try await bench.send("GET", "/meetings/personal-room", token: bob.token).text != own.text)
        }
    }

    @Test("rooms are on the host of the configuration")
    func host() async throws {
        let meetings = CloudCoreConfiguration.Meetings(host: "meet.example.net:444", phone: "+49 30 1234567")
        try await CoreBench.run(meetings: meetings) { bench in
            let alice = try await bench.signIn(.alice)
            let room = try await bench.send("GET", "/meetings/personal-room", token: alice.token)
            #expect(room.json["url"]?.string?.hasPrefix("https://meet.example.net:444/meet/") == true)
            #expect(room.json["sip"]?.string?.hasSuffix("@meet.example.net") == true)
            #expect(room.json["phone"]?.string == "+49 30 1234567")
        }
    }

    @Test("the conversation of a meeting is its participant's own, and stays for the series")
    func space() async throws {
        try await Self.run { bench, alice, connector in
            let kms = try await bench.kms()
            let bob = try await bench.signIn(.bob)
            let mine = try await bench.createConversation(alice)
            let his = try await bench.createConversation(bob)
            _ = try await connector.tell([TestMeetings.created(TestMeetings.meeting(alice.id))])
            func put(_ space: String, _ user: TestUser) async throws -> Int {
                try await bench.send(
                    "PUT", "/meetings/m1/space", token: user.token, json: #"{"spaceId":"\#(space)"}"#
                ).status
            }
            #expect(try await put(his, alice) == 404)
            #expect(try await put(mine, bob) == 404)
            #expect(try await put("nowhere", alice) == 400)
            let events = try await bench.events(of: alice)
            #expect(try await put(mine, alice) == 204)
            #expect(try await put(mine, alice) == 204)
            let told = try await events.next()
            #expect(told["data"]?["eventType"]?.string == "calendar.meeting.update")
            #expect(told["data"]?["meeting"]?["spaceId"]?.string == mine)
            await events.close()
            // The connector does not know it, moves the meeting, and has another of the series.
            _ = try await connector.tell([
                TestMeetings.created(TestMeetings.meeting(alice.id, revision: 2, start: "2026-12-05T09:00:00Z")),
                TestMeetings.created(TestMeetings.meeting(alice.id, "m2")),
                TestMeetings.created(
                    TestMeetings.meeting(alice.id, "m3", series: "s3", more: ["spaceId": "\"\(his)\""])),
            ])
            for (id, space) in [("m1", mine), ("m2", mine), ("m3", his)] {
                let answer = try await bench.send("GET", "/meetings/\(id)", token: alice.token)
                #expect(answer.json["spaceId"]?.string == space)
            }
            await kms.stop()
        }
    }

    private static let command =
        #"{"encryptionKeyUrl":"\#(TestTexts.key)","message":"\#(TestTexts.content("do"))"}"#

    @Test("a sealed command goes to the connector of the own organisation with whose token it was")
    func command() async throws {
        let reply: @Sendable (JSONNode) -> String? = { _ in
            #"{"status":200,"message":"\#(TestTexts.content("done"))"}"#
        }
        try await Self.run(answer: reply) { bench, alice, connector in
            let answer = try await bench.send("POST", "/calendar/commands", token: alice.token, json: Self.command)
            #expect(answer.status == 200, "\(answer.text)")
            #expect(answer.json["message"]?.string == TestTexts.content("done"))
            let seen = try JSONDocument(text: try #require(connector.commands.first)).root
            #expect(seen["type"]?.string == "calendar.command")
            #expect(seen["userId"]?.string == alice.id)
            #expect(seen["encryptionKeyUrl"]?.string == TestTexts.key)
            #expect(seen["message"]?.string == TestTexts.content("do"))
            let other = try bench.foreign.userToken(.bob)
            #expect(try await bench.send("POST", "/calendar/commands", token: other, json: Self.command).status == 503)
            let open = #"{"encryptionKeyUrl":"\#(TestTexts.key)","message":"delete everything"}"#
            #expect(try await bench.send("POST", "/calendar/commands", token: alice.token, json: open).status == 400)
            #expect(connector.commands.count == 1)
        }
    }

    @Test(
        "what the connector refuses is told with its status, and an answer in clear is none",
        arguments: [
            (
                #"{"status":403,"reason":"this key is not yours","code":"key-foreign"}"#, 403,
                "this key is not yours (key-foreign)"
            ),
            (#"{"status":409,"reason":"seen before"}"#, 409, "seen before"),
            (#"{"status":799,"reason":"odd"}"#, 503, "odd"),
            (#"{"status":200,"message":"all is written"}"#, 504, "not encrypted"),
            ("nonsense", 504, "no answer"), (#"{"status":"fine"}"#, 504, "no answer"),
        ])
    func refusals(reply: String, status: Int, text: String) async throws {
        try await Self.run(answer: { _ in reply }) { bench, alice, _ in
            let answer = try await bench.send("POST", "/calendar/commands", token: alice.token, json: Self.command)
            #expect(answer.status == status)
            #expect(answer.json["message"]?.string?.contains(text) == true, "\(answer.text)")
        }
    }

    @Test(
        "rooms and conversations of a series of which nothing was heard for long are forgotten, a personal room is not")
    func forgetting() async throws {
        try await Self.run { bench, alice, connector in
            let store = try #require(bench.core).services.store
            let user = UserKey(organisation: "acme", user: alice.id)
            _ = try await connector.tell([TestMeetings.created(TestMeetings.meeting(alice.id))])
            func room() async throws -> String {
                try await bench.send("POST", "/meetings/m1/room", token: alice.token).text
            }
            func own() async throws -> String {
                try await bench.send("GET", "/meetings/personal-room", token: alice.token).text
            }
            let (first, personal) = (try await room(), try await own())
            let later = Timestamp.now().adding(seconds: 60)
            try await store.forgetMeetings(deletedBefore: later, unusedSince: later)
            #expect(try await room() == first, "its meeting is there")
            _ = try await connector.tell([TestMeetings.deleted(alice.id, revision: 2)])
            try await store.forgetMeetings(deletedBefore: later, unusedSince: later)
            _ = try await connector.tell([TestMeetings.created(TestMeetings.meeting(alice.id))])
            #expect(try await room() != first)
            #expect(try await own() == personal)
            #expect(try await store.meeting("m1", of: user).id == "m1")
        }
    }
}
