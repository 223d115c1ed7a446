package import WireText

/// A new node on its way into the cluster: what both sides leave in the database for each other, outside of everything that
/// is sealed, for a new machine has nothing to open a seal with (docs/cluster.md). What counts is proved by the one-time
/// code, which is not in it.
package struct NodeInvitation: Sendable, Equatable {
    /// What a new machine leaves: its public key, and a code over it that only who has the one-time code can make.
    package struct Request: Sendable, Equatable {
        package var publicKey: [UInt8]
        package var code: [UInt8]

        package init(publicKey: [UInt8], code: [UInt8]) {
            (self.publicKey, self.code) = (publicKey, code)
        }
    }

    package var node: String
    /// The key that codes are checked with, sealed; empty as soon as there is an answer.
    package var sealed: [UInt8]
    /// Shows the new machine whether the one-time code was typed right, and tells nothing of it.
    package var check: [UInt8]
    package var expires: Timestamp
    package var request: Request?
    /// What a node that is there answered.
    package var answer: [UInt8]?

    package init(
        node: String, sealed: [UInt8], check: [UInt8], expires: Timestamp, request: Request? = nil,
        answer: [UInt8]? = nil
    ) {
        (self.node, self.sealed, self.check, self.expires) = (node, sealed, check, expires)
        (self.request, self.answer) = (request, answer)
    }
}
