import HTTPClient
import HTTPServer
import Hummingbird
import NIOCore
import ServiceLifecycle
import Testing
import WebSocketChannel

@Suite("Graceful shutdown of a web server")
struct ShutdownTests {
    @Test("Connections that never sent a request, and idle ones, end at once", arguments: [true, false])
    func idle(isSecure: Bool) async throws {
        let fixture = try await WebServerFixture.start(
            isSecure: isSecure, webSockets: [], adjust: { $0.deadlines.drain = .minutes(10) }, routes: { _ in })
        let silent = try await fixture.wire()
        _ = try await silent.handshake?.get()
        // On a TLS port this one has not even begun its handshake.
        let mute = try await Wire.plain(to: fixture.port)
        let partial = try await fixture.wire()
        try await partial.send("GET /hello HTT")
        let used = try await fixture.wire()
        try await used.send("GET /hello HTTP/1.1\r\nHost: a\r\n\r\n")
        _ = await used.collector.text(containing: "hello")
        await fixture.group.triggerGracefulShutdown()
        try await fixture.running.value
        for wire in [silent, mute, partial, used] {
            _ = await wire.collector.end()
            try? await wire.channel.close()
        }
        // The port is free: a connection may meet itself there, or the server of another test for a moment.
        var isRefused = false
        for _ in 0..<100 where !isRefused {
            if let other = try? await Wire.plain(to: fixture.port) {
                try? await other.channel.close()
            } else {
                isRefused = true
            }
        }
        #expect(isRefused)
        await fixture.client.close()
    }

    @Test("A running request is answered, and its connection then ends")
    func running() async throws {
        let arrived = Awaited<Void>()
        let goOn = Awaited<Void>()
        let fixture = try await WebServerFixture.start(
            isSecure: true, webSockets: [], adjust: { _ in },
            routes: { router in
                router.get("slow") { _, _ -> String in
                    arrived.set(())
                    await goOn.value
                    return "answered"
                }
            })
        let wire = try await fixture.wire()
        try await wire.send("GET /slow HTTP/1.1\r\nHost: a\r\n\r\n")
        await arrived.value
        await fixture.group.triggerGracefulShutdown()
        // The listener is gone while the request still runs.
        while (try? await Wire.plain(to: fixture.port).channel.close()) != nil {}
        goOn.set(())
        let answer = String(decoding: await wire.collector.end(), as: UTF8.self)
        #expect(answer.hasPrefix("HTTP/1.1 200 OK"))
        #expect(answer.contains("Connection: close"))
        #expect(answer.hasSuffix("answered"))
        try? await wire.channel.close()
        try await fixture.running.value
        await fixture.client.close()
    }

    @Test("What does not end is cut after the deadline")
    func cut() async throws {
        let arrived = Awaited<Void>()
        let fixture = try await WebServerFixture.start(
            isSecure: true, webSockets: [], adjust: { $0.deadlines.drain = .milliseconds(50) },
            routes: { router in
                router.post("never") { request, _ -> String in
                    arrived.set(())
                    for try await _ in request.body {}
                    return "done"
                }
            })
        let wire = try await fixture.wire()
        try await wire.send("POST /never HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\nabc")
        await arrived.value
        await fixture.group.triggerGracefulShutdown()
        try await fixture.running.value
        _ = await wire.collector.end()
        try? await wire.channel.close()
        await fixture.client.close()
    }

    @Test("WebSockets are closed with 1001")
    func webSockets() async throws {
        let route = WebSocketRoute("/socket") { _ in
            .accept { socket in for try await _ in socket.incoming {} }
        }
        let fixture = try await WebServerFixture.start(
            isSecure: true, webSockets: [route], adjust: { _ in }, routes: { _ in })
        let socket = try await fixture.client.webSocket(fixture.socketURL("/socket"))
        await fixture.group.triggerGracefulShutdown()
        let closure = await socket.waitUntilClosed()
        #expect(closure.code == 1001)
        #expect(closure.initiator == .peer)
        #expect(closure.error == nil)
        for try await _ in socket.incoming { Issue.record("a message") }
        try await fixture.running.value
        await fixture.client.close()
    }
}
