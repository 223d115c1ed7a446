import CoreLink
import Diagnostics
import HTTPClient
import LinkProtocol
import NIOCore
import TLSChannel
import TestServers
import Testing
import WebSocketChannel

@Suite("A link over bad networks")
struct FaultyNetworkTests {
    private func run(
        heartbeat: WebSocketHeartbeat? = nil, _ body: (ScriptedCore, FaultRelay) async throws -> Void
    ) async throws {
        let core = try await ScriptedCore(heartbeat: heartbeat)
        let relay = try await FaultRelay(to: core.port)
        do {
            try await body(core, relay)
        } catch {
            await relay.close()
            await core.stop()
            throw error
        }
        await relay.close()
        await core.stop()
    }

    /// One delivery and its answer.
    private func exchange(_ peer: ScriptedCore.Peer, _ service: TestLink) async throws {
        try await peer.deliver(1, "q")
        service.link.answer(try await service.delivery(), text: [1])
        while true { if case .answer(1, [1]) = try await peer.next() { return } }
    }

    @Test("a slow network is slow and nothing else")
    func slow() async throws {
        try await run { core, relay in
            relay.set(.delay(.milliseconds(40)))
            let service = try TestLink(port: relay.port)
            let peer = try await core.next()
            try await peer.welcome()
            let state = try await service.wait { $0.phase == .open }
            #expect(state.failures == 0)
            try await exchange(peer, service)
            await service.stop()
        }
    }

    @Test("connections that are cut at any point of their begin are tried again, and the link opens when they last")
    func cut() async throws {
        try await run { core, relay in
            for octets in [1, 100, 700] {
                relay.set(.cutAfter(octets))
                let service = try TestLink(port: relay.port)
                let failed = try await service.wait { $0.phase == .waiting && $0.failures >= 2 }
                #expect(failed.lastError != nil, "\(octets)")
                relay.set(.none)
                // Links that came up before the cut are of no use to anybody.
                try await service.welcomed(by: core)
                await service.stop()
            }
        }
    }

    @Test("a link that is cut in the middle comes back at once, and its strings are answered on the new one")
    func cutInTheMiddle() async throws {
        try await run { core, relay in
            let service = try TestLink(port: relay.port)
            let first = try await core.next()
            try await first.welcome()
            try await service.wait { $0.phase == .open }
            try await first.deliver(1, "q")
            let old = try await service.delivery()
            await relay.cut()
            let lost = try await service.wait { $0.phase == .waiting }
            #expect(
                lost.retryIn == .zero && lost.lastError?.code == .tlsTruncated, "\(String(describing: lost.lastError))")
            let second = try await core.next()
            try await second.welcome()
            try await service.wait { $0.phase == .open }
            service.link.answer(old, text: [0])
            try await exchange(second, service)
            await service.stop()
        }
    }

    @Test("a network that swallows everything is noticed by the heartbeats of both ends")
    func blackHole() async throws {
        let heartbeat = WebSocketHeartbeat(interval: .seconds(1), deadline: .seconds(3))
        try await run(heartbeat: heartbeat) { core, relay in
            let service = try TestLink(port: relay.port)
            let peer = try await core.next()
            try await peer.welcome(heartbeatSeconds: 1)
            try await service.wait { $0.phase == .open }
            try await relay.freeze()
            let lost = try await service.wait { $0.phase == .waiting }
            #expect(lost.lastError != nil && lost.retryIn == .zero)
            let end = await peer.socket.waitUntilClosed()
            #expect(end.error != nil && end.initiator == .local, "the core's end, of itself")
            let again = try await core.next()
            try await again.welcome()
            try await service.wait { $0.phase == .open }
            await service.stop()
        }
    }

    @Test("a connection that is taken and never answered ends with its deadline, and a stop does not wait for it")
    func neverAnswered() async throws {
        try await run { core, relay in
            relay.set(.blackHole)
            let service = try TestLink(port: relay.port)
            let state = try await service.wait { $0.phase == .waiting }
            #expect(state.lastError?.code == .tlsHandshakeTimeout || state.lastError?.code == .httpTimeout)
            // Another attempt hangs now.
            try await service.wait { $0.phase == .connecting }
            await service.cancel()
            #expect(core.requests == 0)
        }
    }

    @Test("a server that ends its output in the middle has ended the link")
    func halfClosed() async throws {
        try await run { core, relay in
            relay.set(.halfCloseAfter(700))
            let service = try TestLink(port: relay.port)
            let failed = try await service.wait { $0.phase == .waiting && $0.failures >= 2 }
            #expect(failed.lastError != nil)
            relay.set(.none)
            try await service.welcomed(by: core)
            await service.stop()
        }
    }

    @Test("a port that refuses is tried until somebody listens")
    func refused() async throws {
        try await run { core, relay in
            relay.set(.refuse)
            let service = try TestLink(port: relay.port)
            try await service.wait { $0.phase == .waiting && $0.failures >= 3 }
            relay.set(.none)
            try await service.welcomed(by: core)
            await service.stop()
        }
    }

    @Test("the link goes through a proxy that asks with Digest, and is whole", .enabled(if: TestProxy.isInstalled))
    func proxied() async throws {
        let proxy = try await TestProxy.start(.squidDigest)
        try await ScriptedCore.run { core in
            let way = try WebProxy(
                host: "127.0.0.1", port: proxy.port,
                credentials: .init(user: "EXAMPLE\\kms", password: { Redacted("pass:word") }))
            let service = try TestLink(port: core.port, route: WebRoute(proxy: way))
            let peer = try await core.next()
            try await peer.welcome()
            let state = try await service.wait { $0.phase == .open }
            #expect(state.tls?.channelBinding == peer.socket.tls?.channelBinding)
            try await exchange(peer, service)
            // A proxy that dies is a lost link like another, and no way around it is taken.
            try await onOwnThread { proxy.end() }
            let lost = try await service.wait { $0.phase == .waiting && $0.lastError?.code == .proxyUnreachable }
            #expect(lost.lastError?.description.contains(way.name) == true && core.requests == 1)
            await service.stop()
        }
    }
}

extension TestLink {
    /// Links that ended before their welcome are passed over.
    fileprivate func welcomed(by core: ScriptedCore) async throws {
        let opened = Task { try await self.wait { $0.phase == .open } }
        while true {
            let peer = try await core.next()
            if (try? await peer.welcome()) != nil { break }
        }
        _ = try await opened.value
    }
}
