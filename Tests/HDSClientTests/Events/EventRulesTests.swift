import Diagnostics
import Testing
import WireText

@testable import HDSClient

@Suite("Rules of the event socket")
struct EventRulesTests {
    private func frame(_ text: String) throws -> EventFrame { try EventFrame(text) }

    private func greeting(_ type: String = "mercury.buffer_state") throws -> EventFrame {
        try frame("{\"id\":\"g\",\"data\":{\"eventType\":\"\(type)\"}}")
    }

    private func event(_ id: String) throws -> EventFrame {
        try frame(
            "{\"id\":\"\(id)\",\"data\":{\"eventType\":\"encryption.kms_message\",\"encryption\":{\"kmsMessages\":[\"a\"]}}}"
        )
    }

    private func ack(_ id: String) -> EventSocketRules.Action { .send("{\"messageId\":\"\(id)\",\"type\":\"ack\"}") }

    @Test("The authorization frame goes first, with the bearer token")
    func authorization() throws {
        let actions = EventSocketRules(now: 0).start(token: Redacted("t-1"))
        guard case .send(let text)? = actions.first, actions.count == 1 else { throw TestFailure("\(actions)") }
        let root = try JSONDocument(text: text).root
        #expect(root["type"]?.string == "authorization")
        #expect(root["data"]?["token"]?.string == "Bearer t-1")
        #expect(root["id"]?.string.map { UUIDText.isValid($0) } == true)
    }

    @Test(
        "The greeting makes it ready, by either name, once",
        arguments: ["mercury.buffer_state", "mercury.registration_status"])
    func greeting(type: String) throws {
        let rules = Rules(now: 0)
        #expect(try rules.receive(greeting(type), now: 1) == [ack("g"), .ready])
        #expect(rules.rules.isReady)
        #expect(try rules.receive(greeting(type), now: 2) == [ack("g")])
    }

    @Test("Without a greeting in time the socket is closed")
    func noGreeting() {
        let rules = Rules(now: 0)
        #expect(rules.tick(now: 14_999).isEmpty)
        #expect(rules.tick(now: 15_000) == [.close(1000, "no mercury.buffer_state")])
        #expect(rules.tick(now: 30_000).isEmpty)
    }

    @Test("Every frame with an id is acknowledged; the same event is delivered once, also over two sockets")
    func acknowledgements() throws {
        let rules = Rules(now: 0)
        _ = try rules.receive(greeting(), now: 0)
        #expect(try rules.receive(event("1"), now: 1) == [ack("1"), .deliver(id: "1")])
        #expect(try rules.receive(event("1"), now: 2) == [ack("1")])
        #expect(try rules.receive(frame("{\"id\":\"x\"}"), now: 3) == [ack("x")])
        #expect(try rules.receive(frame("{\"type\":\"other\"}"), now: 3).isEmpty)
        let second = Rules(now: 10, seen: rules.seen)
        #expect(try second.receive(event("1"), now: 11) == [ack("1")])
        #expect(try second.receive(event("2"), now: 11) == [ack("2"), .deliver(id: "2")])
    }

    @Test("A ping leaves every 15 s; its pong is acknowledged; without it the socket is given up after 14 s")
    func pings() throws {
        let rules = Rules(now: 0)
        _ = try rules.receive(greeting(), now: 0)
        #expect(rules.tick(now: 14_999).isEmpty)
        #expect(rules.tick(now: 15_000) == [.send("{\"id\":\"ping-1\",\"type\":\"ping\"}")])
        #expect(try rules.receive(frame("{\"id\":\"ping-1\",\"type\":\"pong\"}"), now: 16_000) == [ack("ping-1")])
        #expect(rules.tick(now: 30_000) == [.send("{\"id\":\"ping-2\",\"type\":\"ping\"}")])
        // A pong of another ping is no sign of life for this one.
        _ = try rules.receive(frame("{\"id\":\"ping-1\",\"type\":\"pong\"}"), now: 30_001)
        #expect(rules.tick(now: 43_999).isEmpty)
        #expect(rules.tick(now: 44_000) == [.close(1000, "no pong")])
        #expect(try rules.receive(event("9"), now: 44_001).isEmpty)
    }

