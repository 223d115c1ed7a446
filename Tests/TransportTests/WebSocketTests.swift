import Diagnostics
import HTTPClient
import HTTPServer
import NIOCore
import Synchronization
import TLSChannel
import Testing

@testable import WebSocketChannel

@Suite("WebSocket between client and server")
struct WebSocketTests {
    private static let echo = WebSocketRoute("/echo") { _ in
        .accept { socket in
            for try await message in socket.incoming {
                switch message {
                case .text(let text): try await socket.send(text: text)
                case .binary(let bytes): try await socket.send(binary: bytes)
                }
            }
        }
    }

    @Test("Text and binary of all sizes come back, over TLS and plain", arguments: [true, false])
    func echoes(isSecure: Bool) async throws {
        try await WebServerFixture.run(isSecure: isSecure, webSockets: [Self.echo]) { fixture in
            let socket = try await fixture.client.webSocket(fixture.socketURL("/echo"))
            let incoming = socket.incoming.makeAsyncIterator()
            var generator = SeededGenerator(seed: 1)
            for size in [0, 1, 125, 126, 65535, 65536, 1 << 20] {
                let bytes = generator.bytes(size)
                try await socket.send(binary: bytes)
                #expect(try await incoming.next() == .binary(bytes))
            }
            try await socket.send(text: "grüße, 世界")
            #expect(try await incoming.next() == .text("grüße, 世界"))
            await socket.close(code: 4000, reason: "enough")
            #expect(try await incoming.next() == nil)
            #expect(socket.closeCode == 4000)
            #expect(!socket.enqueue(text: "late"))
            await #expect(throws: DiagnosedError(.webSocketClosed, fault: .peer, "")) {
                try await socket.send(text: "late")
            }
        }
    }

    @Test("Thousands of enqueued messages arrive in order, through a slow reader too")
    func manyMessages() async throws {
        let total = 5000
        try await WebServerFixture.run(webSockets: [Self.echo]) { fixture in
            let limits = WebSocketLimits(maximumUnreadBytes: 4096)
            let socket = try await fixture.client.webSocket(fixture.socketURL("/echo"), limits: limits)
            for number in 0..<total { #expect(socket.enqueue(text: "message \(number)")) }
            var count = 0
            for try await message in socket.incoming {
                #expect(message == .text("message \(count)"))
                count += 1
                if count == total { break }
            }
            #expect(socket.unsentBytes == 0)
            await socket.close()
        }
    }

    @Test("A sink gets every message on the event loop, the first ones too")
    func sink() async throws {
        let done = Awaited<Void>()
        let received = Mutex<[WebSocketMessage]>([])
        let route = WebSocketRoute("/burst") { _ in
            .accept { socket in
                for number in 0..<100 { socket.enqueue(text: String(number)) }
                await socket.waitUntilClosed()
            }
        }
        try await WebServerFixture.run(webSockets: [route]) { fixture in
            let socket = try await fixture.client.webSocket(fixture.socketURL("/burst"))
            socket.receive { message in
                let count = received.withLock { received in
                    received.append(message)
                    return received.count
                }
                if count == 100 { done.set(()) }
            }
            await done.value
            await socket.close()
        }
        #expect(received.withLock { $0 } == (0..<100).map { .text(String($0)) })
    }

    @Test("Nothing more is taken for a peer that does not read, and the rest arrives when it does")
    func backPressure() async throws {
        let goOn = Awaited<Void>()
        let sent = Awaited<Int>()
        let block = [UInt8](repeating: 5, count: 64 << 10)
        let route = WebSocketRoute("/flood", limits: WebSocketLimits(maximumUnsentBytes: 1 << 20)) { _ in
            .accept { socket in
                // Until the kernel, the peer's unread messages and our own queue are full.
                var count = 0
                while socket.enqueue(binary: block) { count += 1 }
                sent.set(count)
                await goOn.value
                try await socket.send(text: "end")
                await socket.waitUntilClosed()
            }
        }
        try await WebServerFixture.run(webSockets: [route]) { fixture in
            let limits = WebSocketLimits(maximumUnreadBytes: 128 << 10)
            let socket = try await fixture.client.webSocket(fixture.socketURL("/flood"), limits: limits)
            let expected = await sent.value
            goOn.set(())
            var count = 0
            for try await message in socket.incoming {
                if message == .text("end") { break }
                count += 1
            }
            #expect(count == expected)
            await socket.close()
        }
    }

    @Test("A message over the limit is answered 1009, in one frame or in fragments")
    func tooLarge() async throws {
        let ended = Mutex<[DiagnosedError.Code?]>([])
        let limits = WebSocketLimits(maximumFrameBytes: 1000, maximumMessageBytes: 1500)
        let route = WebSocketRoute("/small", limits: limits) { _ in
            .accept { socket in
                do {
                    for try await _ in socket.incoming { Issue.record("a message") }
                } catch {
                    ended.withLock { $0.append((error as? DiagnosedError)?.code) }
                }
            }
        }
        try await WebServerFixture.run(webSockets: [route]) { fixture in
            let whole = try await fixture.client.webSocket(fixture.socketURL("/small"))
            try await whole.send(binary: [UInt8](repeating: 1, count: 1001))
            #expect(await whole.waitUntilClosed().code == 1009)

            let wire = try await Self.upgraded(fixture, "/small")
            var frames = ByteBuffer()
            let mask = WebSocketMask(octets: (1, 2, 3, 4))
            frames.writeWebSocketFrame(.text, payload: [UInt8](repeating: 65, count: 800), mask: mask)
            frames.setInteger(UInt8(0x01), at: 0)
            frames.writeWebSocketFrame(.continuation, payload: [UInt8](repeating: 65, count: 701), mask: mask)
            try await wire.channel.writeAndFlush(frames)
            let answer = Array(await wire.collector.end().suffix(from: wire.collector.headLength))
            #expect(answer.prefix(1) == [0x88])
            #expect(answer.dropFirst(2).prefix(2) == [0x03, 0xF1])
            try? await wire.channel.close()
        }
        #expect(ended.withLock { $0 } == [.webSocketTooLarge, .webSocketTooLarge])
    }

    @Test("Fragments with a ping between them are one message, and a frame right behind the request is not lost")
    func fragments() async throws {
        try await WebServerFixture.run(webSockets: [Self.echo]) { fixture in
            var frames = ByteBuffer()
            let mask = WebSocketMask(octets: (9, 8, 7, 6))
            frames.writeWebSocketFrame(.text, payload: Array("Hel".utf8), mask: mask)
            frames.setInteger(UInt8(0x01), at: 0)
            frames.writeWebSocketFrame(.ping, payload: [42], mask: mask)
            frames.writeWebSocketFrame(.continuation, payload: Array("lo".utf8), mask: mask)
            let wire = try await Self.upgraded(fixture, "/echo", with: frames)
            let expected: [UInt8] = [0x8A, 0x01, 42, 0x81, 0x05] + Array("Hello".utf8)
            let received = await wire.collector.bytes(atLeast: wire.collector.headLength + expected.count)
            #expect(Array(received.suffix(from: wire.collector.headLength)) == expected)
            try await wire.channel.close()
        }
    }

    @Test("A peer that falls silent is given up after the deadline")
    func silence() async throws {
        let ended = Awaited<DiagnosedError.Code?>()
        let limits = WebSocketLimits(
            heartbeat: WebSocketHeartbeat(interval: .milliseconds(10), deadline: .milliseconds(50)))
        let route = WebSocketRoute("/pulse", limits: limits) { _ in
            .accept { socket in
                do {
                    for try await _ in socket.incoming {}
                    ended.set(nil)
                } catch {
                    ended.set((error as? DiagnosedError)?.code)
                }
            }
        }
        try await WebServerFixture.run(webSockets: [route]) { fixture in
            // Answers no ping.
            let wire = try await Self.upgraded(fixture, "/pulse")
            #expect(await ended.value == .webSocketSilent)
            let received = await wire.collector.end().suffix(from: wire.collector.headLength)
            #expect(received.starts(with: [0x89, 0x00]))
            try? await wire.channel.close()
        }
    }

    @Test("A peer that answers pings lives longer than the deadline")
    func heartbeat() async throws {
        let limits = WebSocketLimits(
            heartbeat: WebSocketHeartbeat(interval: .milliseconds(5), deadline: .seconds(30)))
        try await WebServerFixture.run(webSockets: [Self.echo]) { fixture in
            let socket = try await fixture.client.webSocket(fixture.socketURL("/echo"), limits: limits)
            socket.setHeartbeat(WebSocketHeartbeat(interval: .milliseconds(1), deadline: .seconds(30)))
            for number in 0..<20 {
                try await socket.send(text: String(number))
                let incoming = socket.incoming.makeAsyncIterator()
                #expect(try await incoming.next() == .text(String(number)))
            }
            await socket.close()
            #expect(socket.closure?.error == nil)
        }
    }

    @Test("A connection cut without a close frame is an error at the other end")
    func cut() async throws {
        let ended = Awaited<DiagnosedError.Code?>()
        let route = WebSocketRoute("/socket") { _ in
            .accept { socket in
                do {
                    for try await _ in socket.incoming {}
                    ended.set(nil)
                } catch {
                    ended.set((error as? DiagnosedError)?.code)
                    throw error
                }
            }
        }
        try await WebServerFixture.run(isSecure: false, webSockets: [route]) { fixture in
            let wire = try await Self.upgraded(fixture, "/socket")
            try await wire.channel.close()
            #expect(await ended.value == .webSocketLost)
        }
    }

    @Test("A decision that does not come in time is a 503")
    func lateDecision() async throws {
        let route = WebSocketRoute("/never") { _ in
            // Until it is cancelled.
            try? await Task.sleep(for: .seconds(600))
            return .refuse(500, message: "woken")
        }
        try await WebServerFixture.run(
            webSockets: [route], adjust: { $0.deadlines.decision = .milliseconds(20) }
        ) { fixture in
            let error = await #expect(throws: DiagnosedError.self) {
                try await fixture.client.webSocket(fixture.socketURL("/never"))
            }
            #expect(error?.code == .webSocketRefused)
            #expect(error?.found?.contains("status 503") == true)
        }
    }

    @Test("A handler that throws closes with 1011, one that returns with 1000")
    func handlerEnds() async throws {
        let failing = WebSocketRoute("/failing") { _ in .accept { _ in throw TestPKI.Failure(step: "on purpose") } }
        let brief = WebSocketRoute("/brief") { _ in .accept { socket in try await socket.send(text: "bye") } }
        try await WebServerFixture.run(webSockets: [failing, brief]) { fixture in
            let first = try await fixture.client.webSocket(fixture.socketURL("/failing"))
            #expect(await first.waitUntilClosed().code == 1011)
            let second = try await fixture.client.webSocket(fixture.socketURL("/brief"))
            let incoming = second.incoming.makeAsyncIterator()
            #expect(try await incoming.next() == .text("bye"))
            #expect(try await incoming.next() == nil)
            #expect(await second.waitUntilClosed().code == 1000)
        }
    }

    @Test("A server that accepts wrongly is refused by the client")
    func wrongAccept() async throws {
        for answer in [
            "HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: websocket\r\n"
                + "Sec-WebSocket-Accept: AAAA\r\n\r\n",
            "HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n",
            "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok", "nonsense\r\n\r\n", "",
        ] {
            let listener = try await Listener { channel in
                try channel.pipeline.syncOperations.addHandler(
                    TalkingHandler { context in
                        context.eventLoop.assumeIsolated().execute { context.close(promise: nil) }
                        return [ByteBuffer(string: answer)]
                    })
            }
            let client = WebClient(trust: nil)
            await #expect(throws: DiagnosedError.self, "\(answer)") {
                try await client.webSocket("ws://127.0.0.1:\(listener.port)/")
            }
            await listener.close()
        }
    }

    @Test("A server outlives random frames")
    func noise() async throws {
        try await WebServerFixture.run(isSecure: false, webSockets: [Self.echo]) { fixture in
            for seed in 0..<100 as Range<UInt64> {
                var generator = SeededGenerator(seed: seed)
                let octets = generator.bytes(Int.random(in: 1...500, using: &generator))
                let wire = try await Self.upgraded(fixture, "/echo", with: ByteBuffer(bytes: octets))
                try? await wire.channel.close(mode: .output)
                _ = await wire.collector.end()
                try? await wire.channel.close()
            }
            let socket = try await fixture.client.webSocket(fixture.socketURL("/echo"))
            await socket.close()
            #expect(socket.closeCode == 1000)
        }
    }

    /// A connection after its handshake, with these octets sent in the same write as the request.
    private static func upgraded(
        _ fixture: WebServerFixture, _ path: String, with octets: ByteBuffer = ByteBuffer()
    ) async throws -> Wire {
        let wire = try await fixture.wire()
        var request = ByteBuffer(
            string: "GET \(path) HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
                + "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n")
        request.writeImmutableBuffer(octets)
        try await wire.channel.writeAndFlush(request)
        let head = await wire.collector.text(containing: "\r\n\r\n")
        #expect(head.hasPrefix("HTTP/1.1 101 "))
        #expect(head.contains("s3pPLMBiTxaQ9kYGzzhZRbK+xOo="))
        return wire
    }
}

extension Collector {
    /// Octets of the HTTP head that came first.
    var headLength: Int {
        received.firstRange(of: Array("\r\n\r\n".utf8))?.upperBound ?? 0
    }
}
