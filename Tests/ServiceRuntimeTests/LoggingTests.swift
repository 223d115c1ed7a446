import Diagnostics
import Glibc
import Logging
import Synchronization
import TestServers
import Testing
import WireText

@testable import ServiceRuntime

/// Keeps records in memory.
final class RecordedLog: LogSink {
    private let kept = Mutex<[LogRecord]>([])
    var records: [LogRecord] { kept.withLock { $0 } }
    func write(_ record: LogRecord) { kept.withLock { $0.append(record) } }
    func fields(of index: Int) -> [String: String] {
        let records = records
        guard records.indices.contains(index) else { return [:] }
        return Dictionary(records[index].fields.map { ($0.name, $0.value) }) { first, _ in first }
    }
}

/// Reads what was written into a pipe.
struct CapturedOutput {
    private let pipe: PrivatePipe
    var write: Int32 { pipe.writing }

    init() throws { pipe = try PrivatePipe() }

    /// Closes the pipe.
    func text() -> String {
        close(write)
        defer { close(pipe.reading) }
        var bytes: [UInt8] = []
        while true {
            let chunk = [UInt8](unsafeUninitializedCapacity: 65_536) {
                $1 = max(0, Glibc.read(pipe.reading, $0.baseAddress, $0.count))
            }
            if chunk.isEmpty { return String(decoding: bytes, as: UTF8.self) }
            bytes += chunk
        }
    }
}

@Suite("Log text")
struct LogTextTests {
    private func line(_ text: String, _ style: LogText.Style = .line) -> String {
        var buffer: [UInt8] = []
        LogText.append(text, as: style, to: &buffer)
        return String(decoding: buffer, as: UTF8.self)
    }

    @Test("a line stays a line and no terminal obeys it")
    func controlCharacters() {
        #expect(line("a\nb\tc\rd\u{1B}[2Je\u{0}f\u{7F}g") == "a\\nb\\tc\\rd\\x1b[2Je\\x00f\\x7fg")
        #expect(line("a\u{9B}2Jb") == "a\\x9b2Jb")
        #expect(line("Zürich €") == "Zürich €")
        #expect(line("say \"hi\" \\", .quoted) == "say \\\"hi\\\" \\\\")
        #expect(line("a\nb\u{1B}", .raw) == "a\nb\u{1B}")
    }

    @Test("whatever looks like a token or another JOSE object is left out, in every style")
    func tokens() {
        let token = "eyJhbGciOiJFUzI1NiJ9.eyJzdWIiOiJhbGljZSJ9.MEUCIQDx-_x"
        for style in [LogText.Style.raw, .line, .quoted] {
            #expect(line("bearer \(token), refused", style) == "bearer [redacted], refused")
            #expect(line(token, style) == "[redacted]")
            #expect(line("\(token) \(token)", style) == "[redacted] [redacted]")
        }
        #expect(line("hey, eyes eyJ and eyJshort stay") == "hey, eyes eyJ and eyJshort stay")
    }

    @Test("a long value is cut at the start of a character and says so")
    func bounds() {
        let long = String(repeating: "x", count: LogText.maximumBytes - 1) + "é" + "tail"
        let text = line(long)
        #expect(text.hasSuffix("xxx...[cut]"))
        #expect(text.utf8.count == LogText.maximumBytes - 1 + "...[cut]".utf8.count)
        #expect(line(String(repeating: "y", count: LogText.maximumBytes)).utf8.count == LogText.maximumBytes)
    }

    @Test("field names become such that journald keeps them")
    func fieldNames() {
        let cases = [
            ("KMS_METHOD", "KMS_METHOD"), ("sl-service", "SL_SERVICE"), ("hb.request.id", "HB_REQUEST_ID"),
            ("_HIDDEN", "X__HIDDEN"), ("1st", "X_1ST"), ("", "X_"), ("ä", "X___"), ("a\nb=c", "A_B_C"),
            ("message", "X_MESSAGE"), ("PRIORITY", "X_PRIORITY"),
        ]
        for (key, name) in cases {
            #expect(FieldName.journal(key) == name)
            #expect(FieldName.isValid(name), "\(name)")
        }
        let long = FieldName.journal(String(repeating: "a", count: 200))
        #expect(long.utf8.count <= FieldName.maximumLength && FieldName.isValid(long))
    }
}

