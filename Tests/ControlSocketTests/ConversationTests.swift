import Diagnostics
import TestServers
import Testing
import WireText

@testable import ControlSocket

@Suite("Conversations over the control socket")
struct ConversationTests {
    private static let limits = ControlConversation.Limits(
        requestBytes: 100, progressBytes: 50, idle: 1000, stalled: 500)
    private var talk = ControlConversation(limits: Self.limits, now: 0)

    private func bytes(_ text: String) -> ArraySlice<UInt8> { Array(text.utf8)[...] }
    private func pending(_ talk: ControlConversation) -> String { String(decoding: talk.pending, as: UTF8.self) }

    @Test("half a line waits for its other half, and a line more waits for the answer")
    mutating func lines() {
        #expect(talk.received(bytes("{\"a"), now: 1) == nil)
        #expect(talk.received(bytes("\"}\nsecond\nth"), now: 2) == .perform(Array("{\"a\"}".utf8)))
        #expect(!talk.wantsInput && talk.isWorking)
        talk.answered(Array("one\n".utf8), now: 3)
        #expect(pending(talk) == "one\n" && !talk.wantsInput)
        #expect(talk.wrote(2, now: 4) == nil && pending(talk) == "e\n")
        #expect(talk.wrote(2, now: 5) == .perform(Array("second".utf8)))
        talk.answered(Array("two\n".utf8), now: 6)
        #expect(talk.wrote(4, now: 7) == nil && talk.wantsInput)
    }

    @Test("any division into pieces gives the same lines", arguments: SeededGenerator.seeds)
    func pieces(seed: UInt64) {
        var random = SeededGenerator(seed: seed)
        for _ in 0..<50 {
            let sent = (0..<Int.random(in: 1...8, using: &random)).map { _ in
                random.octets(upTo: 60).filter { $0 != UInt8(ascii: "\n") }
            }
            var rest = Array(sent.joined(separator: [UInt8(ascii: "\n")]))[...] + [UInt8(ascii: "\n")]
            var talk = ControlConversation(limits: Self.limits, now: 0)
            var performed: [[UInt8]] = []
            while true {
                var action: ControlConversation.Action?
                if talk.isWorking {
                    talk.answered([1], now: 0)
                    action = talk.wrote(1, now: 0)
                } else if !rest.isEmpty {
                    let count = Int.random(in: 1...min(rest.count, 90), using: &random)
                    action = talk.received(rest.prefix(count), now: 0)
                    rest = rest.dropFirst(count)
                } else {
                    break
                }
                if case .perform(let line) = action { performed.append(line) }
            }
            #expect(performed == sent, "seed \(seed)")
        }
    }

    @Test("a line of the largest size is taken, one octet more is refused and the connection ends")
    mutating func tooLong() {
        let longest = [UInt8](repeating: 0x78, count: 100)
        var other = talk
        #expect(talk.received((longest + [0x0A])[...], now: 0) == .perform(longest))
        #expect(other.received((longest + [0x78])[...], now: 0) == nil)
        #expect(pending(other).contains("control-malformed") && !other.wantsInput)
        #expect(other.received(bytes("more\n"), now: 0) == nil)
        #expect(other.wrote(other.pending.count, now: 0) == .close)
        var ended = ControlConversation(limits: Self.limits, now: 0)
        #expect(ended.received((longest + [0x78, 0x0A])[...], now: 0) == nil)
        #expect(pending(ended).contains("control-malformed"))
    }

    @Test("a drop now and then does not keep a connection: the whole request is due in time")
    mutating func slowSender() {
        for moment in stride(from: Int64(0), to: 1000, by: 100) { _ = talk.received(bytes("x"), now: moment) }
        #expect(talk.due == 1000 && talk.expired(now: 999) == nil && !talk.hasOutput)
        #expect(talk.expired(now: 1000) == nil)
        #expect(pending(talk).contains("control-idle"))
        #expect(talk.wrote(talk.pending.count, now: 1001) == .close)
    }

