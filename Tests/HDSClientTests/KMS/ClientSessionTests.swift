import Synchronization
import Cryptography
import Diagnostics
import JOSEEncryption
import JOSESignature
import KMSClient
import KMSProtocol
import SecretMemory
import Testing
import WireText

@Suite("A client's session")
struct ClientSessionTests {
    let clock = TestClock()
    let kms: TestKMS
    let session: KMSClientSession

    init() throws {
        kms = try TestKMS(clock: clock)
        session = try kms.openSession()
    }

    private func sessionKey() throws -> SymmetricKey {
        try #require(kms.state.withLock { $0.sessions[session.uri] })
    }

    private func wrap(_ operation: KMSOperation) throws -> KMSWrappedRequest {
        try session.wrap(operation, as: TestKMS.credential(), at: clock.now)
    }

    private func verdict(_ text: String) -> DiagnosedError.Code? { code { _ = try session.open(text) } }

    @Test("A request carries counter and time, and the counter rises with each")
    func counters() throws {
        var last: Int64 = 0
        for _ in 0..<50 {
            let request = try wrap(.retrieveKey(kms.names.key(UUIDText.random())))
            #expect(request.counter > last)
            last = request.counter
            _ = try kms.answer(request.text)
        }
        let requests = kms.state.withLock { $0.requests }
        #expect(requests.count == 50)
        #expect(requests.map(\.counter) == requests.map(\.counter).sorted { ($0 ?? 0) < ($1 ?? 0) })
        #expect(requests.allSatisfy { $0.time == clock.now && $0.clientID == TestKMS.device })
    }

    @Test("The counter goes on after a restore, also with a clock that was set back, and leaps when it was too low")
    func counterAfterRestore() throws {
        let first = try wrap(.ping).counter
        let restored = try restoredSession()
        let early = clock.now.adding(seconds: -7200)
        let second = try restored.wrap(.ping, as: TestKMS.credential(), at: early).counter
        #expect(second == first + 1)
        restored.raiseCounter()
        #expect(try restored.wrap(.ping, as: TestKMS.credential(), at: early).counter > second + 900_000)
    }

    @Test("Two processes that share a session stay in the order of time")
    func counterOfTwo() throws {
        let other = try restoredSession()
        var last: Int64 = 0
        for turn in 0..<20 {
            clock.advance(milliseconds: 1)
            let session = turn % 2 == 0 ? session : other
            let counter = try session.wrap(.ping, as: TestKMS.credential(), at: clock.now).counter
            #expect(counter > last)
            last = counter
        }
    }

    private func restoredSession() throws -> KMSClientSession {
        var json = JSONWriter()
        session.write(to: &json)
        return try KMSClientSession(restoring: JSONDocument(json.bytes()).root)
    }

    @Test("A restored session opens what the first one would")
    func restore() throws {
        let request = try wrap(.ping)
        let answer = try #require(try kms.answer(request.text))
        let restored = try restoredSession()
        #expect(try restored.open(answer).status == 200)
        #expect(restored.uri == session.uri)
        #expect(restored.expires == session.expires)
        #expect(restored.clockOffset == session.clockOffset)
    }

