package import Diagnostics
package import HTTPClient
import NIOCore
import TLSChannel
import WebSocketChannel
import WireText

/// The device's event socket, kept open as long as it is wanted: connects, greets, acknowledges, pings, reconnects.
///
/// Events go to `deliver`, in order, each once; it is called on this actor and has to return soon. `waitUntilReady`
/// returns while the core listens. What to do is decided by `EventSocketRules` and `Reconnection`.
package actor EventSocket {
    /// Where to connect and as whom; asked again for each connection.
    package struct Source: Sendable {
        package let url: @Sendable (_ renewed: Bool) async throws -> String
        package let token: @Sendable (_ renewed: Bool) async throws -> Redacted<String>

        package init(
            url: @escaping @Sendable (_ renewed: Bool) async throws -> String,
            token: @escaping @Sendable (_ renewed: Bool) async throws -> Redacted<String>
        ) {
            self.url = url
            self.token = token
        }
    }

    private let web: WebClient
    private let source: Source
    private let sleep: Sleep
    private let deliver: @Sendable (CloudEvent) async -> Void
    private let onReady: @Sendable () async -> Void
    private var reconnection = Reconnection()
    private var seen = SeenEvents()
    private var rules: EventSocketRules?
    private var connection: WebSocketConnection?
    private var running: Task<Void, Never>?
    private var readiness = Awaited<Result<Void, DiagnosedError>>()

    /// - Parameter onReady: after each (re)connection, for what may have been missed.
    package init(
        web: WebClient, source: Source, sleep: Sleep, deliver: @escaping @Sendable (CloudEvent) async -> Void,
        onReady: @escaping @Sendable () async -> Void = {}
    ) {
        self.web = web
        self.source = source
        self.sleep = sleep
        self.deliver = deliver
        self.onReady = onReady
    }

    /// Starts connecting; once.
    package func start() {
        guard running == nil else { return }
        running = Task { await run() }
    }

    /// Returns when the core listens; throws when it can not be reached in time or does not want this client.
    package func waitUntilReady(within milliseconds: Int64 = 20_000) async throws {
        start()
        switch await readiness.value(within: milliseconds, sleep: sleep) {
        case .success?: return
        case .failure(let error)?: throw error
        case nil:
            throw DiagnosedError(
                .cloudUnavailable, fault: .peer, "the core's event socket can not be reached",
                expected: "within \(milliseconds / 1000) s", hint: "is the network there? try again in a moment")
        }
    }

    package func stop() async {
        running?.cancel()
        await connection?.close()
        await running?.value
    }

    // MARK: - Running

    private func run() async {
        var renewsToken = false
        var renewsDevice = false
        while !Task.isCancelled {
            let ending = await serve(renewsToken: renewsToken, renewsDevice: renewsDevice)
            rules = nil
            connection = nil
            if readiness.isFulfilled { readiness = Awaited() }
            guard !Task.isCancelled else { return }
            let wait: Int64
            (renewsToken, renewsDevice) = (false, false)
            switch ending {
            case .failed(let error) where Reconnection.mayPass(error):
                // Who waits is told why. It is tried again: a device between may go away, a certificate be renewed.
                readiness.fulfil(.failure(error))
                guard case .again(let milliseconds) = reconnection.step(after: .unreachable, jitter: .random(in: 0...1))
                else { return }
                try? await sleep.milliseconds(milliseconds)
                readiness = Awaited()
                continue
            case .failed(let error):
                readiness.fulfil(.failure(error))
                return
            case .ended(let ending):
                switch reconnection.step(after: ending, jitter: .random(in: 0...1)) {
                case .again(let milliseconds): wait = milliseconds
                case .againWithNewToken(let milliseconds): (wait, renewsToken) = (milliseconds, true)
                case .againWithNewDevice(let milliseconds): (wait, renewsDevice) = (milliseconds, true)
                case .stop(let error):
                    readiness.fulfil(.failure(error))
                    return
                }
            }
            try? await sleep.milliseconds(wait)
        }
    }

    private enum Served {
        case ended(Reconnection.Ending)
        case failed(DiagnosedError)
    }

    private func serve(renewsToken: Bool, renewsDevice: Bool) async -> Served {
        let socket: WebSocketConnection
        let token: Redacted<String>
        do {
            token = try await source.token(renewsToken)
            let url = try await source.url(renewsDevice)
            let separator = url.contains("?") ? "&" : "?"
            let limits = WebSocketLimits(
                maximumFrameBytes: EventFrame.maximumBytes, maximumMessageBytes: EventFrame.maximumBytes, heartbeat: nil
            )
            let query = "outboundWireFormat=text&bufferStates=true&aliasHttpStatus=true"
            socket = try await web.webSocket(url + separator + query, limits: limits)
        } catch let error as DiagnosedError {
            return Self.ending(error)
        } catch {
            return .ended(.unreachable)
        }
        connection = socket
        rules = EventSocketRules(now: Self.clock())
        await act(rules?.start(token: token) ?? [], nil)
        let ticker = Task { [sleep] in
            while !Task.isCancelled {
                try await sleep.milliseconds(1000)
                await self.tick()
            }
        }
        defer { ticker.cancel() }
        do {
            for try await message in socket.incoming {
                guard case .text(let text) = message, let frame = try? EventFrame(text) else {
                    socket.beginClosing(code: WebSocketCloseCode.unacceptableData, reason: "not an event frame")
                    break
                }
                await receive(frame)
            }
        } catch {
            // The closure below says what happened.
        }
        let closure = await socket.waitUntilClosed()
        return .ended(.closed(code: closure.code, reason: closure.reason))
    }

    private func receive(_ frame: EventFrame) async {
        guard var current = rules else { return }
        let actions = current.receive(frame, seen: &seen, now: Self.clock())
        rules = current
        await act(actions, frame)
    }

    private func tick() async {
        guard var current = rules else { return }
        let actions = current.tick(now: Self.clock())
        rules = current
        await act(actions, nil)
    }

    private func act(_ actions: [EventSocketRules.Action], _ frame: EventFrame?) async {
        for action in actions {
            switch action {
            case .send(let text): connection?.enqueue(text: text)
            case .ready:
                reconnection.succeeded()
                readiness.fulfil(.success(()))
                await onReady()
            case .deliver:
                if case .event(_, _, let event)? = frame { await deliver(event) }
            case .close(let code, let reason): connection?.beginClosing(code: code, reason: reason)
            }
        }
    }

    private static func ending(_ error: DiagnosedError) -> Served {
        switch error.code {
        case .webSocketUnauthorized: .ended(.refused(status: 401))
        case .webSocketForbidden: .ended(.refused(status: 403))
        case .webSocketRefused where error.found?.hasPrefix("status 404") == true:
            .ended(.refused(status: 404))
        case .webSocketRefused, .httpConnectFailed, .httpConnectionLost, .httpTimeout, .cloudUnavailable,
            .tlsHandshakeCut, .tlsHandshakeTimeout:
            .ended(.unreachable)
        default: .failed(error)
        }
    }

    private static func clock() -> Int64 {
        Int64(NIODeadline.now().uptimeNanoseconds / 1_000_000)
    }
}
