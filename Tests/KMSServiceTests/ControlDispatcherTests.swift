import AuditTrail
import ControlSocket
import Cryptography
import Diagnostics
import KeyManagement
import ServiceRuntime
import SignedPolicy
import Synchronization
import TestServers
import Testing
import WireText

@testable import KMSService

/// Commands over a real control socket: who may give them, that they count once, and what stands in the trail.
@Suite("Commands of the control socket")
struct ControlDispatcherTests {
    /// A socket with three commands, and what they did.
    private final class World: Sendable {
        let bench: Bench
        let officers: EnrolledOfficers
        private let socket: ControlSocket

        var path: String { bench.folder.path + "/control.sock" }

        static func start(_ bench: Bench, heartbeat: Duration = .seconds(10)) async throws -> World {
            let nonces = OfficerNonces(store: bench.store, vault: bench.vault)
            return try World(bench, nonces, remembered: try await nonces.remembered(), heartbeat)
        }

        private init(
            _ bench: Bench, _ nonces: OfficerNonces, remembered: [OfficerDesk.Nonce], _ heartbeat: Duration
        ) throws {
            self.bench = bench
            let officers = try EnrolledOfficers(file: FileLocation(bench.officersFile))
            self.officers = officers
            let log = Log()
            self.log = log
            let commands = [
                ControlCommand("look") { _, approval, _, _ in
                    ControlAnswer { $0.member("approved", approval != nil) }
                },
                ControlCommand(
                    "stop", duty: .freeze,
                    needsSecond: { arguments in
                        log.note("counted")
                        return arguments["all"]?.boolean == true
                    },
                    run: { arguments, approval, _, _ in
                        log.note("stop \(arguments["what"]?.string ?? "-") \(approval?.officer.id ?? "nobody")")
                        return ControlAnswer { json in
                            json.member("officer", ifPresent: approval?.officer.id)
                            json.member("second", ifPresent: approval?.second?.id)
                        }
                    }),
                ControlCommand("slow") { _, _, _, _ in
                    await log.wait()
                    return ControlAnswer()
                },
            ]
            let desk = OfficerDesk(
                host: "kms.example.com", nodes: ["node-1", "cluster"],
                duties: ControlDispatcher.duties(of: commands), roster: { officers.roster }, remembered: remembered,
                keep: { try await nonces.keep($0, now: bench.now) })
            socket = try ControlSocket(
                .init(
                    path: bench.folder.path + "/control.sock",
                    identity: .init(service: "hds-kms", host: "kms.example.com", node: "node-1", version: "1")),
                handler: ControlDispatcher(
                    commands, desk: desk, audit: bench.audit, events: bench.events, heartbeat: heartbeat))
        }

        final class Log: Sendable {
            private let state = Mutex<(lines: [String], waiting: CheckedContinuation<Void, Never>?)>(([], nil))
            var lines: [String] { state.withLock { $0.lines } }
            func note(_ line: String) { state.withLock { $0.lines.append(line) } }
            func wait() async { await withCheckedContinuation { next in state.withLock { $0.waiting = next } } }
            func go() { state.withLock { $0.waiting.take() }?.resume() }
        }
        let log: Log

        func stop() async { await socket.stop() }

        /// Sends from a thread of its own, as the tool does.
        func send(
            _ command: String, _ arguments: String = "{}", signature: String? = nil, confirmation: String? = nil,
            progress: @escaping @Sendable (String) -> Void = { _ in }
        ) async throws -> String {
            let path = path
            return try await onOwnThread {
                try ControlClient(path: path).send(
                    command, arguments: try JSONDocument(text: arguments).root, signature: signature,
                    confirmation: confirmation, progress: progress
                ).rawText
            }
        }
    }

    private func request(
        _ officer: Bench.OfficerKey, _ arguments: String, command: String = "stop", node: String = "node-1"
    ) throws -> String {
        let payload = try OfficerRequest.payload(
            command: command, arguments: try JSONDocument(text: arguments).root, host: "kms.example.com", node: node,
            issued: .now())
        return try OfficerSignature.sign(payload, as: .request, with: officer.key)
    }