@Suite("Journal entry")
struct JournalEntryTests {
    @Test("holds message, priority, identifier, message id, origin and fields in order")
    func fields() {
        let record = LogRecord(
            severity: .warning, logger: "hds-kms.link", message: "two\nlines",
            messageID: "0123456789abcdef0123456789abcdef",
            fields: [.init(name: "STATUS", value: "500"), .init(name: "REASON", value: "")],
            origin: .init(file: "KMS/Link.swift", function: "run()", line: 7))
        let entry = JournalEntry(record, identifier: "hds-kms")
        #expect(
            entry.texts == [
                "MESSAGE=two\nlines", "PRIORITY=4", "SYSLOG_IDENTIFIER=hds-kms", "LOGGER=hds-kms.link",
                "MESSAGE_ID=0123456789abcdef0123456789abcdef", "CODE_FILE=KMS/Link.swift", "CODE_LINE=7",
                "CODE_FUNC=run()", "STATUS=500", "REASON=",
            ])
    }

    @Test("the vectors that sendv gets are the same octets")
    func vectors() {
        let record = LogRecord(
            severity: .info, logger: "a", message: "b", fields: [.init(name: "X", value: "\u{0}\u{1}é")])
        let entry = JournalEntry(record, identifier: "c")
        // struct iovec is a pointer and a length (POSIX sys/uio.h).
        let sent = entry.withVectors { vectors in
            let words = UnsafeRawBufferPointer(vectors)
            return stride(from: 0, to: words.count, by: 16).map { offset in
                let start = words.load(fromByteOffset: offset, as: UnsafeRawPointer.self)
                let count = words.load(fromByteOffset: offset + 8, as: Int.self)
                return String(decoding: UnsafeRawBufferPointer(start: start, count: count), as: UTF8.self)
            }
        }
        #expect(sent == entry.texts)
        #expect(sent.last == "X=\u{0}\u{1}é")
    }

    @Test("number and size of the fields are bounded")
    func bounds() {
        let many = (0..<500).map { LogRecord.Field(name: "F\($0)", value: String(repeating: "v", count: 100)) }
        let entry = JournalEntry(LogRecord(severity: .info, logger: "", message: "", fields: many), identifier: "")
        #expect(entry.ranges.count == JournalEntry.maximumFields)
        let large = (0..<20).map { LogRecord.Field(name: "F\($0)", value: String(repeating: "v", count: 1 << 20)) }
        let bounded = JournalEntry(LogRecord(severity: .info, logger: "", message: "", fields: large), identifier: "")
        #expect(bounded.bytes.count < JournalEntry.maximumBytes + LogText.maximumBytes + 100)
    }

    @Test("stderr is taken for the journal only when device and inode are named")
    func detection() {
        var status = stat()
        fstat(STDERR_FILENO, &status)
        #expect(JournalLogSink.isStandardErrorJournal("\(status.st_dev):\(status.st_ino)"))
        #expect(!JournalLogSink.isStandardErrorJournal("\(status.st_dev):\(status.st_ino + 1)"))
        #expect(!JournalLogSink.isStandardErrorJournal("nonsense"))
        #expect(!JournalLogSink.isStandardErrorJournal(nil))
    }
}

@Suite("Text log")
struct TextLogTests {
    private func output(coloured: Bool = false, _ record: LogRecord) throws -> String {
        let capture = try CapturedOutput()
        let sink = TextLogSink(descriptor: capture.write, isColoured: coloured) {
            Timestamp(milliseconds: 1_790_000_000_042)
        }
        sink.write(record)
        return capture.text()
    }