    @Test("Ids of delivered events are remembered long enough, and not for ever")
    func memory() {
        let seen = Seen()
        for number in 0..<5000 {
            #expect(seen.insert("\(number)"))
            #expect(!seen.insert("\(number)"))
            if number > 1000 { #expect(!seen.insert("\(number - 1000)")) }
        }
        #expect(seen.insert("0"))
    }

    @Test("KMS messages come as a list or a bare string, activities with their parts")
    func frames() throws {
        guard case .event(_, _, .kmsMessages(let list)) = try event("1") else { throw TestFailure("no messages") }
        #expect(list == ["a"])
        let bare =
            "{\"id\":\"1\",\"data\":{\"eventType\":\"encryption.kms_message\",\"encryption\":{\"kmsMessages\":\"b\"}}}"
        guard case .event(_, _, .kmsMessages(["b"])) = try frame(bare) else { throw TestFailure("no message") }
        let activity = """
            {"id":"1","data":{"eventType":"conversation.activity","activity":{"id":"a","sequence":4,"verb":"leave",
            "published":"2026-11-23T07:36:46.830Z","actor":"A11CE000-0000-4000-8000-000000000001",
            "object":{"objectType":"person","id":"B0B00000-0000-4000-8000-000000000002"},
            "target":{"id":"c"}}},"sequenceNumber":3}
            """
        guard case .event(_, _, .activity(let left)) = try frame(activity), case .leave(let person) = left.kind else {
            throw TestFailure("no activity")
        }
        #expect(person == "b0b00000-0000-4000-8000-000000000002")
        #expect(left.actor == "a11ce000-0000-4000-8000-000000000001")
        #expect(left.conversation == "c")
        for text in ["", "[", "nonsense", "\u{0}"] { #expect(throws: DiagnosedError.self) { try frame(text) } }
        guard case .event(_, _, .other) = try frame("{\"id\":\"1\",\"data\":{\"eventType\":\"conversation.activity\"}}")
        else {
            throw TestFailure("an activity from nothing")
        }
    }
}

/// The rules as an object, so that expectations can change them.
private final class Rules {
    var rules: EventSocketRules
    let seen: Seen

    init(now: Int64, seen: Seen = Seen()) {
        rules = EventSocketRules(now: now)
        self.seen = seen
    }

    func receive(_ frame: EventFrame, now: Int64) -> [EventSocketRules.Action] {
        rules.receive(frame, seen: &seen.events, now: now)
    }
    func tick(now: Int64) -> [EventSocketRules.Action] { rules.tick(now: now) }
}

private final class Seen {
    var events = SeenEvents()
    func insert(_ id: String) -> Bool { events.insert(id) }
}

private final class Connecting {
    private var reconnection = Reconnection()
    func step(after ending: Reconnection.Ending, jitter: Double) -> Reconnection.Step {
        reconnection.step(after: ending, jitter: jitter)
    }
    func succeeded() { reconnection.succeeded() }
}

@Suite("What follows the end of an event socket")
struct ReconnectionTests {
    private func step(_ ending: Reconnection.Ending) -> Reconnection.Step {
        let reconnection = Connecting()
        return reconnection.step(after: ending, jitter: 1)
    }

    @Test(
        "Lost, restarted and forced sockets are connected again", arguments: [1000, 1001, 1005, 1006, 1011] as [UInt16])
    func again(code: UInt16) {
        #expect(step(.closed(code: code, reason: code == 1000 ? "idle" : "")) == .again(after: 100))
    }

    @Test("A core that shows a wrong certificate is tried again, for it may show the right one later")
    func certificate() {
        for code in ["tls-pin-mismatch", "tls-expired", "tls-untrusted"] as [DiagnosedError.Code] {
            #expect(Reconnection.mayPass(DiagnosedError(code, fault: .peer, "the core's certificate")))
        }
        #expect(!Reconnection.mayPass(DiagnosedError(.notLoggedIn, fault: .client, "no login")))
    }

    @Test("A refused token is renewed at once, and given up when new ones are refused too")
    func token() {
        let reconnection = Connecting()
        #expect(reconnection.step(after: .closed(code: 4401, reason: ""), jitter: 1) == .againWithNewToken(after: 0))
        guard case .againWithNewToken = reconnection.step(after: .refused(status: 401), jitter: 1) else {
            Issue.record("no second attempt")
            return
        }
        guard case .stop(let error) = reconnection.step(after: .closed(code: 4401, reason: ""), jitter: 1) else {
            Issue.record("endless")
            return
        }
        #expect(error.code == .notLoggedIn)
        reconnection.succeeded()
        #expect(reconnection.step(after: .closed(code: 4401, reason: ""), jitter: 1) == .againWithNewToken(after: 0))
    }

    @Test("A replaced, misunderstood or unwanted client stops")
    func stops() {
        for (code, expected) in [
            (4000, DiagnosedError.Code.eventSocketReplaced), (4400, .eventSocket), (1003, .eventSocket),
        ] {
            guard case .stop(let error) = step(.closed(code: UInt16(code), reason: "why\u{1B}")) else {
                Issue.record("\(code) goes on")
                continue
            }
            #expect(error.code == expected)
        }
    }

    @Test("A device that the core does not know is registered anew, not endlessly")
    func device() {
        let reconnection = Connecting()
        for _ in 0..<3 {
            guard case .againWithNewDevice = reconnection.step(after: .closed(code: 4403, reason: "deleted"), jitter: 1)
            else {
                Issue.record("no new device")
                return
            }
        }
        guard case .stop = reconnection.step(after: .refused(status: 404), jitter: 1) else {
            Issue.record("endless")
            return
        }
    }

    @Test("Waits double from 0.1 to 10 s, are spread over their upper half, and begin anew after a success")
    func backOff() {
        let reconnection = Connecting()
        var waits: [Int64] = []
        for _ in 0..<10 {
            if case .again(let wait) = reconnection.step(after: .unreachable, jitter: 1) { waits.append(wait) }
        }
        #expect(waits == [100, 200, 400, 800, 1600, 3200, 6400, 10_000, 10_000, 10_000])
        #expect(reconnection.step(after: .unreachable, jitter: 0) == .again(after: 5000))
        reconnection.succeeded()
        #expect(reconnection.step(after: .unreachable, jitter: 0.5) == .again(after: 75))
    }
}
