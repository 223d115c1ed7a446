import Diagnostics
import HTTPClient
import HTTPServer
import Hummingbird
import Logging
import NIOCore
import TLSChannel
import Testing
import WebSocketChannel

@Suite("Web server on the wire")
struct WebServerTests {
    /// Writes octets on a connection of their own and returns all that comes until the server ends it.
    private func exchange(_ fixture: WebServerFixture, _ text: String) async throws -> String {
        let wire = try await fixture.wire()
        try await wire.send(text)
        let answer = String(decoding: await wire.collector.end(), as: UTF8.self)
        try? await wire.channel.close()
        return answer
    }

    @Test("What is no HTTP is answered 400 with a body, as first request and as second", arguments: [true, false])
    func malformed(isSecure: Bool) async throws {
        try await WebServerFixture.run(isSecure: isSecure) { fixture in
            for text in [
                "nonsense\r\n\r\n", "GET\r\n\r\n", "GET /hello HTTP/1.1\r\nHost localhost\r\n\r\n",
                "GET /hello HTTP/9.9\r\nHost: a\r\n\r\n", "\u{0}\u{1}\u{2}\r\n",
                "POST /count HTTP/1.1\r\nHost: a\r\nContent-Length: 1x\r\n\r\n",
                "POST /count HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
                "POST /count HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\nabc",
            ] {
                let answer = try await exchange(fixture, text)
                #expect(answer.hasPrefix("HTTP/1.1 400 "), "\(text) got \(answer)")
                #expect(answer.contains("Connection: close"))
                #expect(answer.contains("\"message\":"))
            }
            let wire = try await fixture.wire()
            try await wire.send("GET /hello HTTP/1.1\r\nHost: a\r\n\r\n")
            #expect(await wire.collector.text(containing: "hello").hasPrefix("HTTP/1.1 200 "))
            try await wire.send("nonsense\r\n\r\n")
            #expect(String(decoding: await wire.collector.end(), as: UTF8.self).contains("HTTP/1.1 400 "))
            try? await wire.channel.close()
        }
    }

    @Test("A head that is too long is answered 431")
    func longHead() async throws {
        try await WebServerFixture.run { fixture in
            let long = String(repeating: "x", count: 20_000)
            let field = try await exchange(fixture, "GET /hello HTTP/1.1\r\nHost: a\r\nX: \(long)\r\n\r\n")
            #expect(field.hasPrefix("HTTP/1.1 431 "), "\(field)")
            let many = (0..<200).map { "X-\($0): 1\r\n" }.joined()
            let fields = try await exchange(fixture, "GET /hello HTTP/1.1\r\nHost: a\r\n\(many)\r\n")
            #expect(fields.hasPrefix("HTTP/1.1 431 "), "\(fields)")
        }
    }

    @Test("A body over the limit is answered 413, announced or chunked, and the connection ends")
    func longBody() async throws {
        try await WebServerFixture.run(adjust: {
            $0.maximumBody = 10
            $0.largeBodies = ["/count": 100]
        }) { fixture in
            let announced = try await exchange(
                fixture, "POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 2000000\r\n\r\nabc")
            #expect(announced.hasPrefix("HTTP/1.1 413 "), "\(announced)")
            #expect(announced.contains("Connection: close"))
            let chunk = "32\r\n" + String(repeating: "x", count: 50) + "\r\n"
            let chunked = try await exchange(
                fixture, "POST /count HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n\(chunk)\(chunk)\(chunk)"
            )
            #expect(chunked.hasPrefix("HTTP/1.1 413 "), "\(chunked)")
            #expect(chunked.contains("Connection: close"))
            let body = [UInt8](repeating: 1, count: 100)
            let answer = try await fixture.client.send(
                WebRequest(method: "POST", url: fixture.url("/count"), body: body))
            #expect(String(decoding: answer.body, as: UTF8.self) == "100")
        }
    }

    @Test("A client that is still sending reads the refusal before the end")
    func refusalWhileSending() async throws {
        try await WebServerFixture.run(adjust: { $0.maximumBody = 1000 }) { fixture in
            let request = WebRequest(
                method: "POST", url: fixture.url("/echo"), body: [UInt8](repeating: 1, count: 8 << 20))
            let answer = try await fixture.client.send(request)
            #expect(answer.status == 413)
        }
    }

