import Diagnostics
import Glibc
import Synchronization
import TestServers
import Testing

@testable import ServiceRuntime

/// The socket of the health address outlives the process.
extension HealthEndpointTests {
    /// What systemd has: a socket that listens, whoever serves it.
    private static func listening() throws -> (descriptor: Int32, port: Int) {
        let socket = try HealthSocket.open(NetworkAddress(host: "127.0.0.1", port: 0), handed: [])
        return (socket.descriptor, socket.address.port)
    }

    private static func duplicate(_ descriptor: Int32) -> Int32 { fcntl(descriptor, F_DUPFD_CLOEXEC, 3) }

    @Test(
        "a connection between two processes waits and is answered by the second", arguments: ["health", "kept-health"])
    func waits(_ name: String) async throws {
        let (descriptor, port) = try Self.listening()
        defer { close(descriptor) }
        func handed() -> [HealthSocket.Handed] { [.init(name: name, descriptor: Self.duplicate(descriptor))] }
        try await withEndpoint(at: port, handed: handed()) { served in
            #expect(served == port)
            let status = try await ask(port, path: "/livez").status
            #expect(status == 200)
        }
        // Nobody serves it, and nobody is refused.
        let waiting = try await onOwnThread { try RawConnection(port: port) }
        waiting.send("GET /livez HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        try await withEndpoint(at: port, handed: handed()) { _ in
            let reply = try await onOwnThread { HTTPReply(waiting.rest()) }
            #expect(reply.status == 200 && reply.body == "live\n")
        }
        waiting.end()
    }

    @Test("who connected just before the stop is answered")
    func grace() async throws {
        let connections = Mutex<[RawConnection]>([])
        try await withEndpoint { port in
            for _ in 0..<8 {
                let connection = try await onOwnThread { try RawConnection(port: port) }
                connections.withLock { $0.append(connection) }
            }
            // One whole exchange behind them: they have been accepted when the stop comes.
            _ = try await ask(port, path: "/livez")
            for connection in connections.withLock({ $0 }) {
                connection.send("GET /livez HTTP/1.1\r\nHost: x\r\n\r\n")
            }
        }
        for connection in connections.withLock({ $0 }) {
            let reply = try await onOwnThread { HTTPReply(connection.rest()) }
            #expect(reply.status == 200)
            connection.end()
        }
    }

    /// Found on a node whose service was restarted under a monitor: what had been taken from the queue, and was not yet
    /// set up when the stop came, was closed without an answer.
    @Test("one process after another on the same socket: every question is answered", .timeLimit(.minutes(2)))
    func handedOn() async throws {
        let (descriptor, port) = try Self.listening()
        defer { close(descriptor) }
        func next() -> [HealthSocket.Handed] {
            [.init(name: "kept-health", descriptor: Self.duplicate(descriptor))]
        }
        let monitor = Monitor()
        try await withThrowingTaskGroup { tasks in
            for _ in 0..<6 { tasks.addTask { try await monitor.ask(port) } }
            for _ in 0..<150 {
                try await withEndpoint(at: port, handed: next()) { _ in
                    let wanted = monitor.asked + 4
                    while monitor.asked < wanted { await Task.yield() }
                }
            }
            // Who waits now is answered before the test ends.
            try await withEndpoint(at: port, handed: next()) { _ in
                monitor.end()
                try await tasks.waitForAll()
            }
        }
        let (answered, not) = monitor.seen
        #expect(answered > 500 && not == 0)
    }

    /// Asks again and again.
    private final class Monitor: Sendable {
        private let state = Mutex((answered: 0, not: 0, isOver: false))
        var asked: Int { state.withLock { $0.answered + $0.not } }
        var seen: (answered: Int, not: Int) { state.withLock { ($0.answered, $0.not) } }
        func end() { state.withLock { $0.isOver = true } }

        func ask(_ port: Int) async throws {
            while !state.withLock({ $0.isOver }) {
                let reply = try await onOwnThread {
                    let connection = try RawConnection(port: port)
                    defer { connection.end() }
                    connection.send("GET /livez HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
                    return HTTPReply(connection.rest())
                }
                state.withLock { if reply.status == 200 { $0.answered += 1 } else { $0.not += 1 } }
            }
        }
    }

    private final class Kept: Sendable {
        let calls = Mutex<[String]>([])
        var keeper: HealthSocket.Keeper {
            HealthSocket.Keeper(
                keep: { _, name in self.calls.withLock { $0.append("keep \(name)") } },
                remove: { name in self.calls.withLock { $0.append("remove \(name)") } })
        }
    }

