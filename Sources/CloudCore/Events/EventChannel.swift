import WireText

/// The events of one device: what it has not acknowledged, and the socket they go out on, as a pure state machine.
///
/// Events wait here while the device has no socket, and are sent again on a new socket until they are acknowledged, so
/// a short loss of the connection loses none. The buffer is bounded in number, octets and age: what falls out was
/// either seen but not acknowledged, or is asked for anew (messages by the request, activities by their sequence).
/// Section 9 of the KMS protocol: the first frame of a socket is `mercury.buffer_state`, `sequenceNumber` rises by one
/// per frame of a socket, pongs included. Times are milliseconds of a monotonic clock, given by the caller.
struct EventChannel: Sendable {
    typealias SocketID = UInt64

    struct Limits: Sendable {
        var maximumEvents = 500
        var maximumOctets = 4 << 20
        var lifetimeMilliseconds: Int64 = 120_000
    }

    enum Action: Equatable, Sendable {
        case send(SocketID, String)
        case close(SocketID, EventCloseCode, String)
    }

    private struct Waiting {
        var id: String
        /// The frame without its last brace, so that the number of this socket can be added.
        var opened: String
        var added: Int64
    }

    private let limits: Limits
    private var waiting: [Waiting] = []
    private var octets = 0
    private var dropped = 0
    private var sequence = 0
    private(set) var socket: SocketID?
    private(set) var lastUse: Int64

    init(limits: Limits = Limits(), now: Int64) {
        self.limits = limits
        lastUse = now
    }

    var unacknowledgedCount: Int { waiting.count }

    /// Whether nothing would be lost by forgetting this channel.
    func isIdle(now: Int64) -> Bool { socket == nil && lastUse + limits.lifetimeMilliseconds <= now }

    /// The device shows signs of life.
    mutating func touch(now: Int64) { lastUse = now }

    /// An authorized socket takes over; an older one is closed.
    mutating func attach(_ new: SocketID, now: Int64, wall: Timestamp) -> [Action] {
        var actions: [Action] = []
        if let socket { actions.append(.close(socket, .replaced, "replaced by a newer socket of this device")) }
        socket = new
        lastUse = now
        sequence = 0
        prune(now: now)
        var state = JSONWriter()
        state.beginObject()
        state.member("id", UUIDText.random())
        state.name("data")
        state.beginObject()
        state.member("eventType", "mercury.buffer_state")
        state.name("bufferState")
        state.beginObject()
        state.member("waiting", waiting.count)
        state.member("dropped", dropped)
        state.endObject()
        state.endObject()
        state.member("timestamp", wall.milliseconds)
        state.member("trackingId", "core_\(UUIDText.random())")
        dropped = 0
        actions.append(.send(new, numbered(state.text())))
        for event in waiting { actions.append(.send(new, numbered(event.opened))) }
        return actions
    }

    mutating func detach(_ gone: SocketID, now: Int64) {
        guard socket == gone else { return }
        socket = nil
        lastUse = now
    }

    /// One event: kept until it is acknowledged, and sent at once when there is a socket. `opened` is the JSON object
    /// of the event without its last brace.
    mutating func append(id: String, opened: String, now: Int64) -> [Action] {
        waiting.append(Waiting(id: id, opened: opened, added: now))
        octets += opened.utf8.count
        prune(now: now)
        guard let socket else { return [] }
        return [.send(socket, numbered(opened))]
    }

    mutating func acknowledged(_ id: String, now: Int64) {
        lastUse = now
        // Nearly always the oldest: clients acknowledge in order.
        guard let position = waiting.firstIndex(where: { $0.id == id }) else { return }
        octets -= waiting.remove(at: position).opened.utf8.count
    }

    mutating func pinged(_ id: String, by socket: SocketID, now: Int64) -> [Action] {
        guard self.socket == socket else { return [] }
        lastUse = now
        var pong = JSONWriter()
        pong.beginObject()
        pong.member("id", id)
        pong.member("type", "pong")
        return [.send(socket, numbered(pong.text()))]
    }

    /// The device is gone, or its token.
    mutating func close(_ code: EventCloseCode, _ reason: String) -> [Action] {
        guard let socket else { return [] }
        self.socket = nil
        return [.close(socket, code, reason)]
    }

    private mutating func numbered(_ opened: String) -> String {
        sequence += 1
        return opened + ",\"sequenceNumber\":\(sequence)}"
    }

    private mutating func prune(now: Int64) {
        var gone = 0
        while gone < waiting.count,
            waiting.count - gone > limits.maximumEvents || octets > limits.maximumOctets
                || waiting[gone].added + limits.lifetimeMilliseconds <= now
        {
            octets -= waiting[gone].opened.utf8.count
            gone += 1
        }
        guard gone > 0 else { return }
        waiting.removeFirst(gone)
        dropped += gone
    }
}

/// Close codes of the event socket (section 9 of the KMS protocol).
struct EventCloseCode: RawRepresentable, Hashable, Sendable {
    let rawValue: UInt16

    static let goingAway = Self(rawValue: 1001)
    static let internalError = Self(rawValue: 1011)
    static let replaced = Self(rawValue: 4000)
    static let badRequest = Self(rawValue: 4400)
    static let badToken = Self(rawValue: 4401)
    static let forbidden = Self(rawValue: 4403)
}