    @Test("Expect: 100-continue is invited, unless the body is too long anyway")
    func expectContinue() async throws {
        try await WebServerFixture.run { fixture in
            let wire = try await fixture.wire()
            try await wire.send("POST /count HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nExpect: 100-continue\r\n\r\n")
            #expect(await wire.collector.text(containing: "\r\n\r\n").hasPrefix("HTTP/1.1 100 Continue"))
            try await wire.send("abc")
            #expect(await wire.collector.text(containing: "200 OK").contains("HTTP/1.1 200 OK"))
            try await wire.channel.close()
            let refused = try await exchange(
                fixture, "POST /count HTTP/1.1\r\nHost: a\r\nContent-Length: 9000000\r\nExpect: 100-continue\r\n\r\n")
            #expect(refused.hasPrefix("HTTP/1.1 413 "))
        }
    }

    @Test("Pipelined requests are answered in order, and Connection: close ends after its answer")
    func pipelining() async throws {
        try await WebServerFixture.run { fixture in
            let body = "POST /count HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc"
            let last = "GET /hello HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"
            let answers = try await exchange(fixture, body + body + last)
            #expect(answers.components(of: "HTTP/1.1 200 OK") == 3)
            #expect(answers.hasSuffix("hello"))
            let old = try await exchange(fixture, "GET /hello HTTP/1.0\r\n\r\n")
            #expect(old.hasSuffix("hello"))
        }
    }

    @Test("An offer to upgrade to something else is passed over, and the connection ends after the answer")
    func otherUpgrades() async throws {
        try await WebServerFixture.run { fixture in
            let offer =
                "GET /hello HTTP/1.1\r\nHost: a\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\n"
                + "HTTP2-Settings: AAMAAABkAAQAoAAAAAIAAAAA\r\n\r\n"
            let first = try await exchange(fixture, offer)
            #expect(first.components(of: "HTTP/1.1 200 OK") == 1 && first.hasSuffix("hello"))
            #expect(first.contains("Connection: close"))
            let second = try await exchange(fixture, "GET /hello HTTP/1.1\r\nHost: a\r\n\r\n" + offer)
            #expect(second.components(of: "HTTP/1.1 200 OK") == 2)
        }
    }

