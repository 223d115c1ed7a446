/// What a client does about ML-KEM-768 when it opens a session (docs/post-quantum.md).
package enum PostQuantumUse: String, Sendable, CaseIterable {
    /// Not offered.
    case off
    /// Offered; a KMS without it opens the session all the same.
    case preferred = "prefer"
    /// Offered; a session without it is refused.
    case required = "require"
}
