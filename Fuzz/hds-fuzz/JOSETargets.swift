import Cryptography
import Encryption
import JOSEEncryption
import JOSESignature
import NodeList
import SecretMemory
import WireText

/// Keys that everybody knows: a search has to get behind the signature and the tag.
private enum KnownKeys {
    static let signer = try! PrivateKey(p256Scalar: [UInt8](repeating: 1, count: 32))
    static let symmetric = SymmetricKey(copying: [UInt8](repeating: 2, count: 32))
}

private let claims =
    #"{"iss":"https://auth.example.com","aud":"kms://kms.example.com","sub":"u-1","exp":4102444800,"iat":1700000000,"scope":"a b","jti":"1"}"#
private let jwk =
    #"{"kty":"EC","crv":"P-256","x":"a2Fwb3Q","y":"a2Fwb3Q","kid":"1","use":"sig","key_ops":["verify"],"x5c":["AA=="]}"#

let joseTargets: [FuzzTarget] = [
    FuzzTarget(
        "jose-compact",
        texts: [
            "eyJhbGciOiJFUzI1NiIsImtpZCI6IjEifQ.e30.AAAA",
            "eyJhbGciOiJkaXIiLCJlbmMiOiJBMjU2R0NNIn0..AAAAAAAAAAAAAAAA.AAAA.AAAAAAAAAAAAAAAAAAAAAA",
            "eyJhbGciOiJSU0EtT0FFUCIsImVuYyI6IkEyNTZHQ00ifQ.AAAA.AAAAAAAAAAAAAAAA.AAAA.AAAAAAAAAAAAAAAAAAAAAA",
        ]
    ) { octets in
        _ = try? JWS.verify(octets, allowing: [.es256, .ps256]) { _ in KnownKeys.signer.publicKey }
        _ = try? JWS.peekHeader(text(octets))
        let message = try JWE.parse(octets)
        _ = try JWE.decryptDirect(message, key: KnownKeys.symmetric)
    },
    FuzzTarget("jose-header", texts: [#"{"alg":"ES256","kid":"1","typ":"at+jwt","x5c":["AA=="],"crit":["b64"]}"#]) {
        octets in
        let encoded = octets.withUnsafeBytes { Base64URL.encode($0) }
        _ = try encoded.withUnsafeBytes { try JOSEHeader.parse(base64url: $0) }
    },
    FuzzTarget("jose-keys", texts: [jwk, #"{"keys":[\#(jwk)]}"#, #"{"kty":"RSA","n":"AQAB","e":"AQAB"}"#]) { octets in
        if let key = try? JWK(jsonText: text(octets)) {
            _ = try? key.publicKey()
            _ = try? key.encryptionKey()
            _ = try? key.deliveryKey()
            var json = JSONWriter()
            key.write(to: &json)
        }
        _ = try JWKSet(json: octets)
    },
    FuzzTarget("bearer-tokens", texts: [claims, #"{"iss":"i","aud":["a","b"],"exp":1e400}"#]) { octets in
        _ = JWT.unverifiedIssuer(text(octets))
        let token = try JWS.sign(octets, with: KnownKeys.signer, algorithm: .es256, kid: "1", typ: "at+jwt")
        _ = try JWT.verify(
            token, keys: { _ in KnownKeys.signer.publicKey }, allowing: [.es256], issuer: "https://auth.example.com",
            audience: "kms://kms.example.com", now: Timestamp(seconds: 1_700_000_100))
    },
    FuzzTarget("node-list", texts: [#"{"nodes":[],"organisation":"o","version":1}"#]) { octets in
        _ = try? NodeList(canonical: octets)
        _ = SignedNodeList.claimed(text(octets))
        let signed = try JWS.sign(
            octets, with: KnownKeys.signer, algorithm: .es256, kid: "1", typ: SignedNodeList.type)
        _ = try SignedNodeList(verifying: signed, of: "o") { _ in KnownKeys.signer.publicKey }
    },
    FuzzTarget(
        "certificates",
        seeds: [
            Array(
                """
                -----BEGIN CERTIFICATE-----
                MAA=
                -----END CERTIFICATE-----
                """.utf8), [0x30, 0x82, 0x01, 0x00],
        ]
    ) { octets in
        func use(_ certificate: Certificate) {
            _ = (certificate.dnsNames, certificate.spkiSHA256, certificate.subjectText, certificate.issuerText)
            _ = certificate.isValid(forHost: "kms.example.com")
            _ = certificate.isIssued(by: certificate)
        }
        if let certificate = try? Certificate(der: octets) { use(certificate) }
        try Certificate.all(inPEM: text(octets)).forEach(use)
    },
    FuzzTarget("time-stamp-token", seeds: [[0x30, 0x03, 0x02, 0x01, 0x00]]) { octets in
        _ = try TimeStampToken(der: octets, over: [UInt8](repeating: 0, count: 32), roots: [])
    },
    FuzzTarget("private-keys", texts: ["-----BEGIN PRIVATE KEY-----\nMAA=\n-----END PRIVATE KEY-----\n"]) { octets in
        _ = try? PrivateKey(pem: octets)
        _ = try PrivateKey(encryptedPEM: octets, passphrase: SecretBytes(copying: [1, 2, 3]))
    },
]
