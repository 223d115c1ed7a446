import Diagnostics
import HTTPClient
import HTTPServer
import HTTPTypes
import Hummingbird
import NIOCore
import NIOHTTP1
import Synchronization
import TLSChannel
import Testing

@Suite("Web client against web server")
struct WebClientTests {
    @Test("A request is answered over TLS and over plain loopback", arguments: [true, false])
    func simple(isSecure: Bool) async throws {
        try await WebServerFixture.run(isSecure: isSecure) { fixture in
            let answer = try await fixture.client.send(WebRequest(url: fixture.url("/hello?a=b#fragment")))
            #expect(answer.status == 200)
            #expect(String(decoding: answer.body, as: UTF8.self) == "hello")
            #expect(answer.header("CONTENT-length") == "5")
            let missing = try await fixture.client.send(WebRequest(url: fixture.url("/nothing")))
            #expect(missing.status == 404)
            let head = try await fixture.client.send(WebRequest(method: "HEAD", url: fixture.url("/hello")))
            #expect(head.body.isEmpty)
        }
    }

    @Test("One connection carries many requests, and as many as allowed run at once")
    func pool() async throws {
        try await WebServerFixture.run { fixture in
            for _ in 0..<20 { _ = try await fixture.client.send(WebRequest(url: fixture.url("/hello"))) }
            #expect(fixture.server.connectionCount == 1)
            let (client, server, url) = (fixture.client, fixture.server, fixture.url("/hello"))
            let counts = try await withThrowingTaskGroup(of: Int.self) { group in
                for _ in 0..<200 {
                    group.addTask {
                        let answer = try await client.send(WebRequest(url: url))
                        #expect(answer.status == 200)
                        return server.connectionCount
                    }
                }
                return try await group.reduce(into: []) { $0.append($1) }
            }
            #expect(counts.count == 200)
            #expect((1...8).contains(counts.max() ?? 0))
        }
    }