    @Test("A refused WebSocket gets the status, the headers and the body of the decision")
    func refusedUpgrade() async throws {
        let routes = [
            WebSocketRoute("/socket/*") { request in
                #expect(request.path == "/socket/a")
                #expect(request.query == "b=c")
                #expect(request.header("AUTHORIZATION") == "Bearer x")
                return .refuse(
                    UpgradeRefusal(status: 401, headers: [("WWW-Authenticate", "Bearer")], message: "token expired"))
            }
        ]
        try await WebServerFixture.run(webSockets: routes) { fixture in
            let answer = try await exchange(
                fixture,
                "GET /socket/a?b=c HTTP/1.1\r\nHost: a\r\nConnection: keep-alive, Upgrade\r\nUpgrade: WebSocket\r\n"
                    + "Authorization: Bearer x\r\nSec-WebSocket-Version: 13\r\n"
                    + "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n")
            #expect(answer.hasPrefix("HTTP/1.1 401 Unauthorized\r\n"))
            #expect(answer.contains("WWW-Authenticate: Bearer\r\n"))
            #expect(answer.contains("\"message\":\"token expired\""))
            let error = await #expect(throws: DiagnosedError.self) {
                try await fixture.client.webSocket(
                    fixture.socketURL("/socket/a?b=c"), headers: [("Authorization", "Bearer x")])
            }
            #expect(error?.code == .webSocketUnauthorized)
            #expect(error?.found?.contains("status 401") == true)
            #expect(error?.found?.contains("token expired") == true)
        }
    }

    @Test("A wrong handshake is told what is wrong with it, before anybody decides")
    func wrongHandshakes() async throws {
        let route = WebSocketRoute("/socket") { _ in
            Issue.record("asked to decide")
            return .refuse(500, message: "")
        }
        let key = "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
        let version = "Sec-WebSocket-Version: 13\r\n"
        let upgrade = "Host: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
        try await WebServerFixture.run(webSockets: [route]) { fixture in
            for (request, status) in [
                ("POST /socket HTTP/1.1\r\n\(upgrade)\(key)\(version)\r\n", 405),
                ("GET /socket HTTP/1.1\r\n\(upgrade)\(key)Sec-WebSocket-Version: 8\r\n\r\n", 426),
                ("GET /socket HTTP/1.1\r\n\(upgrade)\(key)\r\n", 426),
                ("GET /socket HTTP/1.1\r\n\(upgrade)\(version)\r\n", 400),
                ("GET /socket HTTP/1.1\r\n\(upgrade)\(version)Sec-WebSocket-Key: short\r\n\r\n", 400),
                ("GET /socket HTTP/1.1\r\n\(upgrade)\(version)\(key)\(key)\r\n", 400),
                ("GET /socket HTTP/1.1\r\n\(upgrade)\(version)\(key)Content-Length: 1\r\n\r\nx", 400),
                ("GET /socket HTTP/1.1\r\nHost: a\r\n\r\n", 426),
                ("GET /socket HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\n\(version)\(key)\r\n", 426),
            ] {
                let answer = try await exchange(fixture, request)
                #expect(answer.hasPrefix("HTTP/1.1 \(status) "), "\(request) got \(answer)")
            }
            let missing = try await exchange(fixture, "GET /none HTTP/1.1\r\n\(upgrade)\(version)\(key)\r\n")
            #expect(missing.hasPrefix("HTTP/1.1 404 "))
        }
    }

    @Test("Plain HTTP is served on loopback only, and a taken port is told")
    func binding() async throws {
        let open = WebServer(configuration: WebServerConfiguration(host: "0.0.0.0", port: 0), router: Router())
        await #expect(throws: DiagnosedError(.serverPlainRefused, fault: .configuration, "")) { try await open.run() }
        await #expect(throws: DiagnosedError(.serverNotRunning, fault: .internal, "")) { try await open.boundPort }
        try await WebServerFixture.run { fixture in
            var logger = Logger(label: "test")
            logger.logLevel = .critical
            let second = WebServer(
                configuration: WebServerConfiguration(host: "127.0.0.1", port: fixture.port), router: Router(),
                logger: logger)
            let error = await #expect(throws: DiagnosedError.self) { try await second.run() }
            #expect(error?.code == .serverBindFailed)
        }
    }

    @Test("A server that stops under new connections ends as it should", .timeLimit(.minutes(2)))
    func stoppedUnderConnections() async throws {
        for _ in 0..<20 {
            try await WebServerFixture.run(isSecure: false) { fixture in
                let monitors = (0..<6).map { _ in
                    Task {
                        var answered = 0
                        while let answer = try? await exchange(
                            fixture, "GET /hello HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
                        {
                            answered += 1
                            if answer.isEmpty { break }
                        }
                        return answered
                    }
                }
                for _ in 0..<3 {
                    _ = try await exchange(fixture, "GET /hello HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
                }
                await fixture.stop()
                var answered = 0
                for monitor in monitors { answered += await monitor.value }
                #expect(answered > 0)
            }
        }
    }

    @Test("A server outlives random octets")
    func noise() async throws {
        try await WebServerFixture.run(isSecure: false, adjust: { $0.deadlines.linger = .milliseconds(100) }) {
            fixture in
            for seed in 0..<200 as Range<UInt64> {
                var generator = SeededGenerator(seed: seed)
                let wire = try await fixture.wire()
                var octets = generator.bytes(Int.random(in: 1...1000, using: &generator))
                if seed.isMultiple(of: 2) { octets = Array("POST /echo HTTP/1.1\r\nHost: a\r\n".utf8) + octets }
                try? await wire.send(octets)
                try? await wire.channel.close(mode: .output)
                _ = await wire.collector.end()
                try? await wire.channel.close()
            }
            let answer = try await fixture.client.send(WebRequest(url: fixture.url("/hello")))
            #expect(answer.status == 200)
        }
    }
}

extension String {
    /// How often the part stands in the text.
    func components(of part: String) -> Int { ranges(of: part).count }
}
