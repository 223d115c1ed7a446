package import Diagnostics
import Glibc
package import Logging
import Synchronization

/// Where this process logs: one sink, one threshold, the loggers and the recorder of declared events on top of it.
package struct LogSystem: Sendable {
    package enum Format: String, NamedValue, Sendable {
        /// The journal when stderr leads there, else text.
        case auto
        case journal
        case text
    }

    let sink: any LogSink
    let service: String
    /// Whether a person reads stderr, rather than the journal.
    let isText: Bool
    package let threshold: LogThreshold

    init(
        service: String, sink: any LogSink, isText: Bool = true, threshold: LogThreshold, metrics: MetricRegistry
    ) {
        self.isText = isText
        self.service = service
        self.sink = CountingSink(sink, metrics)
        self.threshold = threshold
    }

    /// The system of a service, named in every record; the format is decided here, once.
    package init(service: String, format: Format = .auto, level: Severity = .info, metrics: MetricRegistry) {
        let text = TextLogSink(
            isColoured: TextLogSink.isColourWanted(STDERR_FILENO), lost: metrics.counter(.logRecordsLost))
        let stream = getenv("JOURNAL_STREAM").map { String(cString: $0) }
        let isJournal =
            switch format {
            case .auto: JournalLogSink.isStandardErrorJournal(stream)
            case .journal: true
            case .text: false
            }
        let sink: any LogSink = isJournal ? JournalLogSink(identifier: service, fallback: text) : text
        self.init(service: service, sink: sink, isText: !isJournal, threshold: LogThreshold(level), metrics: metrics)
    }

    /// A logger of a part of the service: `logger("link")` writes as `hds-kms.link`.
    package func logger(_ part: String? = nil) -> Logger {
        let handler = RuntimeLogHandler(
            label: part.map { "\(service).\($0)" } ?? service, sink: sink, threshold: threshold)
        return Logger(label: handler.label) { _ in handler }
    }

    /// For declared events and alarms.
    package var events: any EventRecorder { SinkRecorder(service: service, sink: sink, threshold: threshold) }

    private static let isInstalled = Atomic(false)

    /// Makes this the backend of every logger of the process, also of libraries. Only the first call has effect.
    func install() {
        guard Self.isInstalled.exchange(true, ordering: .acquiringAndReleasing) == false else { return }
        LoggingSystem.bootstrap { [sink, threshold] label in
            RuntimeLogHandler(label: label, sink: sink, threshold: threshold)
        }
    }
}

/// Records declared events: message from the template, MESSAGE_ID, EVENT_ID and the fields.
struct SinkRecorder: EventRecorder {
    let service: String
    let sink: any LogSink
    let threshold: LogThreshold

    func isRecorded(_ severity: Severity) -> Bool { threshold.allows(severity) }

    func write(_ event: Event, _ fields: LogFields) {
        var record = LogRecord(
            severity: event.severity, logger: service, message: event.message.text(fields), messageID: event.messageID)
        record.fields.reserveCapacity(fields.entries.count + 1)
        for (field, value) in fields.entries {
            record.fields.append(
                .init(name: field.name, value: value.text, isInMessage: event.message.shows(field)))
        }
        // In a line of text the id helps with what needs attention and is noise in the rest.
        record.fields.append(
            .init(name: LogField.eventID.name, value: event.id, isInMessage: event.severity < .warning))
        sink.write(record)
    }

    func together<Result>(_ body: () -> Result) -> Result { sink.together(body) }
}

/// Counts records by severity on their way.
private struct CountingSink: LogSink {
    private let sink: any LogSink
    private let counters: [Severity: Counter]

    init(_ sink: any LogSink, _ metrics: MetricRegistry) {
        self.sink = sink
        counters = Dictionary(
            uniqueKeysWithValues: Severity.allCases.map { ($0, metrics.counter(.logRecords, [$0.name])) })
    }

    func write(_ record: LogRecord) {
        counters[record.severity]?.increment()
        sink.write(record)
    }

    func together<Result>(_ body: () -> Result) -> Result { sink.together(body) }
}
