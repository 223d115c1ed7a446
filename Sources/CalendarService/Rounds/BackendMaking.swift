import CalDAVClient
import CalendarBackend
import CalendarTransport
import Diagnostics
import ExchangeClient
import GoogleCalendarClient
import GraphClient
import HTTPClient
import ServiceRuntime
import WireText

/// Makes the client of a configured calendar system. Secrets are read when they are used, so that a mended one counts at once.
struct BackendMaking: Sendable {
    let section: BackendSection
    let client: WebClient
    /// For answers that go on for long.
    let streams: WebClient
    /// Nil: behind a proxy names are the proxy's.
    var lookup: ServiceLookup?
    let credentials: Credentials
    let users: @Sendable () -> UserList
    /// The account that is used now.
    let current: @Sendable () -> Int

    private var limits: HostGate.Limits {
        HostGate.Limits(concurrent: section.concurrent, perSecond: section.perSecond)
    }

    func backend() throws(CalendarError) -> any CalendarBackend {
        switch section.type {
        case .caldav:
            var settings = CalDAVSettings(url: section.url.text) { user, _ in try caldavCredential(of: user) }
            settings.allowedOrigins = Set(section.allowedOrigins)
            settings.limits = limits
            if let lookup { settings.services = { await lookup.calendars(of: $0) } }
            if let principal = section.principal { settings.principal = .path(principal) }
            return try CalDAVClient(settings, client: client)
        case .exchange:
            var settings = ExchangeSettings(origin: section.url.origin)
            if !section.url.path.isEmpty, section.url.path != "/" { settings.path = section.url.path }
            settings.impersonates = section.mode == .impersonation
            settings.limits = limits
            let isBasic = section.mode == .perUser || section.accounts.contains { $0.scheme == .basic }
            settings.scheme = isBasic ? "Basic" : "Bearer"
            let tokens: any BearerTokens =
                isBasic ? GivenTokens.basic { try namedCredential(of: $0) } : SwitchedTokens(self, try accounts())
            return try ExchangeClient(settings, client: client, streams: streams, tokens: tokens)
        case .graph:
            var settings = GraphSettings()
            settings.origin = section.url.origin
            settings.limits = limits
            return try GraphClient(settings, client: client, tokens: SwitchedTokens(self, accounts()))
        case .google:
            var settings = GoogleCalendarSettings()
            settings.origin = section.url.origin
            settings.limits = limits
            return try GoogleCalendarClient(settings, client: client, tokens: SwitchedTokens(self, accounts()))
        }
    }

    // MARK: - Credentials

    private func caldavCredential(of user: BackendUser) throws -> CalDAVCredential? {
        if section.mode == .impersonation {
            let account = section.accounts[current()]
            switch account.scheme {
            case .bearer: return .bearer(try secret(account))
            case .certificate: return nil
            default: break
            }
        }
        let (name, password) = try namedCredential(of: user)
        return .basic(user: name, password: password)
    }

    private func namedCredential(of user: BackendUser) throws -> (user: String, password: Redacted<String>) {
        guard section.mode == .perUser else {
            let account = section.accounts[current()]
            return (account.user ?? "", try secret(account))
        }
        guard let known = users().users[user.id], let secret = known.secret else {
            throw CalendarError.credentialsRefused("the list of users names no secret for this user")
        }
        return (known.login ?? known.address, try credentials.text(of: secret))
    }

    /// The tokens of each account, in their order.
    private func accounts() throws(CalendarError) -> [any BearerTokens] {
        var made: [any BearerTokens] = []
        for account in section.accounts {
            switch account.scheme {
            case .basic, .bearer, .certificate: made.append(GivenTokens { _ in try secret(account) })
            case .entra:
                made.append(
                    EntraTokens.make(
                        tenant: account.tenant ?? "", application: account.application ?? "",
                        secret: try text(account), resource: section.url.origin, client: client))
            case .serviceAccount:
                let json = try text(account)
                made.append(try GoogleServiceAccount(json: json.reveal { Array($0.utf8) }).tokens(client: client))
            }
        }
        return made
    }

    private func secret(_ account: BackendSection.Account) throws -> Redacted<String> {
        guard let place = account.secret else {
            throw CalendarError.configuration("an account has no secret", expected: "secret")
        }
        return try credentials.text(of: place)
    }

    private func text(_ account: BackendSection.Account) throws(CalendarError) -> Redacted<String> {
        do {
            return try secret(account)
        } catch {
            throw CalendarError(.configuration, Connector.diagnosed(error))
        }
    }
}

/// The tokens of the account that is used now.
private struct SwitchedTokens: BearerTokens {
    private let making: BackendMaking
    private let accounts: [any BearerTokens]

    init(_ making: BackendMaking, _ accounts: [any BearerTokens]) {
        (self.making, self.accounts) = (making, accounts)
    }

    func token(for user: BackendUser, refused: Redacted<String>?) async throws -> Redacted<String> {
        try await accounts[min(making.current(), accounts.count - 1)].token(for: user, refused: refused)
    }
}

extension WebAddress {
    /// Scheme, host and port, without a path.
    var origin: String {
        let host = host.contains(":") ? "[\(host)]" : host
        let standard = scheme == .https || scheme == .wss ? 443 : 80
        return "\(scheme.rawValue)://\(host)" + (port == standard ? "" : ":\(port)")
    }
}
