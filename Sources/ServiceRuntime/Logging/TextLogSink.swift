import Diagnostics
import Glibc
import Synchronization
import WireText

/// Writes each record as one line of text: time, severity, part, message, `NAME=value` for the other fields.
/// ```
/// 2026-11-23T13:04:02.123Z info    hds-kms: create KEY_COLLECTION answered 201 in 412 us  USER_ID=5f2c
/// ```
/// Times are UTC. Lines are whole: one writer at a time. Colour only on a terminal. A line that can not be written
/// (a closed pipe, a full disk) is counted as lost and forgotten; logging never stops the service.
final class TextLogSink: LogSink {
    private struct State {
        /// Whole lines that are not written yet.
        var buffer: [UInt8] = []
        var lines: UInt64 = 0
        /// So many callers write together.
        var gathering = 0
        var second: Int64 = .min
        /// `2026-11-23T13:04:02`, of `second`.
        var secondText: [UInt8] = []
    }

    /// Octets of lines that are written without waiting for more.
    private static let gathered = 16_384

    private let descriptor: Int32
    private let isColoured: Bool
    private let lost: Counter?
    private let now: @Sendable () -> Timestamp
    private let state = Mutex(State())

    init(
        descriptor: Int32 = STDERR_FILENO, isColoured: Bool, lost: Counter? = nil,
        now: @escaping @Sendable () -> Timestamp = { Timestamp.now() }
    ) {
        self.descriptor = descriptor
        self.isColoured = isColoured
        self.lost = lost
        self.now = now
    }

    /// Whether the descriptor is a terminal whose user has not asked for plain text (https://no-color.org).
    static func isColourWanted(_ descriptor: Int32) -> Bool {
        guard isatty(descriptor) == 1, getenv("NO_COLOR") == nil else { return false }
        return getenv("TERM").map { String(cString: $0) != "dumb" } ?? false
    }

    func write(_ record: LogRecord) {
        let time = now()
        state.withLock { state in
            appendTime(time, to: &state)
            appendLine(record, to: &state.buffer)
            state.lines += 1
            // What needs attention, and what may be the last line of all, waits for nobody.
            if state.gathering == 0 || record.severity >= .warning || state.buffer.count >= Self.gathered {
                writeLines(&state)
            }
        }
    }

    /// Lines go out in one system call; those of other threads meanwhile go with them.
    func together<Result>(_ body: () -> Result) -> Result {
        state.withLock { $0.gathering += 1 }
        defer {
            state.withLock { state in
                state.gathering -= 1
                if state.gathering == 0 { writeLines(&state) }
            }
        }
        return body()
    }

    private func writeLines(_ state: inout State) {
        guard state.lines > 0 else { return }
        let isWritten = state.buffer.withUnsafeBytes { writeAll($0) }
        if !isWritten { lost?.increment(by: state.lines) }
        state.lines = 0
        state.buffer.removeAll(keepingCapacity: state.buffer.capacity <= 65_536)
    }

    private func appendTime(_ time: Timestamp, to state: inout State) {
        if time.seconds != state.second {
            state.second = time.seconds
            state.secondText = Array(time.iso8601.utf8.prefix(19))
        }
        if isColoured { state.buffer += Colour.dim }
        state.buffer += state.secondText
        let milliseconds = Int(time.milliseconds - time.seconds * 1000)
        state.buffer.append(UInt8(ascii: "."))
        state.buffer.append(UInt8(ascii: "0") + UInt8(milliseconds / 100 % 10))
        state.buffer.append(UInt8(ascii: "0") + UInt8(milliseconds / 10 % 10))
        state.buffer.append(UInt8(ascii: "0") + UInt8(milliseconds % 10))
        state.buffer.append(UInt8(ascii: "Z"))
        if isColoured { state.buffer += Colour.reset }
        state.buffer.append(UInt8(ascii: " "))
    }

    private func appendLine(_ record: LogRecord, to buffer: inout [UInt8]) {
        let name = record.severity.name
        if isColoured { buffer += Colour.of(record.severity) }
        buffer += name.utf8
        if isColoured { buffer += Colour.reset }
        for _ in name.utf8.count..<8 { buffer.append(UInt8(ascii: " ")) }
        LogText.append(record.logger, as: .line, to: &buffer)
        buffer += ": ".utf8
        LogText.append(record.message, as: .line, to: &buffer)
        var separator = "  "
        for field in record.fields where !field.isInMessage {
            buffer += separator.utf8
            separator = " "
            if isColoured { buffer += Colour.dim }
            buffer += field.name.utf8
            buffer.append(UInt8(ascii: "="))
            if isColoured { buffer += Colour.reset }
            if LogText.isPlainWord(field.value) {
                LogText.append(field.value, as: .line, to: &buffer)
            } else {
                buffer.append(UInt8(ascii: "\""))
                LogText.append(field.value, as: .quoted, to: &buffer)
                buffer.append(UInt8(ascii: "\""))
            }
        }
        buffer.append(UInt8(ascii: "\n"))
    }

    private func writeAll(_ bytes: UnsafeRawBufferPointer) -> Bool {
        var rest = bytes[...]
        while !rest.isEmpty {
            let written = Glibc.write(descriptor, UnsafeRawBufferPointer(rebasing: rest).baseAddress, rest.count)
            if written > 0 {
                rest = rest.dropFirst(written)
            } else if errno == EAGAIN {
                // A reader that does not read: wait a little for it, then let the line go.
                var poller = pollfd(fd: descriptor, events: Int16(POLLOUT), revents: 0)
                guard poll(&poller, 1, 100) == 1 else { return false }
            } else if errno != EINTR {
                return false
            }
        }
        return true
    }
}

/// Escape sequences of terminals (ECMA-48).
private enum Colour {
    static let dim = Array("\u{1B}[2m".utf8)
    static let reset = Array("\u{1B}[0m".utf8)

    static func of(_ severity: Severity) -> [UInt8] {
        switch severity {
        case .critical, .error: Array("\u{1B}[1;31m".utf8)
        case .warning: Array("\u{1B}[33m".utf8)
        case .notice: Array("\u{1B}[32m".utf8)
        case .info: Array("\u{1B}[36m".utf8)
        case .debug: dim
        }
    }
}