    @Test("one line: time, severity, part, message, and the fields that the message does not show")
    func line() throws {
        let record = LogRecord(
            severity: .info, logger: "hds-kms", message: "create KEY answered 201",
            fields: [
                .init(name: "STATUS", value: "201", isInMessage: true), .init(name: "USER_ID", value: "5f2c"),
                .init(name: "REASON", value: "a \"b\"\nc"), .init(name: "EMPTY", value: ""),
            ])
        #expect(
            try output(record)
                == "2026-09-21T14:13:20.042Z info    hds-kms: create KEY answered 201  USER_ID=5f2c "
                + "REASON=\"a \\\"b\\\"\\nc\" EMPTY=\"\"\n")
    }

    @Test("colour is used only where asked for, and the text inside is the same")
    func colour() throws {
        let record = LogRecord(severity: .error, logger: "a", message: "b", fields: [.init(name: "C", value: "d")])
        let coloured = try output(coloured: true, record)
        #expect(coloured.contains("\u{1B}[1;31merror\u{1B}[0m"))
        #expect(coloured.replacing(/\u{1B}\[[0-9;]*m/, with: "") == (try output(record)))
    }

    @Test("lines of many writers never mix")
    func wholeLines() async throws {
        let capture = try CapturedOutput()
        let sink = TextLogSink(descriptor: capture.write, isColoured: false)
        // 40 KiB in all: fits into the pipe, so that nobody waits.
        await withTaskGroup { group in
            for writer in 0..<8 {
                group.addTask {
                    for _ in 0..<20 {
                        let text = String(repeating: String(writer), count: 200)
                        sink.write(LogRecord(severity: .info, logger: "w", message: text))
                    }
                }
            }
        }
        let lines = capture.text().split(separator: "\n")
        #expect(lines.count == 160)
        #expect(lines.allSatisfy { line in Set(line.suffix(200)).count == 1 && line.utf8.count == lines[0].utf8.count })
    }

    @Test("a closed pipe loses the line, counts it, and stops nothing")
    func lost() throws {
        signal(SIGPIPE, SIG_IGN)
        let pipe = try PrivatePipe()
        close(pipe.reading)
        let lost = Counter()
        TextLogSink(descriptor: pipe.writing, isColoured: false, lost: lost).write(
            LogRecord(severity: .info, logger: "a", message: "b"))
        #expect(lost.value == 1)
        close(pipe.writing)
    }

    /// What each single write brought, on a socket that keeps them apart.
    private final class Pieces {
        private var ends: [Int32] = [-1, -1]
        var writing: Int32 { ends[0] }

        init() throws {
            let type = Int32(SOCK_SEQPACKET.rawValue) | Int32(SOCK_CLOEXEC.rawValue)
            try #require(socketpair(AF_UNIX, type, 0, &ends) == 0)
        }
        deinit { for end in ends { close(end) } }

        /// Lines in each of the writes that came until now.
        var counts: [Int] {
            var counts: [Int] = []
            var piece = [UInt8](repeating: 0, count: 65_536)
            while case let count = recv(ends[1], &piece, piece.count, Int32(MSG_DONTWAIT)), count > 0 {
                counts.append(piece[..<count].count { $0 == UInt8(ascii: "\n") })
            }
            return counts
        }
    }

    @Test("lines that are written together go out in one piece when all are there, alone each in its own")
    func together() throws {
        let pieces = try Pieces()
        let sink = TextLogSink(descriptor: pieces.writing, isColoured: false)
        let line = LogRecord(severity: .info, logger: "a", message: "b")
        let inner = sink.together {
            for _ in 0..<3 { sink.write(line) }
            let inner = sink.together { pieces.counts }
            return inner + pieces.counts
        }
        #expect(inner == [])
        #expect(pieces.counts == [3])
        for _ in 0..<2 { sink.write(line) }
        sink.together {}
        #expect(pieces.counts == [1, 1])
    }

    @Test(
        "what needs attention waits for nobody and takes along what came before it; many lines do not gather for ever")
    func urgentTogether() throws {
        let pieces = try Pieces()
        let sink = TextLogSink(descriptor: pieces.writing, isColoured: false)
        let line = LogRecord(severity: .info, logger: "a", message: "b")
        sink.together {
            sink.write(line)
            sink.write(LogRecord(severity: .warning, logger: "a", message: "now"))
            #expect(pieces.counts == [2])
            for _ in 0..<20 {
                sink.write(LogRecord(severity: .info, logger: "a", message: String(repeating: "m", count: 1000)))
            }
            #expect(pieces.counts == [16])
        }
        #expect(pieces.counts == [4])
    }

    @Test("of lines that could not be written together each is counted as lost")
    func lostTogether() throws {
        signal(SIGPIPE, SIG_IGN)
        let pipe = try PrivatePipe()
        close(pipe.reading)
        defer { close(pipe.writing) }
        let lost = Counter()
        let sink = TextLogSink(descriptor: pipe.writing, isColoured: false, lost: lost)
        sink.together { for _ in 0..<3 { sink.write(LogRecord(severity: .info, logger: "a", message: "b")) } }
        #expect(lost.value == 3)
    }
}

