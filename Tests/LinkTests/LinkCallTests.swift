import CoreLink
import Diagnostics
import LinkProtocol
import Testing
import WireText

@Suite("Calls of the two halves of a link")
struct LinkCallTests {
    static func welcome(calls: Int64) -> LinkWelcome {
        LinkWelcome(
            connection: "c1", heartbeatSeconds: 5, credit: 4, serverTime: Timestamp(milliseconds: 0), calls: calls)
    }

    static func service(calls: Int64 = 2) -> LinkServiceHalf {
        var service = LinkHalvesTests.service()
        _ = service.connected()
        _ = service.received(.welcome(welcome(calls: calls)))
        return service
    }

    static func core(calls: Int64 = 2) -> LinkCoreHalf {
        var core = LinkCoreHalf()
        _ = core.received(.hello(LinkFrameTests.hello))
        _ = core.accept(welcome(calls: calls))
        return core
    }

    @Test("a call is sent once and has the outcome that comes for its id")
    func outcomes() {
        var service = Self.service()
        let first = service.call("kms://b.example.com", text: [1])
        let second = service.call("kms://b.example.com", text: [2])
        #expect(first.actions == [.send(.call(id: first.id, destination: "kms://b.example.com", text: [1]))])
        #expect(first.id != second.id)
        #expect(
            service.received(.refuse(id: second.id, reason: .timeout)) == [.called(id: second.id, .refused(.timeout))])
        #expect(service.received(.reply(id: first.id, text: [9])) == [.called(id: first.id, .answered([9]))])
    }

    @Test("without a link that takes calls, and beyond its limit, nothing is sent and the outcome is told at once")
    func refusedAtOnce() {
        var fresh = LinkHalvesTests.service()
        let early = fresh.call("kms://b.example.com", text: [])
        #expect(early.actions == [.called(id: early.id, .refused(.notLinked))])
        var old = Self.service(calls: 0)
        let unknown = old.call("kms://b.example.com", text: [])
        #expect(unknown.actions == [.called(id: unknown.id, .refused(.notSupported))])
        var service = Self.service(calls: 1)
        _ = service.call("kms://b.example.com", text: [])
        let more = service.call("kms://b.example.com", text: [])
        #expect(more.actions == [.called(id: more.id, .refused(.tooMany))])
        // What the core would close the link for is not sent.
        var other = Self.service()
        let long = other.call("kms://b", text: [UInt8](repeating: 0, count: LinkFrame.maximumStringBytes + 1))
        #expect(long.actions == [.called(id: long.id, .refused(.tooLong))])
        let name = other.call(String(repeating: "b", count: 256), text: [])
        #expect(name.actions == [.called(id: name.id, .refused(.tooLong))])
    }

    @Test("when the link ends, by whichever side, each call without an outcome gets one, and only one")
    func ends() {
        for end in ["stop", "lost", "violated"] {
            var service = Self.service()
            let calls = [service.call("kms://b", text: []).id, service.call("kms://b", text: []).id]
            let actions =
                switch end {
                case "stop": service.stop()
                case "lost": service.lost()
                default: service.received(.welcome(Self.welcome(calls: 1)))
                }
            #expect(actions.prefix(2) == calls.map { .called(id: $0, .refused(.notLinked)) }[...], "\(end)")
            #expect(actions.count == (end == "lost" ? 2 : 3), "\(end)")
            #expect(service.lost().isEmpty && service.stop().isEmpty)
        }
    }

    @Test("a service that drains still asks, for the answers that are due depend on it")
    func drain() {
        var service = Self.service()
        _ = service.received(.deliver(id: 1, source: "", text: []))
        #expect(service.drain().isEmpty)
        let call = service.call("kms://b", text: [])
        #expect(service.received(.reply(id: call.id, text: [3])) == [.called(id: call.id, .answered([3]))])
    }

    @Test("an outcome that was not asked for, or comes twice, violates the protocol")
    func unasked() {
        for frame in [LinkFrame.reply(id: 77, text: []), .refuse(id: 77, reason: .timeout)] {
            var service = Self.service()
            #expect(service.received(frame).closeCode == .protocolViolated)
        }
        var service = Self.service()
        let id = service.call("kms://b", text: []).id
        _ = service.received(.reply(id: id, text: []))
        #expect(service.received(.reply(id: id, text: [])).closeCode == .protocolViolated)
    }

    @Test("the core takes calls up to its limit, tells each one outcome, and closes for a doubled id")
    func coreHalf() {
        var core = Self.core()
        #expect(
            core.received(.call(id: 1, destination: "d", text: [5])) == [.called(id: 1, destination: "d", text: [5])])
        _ = core.received(.call(id: 2, destination: "d", text: []))
        #expect(core.received(.call(id: 3, destination: "d", text: [])) == [.send(.refuse(id: 3, reason: .tooMany))])
        #expect(core.settle(1, .answered([6])) == .reply(id: 1, text: [6]))
        #expect(core.settle(1, .answered([6])) == nil)
        #expect(core.settle(2, .refused(.timeout)) == .refuse(id: 2, reason: .timeout))
        _ = core.received(.call(id: 4, destination: "d", text: []))
        #expect(core.received(.call(id: 4, destination: "d", text: [])).closeCode == .protocolViolated)
        #expect(core.settle(4, .answered([])) == nil, "the link has ended")
    }

    @Test("the core takes no call before welcome, none when it promised none, and none that is too long")
    func coreRefuses() {
        var fresh = LinkCoreHalf()
        #expect(fresh.received(.call(id: 1, destination: "d", text: [])).closeCode == .protocolViolated)
        var none = Self.core(calls: 0)
        #expect(none.received(.call(id: 1, destination: "d", text: [])).closeCode == .protocolViolated)
        var core = Self.core()
        let long = [UInt8](repeating: 0, count: LinkFrame.maximumStringBytes + 1)
        #expect(core.received(.call(id: 1, destination: "d", text: long)).closeCode == .protocolViolated)
    }
}

