/// Everyone who can get a token: people, services and the programs that act for people.
///
/// A value without identity: it is read whole from the accounts file (`AccountFile`), replaced whole by
/// `AccountDirectory`, and never changes in between. Look-ups are by the form in which a request names somebody.
package struct Accounts: Sendable {
    package let users: [UserAccount]
    package let services: [ServiceAccount]
    package let clients: [ClientRegistration]

    private let usersByEmail: [String: UserAccount]
    private let usersByID: [String: UserAccount]
    private let servicesByID: [String: ServiceAccount]
    private let clientsByID: [String: ClientRegistration]

    /// The caller (`AccountFile`) has made sure that ids and addresses are unique; of two equal ones the first counts.
    /// `hds-cli`, the command line client, is known without being listed.
    package init(users: [UserAccount], services: [ServiceAccount] = [], clients: [ClientRegistration] = []) {
        let listed = clients.contains { $0.id == ClientRegistration.commandLine.id }
        self.users = users
        self.services = services
        self.clients = listed ? clients : clients + [.commandLine]
        usersByEmail = Dictionary(users.map { (Self.normalized($0.email), $0) }) { first, _ in first }
        usersByID = Dictionary(users.map { ($0.id, $0) }) { first, _ in first }
        servicesByID = Dictionary(services.map { ($0.id, $0) }) { first, _ in first }
        clientsByID = Dictionary(self.clients.map { ($0.id, $0) }) { first, _ in first }
    }

    /// These and others that stand in no file; of two with one id or address that of the file counts.
    func adding(_ others: [UserAccount]) -> Accounts {
        if others.isEmpty { return self }
        let new = others.filter { usersByID[$0.id] == nil && usersByEmail[Self.normalized($0.email)] == nil }
        return Accounts(users: users + new, services: services, clients: clients)
    }

    /// The user with this address, whatever its case and the white space around it.
    package func user(email: String) -> UserAccount? { usersByEmail[Self.normalized(email)] }
    package func user(id: String) -> UserAccount? { usersByID[id] }
    package func service(id: String) -> ServiceAccount? { servicesByID[id] }
    package func client(id: String) -> ClientRegistration? { clientsByID[id] }

    /// An e-mail address as it is compared: without surrounding white space, in lower case.
    package static func normalized(_ email: String) -> String {
        let text = email.drop { $0.isWhitespace }
        let end = text.lastIndex { !$0.isWhitespace }.map { text.index(after: $0) } ?? text.startIndex
        return text[..<end].lowercased()
    }
}

/// A person, with a password or one who signs in at a provider.
package struct UserAccount: Sendable, Equatable {
    /// A UUID in lower case: the `sub` of the tokens, and the user's name at the KMS and the core.
    package let id: String
    package let email: String
    package let name: String
    package let organisation: String
    /// `Cryptography.PasswordHash` text; nil for who signs in at a provider only.
    package let passwordHash: String?
    /// A disabled account can not sign in, and its refresh tokens end with their next use.
    package let isDisabled: Bool
    /// Whether there is a password at all: people whom only a directory knows sign in elsewhere.
    package var hasPassword: Bool { passwordHash != Self.noPassword }
    /// In place of a hash; no password fits it.
    package static let noPassword = "scrypt$none"
    /// Other organisations' KMSs (`kms://HOST`) to which this service says who the user is.
    package let partners: Set<String>

    package init(
        id: String, email: String, name: String, organisation: String, passwordHash: String?,
        isDisabled: Bool = false,
        partners: Set<String> = []
    ) {
        self.id = id
        self.email = email
        self.name = name
        self.organisation = organisation
        self.passwordHash = passwordHash
        self.isDisabled = isDisabled
        self.partners = partners
    }
}

/// A program with a secret that acts for itself (RFC 6749, section 4.4), such as the KMS on its link to the core.
package struct ServiceAccount: Sendable, Equatable {
    package let id: String
    package let name: String
    package let organisation: String
    /// `Cryptography.PasswordHash` text.
    package let secretHash: String
    /// For whom it may ask tokens, and the scopes that it may have there, in the order of the file.
    package let audiences: [Audience: [String]]
    /// Of which audiences it may ask what a token is worth (RFC 7662).
    package let introspects: Set<Audience>
    /// RFC 7638 thumbprint of its key: its tokens are bound to it.
    package let keyThumbprint: String?
    /// Where its tokens look otherwise than the settings say.
    package let tokenFormats: [Audience: TokenFormat]
    package let isDisabled: Bool

    package init(
        id: String, name: String, organisation: String, secretHash: String, audiences: [Audience: [String]],
        introspects: Set<Audience> = [], keyThumbprint: String? = nil, tokenFormats: [Audience: TokenFormat] = [:],
        isDisabled: Bool = false
    ) {
        self.id = id
        self.name = name
        self.organisation = organisation
        self.secretHash = secretHash
        self.audiences = audiences
        self.introspects = introspects
        self.keyThumbprint = keyThumbprint
        self.tokenFormats = tokenFormats
        self.isDisabled = isDisabled
    }
}

/// A public client (RFC 6749, section 2.1): a program in a user's hands, without a secret, proven by PKCE alone.
package struct ClientRegistration: Sendable, Equatable {
    package let id: String
    /// What the login page calls it.
    package let name: String
    package let redirects: [RegisteredRedirect]
    /// What it may ask for, and what it gets when it does not ask.
    package let scopes: [String]
    /// Of the users' partner KMSs those for which it may get assertions; nil: all.
    package let partners: Set<String>?
    /// Where its users' tokens look otherwise than the settings say.
    package let tokenFormats: [Audience: TokenFormat]
    /// Whether it is an integration: a program of others that a person lets act for him. Its tokens say so.
    package let isIntegration: Bool
    /// Whether it gets nothing any more.
    package let isBlocked: Bool

    package init(
        id: String, name: String, redirects: [RegisteredRedirect], scopes: [String] = [Scope.user],
        tokenFormats: [Audience: TokenFormat] = [:], partners: Set<String>? = nil, isIntegration: Bool = false,
        isBlocked: Bool = false
    ) {
        self.isIntegration = isIntegration
        self.isBlocked = isBlocked
        self.id = id
        self.name = name
        self.redirects = redirects
        self.partners = partners
        self.scopes = scopes
        self.tokenFormats = tokenFormats
    }

    /// The command `hds`.
    package static let commandLine = ClientRegistration(
        id: "hds-cli", name: "hds", redirects: [.loopback(pathAndQuery: "/callback")])
}

/// For whom a token is: the `aud` claim.
package enum Audience: String, Sendable, CaseIterable, Hashable {
    case cloud
    case kms
}

package enum Scope {
    /// To act for the user at the core and at the KMS: the one scope of tokens for people.
    package static let user = "hds"
    /// Stands in every token of an integration, whatever it asked for: the KMS wants a consent for it then.
    package static let integration = "integration"

    /// `scope-token` of RFC 6749, appendix A.4: printable ASCII without space, quote and backslash.
    static func isValid(_ name: some StringProtocol) -> Bool {
        !name.isEmpty && name.utf8.allSatisfy { $0 > 0x20 && $0 < 0x7F && $0 != 0x22 && $0 != 0x5C }
    }

    /// The names in a `scope` parameter, each once and in order; nil when it is malformed.
    static func parse(_ text: String) -> [String]? {
        var names: [String] = []
        for part in text.split(separator: " ", omittingEmptySubsequences: false) {
            guard isValid(part) else { return nil }
            if !names.contains(String(part)) { names.append(String(part)) }
        }
        return names
    }
}
