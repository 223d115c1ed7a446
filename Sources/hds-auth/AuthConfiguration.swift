import Diagnostics
import Glibc
import ServiceRuntime
import TokenIssuer

/// The configuration of `hds-auth`. Relative paths start from the folder of the file; times are written `60s`, `1h`, `30d`.
///
/// ```yaml
/// # The name of this service in every token and the base of its addresses: https://HOST or https://HOST:PORT, without
/// # path. Clients, the core and the KMS have the same text in their configuration. Needed.
/// issuer: https://auth.example.com:8443
///
/// # Where to listen. Needed.
/// listen: 0.0.0.0:8443
///
/// # The server's identity. `certificate` is a PEM file, the server's own certificate first, then the intermediate
/// # ones. `private-key` is a PEM file of mode 0600, or credential:NAME under systemd. Both needed.
/// tls:
///   certificate: auth.pem
///   private-key: auth.key
///
/// # Users, services and clients: see accounts.example.yaml. Mode 0640 or less. Read again on SIGHUP. Needed.
/// accounts: accounts.yaml
///
/// # The folder of the signing keys and of the database of logins, mode 0700; made when missing. Needed.
/// state: /var/lib/hds-auth
///
/// # What /.well-known/hds-domain tells clients about this domain. All needed.
/// domain:
///   # The e-mail domain of the users.
///   name: example.com
///   # The base URL of the cloud core.
///   core: https://core.example.net
///   # The KMS of this domain.
///   kms: kms://kms.example.com
///   # PEM files with the roots under which the KMS's certificate stands: clients pin them.
///   kms-roots: [kms-root.pem]
///
/// # How long things last. All optional; these are the defaults.
/// lifetimes:
///   # An access token (1m to 24h). A disabled account keeps what it has until then.
///   access-token: 1h
///   # An authorization code, from the login page to the client (10s to 10m).
///   code: 60s
///   # A refresh token that nobody uses (10m to 365d).
///   refresh-token: 30d
///   # A login, however often it was refreshed: after that the user gives the password again (1h to 3650d).
///   login: 180d
///
/// # The keys that sign tokens are rolled by themselves after this time (1h to 365d); `hds-auth roll-keys` rolls
/// # them at once. Optional; this is the default.
/// signing-keys:
///   period: 30d
///
/// # How often a password may be tried: so many at once (0: no limit), then one per interval. Right passwords do not
/// # count. Optional; these are the defaults.
/// attempts:
///   # Per account, and per service.
///   account:
///     burst: 5
///     interval: 60s
///   # Per network address (a /64 of IPv6). Raise it when all users come through one proxy.
///   address:
///     burst: 30
///     interval: 10s
///
/// # Health address, log, self-test, drain: the same for every service.
/// runtime:
///   health:
///     address: 127.0.0.1:9443
/// ```
struct AuthConfiguration: RuntimeConfiguration {
    let issuer: String
    let listen: NetworkAddress
    let tls: TLSSection
    let accounts: FileLocation
    let state: FileLocation
    let domain: DomainSection
    let lifetimes: LifetimeSection
    let signingKeys: SigningKeySection
    let attempts: AttemptSection
    let runtime: RuntimeSection

    enum CodingKeys: String, CodingKey, CaseIterable {
        case issuer, listen, tls, accounts, state, domain, lifetimes
        case signingKeys = "signing-keys"
        case attempts, runtime
    }

    init(from decoder: any Decoder) throws {
        let section = try decoder.container(keyedBy: CodingKeys.self)
        issuer = try section.value(.issuer)
        guard IssuerSettings.isIssuer(issuer) else {
            throw section.problem(
                .issuer, "expected https://HOST or https://HOST:PORT in lower case, without path and slash at the end")
        }
        listen = try section.value(.listen)
        tls = try section.value(.tls)
        accounts = try section.value(.accounts)
        state = try section.value(.state)
        domain = try section.value(.domain)
        lifetimes = try section.value(.lifetimes, default: LifetimeSection())
        signingKeys = try section.value(.signingKeys, default: SigningKeySection())
        attempts = try section.value(.attempts, default: AttemptSection())
        runtime = try section.value(.runtime)
    }

