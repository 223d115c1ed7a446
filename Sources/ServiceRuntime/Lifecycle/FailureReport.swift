import Diagnostics
import Glibc

/// Tells why a service can not start or go on, once: as a block to read, or as a record of the journal.
struct FailureReport: Sendable {
    private let identity: ServiceIdentity
    private let log: LogSystem
    private var name: Loggable { Loggable(reviewed: identity.name) }

    init(_ identity: ServiceIdentity, _ log: LogSystem) {
        self.identity = identity
        self.log = log
    }

    /// The service did not come up.
    func tellStart(_ error: any Error) -> ExitCode {
        let code = ExitCode(error)
        if log.isText {
            Self.print(block(error, code))
        } else if let error = error as? ConfigurationError {
            log.events.record(
                .configurationRefused, [.file: Loggable(reviewed: error.file), .reason: Self.reason(error)])
        } else {
            log.events.record(.startFailed, fields(error))
        }
        return code
    }

    /// The service had worked.
    func tellEnd(_ error: any Error) -> ExitCode {
        log.events.record(.serviceFailed, fields(error))
        return ExitCode(error)
    }

    static func reason(_ error: any Error) -> Loggable {
        // Problems of a configuration quote the file, in which no secret may stand.
        if let error = error as? ConfigurationError { return Loggable(reviewed: error.description) }
        return Loggable(error: error)
    }

    private func fields(_ error: any Error) -> LogFields {
        let diagnosed = error as? DiagnosedError
        return [
            .service: name, .reason: Self.reason(error),
            .errorCode: diagnosed.map { Loggable(reviewed: $0.code.rawValue) },
            .fault: diagnosed.map { Loggable(reviewed: $0.fault.rawValue) },
        ]
    }

    private func block(_ error: any Error, _ code: ExitCode) -> String {
        var text = "\(identity.name) can not start.\n"
        if let diagnosed = error as? DiagnosedError {
            text += "  \(diagnosed.summary)\n"
            if let expected = diagnosed.expected { text += "      expected: \(expected)\n" }
            if let found = diagnosed.found { text += "      found:    \(found)\n" }
            if let hint = diagnosed.hint { text += "      to do:    \(hint)\n" }
            text += "  [\(diagnosed.code.rawValue), exit code \(code.rawValue)]\n"
        } else {
            text += "  \(Self.reason(error).text)\n  [exit code \(code.rawValue)]\n"
        }
        return text
    }

    private static func print(_ text: String) {
        var rest = Array(text.utf8)[...]
        while !rest.isEmpty {
            let written = rest.withUnsafeBytes { write(STDERR_FILENO, $0.baseAddress, $0.count) }
            if written < 0, errno == EINTR { continue }
            guard written > 0 else { return }
            rest = rest.dropFirst(written)
        }
    }
}
