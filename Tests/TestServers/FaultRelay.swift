package import NIOCore
import NIOPosix
import Synchronization
package import TLSChannel

/// A TCP relay on loopback that does to connections what bad networks do.
///
/// The fault counts for connections that are opened after it was set; `freeze` and `cut` are for those that stand.
package final class FaultRelay: Sendable {
    package enum Fault: Sendable, Equatable {
        case none
        /// Each octet comes so much later, in both directions.
        case delay(TimeAmount)
        /// Cut (with a reset where the system likes) after so many octets from the server.
        case cutAfter(Int)
        /// Taken and never read, nor answered.
        case blackHole
        /// The server's side ends its output after so many octets, and goes on taking.
        case halfCloseAfter(Int)
        /// Refused at once.
        case refuse
    }

    private struct State {
        var fault = Fault.none
        var pairs: [ObjectIdentifier: (near: any Channel, far: any Channel, frost: Frost)] = [:]
        var accepted = 0
    }

    package let port: Int
    private let listener: any Channel
    private let state: Shared

    private final class Shared: Sendable {
        private let state = Mutex(State())
        func withLock<R>(_ body: (inout State) -> R) -> R { state.withLock { body(&$0) } }
    }

    /// - Parameter tls: nil relays octets as they are. With both it opens the TLS of its clients and closes it again
    ///   towards the server, as a device does that inspects TLS.
    package init(
        to target: Int, tls: (towardsClients: TLSConfiguration, towardsServer: TLSConfiguration)? = nil
    ) async throws {
        let shared = Shared()
        state = shared
        listener = try await ServerBootstrap(group: MultiThreadedEventLoopGroup.singleton)
            .childChannelOption(.autoRead, value: false)
            .childChannelOption(.allowRemoteHalfClosure, value: true)
            .childChannelInitializer { near in
                let fault = shared.withLock { state in
                    state.accepted += 1
                    return state.fault
                }
                switch fault {
                case .blackHole:
                    shared.withLock { $0.pairs[ObjectIdentifier(near)] = (near, near, Frost()) }
                    return near.eventLoop.makeSucceededVoidFuture()
                case .refuse: return near.close()
                default: break
                }
                let frost = Frost()
                return ClientBootstrap(group: near.eventLoop)
                    .channelOption(.autoRead, value: false)
                    .channelOption(.allowRemoteHalfClosure, value: true)
                    .channelInitializer { far in
                        far.eventLoop.makeCompletedFuture {
                            if let tls {
                                try near.pipeline.syncOperations.addHandler(TLSChannelHandler(tls.towardsClients))
                                try far.pipeline.syncOperations.addHandler(
                                    TLSChannelHandler(tls.towardsServer, serverName: "localhost"))
                            }
                            try near.pipeline.syncOperations.addHandler(Joint(far, fault.upstream, frost))
                            try far.pipeline.syncOperations.addHandler(Joint(near, fault, frost))
                            shared.withLock { $0.pairs[ObjectIdentifier(near)] = (near, far, frost) }
                        }
                    }
                    .connect(host: "127.0.0.1", port: target).flatMap { far in
                        near.setOption(.autoRead, value: true).and(far.setOption(.autoRead, value: true)).map { _ in }
                    }
            }
            .bind(host: "127.0.0.1", port: 0).get()
        port = listener.localAddress?.port ?? 0
    }

    package var accepted: Int { state.withLock { $0.accepted } }

    package func set(_ fault: Fault) { state.withLock { $0.fault = fault } }

    /// Nothing passes any more on the connections that stand, in either direction, and no end is told.
    package func freeze() async throws {
        for (near, far, frost) in state.withLock({ Array($0.pairs.values) }) {
            frost.isOn.store(true, ordering: .relaxed)
            _ = try await near.setOption(.autoRead, value: false).get()
            _ = try await far.setOption(.autoRead, value: false).get()
        }
    }

    /// Ends the connections that stand, without a word.
    package func cut() async {
        for (near, far, _) in state.withLock({ Array($0.pairs.values) }) {
            try? await near.close()
            try? await far.close()
        }
    }

    package func close() async {
        try? await listener.close()
        await cut()
    }
}

extension FaultRelay.Fault {
    /// What holds for the direction to the server.
    fileprivate var upstream: FaultRelay.Fault {
        if case .delay = self { self } else { .none }
    }
}

/// Whether a connection passes nothing any more. A flag beside the channels: an end is told even where nobody reads.
private final class Frost: Sendable {
    let isOn = Atomic<Bool>(false)
}

/// Hands what comes on one channel to the other; both are on one event loop.
private final class Joint: ChannelInboundHandler {
    typealias InboundIn = ByteBuffer

    private let other: any Channel
    private let fault: FaultRelay.Fault
    private var passed = 0
    private var isOver = false

    private let frost: Frost

    init(_ other: any Channel, _ fault: FaultRelay.Fault, _ frost: Frost) {
        self.frost = frost
        self.other = other
        self.fault = fault
    }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        guard !isOver, !frost.isOn.load(ordering: .relaxed) else { return }
        let buffer = unwrapInboundIn(data)
        let before = passed
        passed += buffer.readableBytes
        switch fault {
        case .delay(let time):
            context.eventLoop.scheduleTask(in: time) { [other] in other.writeAndFlush(buffer, promise: nil) }
        case .cutAfter(let limit) where passed >= limit:
            isOver = true
            let channel = context.channel
            other.writeAndFlush(buffer.getSlice(at: buffer.readerIndex, length: limit - before) ?? ByteBuffer())
                .assumeIsolated().whenComplete { [other] _ in
                    other.close(promise: nil)
                    channel.close(promise: nil)
                }
        case .halfCloseAfter(let limit) where passed >= limit:
            isOver = true
            other.writeAndFlush(buffer.getSlice(at: buffer.readerIndex, length: limit - before) ?? ByteBuffer())
                .assumeIsolated().whenComplete { [other] _ in other.close(mode: .output, promise: nil) }
        default: other.writeAndFlush(buffer, promise: nil)
        }
    }

    func userInboundEventTriggered(context: ChannelHandlerContext, event: Any) {
        if case ChannelEvent.inputClosed = event, !frost.isOn.load(ordering: .relaxed) {
            other.close(mode: .output, promise: nil)
        }
        context.fireUserInboundEventTriggered(event)
    }

    func channelInactive(context: ChannelHandlerContext) {
        if !frost.isOn.load(ordering: .relaxed) { other.close(promise: nil) }
    }

    func errorCaught(context: ChannelHandlerContext, error: any Error) { context.close(promise: nil) }
}
