import NIOCore

/// Where a connection of HTTP/1.1 stands between its requests and its answers, and when it is to end.
///
/// Pure: heads, ends, wishes and times in, decisions out. One request may be read while earlier ones are answered.
struct ConnectionProgress {
    enum Wait: Equatable {
        case firstRequest
        case nextRequest
        /// The body of a request is being read.
        case body
        /// The server is at work: no deadline of the peer's.
        case none
    }

    private(set) var requestsInFlight = 0
    private(set) var isReadingRequest = false
    private(set) var hasReadHead = false
    private(set) var isQuiescing = false
    /// The answer that is being written is the last one.
    private(set) var closesAfterResponse = false
    /// Octets of the running request's body that were announced and have not come; nil: not announced.
    private var bodyLeft: Int?

    /// A body of which no more than this is left is read to its end, to keep the connection.
    static let readableRest = 1 << 20

    var isIdle: Bool { requestsInFlight == 0 && !isReadingRequest }

    var wait: Wait {
        if isReadingRequest { return .body }
        if requestsInFlight > 0 { return .none }
        return hasReadHead ? .nextRequest : .firstRequest
    }

    mutating func readHead(keepsAlive: Bool, contentLength: Int?) {
        hasReadHead = true
        isReadingRequest = true
        requestsInFlight += 1
        bodyLeft = contentLength
        if !keepsAlive { closesAfterResponse = true }
    }

    mutating func readBody(_ count: Int) { bodyLeft = bodyLeft.map { max(0, $0 - count) } }

    mutating func readEnd() { isReadingRequest = false }

    /// A final answer's head is written; true: it has to say `Connection: close`.
    mutating func writeHead(saysClose: Bool) -> Bool {
        // The rest of a long body that nobody wanted would have to be read before the next request.
        let hasLongRest = isReadingRequest && requestsInFlight == 1 && (bodyLeft ?? .max) > Self.readableRest
        if saysClose || isQuiescing || hasLongRest { closesAfterResponse = true }
        return closesAfterResponse && requestsInFlight == 1
    }

    /// The answer is written; true: the connection ends.
    mutating func writeEnd() -> Bool {
        requestsInFlight = max(0, requestsInFlight - 1)
        return requestsInFlight == 0 && (closesAfterResponse || isQuiescing)
    }

    /// True: nothing is under way, the connection ends at once.
    mutating func quiesce() -> Bool {
        isQuiescing = true
        return isIdle
    }
}

/// Whether a body comes fast enough, counting only the time in which the server waits for it.
struct BodyPace {
    private var received = 0
    private var waited = TimeAmount.zero
    private var waitingSince: NIODeadline?

    /// Below this many octets for each second of waiting the sender is too slow.
    static let minimumPerSecond: Int64 = 1024

    mutating func startWaiting(now: NIODeadline) {
        if waitingSince == nil { waitingSince = now }
    }

    mutating func stopWaiting(now: NIODeadline) {
        if let since = waitingSince { waited = waited + (now - since) }
        waitingSince = nil
    }

    mutating func receive(_ count: Int) { received += count }

    /// Judges the window that ends now and begins the next; false: too slow. A window in which the server mostly did
    /// not read says nothing.
    mutating func closeWindow(_ window: TimeAmount, now: NIODeadline) -> Bool {
        let isWaiting = waitingSince != nil
        stopWaiting(now: now)
        defer {
            received = 0
            waited = .zero
            if isWaiting { waitingSince = now }
        }
        guard waited.nanoseconds * 2 > window.nanoseconds else { return true }
        return Int64(received) >= waited.nanoseconds * Self.minimumPerSecond / 1_000_000_000
    }
}
