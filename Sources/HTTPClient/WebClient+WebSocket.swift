import Diagnostics
import NIOCore
import NIOHTTP1
import Synchronization
package import WebSocketChannel

extension WebClient {
    /// Opens a WebSocket on a connection of its own (RFC 6455 section 4.1); `ws://` goes to loopback only.
    ///
    /// An answer other than the upgrade is an error: `websocket-unauthorized` for 401, `websocket-forbidden` for 403,
    /// else `websocket-refused`, with status and the begin of the body in `found`. The caller has to close the
    /// connection; the client's own `close` does not.
    package func webSocket(
        _ url: String, headers: [(String, String)] = [], limits: WebSocketLimits = WebSocketLimits(),
        timeout: Duration = .seconds(15)
    ) async throws -> WebSocketConnection {
        let parsed = try WebURL(url, schemes: ("ws", "wss"))
        var fields = try PreparedRequest.fields("GET", headers)
        let ours: Set = ["host", "content-length", "connection", "upgrade", "transfer-encoding"]
        fields.removeAll { ours.contains($0.0.lowercased()) || $0.0.lowercased().hasPrefix("sec-websocket-") }
        let head = HTTPRequestHead(
            version: .http1_1, method: .GET, uri: parsed.target,
            headers: HTTPHeaders([("Host", parsed.origin.authority)] + fields))
        let dialer = dialer
        let dialed = DialedChannel()
        return try await withDeadline(TimeAmount(timeout), on: eventLoop) {
            DiagnosedError(
                .httpTimeout, fault: .peer, "no WebSocket from \(parsed.origin) in time", expected: "within \(timeout)")
        } discard: {
            $0.beginClosing(code: WebSocketCloseCode.goingAway)
        } operation: {
            try await withTaskCancellationHandler {
                let outcome = try await dialer.dial(parsed.origin) { channel in
                    dialed.set(channel)
                    return try UpgradeRequest.send(head, on: channel, limits: limits)
                }
                return try await Self.connection(of: outcome, parsed.origin)
            } onCancel: {
                dialed.close()
            }
        }
    }

    private static func connection(
        of outcome: EventLoopFuture<UpgradeRequest.Outcome>, _ origin: WebURL.Origin
    ) async throws -> WebSocketConnection {
        do {
            switch try await outcome.get() {
            case .accepted(let connection): return connection
            case .refused(let refusal): throw try await refusal.get()
            }
        } catch let error as DiagnosedError {
            throw error
        } catch {
            throw DiagnosedError(
                .httpConnectionLost, fault: .peer, "\(origin) gave no WebSocket", expected: "status 101",
                found: String(describing: error))
        }
    }
}

/// The channel of an upgrade that may have to be given up.
private final class DialedChannel: Sendable {
    private let state = Mutex<(channel: (any Channel)?, isClosed: Bool)>((nil, false))

    func set(_ channel: any Channel) {
        let isClosed = state.withLock { state in
            state.channel = channel
            return state.isClosed
        }
        if isClosed { channel.close(promise: nil) }
    }

    func close() {
        let channel = state.withLock { state in
            state.isClosed = true
            return state.channel
        }
        channel?.close(promise: nil)
    }
}
