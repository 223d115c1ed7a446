import Diagnostics
import Testing
import WireText

@testable import CloudCore

@Suite("Event channel of a device")
struct EventChannelTests {
    private static let wall = Timestamp(milliseconds: 1_700_000_000_000)

    private func append(_ id: String, to channel: inout EventChannel, now: Int64 = 0) -> [EventChannel.Action] {
        channel.append(id: id, opened: #"{"id":"\#(id)""#, now: now)
    }

    private func frames(_ actions: [EventChannel.Action]) throws -> [JSONDocument] {
        try actions.compactMap { if case .send(_, let text) = $0 { try JSONDocument(text: text) } else { nil } }
    }

    @Test("the first frame of a socket is mercury.buffer_state, then comes what waited, numbered from one")
    func attach() throws {
        var channel = EventChannel(now: 0)
        #expect(append("e1", to: &channel).isEmpty)
        #expect(append("e2", to: &channel).isEmpty)
        let frames = try frames(channel.attach(1, now: 0, wall: Self.wall))
        #expect(frames[0].root["data"]?["eventType"]?.string == "mercury.buffer_state")
        #expect(frames[0].root["data"]?["bufferState"]?["waiting"]?.integer == 2)
        #expect(frames.map { $0.root["sequenceNumber"]?.integer } == [1, 2, 3])
        #expect(frames.dropFirst().map { $0.root["id"]?.string } == ["e1", "e2"])
        #expect(frames.allSatisfy { $0.root["id"]?.string?.isEmpty == false })
    }

    @Test("events and pongs share one rising number")
    func numbers() throws {
        var channel = EventChannel(now: 0)
        _ = channel.attach(1, now: 0, wall: Self.wall)
        let event = try frames(append("e1", to: &channel))
        let pong = try frames(channel.pinged("p1", by: 1, now: 0))
        #expect(event[0].root["sequenceNumber"]?.integer == 2)
        #expect(pong[0].root["sequenceNumber"]?.integer == 3)
        #expect(pong[0].root["type"]?.string == "pong" && pong[0].root["id"]?.string == "p1")
    }

    @Test("what was not acknowledged is sent again on the next socket, what was is not")
    func acknowledged() throws {
        var channel = EventChannel(now: 0)
        _ = channel.attach(1, now: 0, wall: Self.wall)
        for id in ["e1", "e2", "e3"] { _ = append(id, to: &channel) }
        channel.acknowledged("e2", now: 0)
        channel.acknowledged("unknown", now: 0)
        channel.detach(1, now: 0)
        let again = try frames(channel.attach(2, now: 0, wall: Self.wall))
        #expect(again.dropFirst().map { $0.root["id"]?.string } == ["e1", "e3"])
    }

    @Test("a newer socket closes the older with 4000, and the older's end does not detach the newer")
    func replaced() {
        var channel = EventChannel(now: 0)
        _ = channel.attach(1, now: 0, wall: Self.wall)
        guard case .close(1, .replaced, _) = channel.attach(2, now: 0, wall: Self.wall).first else {
            Issue.record("the older socket stays")
            return
        }
        channel.detach(1, now: 0)
        #expect(channel.socket == 2)
        #expect(append("e", to: &channel).count == 1)
        #expect(channel.pinged("p", by: 1, now: 0).isEmpty)
    }

    @Test("the buffer is bounded in number, octets and age, the oldest falls out, and the device is told")
    func bounds() throws {
        var channel = EventChannel(
            limits: .init(maximumEvents: 3, maximumOctets: 100, lifetimeMilliseconds: 1_000), now: 0)
        for number in 1...5 { _ = append("e\(number)", to: &channel) }
        #expect(channel.unacknowledgedCount == 3)
        _ = channel.append(id: "big", opened: #"{"id":"\#(String(repeating: "x", count: 85))""#, now: 0)
        #expect(channel.unacknowledgedCount == 1)
        let state = try frames(channel.attach(1, now: 0, wall: Self.wall))[0]
        #expect(state.root["data"]?["bufferState"]?["dropped"]?.integer == 5)
        channel.detach(1, now: 0)
        #expect(try frames(channel.attach(2, now: 1_000, wall: Self.wall)).count == 1)
    }

    @Test("a channel is idle once it has had no socket for the life of its buffer")
    func idle() {
        var channel = EventChannel(limits: .init(lifetimeMilliseconds: 1_000), now: 0)
        _ = channel.attach(1, now: 0, wall: Self.wall)
        #expect(!channel.isIdle(now: 100_000))
        channel.detach(1, now: 100_000)
        #expect(!channel.isIdle(now: 100_999))
        #expect(channel.isIdle(now: 101_000))
    }
}

@Suite("Frames of a device on its event socket")
struct EventFrameTests {
    @Test("authorization, ack and ping are understood, other types and members ignored")
    func known() throws {
        #expect(
            try EventFrame(
                #"{"id":"1","type":"authorization","data":{"token":"Bearer abc.def"},"trackingId":"t","x":[]}"#)
                == .authorization(token: "abc.def"))
        #expect(try EventFrame(#"{"messageId":"e1","type":"ack"}"#) == .acknowledgement(messageID: "e1"))
        #expect(try EventFrame(#"{"id":"p1","type":"ping"}"#) == .ping(id: "p1"))
        #expect(try EventFrame(#"{"type":"typing","who":1}"#) == .other)
        #expect(try EventFrame("{}") == .other)
    }

    @Test("what is malformed is refused and never crashes")
    func malformed() {
        let bad = [
            "", "x", "[]", "null", #"{"type":"authorization"}"#, #"{"type":"authorization","data":{"token":"abc"}}"#,
            #"{"type":"authorization","data":{"token":"Bearer "}}"#,
            #"{"type":"authorization","data":{"token":"Bearer a b"}}"#,
            #"{"type":"authorization","data":{"token":7}}"#, #"{"type":"ack"}"#, #"{"type":"ping"}"#,
            #"{"type":"ping","id":5}"#,
            #"{"type":"ping","id":"\#(String(repeating: "x", count: 300))"}"#,
            String(repeating: "[", count: 1_000), #"{"a":"\#(String(repeating: "x", count: 70_000))"}"#,
            #"{"type":"authorization","data":{"token":"Bearer \#(String(repeating: "x", count: 20_000))"}}"#,
        ]
        for text in bad { #expect(throws: DiagnosedError.self, "\(text.prefix(60))") { try EventFrame(text) } }
    }
}
