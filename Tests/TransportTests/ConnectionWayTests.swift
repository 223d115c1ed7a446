import Diagnostics
import Glibc
import NIOCore
import NIOEmbedded
import NIOPosix
import Synchronization
import TestServers
import Testing
import WireText

@testable import HTTPClient

@Suite("Ways to an address")
struct ConnectionWayTests {
    /// An address of ::1 that takes no connection and refuses none, as behind a firewall that drops: a listener whose
    /// queue is full.
    private final class DeadAddress: Sendable {
        let port: Int
        private let descriptors: [Int32]

        init() throws {
            func new() -> Int32 { socket(AF_INET6, Int32(SOCK_STREAM.rawValue | SOCK_CLOEXEC.rawValue), 0) }
            port = try LoopbackPort.take()
            let address = try SocketAddress(ipAddress: "::1", port: port)
            let listener = new()
            let isListening = address.withSockAddr { pointer, size in
                bind(listener, pointer, socklen_t(size)) == 0 && listen(listener, 0) == 0
            }
            try #require(isListening)
            var all = [listener]
            // The first ones fill the queue, the others wait for ever.
            for _ in 0..<4 {
                let filler = new()
                _ = fcntl(filler, F_SETFL, O_NONBLOCK)
                _ = address.withSockAddr { pointer, size in connect(filler, pointer, socklen_t(size)) }
                all.append(filler)
            }
            descriptors = all
        }

        deinit { for descriptor in descriptors { close(descriptor) } }
    }

    private func dial(_ addresses: [SocketAddress], observe: @escaping @Sendable (WebRoute.Report) -> Void = { _ in })
        async throws -> SocketAddress?
    {
        var dialer = Dialer(
            group: MultiThreadedEventLoopGroup.singleton, tls: nil, route: WebRoute(observe: observe))
        dialer.lookup = { _, _ in addresses }
        let origin = try WebURL("http://localhost:9/", schemes: ("http", "https")).origin
        let channel = try await dialer.dial(origin) { $0 }
        defer { channel.close(promise: nil) }
        return channel.remoteAddress
    }

    @Test("a dead IPv6 address delays a connection that IPv4 can have, and does not prevent it")
    func happyEyeballs() async throws {
        let listener = try await Listener { _ in }
        let dead = try DeadAddress()
        let v4 = try SocketAddress(ipAddress: "127.0.0.1", port: listener.port)
        let silent = try SocketAddress(ipAddress: "::1", port: dead.port)
        let refusing = try SocketAddress(ipAddress: "::1", port: try LoopbackPort.take())
        #expect(try await dial([silent, v4]) == v4)
        #expect(try await dial([refusing, v4]) == v4)
        #expect(try await dial([refusing, silent, v4]) == v4)
        // Two dead ones and nothing else: an error that names the reason.
        await #expect(throws: DiagnosedError(.httpConnectFailed, fault: .peer, "")) { try await dial([refusing]) }
        await listener.close()
    }

    @Test("a lookup is timed and told, also a failed one; addresses need no name service")
    func lookups() async throws {
        let told = Mutex<[(host: String, time: Duration, failed: Bool)]>([])
        let observe: @Sendable (WebRoute.Report) -> Void = { report in
            if case .lookup(let host, let time, let failed) = report {
                told.withLock { $0.append((host, time, failed)) }
            }
        }
        let listener = try await Listener { _ in }
        let v4 = try SocketAddress(ipAddress: "127.0.0.1", port: listener.port)
        #expect(try await dial([v4], observe: observe) == v4)
        var dialer = Dialer(
            group: MultiThreadedEventLoopGroup.singleton, tls: nil, route: WebRoute(observe: observe))
        dialer.lookup = { host, _ in throw NameLookup.Failure(description: "no \(host)") }
        let origin = try WebURL("http://localhost:9/", schemes: ("http", "https")).origin
        let error = await dialer.failure(origin)
        #expect(error?.found == "no localhost")
        #expect(
            told.withLock { $0.map(\.failed) } == [false, true] && told.withLock { $0.allSatisfy { $0.time >= .zero } })
        #expect(try NameLookup.system("::1", 443) == [try SocketAddress(ipAddress: "::1", port: 443)])
        #expect(try NameLookup.system("127.0.0.1", 80) == [try SocketAddress(ipAddress: "127.0.0.1", port: 80)])
        #expect(try NameLookup.system("localhost", 80).isEmpty == false)
        await listener.close()
    }

    @Test("a dial whose lookup nobody answers tells it while it waits")
    func waitingDial() async throws {
        let gate = DispatchGate()
        let told = Mutex<[String]>([])
        var dialer = Dialer(
            group: MultiThreadedEventLoopGroup.singleton, tls: nil,
            route: WebRoute { report in
                guard case .lookupWaits(let host) = report else { return }
                told.withLock { $0.append(host) }
                gate.open()
            })
        // The answer comes only when it was told.
        dialer.lookup = { _, _ in gate.wait() }
        let error = await dialer.failure(try WebURL("http://localhost:9/", schemes: ("http", "https")).origin)
        #expect(error?.code == .httpConnectFailed)
        #expect(told.withLock { $0 } == ["localhost"])
    }

    @Test("a lookup without an answer is told after two seconds, once, and one with an answer is not")
    func waitingLookup() async throws {
        let loop = NIOAsyncTestingEventLoop()
        let told = Mutex<[NameLookup.Observation]>([])
        let gate = DispatchGate()
        let lookup = NameLookup(on: loop, source: { _, _ in gate.wait() }) { seen in told.withLock { $0.append(seen) } }
        let v4 = lookup.initiateAQuery(host: "core.example", port: 443)
        let v6 = lookup.initiateAAAAQuery(host: "core.example", port: 443)
        await loop.advanceTime(by: .milliseconds(1_999))
        #expect(told.withLock { $0 }.isEmpty)
        await loop.advanceTime(by: .milliseconds(1))
        #expect(told.withLock { $0 } == [.waiting])
        gate.open()
        await loop.run()
        let found = v4.and(v6)
        let isFound = Mutex(false)
        found.whenSuccess { _ in isFound.withLock { $0 = true } }
        while !isFound.withLock({ $0 }) { await loop.run() }
        await loop.advanceTime(by: .seconds(10))
        let all = told.withLock { $0 }
        try #require(all.count == 2)
        guard case .done(_, failed: false) = all[1] else {
            Issue.record("\(all)")
            return
        }

        let quick = NameLookup(on: loop, source: { _, _ in [] }) { seen in told.withLock { $0.append(seen) } }
        let answer = quick.initiateAQuery(host: "core.example", port: 443)
        let isAnswered = Mutex(false)
        answer.whenSuccess { _ in isAnswered.withLock { $0 = true } }
        while !isAnswered.withLock({ $0 }) { await loop.run() }
        await loop.advanceTime(by: .seconds(10))
        #expect(told.withLock { $0.filter { $0 == .waiting }.count } == 1)
        await loop.shutdownGracefully()
    }

    /// What holds a thread until it is opened.
    private final class DispatchGate: Sendable {
        private let isOpen = Mutex(false)
        func open() { isOpen.withLock { $0 = true } }
        func wait() -> [SocketAddress] {
            while !isOpen.withLock({ $0 }) { usleep(1_000) }
            return []
        }
    }
}

extension Dialer {
    /// The error of a connection that does not come about.
    func failure(_ origin: WebURL.Origin) async -> DiagnosedError? {
        do {
            let channel = try await dial(origin) { $0 }
            channel.close(promise: nil)
            return nil
        } catch {
            return error as? DiagnosedError
        }
    }
}
