package import Cryptography
package import Diagnostics
import KMSProtocol
package import WireText

/// Which KMS a client believes: its host and the roots of its certificate, pinned per domain (security model, rule 4).
///
/// `verify` judges a details document (protocol, section 3). The cloud serves it, so nothing in it counts before these
/// rules hold, in this order:
///
/// 1. It is a JSON object whose `kmsCluster` is `kms://HOST` of the pinned host.
/// 2. `rsaPublicKey` is a JSON *string* that holds a JWK: `kty` RSA, `kid`, `e`, `n`, `x5c`, and neither `use` nor `alg`.
/// 3. `kid` is a URI of scheme `kms:` whose host is the pinned one.
/// 4. `n` and `e` have no leading zero octet and are the key of the first certificate, RSA of 2048 to 4096 bits.
/// 5. The path from **the first certificate** to a pinned root is valid now and free of SHA-1. (The JavaScript SDK
///    validates the path of the last list entry, so a stranger's leaf before a genuine intermediate passes there.)
/// 6. The leaf's common name and the first of its alternative names, a dNSName, are the pinned host, literally.
package struct StaticKeyTrust: Sendable {
    /// Lower case.
    package let host: String
    package let roots: [Certificate]

    /// - Parameter cluster: `kms://HOST`
    package init(cluster: String, roots: [Certificate]) throws(DiagnosedError) {
        guard let uri = KMSURI(cluster), uri.object == .cluster, let host = uri.host, !host.contains(":") else {
            throw DiagnosedError(
                .kmsHostMismatch, fault: .configuration, "the pinned KMS is no KMS cluster", expected: "kms://HOST",
                found: cluster.loggable)
        }
        guard !roots.isEmpty else {
            throw DiagnosedError(
                .kmsUntrusted, fault: .configuration, "no root certificate for the KMS is pinned",
                expected: "at least one in PEM form")
        }
        self.host = host
        self.roots = roots
    }

    package func verify(details: some Collection<UInt8>, at now: Timestamp) throws(DiagnosedError) -> VerifiedStaticKey
    {
        let root: JSONNode
        do {
            root = try JSONDocument(details, limits: .init(maximumDepth: 6, maximumNodes: 500, maximumBytes: 256 << 10))
                .root
        } catch {
            throw .details("it is not JSON", expected: nil, found: error.summary)
        }
        return try verify(details: root, at: now)
    }

    package func verify(details root: JSONNode, at now: Timestamp) throws(DiagnosedError) -> VerifiedStaticKey {
        guard let cluster = root["kmsCluster"]?.string else {
            throw .details("it names no KMS", expected: "member 'kmsCluster'")
        }
        guard let uri = KMSURI(cluster), uri.object == .cluster, uri.host == host else {
            throw .hostMismatch("the details document is of another KMS", "kms://\(host)", cluster)
        }
        guard let key = root["rsaPublicKey"] else { throw .details("it has no key", expected: "member 'rsaPublicKey'") }
        guard let text = key.string else {
            throw .details(
                "'rsaPublicKey' has the wrong type", expected: "a JSON string that holds the JWK",
                found: key.kind == .object ? "a JSON object" : "another JSON value")
        }
        let (kid, publicKey, chain) = try jwk(text)
        let path = try validate(chain, now)
        try name(chain[0])
        return VerifiedStaticKey(
            kid: kid, host: host, publicKey: publicKey, path: path,
            machineAccountID: root["kmsMachineAccountId"]?.string ?? "")
    }

    /// Rules 2 to 4.
    private func jwk(_ text: String) throws(DiagnosedError) -> (String, PublicKey, [Certificate]) {
        guard
            let jwk = try? JSONDocument(
                text: text, limits: .init(maximumDepth: 3, maximumNodes: 100, maximumBytes: 128 << 10)
            ).root, jwk.kind == .object
        else { throw .details("'rsaPublicKey' holds no JSON object", expected: "a JWK") }
        guard jwk["kty"]?.string == "RSA" else { throw .details("the key is not of type RSA", expected: "kty RSA") }
        for name in ["use", "alg"] where jwk[name] != nil {
            throw .details(
                "the key has a member '\(name)'", expected: "neither 'use' nor 'alg'",
                hint: "the key both decrypts and signs; JavaScript clients can not use it with this member")
        }
        guard let kid = jwk["kid"]?.string else { throw .details("the key has no 'kid'", expected: "kms://HOST/…") }
        guard let uri = KMSURI(kid), let named = uri.host else {
            throw .details("'kid' is no URI of scheme kms", expected: "kms://\(host)/statickeys/…", found: kid.loggable)
        }
        guard named == host else { throw .hostMismatch("'kid' names another host", "kms://\(host)/…", kid) }
        guard let entries = jwk["x5c"]?.strings, (1...10).contains(entries.count) else {
            throw .details("the key has no certificates", expected: "'x5c' with the leaf first")
        }
        var chain: [Certificate] = []
        for (index, entry) in entries.enumerated() {
            guard let der = Base64.decode(entry), let certificate = try? Certificate(der: der) else {
                throw .details("entry \(index + 1) of 'x5c' is no certificate", expected: "base64 of DER")
            }
            chain.append(certificate)
        }
        guard let n = jwk["n"]?.string.flatMap({ Base64URL.decode($0) }), n.first.map({ $0 != 0 }) == true,
            let e = jwk["e"]?.string.flatMap({ Base64URL.decode($0) }), e.first.map({ $0 != 0 }) == true
        else { throw .details("'n' or 'e' is malformed", expected: "base64url without leading zero octet") }
        let leafKey = chain[0].publicKey
        guard leafKey.rsaModulus == n, leafKey.rsaExponent == e else {
            throw .details("'n' and 'e' are not the key of the first certificate", expected: "the leaf's key")
        }
        guard case .rsa(let bits) = leafKey.kind, (2048...4096).contains(bits) else {
            throw .details("the key has an unusable size", expected: "2048 to 4096 bits")
        }
        return (kid, leafKey, chain)
    }

    /// Rule 5.
    private func validate(_ chain: [Certificate], _ now: Timestamp) throws(DiagnosedError) -> [Certificate] {
        guard !chain[0].isCA else {
            throw .untrusted("the first certificate is a CA", expected: "the KMS's own, first")
        }
        let path: [Certificate]
        do {
            path = try CertificatePath.validate(
                leaf: chain[0], intermediates: Array(chain.dropFirst()), roots: roots, at: now, purpose: .kms)
        } catch {
            throw .untrusted(
                "no valid path leads from the KMS's certificate to a pinned root",
                expected: roots.map { $0.commonName ?? "a root without name" }.joined(separator: " or "),
                found: (error as? DiagnosedError)?.summary)
        }
        guard path.first == chain[0], let anchor = path.last, roots.contains(anchor) else {
            throw .untrusted("the path does not begin at the KMS's own certificate", expected: "leaf to pinned root")
        }
        for certificate in path.dropLast() where certificate.signatureUsesSHA1 {
            throw .untrusted("a certificate of the path is signed with SHA-1", expected: "SHA-256 or better")
        }
        return path
    }

    /// Rule 6.
    private func name(_ leaf: Certificate) throws(DiagnosedError) {
        guard leaf.commonName == host else {
            throw .hostMismatch(
                "the certificate's common name is not the KMS's host", "CN=\(host)", leaf.commonName ?? "no CN")
        }
        guard leaf.subjectAlternativeNames.first == .dns(host) else {
            throw .hostMismatch(
                "the certificate's first alternative name is not the KMS's host", "DNS:\(host)",
                leaf.dnsNames.first.map { "DNS:\($0)" } ?? "no DNS name")
        }
    }
}

