import CalDAVClient
import CalendarBackend
import CalendarTransport
import Diagnostics
import HTTPClient
import NIOCore
import NIOPosix
import TLSChannel
import TestServers
import Testing

/// Finding calendars by DNS (RFC 6764), from a DNS server of the test's own on a real socket.
@Suite("DNS records of calendars")
struct ServiceRecordsTests {
    /// Answers with what is played.
    static func answer(_ id: UInt16, _ name: String, _ kind: UInt16, _ records: [[UInt8]], code: UInt8 = 0) -> [UInt8] {
        func word(_ value: UInt16) -> [UInt8] { [UInt8(value >> 8), UInt8(value & 0xFF)] }
        var octets = word(id) + [0x81, 0x80 | code] + [0, 1] + word(UInt16(records.count)) + [0, 0, 0, 0]
        octets += Self.name(name) + word(kind) + [0, 1]
        // Each names the question again, by a pointer.
        for data in records {
            octets += [0xC0, 12] + word(kind) + [0, 1, 0, 0, 0, 60] + word(UInt16(data.count)) + data
        }
        return octets
    }

    private static func name(_ text: String) -> [UInt8] {
        text.split(separator: ".").flatMap { [UInt8($0.utf8.count)] + Array($0.utf8) } + [0]
    }

    static func srv(_ priority: UInt8, _ weight: UInt8, _ port: UInt16, _ host: String) -> [UInt8] {
        [0, priority, 0, weight, UInt8(port >> 8), UInt8(port & 0xFF)] + name(host)
    }

