import TestServers
import CoreLink
import Cryptography
import HTTPClient
import HTTPServer
import Hummingbird
import LinkProtocol
import Synchronization
import TLSChannel
import Testing
import WebSocketChannel
import WireText

/// The core's end of a link over TLS, played by the test frame by frame.
final class ScriptedCore: Sendable {
    /// One link that a service has opened.
    struct Peer: Sendable {
        let socket: WebSocketConnection
        let authorization: String?

        func next() async throws -> LinkFrame {
            guard case .binary(let bytes)? = try await socket.incoming.makeAsyncIterator().next() else {
                throw Ended(closure: socket.closure)
            }
            return try LinkFrame(decoding: bytes)
        }

        func send(_ frame: LinkFrame) async throws { try await socket.send(binary: frame.encode()) }
        func deliver(_ id: UInt64, _ text: String) async throws {
            try await send(.deliver(id: id, source: "d", text: Array(text.utf8)))
        }

        func hello() async throws -> LinkHello {
            guard case .hello(let hello) = try await next() else { throw Ended(closure: nil) }
            return hello
        }

        /// Takes hello and the first credit; the credit.
        @discardableResult
        func welcome(
            credit: Int64 = 100, heartbeatSeconds: Int64 = 5, serverTime: Timestamp = .now(),
            change: (inout LinkWelcome) -> Void = { _ in },
            sign: (LinkHello, LinkWelcome) throws -> [UInt8]? = { _, _ in nil }
        ) async throws -> UInt32 {
            let hello = try await hello()
            var welcome = LinkWelcome(
                connection: "c-7", heartbeatSeconds: heartbeatSeconds, credit: credit, serverTime: serverTime)
            change(&welcome)
            welcome.signature = try sign(hello, welcome)
            try await send(.welcome(welcome))
            guard case .credit(let granted) = try await next() else { throw Ended(closure: nil) }
            return granted
        }

        /// The hello, answered by a welcome; the first credit is taken.
        func welcomed() async throws -> LinkHello {
            let hello = try await hello()
            try await send(
                .welcome(LinkWelcome(connection: "c-8", heartbeatSeconds: 5, credit: 100, serverTime: .now())))
            guard case .credit = try await next() else { throw Ended(closure: nil) }
            return hello
        }

        func close(_ code: LinkCloseCode) { socket.beginClosing(code: code.rawValue, reason: "because") }
        func closeCode() async -> UInt16 { await socket.waitUntilClosed().code }
    }

    struct Ended: Error { let closure: WebSocketClosure? }

    let port: Int
    private let running: RunningService
    private let peers: AsyncStream<Peer>
    private let refusal = SharedRefusal()

    private final class SharedRefusal: Sendable {
        private let state = Mutex<(status: Int?, requests: Int)>((nil, 0))
        let headers = Mutex<[(String, String)]>([])
        var status: Int? {
            get { state.withLock { $0.status } }
            set { state.withLock { $0.status = newValue } }
        }
        var requests: Int { state.withLock { $0.requests } }
        func count() { state.withLock { $0.requests += 1 } }
    }

    /// Port 0 lets the kernel choose.
    init(port wanted: Int = 0, heartbeat: WebSocketHeartbeat? = nil) async throws {
        let (peers, sink) = AsyncStream.makeStream(of: Peer.self)
        self.peers = peers
        if wanted != 0 { try await LoopbackPort.untilFree(wanted) }
        let refusal = refusal
        var limits = WebSocketLimits(
            maximumFrameBytes: LinkFrame.maximumBytes, maximumMessageBytes: LinkFrame.maximumBytes)
        if let heartbeat { limits.heartbeat = heartbeat }
        let route = WebSocketRoute("/link/v1", limits: limits) { request in
            refusal.count()
            if let status = refusal.status { return .refuse(status, message: "refused by the test") }
            let authorization = request.header("authorization")
            return .accept(headers: refusal.headers.withLock { $0 }) { socket in
                sink.yield(Peer(socket: socket, authorization: authorization))
                await socket.waitUntilClosed()
            }
        }
        let server = WebServer(
            configuration: WebServerConfiguration(
                host: "127.0.0.1", port: wanted, identity: try TestPKI.shared.get().core),
            router: Router(), webSockets: [route])
        running = RunningService([server])
        port = try await server.boundPort
    }

