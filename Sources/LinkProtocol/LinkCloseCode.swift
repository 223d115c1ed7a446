/// Why a link was closed: the WebSocket close code, which tells the other side what to do (docs/link-protocol.md).
package struct LinkCloseCode: RawRepresentable, Hashable, Sendable, CustomStringConvertible {
    package let rawValue: UInt16
    package init(rawValue: UInt16) { self.rawValue = rawValue }

    package static let done = Self(rawValue: 1000)
    /// Drain or restart: connect again.
    package static let goingAway = Self(rawValue: 1001)
    /// Connect again with back-off.
    package static let internalError = Self(rawValue: 1011)
    /// Do not connect again before the fault is mended.
    package static let protocolViolated = Self(rawValue: 4400)
    /// Fetch a new token.
    package static let tokenRefused = Self(rawValue: 4401)
    /// The organisation or destination is not this service's.
    package static let notAllowed = Self(rawValue: 4403)
    /// A newer link of the same node took over.
    package static let replaced = Self(rawValue: 4409)
    /// The destination is in a higher epoch: another database was promoted. Do not connect again before an administrator
    /// has looked, or the epoch has risen here, too.
    package static let superseded = Self(rawValue: 4410)
    /// The node is not on the list of nodes, was removed, or did not prove its key (docs/cluster.md). Do not connect again
    /// before the list or the node has changed.
    package static let notListed = Self(rawValue: 4411)
    package static let tooManyLinks = Self(rawValue: 4429)

    package var description: String {
        switch self {
        case .done: "1000 done"
        case .goingAway: "1001 going away"
        case .internalError: "1011 internal error"
        case .protocolViolated: "4400 protocol violated"
        case .tokenRefused: "4401 token refused"
        case .notAllowed: "4403 not allowed for this destination"
        case .replaced: "4409 replaced by a newer link of the same node"
        case .superseded: "4410 superseded by a higher epoch"
        case .notListed: "4411 not on the list of nodes"
        case .tooManyLinks: "4429 too many links"
        default: "\(rawValue)"
        }
    }
}
