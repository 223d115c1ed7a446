import Diagnostics
import NIOCore
import NIOPosix
import Synchronization
import TLSChannel
import Testing

/// A TCP listener on loopback whose connections get the handlers of a test.
final class Listener: Sendable {
    let channel: any Channel

    init(_ configure: @escaping @Sendable (any Channel) throws -> Void) async throws {
        channel = try await ServerBootstrap(group: MultiThreadedEventLoopGroup.singleton)
            .childChannelOption(.allowRemoteHalfClosure, value: true)
            .childChannelInitializer { channel in channel.eventLoop.makeCompletedFuture { try configure(channel) } }
            .bind(host: "127.0.0.1", port: 0).get()
    }

    /// One that serves TLS with this identity.
    static func tls(
        _ configuration: TLSConfiguration, above handlers: @escaping @Sendable () -> [any ChannelHandler]
    ) async throws -> Listener {
        try await Listener { channel in
            // The client may wait for its thread longer than a handshake should take.
            try channel.pipeline.syncOperations.addHandler(
                TLSChannelHandler(configuration, handshakeDeadline: .minutes(5)))
            try channel.pipeline.syncOperations.addHandlers(handlers())
        }
    }

    var port: Int { channel.localAddress?.port ?? 0 }

    func close() async { try? await channel.close() }
}

/// A client connection of a test: what it received, and how it ended.
struct Wire: Sendable {
    let channel: any Channel
    let collector: Collector
    let handshake: EventLoopFuture<TLSSession>?

    /// Plain TCP.
    static func plain(to port: Int) async throws -> Wire {
        let collector = Collector()
        let channel = try await ClientBootstrap(group: MultiThreadedEventLoopGroup.singleton)
            .channelOption(.allowRemoteHalfClosure, value: true)
            .channelInitializer { channel in
                channel.eventLoop.makeCompletedFuture {
                    try channel.pipeline.syncOperations.addHandler(CollectingHandler(collector))
                }
            }.connect(host: "127.0.0.1", port: port).get()
        return Wire(channel: channel, collector: collector, handshake: nil)
    }

    /// TLS, its handshake begun and perhaps failed.
    static func tls(
        to port: Int, _ configuration: TLSConfiguration, name: String = "localhost", halfCloses: Bool = true,
        below: @escaping @Sendable () -> [any ChannelHandler] = { [] }
    ) async throws -> Wire {
        let collector = Collector()
        let (channel, handshake) = try await ClientBootstrap(group: MultiThreadedEventLoopGroup.singleton)
            .channelOption(.allowRemoteHalfClosure, value: halfCloses)
            .connect(host: "127.0.0.1", port: port) { channel in
                channel.eventLoop.makeCompletedFuture {
                    let promise = channel.eventLoop.makePromise(of: TLSSession.self)
                    try channel.pipeline.syncOperations.addHandlers(below())
                    try channel.pipeline.syncOperations.addHandler(
                        TLSChannelHandler(configuration, serverName: name, handshake: promise))
                    try channel.pipeline.syncOperations.addHandler(CollectingHandler(collector))
                    return (channel, promise.futureResult)
                }
            }
        return Wire(channel: channel, collector: collector, handshake: handshake)
    }

    func send(_ bytes: some Sequence<UInt8> & Sendable) async throws {
        try await channel.writeAndFlush(ByteBuffer(bytes: bytes))
    }

    func send(_ text: String) async throws { try await send(Array(text.utf8)) }

    /// The code of the error the handshake failed with.
    func handshakeError() async -> DiagnosedError? {
        do {
            _ = try await handshake?.get()
            return nil
        } catch {
            return error as? DiagnosedError
        }
    }

    func closed() async throws { try await channel.closeFuture.get() }
}

/// What a connection of a test has received. Any thread.
final class Collector: Sendable {
    private struct State {
        var bytes: [UInt8] = []
        var errors: [any Error] = []
        var isEnded = false
        var waiters:
            [(condition: @Sendable ([UInt8], Bool) -> Bool, continuation: CheckedContinuation<[UInt8], Never>)] =
                []
    }

    private let state = Mutex(State())

    /// What has come until now.
    var received: [UInt8] { state.withLock { $0.bytes } }
    var errors: [any Error] { state.withLock { $0.errors } }
    var errorCodes: [DiagnosedError.Code] { errors.compactMap { ($0 as? DiagnosedError)?.code } }

    /// Waits until so many octets are there, or the end.
    func bytes(atLeast count: Int) async -> [UInt8] { await wait { bytes, isEnded in bytes.count >= count || isEnded } }

    /// Waits until the text is there, or the end.
    func text(containing part: String) async -> String {
        let wanted = Array(part.utf8)
        return String(
            decoding: await wait { bytes, isEnded in isEnded || bytes.firstRange(of: wanted) != nil }, as: UTF8.self)
    }

