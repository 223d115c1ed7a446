import Synchronization
import WireText

/// The event channels of all devices with their sockets, under one lock, so that frames leave in the order decided.
///
/// Any thread; nothing in here waits. A channel lives while its device has a socket, and for the life of its buffer
/// after that. `tick` closes sockets whose token has expired and forgets idle channels.
final class EventHub: Sendable {
    /// One event socket, seen from here.
    protocol Output: Sendable {
        /// False when the socket has ended or does not keep up.
        func enqueue(_ text: String) -> Bool
        func close(_ code: EventCloseCode, reason: String)
    }

    private struct Entry {
        var owner: UserKey
        var channel: EventChannel
    }

    private struct Socket {
        var device: String
        var output: any Output
        /// When its token expires.
        var expires: Timestamp
    }

    private struct State {
        var devices: [String: Entry] = [:]
        var devicesOfUser: [UserKey: Set<String>] = [:]
        var sockets: [EventChannel.SocketID: Socket] = [:]
        var lastSocket: EventChannel.SocketID = 0
    }

    private let state = Mutex(State())
    private let limits: EventChannel.Limits
    private let clock: @Sendable () -> Int64
    private let wall: @Sendable () -> Timestamp

    init(
        limits: EventChannel.Limits = .init(), clock: @escaping @Sendable () -> Int64,
        wall: @escaping @Sendable () -> Timestamp
    ) {
        self.limits = limits
        self.clock = clock
        self.wall = wall
    }

    var socketCount: Int { state.withLock { $0.sockets.count } }
    func unacknowledgedCount(of device: String) -> Int {
        state.withLock { $0.devices[device]?.channel.unacknowledgedCount ?? 0 }
    }

    // MARK: sockets

    /// An authorized socket takes the device over.
    func attach(_ output: any Output, device: String, owner: UserKey, expires: Timestamp) -> EventChannel.SocketID {
        let (now, time) = (clock(), wall())
        return state.withLock { state in
            state.lastSocket += 1
            let socket = state.lastSocket
            state.sockets[socket] = Socket(device: device, output: output, expires: expires)
            withChannel(of: device, owner: owner, now: now, &state) { $0.attach(socket, now: now, wall: time) }
            return socket
        }
    }

    /// The same socket showed a newer token.
    func extend(_ socket: EventChannel.SocketID, expires: Timestamp) {
        state.withLock { $0.sockets[socket]?.expires = expires }
    }

    func detach(_ socket: EventChannel.SocketID) {
        let now = clock()
        state.withLock { state in
            guard let device = state.sockets.removeValue(forKey: socket)?.device else { return }
            state.devices[device]?.channel.detach(socket, now: now)
        }
    }

    func acknowledged(_ id: String, by socket: EventChannel.SocketID) {
        let now = clock()
        state.withLock { state in
            guard let device = state.sockets[socket]?.device else { return }
            state.devices[device]?.channel.acknowledged(id, now: now)
        }
    }

    func pinged(_ id: String, by socket: EventChannel.SocketID) {
        let now = clock()
        state.withLock { state in
            guard let device = state.sockets[socket]?.device else { return }
            let actions = state.devices[device]?.channel.pinged(id, by: socket, now: now) ?? []
            run(actions, &state)
        }
    }

    /// The device is deleted: its socket ends and what waited for it is gone.
    func remove(_ device: String) {
        state.withLock { state in
            let actions = state.devices[device]?.channel.close(.forbidden, "this device was deleted") ?? []
            run(actions, &state)
            forget(device, &state)
        }
    }

    // MARK: events

    /// The device has asked for something: answers wait for it from now on, also while it has no socket.
    func expect(_ device: String, owner: UserKey) {
        let now = clock()
        state.withLock { state in
            withChannel(of: device, owner: owner, now: now, &state) {
                $0.touch(now: now)
                return []
            }
        }
    }

    /// An event for one device and no other; nothing happens when the device is long gone.
    func push(_ event: Event, to device: String) {
        let now = clock()
        state.withLock { state in
            let actions = state.devices[device]?.channel.append(id: event.id, opened: event.opened, now: now) ?? []
            run(actions, &state)
        }
    }

    /// An event for all devices of these users that are or were just connected.
    func push(_ event: Event, to users: [UserKey]) {
        let now = clock()
        state.withLock { state in
            for user in users {
                for device in state.devicesOfUser[user] ?? [] {
                    withChannel(of: device, owner: user, now: now, &state) {
                        $0.append(id: event.id, opened: event.opened, now: now)
                    }
                }
            }
        }
    }

    // MARK: time

    func tick() {
        let (now, time) = (clock(), wall())
        state.withLock { state in
            for (id, socket) in state.sockets where socket.expires < time {
                let actions = state.devices[socket.device]?.channel.close(.badToken, "the token has expired") ?? []
                run(actions, &state)
                state.sockets[id] = nil
            }
            for (device, entry) in state.devices where entry.channel.isIdle(now: now) { forget(device, &state) }
        }
    }

    // MARK: helpers

    private func withChannel(
        of device: String, owner: UserKey, now: Int64, _ state: inout State,
        _ body: (inout EventChannel) -> [EventChannel.Action]
    ) {
        let new = EventChannel(limits: limits, now: now)
        let actions = body(&state.devices[device, default: Entry(owner: owner, channel: new)].channel)
        state.devicesOfUser[owner, default: []].insert(device)
        run(actions, &state)
    }

    private func forget(_ device: String, _ state: inout State) {
        guard let entry = state.devices.removeValue(forKey: device) else { return }
        state.devicesOfUser[entry.owner]?.remove(device)
        if state.devicesOfUser[entry.owner]?.isEmpty == true { state.devicesOfUser[entry.owner] = nil }
    }

    private func run(_ actions: [EventChannel.Action], _ state: inout State) {
        for action in actions {
            switch action {
            case .send(let socket, let text):
                // A socket that does not keep up is closed; the device gets what is unacknowledged on its next one.
                if state.sockets[socket]?.output.enqueue(text) == false {
                    state.sockets[socket]?.output.close(.internalError, reason: "the device does not keep up")
                }
            case .close(let socket, let code, let reason):
                state.sockets.removeValue(forKey: socket)?.output.close(code, reason: reason)
            }
        }
    }
}
