import Diagnostics
import HTTPClient
import WireText

/// Turns failures of HTTP into errors that say whether sending again can help: `cloud-unavailable` means it can.
enum CloudError {
    private static let passingCodes: Set<DiagnosedError.Code> = [
        .httpConnectFailed, .httpTimeout, .httpConnectionLost,
    ]

    static func passing(_ error: DiagnosedError, server: String) -> DiagnosedError {
        guard passingCodes.contains(error.code) else { return error }
        return DiagnosedError(
            .cloudUnavailable, fault: .peer, "\(server) can not be reached: \(error.summary)", found: error.found,
            hint: "is the network there? try again in a moment")
    }

    /// The error for an answer that is no success.
    static func refusal(_ response: WebResponse, _ what: String) -> DiagnosedError {
        let message = (try? JSONDocument(response.body, limits: .init(maximumDepth: 6, maximumNodes: 200)).root)?[
            "message"]?
            .string?.loggable
        let found = "status \(response.status)" + (message.map { ": \($0)" } ?? "")
        switch response.status {
        case 401:
            return DiagnosedError(
                .notLoggedIn, fault: .client, "the core does not take your login any more", hint: "log in again")
        case 403: return DiagnosedError(.cloudForbidden, fault: .client, "the core refused to \(what)", found: found)
        case 404: return DiagnosedError(.cloudNotFound, fault: .client, "the core could not \(what)", found: found)
        case 429, 502, 503, 504:
            return DiagnosedError(
                .cloudUnavailable, fault: .peer, "the core could not \(what) now", found: found,
                hint: "try again in a moment")
        default: return DiagnosedError(.cloudRefused, fault: .peer, "the core did not \(what)", found: found)
        }
    }

    static func malformed(_ what: String) -> DiagnosedError {
        DiagnosedError(.cloudAnswer, fault: .peer, "the core's answer is malformed", expected: what)
    }
}
