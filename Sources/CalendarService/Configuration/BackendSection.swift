package import ServiceRuntime
package import WireText

/// One calendar system that the connector reads and writes.
package struct BackendSection: Decodable, Sendable {
    package enum Kind: String, NamedValue, Sendable {
        case caldav
        /// Exchange Web Services.
        case exchange
        /// Microsoft Graph.
        case graph
        /// Google Calendar.
        case google
    }

    package enum Mode: String, NamedValue, Sendable {
        /// One account acts for all.
        case impersonation
        /// Each user's own account, named in the list of users.
        case perUser = "per-user"
    }

    package struct Account: Decodable, Sendable {
        package enum Scheme: String, NamedValue, Sendable {
            case basic, bearer
            /// The certificate of the section `client`, and nothing else.
            case certificate
            /// An application of Microsoft Entra with a client secret.
            case entra
            /// A service account of Google with its key file.
            case serviceAccount = "service-account"
        }

        package let scheme: Scheme
        /// With basic.
        package let user: String?
        /// With entra: the directory and the application in it.
        package let tenant: String?
        package let application: String?
        /// Nil with certificate, and only there.
        package let secret: SecretLocation?
        /// The day on which it ends, when the calendar system said one.
        package let expires: Timestamp?

        package enum CodingKeys: String, CodingKey, CaseIterable {
            case scheme, user, tenant, application, secret, expires
        }

        package init(from decoder: any Decoder) throws {
            let section = try decoder.container(keyedBy: CodingKeys.self)
            scheme = try section.value(.scheme, default: .basic)
            user = try section.optional(.user)
            tenant = try section.optional(.tenant)
            application = try section.optional(.application)
            secret = try section.optional(.secret)
            let day: String? = try section.optional(.expires)
            expires = day.flatMap { Timestamp(iso8601: "\($0)T23:59:59Z") }
            guard (day == nil) == (expires == nil) else {
                throw section.problem(.expires, "expected a day such as 2027-03-31")
            }
            guard (scheme == .certificate) == (secret == nil) else {
                throw section.problem(.secret, "every scheme but certificate needs a secret")
            }
            guard (scheme == .basic) == (user != nil) else {
                throw section.problem(.user, "a user belongs to the scheme basic, and only there")
            }
            guard (scheme == .entra) == (tenant != nil), (scheme == .entra) == (application != nil) else {
                throw section.problem(.tenant, "tenant and application belong to the scheme entra, and only there")
            }
        }
    }

    package let id: String
    package let type: Kind
    package let url: WebAddress
    package let mode: Mode
    /// With impersonation: the path of a user's principal, with `{user}` or `{address}` in it.
    package let principal: String?
    /// The first is used; the others when it is refused.
    package let accounts: [Account]
    package let authorities: FileLocation?
    /// What is shown to a server that asks for a certificate.
    package let identity: ServerIdentitySection?
    package let pins: [String]
    package let allowedOrigins: [String]
    package let concurrent: Int
    package let perSecond: Int

    package enum CodingKeys: String, CodingKey, CaseIterable {
        case id, type, url, mode, principal, accounts
        case authorities = "ca"
        case identity = "client"
        case pins
        case allowedOrigins = "allowed-origins"
        case concurrent
        case perSecond = "per-second"
    }

    package init(from decoder: any Decoder) throws {
        let section = try decoder.container(keyedBy: CodingKeys.self)
        id = try section.value(.id)
        type = try section.value(.type, default: .caldav)
        url = try section.optional(.url) ?? Self.standard(type) ?? section.value(.url)
        mode = try section.value(.mode)
        principal = try section.optional(.principal)
        accounts = try section.optional(.accounts) ?? []
        authorities = try section.optional(.authorities)
        identity = try section.optional(.identity)
        pins = try section.value(.pins, default: [])
        allowedOrigins = try section.value(.allowedOrigins, default: [])
        concurrent = try section.value(.concurrent, default: 4, in: 1...256)
        perSecond = try section.value(.perSecond, default: 20, in: 1...10_000)
        guard url.scheme == .https || url.scheme == .http && url.isLoopback else {
            throw section.problem(
                .url, "expected https://HOST/, or http on 127.0.0.1: passwords and calendars go there")
        }
        guard (mode == .impersonation) == !accounts.isEmpty else {
            throw section.problem(
                .accounts, "impersonation needs at least one account, per-user takes those of the users")
        }
        try Self.check(type, mode, accounts, principal, section)
        guard identity != nil || !accounts.contains(where: { $0.scheme == .certificate }) else {
            throw section.problem(.identity, "the scheme certificate needs client, with certificate and private-key")
        }
        if let principal {
            guard mode == .impersonation, principal.hasPrefix("/"),
                principal.contains("{user}") || principal.contains("{address}")
            else { throw section.problem(.principal, "expected a path with {user} or {address}, with impersonation") }
        } else if mode == .impersonation, type == .caldav {
            throw section.problem(.principal, "expected the path of a user's principal, such as /principals/{address}/")
        }
    }

    /// Where the system is when nothing else is said.
    private static func standard(_ type: Kind) -> WebAddress? {
        switch type {
        case .caldav, .exchange: nil
        case .graph: WebAddress(configurationText: "https://graph.microsoft.com", folder: "/")
        case .google: WebAddress(configurationText: "https://www.googleapis.com", folder: "/")
        }
    }

    /// What goes with which system.
    private static func check(
        _ type: Kind, _ mode: Mode, _ accounts: [Account], _ principal: String?,
        _ section: KeyedDecodingContainer<CodingKeys>
    ) throws {
        let schemes: Set<Account.Scheme> =
            switch type {
            case .caldav: [.basic, .bearer, .certificate]
            case .exchange: [.basic, .bearer, .entra]
            case .graph: [.bearer, .entra]
            case .google: [.bearer, .serviceAccount]
            }
        guard accounts.allSatisfy({ schemes.contains($0.scheme) }) else {
            let names = schemes.map(\.rawValue).sorted().joined(separator: ", ")
            throw section.problem(.accounts, "expected of \(type.rawValue) accounts of the schemes \(names)")
        }
        guard type == .caldav || principal == nil else {
            throw section.problem(.principal, "a principal belongs to the type caldav")
        }
        guard mode == .impersonation || type == .caldav || type == .exchange else {
            throw section.problem(
                .mode, "expected impersonation: one application acts for all users of \(type.rawValue)")
        }
    }
}
