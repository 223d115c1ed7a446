import Diagnostics
import NIOCore
import Testing

@testable import WebSocketChannel

@Suite("WebSocket session rules")
struct WebSocketSessionTests {
    private let start = NIODeadline.uptimeNanoseconds(1_000_000_000)

    private func session(
        heartbeat: WebSocketHeartbeat? = WebSocketHeartbeat(interval: .seconds(5), deadline: .seconds(15)),
        maximumMessageBytes: Int = 10
    ) -> WebSocketSession {
        WebSocketSession(
            limits: WebSocketLimits(
                maximumFrameBytes: 10, maximumMessageBytes: maximumMessageBytes, heartbeat: heartbeat), now: start)
    }

    private func frame(_ opcode: WebSocketFrame.Opcode, _ payload: [UInt8] = [], isFinal: Bool = true) -> WebSocketFrame
    {
        WebSocketFrame(opcode: opcode, isFinal: isFinal, payload: payload)
    }

    @Test("Fragments are joined, with pings between them answered at once")
    func fragments() {
        var session = session()
        #expect(session.receive(frame(.text, [0xC3], isFinal: false)).isEmpty)
        #expect(session.receive(frame(.ping, [1, 2])) == [.sendPong([1, 2])])
        #expect(session.receive(frame(.continuation, [], isFinal: false)).isEmpty)
        #expect(session.receive(frame(.continuation, [0xA4])) == [.deliver(.text("ä"))])
        #expect(session.receive(frame(.binary, [0xFF])) == [.deliver(.binary([0xFF]))])
        #expect(session.receive(frame(.text)) == [.deliver(.text(""))])
        #expect(session.isOpen)
    }

    @Test("Breaches end the connection with their code and an error")
    func breaches() {
        let cases: [(frames: [WebSocketFrame], code: UInt16, error: DiagnosedError.Code)] = [
            ([frame(.continuation)], 1002, .webSocketProtocol),
            ([frame(.text, isFinal: false), frame(.text)], 1002, .webSocketProtocol),
            ([frame(.text, [0xFF])], 1007, .webSocketInvalidText),
            ([frame(.text, [0xED, 0xA0, 0x80])], 1007, .webSocketInvalidText),
            ([frame(.binary, Array(repeating: 0, count: 11))], 1009, .webSocketTooLarge),
            (
                [frame(.binary, [1, 2, 3, 4, 5, 6], isFinal: false), frame(.continuation, [1, 2, 3, 4, 5])], 1009,
                .webSocketTooLarge
            ),
            ([frame(.close, [0x03])], 1002, .webSocketProtocol),
            ([frame(.close, [0x03, 0xED])], 1002, .webSocketProtocol),
            ([frame(.close, [0x03, 0xE8, 0xFF])], 1007, .webSocketInvalidText),
        ]
        for (frames, code, error) in cases {
            var session = session()
            var actions: [WebSocketSession.Action] = []
            for frame in frames { actions += session.receive(frame) }
            guard case .sendClose(let sent, _) = actions.first else {
                Issue.record("\(frames) gave \(actions)")
                continue
            }
            #expect(sent == code)
            #expect(actions.last == .finish(gently: true))
            #expect(session.closure?.code == code)
            #expect(session.closure?.error?.code == error)
            #expect(session.receive(frame(.text)).isEmpty)
        }
    }

    @Test("The peer's close is answered with its code and is no error")
    func peerCloses() {
        var session = session()
        let reason = Array("later".utf8)
        #expect(
            session.receive(frame(.close, [0x11, 0x31] + reason)) == [
                .sendClose(code: 4401, reason: ""), .finish(gently: true),
            ])
        #expect(session.closure?.code == 4401)
        #expect(session.closure?.reason == "later")
        #expect(session.closure?.initiator == .peer)
        #expect(session.closure?.error == nil)

        var silent = self.session()
        #expect(silent.receive(frame(.close)) == [.sendClose(code: nil, reason: ""), .finish(gently: true)])
        #expect(silent.closure?.code == 1005)
    }

    @Test("After our own close data is dropped, the peer's answer ends it, and so does the deadline")
    func ownClose() {
        var session = session()
        #expect(session.close(code: 1000, reason: "done") == [.sendClose(code: 1000, reason: "done")])
        #expect(session.close(code: 1001, reason: "").isEmpty)
        #expect(session.receive(frame(.text)).isEmpty)
        #expect(session.receive(frame(.ping)).isEmpty)
        var impatient = session
        #expect(session.receive(frame(.close, [0x03, 0xE8])) == [.finish(gently: true)])
        #expect(session.closure?.initiator == .local)
        #expect(session.closure?.reason == "done")
        #expect(session.closeDeadlinePassed().isEmpty)
        #expect(impatient.closeDeadlinePassed() == [.finish(gently: false)])
        #expect(impatient.closure?.error == nil)
    }

    @Test("An end without a close frame is an error of the peer")
    func lost() {
        var session = session()
        session.connectionLost(nil)
        #expect(session.closure?.code == 1006)
        #expect(session.closure?.error?.code == .webSocketLost)
        var cut = self.session()
        cut.connectionLost(DiagnosedError("tls-truncated", fault: .peer, "cut"))
        #expect(cut.closure?.error?.code == "tls-truncated")
    }

    @Test("A silent peer is pinged, and given up after the deadline")
    func silence() {
        var session = session()
        #expect(session.heartbeat(now: start + .seconds(5), isReading: true) == [.sendPing])
        #expect(session.heartbeat(now: start + .seconds(10), isReading: true) == [.sendPing])
        #expect(session.heartbeat(now: start + .seconds(14), isReading: true) == [.sendPing])
        let actions = session.heartbeat(now: start + .seconds(15), isReading: true)
        #expect(actions.last == .finish(gently: false))
        #expect(session.closure?.error?.code == .webSocketSilent)
        #expect(session.closure?.code == 1006)
    }

    @Test("Any octets are a sign of life, and who does not read may not judge")
    func signsOfLife() {
        var session = session()
        session.noteSignOfLife(now: start + .seconds(10))
        #expect(session.heartbeat(now: start + .seconds(24), isReading: true) == [.sendPing])
        #expect(session.heartbeat(now: start + .seconds(60), isReading: false) == [.sendPing])
        #expect(session.heartbeat(now: start + .seconds(74), isReading: true) == [.sendPing])
        #expect(session.heartbeat(now: start + .seconds(75), isReading: true).last == .finish(gently: false))
        // Held up for a minute, it asks before it judges.
        var late = self.session()
        #expect(late.heartbeat(now: start + .seconds(60), isReading: true) == [.sendPing])
        #expect(late.heartbeat(now: start + .seconds(65), isReading: true).last == .finish(gently: false))
        var quiet = self.session(heartbeat: nil)
        #expect(quiet.heartbeat(now: start + .hours(1), isReading: true).isEmpty)
    }

    @Test("Only codes that may be sent are taken")
    func codes() {
        for code in [0, 999, 1004, 1005, 1006, 1015, 1016, 2999, 5000, 65535] as [UInt16] {
            #expect(!WebSocketCloseCode.isSendable(code))
        }
        for code in [1000, 1003, 1007, 1011, 3000, 4000, 4409, 4999] as [UInt16] {
            #expect(WebSocketCloseCode.isSendable(code))
        }
    }
}
