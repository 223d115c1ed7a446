import TestServers
import Diagnostics
import LinkProtocol
import Testing
import WireText

@Suite("The two halves of a link")
struct LinkHalvesTests {
    static let details = "{}"

    static func service(window: Int = 4) -> LinkServiceHalf {
        LinkServiceHalf(hello: LinkFrameTests.hello, window: window)
    }

    static func welcome(credit: Int64 = 100) -> LinkWelcome {
        LinkWelcome(connection: "c1", heartbeatSeconds: 5, credit: credit, serverTime: Timestamp(milliseconds: 0))
    }

    static func openService(window: Int = 4, credit: Int64 = 100) -> LinkServiceHalf {
        var service = service(window: window)
        _ = service.connected()
        _ = service.received(.welcome(welcome(credit: credit)))
        return service
    }

    static func openCore(credit: Int64 = 100, granted: UInt32 = 4) -> LinkCoreHalf {
        var core = LinkCoreHalf()
        _ = core.received(.hello(LinkFrameTests.hello))
        _ = core.accept(welcome(credit: credit))
        _ = core.received(.credit(granted))
        return core
    }

    @Test("hello is answered by welcome, and welcome by the first credit")
    func greeting() {
        var service = Self.service()
        var core = LinkCoreHalf()
        #expect(service.connected() == [.send(.hello(LinkFrameTests.hello))])
        #expect(core.received(.hello(LinkFrameTests.hello)) == [.greeted(LinkFrameTests.hello)])
        #expect(!core.canDeliver)
        #expect(core.accept(Self.welcome()) == [.send(.welcome(Self.welcome()))])
        #expect(service.received(.welcome(Self.welcome())) == [.opened(Self.welcome()), .send(.credit(4))])
        #expect(core.received(.credit(4)) == [.credited])
        #expect(core.canDeliver && core.credit == 4)
    }

    @Test("the service grants no more than the core holds, and the core holds no more than it said")
    func creditIsBounded() {
        var service = Self.service(window: 50)
        _ = service.connected()
        #expect(service.received(.welcome(Self.welcome(credit: 8))).last == .send(.credit(8)))
        var core = Self.openCore(credit: 8, granted: .max)
        #expect(core.credit == 8)
        for id in 1...8 { #expect(core.deliver(id: UInt64(id), source: "", text: []) != nil) }
        #expect(core.deliver(id: 9, source: "", text: []) == nil)
        _ = core.received(.credit(.max))
        #expect(core.credit == 0, "eight are in flight, which is all that the core holds")
    }

    @Test("a protocol version that the core does not speak is refused with 4400")
    func version() {
        var hello = LinkFrameTests.hello
        hello.protocolVersion = 2
        var core = LinkCoreHalf()
        #expect(core.received(.hello(hello)).closeCode == .protocolViolated)
    }

    @Test("each frame that is not due closes the core's half with 4400, before and after welcome")
    func coreViolations() {
        let service: [LinkFrame] = [
            .answer(id: 1, text: []), .decline(id: 1, reason: ""), .credit(1), .publish(details: "{}"),
        ]
        let never: [LinkFrame] = [.welcome(Self.welcome()), .deliver(id: 1, source: "", text: [])]
        for frame in service + never {
            var fresh = LinkCoreHalf()
            #expect(fresh.received(frame).closeCode == .protocolViolated, "\(frame.name) before hello")
            var judging = LinkCoreHalf()
            _ = judging.received(.hello(LinkFrameTests.hello))
            #expect(judging.received(frame).closeCode == .protocolViolated, "\(frame.name) before welcome")
        }
        for frame in never + [.hello(LinkFrameTests.hello), .answer(id: 1, text: []), .decline(id: 1, reason: "")] {
            var open = Self.openCore()
            #expect(open.received(frame).closeCode == .protocolViolated, "\(frame.name) on an open link")
            #expect(open.received(.credit(1)).isEmpty, "nothing is taken after the end")
            #expect(!open.canDeliver)
        }
    }

    @Test("each frame that is not due closes the service's half with 4400")
    func serviceViolations() {
        for frame in LinkFrameTests.samples where frame.name != "welcome" {
            var waiting = Self.service()
            _ = waiting.connected()
            #expect(waiting.received(frame).closeCode == .protocolViolated, "\(frame.name) before welcome")
        }
        for frame in LinkFrameTests.samples where frame.name != "deliver" {
            var open = Self.openService()
            #expect(open.received(frame).closeCode == .protocolViolated, "\(frame.name) on an open link")
        }
    }

    @Test("a core that says so notes each decline before anything else, and a note without a decline is a violation")
    func notes() {
        var welcome = Self.welcome()
        welcome.sendsNotes = true
        var core = LinkCoreHalf()
        _ = core.received(.hello(LinkFrameTests.hello))
        _ = core.accept(welcome)
        _ = core.received(.credit(4))
        _ = core.deliver(id: 1, source: "s", text: [1])
        #expect(
            core.received(.decline(id: 1, reason: "r")) == [.send(.noted(id: 1)), .declined(id: 1, reason: "r")])

        var service = Self.service()
        _ = service.connected()
        _ = service.received(.welcome(welcome))
        #expect(service.isToldOfNotes)
        _ = service.received(.deliver(id: 1, source: "s", text: [1]))
        _ = service.decline(1, reason: "r")
        #expect(service.received(.noted(id: 1)) == [.noted(id: 1)])
        #expect(service.received(.noted(id: 1)).closeCode == .protocolViolated)
        // A service that drains is told as well.
        var draining = Self.service()
        _ = draining.connected()
        _ = draining.received(.welcome(welcome))
        _ = draining.received(.deliver(id: 1, source: "s", text: [1]))
        _ = draining.drain()
        _ = draining.received(.deliver(id: 2, source: "s", text: [1]))
        #expect(draining.received(.noted(id: 2)) == [.noted(id: 2)])
        #expect(!Self.openService().isToldOfNotes, "a core of an earlier release")
        // One that says so and never does is left.
        var endless = Self.service(window: 1)
        _ = endless.connected()
        _ = endless.received(.welcome(welcome))
        for id in 1...1024 as ClosedRange<UInt64> {
            _ = endless.received(.deliver(id: id, source: "s", text: [1]))
            #expect(endless.decline(id, reason: "r").closeCode == nil)
        }
        _ = endless.received(.deliver(id: 1025, source: "s", text: [1]))
        #expect(endless.decline(1025, reason: "r").closeCode == .protocolViolated)
    }

