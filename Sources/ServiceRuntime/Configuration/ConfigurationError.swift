package import Diagnostics

/// Why a configuration file is refused: every fault found in it, each by path and line.
///
/// All faults of one reading are told at once, so that an administrator corrects the file once. Safe to log and to
/// show: values of the file are quoted, and secrets never stand in it (only paths to them).
package struct ConfigurationError: Error, Sendable, CustomStringConvertible {
    package struct Problem: Sendable, Hashable {
        /// Where in the structure, such as `runtime.health.address` or `issuers[0].url`; empty for the whole file.
        package let path: String
        package let line: Int?
        /// What is wrong, in a few words.
        package let summary: String
        package let expected: String?
        package let found: String?
        package let hint: String?

        package init(
            path: String = "", line: Int? = nil, _ summary: String, expected: String? = nil, found: String? = nil,
            hint: String? = nil
        ) {
            self.path = path
            self.line = line
            self.summary = summary
            self.expected = expected
            self.found = found
            self.hint = hint
        }
    }

    package let file: String
    /// In the order of their lines; never empty.
    package let problems: [Problem]

    init(file: String, problems: [Problem]) {
        self.file = file
        self.problems = problems.sorted { ($0.line ?? 0, $0.path) < ($1.line ?? 0, $1.path) }
    }

    /// One block to read in a terminal.
    package var description: String {
        var text = "\(file): "
        text += problems.count == 1 ? "1 problem" : "\(problems.count) problems"
        for problem in problems {
            text += "\n  "
            if let line = problem.line { text += "line \(line): " }
            if !problem.path.isEmpty { text += "\(problem.path): " }
            text += problem.summary
            if let expected = problem.expected { text += "\n      expected: \(expected)" }
            if let found = problem.found { text += "\n      found:    \(found)" }
            if let hint = problem.hint { text += "\n      to do:    \(hint)" }
        }
        return text
    }

    /// The first problem as the project's error, for callers that tell one thing.
    package var diagnosed: DiagnosedError {
        let first = problems[0]
        var summary = file
        if let line = first.line { summary += " line \(line)" }
        if !first.path.isEmpty { summary += " \(first.path)" }
        return DiagnosedError(
            .configurationRefused, fault: .configuration, "\(summary): \(first.summary)", expected: first.expected,
            found: first.found, hint: first.hint)
    }
}

extension DiagnosedError.Code {
    /// A configuration file can not be used.
    package static let configurationRefused: Self = "configuration-refused"
}
