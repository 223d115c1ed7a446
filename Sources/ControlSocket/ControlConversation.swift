import Diagnostics

/// What one connection of the control socket is doing: a pure state machine of octets and deadlines.
///
/// One request is carried out at a time. While it is, nothing is read, so that a peer's further requests wait in the
/// kernel and not in memory. Times are milliseconds of a clock that never goes back.
struct ControlConversation {
    struct Limits: Sendable {
        var requestBytes = ControlRequest.maximumBytes
        /// What may wait for a slow reader before progress lines are left out.
        var progressBytes = 256 << 10
        /// For a request to be complete, from the connection or the last answer on.
        var idle: Int64 = 60_000
        /// For a reader to take anything at all of what waits for it.
        var stalled: Int64 = 30_000
    }

    enum Action: Equatable {
        case perform([UInt8])
        case close
    }

    let limits: Limits
    private var input: [UInt8] = []
    /// Octets of `input` that are known to hold no line feed.
    private var searched = 0
    private var output: [UInt8] = []
    private var sent = 0
    private(set) var isWorking = false
    private var isClosing = false
    private var peerClosed = false
    private var deadline: Int64

    init(limits: Limits, now: Int64) {
        self.limits = limits
        deadline = now + limits.idle
    }

    /// Whether octets are wanted now.
    var wantsInput: Bool { !isWorking && !isClosing && !peerClosed && !hasOutput }
    var hasOutput: Bool { sent < output.count }
    /// When `expired` is due; nil while a request is carried out and nothing waits for the reader.
    var due: Int64? { isWorking && !hasOutput ? nil : deadline }
    var pending: ArraySlice<UInt8> { output[sent...] }

    mutating func received(_ bytes: ArraySlice<UInt8>, now: Int64) -> Action? {
        guard !isClosing else { return nil }
        input += bytes
        return next(now)
    }

    /// The peer sends no more; what it asked for is still carried out, and half a line is not a request.
    mutating func receivedEnd() -> Action? {
        peerClosed = true
        return isWorking || hasOutput ? nil : .close
    }

    mutating func answered(_ line: [UInt8], now: Int64) {
        guard isWorking else { return }
        isWorking = false
        write(line, now)
    }

    /// Whether the line was taken; one that a slow reader would only pile up is left out.
    mutating func progressed(_ line: [UInt8], now: Int64) -> Bool {
        guard isWorking, output.count - sent + line.count <= limits.progressBytes else { return false }
        write(line, now)
        return true
    }

    /// Says why, and closes when it is said.
    mutating func refuse(_ line: [UInt8], now: Int64) {
        isWorking = false
        isClosing = true
        write(line, now)
    }

    /// The kernel took that many octets of `pending`.
    mutating func wrote(_ count: Int, now: Int64) -> Action? {
        sent += count
        if count > 0 { deadline = now + limits.stalled }
        guard !hasOutput else { return nil }
        output = []
        sent = 0
        guard !isWorking else { return nil }
        if isClosing { return .close }
        deadline = now + limits.idle
        return next(now) ?? (peerClosed ? .close : nil)
    }

    /// The deadline has passed.
    mutating func expired(now: Int64) -> Action? {
        guard let due, due <= now else { return nil }
        guard !hasOutput, !isClosing else { return .close }
        refuse(
            ControlLine.failure(
                nil, .control(.controlIdle, .client, "no complete request came in time", expected: "one line of JSON")),
            now: now)
        return nil
    }

    /// The next complete line, if nothing else is going on.
    private mutating func next(_ now: Int64) -> Action? {
        guard !isWorking, !isClosing, !hasOutput else { return nil }
        guard let end = input[searched...].firstIndex(of: UInt8(ascii: "\n")) else {
            searched = input.count
            if input.count > limits.requestBytes { tooLong(now) }
            return nil
        }
        guard end <= limits.requestBytes else {
            tooLong(now)
            return nil
        }
        let line = Array(input[..<end])
        input.removeSubrange(...end)
        searched = 0
        isWorking = true
        return .perform(line)
    }

    private mutating func tooLong(_ now: Int64) {
        input = []
        searched = 0
        refuse(
            ControlLine.failure(
                nil,
                .control(
                    .controlMalformed, .client, "the request is too long",
                    expected: "at most \(limits.requestBytes) octets")),
            now: now)
    }

    private mutating func write(_ line: [UInt8], _ now: Int64) {
        if !hasOutput { deadline = now + limits.stalled }
        output += line
    }
}
