import Diagnostics

/// One record on its way to the journal or the terminal.
struct LogRecord {
    struct Field {
        /// As the journal takes it, see `FieldName`.
        let name: String
        let value: String
        /// Set when the message already shows it, so that a line of text does not show it twice.
        var isInMessage = false
    }

    struct Origin {
        let file: String
        let function: String
        let line: UInt
    }

    let severity: Severity
    /// The part of the program, such as `hds-kms.link`.
    let logger: String
    let message: String
    var messageID: String?
    var fields: [Field] = []
    var origin: Origin?
}

/// Where records go. Called from any thread; blocks for one system call at most.
protocol LogSink: Sendable {
    func write(_ record: LogRecord)
    /// As `EventRecorder.together`.
    func together<Result>(_ body: () -> Result) -> Result
}

extension LogSink {
    func together<Result>(_ body: () -> Result) -> Result { body() }
}

/// Makes the names of fields such that journald keeps them: it drops every other field without a word.
enum FieldName {
    static let maximumLength = 64
    /// Set by the sinks themselves.
    private static let reserved: Set<String> = [
        "MESSAGE", "MESSAGE_ID", "PRIORITY", "SYSLOG_IDENTIFIER", "LOGGER", "CODE_FILE", "CODE_LINE", "CODE_FUNC",
    ]

    /// Upper case letters, digits and underscores, a letter first, at most 64; other characters become underscores.
    static func journal(_ key: String) -> String {
        if isValid(key), !reserved.contains(key) { return key }
        var name: [UInt8] = []
        for byte in key.utf8.prefix(maximumLength - 2) {
            switch byte {
            case UInt8(ascii: "a")...UInt8(ascii: "z"): name.append(byte - 0x20)
            case UInt8(ascii: "A")...UInt8(ascii: "Z"), UInt8(ascii: "0")...UInt8(ascii: "9"): name.append(byte)
            default: name.append(UInt8(ascii: "_"))
            }
        }
        let text = String(decoding: name, as: UTF8.self)
        return isValid(text) && !reserved.contains(text) ? text : "X_" + text
    }

    static func isValid(_ name: String) -> Bool {
        guard let first = name.utf8.first, name.utf8.count <= maximumLength else { return false }
        return (UInt8(ascii: "A")...UInt8(ascii: "Z")).contains(first)
            && name.utf8.allSatisfy {
                switch $0 {
                case UInt8(ascii: "A")...UInt8(ascii: "Z"), UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "_"):
                    true
                default: false
                }
            }
    }
}