    @Test("reading needs no officer; what has a duty needs his signature over these very arguments")
    func duties() async throws {
        let bench = try await Bench()
        let world = try await World.start(bench)
        #expect(try await world.send("look") == #"{"approved":false}"#)
        #expect(await errorCode { try await world.send("none") } == .controlUnknownCommand)
        let arguments = #"{"what":"one"}"#
        #expect(await errorCode { try await world.send("stop", arguments) } == .requestUnsigned)
        let signed = try request(bench.ada, arguments)
        #expect(
            await errorCode { try await world.send("stop", #"{"what":"two"}"#, signature: signed) } == .requestMismatch)
        let bobs = try request(bench.bob, arguments)
        #expect(await errorCode { try await world.send("stop", arguments, signature: bobs) } == .officerDuty)
        let elsewhere = try request(bench.ada, arguments, node: "node-2")
        #expect(await errorCode { try await world.send("stop", arguments, signature: elsewhere) } == .requestMismatch)
        #expect(world.log.lines.isEmpty, "nothing was even counted")
        #expect(try bench.acts().isEmpty, "nothing was ordered")
        #expect(try await world.send("stop", arguments, signature: signed) == #"{"officer":"ada"}"#)
        #expect(world.log.lines == ["counted", "stop one ada"])
        #expect(try bench.acts() == ["freeze officer:stop officers ada"])
        #expect(bench.events.details(of: .officerCommand) == ["stop, signed by ada"])
        await world.stop()
    }

    @Test("a signature counts once, also after a restart and on another node of the same store")
    func once() async throws {
        let bench = try await Bench()
        let arguments = #"{"what":"one"}"#
        let first = try await World.start(bench)
        let signed = try request(bench.ada, arguments, node: "cluster")
        _ = try await first.send("stop", arguments, signature: signed)
        #expect(await errorCode { try await first.send("stop", arguments, signature: signed) } == .requestReplayed)
        await first.stop()
        let second = try await World.start(bench)
        #expect(await errorCode { try await second.send("stop", arguments, signature: signed) } == .requestReplayed)
        #expect(second.log.lines.isEmpty)
        await second.stop()
        // Another node that was there before: it learns of the nonce from the store.
        let nonces = OfficerNonces(store: bench.store, vault: bench.vault)
        let taken = try await nonces.remembered()
        #expect(taken.count == 1)
        #expect(await errorCode { try await nonces.keep(taken, now: bench.now) } == .requestReplayed)
        bench.advance(seconds: 86_400 + 3600)
        try await nonces.keep([.init(value: UUIDText.random() + "1", until: bench.now)], now: bench.now)
        #expect(try await nonces.remembered().count == 1, "the old one is over for long and forgotten")
    }

    @Test("what needs a second officer is done with the word of one only, and both stand in the trail")
    func second() async throws {
        let bench = try await Bench()
        let world = try await World.start(bench)
        let arguments = #"{"all":true}"#
        let signed = try request(bench.ada, arguments)
        #expect(await errorCode { try await world.send("stop", arguments, signature: signed) } == .confirmationMissing)
        let confirmation = try OfficerSignature.sign(
            OfficerRequest.confirmation(of: signed, host: "kms.example.com", issued: .now()), as: .confirmation,
            with: bench.bob.key)
        let answer = try await world.send("stop", arguments, signature: signed, confirmation: confirmation)
        #expect(answer == #"{"officer":"ada","second":"bob"}"#)
        #expect(try bench.acts() == ["freeze officer:stop officers ada, bob"])
        await world.stop()
    }

    @Test("an officer who is taken out of the file can sign nothing any more")
    func dismissed() async throws {
        let bench = try await Bench()
        let world = try await World.start(bench)
        try bench.enrol([bench.bob])
        try world.officers.reload()
        let signed = try request(bench.ada, "{}")
        #expect(await errorCode { try await world.send("stop", "{}", signature: signed) } == .officerUnknown)
        await world.stop()
    }

    @Test("a command that takes long says that it goes on")
    func heartbeat() async throws {
        let bench = try await Bench()
        let world = try await World.start(bench, heartbeat: .milliseconds(1))
        let log = world.log
        _ = try await world.send("slow") { line in
            if line == "still at it" { log.go() }
        }
        await world.stop()
    }
}
