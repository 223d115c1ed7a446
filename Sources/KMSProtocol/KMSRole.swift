/// Roles of an access list's entries. They are URIs; the one whose last path segment is `moderator` is enforced, others are kept
/// and shown (docs/kms-extensions.md, Roles).
package enum KMSRole {
    package static func isModerator(_ role: String?) -> Bool {
        role?.split(separator: "/", omittingEmptySubsequences: false).last?.lowercased() == "moderator"
    }

    /// What our own client gives.
    package static func uri(isModerator: Bool, host: String) -> String {
        "kms://\(host)/roles/\(isModerator ? "moderator" : "member")"
    }
}
