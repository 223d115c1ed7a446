package import Cryptography
package import Diagnostics
import JOSESignature
package import WireText

/// By what one KMS believes another (protocol, section 10; security model, rule 16): a host, and anchors for it alone.
///
/// A message is a compact JWS that brings its own certificates. Rules, in this order; all have to hold:
///
/// 1. `alg` is PS256 or RS256, and the text has at most 64 KiB.
/// 2. `kid` is `kms://HOST/statickeys/SERIAL` of the partner's host and of the first certificate in `x5c`.
/// 3. That leaf is no CA, its key RSA of 2048 to 4096 bits, its common name the host, literally, and a dNSName of its
///    subjectAltName too.
/// 4. With `roots`: a path of valid certificates leads from the leaf to one of them, none signed over SHA-1, and when
///    there are `pins` too, a key of this path is pinned. With `pins` alone: the leaf's own key is pinned, and the leaf
///    is valid and not signed over SHA-1; what else was sent counts for nothing. Revocation is not asked for.
/// 5. The signature is the leaf's.
package struct FederationTrust: Sendable, Equatable {
    /// Of the partner, lower case.
    package let host: String
    package let roots: [Certificate]
    /// SHA-256 of public keys (SubjectPublicKeyInfo).
    package let pins: Set<[UInt8]>

    package static let maximumLength = 64 << 10

    package init(host: String, roots: [Certificate], pins: Set<[UInt8]>) throws(DiagnosedError) {
        guard host == host.lowercased(), host.contains("."), !host.contains("/"), !host.contains(":") else {
            throw DiagnosedError(
                .federationUntrusted, fault: .configuration, "unusable host of a partner's KMS",
                expected: "a DNS name in lower case", found: String(host.prefix(80)))
        }
        guard !roots.isEmpty || !pins.isEmpty, pins.allSatisfy({ $0.count == 32 }) else {
            throw DiagnosedError(
                .federationUntrusted, fault: .configuration, "nothing says by what \(host) is believed",
                expected: "roots, or pins of public keys (32 octets each)")
        }
        self.host = host
        self.roots = roots
        self.pins = pins
    }

    package static func == (left: FederationTrust, right: FederationTrust) -> Bool {
        left.host == right.host && left.pins == right.pins && left.roots.map(\.der) == right.roots.map(\.der)
    }

    /// The payload of a message that the partner signed.
    package func verify(_ text: [UInt8], at now: Timestamp) throws(DiagnosedError) -> JSONNode {
        guard text.count <= Self.maximumLength else {
            throw .untrusted(host, "the message is too long", expected: "at most \(Self.maximumLength) octets")
        }
        let payload: [UInt8]
        do {
            payload = try JWS.verify(text, allowing: [.ps256, .rs256]) { header in
                try leaf(of: header, at: now).publicKey
            }.payload
        } catch {
            let cause = error as? DiagnosedError
            throw cause.flatMap { $0.code == .federationUntrusted ? $0 : nil }
                ?? .untrusted(host, "the message is not signed as it has to be", found: cause?.summary)
        }
        do {
            return try JSONDocument(payload, limits: .init(maximumDepth: 8, maximumNodes: 1000)).root
        } catch {
            throw .untrusted(host, "the message holds no JSON", found: error.summary)
        }
    }

    /// Rules 2 to 4.
    private func leaf(of header: JOSEHeader, at now: Timestamp) throws(DiagnosedError) -> Certificate {
        var chain: [Certificate] = []
        for der in header.x5c {
            guard let certificate = try? Certificate(der: der) else {
                throw .untrusted(host, "an entry of x5c is no certificate")
            }
            chain.append(certificate)
        }
        guard let leaf = chain.first else { throw .untrusted(host, "the message brings no certificate") }
        guard let kid = header.kid.flatMap({ KMSURI($0) }), kid.host == host,
            kid.object == .staticKey(leaf.serialNumberDecimal)
        else {
            throw .untrusted(
                host, "kid does not name the key of the first certificate",
                expected: KMSNames(host: host).staticKey(serialNumber: leaf.serialNumberDecimal))
        }
        guard !leaf.isCA, case .rsa(let bits) = leaf.publicKey.kind, (2048...4096).contains(bits) else {
            throw .untrusted(host, "the first certificate is a CA, or of a key that is not taken")
        }
        guard leaf.commonName == host, leaf.dnsNames.contains(host) else {
            throw .untrusted(
                host, "the certificate is for another host", expected: "CN=\(host) and DNS:\(host)",
                found: "CN=\(leaf.commonName ?? "") and "
                    + (leaf.dnsNames.isEmpty ? "no DNS name" : leaf.dnsNames.prefix(4).joined(separator: ", ")))
        }
        try anchor(chain, leaf, now)
        return leaf
    }

    private func anchor(_ chain: [Certificate], _ leaf: Certificate, _ now: Timestamp) throws(DiagnosedError) {
        guard !roots.isEmpty else {
            guard pins.contains(leaf.spkiSHA256) else { throw .untrusted(host, "its key is not the pinned one") }
            guard leaf.notBefore <= now, now < leaf.notAfter, !leaf.signatureUsesSHA1 else {
                throw .untrusted(host, "the pinned certificate is not valid now, or is signed over SHA-1")
            }
            return
        }
        let path: [Certificate]
        do {
            path = try CertificatePath.validate(
                leaf: leaf, intermediates: Array(chain.dropFirst()), roots: roots, at: now, purpose: .kms)
        } catch {
            throw .untrusted(
                host, "no valid path leads to a root of this partner", found: (error as? DiagnosedError)?.found)
        }
        guard path.first == leaf, !path.dropLast().contains(where: \.signatureUsesSHA1) else {
            throw .untrusted(host, "a certificate of the path is signed over SHA-1")
        }
        guard pins.isEmpty || path.contains(where: { pins.contains($0.spkiSHA256) }) else {
            throw .untrusted(host, "no key of the validated path is pinned")
        }
    }
}

extension DiagnosedError.Code {
    /// A message that should come from a partner's KMS does not, or not provably.
    package static let federationUntrusted: Self = "federation-untrusted"
    /// A partner's KMS answered something that is no answer to what was asked.
    package static let federationAnswer: Self = "federation-answer"
}

extension DiagnosedError {
    fileprivate static func untrusted(
        _ host: String, _ what: String, expected: String? = nil, found: String? = nil
    ) -> DiagnosedError {
        DiagnosedError(
            .federationUntrusted, fault: .peer, "a message in the name of \(host) is refused: \(what)",
            expected: expected, found: found,
            hint: "compare the partner's certificate with the anchors in federation.partners")
    }
}
