import Synchronization
import Cryptography
import Diagnostics
import Encryption
import JOSESignature
import KMSClient
import KMSProtocol
import Testing
import WireText

@Suite("Opening a session")
struct SessionOpeningTests {
    let clock = TestClock()
    let kms: TestKMS
    let key: VerifiedStaticKey

    init() throws {
        kms = try TestKMS(clock: clock)
        key = try kms.verifiedKey()
    }

    private func opening() throws -> SessionOpening {
        try SessionOpening(to: key, as: TestKMS.credential(), at: clock.now)
    }

    private func answer(_ opening: SessionOpening) throws -> KMSAnswer {
        let text = try #require(try kms.answer(opening.text))
        guard case .answer(let answer) = try SignedMessage(text, signedBy: key) else { throw TestFailure("a reset") }
        return answer
    }

    /// A signed answer to an opening with one value changed.
    private func refusal(_ change: (inout KMSEphemeralKey) -> Void) throws -> DiagnosedError.Code? {
        let opening = try opening()
        var answer = try answer(opening)
        guard case .ephemeralKey(var offered) = answer.body else { throw TestFailure("no key") }
        change(&offered)
        answer.body = .ephemeralKey(offered)
        return code { _ = try opening.finish(answer, at: clock.now) }
    }

    @Test("Both halves derive the same key, with PS256 and with RS256", arguments: [SignatureAlgorithm.ps256, .rs256])
    func opens(algorithm: SignatureAlgorithm) throws {
        let kms = try TestKMS(clock: clock, algorithm: algorithm)
        let session = try kms.openSession()
        #expect(session.userID == TestKMS.user)
        #expect(session.host == TestPKI.host)
        #expect(session.expires == clock.now.adding(seconds: 86_400))
        let request = try session.wrap(.ping, as: TestKMS.credential(), at: clock.now)
        let reply = try session.open(try #require(try kms.answer(request.text)))
        try request.check(reply, host: TestPKI.host)
        #expect(reply.status == 200)
    }

    @Test("The session's clock is the KMS's, and never ahead of it")
    func clockOffset() throws {
        let opening = try SessionOpening(to: key, as: TestKMS.credential(), at: clock.now.adding(seconds: -3600))
        let answer = try answer(opening)
        // The local clock is an hour slow and the answer took two seconds.
        let local = clock.now.adding(seconds: -3600 + 2)
        let session = try opening.finish(answer, at: local)
        #expect(session.clockOffset == 3_598_000)
        #expect(session.time(at: local) == clock.now)
    }

    @Test("An answer that comes later than 45 s is not used: it would shift the clock")
    func lateAnswer() throws {
        let opening = try opening()
        let answer = try answer(opening)
        #expect(code { _ = try opening.finish(answer, at: clock.now.adding(seconds: 46)) } == .kmsSession)
        #expect(code { _ = try opening.finish(answer, at: clock.now.adding(seconds: 45)) } == nil)
    }

    @Test("A life outside 60 s to 24 days is refused")
    func life() throws {
        for seconds: Int64 in [-1, 0, 59, 24 * 86_400 + 1] {
            #expect(
                try refusal { $0.expirationDate = $0.createDate.adding(seconds: seconds) } == .kmsSession, "\(seconds)")
        }
        for seconds: Int64 in [60, 24 * 86_400] {
            #expect(try refusal { $0.expirationDate = $0.createDate.adding(seconds: seconds) } == nil, "\(seconds)")
        }
    }

    @Test("Another user, another device, another host, and what is no session URI are refused")
    func identity() throws {
        #expect(try refusal { $0.userID = "a77c0000-0000-4000-8000-000000000002" } == .kmsSession)
        #expect(try refusal { $0.clientID = "https://core.example.com/devices/78" } == .kmsSession)
        #expect(try refusal { $0.uri = "kms://other.example.com/ecdhe/\(UUIDText.random())" } == .kmsSession)
        #expect(try refusal { $0.uri = "kms://\(TestPKI.host)/keys/\(UUIDText.random())" } == .kmsSession)
        #expect(try refusal { $0.uri = "/ecdhe/\(UUIDText.random())" } == .kmsSession)
    }

    @Test("A point that is not on the curve is refused, zero and infinity too")
    func point() throws {
        #expect(try refusal { $0.y[31] ^= 1 } == .kmsSession)
        #expect(
            try refusal {
                $0.x = [UInt8](repeating: 0, count: 32)
                $0.y = [UInt8](repeating: 0, count: 32)
            } == .kmsSession)
        #expect(try refusal { $0.x = [] } == .kmsSession)
    }

    @Test("The answer to another attempt is refused")
    func otherRequest() throws {
        let first = try opening()
        let second = try opening()
        let answer = try answer(first)
        #expect(code { _ = try second.finish(answer, at: clock.now) } == .kmsMismatch)
    }

    @Test("A signed refusal says what the KMS said")
    func refused() throws {
        kms.state.withLock { $0.acceptedBearers = [] }
        let opening = try opening()
        let answer = try answer(opening)
        #expect(throws: KMSRefusal.self) { try opening.finish(answer, at: clock.now) }
        #expect(code { _ = try opening.finish(answer, at: clock.now) } == .kmsUnauthorized)
    }

    @Test("A successful answer without a session key is refused")
    func noKey() throws {
        let opening = try opening()
        let answer = KMSAnswer(status: 201, requestID: opening.requestID)
        #expect(code { _ = try opening.finish(answer, at: clock.now) } == .kmsSession)
    }

    @Test("The request goes to the static key alone, and each has its own key pair and id")
    func request() throws {
        let (one, two) = (try opening(), try opening())
        #expect(one.requestID != two.requestID)
        #expect(one.text.split(separator: ".", omittingEmptySubsequences: false).count == 5)
        let header = try JOSEHeader.parse(one.text)
        #expect(header.alg == "RSA-OAEP")
        #expect(header.enc == "A256GCM")
        #expect(header.kid == key.kid)
    }
}

extension JOSEHeader {
    static func parse(_ compact: String) throws -> JOSEHeader {
        try Array(compact.prefix { $0 != "." }.utf8).withUnsafeBytes { try JOSEHeader.parse(base64url: $0) }
    }
}