    func stop() async { await running.stop() }

    /// Upgrade requests that came, over whatever TLS.
    var requests: Int { refusal.requests }
    /// From now on upgrades are answered so; nil accepts them.
    func refuse(_ status: Int?) { refusal.status = status }

    /// From now on upgrades are answered with that nonce.
    func give(nonce: [UInt8]) {
        refusal.headers.withLock { $0 = [("HDS-Link-Nonce", Base64URL.encode(nonce))] }
    }

    func next() async throws -> Peer {
        for await peer in peers { return peer }
        throw Ended(closure: nil)
    }

    static func trust(pins: [SPKIPin] = []) throws -> TLSTrust {
        TLSTrust(roots: [try TestPKI.shared.get().coreRoot], pins: pins, requirePathLengthZero: true)
    }

    static func run(_ body: (ScriptedCore) async throws -> Void) async throws {
        let core = try await ScriptedCore()
        do {
            try await body(core)
        } catch {
            await core.stop()
            throw error
        }
        await core.stop()
    }
}

/// A service on a real link, whose states and deliveries a test waits for without sleeping.
final class TestLink: Sendable {
    let link: CoreLink
    private let running: RunningService
    private let states: AsyncStream<LinkState>
    private let deliveries: AsyncStream<LinkDelivery>
    private let tokenCount: TokenCount

    final class TokenCount: Sendable {
        private let count = Mutex(0)
        var value: Int { count.withLock { $0 } }
        func next() -> Int {
            count.withLock { count in
                count += 1
                return count
            }
        }
    }

    init(
        port: Int, trust: TLSTrust? = nil, coreKey: PublicKey? = nil, proof: NodeProof? = nil,
        route: WebRoute = .direct, window: Int = 64,
        drainDeadline: Duration = .seconds(10),
        welcomeDeadline: Duration = .seconds(10), details: @escaping @Sendable () -> String = { "{}" },
        epoch: @escaping @Sendable () -> Int64 = { 9 },
        token: (@Sendable () async throws -> String)? = nil
    ) throws {
        let (states, stateSink) = AsyncStream.makeStream(of: LinkState.self)
        let (deliveries, deliverySink) = AsyncStream.makeStream(of: LinkDelivery.self)
        let count = TokenCount()
        self.states = states
        self.deliveries = deliveries
        tokenCount = count
        link = CoreLink(
            configuration: CoreLinkConfiguration(
                url: "wss://localhost:\(port)/link/v1", trust: try trust ?? ScriptedCore.trust(),
                coreKey: coreKey, proof: proof, route: route, node: "n1",
                service: "kms", organisation: "acme", version: "1.2.3", epoch: epoch(),
                destination: "kms://kms.acme.example.com", window: window, welcomeDeadline: welcomeDeadline,
                drainDeadline: drainDeadline,
                backoff: .init(shortest: .milliseconds(1), longest: .milliseconds(20)), details: details,
                token: token ?? { "token-\(count.next())" }),
            handler: { deliverySink.yield($0) }, state: { stateSink.yield($0) })
        running = RunningService([link])
    }

    var tokensAsked: Int { tokenCount.value }
    func stop() async { await running.stop() }
    func cancel() async { await running.cancel() }

    func delivery() async throws -> LinkDelivery {
        for await delivery in deliveries { return delivery }
        throw CancellationError()
    }

    @discardableResult
    func wait(for fits: @Sendable (LinkState) -> Bool) async throws -> LinkState {
        for await state in states where fits(state) { return state }
        throw CancellationError()
    }
}
