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
            let certificates = try CertificateFile.read(file, kind: "root of the KMS")
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

    func serverIdentity(_ credentials: Credentials) throws -> TLSServerIdentity {
        let key = try credentials.withBytes(of: tls.privateKey) { try PrivateKey(pem: $0) }
        return TLSServerIdentity(
            certificateChain: try CertificateFile.read(tls.certificate, kind: "server certificate"), privateKey: key)
    }

    /// What can not change while the service runs has to be what it was.
    func requireSameSettings(as running: AuthConfiguration) throws {
        let sections: [(name: String, isSame: Bool)] = [
            ("issuer", issuer == running.issuer), ("listen", listen == running.listen),
            ("accounts", accounts == running.accounts), ("state", state == running.state),
            ("domain", domain == running.domain), ("lifetimes", lifetimes == running.lifetimes),
            ("signing-keys", signingKeys == running.signingKeys), ("attempts", attempts == running.attempts),
            ("token-format", tokenFormat == running.tokenFormat),
        ]
        let changed = sections.filter { !$0.isSame }.map(\.name)
        guard changed.isEmpty else {
            throw DiagnosedError(
                "reload-needs-restart", fault: .configuration,
                "\(changed.joined(separator: ", ")) can not change while the service runs",
                hint: "restart the service: no login is lost by that")
        }
    }
}

/// PEM files with certificates.
enum CertificateFile {
    static func read(_ file: FileLocation, kind: String) throws -> [Certificate] {
        let certificates = try Certificate.all(inPEM: try SmallFile.text(file.path, kind: kind))
        guard !certificates.isEmpty else {
            throw DiagnosedError(
                "certificate-file", fault: .configuration, "\(file): there is no certificate in it",
                expected: "-----BEGIN CERTIFICATE-----")
        }
        return certificates
    }
}