    @Test("while a command runs there is no deadline; afterwards a reader has to take something in time")
    mutating func slowReader() {
        _ = talk.received(bytes("go\n"), now: 10)
        #expect(talk.due == nil && talk.expired(now: 1_000_000) == nil)
        talk.answered([UInt8](repeating: 1, count: 10), now: 2000)
        #expect(talk.due == 2500)
        _ = talk.wrote(1, now: 2400)
        #expect(talk.due == 2900 && talk.expired(now: 2899) == nil)
        #expect(talk.expired(now: 2900) == .close)
    }

    @Test("progress that a slow reader would only pile up is left out, the answer never is")
    mutating func progress() {
        #expect(talk.progressed(Array("early\n".utf8), now: 0) == false)
        _ = talk.received(bytes("go\n"), now: 0)
        var taken = 0
        for _ in 0..<20 where talk.progressed([UInt8](repeating: 2, count: 10), now: 0) { taken += 1 }
        #expect(taken == 5)
        talk.answered(Array("done\n".utf8), now: 0)
        #expect(talk.pending.count == 55)
        #expect(talk.progressed(Array("late\n".utf8), now: 0) == false)
        #expect(talk.wrote(55, now: 1) == nil && talk.wantsInput)
    }

    @Test("who sends no more still gets the answer, and half a line is no request")
    mutating func end() {
        var other = talk
        _ = talk.received(bytes("go\n"), now: 0)
        #expect(talk.receivedEnd() == nil)
        talk.answered(Array("done\n".utf8), now: 1)
        #expect(talk.wrote(5, now: 2) == .close)
        _ = other.received(bytes("half"), now: 0)
        #expect(other.receivedEnd() == .close)
    }

    @Test(
        "a request is exactly one",
        arguments: [
            "", "{}", "[]", "null", #"{"id":"1","command":"x"}"#, #"{"id":1,"command":"x","arguments":{}}"#,
            #"{"id":"","command":"x","arguments":{}}"#, #"{"id":"1","command":"x","arguments":[]}"#,
            #"{"id":"1","command":"x","arguments":{},"more":1}"#, #"{"id":"1","id":"2","command":"x","arguments":{}}"#,
            #"{"id":"1","command":"x","arguments":{},"signature":1}"#,
        ])
    func malformed(line: String) {
        let error = #expect(throws: DiagnosedError.self) { try ControlRequest(line: Array(line.utf8)) }
        #expect(error?.code == .controlMalformed)
    }

    @Test("a request reads back as it was written")
    func request() throws {
        let request = ControlRequest(
            id: "7", command: "freeze", arguments: try node(#"{"b":[1,"é"],"a":null}"#), signature: "s",
            confirmation: "c")
        let line = request.line()
        #expect(line.last == UInt8(ascii: "\n"))
        let read = try ControlRequest(line: line.dropLast())
        #expect(read.id == "7" && read.command == "freeze" && read.signature == "s" && read.confirmation == "c")
        #expect(try CanonicalJSON.bytes(read.arguments) == CanonicalJSON.bytes(request.arguments))
    }

    @Test("root, the own user and the group's members may; nobody else")
    func access() {
        let access = ControlAccess(uids: [0, 990], group: 44)
        func may(_ uid: UInt32, _ gid: UInt32, _ groups: [UInt32] = []) -> Bool {
            access.allows(PeerCredentials(pid: 1, uid: uid, gid: gid, groups: groups))
        }
        #expect(may(0, 5) && may(990, 5) && may(1000, 44) && may(1000, 5, [7, 44]))
        #expect(!may(1000, 5, [7, 45]) && !may(1000, 0, [0]) && !may(.max, .max))
        #expect(!ControlAccess(uids: [0]).allows(PeerCredentials(pid: 1, uid: 1000, gid: 44, groups: [44])))
    }
}
