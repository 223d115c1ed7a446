package import SignedPolicy
package import WireText

/// One thing that was taken away and must not come back with an older copy of the key store (security model, rule 20).
///
/// It names records by their ids, which are random and never used again, and an erased person by the pseudonym of the
/// audit trail. So the order in which they are done again does not matter, nor how often, nor which node wrote them:
/// an authorization, a space or a key that ended never lives again under its id, and a freeze that was lifted never
/// stands again. A space may be held, let go and held again: of holds the last one by its time counts.
package enum Removal: Sendable, Equatable {
    case authorization(id: String, resource: String, at: Timestamp)
    /// A member deleted the space.
    case resource(id: String, at: Timestamp)
    /// A space with all its keys, destroyed. `keys`: those bound last, which an older copy may have as unbound ones.
    case erasedResource(id: String, keys: [String])
    case erasedKey(id: String)
    /// By the pseudonym; what was made later belongs to somebody else who has the id.
    case erasedUser(pseudonym: String, at: Timestamp)
    case freeze(Freeze)
    case liftedFreeze(id: String)
    /// The signed policy that took effect: an older one may grant what this one took away.
    case policy(PolicyHolder.Seen)
    /// A destroyed version of the root key.
    case rootKey(version: Int64)
    /// A space that must not be erased: without it the next erasure takes what somebody has to keep.
    case hold(resource: String, reason: String, at: Timestamp)
    case liftedHold(resource: String, at: Timestamp)
    /// A signature of an officer that was used and counts once.
    case nonce(OfficerDesk.Nonce)

    /// What is counted together.
    package enum Kind: String, Sendable, CaseIterable, Comparable {
        case authorizations, spaces, erasedSpaces, erasedKeys, erasedUsers, freezes, liftedFreezes, policies, rootKeys
        case holds, liftedHolds, nonces

        package static func < (one: Kind, other: Kind) -> Bool {
            let all = allCases
            return (all.firstIndex(of: one) ?? 0) < (all.firstIndex(of: other) ?? 0)
        }

        package var words: String {
            switch self {
            case .authorizations: "members removed"
            case .spaces: "spaces deleted"
            case .erasedSpaces: "spaces erased"
            case .erasedKeys: "keys erased"
            case .erasedUsers: "persons erased"
            case .freezes: "freezes ordered"
            case .liftedFreezes: "freezes lifted"
            case .policies: "policies in force"
            case .rootKeys: "root keys destroyed"
            case .holds: "spaces held"
            case .liftedHolds: "holds ended"
            case .nonces: "officers' signatures used"
            }
        }
    }

    package var kind: Kind {
        switch self {
        case .authorization: .authorizations
        case .resource: .spaces
        case .erasedResource: .erasedSpaces
        case .erasedKey: .erasedKeys
        case .erasedUser: .erasedUsers
        case .freeze: .freezes
        case .liftedFreeze: .liftedFreezes
        case .policy: .policies
        case .rootKey: .rootKeys
        case .hold: .holds
        case .liftedHold: .liftedHolds
        case .nonce: .nonces
        }
    }

    /// What it is about: an id, a pseudonym or a version.
    package var name: String {
        switch self {
        case .authorization(let id, _, _), .resource(let id, _), .erasedResource(let id, _), .erasedKey(let id),
            .liftedFreeze(let id), .hold(let id, _, _), .liftedHold(let id, _):
            id
        case .erasedUser(let pseudonym, _): pseudonym
        case .freeze(let freeze): freeze.id
        case .policy(let seen): "version \(seen.version)"
        case .rootKey(let version): "version \(version)"
        case .nonce(let nonce): nonce.value
        }
    }

    /// Whether it allows something: then it is written down behind its commit, for what was not done must not be done by
    /// a restore. Everything else is written down before it.
    package var isLoosening: Bool { kind == .liftedFreezes || kind == .liftedHolds }
}

// How removals lie sealed in the journal.
extension Removal {
    private static let format: UInt8 = 1
    private static let maximum: Int64 = 1_000_000

