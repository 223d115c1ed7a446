import Diagnostics
import WireText

/// The rules of one event socket of a client (protocol, section 9), as a pure state machine.
///
/// 1. The authorization frame goes first.
/// 2. The first frame back is `mercury.buffer_state` or `mercury.registration_status`; before it nothing is ready, and
///    without it in time the socket is closed.
/// 3. Every frame with an id is acknowledged, pongs too; the same event twice is delivered once.
/// 4. A ping leaves every 15 s; without its pong within 14 s the socket is given up.
///
/// Times are milliseconds of a monotonic clock.
struct EventSocketRules {
    enum Action: Equatable {
        case send(String)
        /// The core listens: requests may leave.
        case ready
        case deliver(id: String)
        case close(UInt16, String)
    }

    static let pingInterval: Int64 = 15_000
    static let pongDeadline: Int64 = 14_000
    static let readyDeadline: Int64 = 15_000

    private let opened: Int64
    private(set) var isReady = false
    private var isClosed = false
    private var nextPing: Int64
    private var awaitedPong: (id: String, sent: Int64)?
    private var pings = 0

    init(now: Int64) {
        opened = now
        nextPing = now + Self.pingInterval
    }

    func start(token: Redacted<String>) -> [Action] { [.send(EventFrame.authorization(token: token))] }

    mutating func receive(_ frame: EventFrame, seen: inout SeenEvents, now: Int64) -> [Action] {
        guard !isClosed else { return [] }
        switch frame {
        case .pong(let id):
            if awaitedPong?.id == id { awaitedPong = nil }
            return [.send(EventFrame.acknowledgement(of: id))]
        case .unknown(let id): return id.map { [.send(EventFrame.acknowledgement(of: $0))] } ?? []
        case .event(let id, let type, _):
            var actions: [Action] = [.send(EventFrame.acknowledgement(of: id))]
            if type == "mercury.buffer_state" || type == "mercury.registration_status" {
                if !isReady { actions.append(.ready) }
                isReady = true
            } else if seen.insert(id) {
                actions.append(.deliver(id: id))
            }
            return actions
        }
    }

    /// Due about every second.
    mutating func tick(now: Int64) -> [Action] {
        guard !isClosed else { return [] }
        if !isReady {
            guard now - opened >= Self.readyDeadline else { return [] }
            isClosed = true
            return [.close(1000, "no mercury.buffer_state")]
        }
        if let pong = awaitedPong {
            guard now - pong.sent >= Self.pongDeadline else { return [] }
            isClosed = true
            return [.close(1000, "no pong")]
        }
        guard now >= nextPing else { return [] }
        nextPing = now + Self.pingInterval
        pings += 1
        let id = "ping-\(pings)"
        awaitedPong = (id, now)
        return [.send(EventFrame.ping(id: id))]
    }
}

/// Ids of the events delivered last: the core sends again what was not acknowledged when a socket ended.
struct SeenEvents {
    private static let maximum = 1024
    private var ids: Set<String> = []
    private var order: [String] = []

    /// Whether it is new.
    mutating func insert(_ id: String) -> Bool {
        guard ids.insert(id).inserted else { return false }
        order.append(id)
        if order.count > Self.maximum * 2 {
            for old in order.prefix(Self.maximum) { ids.remove(old) }
            order.removeFirst(Self.maximum)
        }
        return true
    }
}

/// What follows the end of an event socket (protocol, section 9, close codes).
struct Reconnection {
    enum Step: Equatable {
        /// Connect again after so many milliseconds.
        case again(after: Int64)
        /// The same, with a new token.
        case againWithNewToken(after: Int64)
        /// The core does not know the device: register it anew.
        case againWithNewDevice(after: Int64)
        case stop(DiagnosedError)
    }

    /// Why a socket ended or did not come to be.
    enum Ending: Equatable {
        case closed(code: UInt16, reason: String)
        /// The upgrade was refused with this HTTP status.
        case refused(status: Int)
        case unreachable
    }

    static let longest: Int64 = 10_000
    private var failures = 0
    private var refusedTokens = 0
    private var refusedDevices = 0

    /// The core greeted: whatever comes next is a first failure.
    mutating func succeeded() {
        failures = 0
        refusedTokens = 0
        refusedDevices = 0
    }

    /// - Parameter jitter: 0 to 1; the wait is that part of its upper bound, but never less than half.
    mutating func step(after ending: Ending, jitter: Double) -> Step {
        let wait = backOff(jitter)
        switch ending {
        case .closed(4401, _), .refused(401):
            refusedTokens += 1
            guard refusedTokens <= 2 else {
                return .stop(
                    DiagnosedError(
                        .notLoggedIn, fault: .client, "the core does not take your login any more", hint: "log in again"
                    ))
            }
            return .againWithNewToken(after: refusedTokens == 1 ? 0 : wait)
        case .closed(4000, _):
            return .stop(
                DiagnosedError(
                    .eventSocketReplaced, fault: .client, "another program uses this device's connection",
                    hint: "was the state folder copied? log in anew with another --home"))
        case .closed(4400, let reason):
            return .stop(Self.refused("the core did not understand this client", reason))
        case .closed(1003, let reason): return .stop(Self.refused("the core does not take this client", reason))
        case .closed(4403, let reason):
            refusedDevices += 1
            guard refusedDevices <= 3 else { return .stop(Self.refused("the core does not take this device", reason)) }
            return .againWithNewDevice(after: wait)
        case .refused(403), .refused(404):
            refusedDevices += 1
            guard refusedDevices <= 3 else { return .stop(Self.refused("the core does not take this device", "")) }
            return .againWithNewDevice(after: wait)
        case .closed, .refused, .unreachable: return .again(after: wait)
        }
    }

    /// Whether it is about the core's certificate as it was seen now: nothing was sent, and another one may be seen later.
    static func mayPass(_ error: DiagnosedError) -> Bool { error.code.rawValue.hasPrefix("tls-") }

    private mutating func backOff(_ jitter: Double) -> Int64 {
        defer { failures += 1 }
        let bound = min(Self.longest, 100 << Int64(min(failures, 10)))
        return bound / 2 + Int64(Double(bound / 2) * min(max(jitter, 0), 1))
    }

    private static func refused(_ summary: String, _ reason: String) -> DiagnosedError {
        DiagnosedError(.eventSocket, fault: .peer, summary, found: reason.loggable, hint: "is there a newer version?")
    }
}