    struct TLSSection: Decodable, Sendable, Equatable {
        let certificate: FileLocation
        let privateKey: SecretLocation

        enum CodingKeys: String, CodingKey, CaseIterable {
            case certificate
            case privateKey = "private-key"
        }
    }

    struct DomainSection: Decodable, Sendable, Equatable {
        let name: String
        let core: WebAddress
        let kms: String
        let kmsRoots: [FileLocation]

        enum CodingKeys: String, CodingKey, CaseIterable {
            case name, core, kms
            case kmsRoots = "kms-roots"
        }

        init(from decoder: any Decoder) throws {
            let section = try decoder.container(keyedBy: CodingKeys.self)
            name = try section.value(.name)
            core = try section.value(.core)
            guard core.isEncrypted || core.isLoopback, !core.text.hasSuffix("/") else {
                throw section.problem(.core, "expected https://… without a slash at the end")
            }
            kms = try section.value(.kms)
            let host = kms.dropFirst("kms://".count)
            guard kms.hasPrefix("kms://"), !host.isEmpty, !host.contains("/"), !host.contains(where: \.isWhitespace)
            else { throw section.problem(.kms, "expected kms://HOST") }
            kmsRoots = try section.value(.kmsRoots)
            guard !kmsRoots.isEmpty else { throw section.problem(.kmsRoots, "at least one file is needed") }
        }
    }

    struct LifetimeSection: Decodable, Sendable, Equatable {
        var accessToken: Duration = .seconds(3600)
        var code: Duration = .seconds(60)
        var refreshToken: Duration = .seconds(30 * 86_400)
        var login: Duration = .seconds(180 * 86_400)

        enum CodingKeys: String, CodingKey, CaseIterable {
            case accessToken = "access-token"
            case code
            case refreshToken = "refresh-token"
            case login
        }

        init() {}

        init(from decoder: any Decoder) throws {
            let section = try decoder.container(keyedBy: CodingKeys.self)
            accessToken = try section.value(
                .accessToken, default: accessToken, in: .seconds(60) ... .seconds(86_400))
            code = try section.value(.code, default: code, in: .seconds(10) ... .seconds(600))
            refreshToken = try section.value(
                .refreshToken, default: refreshToken, in: .seconds(600) ... .seconds(365 * 86_400))
            login = try section.value(.login, default: login, in: .seconds(3600) ... .seconds(3650 * 86_400))
        }
    }

    struct SigningKeySection: Decodable, Sendable, Equatable {
        var period: Duration = .seconds(30 * 86_400)

        enum CodingKeys: String, CodingKey, CaseIterable { case period }

        init() {}

        init(from decoder: any Decoder) throws {
            let section = try decoder.container(keyedBy: CodingKeys.self)
            period = try section.value(.period, default: period, in: .seconds(3600) ... .seconds(365 * 86_400))
        }
    }

    struct AttemptSection: Decodable, Sendable, Equatable {
        var account = Rate(burst: 5, interval: .seconds(60))
        var address = Rate(burst: 30, interval: .seconds(10))

        enum CodingKeys: String, CodingKey, CaseIterable { case account, address }

        init() {}

        init(from decoder: any Decoder) throws {
            let section = try decoder.container(keyedBy: CodingKeys.self)
            account = try section.value(.account, default: account)
            address = try section.value(.address, default: address)
        }

        struct Rate: Decodable, Sendable, Equatable {
            let burst: Int
            let interval: Duration

            enum CodingKeys: String, CodingKey, CaseIterable { case burst, interval }

            init(burst: Int, interval: Duration) {
                self.burst = burst
                self.interval = interval
            }

            init(from decoder: any Decoder) throws {
                let section = try decoder.container(keyedBy: CodingKeys.self)
                burst = try section.value(.burst, in: 0...10_000)
                interval = try section.value(.interval, in: .seconds(1) ... .seconds(3600))
            }

            var limiterRate: AttemptLimiter.Rate {
                AttemptLimiter.Rate(burst: Int64(burst), intervalSeconds: interval.components.seconds)
            }
        }
    }
}