    package static func encode(_ removals: [Removal]) -> [UInt8] {
        var fields = FieldWriter(format: format)
        fields.field(Int64(removals.count))
        for removal in removals { removal.write(to: &fields) }
        return fields.withUnsafeBytes { Array($0) }
    }

    /// Nil when these octets are none of this form.
    package static func decode(_ bytes: UnsafeRawBufferPointer) -> [Removal]? {
        guard var fields = FieldReader(bytes, format: format), let count = fields.number(),
            (0...maximum).contains(count)
        else { return nil }
        var removals: [Removal] = []
        for _ in 0..<count {
            guard let removal = Removal(&fields) else { return nil }
            removals.append(removal)
        }
        return fields.isAtEnd ? removals : nil
    }

    private func write(to fields: inout FieldWriter) {
        switch self {
        case .authorization(let id, let resource, let at):
            fields.field(Int64(1))
            fields.field(id)
            fields.field(resource)
            fields.field(at)
        case .resource(let id, let at):
            fields.field(Int64(2))
            fields.field(id)
            fields.field(at)
        case .erasedResource(let id, let keys):
            fields.field(Int64(3))
            fields.field(id)
            fields.field(Int64(keys.count))
            for key in keys { fields.field(key) }
        case .erasedKey(let id):
            fields.field(Int64(4))
            fields.field(id)
        case .erasedUser(let pseudonym, let at):
            fields.field(Int64(5))
            fields.field(pseudonym)
            fields.field(at)
        case .freeze(let freeze):
            fields.field(Int64(6))
            freeze.write(to: &fields)
        case .liftedFreeze(let id):
            fields.field(Int64(7))
            fields.field(id)
        case .policy(let seen):
            fields.field(Int64(8))
            fields.field(Int64(seen.version))
            seen.digest.withUnsafeBytes { fields.field($0) }
        case .rootKey(let version):
            fields.field(Int64(9))
            fields.field(version)
        case .hold(let resource, let reason, let at):
            fields.field(Int64(10))
            fields.field(resource)
            fields.field(reason)
            fields.field(at)
        case .liftedHold(let resource, let at):
            fields.field(Int64(11))
            fields.field(resource)
            fields.field(at)
        case .nonce(let nonce):
            fields.field(Int64(12))
            fields.field(nonce.value)
            fields.field(nonce.until)
        }
    }

    private init?(_ fields: inout FieldReader) {
        switch fields.number() {
        case 1:
            guard let id = fields.text(), let resource = fields.text(), let at = fields.time() else { return nil }
            self = .authorization(id: id, resource: resource, at: at)
        case 2:
            guard let id = fields.text(), let at = fields.time() else { return nil }
            self = .resource(id: id, at: at)
        case 3:
            guard let id = fields.text(), let count = fields.number(), (0...Self.maximum).contains(count) else {
                return nil
            }
            var keys: [String] = []
            for _ in 0..<count {
                guard let key = fields.text() else { return nil }
                keys.append(key)
            }
            self = .erasedResource(id: id, keys: keys)
        case 4:
            guard let id = fields.text() else { return nil }
            self = .erasedKey(id: id)
        case 5:
            guard let pseudonym = fields.text(), let at = fields.time() else { return nil }
            self = .erasedUser(pseudonym: pseudonym, at: at)
        case 6:
            guard let freeze = Freeze(&fields) else { return nil }
            self = .freeze(freeze)
        case 7:
            guard let id = fields.text() else { return nil }
            self = .liftedFreeze(id: id)
        case 8:
            guard let version = fields.number(), let digest = fields.octets() else { return nil }
            self = .policy(PolicyHolder.Seen(version: Int(version), digest: Array(digest)))
        case 9:
            guard let version = fields.number() else { return nil }
            self = .rootKey(version: version)
        case 10:
            guard let resource = fields.text(), let reason = fields.text(), let at = fields.time() else { return nil }
            self = .hold(resource: resource, reason: reason, at: at)
        case 11:
            guard let resource = fields.text(), let at = fields.time() else { return nil }
            self = .liftedHold(resource: resource, at: at)
        case 12:
            guard let value = fields.text(), let until = fields.time() else { return nil }
            self = .nonce(OfficerDesk.Nonce(value: value, until: until))
        default: return nil
        }
    }
}