    @Test("a delivery without credit, and one id twice, are violations")
    func deliveryViolations() {
        var service = Self.openService(window: 1)
        #expect(service.received(.deliver(id: 1, source: "s", text: [1])) == [.deliver(id: 1, source: "s", text: [1])])
        #expect(service.received(.deliver(id: 2, source: "s", text: [1])).closeCode == .protocolViolated)
        var other = Self.openService(window: 4)
        _ = other.received(.deliver(id: 1, source: "s", text: [1]))
        #expect(other.received(.deliver(id: 1, source: "s", text: [1])).closeCode == .protocolViolated)
    }

    @Test("an answer is sent once, and one that nobody asked for not at all")
    func answersOnce() {
        var service = Self.openService()
        _ = service.received(.deliver(id: 7, source: "", text: []))
        #expect(service.answer(7, text: [1]).sends == [.answer(id: 7, text: [1]), .credit(1)])
        #expect(service.answer(7, text: [2]).isEmpty)
        #expect(service.decline(7, reason: "late").isEmpty)
        #expect(service.answer(8, text: [2]).isEmpty)
        var core = Self.openCore()
        _ = core.deliver(id: 7, source: "", text: [])
        #expect(core.received(.answer(id: 7, text: [1])) == [.answered(id: 7, text: [1])])
        #expect(core.received(.answer(id: 7, text: [1])).closeCode == .protocolViolated)
    }

    @Test("a drop settles a delivery like an answer does")
    func drops() {
        var service = Self.openService()
        _ = service.received(.deliver(id: 7, source: "", text: []))
        #expect(service.drop(7, reason: "storm").sends == [.drop(id: 7, reason: "storm"), .credit(1)])
        #expect(service.answer(7, text: [2]).isEmpty)
        var core = Self.openCore()
        _ = core.deliver(id: 7, source: "", text: [])
        #expect(core.received(.drop(id: 7, reason: "storm")) == [.dropped(id: 7, reason: "storm")])
        #expect(core.inFlight.isEmpty)
        #expect(core.received(.drop(id: 7, reason: "storm")).closeCode == .protocolViolated)
    }

