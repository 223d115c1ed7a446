import TestServers
import LinkProtocol
import Synchronization
import Testing
import WireText

@testable import CloudCore

/// A socket that keeps what it is given.
private final class RecordingLink: RelayHub.Output {
    private let state = Mutex<(frames: [LinkFrame], closed: LinkCloseCode?, keepsUp: Bool)>(([], nil, true))

    func enqueue(_ frame: [UInt8]) -> Bool {
        state.withLock { state in
            if let frame = try? LinkFrame(decoding: frame) { state.frames.append(frame) }
            return state.keepsUp
        }
    }
    func close(_ code: LinkCloseCode, reason: String) { state.withLock { $0.closed = code } }
    func fallBehind() { state.withLock { $0.keepsUp = false } }

    var closed: LinkCloseCode? { state.withLock { $0.closed } }
    var deliveries: [(id: UInt64, text: String)] {
        state.withLock { state in
            state.frames.compactMap {
                guard case .deliver(let id, _, let text) = $0 else { return nil }
                return (id, String(decoding: text, as: UTF8.self))
            }
        }
    }
}

private final class RecordingSocket: EventHub.Output {
    private let state = Mutex<(texts: [String], closed: EventCloseCode?)>(([], nil))

    func enqueue(_ text: String) -> Bool {
        state.withLock { $0.texts.append(text) }
        return true
    }
    func close(_ code: EventCloseCode, reason: String) { state.withLock { $0.closed = code } }

    var closed: EventCloseCode? { state.withLock { $0.closed } }
    var types: [String] {
        state.withLock { $0.texts }.map {
            (try? JSONDocument(text: $0))?.root["data"]?["eventType"]?.string ?? "pong"
        }
    }
}

/// A clock that a test moves.
final class HandClock: Sendable {
    private let time = Mutex<Int64>(1_000_000)
    var now: Int64 { time.withLock { $0 } }
    func advance(_ milliseconds: Int64) { time.withLock { $0 += milliseconds } }
}

@Suite("Relay hub")
struct RelayHubTests {
    private let clock = HandClock()

    private func hub(answered: @escaping @Sendable (String, [UInt8]) -> Void = { _, _ in }) -> RelayHub {
        RelayHub(
            relay: Relay(), clock: { [clock] in clock.now },
            wall: { [clock] in Timestamp(milliseconds: clock.now) }, answered: answered)
    }

    private func open(_ output: RecordingLink, on hub: RelayHub, node: String = "n1") -> Relay.LinkID {
        let link = hub.connect(output, grant: RelayBench.grant)
        _ = hub.received(LinkFrame.hello(RelayBench.hello(node: node)).encode(), from: link)
        _ = hub.received(LinkFrame.credit(10).encode(), from: link)
        return link
    }

    @Test("a forwarded string waits for its answer")
    func forward() async throws {
        let hub = hub()
        let output = RecordingLink()
        let link = open(output, on: hub)
        async let answer = hub.forward(Array("q".utf8), to: RelayBench.destination, from: "alice")
        while output.deliveries.isEmpty { await Task.yield() }
        _ = hub.received(LinkFrame.answer(id: output.deliveries[0].id, text: Array("a".utf8)).encode(), from: link)
        #expect(try await answer == Array("a".utf8))
    }

    @Test("a forwarded string that nobody answers ends after 20 s and is not delivered later")
    func forwardTimesOut() async throws {
        let hub = hub()
        async let answer = hub.forward(Array("q".utf8), to: RelayBench.destination, from: "alice")
        while hub.pendingCount == 0 { await Task.yield() }
        clock.advance(19_999)
        hub.tick()
        #expect(hub.pendingCount == 1)
        clock.advance(1)
        hub.tick()
        #expect(try await answer == nil)
        let output = RecordingLink()
        _ = open(output, on: hub)
        #expect(output.deliveries.isEmpty)
    }

    @Test("a cancelled request takes its string back")
    func forwardIsCancelled() async throws {
        let hub = hub()
        let task = Task { try await hub.forward(Array("q".utf8), to: RelayBench.destination, from: "alice") }
        while hub.pendingCount == 0 { await Task.yield() }
        task.cancel()
        #expect(try await task.value == nil)
        #expect(hub.pendingCount == 0)
        let early = Task {
            withUnsafeCurrentTask { $0?.cancel() }
            return try await hub.forward(Array("q".utf8), to: RelayBench.destination, from: "alice")
        }
        #expect(try await early.value == nil)
        #expect(hub.pendingCount == 0)
    }

    @Test("a link that does not keep up is closed, and its strings go to the next")
    func slowLink() throws {
        let hub = hub()
        let slow = RecordingLink()
        let link = open(slow, on: hub)
        slow.fallBehind()
        try hub.submit([Array("q".utf8)], to: RelayBench.destination, from: "d")
        #expect(slow.closed == .internalError)
        hub.disconnect(link)
        let next = RecordingLink()
        _ = open(next, on: hub)
        #expect(next.deliveries.map(\.text) == ["q"])
    }

