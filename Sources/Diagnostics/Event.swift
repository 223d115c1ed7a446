/// How much a record matters, in the levels of syslog and journald (RFC 5424 section 6.2.1).
package enum Severity: Int, Sendable, Comparable, CaseIterable {
    case critical = 2
    case error = 3
    case warning = 4
    case notice = 5
    case info = 6
    case debug = 7

    /// `debug` is the smallest, `critical` the greatest.
    package static func < (left: Severity, right: Severity) -> Bool { left.rawValue > right.rawValue }

    package var name: String {
        switch self {
        case .critical: "critical"
        case .error: "error"
        case .warning: "warning"
        case .notice: "notice"
        case .info: "info"
        case .debug: "debug"
        }
    }
}

/// A declared event: one kind of thing that happens, with the text that an operator reads.
///
/// Every event has a journald MESSAGE_ID, so that `journalctl MESSAGE_ID=...` lists it and `journalctl -x` shows its
/// explanation and what to do. The declarations in `EventCatalogue.swift` are the one source from which the journal's
/// catalog and the documentation are made. Equality is on the id.
package struct Event: Sendable, Hashable {
    package let id: String
    /// 32 lower-case hexadecimal digits.
    package let messageID: String
    package let severity: Severity
    /// The line in the journal; `@FIELD@` stands for the value of that field.
    package let message: MessageTemplate
    /// What happened, in sentences, for `journalctl -x`.
    package let explanation: String
    /// What to do; nil where there is nothing to do.
    package let fix: String?

    package init(
        _ id: String, _ messageID: String, _ severity: Severity, _ message: MessageTemplate, explanation: String,
        fix: String? = nil
    ) {
        self.id = id
        self.messageID = messageID
        self.severity = severity
        self.message = message
        self.explanation = explanation
        self.fix = fix
    }

    package static func == (left: Event, right: Event) -> Bool { left.id == right.id }
    package func hash(into hasher: inout Hasher) { hasher.combine(id) }
}

/// A line with places for fields, `"@STATUS@ after @DURATION_US@ us"`, cut into its pieces once.
package struct MessageTemplate: Sendable, ExpressibleByStringLiteral {
    private enum Piece: Sendable {
        case text(String)
        case field(String)
    }

    private let pieces: [Piece]
    /// The template as written, with its `@FIELD@` places; the journal's catalog knows the same notation.
    package let source: String

    package init(stringLiteral value: String) { self.init(value) }

    package init(_ value: String) {
        source = value
        var pieces: [Piece] = []
        var isField = false
        for part in value.split(separator: "@", omittingEmptySubsequences: false) {
            if !part.isEmpty { pieces.append(isField ? .field(String(part)) : .text(String(part))) }
            isField.toggle()
        }
        self.pieces = pieces
    }

    /// Names of the fields that the line shows.
    package var fieldNames: [String] {
        pieces.compactMap { if case .field(let name) = $0 { name } else { nil } }
    }

    package func shows(_ field: LogField) -> Bool {
        pieces.contains { if case .field(let name) = $0 { name == field.name } else { false } }
    }

    /// The line with the values put in; a field that is absent shows as `-`.
    package func text(_ fields: LogFields) -> String {
        var text = ""
        text.reserveCapacity(96)
        for piece in pieces {
            switch piece {
            case .text(let literal): text += literal
            case .field(let name): text += fields.entries.first { $0.field.name == name }?.value.text ?? "-"
            }
        }
        return text
    }
}

/// Where declared events go: the journal or the terminal when a service runs, an array in a test.
///
/// Called from any thread; an implementation may block for one system call, no longer.
package protocol EventRecorder: Sendable {
    /// Whether records of this severity are kept; asked before any field is made.
    func isRecorded(_ severity: Severity) -> Bool
    func write(_ event: Event, _ fields: LogFields)
    /// What is recorded within `body` may be kept together, at the latest when it returns; `body` must not block.
    func together<Result>(_ body: () -> Result) -> Result
}

extension EventRecorder {
    package func together<Result>(_ body: () -> Result) -> Result { body() }

    /// Records the event; the fields are only evaluated when its severity is kept.
    package func record(_ event: Event, _ fields: @autoclosure () -> LogFields = [:]) {
        guard isRecorded(event.severity) else { return }
        write(event, fields())
    }
}
