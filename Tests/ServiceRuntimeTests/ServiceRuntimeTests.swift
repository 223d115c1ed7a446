import Diagnostics
import Glibc
import Logging
import ServiceLifecycle
import Synchronization
import TestServers
import Testing

@testable import ServiceRuntime

// Each test runs a whole service in a process of its own, which `ServiceRuntime.run` leaves with its exit code.

private struct TestConfiguration: RuntimeConfiguration {
    let runtime: RuntimeSection
    let word: String
    enum CodingKeys: String, CodingKey, CaseIterable { case runtime, word }

    static func text(word: String = "one", level: String = "info") -> String {
        """
        word: \(word)
        runtime:
          health: {address: "127.0.0.1:0"}
          log: {level: \(level), format: text}
          drain-deadline: 5s
          allow-root: true
        """
    }
}

private let identity = ServiceIdentity(name: "hds-test", version: "9")

/// Works until it is told to stop, then ends one piece of work.
private struct Worker: Service {
    var onStop: @Sendable () async throws -> Void = {}
    func run() async throws {
        try await gracefulShutdown()
        try await onStop()
    }
}

/// What systemd would hear: a datagram socket that stands in $NOTIFY_SOCKET.
private final class SystemdSocket: Sendable {
    let descriptor: Int32

    init(in folder: TemporaryFolder) {
        descriptor = socket(AF_UNIX, Int32(SOCK_DGRAM.rawValue | SOCK_CLOEXEC.rawValue), 0)
        let path = "\(folder.path)/notify"
        var address = sockaddr_un()
        address.sun_family = sa_family_t(AF_UNIX)
        withUnsafeMutableBytes(of: &address.sun_path) { $0.copyBytes(from: path.utf8) }
        _ = withUnsafePointer(to: &address) {
            $0.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                bind(descriptor, $0, socklen_t(MemoryLayout<sockaddr_un>.size))
            }
        }
        setenv("NOTIFY_SOCKET", path, 1)
    }

    func next() -> String {
        let bytes = [UInt8](unsafeUninitializedCapacity: 4096) {
            $1 = max(0, recv(descriptor, $0.baseAddress, $0.count, 0))
        }
        return String(decoding: bytes, as: UTF8.self)
    }

    /// Reads until a datagram starts so, and gives all that came.
    func until(_ start: String) async throws -> [String] {
        try await onOwnThread {
            var heard: [String] = []
            while heard.last?.hasPrefix(start) != true { heard.append(self.next()) }
            return heard
        }
    }
}