    @Test("Hosts come by priority and weight, and what is no answer to the question gives nothing")
    func message() throws {
        let question = DNSMessage(id: 7, name: "_caldavs._tcp.example.com", kind: .srv)
        let good = Self.answer(
            7, "_CalDAVs._tcp.example.com", 33,
            [
                Self.srv(2, 9, 443, "c.example.com"), Self.srv(1, 1, 8443, "b.example.com"),
                Self.srv(1, 5, 444, "A.example.com"),
            ])
        #expect(
            question.records(in: good)?.targets.map(\.host) == ["a.example.com", "b.example.com", "c.example.com"])
        #expect(question.records(in: Self.answer(8, question.name, 33, [])) == nil)
        #expect(question.records(in: Self.answer(7, "evil.example", 33, [])) == nil)
        #expect(question.records(in: Self.answer(7, question.name, 16, [])) == nil)
        #expect(question.records(in: Self.answer(7, question.name, 33, [], code: 3)) == ServiceRecords())
        // The service is decidedly not there (RFC 2782): a target of one dot.
        #expect(
            question.records(in: Self.answer(7, question.name, 33, [[0, 0, 0, 0, 0, 0, 0]]))?.targets.isEmpty == true)
        let texts = DNSMessage(id: 1, name: "x.example", kind: .txt)
        let text = Self.answer(1, "x.example", 16, [[3] + Array("a=b".utf8) + [10] + Array("path=/dav/".utf8)])
        #expect(texts.records(in: text)?.path == "/dav/")
        let bad = Self.answer(1, "x.example", 16, [[12] + Array("path=http://".utf8)])
        #expect(texts.records(in: bad)?.path == nil)
        #expect(DNSMessage(id: 1, name: "a..b", kind: .srv).question() == nil)
        #expect(DNSMessage(id: 1, name: String(repeating: "a", count: 64), kind: .srv).question() == nil)
    }

    @Test("Whatever octets come, reading them ends")
    func hostile() {
        var generator = SeededGenerator(seed: 4711)
        let question = DNSMessage(id: 7, name: "a.b", kind: .srv)
        let good = Self.answer(7, "a.b", 33, [Self.srv(1, 1, 1, "h.example"), Self.srv(1, 1, 1, "h.example")])
        for _ in 0..<20_000 {
            var octets = good
            for _ in 0...2 {
                octets[Int.random(in: 0..<octets.count, using: &generator)] = .random(in: 0...255, using: &generator)
            }
            _ = question.records(in: Array(octets.prefix(.random(in: 0...octets.count, using: &generator))))
        }
        // A pointer to itself, and one ahead.
        for pointer: UInt8 in [23, 200] {
            let loop = Self.answer(7, "a.b", 33, [[0, 1, 0, 1, 0, 1, 0xC0, pointer]])
            #expect(question.records(in: loop) != nil)
        }
    }

    private final class Played: ChannelInboundHandler, Sendable {
        typealias InboundIn = AddressedEnvelope<ByteBuffer>
        typealias OutboundOut = AddressedEnvelope<ByteBuffer>

        func channelRead(context: ChannelHandlerContext, data: NIOAny) {
            let envelope = unwrapInboundIn(data)
            let question = Array(envelope.data.readableBytesView)
            guard question.count > 16 else { return }
            let id = UInt16(question[0]) << 8 | UInt16(question[1])
            let kind = UInt16(question[question.count - 3])
            let name = "_caldavs._tcp.example.com"
            let records =
                kind == 33
                ? [ServiceRecordsTests.srv(0, 0, 8443, "cal.example.com")] : [[10] + Array("path=/dav/".utf8)]
            // First a forgery with another id, which is not heard.
            for id in [id &+ 1, id] {
                let answer = ServiceRecordsTests.answer(
                    id, name, kind, id == UInt16(question[0]) << 8 | UInt16(question[1]) ? records : [])
                context.write(
                    wrapOutboundOut(
                        AddressedEnvelope(
                            remoteAddress: envelope.remoteAddress, data: context.channel.allocator.buffer(bytes: answer)
                        )),
                    promise: nil)
            }
            context.flush()
        }
    }

    @Test("A DNS server is asked, a forged answer is not heard; and without a server nothing is found")
    func lookup() async throws {
        let bootstrap = DatagramBootstrap(group: MultiThreadedEventLoopGroup.singleton)
        let server = try await bootstrap.channelInitializer { channel in
            channel.eventLoop.makeCompletedFuture { try channel.pipeline.syncOperations.addHandler(Played()) }
        }.bind(host: "127.0.0.1", port: 0).get()
        let address = try #require(server.localAddress)
        let found = await ServiceLookup(servers: [address], patience: .minutes(2)).calendars(of: "example.com")
        #expect(
            found
                == ServiceRecords(
                    targets: [.init(priority: 0, weight: 0, port: 8443, host: "cal.example.com")], path: "/dav/"))
        #expect(
            await ServiceLookup(resolvConf: "search x\n# nameserver 1.1.1.1\n").calendars(of: "example.com")
                == ServiceRecords())
        try await server.close()
    }

    @Test("DNS leads to an origin that is allowed, and to no other")
    func discovery() async throws {
        let pki = try TestPKI.shared.get()
        let proxy = try await CalendarProxy(tls: .server(identity: pki.core)) { request in
            guard request.path == "/dav/" || request.path == "/p/" || request.path == "/h/" else {
                return .answer(WebResponse(status: 404))
            }
            let body = """
                <D:multistatus xmlns:D="DAV:" xmlns:C="urn:ietf:params:xml:ns:caldav"><D:response><D:href>\(request.path)</D:href>\
                <D:propstat><D:prop><D:current-user-principal><D:href>/p/</D:href></D:current-user-principal>\
                <C:calendar-home-set><D:href>/h/</D:href></C:calendar-home-set></D:prop>\
                <D:status>HTTP/1.1 200 OK</D:status></D:propstat></D:response></D:multistatus>
                """
            return .answer(CalendarProxy.xml(207, body))
        }
        let port = try #require(UInt16(exactly: proxy.port))
        let records = ServiceRecords(
            targets: [
                .init(priority: 0, weight: 0, port: 443, host: "elsewhere.example"),
                .init(priority: 1, weight: 0, port: port, host: "localhost"),
            ], path: "/dav/")
        func client(_ allowed: Set<String>) throws -> any CalendarBackend {
            try CalDAVGround.client("https://localhost/", trust: TLSTrust(roots: [pki.coreRoot])) {
                $0.allowedOrigins = allowed
                $0.services = { $0 == "localhost" ? records : ServiceRecords() }
            }
        }
        let led = try client([proxy.url])
        #expect(try await led.discover(BackendGround.alice).principal.text.hasSuffix("/p/"))
        #expect(proxy.requests.first?.path == "/dav/")
        await led.close()
        let count = proxy.requests.count
        let alone = try client([])
        // Nobody listens where the URL says: DNS changes nothing about it.
        await #expect(throws: CalendarError.self) { try await alone.discover(BackendGround.alice) }
        #expect(proxy.requests.count == count)
        await alone.close()
        await proxy.close()
    }
}
