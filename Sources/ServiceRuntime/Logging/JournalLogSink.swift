import CSystemd
import Diagnostics
import Glibc

/// Hands each record with its fields to journald (`sd_journal_sendv`), and to the text sink when journald refuses.
///
/// journald takes no answer and gives none: without it `sd_journal_sendv` returns 0 and the record is gone, so this
/// sink is only used when stderr is connected to the journal (`isStandardErrorJournal`).
final class JournalLogSink: LogSink {
    private let identifier: String
    private let fallback: TextLogSink

    init(identifier: String, fallback: TextLogSink) {
        self.identifier = identifier
        self.fallback = fallback
    }

    /// Whether $JOURNAL_STREAM names device and inode of this process's stderr (systemd.exec(5)).
    static func isStandardErrorJournal(_ stream: String?) -> Bool {
        guard let stream else { return false }
        var status = stat()
        guard fstat(STDERR_FILENO, &status) == 0 else { return false }
        return stream == "\(status.st_dev):\(status.st_ino)"
    }

    func write(_ record: LogRecord) {
        let entry = JournalEntry(record, identifier: identifier)
        if entry.withVectors({ sd_journal_sendv($0.baseAddress, Int32($0.count)) }) < 0 { fallback.write(record) }
    }
}

/// The fields of one entry as journald takes them: `NAME=value` each, values of any octets.
///
/// At most 64 fields and 64 KiB: an entry of that size still goes through the socket in one datagram.
struct JournalEntry {
    static let maximumFields = 64
    static let maximumBytes = 65_536

    private(set) var bytes: [UInt8] = []
    private(set) var ranges: [Range<Int>] = []

    init(_ record: LogRecord, identifier: String) {
        bytes.reserveCapacity(512)
        ranges.reserveCapacity(16)
        add("MESSAGE", record.message)
        add("PRIORITY", String(record.severity.rawValue))
        add("SYSLOG_IDENTIFIER", identifier)
        add(LogField.logger.name, record.logger)
        if let messageID = record.messageID { add("MESSAGE_ID", messageID) }
        if let origin = record.origin {
            add("CODE_FILE", origin.file)
            add("CODE_LINE", String(origin.line))
            add("CODE_FUNC", origin.function)
        }
        for field in record.fields { add(field.name, field.value) }
    }

    private mutating func add(_ name: String, _ value: String) {
        guard ranges.count < Self.maximumFields, bytes.count < Self.maximumBytes else { return }
        let start = bytes.count
        bytes += name.utf8
        bytes.append(UInt8(ascii: "="))
        LogText.append(value, as: .raw, to: &bytes)
        ranges.append(start..<bytes.count)
    }

    /// The fields as texts, in order.
    var texts: [String] { ranges.map { String(decoding: bytes[$0], as: UTF8.self) } }

    func withVectors<Result>(_ body: (UnsafeBufferPointer<iovec>) -> Result) -> Result {
        bytes.withUnsafeBytes { buffer in
            withUnsafeTemporaryAllocation(of: iovec.self, capacity: ranges.count) { vectors in
                for (index, range) in ranges.enumerated() {
                    // Never written through: sendv only reads. Ranges are within the buffer by construction.
                    let start = UnsafeMutableRawPointer(
                        mutating: buffer.baseAddress.unsafelyUnwrapped + range.lowerBound)
                    vectors.initializeElement(at: index, to: iovec(iov_base: start, iov_len: range.count))
                }
                return body(UnsafeBufferPointer(vectors))
            }
        }
    }
}