@Suite("Service runtime")
struct ServiceRuntimeTests {
    @Test("a configuration that is refused ends the process with 78 and a block to read")
    func refusedConfiguration() async throws {
        let result = try await #require(
            processExitsWith: .exitCode(78), observing: [\.standardErrorContent]
        ) {
            let folder = try TemporaryFolder()
            let path = folder.write("test.yaml", TestConfiguration.text().replacing("word:", with: "wrod:"))
            let code = await ServiceRuntime.run(identity, configurationFile: path, as: TestConfiguration.self) { _, _ in
                ServicePlan(services: [], selfTest: {})
            }
            exit(code.rawValue)
        }
        let text = String(decoding: result.standardErrorContent, as: UTF8.self)
        #expect(text.hasPrefix("hds-test can not start.\n"))
        #expect(text.contains("line 1: wrod: this key is not known\n      to do:    did you mean word?\n"))
        #expect(text.contains("line 1: the key word is missing"))
        #expect(text.hasSuffix("[exit code 78]\n"))
    }

    @Test("a health address for other machines needs a decision")
    func openHealthAddress() async throws {
        let result = try await #require(processExitsWith: .exitCode(78), observing: [\.standardErrorContent]) {
            let folder = try TemporaryFolder()
            let path = folder.write("test.yaml", TestConfiguration.text().replacing("127.0.0.1:0", with: "0.0.0.0:0"))
            let code = await ServiceRuntime.run(identity, configurationFile: path, as: TestConfiguration.self) { _, _ in
                ServicePlan(services: [], selfTest: {})
            }
            exit(code.rawValue)
        }
        let text = String(decoding: result.standardErrorContent, as: UTF8.self)
        #expect(text.contains("line 3: runtime.health.address: 0.0.0.0:0 can be reached from other machines"))
        #expect(text.contains("allow-other-machines: true"))
    }

    @Test("a store that is away at the start ends the process with 69, a fault of the program with 70")
    func failedStart() async throws {
        let result = try await #require(processExitsWith: .exitCode(69), observing: [\.standardErrorContent]) {
            let folder = try TemporaryFolder()
            let path = folder.write("test.yaml", TestConfiguration.text())
            let code = await ServiceRuntime.run(identity, configurationFile: path, as: TestConfiguration.self) { _, _ in
                throw DiagnosedError(
                    "store-away", fault: .store, "the store does not open", expected: "a file", found: "nothing",
                    hint: "mount the disk")
            }
            exit(code.rawValue)
        }
        #expect(
            String(decoding: result.standardErrorContent, as: UTF8.self) == """
                hds-test can not start.
                  the store does not open
                      expected: a file
                      found:    nothing
                      to do:    mount the disk
                  [store-away, exit code 69]

                """)
        await #expect(processExitsWith: .exitCode(70)) {
            struct Broken: Error {}
            let folder = try TemporaryFolder()
            let path = folder.write("test.yaml", TestConfiguration.text())
            let code = await ServiceRuntime.run(identity, configurationFile: path, as: TestConfiguration.self) { _, _ in
                throw Broken()
            }
            exit(code.rawValue)
        }
    }

    @Test(
        "a service tells systemd READY, takes over a new file on SIGHUP, keeps the old one when it is bad, and drains")
    func wholeLife() async throws {
        let result = try await #require(processExitsWith: .success, observing: [\.standardErrorContent]) {
            let folder = try TemporaryFolder()
            let systemd = SystemdSocket(in: folder)
            setenv("WATCHDOG_USEC", "4000000", 1)
            let path = folder.write("test.yaml", TestConfiguration.text())
            let words = Mutex<[String]>([])
            let drained = Atomic(false)
            let finished = Atomic(false)
            let service = Task {
                await ServiceRuntime.run(identity, configurationFile: path, as: TestConfiguration.self) {
                    configuration, context in
                    words.withLock { $0.append(configuration.word) }
                    let gate = HealthCheck("worker", "the worker", gate: .required)
                    context.health.report(gate, .ok("works"))
                    let worker = Worker(onStop: { drained.store(true, ordering: .relaxed) })
                    return ServicePlan(
                        services: [worker], selfTest: {},
                        reload: { new in
                            if new.word == "bad" {
                                throw DiagnosedError("no-bad", fault: .configuration, "the word is bad")
                            }
                            words.withLock { $0.append(new.word) }
                        }, reloadable: ["word"], finish: { finished.store(true, ordering: .relaxed) })
                }
            }
            let start = try await systemd.until("READY=1")
            #expect(start.first == "STATUS=Starting.")
            #expect(start.contains("WATCHDOG=1"))
            #expect(start.last == "READY=1\nSTATUS=Ready; all checks pass.")

            folder.write("test.yaml", TestConfiguration.text(word: "two", level: "debug"))
            kill(getpid(), SIGHUP)
            let reloaded = try await systemd.until("READY=1").filter { !$0.hasPrefix("WATCHDOG") }
            #expect(reloaded.first?.hasPrefix("RELOADING=1\nMONOTONIC_USEC=") == true)
            let moment = reloaded.first?.split(separator: "\n").dropFirst().first?.split(separator: "=").last
            #expect(moment.flatMap { Int64($0) } ?? 0 > 0)
            #expect(words.withLock { $0 } == ["one", "two"])

            for text in [TestConfiguration.text(word: "bad"), "word: [broken"] {
                folder.write("test.yaml", text)
                kill(getpid(), SIGHUP)
                _ = try await systemd.until("READY=1")
            }
            #expect(words.withLock { $0 } == ["one", "two"])

            // What can not change while it runs is named; the rest is taken over.
            folder.write(
                "test.yaml",
                TestConfiguration.text(word: "three").replacing("drain-deadline: 5s", with: "drain-deadline: 6s"))
            kill(getpid(), SIGHUP)
            let waiting = try await systemd.until("READY=1").last
            #expect(words.withLock { $0 } == ["one", "two", "three"])
            #expect(waiting?.contains("which needs a restart") == true, "\(waiting ?? "nothing")")
            folder.write("test.yaml", TestConfiguration.text(word: "four"))
            kill(getpid(), SIGHUP)
            #expect(try await systemd.until("READY=1").last == "READY=1\nSTATUS=Ready; all checks pass.")

            kill(getpid(), SIGTERM)
            _ = try await systemd.until("STOPPING=1\nSTATUS=Draining: answering what is in flight.")
            let code = await service.value
            #expect(code == .drained)
            #expect(drained.load(ordering: .relaxed) && finished.load(ordering: .relaxed))
            // Hardening held.
            var limit = rlimit()
            getrlimit(__rlimit_resource_t(RLIMIT_CORE.rawValue), &limit)
            #expect(limit.rlim_cur == 0 && limit.rlim_max == 0)
            #expect(umask(0o077) == 0o077)
            exit(code.rawValue)
        }
        let lines = String(decoding: result.standardErrorContent, as: UTF8.self)
        #expect(lines.contains("hds-test: hds-test 9 is ready ("))
        #expect(lines.contains("hds-test took over the configuration"))
        #expect(
            lines.contains(
                "HDS-RELOAD-REFUSED: a new configuration is refused, the old one stays in use: the word is bad [no-bad]"
            ))
        #expect(lines.contains("HDS-RELOAD-REFUSED cleared"))
        #expect(lines.contains("took over the configuration, and needs a restart for runtime.drain-deadline"))
        #expect(lines.contains("line 1"))
        #expect(lines.contains("hds-test drains: SIGTERM"))
        #expect(lines.contains("hds-test stopped, everything was answered"))
    }

    @Test("a stop while the service still starts ends the process at once")
    func stopWhileStarting() async {
        await #expect(processExitsWith: .success) {
            let folder = try TemporaryFolder()
            let path = folder.write("test.yaml", TestConfiguration.text())
            _ = await ServiceRuntime.run(identity, configurationFile: path, as: TestConfiguration.self) { _, _ in
                kill(getpid(), SIGTERM)
                try await Task.sleep(for: .seconds(600))
                return ServicePlan(services: [], selfTest: {})
            }
            exit(99)
        }
    }

    @Test("a part that fails at work ends the process with the code of its fault; one that does not drain with 70")
    func failures() async {
        await #expect(processExitsWith: .exitCode(69)) {
            let folder = try TemporaryFolder()
            let path = folder.write("test.yaml", TestConfiguration.text())
            struct Failing: Service {
                func run() async throws { throw DiagnosedError("gone", fault: .peer, "the peer is gone") }
            }
            let code = await ServiceRuntime.run(identity, configurationFile: path, as: TestConfiguration.self) { _, _ in
                ServicePlan(services: [Failing()], selfTest: {})
            }
            exit(code.rawValue)
        }
        await #expect(processExitsWith: .exitCode(70)) {
            let folder = try TemporaryFolder()
            let text = TestConfiguration.text().replacing("drain-deadline: 5s", with: "drain-deadline: 1s")
            let path = folder.write("test.yaml", text)
            let systemd = SystemdSocket(in: folder)
            let service = Task {
                await ServiceRuntime.run(identity, configurationFile: path, as: TestConfiguration.self) { _, _ in
                    ServicePlan(services: [Worker(onStop: { try await Task.sleep(for: .seconds(600)) })], selfTest: {})
                }
            }
            _ = try await systemd.until("READY=1")
            kill(getpid(), SIGTERM)
            exit(await service.value.rawValue)
        }
    }

    @Test("a part that heeds neither the drain nor its cancellation does not keep the process")
    func stubbornPart() async throws {
        let result = try await #require(processExitsWith: .exitCode(70), observing: [\.standardErrorContent]) {
            let folder = try TemporaryFolder()
            let text = TestConfiguration.text().replacing("drain-deadline: 5s", with: "drain-deadline: 1s")
            let path = folder.write("test.yaml", text)
            let systemd = SystemdSocket(in: folder)
            struct Stubborn: Service {
                func run() async throws { await withUnsafeContinuation { (_: UnsafeContinuation<Void, Never>) in } }
            }
            let service = Task {
                await ServiceRuntime.run(identity, configurationFile: path, as: TestConfiguration.self) { _, _ in
                    ServicePlan(services: [Stubborn()], selfTest: {})
                }
            }
            _ = try await systemd.until("READY=1")
            kill(getpid(), SIGTERM)
            _ = await service.value
            exit(99)
        }
        let text = String(decoding: result.standardErrorContent, as: UTF8.self)
        #expect(text.contains("hds-test stopped with work unanswered"))
    }
}