@Suite("Log handler")
struct LogHandlerTests {
    private let sink = RecordedLog()
    private let threshold = LogThreshold(.info)
    private var logger: Logger {
        Logger(label: "part") { RuntimeLogHandler(label: $0, sink: sink, threshold: threshold) }
    }

    @Test("metadata become fields in the order of their names; the record's own wins")
    func metadata() {
        var logger = logger
        logger[metadataKey: "node"] = "a"
        logger[metadataKey: "STATUS"] = "0"
        logger.info("done", metadata: ["STATUS": "200", "list": ["x", "y"], "map": ["k": "v"], "number": "\(7)"])
        let record = sink.records[0]
        #expect(record.message == "done" && record.logger == "part" && record.severity == .info)
        #expect(record.fields.map(\.name) == ["LIST", "MAP", "NODE", "NUMBER", "STATUS"])
        #expect(record.fields.map(\.value) == ["[x, y]", "{k=v}", "a", "7", "200"])
        #expect(record.origin == nil)
    }

    @Test("a message id among the metadata becomes the record's")
    func messageID() {
        logger.info("x", metadata: ["MESSAGE_ID": "ed8a80b27c0e45748ae492db95cf513d"])
        #expect(sink.records[0].messageID == "ed8a80b27c0e45748ae492db95cf513d")
        #expect(sink.records[0].fields.isEmpty)
    }

    @Test("the level follows the threshold while loggers live, and nothing is made below it")
    func level() {
        let logger = logger
        var made = 0
        func message() -> Logger.Message {
            made += 1
            return "m"
        }
        logger.debug(message())
        #expect(made == 0)
        threshold.severity = .debug
        logger.debug(message())
        threshold.severity = .error
        logger.warning(message())
        #expect(made == 1)
        #expect(sink.records.count == 1)
        var own = logger
        own.logLevel = .warning
        own.warning("kept")
        #expect(sink.records.count == 2)
    }

    @Test("an attached error is told in full when diagnosed and by its type when not")
    func errors() {
        struct Foreign: Error { let secret = "hunter2" }
        let diagnosed = DiagnosedError("pin-mismatch", fault: .peer, "the pin differs", hint: "compare them")
        logger.error("failed", error: diagnosed)
        logger.error("failed", error: Foreign())
        #expect(sink.fields(of: 0)["ERROR_CODE"] == "pin-mismatch")
        #expect(sink.fields(of: 0)["FAULT"] == "peer")
        #expect(sink.fields(of: 0)["REASON"] == "the pin differs; compare them [pin-mismatch]")
        #expect(sink.fields(of: 1)["REASON"] == "an error of type Foreign without a diagnosis")
        #expect(sink.records[1].origin?.file.hasSuffix("LoggingTests.swift") == true)
    }

    @Test("a declared event is recorded with its ids, its line and its fields")
    func events() {
        let metrics = MetricRegistry()
        let system = LogSystem(service: "hds-kms", sink: sink, threshold: threshold, metrics: metrics)
        system.events.record(
            .kmsRequest,
            [
                .kmsMethod: "create", .kmsType: "KEY_COLLECTION", .status: Loggable(201),
                .durationMicroseconds: Loggable(412), .userID: Loggable(reviewed: "5f2c"), .kmsURI: nil,
            ])
        let record = sink.records[0]
        #expect(record.message == "create KEY_COLLECTION answered 201 in 412 us")
        #expect(record.messageID == Event.kmsRequest.messageID)
        #expect(
            record.fields.map(\.name) == ["KMS_METHOD", "KMS_TYPE", "STATUS", "DURATION_US", "USER_ID", "EVENT_ID"])
        #expect(record.fields.filter { !$0.isInMessage }.map(\.name) == ["USER_ID"])
        #expect(metrics.counter(.logRecords, ["info"]).value == 1)

        var made = 0
        threshold.severity = .notice
        system.events.record(
            .kmsRequest,
            {
                made += 1; return [:]
            }())
        #expect(made == 0 && sink.records.count == 1)
    }
}
