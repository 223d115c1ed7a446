package import DomainPolicy

/// What an authorization service is set to: the checked form of its configuration file.
package struct IssuerSettings: Sendable {
    /// The `iss` of all tokens and the base of all addresses: `https://HOST[:PORT]`, without path and slash.
    package var issuer: String
    /// The customer's e-mail domain, for people and for the domain document.
    package var domain: String
    /// `kms://HOST`.
    package var kmsCluster: String
    /// The certificates under which the KMS's own stands, as PEM texts.
    package var kmsRoots: [String]
    /// Base URL of the core.
    package var core: String

    package var lifetimes = Lifetimes()
    package var attempts = AttemptGate.Rates()
    package var tokenFormats = TokenFormats()
    /// Nil: clients are told of none.
    package var clientPolicy: ClientPolicy?
    /// Of people whom only a directory knows.
    package var directoryOrganisation = ""

    /// How access tokens look where client or service do not say otherwise.
    package struct TokenFormats: Sendable, Equatable {
        package var cloud = TokenFormat.jwt
        package var kms = TokenFormat.jwt
        /// The second field of opaque tokens.
        package var cluster = "hds"

        package init() {}

        subscript(audience: Audience) -> TokenFormat {
            switch audience {
            case .cloud: cloud
            case .kms: kms
            }
        }
    }

    /// All in seconds.
    package struct Lifetimes: Sendable, Equatable {
        package var accessToken: Int64 = 3600
        package var code: Int64 = 60
        /// A refresh token that is not used for so long is worth nothing any more.
        package var refreshToken: Int64 = 30 * 86_400
        /// So long a refresh token that was used is taken again, when nobody has used its successor.
        package var refreshGrace: Int64 = 60
        /// An assertion for another organisation's KMS; nobody there reads the list of revocations.
        package var assertion: Int64 = 300
        /// After so long the user signs in again, however often the tokens were refreshed.
        package var login: Int64 = 180 * 86_400
        /// Time between two rolls of the signing key.
        package var signingKey: Int64 = 30 * 86_400

        package init() {}
    }

    package init(issuer: String, domain: String, kmsCluster: String, kmsRoots: [String], core: String) {
        self.issuer = issuer
        self.domain = domain
        self.kmsCluster = kmsCluster
        self.kmsRoots = kmsRoots
        self.core = core
    }

    /// Verifiers allow so many seconds of difference between clocks.
    package static let leeway: Int64 = 60

    package var keySchedule: SigningKeys.Schedule {
        SigningKeys.Schedule(period: lifetimes.signingKey, overlap: lifetimes.accessToken + Self.leeway)
    }

    /// Whether a text is an issuer identifier (RFC 8414, section 2) of the form that this service supports.
    package static func isIssuer(_ text: String) -> Bool {
        guard text.hasPrefix("https://"), let redirect = try? RegisteredRedirect(text) else { return false }
        guard case .exact(let uri, let origin) = redirect else { return false }
        return uri == origin && !origin.contains { $0.isUppercase }
    }
}
