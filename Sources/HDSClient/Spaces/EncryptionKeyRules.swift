import Diagnostics
import KMSProtocol
import WireText

/// Which key may encrypt something new for a space. The cloud names a key; these rules are held against the KMS's word:
///
/// 1. The key is bound to the space's own KRO. (Else members of another space could read the message.)
/// 2. The KRO lists it.
/// 3. It is not past the date until which clients encrypt with it.
/// 4. It was bound after the last removal that the KMS tells of.
/// 5. It was not bound yet when this client noticed a removal (for a KMS that does not tell).
///
/// So whoever was removed can read nothing that is written afterwards (security model, "What is promised").
enum EncryptionKeyRules {
    enum Refusal: String, Equatable {
        case otherSpace = "it is bound to another space"
        case notListed = "the KMS does not list it for this space"
        case expired = "it is too old to encrypt with"
        case beforeRemoval = "somebody was removed after it was bound"
    }

    /// What the KMS said about the space's KRO.
    struct Membership: Sendable {
        var resource: KMSResource
        var checked: Timestamp
    }

    static func judge(
        _ key: KMSKey, of membership: Membership, memory: ClientState.SpaceMemory, now: Timestamp
    ) -> Refusal? {
        guard key.resourceURI == membership.resource.uri, let bound = key.bindDate else { return .otherSpace }
        guard membership.resource.keyURIs.contains(key.uri) else { return .notListed }
        guard now < key.expirationDate else { return .expired }
        if let removal = membership.resource.lastRemovalDate {
            return bound > removal ? nil : .beforeRemoval
        }
        return memory.staleKeys.contains(key.uri) ? .beforeRemoval : nil
    }

    /// What to remember after the KMS listed a KRO: an authorization that was there and is gone is a removal, and every
    /// key bound by now may have been bound before it.
    static func memory(_ memory: ClientState.SpaceMemory, after membership: Membership) -> ClientState.SpaceMemory {
        var memory = memory
        let listed = Set(membership.resource.authorizationURIs)
        if !memory.authorizations.isSubset(of: listed) { memory.staleKeys.formUnion(membership.resource.keyURIs) }
        memory.staleKeys.formIntersection(membership.resource.keyURIs)
        memory.authorizations = listed
        return memory
    }
}
