import Diagnostics
import DomainPolicy
import KMSClient
import KMSProtocol

// Who manages a space, who comes from elsewhere, and the space of two.
extension Spaces {
    /// Makes somebody of the space a moderator, or an ordinary member again. While a space has moderators the KMS lets them
    /// alone add and remove others, give roles and delete it (docs/kms-extensions.md, Roles); the first may be made by anybody
    /// in it.
    package func setModerator(_ isModerator: Bool, _ email: String, of space: Space) async throws {
        let person =
            email.lowercased() == account.email.lowercased()
            ? (id: account.id, person: .init(email: account.email, name: account.name)) : try await self.person(email)
        // Whoever is not on the list would be put there, past the cloud.
        guard try await participants(of: space).contains(where: { $0.id == person.id && $0.hasKeys }) else {
            throw DiagnosedError(
                .personUnknown, fault: .client, "\(person.person.email.loggable) is not in this space",
                hint: "'hds space add' comes first")
        }
        let resource = try Self.resource(of: space)
        let host = KMSURI(resource)?.host ?? ""
        try await kms.perform(
            .createAuthorizations(
                resource: resource, ids: [person.id],
                role: KMSRole.uri(isModerator: isModerator, host: host)))
    }

    /// Asked before the cloud is: it forwards what the KMS refuses and changes its own list all the same, for it can not read
    /// the answer.
    func checkManaging(_ space: Space) async throws {
        let people = try await participants(of: space)
        guard people.contains(where: \.isModerator),
            !people.contains(where: { $0.id == account.id && $0.isModerator })
        else { return }
        let names = people.filter(\.isModerator).map { ($0.email ?? $0.id).loggable }
        throw DiagnosedError(
            .spaceModerated, fault: .client, "only moderators add and remove people in this space",
            expected: names.prefix(5).joined(separator: ", "), hint: "ask one of them")
    }

    /// Whether an address is of another organisation: neither of the user's own mail domain nor of the domain that is pinned.
    package func isExternal(_ email: String) throws -> Bool {
        func domain(_ address: String) -> String { address.split(separator: "@").last.map { $0.lowercased() } ?? "" }
        let own = [domain(account.email), try store.current().profile?.domain.lowercased()]
        return !own.contains(domain(email))
    }

    /// What the domain demands of its own clients; whether a partner's KMS gets a key is decided by this one.
    func checkExternal(_ email: String) throws {
        guard let policy = try store.current().policy, !policy.allowsExternals, try isExternal(email) else { return }
        throw DiagnosedError(
            .clientPolicy, fault: .client, "your domain does not let this client add people of other organisations",
            found: email.loggable, hint: "ask your administrator")
    }

    /// The space in which exactly the user and that person are, made when there is none.
    package func direct(with email: String) async throws -> (space: Space, isNew: Bool) {
        let (id, person) = try await person(email)
        guard id != account.id else {
            throw DiagnosedError(
                .personUnknown, fault: .client, "that is you", expected: "somebody else", found: email.loggable)
        }
        if let known = try await oneToOne(with: id) { return (known, false) }
        try checkExternal(person.email)
        return (try await create(name: "\(account.name), \(person.name)".prefixed(octets: 1024), members: [id]), true)
    }
}

extension String {
    fileprivate func prefixed(octets: Int) -> String {
        var text = self
        while text.utf8.count > octets { text.removeLast() }
        return text
    }
}
