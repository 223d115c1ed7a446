import Diagnostics
import NIOCore
import NIOHTTP1
import NIOPosix
import TLSChannel

/// Opens connections: TCP, then TLS, then what `configure` puts on top.
struct Dialer: Sendable {
    let group: any EventLoopGroup
    /// Nil: only plain connections to loopback.
    let tls: Result<TLSConfiguration, DiagnosedError>?

    private static let connectTimeout = TimeAmount.seconds(10)

    private struct Dialed<Top: Sendable>: Sendable {
        let channel: any Channel
        let handshake: EventLoopFuture<TLSSession>?
        let top: Top
    }

    /// - Parameter configure: called on the event loop with TLS in place; its handlers are to wait for the handshake
    ///   by writing as they like: TLS holds what comes too early.
    func dial<Top: Sendable>(
        _ origin: WebURL.Origin, configure: @escaping @Sendable (any Channel) throws -> Top
    ) async throws -> Top {
        let tls = try configuration(for: origin)
        let dialed: Dialed<Top>
        do {
            dialed = try await ClientBootstrap(group: group)
                .connectTimeout(Self.connectTimeout)
                .channelOption(.tcpOption(.tcp_nodelay), value: 1)
                .connect(host: origin.host, port: origin.port) { channel in
                    channel.eventLoop.makeCompletedFuture {
                        var handshake: EventLoopFuture<TLSSession>?
                        if let tls {
                            let promise = channel.eventLoop.makePromise(of: TLSSession.self)
                            handshake = promise.futureResult
                            try channel.pipeline.syncOperations.addHandler(
                                TLSChannelHandler(tls, serverName: origin.host, handshake: promise))
                        }
                        return Dialed(channel: channel, handshake: handshake, top: try configure(channel))
                    }
                }
        } catch let error as DiagnosedError {
            throw error
        } catch {
            throw DiagnosedError(
                .httpConnectFailed, fault: .peer, "no connection to \(origin)", found: Self.text(of: error),
                hint: "check host, port, firewall and whether the server runs")
        }
        guard let handshake = dialed.handshake else { return dialed.top }
        do {
            _ = try await handshake.get()
            return dialed.top
        } catch let error as DiagnosedError {
            throw error
        } catch {
            throw DiagnosedError(
                .tlsHandshakeFailed, fault: .peer, "the TLS handshake with \(origin) failed",
                found: Self.text(of: error))
        }
    }

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
