import Diagnostics
import NIOCore
import NIOHTTP1
import NIOPosix
import TLSChannel

/// Opens connections: TCP, perhaps a proxy's tunnel, then TLS, then what `configure` puts on top.
struct Dialer: Sendable {
    let group: any EventLoopGroup
    /// Nil: only plain connections to loopback.
    let tls: Result<TLSConfiguration, DiagnosedError>?
    var route = WebRoute.direct
    var lookup: NameLookup.Source = NameLookup.system
    var tunnelTimeout = TimeAmount.seconds(10)

    private static let connectTimeout = TimeAmount.seconds(10)
    /// A proxy may close with its challenge, and once more where a nonce is stale.
    private static let maximumTunnelConnections = 4

    private struct Dialed<Top: Sendable>: Sendable {
        let channel: any Channel
        let handshake: EventLoopFuture<TLSSession>?
        let top: Top
    }

    private enum Tunnel<Top: Sendable>: Sendable {
        case established(Dialed<Top>)
        case reconnect(ProxyNegotiation)
    }

    /// - Parameter configure: called on the event loop with TLS in place; its handlers are to wait for the handshake
    ///   by writing as they like: TLS holds what comes too early.
    func dial<Top: Sendable>(
        _ origin: WebURL.Origin, configure: @escaping @Sendable (any Channel) throws -> Top
    ) async throws -> Top {
        let tls = try configuration(for: origin)
        // Called on the event loop.
        let finish: @Sendable (any Channel) throws -> Dialed<Top> = { channel in
            var handshake: EventLoopFuture<TLSSession>?
            if let tls {
                let promise = channel.eventLoop.makePromise(of: TLSSession.self)
                handshake = promise.futureResult
                try channel.pipeline.syncOperations.addHandler(
                    TLSChannelHandler(tls, serverName: origin.host, handshake: promise), name: TLSChannelHandler.name)
            }
            return Dialed(channel: channel, handshake: handshake, top: try configure(channel))
        }
        let dialed: Dialed<Top>
        if let proxy = route.proxy, proxy.isFor(origin.host) {
            dialed = try await tunnel(through: proxy, to: origin, finish)
        } else {
            do {
                dialed = try await connect(origin.host, origin.port) { channel in
                    channel.eventLoop.makeCompletedFuture { try finish(channel) }
                }
            } catch let error as DiagnosedError {
                throw error
            } catch {
                throw DiagnosedError(
                    .httpConnectFailed, fault: .peer, "no connection to \(origin)", found: Self.text(of: error),
                    hint: "check host, port, firewall and whether the server runs")
            }
        }
        guard let handshake = dialed.handshake else { return dialed.top }
        do {
            _ = try await handshake.get()
            return dialed.top
        } catch let error as DiagnosedError {
            throw error
        } catch {
            throw DiagnosedError(
                .tlsHandshakeCut, fault: .peer, "the connection to \(origin) ended within the TLS handshake",
                found: Self.text(of: error))
        }
    }

    // MARK: - TCP

    private func connect<Value: Sendable>(
        _ host: String, _ port: Int, initializer: @escaping @Sendable (any Channel) -> EventLoopFuture<Value>
    ) async throws -> Value {
        let eventLoop = group.next()
        let observe = route.observe
        let source = route.admits.map { NameLookup.only($0, of: lookup) } ?? lookup
        return try await ClientBootstrap(group: eventLoop)
            .connectTimeout(Self.connectTimeout)
            .channelOption(.tcpOption(.tcp_nodelay), value: 1)
            .resolver(
                NameLookup(on: eventLoop, source: source) { seen in
                    switch seen {
                    case .waiting: observe(.lookupWaits(host: host))
                    case .done(let time, let failed): observe(.lookup(host: host, time: time, failed: failed))
                    }
                }
            )
            .connect(host: host, port: port, channelInitializer: initializer)
    }

    // MARK: - Proxy

    private func tunnel<Top: Sendable>(
        through proxy: WebProxy, to origin: WebURL.Origin,
        _ finish: @escaping @Sendable (any Channel) throws -> Dialed<Top>
    ) async throws -> Dialed<Top> {
        var negotiation = ProxyNegotiation(proxy: proxy, host: origin.host, port: origin.port)
        let target = negotiation.target
        do {
            for _ in 0..<Self.maximumTunnelConnections {
                switch try await ask(negotiation, finish) {
                case .established(let dialed):
                    route.observe(.tunnel(target: target, failure: nil))
                    return dialed
                case .reconnect(let next): negotiation = next
                }
            }
            throw negotiation.cut("a challenge on each of \(Self.maximumTunnelConnections) connections")
        } catch let error as DiagnosedError {
            route.observe(.tunnel(target: target, failure: error))
            throw error
        }
    }

    private func ask<Top: Sendable>(
        _ negotiation: ProxyNegotiation, _ finish: @escaping @Sendable (any Channel) throws -> Dialed<Top>
    ) async throws -> Tunnel<Top> {
        let proxy = negotiation.proxy
        let deadline = tunnelTimeout
        let outcome: EventLoopFuture<Tunnel<Top>>
        do {
            outcome = try await connect(proxy.host, proxy.port) { channel in
                channel.eventLoop.makeCompletedFuture {
                    let promise = channel.eventLoop.makePromise(of: Tunnel<Top>.self)
                    let handler = TunnelHandler(negotiation, deadline: deadline) { outcome, negotiation, channel in
                        switch outcome {
                        case .established: promise.completeWith(Result { .established(try finish(channel)) })
                        case .reconnect: promise.succeed(.reconnect(negotiation))
                        case .failed(let error): promise.fail(error)
                        }
                    }
                    do {
                        if let tls = proxy.tls {
                            try channel.pipeline.syncOperations.addHandler(
                                TLSChannelHandler(tls, serverName: proxy.host))
                        }
                        try channel.pipeline.syncOperations.addHandler(handler)
                    } catch {
                        promise.fail(error)
                        throw error
                    }
                    return promise.futureResult
                }
            }
        } catch let error as DiagnosedError {
            throw error
        } catch {
            throw negotiation.unreachable(Self.text(of: error))
        }
        return try await outcome.get()
    }

    // MARK: - Helpers

    private func configuration(for origin: WebURL.Origin) throws(DiagnosedError) -> TLSConfiguration? {
        guard origin.isSecure else { return nil }
        guard let tls else {
            throw DiagnosedError(
                .tlsConfiguration, fault: .configuration, "no roots to judge \(origin) by",
                hint: "configure the certificate authorities of that server")
        }
        return try tls.get()
    }

    private static func text(of error: any Error) -> String {
        guard let failure = error as? NIOConnectionError else { return String(describing: error) }
        if let single = failure.connectionErrors.first { return String(describing: single.error) }
        if let lookup = failure.dnsAError ?? failure.dnsAAAAError { return String(describing: lookup) }
        return "no address"
    }
}