    @Test("A stored session with a part missing or malformed is not restored")
    func brokenRecord() throws {
        var json = JSONWriter()
        session.write(to: &json)
        let whole = json.text()
        let document = try JSONDocument(json.bytes())
        for (name, value) in try #require(document.root.members) {
            let member = "\"\(name)\":" + (value.kind == .string ? "\"\(value.rawText)\"" : value.rawText)
            let without = whole.replacing(member, with: "\"x\":1")
            #expect(without != whole)
            #expect(
                code { _ = try KMSClientSession(restoring: JSONDocument(Array(without.utf8)).root) }
                    == .kmsSessionRecord,
                "\(name)")
        }
    }

    @Test("An answer under another session's name is refused, also when the key is the same")
    func otherSession() throws {
        let other = try kms.openSession()
        let json = KMSAnswer(status: 200, requestID: "r").json().text()
        let uri = "kms://\(TestPKI.host)/ecdhe/\(UUIDText.random())"
        #expect(verdict(try kms.wrap(text: json, key: sessionKey(), kid: uri)) == .kmsForeignAnswer)
        #expect(verdict(try kms.wrap(text: json, key: sessionKey(), kid: nil)) == .kmsForeignAnswer)
        let request = try other.wrap(.ping, as: TestKMS.credential(), at: clock.now)
        #expect(verdict(try #require(try kms.answer(request.text))) == .kmsForeignAnswer)
    }

    @Test("An answer under another key is refused, and one with a changed octet")
    func tampered() throws {
        let json = KMSAnswer(status: 200, requestID: "r").json().text()
        #expect(verdict(try kms.wrap(text: json, key: .random(), kid: session.uri)) == .kmsForeignAnswer)
        let text = try kms.wrap(text: json, key: sessionKey(), kid: session.uri)
        let parts = text.split(separator: ".", omittingEmptySubsequences: false).map(String.init)
        for index in [0, 2, 3, 4] {
            var bytes = try #require(Base64URL.decode(parts[index]))
            bytes[bytes.count / 2] ^= 1
            var changed = parts
            changed[index] = Base64URL.encode(bytes)
            #expect(verdict(changed.joined(separator: ".")) == .kmsForeignAnswer, "part \(index)")
        }
    }

    @Test("Other ways of encryption are refused, and what is no JWE")
    func otherAlgorithms() throws {
        let key = try kms.verifiedKey()
        let wrapped = try [UInt8]("{}".utf8).withUnsafeBytes {
            String(decoding: try JWE.encryptRSAOAEP($0, to: key.publicKey, kid: session.uri), as: UTF8.self)
        }
        for text in [wrapped, "", "a.b.c.d.e", "....", "a", String(repeating: ".", count: 5)] {
            #expect(verdict(text) == .kmsForeignAnswer, "\(text.prefix(20))")
        }
    }

    @Test("One's own request sent back is refused, and any text with a method or without status")
    func reflected() throws {
        #expect(verdict(try wrap(.ping).text) == .kmsReflected)
        for text in ["{\"status\":200,\"requestId\":\"r\",\"method\":\"retrieve\"}", "{\"requestId\":\"r\"}", "{}"] {
            #expect(verdict(try kms.wrap(text: text, key: sessionKey(), kid: session.uri)) == .kmsReflected, "\(text)")
        }
    }

    @Test(
        "What is no answer is refused",
        arguments: ["[]", "1", "{\"status\":\"200\"}", "{\"status\":20}", "{", "nonsense"])
    func malformed(text: String) throws {
        let verdict = verdict(try kms.wrap(text: text, key: sessionKey(), kid: session.uri))
        #expect([.kmsMalformedAnswer, .malformedJSON].contains(verdict))
    }

    @Test("An answer with another request id does not fit")
    func otherRequest() throws {
        let request = try wrap(.ping)
        let other = KMSAnswer(status: 200, requestID: UUIDText.random())
        #expect(code { try request.check(other, host: TestPKI.host) } == .kmsMismatch)
        #expect(code { try request.check(KMSAnswer(status: 200, requestID: nil), host: TestPKI.host) } == .kmsMismatch)
        #expect(code { try request.check(KMSAnswer(status: 200, requestID: request.id), host: TestPKI.host) } == nil)
    }

    @Test("A session is used until a minute before its end, by the KMS's clock")
    func usable() {
        #expect(session.isUsable(at: clock.now))
        #expect(session.isUsable(at: clock.now.adding(seconds: 86_400 - 61)))
        #expect(!session.isUsable(at: clock.now.adding(seconds: 86_400 - 60)))
    }

    @Test("A reset of this session at this time ends it")
    func reset() throws {
        try session.accept(reset(session.uri, clock.now), at: clock.now)
        try session.accept(reset(session.uri, clock.now.adding(seconds: 300)), at: clock.now)
    }

    @Test("A reset of another session, of another time, from before the session, or that says neither does not")
    func foreignReset() {
        let now = clock.now
        let resets: [(String?, Timestamp?)] = [
            ("kms://\(TestPKI.host)/ecdhe/\(UUIDText.random())", now), (nil, now), (session.uri, nil), (nil, nil),
            (session.uri, now.adding(seconds: 301)), (session.uri, session.created.adding(milliseconds: -1)),
        ]
        for (uri, time) in resets {
            #expect(code { try session.accept(self.reset(uri, time), at: now) } == .kmsReset)
        }
        // The cloud kept a genuine one for six minutes.
        #expect(
            code { try session.accept(self.reset(session.uri, now.adding(seconds: 1)), at: now.adding(seconds: 361)) }
                == .kmsReset)
    }

    private func reset(_ session: String?, _ time: Timestamp?) -> KMSReset {
        KMSReset(reason: "gone", requestID: "r", session: session, time: time)
    }

    @Test("Neither session nor credential show a secret when they are printed")
    func descriptions() throws {
        let shown = "\(session) \(TestKMS.credential()) \(String(reflecting: session))"
        #expect(!shown.contains(TestKMS.bearer))
        let key = try sessionKey().withUnsafeBytes { Hexadecimal.encode($0) }
        #expect(!shown.contains(key))
    }
}
