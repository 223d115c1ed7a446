import Diagnostics
package import Logging

/// The swift-log backend: turns metadata into structured fields and hands records to the sink.
///
/// Metadata keys become field names (`FieldName.journal`), a key `MESSAGE_ID` becomes the record's message id. An
/// attached error gives ERROR_CODE, FAULT and REASON. The level follows the runtime's threshold, also when that
/// changes later, unless a logger was given one of its own.
package struct RuntimeLogHandler: LogHandler {
    let label: String
    let sink: any LogSink
    let threshold: LogThreshold
    private var ownLevel: Logger.Level?
    package var metadata: Logger.Metadata = [:]
    package var metadataProvider: Logger.MetadataProvider?

    init(label: String, sink: any LogSink, threshold: LogThreshold) {
        self.label = label
        self.sink = sink
        self.threshold = threshold
    }

    package var logLevel: Logger.Level {
        get { ownLevel ?? Logger.Level(threshold.severity) }
        set { ownLevel = newValue }
    }

    package subscript(metadataKey key: String) -> Logger.Metadata.Value? {
        get { metadata[key] }
        set { metadata[key] = newValue }
    }

    package func log(event: LogEvent) {
        let severity = Severity(event.level)
        var record = LogRecord(severity: severity, logger: label, message: event.message.description)
        append(event.metadata, to: &record, unlessIn: [nil, nil])
        append(metadata, to: &record, unlessIn: [event.metadata, nil])
        append(metadataProvider?.get(), to: &record, unlessIn: [event.metadata, metadata])
        record.fields.sort { $0.name < $1.name }
        if let error = event.error { append(error, to: &record) }
        if severity >= .warning || severity == .debug {
            record.origin = .init(file: event.file, function: event.function, line: event.line)
        }
        sink.write(record)
    }

    private func append(
        _ metadata: Logger.Metadata?, to record: inout LogRecord, unlessIn others: [Logger.Metadata?]
    ) {
        guard let metadata, !metadata.isEmpty else { return }
        record.fields.reserveCapacity(record.fields.count + metadata.count)
        for (key, value) in metadata where !others.contains(where: { $0?[key] != nil }) {
            if key == "MESSAGE_ID" {
                record.messageID = value.description
            } else {
                record.fields.append(.init(name: FieldName.journal(key), value: Self.text(of: value)))
            }
        }
    }

    private static func text(of value: Logger.MetadataValue) -> String {
        switch value {
        case .string(let text): text
        case .stringConvertible(let value): value.description
        case .array(let values): "[" + values.map(text).joined(separator: ", ") + "]"
        case .dictionary(let values):
            "{" + values.sorted { $0.key < $1.key }.map { "\($0.key)=\(text(of: $0.value))" }.joined(separator: ", ")
                + "}"
        }
    }

    private func append(_ error: any Error, to record: inout LogRecord) {
        if let diagnosed = error as? DiagnosedError {
            record.fields.append(.init(name: LogField.errorCode.name, value: diagnosed.code.rawValue))
            record.fields.append(.init(name: LogField.fault.name, value: diagnosed.fault.rawValue))
        }
        record.fields.append(.init(name: LogField.reason.name, value: Loggable(error: error).text))
    }
}

extension Severity {
    init(_ level: Logger.Level) {
        switch level {
        case .trace, .debug: self = .debug
        case .info: self = .info
        case .notice: self = .notice
        case .warning: self = .warning
        case .error: self = .error
        case .critical: self = .critical
        }
    }
}

extension Logger.Level {
    init(_ severity: Severity) {
        switch severity {
        case .debug: self = .debug
        case .info: self = .info
        case .notice: self = .notice
        case .warning: self = .warning
        case .error: self = .error
        case .critical: self = .critical
        }
    }
}
