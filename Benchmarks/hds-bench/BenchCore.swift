import Cryptography
import Foundation
import HTTPServer
import HTTPTypes
import Hummingbird
import LinkProtocol
import Synchronization
import TLSChannel
import WebSocketChannel
import WireText

/// The other side of a real KMS: the core's end of the link and the authorization service's key set and token
/// endpoint, on one TLS server, as thin as can be, so that the KMS is what is measured.
final class BenchCore: Sendable {
    private struct State {
        var half = LinkCoreHalf()
        var socket: WebSocketConnection?
        var waiting: [UInt64: CheckedContinuation<[UInt8], any Error>] = [:]
        var next: UInt64 = 1
        var opened: [CheckedContinuation<Void, Never>] = []
    }

    private let tokenKey: PrivateKey
    private let state = Mutex(State())

    init(tokenKey: PrivateKey) { self.tokenKey = tokenKey }

    func server(identity: TLSServerIdentity, port: Int) -> WebServer {
        let router = Router()
        let keys = BenchTokens.keySetJSON(tokenKey)
        router.get("jwks.json") { _, _ in keys }
        router.post("token") { [tokenKey] _, _ in
            let token = try BenchTokens.token("kms", key: tokenKey, audience: "cloud", scope: "link:kms")
            return "{\"access_token\":\"\(token)\",\"expires_in\":3600,\"token_type\":\"Bearer\"}"
        }
        let link = WebSocketRoute("/link/v1") { [self] _ in
            .accept { socket in await self.serve(socket) }
        }
        return WebServer(
            configuration: WebServerConfiguration(host: "127.0.0.1", port: port, identity: identity), router: router,
            webSockets: [link])
    }

    private func serve(_ socket: WebSocketConnection) async {
        state.withLock { state in
            state.half = LinkCoreHalf()
            state.socket = socket
        }
        socket.receive { [self] message in
            guard case .binary(let bytes) = message, let frame = try? LinkFrame(decoding: bytes) else { return }
            take(frame, socket)
        }
        _ = await socket.waitUntilClosed()
    }

    private func take(_ frame: LinkFrame, _ socket: WebSocketConnection) {
        state.withLock { state in
            for action in state.half.received(frame) {
                switch action {
                case .greeted:
                    let welcome = LinkWelcome(
                        connection: "bench", heartbeatSeconds: 5, credit: 4096, serverTime: Timestamp.now())
                    for case .send(let frame) in state.half.accept(welcome) {
                        _ = socket.enqueue(binary: frame.encode())
                    }
                case .answered(let id, let text): state.waiting.removeValue(forKey: id)?.resume(returning: text)
                case .declined(let id, let reason):
                    state.waiting.removeValue(forKey: id)?.resume(throwing: BenchFailure("declined: \(reason)"))
                case .dropped(let id, let reason):
                    state.waiting.removeValue(forKey: id)?.resume(throwing: BenchFailure("dropped: \(reason)"))
                case .credited:
                    for continuation in state.opened { continuation.resume() }
                    state.opened = []
                default: break
                }
            }
        }
    }

    /// Returns once the KMS has linked and granted credit.
    func waitForLink() async {
        await withCheckedContinuation { continuation in
            let isOpen = state.withLock { state in
                if state.half.canDeliver { return true }
                state.opened.append(continuation)
                return false
            }
            if isOpen { continuation.resume() }
        }
    }

    /// One string to the KMS and its answer.
    func ask(_ text: [UInt8], source: String) async throws -> [UInt8] {
        try await withCheckedThrowingContinuation { continuation in
            state.withLock { state in
                let id = state.next
                state.next += 1
                guard let frame = state.half.deliver(id: id, source: source, text: text), let socket = state.socket
                else {
                    continuation.resume(throwing: BenchFailure("no credit on the link"))
                    return
                }
                state.waiting[id] = continuation
                _ = socket.enqueue(binary: frame.encode())
            }
        }
    }
}