/// A static key of the KMS after `StaticKeyTrust` proved it: to encrypt the first message to, and to believe signatures.
package struct VerifiedStaticKey: Sendable {
    /// `kms://HOST/statickeys/…`
    package let kid: String
    package let host: String
    package let publicKey: PublicKey
    /// From the leaf to the pinned root.
    package let path: [Certificate]
    package let machineAccountID: String

    package var expires: Timestamp { path.map(\.notAfter).min() ?? Timestamp(milliseconds: 0) }
}

extension VerifiedStaticKey {
    /// The static key that a service's own configuration pins by its certificate (security model, rule 3): nothing of it comes
    /// from the core, so no path is asked for. The certificate has to name the host, as for clients.
    package init(pinned chain: [Certificate], host: String) throws(DiagnosedError) {
        guard let leaf = chain.first else {
            throw .untrusted("no certificate of the KMS's static key is pinned", expected: "one in PEM, the leaf first")
        }
        guard leaf.commonName == host, leaf.subjectAlternativeNames.first == .dns(host) else {
            throw .hostMismatch(
                "the pinned certificate is not of this KMS", "CN=\(host) and DNS:\(host)", leaf.commonName ?? "no CN")
        }
        self.init(
            kid: KMSNames(host: host).staticKey(serialNumber: leaf.serialNumberDecimal), host: host,
            publicKey: leaf.publicKey, path: chain, machineAccountID: "")
    }
}

extension DiagnosedError {
    fileprivate static func details(
        _ summary: String, expected: String?, found: String? = nil, hint: String? = nil
    ) -> DiagnosedError {
        DiagnosedError(
            .kmsDetails, fault: .peer, "the KMS's details document can not be used: \(summary)", expected: expected,
            found: found, hint: hint)
    }

    fileprivate static func untrusted(_ summary: String, expected: String?, found: String? = nil) -> DiagnosedError {
        DiagnosedError(
            .kmsUntrusted, fault: .peer, summary, expected: expected, found: found,
            hint: "somebody may stand between you and the KMS; ask its administrator before you go on")
    }

    fileprivate static func hostMismatch(_ summary: String, _ expected: String, _ found: String) -> DiagnosedError {
        DiagnosedError(
            .kmsHostMismatch, fault: .peer, summary, expected: expected, found: found.loggable,
            hint: "the KMS of a domain is pinned and does not change silently; ask its administrator")
    }
}
