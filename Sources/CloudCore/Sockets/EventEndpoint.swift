import Diagnostics
import Synchronization
import WebSocketChannel
import WireText

/// The event socket of a device from its WebSocket to its end (section 9 of the KMS protocol): first the authorization
/// frame, then events out, acknowledgements and pings in.
struct EventEndpoint: Sendable {
    static let authorizationDeadline = Duration.seconds(10)
    let services: CoreServices

    /// What ends a socket: the code that the client acts on, and why.
    private struct Closing: Error {
        var code: EventCloseCode
        var reason: String
    }

    /// Whether the socket is authorized, and as which.
    private final class Session: Sendable {
        private let state = Mutex<EventChannel.SocketID?>(nil)
        var attached: EventChannel.SocketID? { state.withLock { $0 } }
        func attach(_ socket: EventChannel.SocketID) { state.withLock { $0 = socket } }
    }

    func serve(_ socket: WebSocketConnection, device id: String) async {
        let session = Session()
        await withTaskGroup(of: Void.self) { group in
            group.addTask {
                guard (try? await Task.sleep(for: Self.authorizationDeadline)) != nil else { return }
                guard session.attached == nil else { return }
                socket.beginClosing(code: EventCloseCode.badRequest.rawValue, reason: "no authorization came")
            }
            do {
                for try await message in socket.incoming {
                    guard case .text(let text) = message else {
                        throw Closing(code: .badRequest, reason: "text frames are due")
                    }
                    try await take(text, socket, device: id, session)
                }
            } catch let closing as Closing {
                await socket.close(code: closing.code.rawValue, reason: closing.reason.clipped)
            } catch {
                // The connection was lost or broke the protocol of WebSockets: it has ended by itself.
            }
            group.cancelAll()
        }
        if let attached = session.attached { services.events.detach(attached) }
    }

    private func take(
        _ text: String, _ socket: WebSocketConnection, device id: String, _ session: Session
    ) async throws {
        let frame: EventFrame
        do throws(DiagnosedError) {
            frame = try EventFrame(text)
        } catch {
            throw Closing(code: .badRequest, reason: error.summary)
        }
        switch (frame, session.attached) {
        case (.authorization(let token), nil):
            let (owner, expires) = try await authorize(token, device: id)
            let new = services.events.attach(
                EventSocket(socket: socket), device: id, owner: owner, expires: expires)
            session.attach(new)
        case (.authorization(let token), let attached?):
            let (_, expires) = try await authorize(token, device: id)
            services.events.extend(attached, expires: expires)
        case (_, nil): throw Closing(code: .badRequest, reason: "an authorization frame is due first")
        case (.acknowledgement(let messageID), let attached?):
            services.events.acknowledged(messageID, by: attached)
        case (.ping(let pingID), let attached?): services.events.pinged(pingID, by: attached)
        case (.other, _): break
        }
    }

    private func authorize(_ token: String, device id: String) async throws -> (UserKey, Timestamp) {
        do {
            let principal = try await services.tokens.principal(of: token)
            let user = try principal.user()
            _ = try await services.device(id, of: user)
            // As long as the check itself lets the clocks differ.
            return (user, principal.expires.adding(seconds: 60))
        } catch let refusal as Refusal {
            switch refusal.status {
            case .unauthorized: throw Closing(code: .badToken, reason: refusal.message)
            case .forbidden, .notFound: throw Closing(code: .forbidden, reason: refusal.message)
            default: throw Closing(code: .internalError, reason: refusal.message)
            }
        } catch {
            throw Closing(code: .internalError, reason: "the core failed")
        }
    }
}

/// The socket of one device, for the event hub.
private struct EventSocket: EventHub.Output {
    let socket: WebSocketConnection

    func enqueue(_ text: String) -> Bool { socket.enqueue(text: text) }
    func close(_ code: EventCloseCode, reason: String) {
        socket.beginClosing(code: code.rawValue, reason: reason.clipped)
    }
}
