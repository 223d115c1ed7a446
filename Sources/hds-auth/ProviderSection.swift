import OIDCRelyingParty
import ServiceRuntime
import TokenIssuer

/// One item of `providers`: where people of some addresses sign in, as `config/hds-auth.yaml` explains it.
struct ProviderSection: Decodable, Sendable {
    let name: String
    let title: String
    let addresses: [AddressPattern]
    let exceptions: [AddressPattern]
    let newAccounts: IdentityProvider.NewAccounts
    let openIDConnect: OpenIDSection?
    let saml: SAMLSection?

    private enum Accounts: String, NamedValue, Sendable {
        case listed
        case onFirstLogin = "on-first-login"
    }

    enum CodingKeys: String, CodingKey, CaseIterable {
        case name, title, addresses
        case exceptions = "except"
        case accounts, organisation
        case openIDConnect = "openid-connect"
        case saml
    }

    init(from decoder: any Decoder) throws {
        let section = try decoder.container(keyedBy: CodingKeys.self)
        name = try section.value(.name)
        guard IdentityProvider.isName(name) else {
            throw section.problem(.name, "expected 1 to 32 of a-z, 0-9 and -")
        }
        title = try section.value(.title, default: name)
        guard (1...64).contains(title.count) else { throw section.problem(.title, "expected 1 to 64 characters") }
        func patterns(_ key: CodingKeys) throws -> [AddressPattern] {
            try section.value(key, default: [String]()).map { text in
                guard let pattern = AddressPattern(text) else {
                    throw section.problem(key, "expected NAME@DOMAIN, @DOMAIN or @*.DOMAIN; found \(text)")
                }
                return pattern
            }
        }
        addresses = try patterns(.addresses)
        guard !addresses.isEmpty else { throw section.problem(.addresses, "at least one address is needed") }
        exceptions = try patterns(.exceptions)
        let organisation: String? = try section.optional(.organisation)
        switch try section.value(.accounts, default: Accounts.listed) {
        case .listed:
            guard organisation == nil else {
                throw section.problem(.organisation, "it belongs to accounts: on-first-login")
            }
            newAccounts = .listed
        case .onFirstLogin:
            guard let organisation, (1...128).contains(organisation.count) else {
                throw section.problem(.accounts, "on-first-login needs the key organisation")
            }
            newAccounts = .onFirstLogin(organisation: organisation)
        }
        openIDConnect = try section.optional(.openIDConnect)
        saml = try section.optional(.saml)
        guard (openIDConnect == nil) != (saml == nil) else {
            throw section.problem(.name, "expected either openid-connect or saml")
        }
    }

    /// What the service and the provider's relying party at once has to be right about, in one sentence.
    static func conflict(among providers: [ProviderSection]) -> String? {
        var names: Set<String> = []
        var patterns: Set<AddressPattern> = []
        for provider in providers {
            guard names.insert(provider.name).inserted else { return "two providers have the name \(provider.name)" }
            for pattern in provider.addresses where !patterns.insert(pattern).inserted {
                return "\(pattern.text) stands at two providers"
            }
        }
        return nil
    }

    struct OpenIDSection: Decodable, Sendable {
        let issuer: String
        let clientID: String
        let clientSecret: SecretLocation?
        let authorities: FileLocation?
        let scopes: [String]
        let claims: OIDCSettings.Claims
        let wantsVerifiedAddress: Bool
        let clockSkew: Duration
        let maximumAge: Duration?

        enum CodingKeys: String, CodingKey, CaseIterable {
            case issuer
            case clientID = "client-id"
            case clientSecret = "client-secret"
            case authorities = "ca"
            case scopes
            case subjectClaim = "subject-claim"
            case addressClaim = "address-claim"
            case nameClaim = "name-claim"
            case verified = "verified-address"
            case clockSkew = "clock-skew"
            case maximumAge = "max-age"
        }

        init(from decoder: any Decoder) throws {
            let section = try decoder.container(keyedBy: CodingKeys.self)
            issuer = try section.value(.issuer)
            guard OIDCSettings.isIssuer(issuer) else {
                throw section.problem(.issuer, "expected https://… exactly as the provider writes it")
            }
            clientID = try section.value(.clientID)
            guard !clientID.isEmpty else { throw section.problem(.clientID, "expected the id of this client there") }
            clientSecret = try section.optional(.clientSecret)
            authorities = try section.optional(.authorities)
            guard (authorities != nil) == issuer.hasPrefix("https://") else {
                throw section.problem(.issuer, "expected the key ca with an https:// issuer, and only there")
            }
            scopes = try section.value(.scopes, default: ["openid", "email", "profile"])
            guard scopes.contains("openid"), scopes.allSatisfy({ !$0.isEmpty && !$0.contains(" ") }) else {
                throw section.problem(.scopes, "expected a list with openid")
            }
            var claims = OIDCSettings.Claims()
            claims.subject = try section.value(.subjectClaim, default: claims.subject)
            claims.address = try section.value(.addressClaim, default: claims.address)
            claims.name = try section.value(.nameClaim, default: claims.name)
            self.claims = claims
            wantsVerifiedAddress = try section.value(.verified, default: true)
            clockSkew = try section.value(.clockSkew, default: .seconds(60), in: .seconds(0) ... .seconds(300))
            maximumAge = try section.optional(.maximumAge)
            guard maximumAge.map({ (.seconds(0) ... .seconds(30 * 86_400)).contains($0) }) ?? true else {
                throw section.problem(.maximumAge, "expected 0s to 30d")
            }
        }
    }
    struct SAMLSection: Decodable, Sendable {
        let entityID: String
        let signOn: WebAddress
        let logout: WebAddress?
        let certificates: [FileLocation]
        let nameFormat: String?
        let subjectAttribute: String?
        let addressAttributes: [String]?
        let nameAttributes: [String]?
        let clockSkew: Duration

        enum CodingKeys: String, CodingKey, CaseIterable {
            case entityID = "entity-id"
            case signOn = "sign-on"
            case logout, certificates
            case nameFormat = "name-format"
            case subjectAttribute = "subject-attribute"
            case addressAttributes = "address-attributes"
            case nameAttributes = "name-attributes"
            case clockSkew = "clock-skew"
        }

        init(from decoder: any Decoder) throws {
            let section = try decoder.container(keyedBy: CodingKeys.self)
            entityID = try section.value(.entityID)
            guard (1...1024).contains(entityID.utf8.count) else {
                throw section.problem(.entityID, "expected the provider's name for itself")
            }
            signOn = try section.value(.signOn)
            logout = try section.optional(.logout)
            for (key, address) in [(CodingKeys.signOn, signOn), (.logout, logout ?? signOn)]
            where address.scheme != .https && !address.isLoopback {
                throw section.problem(key, "expected an https:// address")
            }
            certificates = try section.value(.certificates)
            guard !certificates.isEmpty else { throw section.problem(.certificates, "at least one file is needed") }
            nameFormat = try section.optional(.nameFormat)
            subjectAttribute = try section.optional(.subjectAttribute)
            addressAttributes = try section.optional(.addressAttributes)
            nameAttributes = try section.optional(.nameAttributes)
            clockSkew = try section.value(.clockSkew, default: .seconds(60), in: .seconds(0) ... .seconds(300))
        }
    }
}
