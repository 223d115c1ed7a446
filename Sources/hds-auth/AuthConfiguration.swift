import DomainPolicy
import ServiceRuntime
import TokenIssuer

/// The configuration of `hds-auth`: what the file may say, with its defaults and bounds.
///
/// `config/hds-auth.yaml` shows and explains every key; it is the one description of them.
struct AuthConfiguration: RuntimeConfiguration {
    let issuer: String
    let listen: NetworkAddress
    let tls: ServerIdentitySection
    let accounts: FileLocation
    let state: FileLocation
    let domain: DomainSection
    let lifetimes: LifetimeSection
    let signingKeys: SigningKeySection
    let attempts: AttemptSection
    let clients: ClientSection?
    let tokenFormat: TokenFormatSection
    let providers: [ProviderSection]
    let saml: ServerIdentitySection?
    let directory: DirectorySection?
    let control: ControlSocketSection?
    let runtime: RuntimeSection

    enum CodingKeys: String, CodingKey, CaseIterable {
        case issuer, listen, tls, accounts, state, domain, lifetimes
        case signingKeys = "signing-keys"
        case attempts, clients
        case tokenFormat = "token-format"
        case providers, saml
        case directory, control
        case runtime
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
        clients = try section.optional(.clients)
        tokenFormat = try section.value(.tokenFormat, default: TokenFormatSection())
        providers = try section.value(.providers, default: [])
        if let conflict = ProviderSection.conflict(among: providers) { throw section.problem(.providers, conflict) }
        saml = try section.optional(.saml)
        directory = try section.optional(.directory)
        control = try section.optional(.control)
        runtime = try section.value(.runtime)
    }

    struct DomainSection: Decodable, Sendable {
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

    struct LifetimeSection: Decodable, Sendable {
        var accessToken: Duration = .seconds(3600)
        var code: Duration = .seconds(60)
        var refreshToken: Duration = .seconds(30 * 86_400)
        var assertion: Duration = .seconds(300)
        var refreshGrace: Duration = .seconds(60)
        var login: Duration = .seconds(180 * 86_400)

        enum CodingKeys: String, CodingKey, CaseIterable {
            case accessToken = "access-token"
            case code
            case refreshToken = "refresh-token"
            case assertion
            case refreshGrace = "refresh-grace"
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
            assertion = try section.value(.assertion, default: assertion, in: .seconds(60) ... .seconds(3600))
            refreshGrace = try section.value(.refreshGrace, default: refreshGrace, in: .seconds(0) ... .seconds(300))
            login = try section.value(.login, default: login, in: .seconds(3600) ... .seconds(3650 * 86_400))
        }
    }

    struct SigningKeySection: Decodable, Sendable {
        var period: Duration = .seconds(30 * 86_400)

        enum CodingKeys: String, CodingKey, CaseIterable { case period }

        init() {}

        init(from decoder: any Decoder) throws {
            let section = try decoder.container(keyedBy: CodingKeys.self)
            period = try section.value(.period, default: period, in: .seconds(3600) ... .seconds(365 * 86_400))
        }
    }

    struct TokenFormatSection: Decodable, Sendable {
        private enum Format: String, NamedValue, Sendable { case jwt, opaque }

        var cloud = TokenFormat.jwt
        var kms = TokenFormat.jwt
        var cluster = "hds"

        enum CodingKeys: String, CodingKey, CaseIterable { case cloud, kms, cluster }

        init() {}

        init(from decoder: any Decoder) throws {
            let section = try decoder.container(keyedBy: CodingKeys.self)
            cloud = try section.value(.cloud, default: Format.jwt) == .opaque ? .opaque : .jwt
            kms = try section.value(.kms, default: Format.jwt) == .opaque ? .opaque : .jwt
            cluster = try section.value(.cluster, default: cluster)
            guard OpaqueToken.isField(cluster) else {
                throw section.problem(.cluster, "expected 1 to 64 letters, digits, - and .")
            }
        }
    }

    /// See `ClientPolicy`.
    struct ClientSection: Decodable, Sendable {
        let passphrase: Bool
        let idle: Duration?
        let uploads: Bool
        let downloads: Bool
        let externals: Bool

        enum CodingKeys: String, CodingKey, CaseIterable { case passphrase, idle, uploads, downloads, externals }

        init(from decoder: any Decoder) throws {
            let section = try decoder.container(keyedBy: CodingKeys.self)
            passphrase = try section.value(.passphrase, default: false)
            idle =
                section.contains(.idle)
                ? try section.value(
                    .idle,
                    in: .seconds(ClientPolicy.idleRange.lowerBound) ... .seconds(ClientPolicy.idleRange.upperBound))
                : nil
            uploads = try section.value(.uploads, default: true)
            downloads = try section.value(.downloads, default: true)
            externals = try section.value(.externals, default: true)
        }

        var policy: ClientPolicy {
            var policy = ClientPolicy()
            policy.needsPassphrase = passphrase
            policy.idle = idle?.components.seconds
            policy.allowsUploads = uploads
            policy.allowsDownloads = downloads
            policy.allowsExternals = externals
            return policy
        }
    }

    struct AttemptSection: Decodable, Sendable {
        var account = Rate(burst: 5, interval: .seconds(60))
        var address = Rate(burst: 30, interval: .seconds(10))

        enum CodingKeys: String, CodingKey, CaseIterable { case account, address }

        init() {}

        init(from decoder: any Decoder) throws {
            let section = try decoder.container(keyedBy: CodingKeys.self)
            account = try section.value(.account, default: account)
            address = try section.value(.address, default: address)
        }

        struct Rate: Decodable, Sendable {
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