    @Test("A stale connection is not the caller's trouble for requests that may be repeated")
    func stale() async throws {
        // Says nothing of closing, serves one request a connection and cuts the second one.
        let served = Mutex<[String]>([])
        let listener = try await Listener { channel in
            try channel.pipeline.syncOperations.configureHTTPServerPipeline()
            try channel.pipeline.syncOperations.addHandler(
                OneAnswerHandler { head in
                    served.withLock { $0.append(head.method.rawValue) }
                })
        }
        let client = WebClient(trust: nil)
        let url = "http://127.0.0.1:\(listener.port)/"
        #expect(try await client.send(WebRequest(url: url)).status == 200)
        #expect(try await client.send(WebRequest(method: "PUT", url: url, body: [1])).status == 200)
        #expect(served.withLock { $0 } == ["GET", "PUT", "PUT"])
        await #expect(throws: DiagnosedError(.httpConnectionLost, fault: .peer, "")) {
            try await client.send(WebRequest(method: "POST", url: url, body: [1]))
        }
        #expect(served.withLock { $0 } == ["GET", "PUT", "PUT", "POST"])
        await client.close()
        await listener.close()
    }

    @Test("Bodies of 20 MB go both ways, from memory and from files")
    func bodies() async throws {
        var generator = SeededGenerator(seed: 20)
        let block = generator.bytes(1 << 20)
        var body: [UInt8] = []
        for _ in 0..<20 { body += block }
        let sent = body
        try await WebServerFixture.run(adjust: { $0.largeBodies = ["/echo": 32 << 20] }) { fixture in
            let request = WebRequest(
                method: "POST", url: fixture.url("/echo"), body: sent, maximumResponseBytes: 32 << 20)
            #expect(try await fixture.client.send(request).body == sent)

            let folder = TemporaryFolder()
            try folder.write(sent, to: "upload")
            var upload = request
            upload.body = []
            #expect(try await fixture.client.send(upload, bodyFile: folder.path("upload")).body == sent)
            let answer = try await fixture.client.download(request, toFile: folder.path("download"))
            #expect(answer.status == 200 && answer.body.isEmpty)
            #expect(try folder.read("download") == sent)
            let refused = try await fixture.client.download(
                WebRequest(url: fixture.url("/none")), toFile: folder.path("none"))
            #expect(refused.status == 404)
            #expect(!folder.exists("none"))
            await #expect(throws: DiagnosedError(.httpBodyFile, fault: .client, "")) {
                try await fixture.client.send(upload, bodyFile: folder.path("missing"))
            }
        }
    }

    @Test("An answer over the limit is an error, announced or not")
    func responseLimit() async throws {
        try await WebServerFixture.run { fixture in
            let body = [UInt8](repeating: 1, count: 2000)
            let chunked = WebRequest(method: "POST", url: fixture.url("/echo"), body: body, maximumResponseBytes: 1999)
            await #expect(throws: DiagnosedError(.httpResponseTooLarge, fault: .peer, "")) {
                try await fixture.client.send(chunked)
            }
            let announced = WebRequest(url: fixture.url("/hello"), maximumResponseBytes: 4)
            await #expect(throws: DiagnosedError(.httpResponseTooLarge, fault: .peer, "")) {
                try await fixture.client.send(announced)
            }
            let next = try await fixture.client.send(WebRequest(url: fixture.url("/hello")))
            #expect(next.status == 200)
        }
    }

    @Test("A server that does not answer is given up in time, a cancelled request at once")
    func timeout() async throws {
        let arrived = Awaited<Void>()
        let listener = try await Listener { channel in
            try channel.pipeline.syncOperations.addHandler(
                TalkingHandler { _ in
                    arrived.set(())
                    return []
                })
        }
        let client = WebClient(trust: nil)
        let url = "http://127.0.0.1:\(listener.port)/"
        await #expect(throws: DiagnosedError(.httpTimeout, fault: .peer, "")) {
            try await client.send(WebRequest(url: url, timeout: .milliseconds(30)))
        }
        let request = Task { try await client.send(WebRequest(url: url)) }
        await arrived.value
        request.cancel()
        await #expect(throws: CancellationError.self) { try await request.value }
        await client.close()
        await #expect(throws: DiagnosedError(.httpClientClosed, fault: .internal, "")) {
            try await client.send(WebRequest(url: url))
        }
        await listener.close()
    }

    @Test("An answer that changes the protocol unasked is refused")
    func unaskedUpgrade() async throws {
        let listener = try await Listener { channel in
            try channel.pipeline.syncOperations.addHandler(
                TalkingHandler { _ in
                    [
                        ByteBuffer(
                            string: "HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n")
                    ]
                })
        }
        let client = WebClient(trust: nil)
        await #expect(throws: DiagnosedError(.httpResponseInvalid, fault: .peer, "")) {
            try await client.send(WebRequest(url: "http://127.0.0.1:\(listener.port)/"))
        }
        await listener.close()
    }

    @Test("An answer cut short is an error, whichever way its length was to be known")
    func truncated() async throws {
        let pki = try TestPKI.shared.get()
        let server = try TLSConfiguration.server(identity: pki.identity("server", "issuing"))
        for head in ["Content-Length: 100\r\n", "Transfer-Encoding: chunked\r\n", ""] {
            let listener = try await Listener { channel in
                let operations = channel.pipeline.syncOperations
                try operations.addHandler(TLSChannelHandler(server))
                try operations.addHandler(
                    TalkingHandler { context in
                        let tls = try? context.pipeline.syncOperations.context(handlerType: TLSChannelHandler.self)
                        context.eventLoop.assumeIsolated().execute { tls?.close(promise: nil) }
                        return [ByteBuffer(string: "HTTP/1.1 200 OK\r\n\(head)\r\n5\r\nhello\r\n")]
                    })
            }
            let client = WebClient(trust: try pki.trust())
            let error = await #expect(throws: DiagnosedError.self, "\(head)") {
                try await client.send(WebRequest(url: "https://localhost:\(listener.port)/"))
            }
            #expect(error?.code == .tlsTruncated || error?.code == .httpConnectionLost)
            await client.close()
            await listener.close()
        }
    }

    @Test("No connection, no trust, no plain HTTP to others: each has its code")
    func refusals() async throws {
        let pki = try TestPKI.shared.get()
        // Port 1 (tcpmux) is served nowhere.
        let port = 1
        let client = WebClient(trust: try pki.trust())
        func code(_ url: String, _ client: WebClient) async -> DiagnosedError.Code? {
            do {
                _ = try await client.send(WebRequest(url: url))
                return nil
            } catch {
                return (error as? DiagnosedError)?.code
            }
        }
        #expect(await code("http://127.0.0.1:\(port)/", client) == .httpConnectFailed)
        #expect(await code("http://example.com/", client) == .httpPlainRefused)
        #expect(await code("http://127.0.0.1.example.com/", client) == .httpPlainRefused)
        #expect(await code("https://localhost:\(port)/", WebClient(trust: nil)) == .tlsConfiguration)
        #expect(await code("https://localhost:\(port)/", WebClient(trust: TLSTrust(roots: []))) == .tlsConfiguration)
        for url in [
            "", "localhost", "ftp://localhost/", "https://", "https://a b/", "https://u@h/", "https://h:0/",
            "https://h:65536/", "https://h:1x/", "https://[::1/", "https://[zz]/", "https://h/\u{e4}",
            "https://h/\r\nX:1",
        ] {
            #expect(await code(url, client) == .httpRequestInvalid, "\(url)")
        }
        for header in [("A\r\nB", "c"), ("", "c"), ("A", "b\r\nC: d"), ("A", "\0")] {
            await #expect(throws: DiagnosedError(.httpRequestInvalid, fault: .client, "")) {
                try await client.send(WebRequest(url: "https://localhost/", headers: [header]))
            }
        }
        await client.close()
    }

    @Test("The identity of the server is judged")
    func identity() async throws {
        let pki = try TestPKI.shared.get()
        try await WebServerFixture.run { fixture in
            let stranger = WebClient(trust: try pki.trust("stranger"))
            await #expect(throws: DiagnosedError(.tlsUntrusted, fault: .peer, "")) {
                try await stranger.send(WebRequest(url: fixture.url("/hello")))
            }
            let pinned = WebClient(trust: try pki.trust(pins: ["stranger"]))
            await #expect(throws: DiagnosedError(.tlsPinMismatch, fault: .peer, "")) {
                try await pinned.webSocket(fixture.socketURL("/x"))
            }
            await stranger.close()
            await pinned.close()
        }
    }
}

/// Answers the first request of its connection and cuts the connection at the second.
final class OneAnswerHandler: ChannelInboundHandler {
    typealias InboundIn = HTTPServerRequestPart
    typealias OutboundOut = HTTPServerResponsePart
    private let onHead: (HTTPRequestHead) -> Void
    private var hasAnswered = false

    init(_ onHead: @escaping (HTTPRequestHead) -> Void) { self.onHead = onHead }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        switch unwrapInboundIn(data) {
        case .head(let head):
            onHead(head)
            if hasAnswered { context.close(promise: nil) }
        case .body: break
        case .end:
            guard !hasAnswered else { return }
            hasAnswered = true
            let head = HTTPResponseHead(version: .http1_1, status: .ok, headers: ["content-length": "0"])
            context.write(wrapOutboundOut(.head(head)), promise: nil)
            context.writeAndFlush(wrapOutboundOut(.end(nil)), promise: nil)
        }
    }
}
