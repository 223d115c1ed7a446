package import Cryptography
package import Diagnostics
package import JOSEEncryption
import JOSESignature
package import SecretMemory
package import WireText

/// The KMS's static RSA key with its certificate chain (protocol, section 3): opens handshakes, signs what can not be
/// encrypted, and is what clients encrypt their first message to.
///
/// It signs the KMS protocol only (security model, rule 25). Safe to use from any thread; one private operation takes
/// about 0.7 ms for 2048 bits.
package final class KMSStaticKey: Sendable {
    package let names: KMSNames
    /// `kms://HOST/statickeys/<serial number of the leaf, decimal>`
    package let kid: String
    /// Leaf first, then every intermediate.
    package let chain: [Certificate]
    private let privateKey: PrivateKey
    private let algorithm: SignatureAlgorithm

    /// Checks the certificate against the rules that deployed clients apply and refuses one that breaks any.
    package init(
        privateKey: PrivateKey, chain: [Certificate], host: String, algorithm: SignatureAlgorithm = .ps256,
        now: Timestamp
    ) throws(DiagnosedError) {
        try KMSCertificateRules.check(chain: chain, publicKey: privateKey.publicKey, host: host, now: now)
        guard let leaf = chain.first else {
            throw DiagnosedError(
                .kmsCertificate, fault: .configuration, "the certificate chain of the static key is empty")
        }
        guard algorithm == .ps256 || algorithm == .rs256 else {
            throw DiagnosedError(
                .kmsCertificate, fault: .configuration, "unusable signature algorithm of the static key",
                expected: "PS256 or RS256", found: algorithm.rawValue)
        }
        names = KMSNames(host: host)
        kid = names.staticKey(serialNumber: leaf.serialNumberDecimal)
        self.chain = chain
        self.privateKey = privateKey
        self.algorithm = algorithm
    }

    package var expires: Timestamp { chain.map(\.notAfter).min() ?? Timestamp(milliseconds: 0) }

    /// The details document that the cloud serves to clients; `rsaPublicKey` is a JSON string that holds the JWK.
    package func detailsDocument(machineAccountID: String) -> String {
        var jwk = JSONWriter(reserving: 4096)
        jwk.beginObject()
        jwk.member("kty", "RSA")
        jwk.member("kid", kid)
        jwk.member("e", Base64URL.encode(privateKey.publicKey.rsaExponent ?? []))
        jwk.member("n", Base64URL.encode(privateKey.publicKey.rsaModulus ?? []))
        jwk.member("x5c", chain.map { Base64.encode($0.der) })
        jwk.endObject()
        var json = JSONWriter(reserving: 4096)
        json.beginObject()
        json.member("kmsCluster", names.cluster)
        json.member("kmsMachineAccountId", machineAccountID)
        json.member("rsaPublicKey", jwk.text())
        json.endObject()
        return json.text()
    }

    /// The plaintext of a handshake request; one error whatever was wrong.
    package func open(_ message: JWECompact) throws -> SecretBytes { try JWE.decryptRSAOAEP(message, with: privateKey) }

    /// A compact JWS over an answer or a reset; with a type, over what else the protocol has the KMS sign. For another KMS
    /// with the certificates, for it has no details document.
    package func sign(_ json: borrowing JSONWriter, typ: String? = nil, withChain: Bool = false) throws -> [UInt8] {
        let payload = json.bytes()
        return Array(
            try JWS.sign(
                payload, with: privateKey, algorithm: algorithm, kid: kid, typ: typ,
                x5c: withChain ? chain.map(\.der) : []
            ).utf8)
    }

    package var publicKey: PublicKey { privateKey.publicKey }
}
