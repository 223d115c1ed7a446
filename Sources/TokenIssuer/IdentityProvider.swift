package import Cryptography
package import OIDCRelyingParty
package import SAMLServiceProvider

/// A provider of the customer where people sign in instead of giving a password here.
package struct IdentityProvider: Sendable {
    /// Letters, digits and `-`: in addresses, the journal and the database, so it never changes.
    package let name: String
    /// What pages call it.
    package let title: String
    /// Whose sign-in it is; an address that it asserts has to be one of these, too.
    package let addresses: [AddressPattern]
    /// Of those, who keeps a password here: a way in when the provider is away.
    package let exceptions: [AddressPattern]
    package let newAccounts: NewAccounts
    package let connection: Connection

    package enum NewAccounts: Sendable, Equatable {
        /// Only who stands in the accounts file gets in.
        case listed
        /// An address of this provider's without an account gets one of this organisation with its first login.
        case onFirstLogin(organisation: String)
    }

    package enum Connection: Sendable {
        case openIDConnect(OIDCRelyingParty)
        case saml(SAMLServiceProvider)
    }

    package init(
        name: String, title: String, addresses: [AddressPattern], exceptions: [AddressPattern] = [],
        newAccounts: NewAccounts = .listed, connection: Connection
    ) {
        self.name = name
        self.title = title
        self.addresses = addresses
        self.exceptions = exceptions
        self.newAccounts = newAccounts
        self.connection = connection
    }

    /// Whether people can sign in there now.
    package func check() async throws {
        switch connection {
        case .openIDConnect(let party): try await party.check()
        case .saml(let saml): try await saml.check()
        }
    }

    /// 1 to 32 of a-z, 0-9 and `-`.
    package static func isName(_ text: String) -> Bool {
        (1...32).contains(text.utf8.count)
            && text.utf8.allSatisfy { $0 >= 0x61 && $0 <= 0x7A || $0 >= 0x30 && $0 <= 0x39 || $0 == 0x2D }
    }

    func isResponsible(for normalized: String) -> Bool {
        addresses.contains { $0.matches(normalized) } && !exceptions.contains { $0.matches(normalized) }
    }

    /// What stands as the credential of a login that this provider vouched for. No digest has a colon.
    var credential: String { "provider:" + name }
}

/// Which addresses: one (`alice@example.com`), those of a domain (`@example.com`), or those of all domains below one
/// (`@*.example.com`, which is not `@example.com` itself).
package struct AddressPattern: Sendable, Hashable {
    package let text: String
    private let kind: Kind

    private enum Kind: Hashable, Sendable {
        case address(String)
        /// With the @.
        case domain(String)
        /// With the full stop.
        case below(String)
    }

    /// Nil for a text of no such form.
    package init?(_ text: String) {
        let lower = text.lowercased()
        let parts = lower.split(separator: "@", omittingEmptySubsequences: false)
        guard parts.count == 2, lower.utf8.count <= 254,
            lower.utf8.allSatisfy({ $0 > 0x20 && $0 < 0x7F && !"\"<>()[]\\,;:".utf8.contains($0) })
        else { return nil }
        var domain = parts[1]
        let isBelow = domain.hasPrefix("*.")
        if isBelow { domain = domain.dropFirst(2) }
        guard !domain.isEmpty, !domain.contains("*"), !parts[0].contains("*"), domain.first != ".", domain.last != "."
        else { return nil }
        self.text = text
        if !parts[0].isEmpty {
            guard !isBelow else { return nil }
            kind = .address(lower)
        } else {
            kind = isBelow ? .below("." + domain) : .domain("@" + domain)
        }
    }

    /// - Parameter address: as `Accounts.normalized` gives it.
    package func matches(_ address: String) -> Bool {
        // Two @ would be a domain for one reader and another one for the next.
        guard address.utf8.count(where: { $0 == UInt8(ascii: "@") }) == 1, address.first != "@" else { return false }
        switch kind {
        case .address(let own): return address == own
        case .domain(let domain): return address.hasSuffix(domain)
        case .below(let ending):
            let domain = address[(address.firstIndex(of: "@") ?? address.startIndex)...].dropFirst()
            return domain.hasSuffix(ending) && domain.utf8.count > ending.utf8.count
        }
    }
}

/// The providers in the order of the configuration: the first that is responsible for an address counts.
package struct IdentityProviders: Sendable {
    package let list: [IdentityProvider]
    /// What SAML providers verify messages of this service with.
    package let certificate: Certificate?

    package init(_ list: [IdentityProvider] = [], certificate: Certificate? = nil) {
        self.list = list
        self.certificate = certificate
    }

    /// Of accounts that first logins make.
    package var organisations: [String] {
        list.compactMap { provider in
            if case .onFirstLogin(let organisation) = provider.newAccounts { organisation } else { nil }
        }
    }

    package var isEmpty: Bool { list.isEmpty }

    package subscript(name: String) -> IdentityProvider? { list.first { $0.name == name } }

    /// Home-realm discovery: where the person with this address signs in; nil: with a password here.
    package func responsible(for email: String) -> IdentityProvider? {
        let address = Accounts.normalized(email)
        return list.first { $0.isResponsible(for: address) }
    }

    /// What a login of this user has to have been proved with: a login by password ends when a provider becomes
    /// responsible, one at a provider when another one or none is. Nil when the user can not sign in at all.
    func credential(of user: UserAccount) -> String? {
        guard !user.isDisabled else { return nil }
        if let provider = responsible(for: user.email) { return provider.credential }
        return user.passwordHash.map(SecretDigest.of)
    }
}
