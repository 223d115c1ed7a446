import Cryptography
import JOSESignature
import KMSProtocol
import KeyManagement
import SecretMemory
import Testing
import WireText

/// Whose tokens the KMS believes (protocol, section 6; security model, rules 1 and 2).
@Suite("Bearer tokens that are JWTs")
struct JWTBearerVerifierTests {
    private let now = TestIssuer.now
    private let issuer: TestIssuer

    init() throws { issuer = try TestIssuer() }

    private func directory(_ change: (inout TokenPolicy) -> Void = { _ in }) -> BearerDirectory {
        BearerDirectory(issuers: [issuer.verifier(change)])
    }

    @Test("a token of the issuer for the KMS says who it is, by whom, for whom and until when")
    func good() async throws {
        let print = try #require(JWK.thumbprint(of: issuer.key.publicKey))
        let identity = try await directory().identity(
            of: issuer.token(["cnf": "{\"jkt\":\"\(print)\"}", "aud": "[\"other\",\"kms\"]"]), now: now)
        #expect(
            identity
                == TokenIdentity(
                    userID: People.alice, clientID: "hds-cli", scopes: ["a", "b"], issuer: issuer.name,
                    expires: now.adding(seconds: 600), tokenID: "t1", organisation: "o1", audience: ["other", "kms"],
                    isCustomerControlled: true, issued: now, confirmation: print))
    }

    @Test("every refusal is 401 with one sentence for the client, and names its rule for the audit")
    func refusals() async throws {
        let directory = directory()
        let stranger = try PrivateKey.generateP256()
        func at(_ seconds: Int64) -> String { "\(now.seconds + seconds)" }
        let cases: [(String, String)] = [
            (try issuer.token(["aud": "\"cloud\""]), "token-wrong-audience"),
            (try issuer.token(["aud": nil]), "token-wrong-audience"),
            (try issuer.token(["aud": "\"KMS\""]), "token-wrong-audience"),
            (try issuer.token(["iss": "\"https://evil.example.com\""]), "token-unknown-issuer"),
            (try issuer.token(["iss": "\"\(issuer.name)/\""]), "token-unknown-issuer"),
            (try issuer.token(["exp": at(-60)]), "token-expired"),
            (try issuer.token(["exp": nil]), "token-malformed"),
            (try issuer.token(["nbf": at(61)]), "token-not-yet-valid"),
            (try issuer.token(["iat": at(61)]), "token-not-yet-valid"),
            (try issuer.token(["exp": at(86_401)]), "token-too-long-lived"),
            (try issuer.token(["iat": nil]), "token-too-long-lived"),
            (try issuer.token(["sub": nil]), "token-malformed"), (try issuer.token(["sub": "\"\""]), "token-malformed"),
            (try issuer.token(["sub": "7"]), "token-malformed"),
            (try issuer.token(["cnf": "{\"x5t#S256\":\"abc\"}"]), "token-malformed"),
            (try issuer.token(["cnf": "\"x\""]), "token-malformed"),
            (try issuer.token(typ: "JWT"), "token-wrong-type"), (try issuer.token(typ: nil), "token-wrong-type"),
            (try issuer.token(typ: RevocationDocument.type), "token-wrong-type"),
            (try issuer.token(kid: "k2"), "token-key-unknown"), (try issuer.token(kid: nil), "token-key-unknown"),
            (try issuer.token(key: stranger), "token-bad-signature"), ("", "token-malformed"),
            ("a.b.c", "token-malformed"), (try issuer.token(["iss": nil]), "token-malformed"),
            ("secret_P1_org", "token-malformed"),
        ]
        for (bearer, rule) in cases {
            #expect(await directory.verdict(bearer) == rule)
            await #expect {
                try await directory.identity(of: bearer, now: now)
            } throws: { error in
                let failure = error as? KMSFailure
                return failure?.status == 401 && failure?.reason == "Failed to authenticate the bearer token"
            }
        }
        let answer = KMSAnswer(KMSFailure(401, "no", rule: "token-expired"), requestID: "r")
        #expect(!answer.json().text().contains("token-expired"), "the rule never goes to the client")
    }

    @Test("clocks may differ by the configured skew, to the second, at every edge")
    func skew() async throws {
        for skew in [Int64(0), 60, 300] {
            let directory = directory { $0.clockSkew = skew }
            func at(_ seconds: Int64) -> String { "\(now.seconds + seconds)" }
            #expect(await directory.verdict(try issuer.token(["exp": at(-skew + 1)])) == "ok")
            #expect(await directory.verdict(try issuer.token(["exp": at(-skew)])) == "token-expired")
            #expect(await directory.verdict(try issuer.token(["nbf": at(skew)])) == "ok")
            #expect(await directory.verdict(try issuer.token(["nbf": at(skew + 1)])) == "token-not-yet-valid")
            #expect(await directory.verdict(try issuer.token(["iat": at(skew)])) == "ok")
            #expect(await directory.verdict(try issuer.token(["iat": at(skew + 1)])) == "token-not-yet-valid")
        }
    }

    @Test("life, scope and organisation are held against the policy")
    func policy() async throws {
        let short = directory { $0.longestLife = 600 }
        #expect(await short.verdict(try issuer.token()) == "ok")
        #expect(await short.verdict(try issuer.token(["exp": "\(now.seconds + 601)"])) == "token-too-long-lived")
        #expect(await directory { $0.scope = "b" }.verdict(try issuer.token()) == "ok")
        #expect(await directory { $0.scope = "kms" }.verdict(try issuer.token()) == "token-missing-scope")
        #expect(await directory { $0.scope = "a" }.verdict(try issuer.token(["scope": nil])) == "token-missing-scope")
        #expect(await directory { $0.organisation = "o1" }.verdict(try issuer.token()) == "ok")
        let other = directory { $0.organisation = "o2" }
        #expect(await other.verdict(try issuer.token()) == "token-wrong-organisation")
        #expect(await other.verdict(try issuer.token(["org": nil])) == "token-wrong-organisation")
        #expect(await directory { $0.audience = "vault" }.verdict(try issuer.token()) == "token-wrong-audience")
    }

    @Test("alg none, HMAC with the public key, another algorithm than the key's and a changed signature are refused")
    func confusion() async throws {
        let directory = directory()
        let parts = try issuer.token().split(separator: ".").map(String.init)
        func header(_ json: String) -> String { Base64URL.encode(Array(json.utf8)) }
        let none = header(#"{"alg":"none","typ":"at+jwt","kid":"k1"}"#) + "." + parts[1] + "."
        let hmacHeader = header(#"{"alg":"HS256","typ":"at+jwt","kid":"k1"}"#)
        let tag = HMACSHA256.code(
            for: Array("\(hmacHeader).\(parts[1])".utf8), key: .init(copying: Array(issuer.key.publicKey.pem.utf8)))
        let hmac = "\(hmacHeader).\(parts[1]).\(Base64URL.encode(tag))"
        let relabelled = header(#"{"alg":"PS256","typ":"at+jwt","kid":"k1"}"#) + "." + parts[1] + "." + parts[2]
        let flipped = parts[0] + "." + parts[1] + "." + (parts[2].hasPrefix("A") ? "B" : "A") + parts[2].dropFirst()
        let rsa = try PrivateKey.generateRSA()
        let foreignAlgorithm = try issuer.token(key: rsa, algorithm: .ps256)
        for bearer in [none, none + "AA", hmac, relabelled, flipped, foreignAlgorithm] {
            #expect(await directory.verdict(bearer) == "token-bad-signature")
        }
        #expect(await directory.verdict(parts[0] + "." + parts[1]) == "token-malformed")
        issuer.published.withLock { $0 = [("r1", rsa.publicKey)] }
        #expect(await directory.verdict(try issuer.token(kid: "r1", key: rsa, algorithm: .ps256)) == "ok")
        #expect(await directory.verdict(try issuer.token(kid: "r1", key: rsa, algorithm: .rs256)) == "ok")
        #expect(
            await directory.verdict(try issuer.token(kid: "r1", key: rsa, algorithm: .ps512)) == "token-bad-signature")
    }

    @Test("a key that the set lacks has the set fetched anew: tokens under the next key are good at once")
    func rollover() async throws {
        let directory = directory()
        #expect(await directory.verdict(try issuer.token()) == "ok")
        let next = try PrivateKey.generateP256()
        let fresh = try issuer.token(kid: "k2", key: next)
        // The set that is held lacks k2; the issuer has rolled meanwhile.
        let asked = Shared([Bool]())
        let held = Shared([("k1", issuer.key.publicKey)])
        let (old, new) = (issuer.key.publicKey, next.publicKey)
        let rolling = BearerDirectory(issuers: [
            JWTBearerVerifier(policy: issuer.policy()) { refresh in
                asked.withLock { $0.append(refresh) }
                if refresh { held.withLock { $0 = [("k1", old), ("k2", new)] } }
                return JWKSet(keys: held.value.map { JWK(publicKey: $0.1, kid: $0.0, use: "sig", alg: "ES256") })
            }
        ])
        #expect(await rolling.verdict(try issuer.token()) == "ok")
        #expect(asked.value == [false])
        #expect(await rolling.verdict(fresh) == "ok")
        #expect(asked.value == [false, false, true])
        #expect(await rolling.verdict(try issuer.token(["jti": "\"t2\""])) == "ok", "the old key goes on")
        held.withLock { $0 = [("k2", new)] }
        let withdrawn = try issuer.token(["jti": "\"t3\""], kid: "k0")
        #expect(await rolling.verdict(withdrawn) == "token-key-unknown")
    }

    @Test("outcomes are remembered: a good token for a minute and never past its end, a bad one for five seconds")
    func memory() async throws {
        let directory = directory()
        let good = try issuer.token()
        let short = try issuer.token(["exp": "\(now.seconds + 10)"])
        #expect(await directory.verdict(good) == "ok")
        #expect(await directory.verdict(short) == "ok")
        #expect(try directory.remembered(good, now: now) != nil)
        #expect(try directory.remembered(good, now: now.adding(seconds: 60)) == nil)
        #expect(try directory.remembered(short, now: now.adding(seconds: 10)) == nil)
        let asked = issuer.fetches.value
        #expect(await directory.verdict(good) == "ok")
        #expect(issuer.fetches.value == asked, "remembered")
        issuer.published.withLock { $0 = [] }
        #expect(await directory.verdict(good, at: now.adding(milliseconds: 59_999)) == "ok")
        #expect(await directory.verdict(good, at: now.adding(seconds: 60)) == "token-key-unknown", "it was withdrawn")
        #expect(await directory.verdict(short, at: now.adding(seconds: 10)) == "token-key-unknown", "its end")
        let key = issuer.key.publicKey
        issuer.published.withLock { $0 = [("k1", key)] }
        let later = now.adding(seconds: 62)
        #expect(await directory.verdict(good, at: later) == "token-key-unknown", "a refusal is remembered")
        #expect(await directory.verdict(good, at: later.adding(milliseconds: 2999)) == "token-key-unknown")
        #expect(await directory.verdict(good, at: later.adding(seconds: 3)) == "ok")
    }

    @Test("when keys can not be fetched the answer is 500, nothing is remembered, and no stale outcome is used")
    func unavailable() async throws {
        let directory = directory()
        let token = try issuer.token()
        issuer.isAway.withLock { $0 = true }
        #expect(await directory.verdict(token) == "token-unchecked")
        await #expect(throws: KMSFailure(500, "the bearer token can not be checked now", rule: "token-unchecked")) {
            try await directory.identity(of: token, now: now)
        }
        issuer.isAway.withLock { $0 = false }
        #expect(await directory.verdict(token) == "ok")
        issuer.isAway.withLock { $0 = true }
        #expect(await directory.verdict(token, at: now.adding(seconds: 60)) == "token-unchecked")
    }

    @Test("several issuers are told apart: each is believed for its own tokens only")
    func severalIssuers() async throws {
        let own = try TestIssuer("https://idp.example.com")
        let both = BearerDirectory(issuers: [issuer.verifier(), own.verifier { $0.audience = "vault" }])
        #expect(await both.verdict(try issuer.token()) == "ok")
        #expect(await both.verdict(try own.token(["aud": "\"vault\""])) == "ok")
        #expect(await both.verdict(try own.token()) == "token-wrong-audience")
        let lie = try own.token(["iss": "\"\(issuer.name)\""])
        #expect(await both.verdict(lie) == "token-bad-signature", "signed by one, named after the other")
        #expect(both.isCustomerControlled)
        let cloud = BearerDirectory(issuers: [issuer.verifier(), own.verifier { $0.isCustomerControlled = false }])
        #expect(!cloud.isCustomerControlled)
        #expect(try await !cloud.identity(of: own.token(), now: now).isCustomerControlled)
    }

    @Test("a flood of bad tokens is bounded and does not push good ones out")
    func flood() async throws {
        let directory = BearerDirectory(issuers: [issuer.verifier()], capacity: 8)
        let good = try issuer.token()
        #expect(await directory.verdict(good) == "ok")
        for number in 0..<100 { #expect(await directory.verdict("bad\(number)") == "token-malformed") }
        let asked = issuer.fetches.value
        #expect(await directory.verdict(good) == "ok")
        #expect(issuer.fetches.value == asked, "still remembered")
        for number in 0..<20 { #expect(await directory.verdict(try issuer.token(["jti": "\"\(number)\""])) == "ok") }
        let before = issuer.fetches.value
        #expect(await directory.verdict(good) == "ok")
        #expect(issuer.fetches.value == before + 1, "20 good ones have pushed it out of room for 8")
    }
}