    @Test("answers of a device's strings are told with the device")
    func device() throws {
        let told = Mutex<[String]>([])
        let hub = hub { device, text in
            told.withLock { $0.append("\(device): \(String(decoding: text, as: UTF8.self))") }
        }
        let output = RecordingLink()
        let link = open(output, on: hub)
        try hub.submit([Array("q".utf8)], to: RelayBench.destination, from: "d7")
        _ = hub.received(LinkFrame.answer(id: output.deliveries[0].id, text: Array("a".utf8)).encode(), from: link)
        #expect(told.withLock { $0 } == ["d7: a"])
    }

    @Test("octets that are no frame close the link with 4400")
    func malformed() {
        let hub = hub()
        let output = RecordingLink()
        let link = open(output, on: hub)
        guard case .closed(.protocolViolated, _)? = hub.received([0x99], from: link).first else {
            Issue.record("not closed")
            return
        }
        #expect(output.closed == .protocolViolated)
        #expect(hub.received(LinkFrame.credit(1).encode(), from: link).isEmpty)
    }
}

@Suite("Event hub")
struct EventHubTests {
    private let clock = HandClock()
    private let alice = UserKey(organisation: "acme", user: "alice")
    private let bob = UserKey(organisation: "acme", user: "bob")

    private func hub() -> EventHub {
        EventHub(clock: { [clock] in clock.now }, wall: { [clock] in Timestamp(milliseconds: clock.now) })
    }

    private func attach(_ hub: EventHub, _ device: String, _ user: UserKey, seconds: Int64 = 3_600) -> (
        RecordingSocket, EventChannel.SocketID
    ) {
        let socket = RecordingSocket()
        let id = hub.attach(
            socket, device: device, owner: user, expires: Timestamp(milliseconds: clock.now).adding(seconds: seconds))
        return (socket, id)
    }

    @Test("an answer reaches the device that asked and no other of the same user")
    func oneDevice() {
        let hub = hub()
        let (laptop, _) = attach(hub, "laptop", alice)
        let (phone, _) = attach(hub, "phone", alice)
        hub.push(.kmsMessage("x", wall: .init(milliseconds: 0)), to: "laptop")
        #expect(laptop.types == ["mercury.buffer_state", "encryption.kms_message"])
        #expect(phone.types == ["mercury.buffer_state"])
    }

    @Test("an activity reaches all devices of its readers, and users of the same id elsewhere not")
    func users() {
        let hub = hub()
        let (laptop, _) = attach(hub, "laptop", alice)
        let (phone, _) = attach(hub, "phone", alice)
        let (other, _) = attach(hub, "other", bob)
        let (foreign, _) = attach(hub, "foreign", UserKey(organisation: "other", user: "alice"))
        hub.push(.activity("{}", wall: .init(milliseconds: 0)), to: [alice])
        #expect(laptop.types.last == "conversation.activity" && phone.types.last == "conversation.activity")
        #expect(other.types.count == 1 && foreign.types.count == 1)
    }

    @Test("a device that asked before it had a socket gets its answers when it comes")
    func expected() {
        let hub = hub()
        hub.expect("laptop", owner: alice)
        hub.push(.kmsMessage("x", wall: .init(milliseconds: 0)), to: "laptop")
        hub.push(.kmsMessage("x", wall: .init(milliseconds: 0)), to: "never-heard-of")
        #expect(attach(hub, "laptop", alice).0.types == ["mercury.buffer_state", "encryption.kms_message"])
        #expect(hub.unacknowledgedCount(of: "never-heard-of") == 0)
    }

    @Test("a socket is closed with 4401 when its token expires, unless it showed a newer one")
    func expiry() {
        let hub = hub()
        let (short, _) = attach(hub, "a", alice, seconds: 10)
        let (extended, id) = attach(hub, "b", alice, seconds: 10)
        hub.extend(id, expires: Timestamp(milliseconds: clock.now).adding(seconds: 100))
        clock.advance(10_001)
        hub.tick()
        #expect(short.closed == .badToken && extended.closed == nil)
        #expect(hub.socketCount == 1)
    }

    @Test("a deleted device loses its socket and its buffer, an idle one only its buffer")
    func removed() {
        let hub = hub()
        let (socket, _) = attach(hub, "a", alice)
        hub.push(.kmsMessage("x", wall: .init(milliseconds: 0)), to: "a")
        hub.remove("a")
        #expect(socket.closed == .forbidden && hub.unacknowledgedCount(of: "a") == 0)
        let (_, id) = attach(hub, "b", alice)
        hub.push(.kmsMessage("x", wall: .init(milliseconds: 0)), to: "b")
        hub.detach(id)
        clock.advance(119_999)
        hub.tick()
        #expect(hub.unacknowledgedCount(of: "b") == 1)
        clock.advance(1)
        hub.tick()
        #expect(hub.unacknowledgedCount(of: "b") == 0)
    }
}
