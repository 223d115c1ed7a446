import Diagnostics
import NIOCore
import NIOHTTP1
import Synchronization

/// Keep-alive connections by origin: the last one used is taken first, at most so many per origin, who comes later
/// waits in order. Any thread.
final class ConnectionPool: Sendable {
    private enum Grant {
        case connection(ClientConnection)
        /// The right to open one more.
        case dial
    }

    private struct Line {
        /// Connections in use, idle, and being opened.
        var open = 0
        var idle: [(connection: ClientConnection, expiry: Scheduled<Void>)] = []
        var waiters: [(id: UInt64, continuation: CheckedContinuation<Grant, any Error>)] = []
    }

    private struct State {
        var lines: [WebURL.Origin: Line] = [:]
        var connections: [ObjectIdentifier: ClientConnection] = [:]
        var lastWaiter: UInt64 = 0
        var isClosed = false
    }

    private let dialer: Dialer
    private let limit: Int
    private let idleTime: TimeAmount
    private let state = Mutex(State())

    init(dialer: Dialer, limit: Int, idleTime: TimeAmount) {
        self.dialer = dialer
        self.limit = limit
        self.idleTime = idleTime
    }

    deinit {
        for connection in state.withLock({ $0.connections.values }) { connection.close() }
    }

    /// A connection for one exchange; it comes back by itself. `isFresh`: opened for this call.
    func acquire(_ origin: WebURL.Origin, freshOnly: Bool = false) async throws -> (ClientConnection, isFresh: Bool) {
        while true {
            switch try await grant(origin) {
            case .connection(let connection):
                // Whoever asks anew after a stale connection trusts none that was idle meanwhile.
                if !freshOnly { return (connection, false) }
                connection.close()
            case .dial:
                return (try await open(origin), true)
            }
        }
    }

    private func open(_ origin: WebURL.Origin) async throws -> ClientConnection {
        do {
            let connection = try await dialer.dial(origin) { channel in
                let handler = ExchangeHandler()
                // What is sent was validated before; the validator would drop a bad request without a word.
                try channel.pipeline.syncOperations.addHTTPClientHandlers(enableOutboundHeaderValidation: false)
                try channel.pipeline.syncOperations.addHandler(handler)
                return ClientConnection(origin: origin, channel: channel, handler: handler)
            }
            let isWelcome = state.withLock { state in
                if !state.isClosed { state.connections[ObjectIdentifier(connection)] = connection }
                return !state.isClosed
            }
            guard isWelcome else {
                connection.close()
                throw Self.closedError
            }
            connection.observe { [weak self] connection, isReusable in
                if isReusable { self?.release(connection) }
            } onClose: { [weak self] connection in
                self?.forget(connection)
            }
            return connection
        } catch {
            pass(origin)
            throw error
        }
    }

    private func grant(_ origin: WebURL.Origin) async throws -> Grant {
        let id = state.withLock { state in
            state.lastWaiter += 1
            return state.lastWaiter
        }
        return try await withTaskCancellationHandler {
            try await withCheckedThrowingContinuation { continuation in
                let now: Result<Grant, any Error>? = state.withLock { state in
                    if state.isClosed { return .failure(Self.closedError) }
                    if Task.isCancelled { return .failure(CancellationError()) }
                    if let (connection, expiry) = state.lines[origin, default: Line()].idle.popLast() {
                        expiry.cancel()
                        return .success(.connection(connection))
                    }
                    if state.lines[origin, default: Line()].open < limit {
                        state.lines[origin, default: Line()].open += 1
                        return .success(.dial)
                    }
                    state.lines[origin, default: Line()].waiters.append((id, continuation))
                    return nil
                }
                if let now { continuation.resume(with: now) }
            }
        } onCancel: {
            let waiter = state.withLock { state in
                state.lines[origin]?.waiters.firstIndex { $0.id == id }
                    .flatMap { state.lines[origin]?.waiters.remove(at: $0).continuation }
            }
            waiter?.resume(throwing: CancellationError())
        }
    }

    /// The exchange is over and the connection can carry another.
    private func release(_ connection: ClientConnection) {
        let waiter: CheckedContinuation<Grant, any Error>? = state.withLock { state in
            guard !state.isClosed, state.connections[ObjectIdentifier(connection)] != nil else { return nil }
            if let first = state.lines[connection.origin]?.waiters.first {
                state.lines[connection.origin]?.waiters.removeFirst()
                return first.continuation
            }
            let expiry = connection.channel.eventLoop.scheduleTask(in: idleTime) { [weak self] () -> Void in
                self?.expire(connection)
            }
            state.lines[connection.origin]?.idle.append((connection, expiry))
            return nil
        }
        waiter?.resume(returning: .connection(connection))
    }

    private func expire(_ connection: ClientConnection) {
        let isIdle = state.withLock { state in
            guard let index = state.lines[connection.origin]?.idle.firstIndex(where: { $0.connection === connection })
            else { return false }
            state.lines[connection.origin]?.idle.remove(at: index)
            return true
        }
        if isIdle { connection.close() }
    }

    /// The connection has ended.
    private func forget(_ connection: ClientConnection) {
        state.withLock { state in
            state.connections[ObjectIdentifier(connection)] = nil
            if let index = state.lines[connection.origin]?.idle.firstIndex(where: { $0.connection === connection }) {
                state.lines[connection.origin]?.idle.remove(at: index).expiry.cancel()
            }
        }
        pass(connection.origin)
    }

    /// One connection of the origin is gone: the next in line may open one.
    private func pass(_ origin: WebURL.Origin) {
        let waiter: CheckedContinuation<Grant, any Error>? = state.withLock { state in
            if let first = state.lines[origin]?.waiters.first {
                state.lines[origin]?.waiters.removeFirst()
                return first.continuation
            }
            state.lines[origin]?.open -= 1
            if state.lines[origin]?.open == 0 { state.lines[origin] = nil }
            return nil
        }
        waiter?.resume(returning: .dial)
    }

    /// Ends all connections, in use or not, and tells who waits.
    func close() async {
        let (connections, waiters) = state.withLock { state in
            state.isClosed = true
            let waiters = state.lines.values.flatMap(\.waiters).map(\.continuation)
            for origin in state.lines.keys { state.lines[origin]?.waiters = [] }
            return (Array(state.connections.values), waiters)
        }
        for waiter in waiters { waiter.resume(throwing: Self.closedError) }
        for connection in connections {
            connection.close()
            try? await connection.channel.closeFuture.get()
        }
    }

    static let closedError = DiagnosedError(.httpClientClosed, fault: .internal, "the HTTP client is closed")
}
