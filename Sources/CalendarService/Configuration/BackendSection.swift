package import ServiceRuntime
package import WireText

/// One calendar system that the connector reads and writes.
package struct BackendSection: Decodable, Sendable {
    package enum Kind: String, NamedValue, Sendable {
        case caldav
    }

    package enum Mode: String, NamedValue, Sendable {
        /// One account acts for all.
        case impersonation
        /// Each user's own account, named in the list of users.
        case perUser = "per-user"
    }

    package struct Account: Decodable, Sendable {
        package enum Scheme: String, NamedValue, Sendable { case basic, bearer }

        package let scheme: Scheme
        /// Nil with a bearer token.
        package let user: String?
        package let secret: SecretLocation
        /// The day on which it ends, when the calendar system said one.
        package let expires: Timestamp?

        package enum CodingKeys: String, CodingKey, CaseIterable { case scheme, user, secret, expires }

        package init(from decoder: any Decoder) throws {
            let section = try decoder.container(keyedBy: CodingKeys.self)
            scheme = try section.value(.scheme, default: .basic)
            user = try section.optional(.user)
            secret = try section.value(.secret)
            let day: String? = try section.optional(.expires)
            expires = day.flatMap { Timestamp(iso8601: "\($0)T23:59:59Z") }
            guard (day == nil) == (expires == nil) else {
                throw section.problem(.expires, "expected a day such as 2027-03-31")
            }
            guard (scheme == .basic) == (user != nil) else {
                throw section.problem(.user, "a user belongs to the scheme basic, and only there")
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
    package let pins: [String]
    package let allowedOrigins: [String]
    package let concurrent: Int
    package let perSecond: Int

    package enum CodingKeys: String, CodingKey, CaseIterable {
        case id, type, url, mode, principal, accounts
        case authorities = "ca"
        case pins
        case allowedOrigins = "allowed-origins"
        case concurrent
        case perSecond = "per-second"
    }

    package init(from decoder: any Decoder) throws {
        let section = try decoder.container(keyedBy: CodingKeys.self)
        id = try section.value(.id)
        type = try section.value(.type, default: .caldav)
        url = try section.value(.url)
        mode = try section.value(.mode)
        principal = try section.optional(.principal)
        accounts = try section.optional(.accounts) ?? []
        authorities = try section.optional(.authorities)
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
        if let principal {
            guard mode == .impersonation, principal.hasPrefix("/"),
                principal.contains("{user}") || principal.contains("{address}")
            else { throw section.problem(.principal, "expected a path with {user} or {address}, with impersonation") }
        } else if mode == .impersonation {
            throw section.problem(.principal, "expected the path of a user's principal, such as /principals/{address}/")
        }
    }
}
