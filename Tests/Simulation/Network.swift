import CoreLink
import Diagnostics
import LinkProtocol
import NIOCore
import TLSChannel

@testable import CloudCore
@testable import WebSocketChannel

/// The network between the nodes and the core: for each node two directions that may be cut, connections over them that
/// may break, and what was sent over a cut that comes late.
final class Network: @unchecked Sendable {  // only the thread of the run uses it
    enum Direction: Hashable { case toCore, toNode }

    let scheduler: Scheduler
    /// By node, what does not pass.
    private var cut: [String: Set<Direction>] = [:]
    private var connections: [Connection] = []
    /// Milliseconds of way, at most.
    var slowness: Int64 = 3

    init(_ scheduler: Scheduler) { self.scheduler = scheduler }

    func passes(_ direction: Direction, _ node: String) -> Bool { cut[node]?.contains(direction) != true }

    func cut(_ node: String, _ directions: Set<Direction>) { cut[node] = directions }

    /// What waited is sent again after a while, as TCP does.
    func mend(_ node: String) {
        cut[node] = nil
        for connection in connections where connection.node == node {
            scheduler.after(scheduler.draw(.milliseconds(1)...(.milliseconds(800)))) { connection.pump() }
        }
    }

    func connect(_ node: String, client: Process, server: Process) -> Connection {
        let connection = Connection(node, self, client: client, server: server)
        connections.removeAll { $0.isOver }
        connections.append(connection)
        return connection
    }

    /// Connections of a node break: both ends are told, or one of them.
    func breakConnections(of node: String, tell: [Direction]) {
        for connection in connections where connection.node == node { connection.cut(tell) }
    }

    /// Those of a process that died; the other side gets a reset unless it is out of reach.
    func lose(_ process: Process) {
        for connection in connections {
            if connection.client.process === process { connection.client.vanish() }
            if connection.server.process === process { connection.server.vanish() }
        }
    }
}

/// One TCP connection with a WebSocket on it: its two ends run the real rules of a WebSocket.
final class Connection: @unchecked Sendable {  // only the thread of the run uses it
    enum Segment {
        case frame(WebSocketFrame)
        case end
        case reset
    }

    let node: String
    let network: Network
    let client: SocketEnd
    let server: SocketEnd
    private var toCore: [Segment] = []
    private var toNode: [Segment] = []
    private var lastArrival: [Network.Direction: Int64] = [:]
    private var isBroken = false

    init(_ node: String, _ network: Network, client: Process, server: Process) {
        self.node = node
        self.network = network
        self.client = SocketEnd(client, .toCore)
        self.server = SocketEnd(server, .toNode)
        self.client.connection = self
        self.server.connection = self
    }

    var isOver: Bool { client.isGone && server.isGone }

    func send(_ segment: Segment, _ direction: Network.Direction) {
        guard !isBroken else { return }
        if direction == .toCore { toCore.append(segment) } else { toNode.append(segment) }
        pump()
    }

    /// Sends on their way what may pass, in order.
    func pump() {
        guard !isBroken else { return }
        for direction in [Network.Direction.toCore, .toNode] where network.passes(direction, node) {
            let segments = direction == .toCore ? toCore : toNode
            if direction == .toCore { toCore = [] } else { toNode = [] }
            for segment in segments { travel(segment, direction) }
        }
    }

    private func travel(_ segment: Segment, _ direction: Network.Direction) {
        let scheduler = network.scheduler
        let way = scheduler.draw(100...Int64.milliseconds(network.slowness))
        let arrival = max(scheduler.now + way, (lastArrival[direction] ?? 0) + 1)
        lastArrival[direction] = arrival
        let end = direction == .toCore ? server : client
        scheduler.after(arrival - scheduler.now) { [self] in
            guard !isBroken else { return }
            end.process.after(0) { end.arrived(segment) }
        }
    }

    /// Nothing passes any more; the named ends are told by a reset, the others have to find out.
    func cut(_ told: [Network.Direction]) {
        guard !isBroken else { return }
        isBroken = true
        if told.contains(.toNode) {
            client.process.after(network.scheduler.draw(0...2000)) { self.client.arrived(.reset) }
        }
        if told.contains(.toCore) {
            server.process.after(network.scheduler.draw(0...2000)) { self.server.arrived(.reset) }
        }
    }
}

