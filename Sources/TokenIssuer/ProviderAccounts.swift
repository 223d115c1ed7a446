import Diagnostics
import WireText

/// Which account is somebody whom a provider vouches for.
///
/// Rules, in this order:
/// 1. A subject that is linked is the account of its link, whatever its address is now. The account has to be there,
///    active, and this provider has to be responsible for its address.
/// 2. Without a link the address decides: the provider has to say one that is its own by the configuration, in ASCII.
/// 3. An account of that address that no subject of this provider is linked with becomes this subject's.
/// 4. An account that another subject is linked with stays that one's: an address that somebody else got later, or that
///    the provider lets people choose, opens nothing.
/// 5. Without an account there is one now, where the configuration says so, else none.
extension AuthorizationService {
    func account(of identity: ProvenIdentity, at provider: IdentityProvider) async throws -> UserAccount {
        let now = surroundings.now()
        if let id = try await grants.linkedUser(provider: provider.name, subject: identity.subject) {
            return try active(accounts.accounts.user(id: id), at: provider)
        }
        guard let text = identity.address else { throw ProviderRefusal(.addressMissing) }
        // Of two letters that look alike, or become one in lower case (K and the Kelvin sign), one is somebody else's.
        guard text.utf8.allSatisfy({ $0 > 0x20 && $0 < 0x7F }) else { throw ProviderRefusal(.addressForeign) }
        let address = Accounts.normalized(text)
        guard provider.isResponsible(for: address), providers.responsible(for: address)?.name == provider.name else {
            throw ProviderRefusal(.addressForeign)
        }
        let outcome: GrantStore.LinkOutcome
        if let user = accounts.accounts.user(email: address) {
            _ = try active(user, at: provider)
            outcome = try await grants.link(
                provider: provider.name, subject: identity.subject, user: user.id, now: now)
            if outcome == .taken { throw ProviderRefusal(.addressTaken, user: user.id) }
        } else {
            guard case .onFirstLogin(let organisation) = provider.newAccounts else {
                throw ProviderRefusal(.accountUnknown)
            }
            let new = UserAccount(
                id: UUIDText.random(), email: address, name: Self.name(identity.name, address),
                organisation: organisation, passwordHash: nil)
            outcome = try await grants.insert(new, provider: provider.name, subject: identity.subject, now: now)
            if outcome == .taken { throw ProviderRefusal(.addressTaken) }
            if outcome == .linked(user: new.id, isNew: true) { accounts.add([new]) }
        }
        guard case .linked(let id, let isNew) = outcome else { throw ProviderRefusal(.addressTaken) }
        if isNew {
            events?.record(
                .providerLinked, [.subject: Self.pseudonym(id), .issuer: Loggable(reviewed: provider.name)])
        }
        return try active(accounts.accounts.user(id: id), at: provider)
    }

    private func active(_ user: UserAccount?, at provider: IdentityProvider) throws -> UserAccount {
        guard let user else { throw ProviderRefusal(.accountUnknown) }
        guard !user.isDisabled else { throw ProviderRefusal(.accountDisabled, user: user.id) }
        guard providers.responsible(for: user.email)?.name == provider.name else {
            throw ProviderRefusal(.addressForeign, user: user.id)
        }
        return user
    }

    /// A name on one line, or the address.
    private static func name(_ text: String?, _ address: String) -> String {
        guard let text, (1...128).contains(text.count),
            text.unicodeScalars.allSatisfy({ $0.value >= 0x20 && $0.value != 0x7F })
        else { return address }
        return text
    }

    // MARK: - What the journal hears

    func recordProvider(_ error: any Error, _ provider: IdentityProvider) {
        metrics.counter(.providerSignIns, [provider.name, "refused"]).increment()
        let name = Loggable(reviewed: provider.name)
        guard let refusal = error as? ProviderRefusal else {
            events?.record(.providerRefused, [.issuer: name, .reason: Loggable(error: error)])
            return
        }
        let subject = refusal.user.map(Self.pseudonym)
        let reason: Loggable = "\(refusal.reason)"
        events?.record(
            refusal.reason == .addressTaken ? .providerAddressTaken : .providerRefused,
            [.issuer: name, .reason: reason, .subject: subject])
    }
}
