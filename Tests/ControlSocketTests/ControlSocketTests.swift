import ControlSocket
import Diagnostics
import Foundation
import Synchronization
import TestServers
import Testing
import WireText

@testable import ControlSocket

@Suite("The control socket", .serialized, .timeLimit(.minutes(5)))
struct ControlSocketTests {
    @Test("a ping tells who answers, and a command gets its answer with all that was sent")
    func answers() async throws {
        let stage = try Stage()
        let path = stage.path
        let service = try await apart { try ControlClient(path: path).ping() }
        #expect(service.host == "kms.example.com" && service.node == "node-1" && service.version == "1.2.3")
        #expect(service.pid == Int64(getpid()))
        let said = try await apart {
            let client = try ControlClient(path: path)
            _ = try client.ping()
            let result = try client.send(
                "echo", arguments: try node(#"{"z":1,"a":["é"]}"#), signature: "s", confirmation: "c")
            return String(decoding: try CanonicalJSON.bytes(result), as: UTF8.self)
        }
        #expect(said == #"{"confirmation":"c","said":{"a":["é"],"z":1},"signature":"s"}"#)
        await stage.socket.stop()
    }

    @Test("the handler is told by the kernel who asks")
    func credentials() async throws {
        let stage = try Stage()
        let path = stage.path
        _ = try await apart { try ControlClient(path: path).send("echo", arguments: try node("{}")).kind }
        #expect(stage.actor.peers.map(\.pid) == [getpid()] && stage.actor.peers.map(\.uid) == [getuid()])
        var own = [gid_t](repeating: 0, count: 1024)
        let count = Int(getgroups(Int32(own.count), &own))
        #expect(stage.actor.peers.first.map { Set($0.groups) } == Set(own.prefix(count)))
        await stage.socket.stop()
    }

    @Test("progress comes before the answer, in order")
    func progress() async throws {
        let stage = try Stage()
        let path = stage.path
        let seen = try await apart {
            var seen: [String] = []
            _ = try ControlClient(path: path).send("steps", arguments: try node(#"{"count":5}"#)) { seen.append($0) }
            return seen
        }
        #expect(seen == (1...5).map { "step \($0)" })
        await stage.socket.stop()
    }

    @Test("a refusal arrives with all its parts; what nobody described arrives without details")
    func errors() async throws {
        let stage = try Stage()
        let path = stage.path
        func error(_ command: String) async throws -> DiagnosedError? {
            try await apart {
                do {
                    _ = try ControlClient(path: path).send(command, arguments: try node("{}"))
                    return nil
                } catch { return error as? DiagnosedError }
            }
        }
        let refusal = try #require(try await error("refuse"))
        #expect(refusal.code == "not-now" && refusal.fault == .store && refusal.summary == "no")
        #expect(refusal.expected == "yes" && refusal.found == "no" && refusal.hint == "ask again")
        #expect(try await error("nonsense")?.code == .controlUnknownCommand)
        let mishap = try #require(try await error("break"))
        #expect(mishap.code == .controlFailure && !mishap.description.contains("not for the client"))
        await stage.socket.stop()
    }

    @Test("the file is open to owner and group, and gone after the stop")
    func file() async throws {
        let stage = try Stage()
        #expect(fileMode(stage.path).map { $0 & 0o7777 } == 0o660)
        #expect(stage.folder.names(in: "") == ["control.sock"])
        await stage.socket.stop()
        #expect(stage.folder.names(in: "").isEmpty)
        await stage.socket.stop()
        let path = stage.path
        let error = try await apart { #expect(throws: DiagnosedError.self) { _ = try ControlClient(path: path) } }
        #expect(error?.code == .serviceNotRunning)
    }

    @Test("a file that was left behind is replaced; a listener, a file and a folder of others are not")
    func placement() async throws {
        let folder = TemporaryFolder()
        let path = Stage.path(in: folder)
        func start(_ path: String) -> Result<ControlSocket, any Error> {
            Result { try ControlSocket(.init(path: path, identity: Stage.identity), handler: Actor()) }
        }
        leaveSocketFile(path)
        #expect(fileMode(path) != nil)
        let first = try start(path).get()
        #expect(throws: DiagnosedError.self) { try start(path).get() }
        #expect(try await apart { try ControlClient(path: path).ping().service } == "hds-kms")
        await first.stop()
        try "mine".write(toFile: path, atomically: true, encoding: .utf8)
        #expect(throws: DiagnosedError.self) { try start(path).get() }
        #expect(try String(contentsOfFile: path, encoding: .utf8) == "mine")
        #expect(throws: DiagnosedError.self) { try start(folder.path + "/none/control.sock").get() }
        #expect(throws: DiagnosedError.self) { try start("control.sock").get() }
        #expect(throws: DiagnosedError.self) { try start("/" + String(repeating: "x", count: 100)).get() }
        let open = folder.path + "/open"
        mkdir(open, 0o700)
        chmod(open, 0o777)
        #expect(throws: DiagnosedError.self) { try start(open + "/control.sock").get() }
        #expect(Set(folder.names(in: "")) == ["control.sock", "open"])
    }

    @Test("a stop does not remove the file of who came after")
    func successor() async throws {
        let stage = try Stage()
        unlink(stage.path)
        let second = try ControlSocket(.init(path: stage.path, identity: Stage.identity), handler: Actor())
        await stage.socket.stop()
        let path = stage.path
        #expect(try await apart { try ControlClient(path: path).ping().service } == "hds-kms")
        await second.stop()
    }

    @Test("who may not use it is told so, and nothing that he sends is looked at")
    func refused() async throws {
        let stage = try Stage(access: ControlAccess(uids: []))
        let path = stage.path
        let lines = try await apart {
            let peer = try RawPeer(path)
            peer.send("{\"id\":\"1\",\"command\":\"echo\",\"arguments\":{}}\n")
            return try peer.rest()
        }
        #expect(lines.count == 1 && lines[0].contains("control-refused"))
        let error = try await apart {
            #expect(throws: DiagnosedError.self) { _ = try ControlClient(path: path).ping() }
        }
        #expect(error?.code == .controlRefused)
        #expect(stage.actor.performed.isEmpty)
        await stage.socket.stop()
    }

    @Test("a stop ends what is open, also what waits for an answer")
    func stop() async throws {
        let stage = try Stage()
        stage.actor.hold()
        let path = stage.path
        let peer = try RawPeer(path)
        peer.send("{\"id\":\"1\",\"command\":\"hold\",\"arguments\":{}}\n")
        await stage.actor.begun(1)
        await stage.socket.stop()
        #expect(try await apart { try peer.rest() }.isEmpty)
        stage.actor.release()
    }

    @Test("a request lives as long as its answer takes, an idle connection does not")
    func idle() async throws {
        let time = Mutex<Int64>(0)
        let clock = UncheckedClock(time)
        let stage = try Stage(clock: { clock.now })
        stage.actor.hold()
        let path = stage.path
        let idle = try RawPeer(path), half = try RawPeer(path), busy = try RawPeer(path)
        half.send("{\"id\":")
        busy.send("{\"id\":\"1\",\"command\":\"hold\",\"arguments\":{}}\n")
        await stage.actor.begun(1)
        clock.advance(to: 60_001)
        stage.socket.nudge()
        for peer in [idle, half] {
            let lines = try await apart { try peer.rest() }
            #expect(lines.count == 1 && lines[0].contains("control-idle"))
        }
        stage.actor.release()
        let lines = try await apart { [try busy.line(), try busy.line()] }
        #expect(lines[0]?.contains("still here") == true && lines[1]?.contains("\"ok\":true") == true)
        await stage.socket.stop()
    }
}

/// A clock that stands still until it is told to go on.
final class UncheckedClock: Sendable {
    private let time: Mutex<Int64>
    init(_ time: consuming Mutex<Int64>) { self.time = time }
    var now: Int64 { time.withLock { $0 } }
    func advance(to moment: Int64) { time.withLock { $0 = moment } }
}
