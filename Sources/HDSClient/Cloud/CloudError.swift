import Diagnostics
import HTTPClient
import TLSChannel
import WireText

/// Turns failures of HTTP into errors that say whether sending again can help: `cloud-unavailable` means it can.
enum CloudError {
    private static let passingCodes: Set<DiagnosedError.Code> = [
        .httpConnectFailed, .httpTimeout, .httpConnectionLost, .tlsHandshakeCut, .tlsHandshakeTimeout,
    ]

    static func passing(_ error: DiagnosedError, server: String) -> DiagnosedError {
        guard passingCodes.contains(error.code) else { return error }
        return DiagnosedError(
            .cloudUnavailable, fault: .peer, "\(server) can not be reached: \(error.summary)", found: error.found,
            hint: "is the network there? try again in a moment")
    }

    /// The error for an answer that is no success.
    static func refusal(_ response: WebResponse, _ what: String) -> DiagnosedError {
        let body = try? JSONDocument(response.body, limits: .init(maximumDepth: 6, maximumNodes: 200)).root
        let message = body?["message"]?.string?.loggable
        let found = "status \(response.status)" + (message.map { ": \($0)" } ?? "")
        switch response.status {
        case 401:
            return DiagnosedError(
                .notLoggedIn, fault: .client, "the core does not take your login any more", hint: "log in again")
        case 403:
            return DiagnosedError(
                .cloudForbidden, fault: .client, "the core refused to \(what)", found: found,
                hint: "you may not take part there any more; ask its members or your administrator")
        case 404:
            return DiagnosedError(
                .cloudNotFound, fault: .client, "the core could not \(what)", found: found,
                hint: "it is gone, or was never yours; 'hds spaces' lists what is")
        case 409:
            return DiagnosedError(
                .cloudConflict, fault: .client, "the core did not \(what)", found: found,
                hint: "something else was quicker; look how it stands and begin again")
        case 429, 502, 503, 504:
            return DiagnosedError(
                .cloudUnavailable, fault: .peer, "the core could not \(what) now", found: found,
                hint: wait(response))
        case 500...599:
            let id = (body?["trackingId"]?.string ?? response.header("trackingid"))?.loggable
            return DiagnosedError(
                .cloudRefused, fault: .peer, "the core failed to \(what)", found: found,
                hint: "tell the operator of the core" + (id.map { " the tracking id \($0)" } ?? ""))
        default:
            return DiagnosedError(
                .cloudRefused, fault: .peer, "the core did not \(what)", found: found,
                hint: "is there a newer version of this program?")
        }
    }

    private static func wait(_ response: WebResponse) -> String {
        guard let seconds = response.header("retry-after").flatMap({ UInt16($0) }) else {
            return "try again in a moment"
        }
        return "try again in \(seconds) seconds"
    }

    static func malformed(_ what: String) -> DiagnosedError {
        DiagnosedError(
            .cloudAnswer, fault: .peer, "the core's answer is malformed", expected: what,
            hint: "is something between here and the core? try again, then tell your administrator")
    }
}