    /// Waits for the peer's end of output or the end of the connection.
    func end() async -> [UInt8] { await wait { _, isEnded in isEnded } }

    private func wait(_ condition: @escaping @Sendable ([UInt8], Bool) -> Bool) async -> [UInt8] {
        await withCheckedContinuation { continuation in
            let now: [UInt8]? = state.withLock { state in
                if condition(state.bytes, state.isEnded) { return state.bytes }
                state.waiters.append((condition, continuation))
                return nil
            }
            if let now { continuation.resume(returning: now) }
        }
    }

    func append(_ buffer: ByteBuffer) { change { $0.bytes += Array(buffer.readableBytesView) } }
    func note(_ error: any Error) { change { $0.errors.append(error) } }
    func finish() { change { $0.isEnded = true } }

    private func change(_ body: (inout State) -> Void) {
        let (bytes, ready) = state.withLock { state in
            body(&state)
            let ready = state.waiters.filter { $0.condition(state.bytes, state.isEnded) }.map(\.continuation)
            let (bytes, isEnded) = (state.bytes, state.isEnded)
            state.waiters.removeAll { $0.condition(bytes, isEnded) }
            return (bytes, ready)
        }
        for waiter in ready { waiter.resume(returning: bytes) }
    }
}

final class CollectingHandler: ChannelInboundHandler {
    typealias InboundIn = ByteBuffer
    private let collector: Collector

    init(_ collector: Collector) { self.collector = collector }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) { collector.append(unwrapInboundIn(data)) }

    func errorCaught(context: ChannelHandlerContext, error: any Error) { collector.note(error) }

    func userInboundEventTriggered(context: ChannelHandlerContext, event: Any) {
        if case ChannelEvent.inputClosed = event { collector.finish() }
    }

    func channelInactive(context: ChannelHandlerContext) { collector.finish() }
}

/// Sends back what comes, and ends its output when the peer has ended his.
final class EchoHandler: ChannelInboundHandler {
    typealias InboundIn = ByteBuffer
    typealias OutboundOut = ByteBuffer

    func channelRead(context: ChannelHandlerContext, data: NIOAny) { context.write(data, promise: nil) }
    func channelReadComplete(context: ChannelHandlerContext) { context.flush() }
    func errorCaught(context: ChannelHandlerContext, error: any Error) { context.close(promise: nil) }
    func userInboundEventTriggered(context: ChannelHandlerContext, event: Any) {
        if case ChannelEvent.inputClosed = event { context.close(mode: .output, promise: nil) }
    }
}

/// Counts what passes to and from the socket. Any thread.
final class TrafficCount: Sendable {
    private let state = Mutex((written: 0, writes: 0))
    var written: Int { state.withLock { $0.written } }
    var writes: Int { state.withLock { $0.writes } }
    fileprivate func add(_ count: Int) {
        state.withLock { state in
            state.written += count
            state.writes += 1
        }
    }
}

/// Below TLS: counts the octets written, and may spoil one octet of what arrives.
final class TapHandler: ChannelDuplexHandler {
    typealias InboundIn = ByteBuffer
    typealias InboundOut = ByteBuffer
    typealias OutboundIn = ByteBuffer

    private let count: TrafficCount
    private var spoilAt: Int?
    private var received = 0

    init(_ count: TrafficCount, spoilAt: Int? = nil) {
        self.count = count
        self.spoilAt = spoilAt
    }

    func write(context: ChannelHandlerContext, data: NIOAny, promise: EventLoopPromise<Void>?) {
        count.add(unwrapOutboundIn(data).readableBytes)
        context.write(data, promise: promise)
    }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        var buffer = unwrapInboundIn(data)
        let start = received
        received += buffer.readableBytes
        if let position = spoilAt, (start..<received).contains(position) {
            let index = buffer.readerIndex + position - start
            let octet: UInt8 = buffer.getInteger(at: index) ?? 0
            buffer.setInteger(octet ^ 0x20, at: index)
            spoilAt = nil
        }
        context.fireChannelRead(wrapInboundOut(buffer))
    }
}

/// Deterministic, so that a failing run can be repeated with its printed seed.
struct SeededGenerator: RandomNumberGenerator {
    private var state: UInt64
    init(seed: UInt64) { state = seed &+ 0x9E37_79B9_7F4A_7C15 }

    mutating func next() -> UInt64 {
        state &+= 0x9E37_79B9_7F4A_7C15
        var word = state
        word = (word ^ (word >> 30)) &* 0xBF58_476D_1CE4_E5B9
        word = (word ^ (word >> 27)) &* 0x94D0_49BB_1331_11EB
        return word ^ (word >> 31)
    }

    mutating func bytes(_ count: Int) -> [UInt8] { (0..<count).map { _ in UInt8(truncatingIfNeeded: next()) } }
}