@Suite("Calls over TLS")
struct LinkCallSocketTests {
    private static func welcomed(_ core: ScriptedCore, calls: Int64 = 8) async throws -> ScriptedCore.Peer {
        let peer = try await core.next()
        _ = try await peer.hello()
        try await peer.send(.welcome(LinkCallTests.welcome(calls: calls)))
        _ = try await peer.next()
        return peer
    }

    @Test("many calls at once get each their own answer, whatever the order")
    func many() async throws {
        try await ScriptedCore.run { core in
            let service = try TestLink(port: core.port)
            let peer = try await Self.welcomed(core)
            try await service.wait { $0.phase == .open }
            try await withThrowingTaskGroup(of: Void.self) { group in
                for number: UInt8 in 0..<8 {
                    group.addTask {
                        let outcome = await service.link.call("kms://b", text: [number], within: .seconds(60))
                        #expect(outcome == .answered([number, 100]))
                    }
                }
                var asked: [(UInt64, [UInt8])] = []
                for _ in 0..<8 {
                    guard case .call(let id, "kms://b", let text) = try await peer.next() else { continue }
                    asked.append((id, text))
                }
                #expect(asked.count == 8)
                for (id, text) in asked.reversed() { try await peer.send(.reply(id: id, text: text + [100])) }
                try await group.waitForAll()
            }
            await service.stop()
        }
    }

    @Test("a call ends when the core says no, when the link ends, and when the core says nothing")
    func endings() async throws {
        try await ScriptedCore.run { core in
            let service = try TestLink(port: core.port)
            #expect(await service.link.call("kms://b", text: [], within: .seconds(60)) == .refused(.notLinked))
            let peer = try await Self.welcomed(core)
            try await service.wait { $0.phase == .open }
            #expect(await service.link.call("kms://b", text: [], within: .milliseconds(1)) == .refused(.timeout))
            guard case .call(let late, _, _) = try await peer.next() else { return }
            async let refused = service.link.call("kms://b", text: [1], within: .seconds(60))
            guard case .call(let id, _, _) = try await peer.next() else { return }
            // The outcome of the one that nobody waits for any more does no harm.
            try await peer.send(.reply(id: late, text: []))
            try await peer.send(.refuse(id: id, reason: .unknownDestination))
            #expect(await refused == .refused(.unknownDestination))
            async let lost = service.link.call("kms://b", text: [2], within: .seconds(60))
            _ = try await peer.next()
            peer.close(.goingAway)
            #expect(await lost == .refused(.notLinked))
            await service.stop()
        }
    }

    @Test("a caller that is cancelled waits no longer")
    func cancelled() async throws {
        try await ScriptedCore.run { core in
            let service = try TestLink(port: core.port)
            let peer = try await Self.welcomed(core)
            try await service.wait { $0.phase == .open }
            let call = Task { await service.link.call("kms://b", text: [], within: .seconds(600)) }
            _ = try await peer.next()
            call.cancel()
            #expect(await call.value == .refused(.timeout))
            await service.stop()
        }
    }
}
