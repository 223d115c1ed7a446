import Encryption
import JOSEEncryption
import KMSProtocol
import KeyManagement
import PostQuantum
import SecretMemory
import Testing
import WireText

/// Sessions with ML-KEM-768 beside P-256 (docs/post-quantum.md), at the KMS.
@Suite("Post-quantum sessions at the KMS")
struct PostQuantumTests {
    /// A request to open a session with this text as the member `postQuantum`.
    private func opening(_ kms: TestKMS, _ own: P256Agreement, _ offer: String) throws -> [UInt8] {
        let json = """
            {"requestId":"\(UUIDText.random())","method":"create","uri":"/ecdhe","jwk":{"kty":"EC","crv":"P-256",\
            "x":"\(Base64URL.encode(own.publicX))","y":"\(Base64URL.encode(own.publicY))"},"postQuantum":\(offer),\
            "client":{"clientId":"d1","credential":{"userId":"\(People.alice)","bearer":"\(TestTokens.token(People.alice))"}}}
            """
        return try Array(json.utf8).withUnsafeBytes {
            try JWE.encryptRSAOAEP($0, to: kms.staticPublicKey, kid: kms.staticKey.kid)
        }
    }

    private func answer(_ kms: TestKMS, _ own: P256Agreement, _ offer: String) async throws -> KMSAnswer {
        try kms.openSigned(await kms.handler.reply(to: try opening(kms, own, offer), source: UUIDText.random()))
    }

    private func offer(_ key: [UInt8]) -> String {
        "{\"alg\":\"ML-KEM-768\",\"encapsulationKey\":\"\(Base64URL.encode(key))\"}"
    }

    /// A request under the session, with the key that this test derived.
    private func pings(_ kms: TestKMS, _ session: String, _ key: SymmetricKey) async throws -> Bool {
        let client = TestClient(
            kms: kms, user: People.alice, session: session, key: key, token: TestTokens.token(People.alice))
        return try await client.ask("update", "/ping").status == 200
    }

    @Test("an offer is taken, and its secret is part of the session's key")
    func taken() async throws {
        let kms = try await TestKMS.start()
        let own = try P256Agreement.generate()
        let pair = try MLKEM768KeyPair.generate()
        let answer = try await answer(kms, own, offer(pair.publicKey))
        guard case .ephemeralKey(let key) = answer.body, let ciphertext = key.ciphertext else {
            Issue.record("no hybrid session: \(answer)")
            return
        }
        let z = try own.sharedSecret(withX: key.x, y: key.y)
        let hybrid = try KMSHandshake.sessionKey(
            from: z, and: pair.secret(from: ciphertext),
            transcript: .init(
                clientX: own.publicX, clientY: own.publicY, encapsulationKey: pair.publicKey, serverX: key.x,
                serverY: key.y, ciphertext: ciphertext))
        #expect(try await pings(kms, key.uri, hybrid))
        await #expect(throws: (any Error).self) {
            _ = try await pings(kms, key.uri, KMSHandshake.sessionKey(from: z))
        }
    }

    @Test("where the policy is against it, and for an algorithm that is unknown, the session is opened without")
    func without() async throws {
        var policy = TestKMS.testPolicy()
        policy.takesPostQuantum = false
        let off = try await TestKMS.start(policy: policy)
        let on = try await TestKMS.start()
        let pair = try MLKEM768KeyPair.generate()
        for (kms, offer) in [
            (off, offer(pair.publicKey)), (on, "{\"alg\":\"ML-KEM-4096\",\"encapsulationKey\":\"AA\"}"),
        ] {
            let own = try P256Agreement.generate()
            let answer = try await answer(kms, own, offer)
            guard case .ephemeralKey(let key) = answer.body else {
                Issue.record("no session: \(answer)")
                continue
            }
            #expect(key.ciphertext == nil)
            let plain = try KMSHandshake.sessionKey(from: own.sharedSecret(withX: key.x, y: key.y))
            #expect(try await pings(kms, key.uri, plain))
        }
    }

    @Test("an offer that is no key of ML-KEM-768 gets a signed 400 that says what is wanted")
    func malformed() async throws {
        let kms = try await TestKMS.start()
        let own = try P256Agreement.generate()
        let outside: [UInt8] = [UInt8](repeating: 0xFF, count: 1184)
        for text in [
            "7", "{}", "[]", "null", "{\"alg\":\"ML-KEM-768\"}", offer([]), offer([UInt8](repeating: 1, count: 1183)),
            offer(outside), "{\"alg\":\"ML-KEM-768\",\"encapsulationKey\":\"***\"}",
        ] {
            let answer = try await answer(kms, own, text)
            #expect(answer.status == 400, "\(text)")
            #expect(answer.reason?.contains("ML-KEM-768") == true, "\(text)")
        }
    }
}
