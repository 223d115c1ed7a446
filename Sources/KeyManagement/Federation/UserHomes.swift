import Diagnostics
import Introspection
import KeyStore
import MasterKey
import SecretMemory
import WireText

/// Where a user id is at home, as this KMS has bound it: durable, sealed, found by a blind index.
enum UserHome: Sendable, Equatable {
    /// Users whom an own issuer's token let open a session here, and the domain that their tokens named last.
    case own(domain: String?)
    /// The partner, by its host, for which keys were released to that user first.
    case partner(String)
    /// More than one partner has claimed it.
    case contested([String])

    var isOwn: Bool {
        if case .own = self { true } else { false }
    }
}

/// Binds user ids to their homes (security model, rule 16: "bound on the customer's side, refused when two claim one").
///
/// One setting of the store per user, replaced only by the value that was read before. Own users are noted with the
/// session that they open, in its commit; a partner's with the first release. The own organisation's word counts most:
/// an own user takes an id back from whoever claimed it, and the observer is told.
struct UserHomes: Sendable {
    private static let format: UInt8 = 1

    let store: any KeyStore
    let ring: SealRing
    /// Users who are known to be own, which never changes, with their domain.
    private let own = TwoGenerationCache<String, String?>(capacity: 50_000)

    init(store: any KeyStore, ring: SealRing) {
        self.store = store
        self.ring = ring
    }

    func home(of user: String) async throws -> UserHome? {
        let user = user.canonicalAuthID
        if let domain = own[user] { return .own(domain: domain) }
        let home = try await read(user).home
        if case .own(let domain) = home { own[user] = domain }
        return home
    }

    /// The domain of an own user, by the token with which the last session was opened that named one; from the store, as
    /// another node may have opened it.
    func domain(ofOwn user: String) async throws -> String? {
        guard case .own(let domain) = try await read(user.canonicalAuthID).home else { return nil }
        return domain
    }

    /// Puts into a change that the user is an own one, of this domain where that is told, unless that is known; the
    /// partners that had claimed the id.
    func noteOwn(_ user: String, domain: String?, in change: inout StoreChange) async throws -> [String] {
        let user = user.canonicalAuthID
        if let known = own[user], domain == nil || known == domain { return [] }
        let (home, value) = try await read(user)
        if case .own(let known) = home, domain == nil || known == domain {
            own[user] = known
            return []
        }
        // Until it is read again: the change may not be committed.
        own[user] = nil
        try put(.own(domain: domain), user, replacing: value, &change)
        switch home {
        case .partner(let host): return [host]
        case .contested(let hosts): return hosts
        case .own, nil: return []
        }
    }

    enum Claim: Sendable, Equatable {
        case granted
        case ownUser
        /// All who claim it.
        case contested([String])
    }

    /// Binds the user to the partner, or says why not. `isDecided`: the administrator has listed the user for this
    /// partner, which settles what partners have claimed before.
    func claim(_ user: String, for host: String, isDecided: Bool) async throws -> Claim {
        let user = user.canonicalAuthID
        for _ in 0..<8 {
            let (home, value) = try await read(user)
            var claimants: [String] = []
            switch home {
            case .own: return .ownUser
            case .partner(host): return .granted
            case .partner(let other): claimants = [other, host]
            case .contested(let hosts): claimants = hosts.contains(host) ? hosts : hosts + [host]
            case nil: break
            }
            let isGranted = home == nil || isDecided
            let next = isGranted ? UserHome.partner(host) : .contested(claimants.sorted())
            if next != home {
                var change = StoreChange()
                try put(next, user, replacing: value, &change)
                guard try await store.commit(change) == .committed else { continue }
            }
            return isGranted ? .granted : .contested(claimants.sorted())
        }
        throw DiagnosedError(
            .storeBusy, fault: .store, "the home of a user could not be bound", hint: "the partner asks again")
    }

    // MARK: The setting

    private func name(_ user: String) -> String {
        "user-home/" + Hexadecimal.encode(ring.lookup(user, purpose: "user-home"))
    }

    private func read(_ user: String) async throws -> (home: UserHome?, value: [UInt8]?) {
        let name = name(user)
        guard let value = try await store.setting(name) else { return (nil, nil) }
        let plain = try ring.open(value, kind: .setting, id: name, version: 1)
        return (try plain.withUnsafeBytes { try Self.decode($0, user) }, value)
    }

    private func put(_ home: UserHome, _ user: String, replacing value: [UInt8]?, _ change: inout StoreChange) throws {
        let name = name(user)
        var fields = FieldWriter(format: Self.format)
        fields.field(user)
        switch home {
        case .own(let domain):
            fields.field(Int64(0))
            if let domain { fields.field(domain) }
        case .partner(let host):
            fields.field(Int64(1))
            fields.field(host)
        case .contested(let hosts):
            fields.field(Int64(2))
            fields.field(hosts.joined(separator: " "))
        }
        let sealed = try fields.withUnsafeBytes { try ring.seal($0, kind: .setting, id: name, version: 1) }
        change.expectations.append(.setting(name: name, value: value))
        change.writes.append(.putSetting(name: name, value: sealed))
    }

    private static func decode(_ bytes: UnsafeRawBufferPointer, _ user: String) throws -> UserHome {
        guard var fields = FieldReader(bytes, format: format), fields.text() == user, let kind = fields.number() else {
            throw forged
        }
        let home: UserHome
        switch kind {
        // Earlier releases told no domain.
        case 0 where fields.isAtEnd: home = .own(domain: nil)
        case 0:
            guard let domain = fields.text() else { throw forged }
            home = .own(domain: domain)
        case 1:
            guard let host = fields.text() else { throw forged }
            home = .partner(host)
        case 2:
            guard let hosts = fields.text() else { throw forged }
            home = .contested(hosts.split(separator: " ").map(String.init))
        default: throw forged
        }
        guard fields.isAtEnd else { throw forged }
        return home
    }

    private static let forged = DiagnosedError(
        .forgedRecord, fault: .store, "the binding of a user to its home is not what this KMS wrote",
        hint: "somebody changed the database; find out who has write access")
}