    @Test("a socket is given to systemd to keep, one that it has is not given again")
    func keeping() throws {
        let kept = Kept()
        let address = NetworkAddress(host: "127.0.0.1", port: 0)
        let first = try HealthSocket.open(address, handed: [], keeper: kept.keeper)
        #expect(first.origin == .new && kept.calls.withLock { $0 } == ["keep kept-health"])
        let same = NetworkAddress(host: "localhost", port: first.address.port)
        let second = try HealthSocket.open(
            same, handed: [.init(name: "kept-health", descriptor: first.descriptor)], keeper: kept.keeper)
        #expect(second.origin == .kept && second.descriptor == first.descriptor)
        let third = try HealthSocket.open(
            first.address, handed: [.init(name: "health", descriptor: first.descriptor)], keeper: kept.keeper)
        #expect(third.origin == .unit && kept.calls.withLock { $0 } == ["keep kept-health", "keep kept-health"])
        // Of its unit and kept at once: one is used, the other closed, nothing is given or taken away.
        let twin = Self.duplicate(third.descriptor)
        let both = [("health", third.descriptor), ("kept-health", twin)]
        let name = Self.name(of: twin)
        let fourth = try HealthSocket.open(
            first.address, handed: both.map { .init(name: $0.0, descriptor: $0.1) }, keeper: kept.keeper)
        #expect(fourth.descriptor == third.descriptor)
        // The number may be somebody else's by now; the twin has the socket of the other, which stays open.
        #expect(name != nil && (fcntl(twin, F_GETFD) == -1 || Self.name(of: twin) != name))
        #expect(kept.calls.withLock { $0.count } == 2)
        close(fourth.descriptor)
    }

    /// What a descriptor is open on, by the kernel's name of it; its number is used again at once.
    private static func name(of descriptor: Int32) -> String? {
        var buffer = [UInt8](repeating: 0, count: 128)
        let count = buffer.withUnsafeMutableBytes { buffer in
            readlink(
                "/proc/self/fd/\(descriptor)", buffer.baseAddress!.assumingMemoryBound(to: CChar.self), buffer.count)
        }
        return count > 0 ? String(decoding: buffer[..<count], as: UTF8.self) : nil
    }

    @Test("a socket of another address is not used: the configuration decides; a unit's is told of")
    func otherAddress() throws {
        let kept = Kept()
        let (descriptor, port) = try Self.listening()
        let wanted = NetworkAddress(host: "127.0.0.1", port: 0)
        let name = Self.name(of: descriptor)
        let new = try HealthSocket.open(
            wanted, handed: [.init(name: "kept-health", descriptor: descriptor)], keeper: kept.keeper)
        #expect(new.origin == .new && new.address.port != port && new.ignored == nil)
        #expect(kept.calls.withLock { $0 } == ["remove kept-health", "keep kept-health"])
        #expect(name != nil && Self.name(of: descriptor) != name, "it is closed, or its port would never be free")
        close(new.descriptor)

        let (unit, unitPort) = try Self.listening()
        let other = try HealthSocket.open(
            wanted, handed: [.init(name: "health", descriptor: unit)], keeper: kept.keeper)
        let warning = try #require(other.warning(of: "hds-kms", configured: other.address))
        #expect(warning.text.text.contains("hds-kms-health.socket listens on 127.0.0.1:\(unitPort), where nobody"))
        close(other.descriptor)
        // What is no listening socket is none, and of another name it is not ours.
        let pipe = try PrivatePipe()
        let last = try HealthSocket.open(
            wanted, handed: [.init(name: "health", descriptor: Self.duplicate(pipe.reading))], keeper: kept.keeper)
        #expect(last.origin == .new && last.ignored == nil)
        for descriptor in [last.descriptor, pipe.reading, pipe.writing] { close(descriptor) }
    }

    @Test("an address of other machines is not served by a socket of all of them")
    func narrower() throws {
        let all = try HealthSocket.open(NetworkAddress(host: "0.0.0.0", port: 0), handed: [])
        let error = #expect(throws: DiagnosedError.self) {
            try HealthSocket.open(
                NetworkAddress(host: "127.0.0.1", port: all.address.port),
                handed: [.init(name: "other", descriptor: -1)])
        }
        #expect(error?.code == .healthAddressUnavailable && error?.hint?.contains("list-sockets") == true)
        close(all.descriptor)
    }
}
