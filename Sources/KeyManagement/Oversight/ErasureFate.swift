import KeyStore
import WireText

/// What becomes of one space when a person is erased (security model, rule 23).
///
/// 1. A space on whose list the person never stood, and which the person did not make, is none of it.
/// 2. A space that is held stays as it is, with all that names the person.
/// 3. Where nobody else can read, the space is destroyed with its keys. Of a deleted one the list counts as it was when
///    it was deleted. Where nobody at all can read, it is destroyed only if nobody else ever stood on its list.
/// 4. Elsewhere the keys belong to the others: the person's entries end, and everything that names the person is redacted.
enum ErasureFate: Sendable, Equatable {
    case untouched, held, destroyed, redacted

    static func judge(
        _ head: ResourceContent, list: [(row: AuthorizationRecord, content: AuthorizationContent)], of user: String,
        isHeld: Bool, now: Timestamp
    ) -> ErasureFate {
        func isOwn(_ content: AuthorizationContent) -> Bool { content.authID.canonicalAuthID == user }
        guard head.creator.canonicalAuthID == user || list.contains(where: { isOwn($0.content) }) else {
            return .untouched
        }
        if isHeld { return .held }
        let readers = list.map(\.content).filter { content in
            guard let deleted = head.deletedAt else { return !head.isGone(now) && content.isLive(now) }
            return content.removedAt == deleted
        }
        if readers.isEmpty { return list.allSatisfy { isOwn($0.content) } ? .destroyed : .redacted }
        return readers.allSatisfy(isOwn) ? .destroyed : .redacted
    }
}
