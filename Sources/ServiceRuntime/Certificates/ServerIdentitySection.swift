package import Cryptography
package import Diagnostics
package import TLSChannel
import Synchronization
package import WireText

/// The section `tls` of a server: the certificate that it shows, with its chain, and the key of the first.
package struct ServerIdentitySection: Decodable, Sendable {
    /// PEM: the server's own certificate, then the intermediate ones.
    package let certificate: FileLocation
    package let privateKey: SecretLocation

    package enum CodingKeys: String, CodingKey, CaseIterable {
        case certificate
        case privateKey = "private-key"
    }

    /// What a start takes: an expired certificate is an alarm, and no reason to be away as well.
    package func identity(_ credentials: Credentials) throws -> TLSServerIdentity {
        TLSServerIdentity(
            certificateChain: try certificate.certificates(),
            privateKey: try credentials.withBytes(of: privateKey) { try PrivateKey(pem: $0) })
    }

    /// What a reload takes, ready to be used: the key is that of the first certificate, and the chain is in order and valid
    /// now.
    package func replacement(_ credentials: Credentials, now: Timestamp = .now()) throws -> TLSServerIdentity {
        let identity = try identity(credentials)
        guard let leaf = identity.certificateChain.first, leaf.publicKey == identity.privateKey.publicKey else {
            throw DiagnosedError(
                .certificateUnusable, fault: .configuration,
                "the private key \(privateKey) is not that of the certificate in \(certificate)",
                expected: "the key of the first certificate in the file",
                hint: "replace both files, the certificate of the server itself first, and reload again")
        }
        if let trouble = CertificateChainRules.trouble(identity.certificateChain, now: now) {
            throw DiagnosedError(
                .certificateUnusable, fault: .configuration, "the certificates in \(certificate) can not be shown",
                expected: trouble.expected, found: trouble.found, hint: trouble.hint)
        }
        return identity
    }
}

/// The certificate that a server shows at the moment, with its alarms. Any thread.
package final class CertificateInUse: Sendable {
    private let state: Mutex<(expires: Timestamp, file: FileLocation)>

    package init(_ identity: TLSServerIdentity, _ file: FileLocation) {
        state = Mutex((Self.end(identity), file))
    }

    package func replace(_ identity: TLSServerIdentity, _ file: FileLocation) {
        state.withLock { $0 = (Self.end(identity), file) }
    }

    /// - Parameters:
    ///   - title: such as `the certificate of the core`.
    ///   - host: the name that clients ask for.
    package func watch(_ health: HealthRegistry, _ title: String, host: String) {
        health.watchCertificates(
            title, host: host, file: { self.state.withLock { $0.file } },
            fix: "replace the files of the section tls and reload the service",
            expires: { self.state.withLock { $0.expires } })
    }

    /// The first end of all: without an intermediate certificate clients refuse the chain.
    private static func end(_ identity: TLSServerIdentity) -> Timestamp {
        identity.certificateChain.map(\.notAfter).min() ?? Timestamp(milliseconds: 0)
    }
}

extension FileLocation {
    /// The certificates of a PEM file, at least one.
    package func certificates() throws -> [Certificate] {
        let certificates = try Certificate.all(inPEM: try text(upTo: 1 << 20))
        guard !certificates.isEmpty else {
            throw DiagnosedError(
                .certificateUnusable, fault: .configuration, "there is no certificate in \(path)",
                expected: "-----BEGIN CERTIFICATE-----", hint: "put the certificates into it as PEM")
        }
        return certificates
    }
}

/// Whether certificates can be shown to clients, as they stand in a file.
///
/// 1. Each is valid now.
/// 2. The first is no CA, and each is signed by the one behind it.
package enum CertificateChainRules {
    package struct Trouble: Sendable, Equatable {
        package let expected: String
        package let found: String
        package let hint: String
    }

    package static func trouble(_ chain: [Certificate], now: Timestamp) -> Trouble? {
        for certificate in chain where now < certificate.notBefore || certificate.notAfter <= now {
            return Trouble(
                expected: "certificates that are valid at \(now.iso8601)",
                found: "\(certificate.subjectText), valid from \(certificate.notBefore.iso8601) to "
                    + certificate.notAfter.iso8601,
                hint: "ask for a new certificate, or correct the clock")
        }
        if let leaf = chain.first, leaf.isCA, chain.count > 1 {
            return Trouble(
                expected: "the server's own certificate first", found: "the CA \(leaf.subjectText) first",
                hint: "put the server's own certificate first, then its issuing CA, then that one's issuer")
        }
        for (certificate, issuer) in zip(chain, chain.dropFirst()) where !certificate.isIssued(by: issuer) {
            return Trouble(
                expected: "each signed by the one behind it",
                found: "\(certificate.subjectText) is not signed by \(issuer.subjectText)",
                hint: "put the server's own certificate first, then its issuing CA, then that one's issuer")
        }
        return nil
    }
}

extension DiagnosedError.Code {
    /// A certificate with its key that a server can not show.
    package static let certificateUnusable: Self = "certificate-unusable"
}
