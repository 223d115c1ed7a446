package import Cryptography
package import Diagnostics
package import WireText

/// What a certificate chain must be so that every deployed client takes it (protocol, section 3 and the table of
/// measured client behaviour). Each rule is a function below, in this order:
///
/// 1. The leaf's key is the private key's, RSA of 2048 to 4096 bits.
/// 2. The leaf's common name is the host, exactly and in lower case (Java clients and federated KMSs look only there).
/// 3. The leaf's subjectAltName has the host as dNSName, and no other kind stands before it (the JavaScript SDK crashes
///    on an iPAddress that it meets first).
/// 4. Neither the name nor a dNSName is a wildcard (all clients compare literally).
/// 5. No certificate is signed with SHA-1 (Java refuses it).
/// 6. The chain is in order, each signed by the next, and every one is valid now; the leaf is no CA.
package enum KMSCertificateRules {
    package static func check(
        chain: [Certificate], publicKey: PublicKey, host: String, now: Timestamp
    ) throws(DiagnosedError) {
        guard let leaf = chain.first else { throw refusal("the file holds no certificate", expected: "leaf first") }
        try key(leaf, publicKey)
        try commonName(leaf, host)
        try alternativeNames(leaf, host)
        try signatures(chain)
        try order(chain, now)
    }

    private static func key(_ leaf: Certificate, _ publicKey: PublicKey) throws(DiagnosedError) {
        guard leaf.publicKey == publicKey else {
            throw refusal(
                "the certificate belongs to another private key", expected: "the leaf for the configured private key",
                hint: "put the leaf certificate first in the chain file, or configure the matching key")
        }
        guard case .rsa(let bits) = publicKey.kind, (2048...4096).contains(bits) else {
            throw refusal("unusable key", expected: "an RSA key of 2048 to 4096 bits")
        }
    }

    private static func commonName(_ leaf: Certificate, _ host: String) throws(DiagnosedError) {
        guard host == host.lowercased(), !host.contains("*"), host.contains("."), !host.contains("/") else {
            throw refusal("unusable host name of the KMS", expected: "a DNS name in lower case", found: host)
        }
        guard leaf.commonName == host else {
            throw refusal(
                "the common name of the certificate is not the KMS's host", expected: "CN=\(host)",
                found: leaf.commonName.map { "CN=\($0)" } ?? "no CN",
                hint: "Java clients and partner KMSs compare the common name exactly; request a certificate with it")
        }
    }

    private static func alternativeNames(_ leaf: Certificate, _ host: String) throws(DiagnosedError) {
        guard leaf.dnsNames.contains(host) else {
            throw refusal(
                "the certificate does not name the KMS's host as dNSName", expected: "subjectAltName DNS:\(host)",
                found: leaf.dnsNames.isEmpty ? "none" : leaf.dnsNames.joined(separator: ", "),
                hint: "a URI entry such as kms://\(host) does not count for any client")
        }
        guard leaf.subjectAlternativeNames.first == .dns(host) else {
            throw refusal(
                "another name stands before the KMS's host in subjectAltName", expected: "DNS:\(host) first",
                hint: "JavaScript clients stop at an IP entry that they meet first")
        }
        guard !leaf.dnsNames.contains(where: { $0.contains("*") }) else {
            throw refusal("the certificate has a wildcard name", expected: "literal names")
        }
    }

    private static func signatures(_ chain: [Certificate]) throws(DiagnosedError) {
        for certificate in chain where certificate.signatureUsesSHA1 && !certificate.isSelfIssued {
            throw refusal(
                "a certificate of the chain is signed with SHA-1", expected: "SHA-256 or better",
                found: certificate.commonName)
        }
    }

    private static func order(_ chain: [Certificate], _ now: Timestamp) throws(DiagnosedError) {
        for certificate in chain {
            guard certificate.notBefore <= now, now < certificate.notAfter else {
                throw refusal(
                    "a certificate of the chain is not valid now", expected: "valid at \(now)",
                    found:
                        "\(certificate.commonName ?? "?") valid from \(certificate.notBefore) to \(certificate.notAfter)",
                    hint: "renew the certificate, or correct the clock")
            }
        }
        guard !chain[0].isCA else { throw refusal("the first certificate is a CA", expected: "the leaf first") }
        for (certificate, issuer) in zip(chain, chain.dropFirst()) where !certificate.isIssued(by: issuer) {
            throw refusal(
                "the certificates do not form a chain", expected: "each signed by the one after it",
                found: "\(certificate.subjectText) is not signed by \(issuer.subjectText)",
                hint: "put the leaf first, then its issuing CA, then that one's issuer")
        }
    }

    private static func refusal(
        _ what: String, expected: String, found: String? = nil, hint: String? = nil
    ) -> DiagnosedError {
        DiagnosedError(.kmsCertificate, fault: .configuration, what, expected: expected, found: found, hint: hint)
    }
}

extension DiagnosedError.Code {
    /// The certificate of the KMS's static key breaks a rule that clients check.
    package static let kmsCertificate: Self = "kms-certificate"
}
