import SecretMemory
import Cryptography
import Diagnostics
import JOSESignature
import KMSClient
import KMSProtocol
import Testing
import WireText

@Suite("Signed messages of the KMS")
struct SignedMessageTests {
    let clock = TestClock()
    let kms: TestKMS
    let key: VerifiedStaticKey
    let pki: TestPKI

    init() throws {
        pki = try TestPKI.shared.get()
        kms = try TestKMS(clock: clock)
        key = try kms.verifiedKey()
    }

    private func verdict(_ text: String) -> DiagnosedError.Code? {
        code { _ = try SignedMessage(text, signedBy: key) }
    }

    private var payload: [UInt8] { KMSAnswer(status: 201, requestID: "r1").json().bytes() }

    @Test("A genuine answer and a genuine reset are told apart")
    func genuine() throws {
        guard
            case .answer(let answer) = try SignedMessage(
                try kms.sign(KMSAnswer(status: 401, requestID: "r").json()), signedBy: key)
        else { throw TestFailure("no answer") }
        #expect(answer.status == 401)
        guard case .reset(let reset) = try SignedMessage(try kms.reset(session: "s"), signedBy: key) else {
            throw TestFailure("no reset")
        }
        #expect(reset.session == "s")
    }

    @Test("Another kid, and none, are refused although the signature is right")
    func wrongKid() throws {
        let private_ = try pki.key("kms")
        for kid in [nil, "kms://\(TestPKI.host)/statickeys/1", key.kid + " "] {
            #expect(
                verdict(try JWS.sign(payload, with: private_, algorithm: .ps256, kid: kid, typ: nil)) == .kmsSignature)
        }
    }

    @Test("The signature of another key is refused, also of one with the same name and issuer")
    func wrongKey() throws {
        for name in ["stranger", "renewed"] {
            let text = try JWS.sign(payload, with: pki.key(name), algorithm: .ps256, kid: key.kid, typ: nil)
            #expect(verdict(text) == .kmsSignature)
        }
    }

    @Test("A changed octet of header, payload or signature is refused")
    func tampered() throws {
        let text = try kms.sign(KMSAnswer(status: 201, requestID: "r1").json())
        let parts = text.split(separator: ".").map(String.init)
        for index in parts.indices {
            var bytes = try #require(Base64URL.decode(parts[index]))
            bytes[bytes.count / 2] ^= 1
            var changed = parts
            changed[index] = Base64URL.encode(bytes)
            #expect(verdict(changed.joined(separator: ".")) == .kmsSignature, "part \(index)")
        }
    }

    @Test("alg none, HS256 under the public key, and other strong algorithms are refused")
    func algorithms() throws {
        func forged(_ algorithm: String, _ signature: [UInt8]) -> String {
            let header = "{\"alg\":\"\(algorithm)\",\"kid\":\"\(key.kid)\"}"
            return [Base64URL.encode(Array(header.utf8)), Base64URL.encode(payload), Base64URL.encode(signature)]
                .joined(separator: ".")
        }
        #expect(verdict(forged("none", [])) == .kmsSignature)
        let input = forged("HS256", []).split(separator: ".").prefix(2).joined(separator: ".")
        let modulus = try #require(key.publicKey.rsaModulus)
        for secret in [key.publicKey.subjectPublicKeyInfo, modulus, Array(key.publicKey.pem.utf8)] {
            let code = HMACSHA256.code(for: Array(input.utf8), key: .init(copying: secret))
            #expect(verdict(input + "." + Base64URL.encode(code)) == .kmsSignature)
        }
        for algorithm in [SignatureAlgorithm.ps384, .rs512] {
            let text = try? JWS.sign(payload, with: pki.key("kms"), algorithm: algorithm, kid: key.kid, typ: nil)
            if let text { #expect(verdict(text) == .kmsSignature, "\(algorithm)") }
        }
    }

    @Test("A signed request that was sent back is refused")
    func reflected() throws {
        for text in [
            "{\"requestId\":\"r\",\"method\":\"create\"}", "{\"requestId\":\"r\",\"method\":\"create\",\"status\":200}",
        ] {
            let signed = try JWS.sign(Array(text.utf8), with: pki.key("kms"), algorithm: .ps256, kid: key.kid, typ: nil)
            #expect(verdict(signed) == .kmsReflected)
        }
    }

    @Test("What is no JWS, no JSON or no answer is refused", arguments: ["", "a.b.c", "..", "a.b", "é.é.é"])
    func hostile(text: String) { #expect(verdict(text) == .kmsSignature) }

    @Test("Signed nonsense is refused", arguments: ["[]", "x", "{\"status\":\"201\"}", "{}"])
    func nonsense(text: String) throws {
        let signed = try JWS.sign(Array(text.utf8), with: pki.key("kms"), algorithm: .ps256, kid: key.kid, typ: nil)
        #expect([.kmsMalformedAnswer, .kmsReflected].contains(verdict(signed)))
    }
}
