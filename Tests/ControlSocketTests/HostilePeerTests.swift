import Diagnostics
import Foundation
import TestServers
import Testing
import WireText

@testable import ControlSocket

@Suite("Hostile peers of the control socket", .serialized, .timeLimit(.minutes(5)))
struct HostilePeerTests {
    /// The socket answers as if nothing had been.
    private func stillAnswers(_ stage: Stage) async throws -> Bool {
        let path = stage.path
        return try await apart { try ControlClient(path: path).ping().service } == "hds-kms"
    }

    @Test("garbage gets an answer for each line, and the connection goes on", arguments: SeededGenerator.seeds)
    func garbage(seed: UInt64) async throws {
        let stage = try Stage()
        let path = stage.path
        var random = SeededGenerator(seed: seed)
        let lines = (0..<30).map { _ in random.octets(upTo: 300).filter { $0 != UInt8(ascii: "\n") } }
        let answers = try await apart {
            let peer = try RawPeer(path)
            for line in lines { peer.send(line + [UInt8(ascii: "\n")]) }
            peer.send("{\"id\":\"9\",\"command\":\"echo\",\"arguments\":{}}\n")
            peer.finish()
            return try peer.rest()
        }
        #expect(answers.count == 31, "seed \(seed)")
        #expect(answers.dropLast().allSatisfy { $0.contains("control-malformed") })
        #expect(answers.last?.contains("\"id\":\"9\",\"ok\":true") == true)
        #expect(stage.actor.performed == ["echo"])
        await stage.socket.stop()
    }

    @Test("requests that are almost right never reach the handler", arguments: SeededGenerator.seeds)
    func almost(seed: UInt64) async throws {
        let stage = try Stage()
        let path = stage.path
        var random = SeededGenerator(seed: seed)
        let right = Array(#"{"id":"1","command":"echo","arguments":{"a":[1,{"b":"c"}]}}"#.utf8)
        let lines = (0..<100).map { _ in
            var line = right
            line.remove(at: Int.random(in: 0..<line.count, using: &random))
            return line
        }
        let answers = try await apart {
            let peer = try RawPeer(path)
            var answers: [String] = []
            for line in lines {
                peer.send(line + [UInt8(ascii: "\n")])
                answers.append(try peer.line() ?? "")
            }
            return answers
        }
        for (line, answer) in zip(lines, answers) {
            // One letter less may be another command, another id or other arguments; then it is a request.
            let isRequest = (try? ControlRequest(line: line)) != nil
            #expect(answer.contains("control-malformed") != isRequest, "seed \(seed): \(answer)")
        }
        #expect(stage.actor.performed.count == lines.count { (try? ControlRequest(line: $0)) != nil })
        await stage.socket.stop()
    }

    @Test("a line beyond the limit is refused without being kept")
    func hugeLine() async throws {
        let stage = try Stage()
        let path = stage.path
        let (sent, lines) = try await apart {
            let peer = try RawPeer(path)
            let sent = peer.send([UInt8](repeating: 0x78, count: 64 << 20))
            return (sent, try peer.rest())
        }
        #expect(sent < 8 << 20)
        #expect(lines.isEmpty || lines[0].contains("control-malformed"))
        // Up to the limit it is a line like any other.
        let text = String(repeating: "x", count: (1 << 20) - 100)
        let answer = try await apart {
            let peer = try RawPeer(path)
            peer.send("{\"id\":\"1\",\"command\":\"echo\",\"arguments\":{\"a\":\"\(text)\"}}\n")
            return try peer.line()
        }
        #expect(answer?.utf8.count ?? 0 > text.utf8.count)
        #expect(try await stillAnswers(stage))
        await stage.socket.stop()
    }

    @Test("of a hundred connections thirty-two are served, the others are told, and room comes back")
    func crowd() async throws {
        let stage = try Stage()
        let path = stage.path
        let told = try await apart {
            let peers = try (0..<100).map { _ in try RawPeer(path) }
            // All have connected before the first one leaves.
            return try peers.enumerated().map { number, peer in
                peer.send("{\"id\":\"\(number)\",\"command\":\"echo\",\"arguments\":{}}\n")
                return try peer.line() ?? "nothing"
            }
        }
        #expect(told.count { $0.contains("\"ok\":true") } == 32)
        #expect(told.count { $0.contains("control-too-many") } == 68)
        // The hundred are gone, and the thread sees it before it takes in the next one or right after.
        var isServed = false
        for _ in 0..<1000 where !isServed { isServed = (try? await stillAnswers(stage)) ?? false }
        #expect(isServed)
        await stage.socket.stop()
    }

    @Test("who leaves in the middle of an answer or before it harms nobody, and what he asked for is done")
    func leaving() async throws {
        let stage = try Stage()
        stage.actor.hold()
        let path = stage.path
        var leaver: RawPeer? = try RawPeer(path)
        leaver?.send("{\"id\":\"1\",\"command\":\"hold\",\"arguments\":{}}\n")
        await stage.actor.begun(1)
        leaver = nil
        // A later ping shows that the thread has seen the end of the connection: it looks at all in one round.
        #expect(try await stillAnswers(stage))
        stage.actor.release()
        var reader: RawPeer? = try RawPeer(path)
        reader?.send("{\"id\":\"2\",\"command\":\"big\",\"arguments\":{\"count\":4000000}}\n")
        await stage.actor.begun(2)
        reader = nil
        for _ in 0..<20 { #expect(try await stillAnswers(stage)) }
        for _ in 0..<1000 where !stage.actor.toldGone { #expect(try await stillAnswers(stage)) }
        #expect(stage.actor.toldGone)
        #expect(stage.actor.performed == ["hold", "big"])
        await stage.socket.stop()
    }

    @Test("a large answer reaches a reader who takes his time")
    func slowReader() async throws {
        let stage = try Stage()
        let path = stage.path
        let count = try await apart {
            let peer = try RawPeer(path)
            peer.send("{\"id\":\"2\",\"command\":\"big\",\"arguments\":{\"count\":1000000}}\n")
            // Others are served meanwhile.
            for _ in 0..<20 { _ = try ControlClient(path: path).ping() }
            return try peer.line()?.utf8.count ?? 0
        }
        #expect(count > 1_000_000)
        await stage.socket.stop()
    }

    @Test("an answer that would be too long is a failure and not a torrent")
    func hugeAnswer() async throws {
        let stage = try Stage()
        let path = stage.path
        let line = try await apart {
            let peer = try RawPeer(path)
            peer.send("{\"id\":\"2\",\"command\":\"big\",\"arguments\":{\"count\":9000000}}\n")
            return try peer.line()
        }
        #expect(line?.contains("control-failure") == true)
        await stage.socket.stop()
    }

    @Test("many talk at once, and everybody gets his own answers")
    func together() async throws {
        let stage = try Stage()
        let path = stage.path
        let results = try await withThrowingTaskGroup(of: Bool.self) { group in
            for number in 0..<16 {
                group.addTask {
                    try await apart {
                        let client = try ControlClient(path: path)
                        return try (0..<30).allSatisfy { round in
                            let own = number * 1000 + round
                            let result = try client.send("echo", arguments: try node("{\"n\":\(own)}"))
                            return result["said"]?["n"]?.integer == Int64(own)
                        }
                    }
                }
            }
            return try await group.reduce(into: []) { $0.append($1) }
        }
        #expect(results == [Bool](repeating: true, count: 16))
        #expect(stage.actor.performed.count == 480)
        await stage.socket.stop()
    }
}