/// One end of a connection, with its event loop: `WebSocketSession` decides, this moves.
final class SocketEnd: LinkSocket, RelayHub.Output, @unchecked Sendable {  // only the thread of the run uses it
    let process: Process
    private let direction: Network.Direction
    fileprivate(set) weak var connection: Connection?
    private var session: WebSocketSession
    private var heartbeats = 0
    private var waiting: [WebSocketMessage] = []
    private var outbox: [[UInt8]] = []
    private var sink: (@Sendable (WebSocketMessage) -> Void)?
    private var ended: [CheckedContinuation<WebSocketClosure, Never>] = []
    private(set) var isGone = false
    /// Sees each message that leaves, at the moment at which it is handed over.
    var leaving: ((LinkFrame) -> Void)?
    /// When the end is gone.
    var closed: (() -> Void)?

    init(_ process: Process, _ direction: Network.Direction) {
        self.process = process
        self.direction = direction
        session = WebSocketSession(limits: WebSocketLimits(heartbeat: nil), now: Self.deadline(process))
    }

    private static func deadline(_ process: Process) -> NIODeadline {
        .uptimeNanoseconds(UInt64(process.scheduler.now + 1) * 1000)
    }

    private var now: NIODeadline { Self.deadline(process) }

    // MARK: LinkSocket and RelayHub.Output

    var isOpen: Bool { session.isOpen && !isGone }
    func answered(_ field: String) -> String? { nil }
    var tls: TLSSession? { nil }

    func enqueue(binary: [UInt8]) -> Bool {
        guard isOpen, !process.isDead else { return false }
        if let leaving, let frame = try? LinkFrame(decoding: binary) { leaving(frame) }
        outbox.append(binary)
        if outbox.count == 1 { process.after(process.scheduler.draw(0...50)) { self.drain() } }
        return true
    }

    private func drain() {
        let frames = outbox
        outbox = []
        guard session.isOpen else { return }
        for frame in frames { send(.binary, frame) }
    }

    func enqueue(_ frame: [UInt8]) -> Bool { enqueue(binary: frame) }
    func close(_ code: LinkCloseCode, reason: String) { beginClosing(code: code.rawValue, reason: "") }

    func setHeartbeat(_ heartbeat: WebSocketHeartbeat?) {
        session.heartbeat = heartbeat
        session.noteSignOfLife(now: now)
        heartbeats += 1
        beat(heartbeats)
    }

    func receive(with sink: @escaping @Sendable (WebSocketMessage) -> Void) {
        process.after(0) { [self] in
            self.sink = sink
            for message in waiting { sink(message) }
            waiting = []
        }
    }

    func beginClosing(code: UInt16, reason: String) {
        process.after(100) { [self] in
            drain()
            perform(session.close(code: code, reason: reason))
            process.after(.seconds(3)) { self.perform(self.session.closeDeadlinePassed()) }
        }
    }

    func waitUntilClosed() async -> WebSocketClosure {
        await withCheckedContinuation { continuation in
            if isGone { continuation.resume(returning: closure) } else { ended.append(continuation) }
        }
    }

    private var closure: WebSocketClosure {
        session.closure ?? WebSocketClosure(code: WebSocketCloseCode.abnormal, reason: "", initiator: .local)
    }

    // MARK: The event loop

    func arrived(_ segment: Connection.Segment) {
        guard !isGone else { return }
        switch segment {
        case .frame(let frame):
            session.noteSignOfLife(now: now)
            perform(session.receive(frame))
        case .end, .reset:
            session.connectionLost(nil)
            end()
        }
    }

    private func beat(_ number: Int) {
        guard let heartbeat = session.heartbeat else { return }
        process.after(heartbeat.interval.nanoseconds / 1000) { [self] in
            guard number == heartbeats, session.isOpen, !isGone else { return }
            perform(session.heartbeat(now: now, isReading: true))
            beat(number)
        }
    }

    private func perform(_ actions: [WebSocketSession.Action]) {
        for action in actions {
            switch action {
            case .deliver(let message): if let sink { sink(message) } else { waiting.append(message) }
            case .sendPong(let payload): send(.pong, payload)
            case .sendPing: send(.ping, [])
            case .sendClose(let code, let reason):
                send(.close, code.map { [UInt8($0 >> 8), UInt8(truncatingIfNeeded: $0)] + Array(reason.utf8) } ?? [])
            case .finish:
                connection?.send(.end, direction)
                end()
            }
        }
    }

    private func send(_ opcode: WebSocketFrame.Opcode, _ payload: [UInt8]) {
        guard !isGone else { return }
        connection?.send(.frame(WebSocketFrame(opcode: opcode, isFinal: true, payload: payload)), direction)
    }

    private func end() {
        guard !isGone else { return }
        isGone = true
        for continuation in ended { continuation.resume(returning: closure) }
        ended = []
        closed?()
    }

    /// The process is dead: the kernel resets the connection.
    func vanish() {
        guard !isGone else { return }
        connection?.send(.reset, direction)
        session.connectionLost(nil)
        end()
    }
}