    @Test("credit comes back a quarter of the window at a time")
    func creditInQuarters() {
        var service = Self.openService(window: 16)
        for id: UInt64 in 1...16 { _ = service.received(.deliver(id: id, source: "", text: [])) }
        let frames = (1...16).flatMap { service.answer(UInt64($0), text: []).sends }
        #expect(frames.filter { $0 == .credit(4) }.count == 4)
        #expect(frames.count == 20)
    }

    @Test("a drain declines what comes, answers what is there, then closes with 1001")
    func drain() {
        var service = Self.openService()
        _ = service.received(.deliver(id: 1, source: "", text: []))
        #expect(service.drain().isEmpty)
        #expect(service.received(.deliver(id: 2, source: "", text: [])).sends.map(\.name) == ["decline"])
        #expect(service.answer(1, text: [1]) == [.send(.answer(id: 1, text: [1])), .close(.goingAway, nil)])
        var idle = Self.openService()
        #expect(idle.drain() == [.close(.goingAway, nil)])
        var greeting = Self.service()
        _ = greeting.connected()
        #expect(greeting.drain() == [.close(.goingAway, nil)])
    }

    @Test("new details go out when the link is open, also when they came before the welcome")
    func publish() {
        var service = Self.service()
        #expect(service.publish("{\"a\":1}").isEmpty)
        guard case .send(.hello(let hello)) = service.connected().first else {
            Issue.record("no hello")
            return
        }
        #expect(hello.details == "{\"a\":1}")
        #expect(service.publish("{\"a\":2}").isEmpty)
        #expect(service.received(.welcome(Self.welcome())).sends.last == .publish(details: "{\"a\":2}"))
        #expect(service.publish("{\"a\":3}") == [.send(.publish(details: "{\"a\":3}"))])
        var core = Self.openCore()
        #expect(core.received(.publish(details: "{\"a\":3}")) == [.published(details: "{\"a\":3}")])
    }

    @Test(
        "whatever the order of deliveries and answers, credit is kept and never lost", arguments: SeededGenerator.seeds)
    func creditProperty(seed: UInt64) {
        var random = SeededGenerator(seed: seed)
        for window in [1, 2, 3, 4, 7, 64] {
            var service = Self.openService(window: window)
            var core = Self.openCore(granted: UInt32(window))
            var outstanding: [UInt64] = []
            var next: UInt64 = 1
            for _ in 0..<2_000 {
                if Bool.random(using: &random),
                    let frame = core.deliver(id: next, source: "", text: [UInt8(next & 255)])
                {
                    for action in service.received(frame) {
                        guard case .deliver(let id, _, _) = action else {
                            Issue.record("seed \(seed), window \(window): a delivery within credit was refused")
                            return
                        }
                        outstanding.append(id)
                    }
                    next += 1
                } else if let position = outstanding.indices.randomElement(using: &random) {
                    let id = outstanding.remove(at: position)
                    let actions =
                        Bool.random(using: &random) ? service.answer(id, text: []) : service.decline(id, reason: "no")
                    for frame in actions.sends {
                        #expect(core.received(frame).closeCode == nil, "seed \(seed), window \(window)")
                    }
                }
                #expect(outstanding.count <= window, "seed \(seed)")
                #expect(core.inFlight.count + core.credit <= window, "seed \(seed)")
            }
            for id in outstanding { for frame in service.answer(id, text: []).sends { _ = core.received(frame) } }
            #expect(core.credit > window * 3 / 4 - 1, "seed \(seed), window \(window): \(core.credit) left")
            #expect(core.credit >= 1)
        }
    }
}

extension [LinkServiceHalf.Action] {
    var closeCode: LinkCloseCode? { for case .close(let code, _) in self { return code }; return nil }
    var sends: [LinkFrame] { compactMap { if case .send(let frame) = $0 { frame } else { nil } } }
}

extension [LinkCoreHalf.Action] {
    var closeCode: LinkCloseCode? { for case .close(let code, _) in self { return code }; return nil }
}
