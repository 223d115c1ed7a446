package import Diagnostics
import LinkProtocol
import TLSChannel
import WireText

extension DiagnosedError.Code {
    /// The core does not take the service's token.
    package static let linkTokenRefused: Self = "link-token-refused"
    /// The core does not let this service answer for this organisation and destination.
    package static let linkNotAllowed: Self = "link-not-allowed"
    /// Another process links under the same node name.
    package static let linkReplaced: Self = "link-replaced"
    /// The core has seen a higher epoch of this destination.
    package static let linkSuperseded: Self = "link-superseded"
    /// The core does not take this node: its list of nodes does not have it, or not its key.
    package static let linkNotListed: Self = "link-not-listed"
    /// An operator has drained this node.
    package static let linkDrained: Self = "link-drained"
    package static let linkTooMany: Self = "link-too-many"
    /// The core went away; it is expected back.
    package static let linkGoingAway: Self = "link-going-away"
    /// The core failed or closed for a reason of its own.
    package static let linkClosed: Self = "link-closed"
    /// The core did not prove itself although TLS is inspected: the same as a certificate that is not the pinned one.
    package static let linkUnproven: Self = "link-unproven"
    /// No token could be had from the authorization service.
    package static let linkNoToken: Self = "link-no-token"
}

extension DiagnosedError {
    /// What a close code of the core means to an administrator.
    static func linkClosed(_ code: LinkCloseCode, reason: String) -> DiagnosedError {
        let found = reason.isEmpty ? code.description : "\(code.rawValue) \(printable(reason))"
        switch code {
        case .done, .goingAway:
            return DiagnosedError(.linkGoingAway, fault: .peer, "the core went away", found: found)
        case .protocolViolated:
            return DiagnosedError(
                .linkViolation, fault: .peer, "the core closed for a violation of the link protocol", found: found,
                hint: "check that the service and the core are of the same or neighbouring releases")
        case .tokenRefused: return linkTokenRefused(found: found)
        case .notAllowed:
            return DiagnosedError(
                .linkNotAllowed, fault: .configuration, "the core does not accept this service here", found: found,
                hint: "compare organisation and host in the service's configuration with those of the core")
        case .replaced:
            return DiagnosedError(
                .linkReplaced, fault: .configuration, "a newer link of the same node took over", found: found,
                hint: "give every node a name of its own, and look for a second process of this node")
        case .superseded:
            return DiagnosedError(
                .linkSuperseded, fault: .configuration, "the core has seen a higher epoch than this node's",
                found: found,
                hint: "another database was promoted: this one must not be served from any more (hdsctl failover plan)")
        case .notListed:
            return DiagnosedError(
                .linkNotListed, fault: .configuration, "the core does not take this node",
                expected: "a node of the list that an officer signed, with its key", found: found,
                hint: "see hdsctl node list: an officer puts a node on the list with hdsctl node approve")
        case .tooManyLinks:
            return DiagnosedError(
                .linkTooMany, fault: .peer, "the core has too many links of this service", found: found,
                hint: "look for nodes that should not run")
        default:
            return DiagnosedError(.linkClosed, fault: .peer, "the core closed the link", found: found)
        }
    }

    /// Under an inspection only the core's own signature tells it from whoever inspects.
    static func linkUnproven(_ inspection: TLSInspection.Seen?, found: String) -> DiagnosedError {
        DiagnosedError(
            .linkUnproven, fault: .peer,
            "TLS is inspected by \(inspection?.name ?? "somebody"), and the core did not prove itself",
            expected: "a welcome that the key of core.inspection.core-key has signed", found: found,
            hint:
                "compare that key with the one that the core's operator publishes by another way; without it nobody can "
                + "tell the core from somebody between")
    }

    static func linkInspectionOver(_ inspection: TLSInspection.Seen) -> DiagnosedError {
        DiagnosedError(
            .tlsInspectionOver, fault: .configuration,
            "TLS is inspected by \(inspection.name), and the exception for it is over",
            expected: "the core itself since \(inspection.until.iso8601)",
            hint: "let the device pass this connection without inspection, or decide anew for core.inspection")
    }

    static let linkDrained = DiagnosedError(
        .linkDrained, fault: .configuration, "this node is drained: it takes nothing new",
        hint: "hdsctl node drain NAME --end lets it work again")

    static func linkTokenRefused(found: String) -> DiagnosedError {
        DiagnosedError(
            .linkTokenRefused, fault: .peer, "the core refused the service's token", found: found,
            hint: "check that the core trusts this authorization service and that both clocks are right")
    }

    /// What the service itself diagnosed stays as it is.
    static func linkHasNoToken(_ error: any Error) -> DiagnosedError {
        error as? DiagnosedError
            ?? DiagnosedError(
                .linkNoToken, fault: .peer, "no token for the link could be had",
                found: "an error of type \(type(of: error))",
                hint: "check that the authorization service runs and knows this service's credentials")
    }

    /// The core's words stand in logs: plain characters only, and not many.
    private static func printable(_ text: String) -> String {
        String(decoding: text.utf8.prefix(123).filter { (0x20...0x7e).contains($0) }, as: UTF8.self)
    }
}
