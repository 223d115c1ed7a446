import NIOCore
import NIOEmbedded
import NIOHTTP1
import Testing
import WebSocketChannel

@testable import HTTPServer

@Suite("Deadlines of a server's connection")
struct ConnectionGateTests {
    private func channel(_ routes: [WebSocketRoute] = []) throws -> EmbeddedChannel {
        let configuration = WebServerConfiguration(host: "127.0.0.1", port: 0)
        let channel = EmbeddedChannel(
            handlers: [
                HalfCloser(), HTTPResponseEncoder(), ByteToMessageHandler(HTTPRequestDecoder()),
                ConnectionGate(configuration: configuration, routes: routes, isShuttingDown: { false }),
            ])
        channel.connect(to: try SocketAddress(ipAddress: "127.0.0.1", port: 1), promise: nil)
        return channel
    }

    private func answer(_ channel: EmbeddedChannel, _ status: HTTPResponseStatus = .ok) throws {
        let head = HTTPResponseHead(version: .http1_1, status: status, headers: ["content-length": "0"])
        try channel.writeOutbound(HTTPServerResponsePart.head(head))
        try channel.writeOutbound(HTTPServerResponsePart.end(nil))
    }

    @Test("Without a whole first head the connection ends after 10 s, however it trickles")
    func firstRequest() throws {
        let channel = try channel()
        for octet in "GET / HT" {
            channel.embeddedEventLoop.advanceTime(by: .seconds(1))
            try channel.writeInbound(ByteBuffer(string: String(octet)))
        }
        #expect(channel.isActive)
        channel.embeddedEventLoop.advanceTime(by: .seconds(2))
        #expect(!channel.isActive)
        _ = try channel.finish(acceptAlreadyClosed: true)
    }

    @Test("The server's own work has no deadline, the next request has 60 s")
    func idle() throws {
        let channel = try channel()
        try channel.writeInbound(ByteBuffer(string: "GET / HTTP/1.1\r\nHost: a\r\n\r\n"))
        channel.embeddedEventLoop.advanceTime(by: .hours(1))
        #expect(channel.isActive)
        try answer(channel)
        channel.embeddedEventLoop.advanceTime(by: .seconds(59))
        try channel.writeInbound(ByteBuffer(string: "GET / HTTP/1.1\r\nHost: a\r\n\r\n"))
        channel.embeddedEventLoop.advanceTime(by: .hours(1))
        try answer(channel)
        channel.embeddedEventLoop.advanceTime(by: .seconds(59))
        #expect(channel.isActive)
        channel.embeddedEventLoop.advanceTime(by: .seconds(1))
        #expect(!channel.isActive)
        _ = try channel.finish(acceptAlreadyClosed: true)
    }

    @Test("A body that trickles is cut, one that flows is not")
    func bodyPace() throws {
        for (perSecond, survives) in [(100, false), (2000, true)] {
            let channel = try channel()
            try channel.writeInbound(
                ByteBuffer(string: "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1000000\r\n\r\n"))
            for _ in 0..<40 where channel.isActive {
                channel.embeddedEventLoop.advanceTime(by: .seconds(1))
                guard channel.isActive else { break }
                try channel.writeInbound(ByteBuffer(repeating: 1, count: perSecond))
                channel.read()
            }
            #expect(channel.isActive == survives)
            _ = try? channel.finish(acceptAlreadyClosed: true)
        }
    }

    @Test("An answer that the peer does not take is cut after a minute")
    func stalledWrite() throws {
        let channel = try channel()
        try channel.writeInbound(ByteBuffer(string: "GET / HTTP/1.1\r\nHost: a\r\n\r\n"))
        channel.isWritable = false
        channel.pipeline.fireChannelWritabilityChanged()
        channel.embeddedEventLoop.advanceTime(by: .seconds(59))
        #expect(channel.isActive)
        channel.isWritable = true
        channel.pipeline.fireChannelWritabilityChanged()
        channel.embeddedEventLoop.advanceTime(by: .seconds(59))
        #expect(channel.isActive)
        channel.isWritable = false
        channel.pipeline.fireChannelWritabilityChanged()
        channel.embeddedEventLoop.advanceTime(by: .seconds(60))
        #expect(!channel.isActive)
        _ = try channel.finish(acceptAlreadyClosed: true)
    }

    @Test("A peer that does not close after the last answer is cut after the linger time")
    func linger() throws {
        let channel = try channel()
        try channel.writeInbound(ByteBuffer(string: "nonsense\r\n\r\n"))
        var answer = ByteBuffer()
        while var part = try channel.readOutbound(as: ByteBuffer.self) { answer.writeBuffer(&part) }
        #expect(String(buffer: answer).hasPrefix("HTTP/1.1 400 Bad Request\r\n"))
        try channel.writeInbound(ByteBuffer(string: "more and more"))
        #expect(channel.isActive)
        channel.embeddedEventLoop.advanceTime(by: .seconds(3))
        #expect(!channel.isActive)
        _ = try? channel.finish(acceptAlreadyClosed: true)
    }
}

/// A half close as of a socket whose peer does not close: an embedded channel would close as a whole.
private final class HalfCloser: ChannelOutboundHandler {
    typealias OutboundIn = ByteBuffer

    func close(context: ChannelHandlerContext, mode: CloseMode, promise: EventLoopPromise<Void>?) {
        if mode == .output { promise?.succeed() } else { context.close(mode: mode, promise: promise) }
    }
}
