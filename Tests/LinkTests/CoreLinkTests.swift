import TestServers
import CoreLink
import Cryptography
import Diagnostics
import HTTPClient
import LinkProtocol
import Synchronization
import TLSChannel
import Testing
import WebSocketChannel
import WireText

@Suite("The link of a service over TLS")
struct CoreLinkTests {
    @Test("the service names itself with its token, and is open once it is welcomed")
    func greeting() async throws {
        try await ScriptedCore.run { core in
            let service = try TestLink(port: core.port, window: 64, details: { "{\"x\":1}" })
            let peer = try await core.next()
            #expect(peer.authorization == "Bearer token-1")
            var hello = try await peer.hello()
            #expect(hello.nonce?.count == 32)
            hello.nonce = nil
            #expect(
                hello
                    == LinkHello(
                        service: "kms", node: "n1", organisation: "acme", version: "1.2.3", epoch: 9,
                        destination: "kms://kms.acme.example.com", details: "{\"x\":1}"))
            #expect(service.link.state.phase == .connecting)
            try await peer.send(
                .welcome(
                    LinkWelcome(
                        connection: "c-7", heartbeatSeconds: 5, credit: 16,
                        serverTime: Timestamp.now().adding(seconds: 100))))
            #expect(try await peer.next() == .credit(16), "no more than the core holds")
            let state = try await service.wait { $0.phase == .open }
            #expect(state.connection == "c-7" && state.connectedSince != nil && state.lastError == nil)
            #expect((95_000...105_000).contains(state.clockOffsetMilliseconds ?? 0))
            await service.stop()
        }
    }

    @Test("answers from many threads each go out once, and credit comes back")
    func answers() async throws {
        try await ScriptedCore.run { core in
            let service = try TestLink(port: core.port, window: 64)
            let peer = try await core.next()
            #expect(try await peer.welcome() == 64)
            for id: UInt64 in 1...64 { try await peer.deliver(id, "q\(id)") }
            var taken: [LinkDelivery] = []
            for _ in 1...64 { taken.append(try await service.delivery()) }
            #expect(taken.map(\.id) == Array(1...64))
            await withTaskGroup(of: Void.self) { group in
                for delivery in taken {
                    group.addTask {
                        service.link.answer(delivery, text: delivery.text + [33])
                        service.link.answer(delivery, text: [0])
                    }
                }
            }
            var answers: [UInt64: [UInt8]] = [:]
            var credit: UInt32 = 0
            while answers.count < 64 || credit < 64 {
                switch try await peer.next() {
                case .answer(let id, let text): #expect(answers.updateValue(text, forKey: id) == nil, "answered twice")
                case .credit(let more): credit += more
                case let other: Issue.record("\(other.name)")
                }
            }
            #expect(answers.allSatisfy { $0.value == Array("q\($0.key)!".utf8) } && credit == 64)
            await service.stop()
        }
    }

    @Test("the handler may answer at once, and a decline is a frame of its own")
    func declines() async throws {
        try await ScriptedCore.run { core in
            let service = try TestLink(port: core.port)
            let peer = try await core.next()
            try await peer.welcome()
            try await peer.deliver(1, "q")
            service.link.decline(try await service.delivery(), reason: "overload")
            #expect(try await peer.next() == .decline(id: 1, reason: "overload"))
            await service.stop()
        }
    }

    @Test("who declines is told when the core knows, or that its link is gone, or at once that this core does not tell")
    func notes() async throws {
        try await ScriptedCore.run { core in
            let service = try TestLink(port: core.port)
            let told = Mutex<[String]>([])
            func decline(_ id: UInt64, _ peer: ScriptedCore.Peer) async throws {
                try await peer.deliver(id, "q")
                service.link.decline(try await service.delivery(), reason: "r") { isCertain in
                    told.withLock { $0.append("\(id) \(isCertain)") }
                }
                while true {
                    guard case .decline = try await peer.next() else { continue }
                    return
                }
            }
            let old = try await core.next()
            try await old.welcome()
            try await decline(1, old)
            #expect(told.withLock { $0 } == ["1 false"])
            old.close(.goingAway)

            let peer = try await core.next()
            try await peer.welcome(change: { $0.sendsNotes = true })
            try await service.wait { $0.phase == .open }
            try await decline(2, peer)
            try await decline(3, peer)
            #expect(told.withLock { $0 } == ["1 false"])
            try await peer.send(.noted(id: 3))
            while told.withLock({ $0.count }) < 2 { await Task.yield() }
            peer.close(.goingAway)
            while told.withLock({ $0.count }) < 3 { await Task.yield() }
            #expect(told.withLock { $0 } == ["1 false", "3 true", "2 true"])
            await service.stop()
        }
    }

    @Test("a lost link is connected again at once; answers to its deliveries are dropped, the new ones count")
    func reconnects() async throws {
        try await ScriptedCore.run { core in
            let service = try TestLink(port: core.port)
            let first = try await core.next()
            try await first.welcome()
            try await first.deliver(1, "q")
            let old = try await service.delivery()
            first.close(.goingAway)
            let lost = try await service.wait { $0.phase == .waiting }
            #expect(lost.lastError?.code == .linkGoingAway && lost.retryIn == .zero && lost.failures == 1)
            #expect(lost.connection == nil && lost.connectedSince == nil)

            let second = try await core.next()
            try await second.welcome()
            try await service.wait { $0.phase == .open }
            try await second.deliver(1, "q")
            let new = try await service.delivery()
            #expect(new.generation != old.generation)
            service.link.answer(old, text: [0])
            service.link.answer(new, text: [1])
            #expect(try await second.next() == .answer(id: 1, text: [1]))
            await service.stop()
        }
    }

    @Test("a core that stops and comes back at the same address is found again")
    func coreRestarts() async throws {
        let core = try await ScriptedCore(port: try LoopbackPort.take())
        let service = try TestLink(port: core.port)
        try await core.next().welcome()
        try await service.wait { $0.phase == .open }
        await core.stop()
        try await service.wait { $0.phase == .waiting && $0.failures >= 3 }
        let state = service.link.state
        #expect(state.lastError?.code == .httpConnectFailed || state.lastError?.code == .linkGoingAway)
        let again = try await ScriptedCore(port: core.port)
        try await again.next().welcome()
        let open = try await service.wait { $0.phase == .open }
        #expect(open.lastError == nil && open.failures == 0)
        await service.stop()
        await again.stop()
    }

    @Test("when the epoch rises the link is made anew under it: what is in flight is answered, what comes is declined")
    func epochRises() async throws {
        try await ScriptedCore.run { core in
            let epoch = Atomic<Int64>(1)
            let service = try TestLink(port: core.port, epoch: { epoch.load(ordering: .relaxed) })
            let first = try await core.next()
            #expect(try await first.welcomed().epoch == 1)
            try await first.deliver(1, "q")
            let delivery = try await service.delivery()
            epoch.store(2, ordering: .relaxed)
            service.link.reconnect()
            try await first.deliver(2, "late")
            guard case .decline(2, _) = try await first.next() else {
                Issue.record("a new delivery was not declined")
                return
            }
            service.link.answer(delivery, text: [7])
            #expect(try await first.next() == .answer(id: 1, text: [7]))
            #expect(await first.closeCode() == LinkCloseCode.goingAway.rawValue)
            let second = try await core.next()
            #expect(try await second.welcomed().epoch == 2)
            // Closed for an epoch that is over, a service that is in a higher one meanwhile does not wait a minute.
            epoch.store(3, ordering: .relaxed)
            second.close(.superseded)
            let third = try await core.next()
            #expect(try await third.welcomed().epoch == 3)
            // And one that waits for it is woken.
            third.close(.superseded)
            try await service.wait { $0.phase == .waiting && $0.retryIn == .seconds(60) }
            epoch.store(4, ordering: .relaxed)
            service.link.reconnect()
            let fourth = try await core.next()
            #expect(try await fourth.welcomed().epoch == 4)
            await service.stop()
        }
    }

    @Test("each close code is obeyed")
    func closeCodes() async throws {
        let cases: [(LinkCloseCode, DiagnosedError.Code, Duration)] = [
            (.done, .linkGoingAway, .zero), (.goingAway, .linkGoingAway, .zero), (.internalError, .linkClosed, .zero),
            (.tokenRefused, .linkTokenRefused, .zero), (.protocolViolated, .linkViolation, .seconds(60)),
            (.notAllowed, .linkNotAllowed, .seconds(60)), (.replaced, .linkReplaced, .seconds(60)),
            (.superseded, .linkSuperseded, .seconds(60)), (.tooManyLinks, .linkTooMany, .milliseconds(20)),
        ]
        try await ScriptedCore.run { core in
            for (code, error, retry) in cases {
                let service = try TestLink(port: core.port)
                let peer = try await core.next()
                try await peer.welcome()
                peer.close(code)
                let state = try await service.wait { $0.phase == .waiting }
                #expect(state.lastError?.code == error && state.retryIn == retry, "\(code): \(state)")
                #expect(state.lastError?.found?.contains("because") == true, "\(code)")
                await service.cancel()
            }
        }
    }

    @Test("a refused token is told before a new one is asked for, over the close code and over the upgrade's status")
    func refusedToken() async throws {
        try await ScriptedCore.run { core in
            let service = try TestLink(port: core.port)
            let peer = try await core.next()
            #expect(peer.authorization == "Bearer token-1")
            core.refuse(401)
            peer.close(.tokenRefused)
            try await service.wait { $0.lastError?.code == .linkTokenRefused && $0.failures >= 2 }
            core.refuse(nil)
            let next = try await core.next()
            #expect(next.authorization != "Bearer token-1")
            try await next.welcome()
            try await service.wait { $0.phase == .open }
            await service.stop()
        }
    }

    @Test("an upgrade refused with 403 waits for a person")
    func forbidden() async throws {
        try await ScriptedCore.run { core in
            core.refuse(403)
            let service = try TestLink(port: core.port)
            let state = try await service.wait { $0.phase == .waiting }
            #expect(state.lastError?.code == .linkNotAllowed && state.retryIn == .seconds(60))
            await service.stop()
        }
    }

    @Test("a wrong pin is an error with its code, tried again and never got around")
    func wrongPin() async throws {
        try await ScriptedCore.run { core in
            let pin = try #require(SPKIPin(digest: [UInt8](repeating: 7, count: 32)))
            let service = try TestLink(port: core.port, trust: try ScriptedCore.trust(pins: [pin]))
            let state = try await service.wait { $0.failures >= 4 }
            #expect(state.lastError?.code == .tlsPinMismatch)
            #expect(state.lastError?.hint != nil && state.connectedSince == nil)
            #expect(core.requests == 0, "nothing, and no token, is sent to a core that is not the pinned one")
            await service.stop()
        }
    }

    @Test("the right pin, of the core or of its issuing authority, is enough")
    func rightPin() async throws {
        try await ScriptedCore.run { core in
            let chain = try TestPKI.shared.get().core.certificateChain
            for certificate in chain {
                let pin = try #require(SPKIPin(digest: certificate.publicKey.spkiSHA256))
                let service = try TestLink(port: core.port, trust: try ScriptedCore.trust(pins: [pin]))
                try await core.next().welcome()
                try await service.wait { $0.phase == .open }
                await service.stop()
            }
        }
    }

    @Test("a core under another root is not trusted")
    func wrongRoot() async throws {
        try await ScriptedCore.run { core in
            let trust = TLSTrust(roots: [try TestPKI.shared.get().customerRoot])
            let service = try TestLink(port: core.port, trust: trust)
            #expect(try await service.wait { $0.failures >= 1 }.lastError?.code == .tlsUntrusted)
            #expect(core.requests == 0)
            await service.stop()
        }
    }

    @Test("without a token there is no attempt, and the error is the one of the authorization service")
    func noToken() async throws {
        try await ScriptedCore.run { core in
            let service = try TestLink(
                port: core.port,
                token: { throw DiagnosedError("token-service-away", fault: .peer, "the authorization service is away") }
            )
            #expect(try await service.wait { $0.failures >= 3 }.lastError?.code == "token-service-away")
            await service.stop()
            struct Anything: Error {}
            let other = try TestLink(port: core.port, token: { throw Anything() })
            #expect(try await other.wait { $0.failures >= 1 }.lastError?.code == .linkNoToken)
            await other.stop()
            #expect(core.requests == 0)
        }
    }

    @Test("a core that breaks the protocol is closed with 4400 and left alone for a minute")
    func violations() async throws {
        let breaches: [@Sendable (ScriptedCore.Peer) async throws -> Void] = [
            { try await $0.socket.send(text: "text") }, { try await $0.socket.send(binary: [0x99]) },
            { try await $0.socket.send(binary: []) }, { try await $0.send(.credit(1)) },
            { try await $0.send(.hello(LinkFrameTests.hello)) },
            { peer in for id: UInt64 in 1...65 { try await peer.deliver(id, "more than was granted") } },
            { peer in for _ in 0..<2 { try await peer.deliver(1, "twice") } },
        ]
        try await ScriptedCore.run { core in
            for (number, breach) in breaches.enumerated() {
                let service = try TestLink(port: core.port, window: 64)
                let peer = try await core.next()
                try await peer.welcome()
                try await breach(peer)
                #expect(await peer.closeCode() == 4400, "breach \(number)")
                let state = try await service.wait { $0.phase == .waiting }
                #expect(state.lastError?.code == .linkViolation && state.retryIn == .seconds(60), "breach \(number)")
                await service.cancel()
            }
        }
    }

    @Test("a core that does not answer the hello is given up")
    func noWelcome() async throws {
        try await ScriptedCore.run { core in
            let service = try TestLink(port: core.port, welcomeDeadline: .milliseconds(30))
            let peer = try await core.next()
            #expect(await peer.closeCode() == 4400)
            #expect(try await service.wait { $0.phase == .waiting }.lastError?.code == .linkViolation)
            await service.cancel()
        }
    }

    @Test("a graceful stop declines what comes, waits for the answers that are due, and closes with 1001")
    func drain() async throws {
        try await ScriptedCore.run { core in
            let service = try TestLink(port: core.port)
            let peer = try await core.next()
            try await peer.welcome()
            try await peer.deliver(1, "due")
            let due = try await service.delivery()
            async let stopped: Void = service.stop()
            try await service.wait { $0.phase == .draining }
            try await peer.deliver(2, "late")
            guard case .decline(2, _) = try await peer.next() else {
                Issue.record("not declined")
                return
            }
            service.link.answer(due, text: [1])
            #expect(try await peer.next() == .answer(id: 1, text: [1]))
            #expect(await peer.closeCode() == 1001)
            await stopped
            #expect(service.link.state.phase == .stopped)
        }
    }

    @Test("a stop does not wait longer for answers than it is told to")
    func drainDeadline() async throws {
        try await ScriptedCore.run { core in
            let service = try TestLink(port: core.port, drainDeadline: .milliseconds(50))
            let peer = try await core.next()
            try await peer.welcome()
            try await peer.deliver(1, "never answered")
            _ = try await service.delivery()
            async let stopped: Void = service.stop()
            #expect(await peer.closeCode() == 1001)
            await stopped
        }
    }

    @Test("a stop without a link ends at once, while connecting and while waiting")
    func stopsUnlinked() async throws {
        try await ScriptedCore.run { core in
            core.refuse(403)
            let waiting = try TestLink(port: core.port)
            try await waiting.wait { $0.phase == .waiting }
            await waiting.stop()
            #expect(waiting.link.state.phase == .stopped)
            let (asked, sink) = AsyncStream.makeStream(of: Void.self)
            let connecting = try TestLink(
                port: core.port,
                token: {
                    sink.yield()
                    try await Task.sleep(for: .seconds(3_600))
                    return ""
                })
            for await _ in asked { break }
            await connecting.stop()
            #expect(connecting.link.state.phase == .stopped)
        }
    }

    @Test("a changed details document is published")
    func publishes() async throws {
        try await ScriptedCore.run { core in
            let details = Texts()
            let service = try TestLink(port: core.port, details: { details.text })
            let peer = try await core.next()
            try await peer.welcome()
            try await service.wait { $0.phase == .open }
            details.text = "{\"new\":true}"
            service.link.publishDetails()
            #expect(try await peer.next() == .publish(details: "{\"new\":true}"))
            peer.close(.goingAway)
            #expect(try await core.next().hello().details == "{\"new\":true}")
            await service.stop()
        }
    }
}

private final class Texts: Sendable {
    private let state = Mutex("{}")
    var text: String {
        get { state.withLock { $0 } }
        set { state.withLock { $0 = newValue } }
    }
}
