import Diagnostics
import Testing
import WireText

@testable import LinkProtocol

@Suite("Frames and halves of feeds")
struct LinkFeedTests {
    static let span = LinkFeedSpan(acknowledged: 3, oldest: 2, last: 9)
    static let frames: [LinkFeedFrame] = [
        .subscribe(feed: "conversations", from: .acknowledged, credit: 64),
        .subscribe(feed: "f", from: .after(0), credit: 0), .subscribe(feed: "", from: .after(7), credit: .max),
        .acknowledge(feed: "f", cursor: .max), .credit(feed: "f", 5), .subscribed(feed: "f", span),
        .item(feed: "f", cursor: 1, octets: []), .item(feed: "f", cursor: 2, octets: [1, 2, 3]),
        .ended(feed: "f", .cursorGone, span), .ended(feed: "f", LinkFeedEnd(rawValue: ""), span),
    ]

    @Test("what is written is read; each shorter and each longer form is no frame", arguments: frames)
    func codec(frame: LinkFeedFrame) throws {
        let octets = LinkFrame.feed(frame).encode()
        #expect(try LinkFrame(decoding: octets) == .feed(frame))
        for count in 0..<octets.count {
            let short = Array(octets[..<count])
            switch frame {
            // Their last field is as long as it is.
            case .item, .ended: _ = try? LinkFrame(decoding: short)
            default: #expect(throws: DiagnosedError.self) { try LinkFrame(decoding: short) }
            }
        }
        switch frame {
        case .item, .ended: break
        default: #expect(throws: DiagnosedError.self) { try LinkFrame(decoding: octets + [0]) }
        }
    }

    @Test("the octets on the wire are those of the document")
    func wire() {
        #expect(
            LinkFrame.feed(.subscribe(feed: "ab", from: .acknowledged, credit: 258)).encode()
                == [0x50, 0, 2, 97, 98] + [UInt8](repeating: 255, count: 8) + [0, 0, 1, 2])
        #expect(
            LinkFrame.feed(.item(feed: "a", cursor: 513, octets: [9])).encode()
                == [0x51, 0, 1, 97, 0, 0, 0, 0, 0, 0, 2, 1, 9])
    }

    @Test("a service takes items in order, under its credit, after the core has said where they start")
    func order() throws {
        var half = try open(feeds: ["f"])
        #expect(half.subscribe("g", from: .acknowledged, credit: 2) == [.feed(.ended(feed: "g", .notOffered, .init()))])
        #expect(
            half.subscribe("f", from: .after(3), credit: 2)
                == [.send(.feed(.subscribe(feed: "f", from: .after(3), credit: 2)))])
        let item = LinkFeedFrame.item(feed: "f", cursor: 4, octets: [1])
        #expect(half.received(.feed(item)).isEmpty, "of an earlier subscription")
        let started = LinkFeedFrame.subscribed(feed: "f", Self.span)
        #expect(half.received(.feed(started)) == [.feed(started)])
        #expect(half.received(.feed(item)) == [.feed(item)])
        #expect(
            half.acknowledge("f", cursor: 4, credit: 1)
                == [.send(.feed(.acknowledge(feed: "f", cursor: 4))), .send(.feed(.credit(feed: "f", 1)))])
        for cursor: UInt64 in [5, 6] {
            #expect(half.received(.feed(.item(feed: "f", cursor: cursor, octets: []))).count == 1)
        }
        #expect(isViolated(half.received(.feed(.item(feed: "f", cursor: 7, octets: [])))), "without credit")
    }

    @Test("a gap, a second time, a feed that nobody wants and frames of the other side violate the protocol")
    func violations() throws {
        for frame in [
            LinkFeedFrame.item(feed: "f", cursor: 5, octets: []), .item(feed: "f", cursor: 3, octets: []),
            .item(feed: "g", cursor: 4, octets: []), .acknowledge(feed: "f", cursor: 4), .credit(feed: "f", 1),
        ] {
            var half = try open(feeds: ["f"])
            _ = half.subscribe("f", from: .acknowledged, credit: 9)
            _ = half.received(.feed(.subscribed(feed: "f", Self.span)))
            #expect(isViolated(half.received(.feed(frame))), "\(frame)")
        }
        for frame in [
            LinkFeedFrame.item(feed: "f", cursor: 5, octets: []), .subscribed(feed: "f", Self.span),
            .ended(feed: "f", .unavailable, Self.span),
        ] {
            var core = LinkCoreHalf()
            _ = core.received(.hello(Self.hello))
            _ = core.accept(Self.welcome(feeds: ["f"]))
            guard case .close(.protocolViolated, _)? = core.received(.feed(frame)).first else {
                Issue.record("\(frame) was taken")
                continue
            }
        }
    }

    @Test("a welcome without feeds is that of an older core, and one with them is read")
    func welcome() throws {
        for feeds in [[], ["conversations", "x"]] {
            let welcome = Self.welcome(feeds: feeds)
            #expect(try LinkFrame(decoding: LinkFrame.welcome(welcome).encode()) == .welcome(welcome))
        }
        #expect(!Self.welcome(feeds: []).json.contains("feeds"))
    }

    private static let hello = LinkHello(
        service: "indexer", node: "n", organisation: "o", version: "1", epoch: 1, destination: "indexer://o",
        details: "{}")

    private static func welcome(feeds: [String]) -> LinkWelcome {
        LinkWelcome(
            connection: "c", heartbeatSeconds: 1, credit: 10, serverTime: Timestamp(milliseconds: 1_700_000_000_000),
            feeds: feeds)
    }

    private func open(feeds: [String]) throws -> LinkServiceHalf {
        var half = LinkServiceHalf(hello: Self.hello, window: 4)
        _ = half.connected()
        _ = half.received(.welcome(Self.welcome(feeds: feeds)))
        try #require(half.isOpen)
        return half
    }

    private func isViolated(_ actions: [LinkServiceHalf.Action]) -> Bool {
        guard case .close(.protocolViolated, _)? = actions.last else { return false }
        return true
    }
}
