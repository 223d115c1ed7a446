import Cryptography
import JOSESignature
import KMSProtocol
import KeyManagement
import Testing
import WireText

@Suite("Revocations at the KMS")
struct RevocationListTests {
    private let now = TestIssuer.now
    private let issuer: TestIssuer
    private let list: RevocationList
    private let directory: BearerDirectory

    init() throws {
        let issuer = try TestIssuer()
        self.issuer = issuer
        list = RevocationList(issuer: issuer.name, oldest: 300, keys: { try await issuer.keySet($0) })
        let answer = Array(issuer.claims(["active": "true", "jti": "\"opaque-1\""]).utf8)
        directory = BearerDirectory(
            issuers: [issuer.verifier()],
            endpoints: [IntrospectionVerifier(policy: issuer.policy(), ask: { _ in answer })],
            revocations: [list])
    }

    private func document(
        version: Int64 = 1, issued: Int64 = 0, _ change: (inout RevocationDocument) -> Void = { _ in }
    ) -> RevocationDocument {
        var document = RevocationDocument(
            issuer: issuer.name, issued: now.adding(seconds: issued), version: version)
        change(&document)
        return document
    }

    private func signed(_ document: RevocationDocument, kid: String = "k1", key: PrivateKey? = nil) throws -> String {
        try document.signed(with: key ?? issuer.key, algorithm: .es256, kid: kid)
    }

    @Test("a token that is listed by its id is refused at once, also when it is remembered as good")
    func byID() async throws {
        let token = try issuer.token()
        let other = try issuer.token(["jti": "\"t2\""])
        #expect(await directory.verdict(token) == "ok")
        #expect(await directory.verdict("a_P1_o1") == "ok")
        try await list.take(signed(document { $0.tokens = ["t1": now, "opaque-1": now] }), now: now)
        #expect(await directory.verdict(token) == "token-revoked")
        #expect(throws: KMSFailure.self) { try directory.remembered(token, now: now) }
        #expect(await directory.verdict("a_P1_o1") == "token-revoked")
        #expect(await directory.verdict(other) == "ok")
        await #expect(
            throws: KMSFailure(401, "Failed to authenticate the bearer token", rule: "token-revoked")
        ) { try await directory.identity(of: token, now: now) }
    }

    @Test("what a subject was issued before a moment is refused, and what comes after is good")
    func bySubject() async throws {
        let (old, fresh) = (try issuer.token(["iat": "\(now.seconds - 1)"]), try issuer.token(["jti": "\"t2\""]))
        let bob = try issuer.token(["sub": "\"\(People.bob)\"", "iat": "\(now.seconds - 1)"])
        for token in [old, fresh, bob] { #expect(await directory.verdict(token) == "ok") }
        let cut = RevocationDocument.Cut(before: now, expires: now.adding(seconds: 600))
        try await list.take(signed(document { $0.subjects = [People.alice: cut] }), now: now)
        #expect(await directory.verdict(old) == "token-revoked")
        #expect(await directory.verdict(fresh) == "ok")
        #expect(await directory.verdict(bob) == "ok")
        try await list.take(signed(document(version: 2) { $0.everyone = cut }), now: now)
        #expect(await directory.verdict(bob) == "token-revoked")
        #expect(await directory.verdict(fresh) == "ok")
    }

    @Test("the list of one issuer says nothing about the tokens of another")
    func otherIssuer() async throws {
        let second = try TestIssuer("https://idp.example.com")
        let both = BearerDirectory(issuers: [issuer.verifier(), second.verifier()], revocations: [list])
        try await list.take(signed(document { $0.tokens = ["t1": now] }), now: now)
        #expect(await both.verdict(try issuer.token()) == "token-revoked")
        #expect(await both.verdict(try second.token()) == "ok")
    }

    @Test("an older list, one of the future, of a stranger or of another type changes nothing")
    func refused() async throws {
        let revoking = try signed(document(version: 5) { $0.tokens = ["t1": now] })
        try await list.take(revoking, now: now)
        let stranger = try PrivateKey.generateP256()
        var foreign = document(version: 9)
        foreign.issuer = "https://evil.example.com"
        let bad: [(String, String)] = [
            ("lower version", try signed(document(version: 4, issued: 10))),
            ("same version, signed before", try signed(document(version: 5, issued: -1))),
            ("future", try signed(document(version: 6, issued: 61))),
            ("stranger", try signed(document(version: 6), key: stranger)),
            ("unknown key", try signed(document(version: 6), kid: "k9")), ("another issuer", try signed(foreign)),
            ("access token", try issuer.token()), ("garbage", "x"), ("empty", ""),
        ]
        for (name, text) in bad {
            await #expect(throws: (any Error).self, "\(name)") { try await list.take(text, now: now) }
            #expect(await directory.verdict(try issuer.token()) == "token-revoked", "\(name)")
        }
        try await list.take(revoking, now: now)
        try await list.take(signed(document(version: 6)), now: now)
        #expect(await directory.verdict(try issuer.token(["iat": "\(now.seconds - 2)"])) == "ok")
    }

    @Test("its age is told: missing, fresh, and stale after the configured time")
    func state() async throws {
        #expect(list.state(now: now) == .missing)
        try await list.take(signed(document { $0.tokens = ["a": now, "b": now] }), now: now)
        #expect(list.state(now: now.adding(seconds: 300)) == .fresh(age: 300, entries: 2))
        #expect(list.state(now: now.adding(seconds: 301)) == .stale(age: 301))
        #expect(list.state(now: now.adding(seconds: -30)) == .fresh(age: 0, entries: 2))
        issuer.isAway.withLock { $0 = true }
        await #expect(throws: (any Error).self) { try await list.take(try signed(document(version: 2)), now: now) }
        #expect(list.state(now: now) == .fresh(age: 0, entries: 2), "what is held stays")
    }
}
