import Cryptography
import Diagnostics
import ServiceRuntime
import TLSChannel
import TokenIssuer

// From what the file says to what the parts of the service take.
extension AuthConfiguration {
    /// Reads the files that the section `domain` names.
    func settings() throws -> IssuerSettings {
        var roots: [String] = []
        for file in domain.kmsRoots {
            let certificates = try file.certificates()
            roots += certificates.map(\.pem)
        }
        var settings = IssuerSettings(
            issuer: issuer, domain: domain.name, kmsCluster: domain.kms, kmsRoots: roots, core: domain.core.text)
        settings.lifetimes.accessToken = lifetimes.accessToken.components.seconds
        settings.lifetimes.code = lifetimes.code.components.seconds
        settings.lifetimes.refreshToken = lifetimes.refreshToken.components.seconds
        settings.lifetimes.assertion = lifetimes.assertion.components.seconds
        settings.lifetimes.refreshGrace = lifetimes.refreshGrace.components.seconds
        settings.lifetimes.login = lifetimes.login.components.seconds
        settings.lifetimes.signingKey = signingKeys.period.components.seconds
        settings.attempts = AttemptGate.Rates(
            account: attempts.account.limiterRate, address: attempts.address.limiterRate)
        settings.clientPolicy = clients?.policy
        settings.directoryOrganisation = directory?.organisation ?? ""
        settings.tokenFormats.cloud = tokenFormat.cloud
        settings.tokenFormats.kms = tokenFormat.kms
        settings.tokenFormats.cluster = tokenFormat.cluster
        return settings
    }

    /// The host in the issuer's URL, an IPv6 address without its brackets.
    var issuerHost: String {
        let authority = issuer.dropFirst("https://".count)
        if authority.hasPrefix("[") { return String(authority.dropFirst().prefix { $0 != "]" }) }
        return String(authority.prefix { $0 != ":" })
    }

    var keySchedule: SigningKeys.Schedule {
        SigningKeys.Schedule(
            period: signingKeys.period.components.seconds,
            overlap: lifetimes.accessToken.components.seconds + IssuerSettings.leeway)
    }

    /// What a reload takes over, besides the accounts.
    static let reloadable = ["tls"]
}
