import Diagnostics
package import WireText

/// One step of a setup, as it was found or done.
package struct SetupLine: Sendable, Hashable {
    package enum State: String, Sendable, CaseIterable {
        /// As it has to be; nothing was done.
        case there
        case made
        /// Of a dry run.
        case would
        /// Works, and somebody should look.
        case warn
        /// Somebody else has to do something first.
        case missing
    }

    package let step: String
    package let state: State
    package let text: String
    /// What to do.
    package let fix: String?

    package init(_ step: String, _ state: State, _ text: String, fix: String? = nil) {
        (self.step, self.state, self.text, self.fix) = (step, state, text, fix)
    }

    init(_ step: String, missing error: any Error) {
        guard let error = error as? DiagnosedError else {
            self.init(step, .missing, Loggable(error: error).text)
            return
        }
        var text = error.summary
        if let expected = error.expected { text += "; expected \(expected)" }
        if let found = error.found { text += "; found \(found)" }
        self.init(step, .missing, text, fix: error.hint)
    }

    package func write(to json: inout JSONWriter) {
        json.beginObject()
        json.member("step", step)
        json.member("state", state.rawValue)
        json.member("text", text)
        json.member("fix", ifPresent: fix)
        json.endObject()
    }
}

/// How a setup ended.
package enum SetupEnd: String, Sendable, CaseIterable {
    /// The service runs, and nothing is in its way.
    case ready
    /// All is there; nothing was to be started.
    case prepared
    /// Something has to be done first; then the same command again.
    case missing
}
