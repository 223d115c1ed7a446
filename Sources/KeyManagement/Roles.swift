import KMSProtocol

/// Rules of roles on a resource (security model, rule 13):
///
/// 1. What a role is, says `KMSRole`.
/// 2. A resource with a moderator is moderated: only moderators add and remove others, give and take roles, and delete
///    it. Whoever is on the list reads, binds keys, and may leave.
/// 3. Without a moderator everybody on the list may do all that, also appoint the first moderator.
/// 4. When the last moderator leaves or is removed, the resource is not moderated any more.
/// 5. `/public` and nested resources only give reading: with the role they moderate nothing, for nobody could act as
///    them, and a resource whose only moderator they were could never be changed again.
/// 6. The signed policy can switch rule 2 off (`moderation: false`).
enum Roles {
    /// Whether an entry counts as a moderator.
    static func moderates(_ entry: AuthorizationContent) -> Bool {
        let onlyReads = entry.authID == KeyManagement.publicAuthID || entry.authID.prefix(6).lowercased() == "kms://"
        return !onlyReads && KMSRole.isModerator(entry.roleURI)
    }

    static func requireManaging(
        _ head: ResourceContent, _ own: AuthorizationContent, _ caller: Caller, _ policy: KMSPolicy, resource: String
    ) throws(KMSFailure) {
        guard !policy.enforcesModeration || head.moderators == 0 || KMSRole.isModerator(own.roleURI) else {
            throw KMSFailure(
                KMSStatus.forbidden, "\(resource) is moderated, and \(caller.effectiveUser) is no moderator of it",
                rule: "not-a-moderator")
        }
    }
}
