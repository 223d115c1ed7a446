import Cryptography
import JOSEEncryption
import JOSESignature
import Diagnostics
import KMSClient
import KMSProtocol
import SecretMemory
import Synchronization
import Testing
import WireText

@testable import HDSClient

/// A cloud between a client and a `TestKMS` that does to strings what the test says.
final class FakeCarrier: KMSCarrier {
    enum Treatment: Sendable {
        case deliver
        /// The KMS answers, the answer is lost.
        case loseAnswer
        /// The KMS never sees it.
        case loseRequest
        /// The KMS sees it when the test calls `release`.
        case hold
        /// These strings come instead of the answer.
        case replace([String])
        /// These come first, then the answer.
        case precede([String])
        case fail(DiagnosedError)
    }

    struct State {
        var treatments: [Treatment] = []
        var sent: [String] = []
        var batches: [Int] = []
        var held: [String] = []
        var bearer = TestKMS.bearer
        var renewedBearer: String?
        var renewals = 0
        /// What the user's issuer says to other organisations' KMSs, by host.
        var assertions: [String: String] = [:]
        var assertionsAsked: [String] = []
        var detailsRequests = 0
        var details: [UInt8]
        weak var connection: KMSConnection?
    }

    let kms: TestKMS
    let state: Mutex<State>

    init(_ kms: TestKMS) {
        self.kms = kms
        state = Mutex(State(details: kms.details))
    }

    func expect(_ treatments: Treatment...) { state.withLock { $0.treatments += treatments } }

    func details() async throws -> [UInt8] {
        state.withLock {
            $0.detailsRequests += 1
            return $0.details
        }
    }

    func credential(renewed: Bool) async throws -> KMSCredential {
        let bearer = state.withLock { state in
            if renewed {
                state.renewals += 1
                if let fresh = state.renewedBearer { state.bearer = fresh }
            }
            return state.bearer
        }
        return TestKMS.credential(bearer: bearer)
    }

    func assertion(forKMS host: String) async -> Redacted<String>? {
        state.withLock { state in
            state.assertionsAsked.append(host)
            return state.assertions[host].map { Redacted($0) }
        }
    }

    func send(_ messages: [String]) async throws {
        state.withLock { $0.batches.append(messages.count) }
        for message in messages {
            let treatment = state.withLock { state -> Treatment in
                state.sent.append(message)
                return state.treatments.isEmpty ? .deliver : state.treatments.removeFirst()
            }
            switch treatment {
            case .deliver: try await deliver(message)
            case .loseAnswer: _ = try kms.answer(message)
            case .loseRequest: break
            case .hold: state.withLock { $0.held.append(message) }
            case .replace(let texts): for text in texts { await push(text) }
            case .precede(let texts):
                for text in texts { await push(text) }
                try await deliver(message)
            case .fail(let error): throw error
            }
        }
    }

    func release() async throws {
        let held = state.withLock { state in
            defer { state.held = [] }
            return state.held
        }
        for message in held { try await deliver(message) }
    }

    func push(_ text: String) async { await state.withLock { $0.connection }?.receive(text) }

    private func deliver(_ message: String) async throws {
        if let answer = try kms.answer(message) { await push(answer) }
    }
}

@Suite("The connection with the KMS")
struct KMSConnectionTests {
    let clock = TestClock()
    let kms: TestKMS
    let carrier: FakeCarrier
    let connection: KMSConnection
    let store: StateStore
    let folder = TemporaryFolder()
    let notes = Notes()

    final class Notes: Sendable {
        let codes = Mutex<[DiagnosedError.Code]>([])
    }

    init() throws {
        kms = try TestKMS(clock: clock)
        carrier = FakeCarrier(kms)
        store = try StateStore.open(folder: folder.path) { nil }
        try store.update { $0.account = Account(id: TestKMS.user, email: "alice@example.com", name: "Alice") }
        connection = Self.connect(carrier, store, clock, notes)
        let connection = connection
        carrier.state.withLock { $0.connection = connection }
    }

    @Test("What is read from another organisation's KMS brings an assertion for it, when the issuer gives one")
    func assertions() async throws {
        let partner = "kms.partner.example.org"
        carrier.state.withLock { $0.assertions = [partner: "for-partner"] }
        let id = UUIDText.random()
        let uris = ["kms://\(partner)/keys/\(id)", "kms://KMS.Partner.example.org/resources/\(id)"]
        _ = try await connection.ask(.retrieveKey(uris[0]))
        _ = try await connection.ask(.retrieveResource(uris[1]))
        _ = try await connection.ask(.retrieveKey("kms://kms.unknown.example.org/keys/\(id)"))
        // The own KMS needs none, and nothing that changes something goes to another.
        _ = try await connection.ask(.retrieveKey("kms://\(TestPKI.host)/keys/\(id)"))
        _ = try await connection.ask(.createKeys(count: 1))
        _ = try await connection.ask(.deleteResource(uris[1]))
        let brought = kms.state.withLock { $0.requests }.map { request in
            request.body["client"]?["credential"]?["assertion"]?.string
        }
        #expect(brought == ["for-partner", "for-partner", nil, nil, nil, nil])
        #expect(carrier.state.withLock { $0.assertionsAsked } == [partner, partner, "kms.unknown.example.org"])
    }

    private static func connect(
        _ carrier: FakeCarrier, _ store: StateStore, _ clock: TestClock, _ notes: Notes
    ) -> KMSConnection {
        guard let trust = try? TestKMS.trust() else { fatalError("no certificates") }
        return KMSConnection(
            carrier: carrier, store: store, trust: trust, now: { clock.now }, sleep: clock.sleep,
            note: { error in notes.codes.withLock { $0.append(error.code) } })
    }

    /// Moves the clock past one waiting time as soon as the call waits for it.
    private func pass(seconds: Int64) async {
        await until { clock.hasSleeper(within: seconds * 1000) }
        clock.advance(seconds: seconds)
    }

    private var requestCount: Int { kms.state.withLock { $0.requests.count } }

    // MARK: - Session

    @Test("Forty calls at once open one session and leave in few batches")
    func oneSession() async throws {
        try await withThrowingTaskGroup(of: Int.self) { group in
            for _ in 0..<40 { group.addTask { try await connection.perform(.ping).status } }
            for try await status in group { #expect(status == 200) }
        }
        #expect(kms.state.withLock { $0.handshakes } == 1)
        #expect(carrier.state.withLock { $0.sent.count } == 41)
        #expect(try store.current().session != nil)
    }

    @Test("The next run goes on with the same session, and opens a new one when its life is over")
    func nextRun() async throws {
        try await connection.perform(.ping)
        let first = try store.current().session?.uri
        let next = Self.connect(carrier, try StateStore.open(folder: folder.path) { nil }, clock, notes)
        carrier.state.withLock { $0.connection = next }
        try await next.perform(.ping)
        #expect(kms.state.withLock { $0.handshakes } == 1)
        clock.advance(seconds: 86_400 - 59)
        try await next.perform(.ping)
        #expect(kms.state.withLock { $0.handshakes } == 2)
        #expect(try store.current().session?.uri != first)
    }

    @Test("A session that another process has opened meanwhile is used")
    func otherProcess() async throws {
        let other = try kms.openSession()
        try StateStore.open(folder: folder.path) { nil }.update { $0.session = other }
        try await connection.perform(.ping)
        #expect(kms.state.withLock { $0.handshakes } == 1)
    }

    @Test("A session of another user or host is not used")
    func foreignSession() async throws {
        let session = try kms.openSession()
        try store.update { state in
            state.session = session
            state.account?.id = UUIDText.random()
        }
        try await connection.perform(.ping)
        #expect(kms.state.withLock { $0.handshakes } == 2)
    }

    @Test("A handshake without answer is sent again with a new key pair; its late answer still counts")
    func lostHandshake() async throws {
        carrier.expect(.hold, .loseRequest)
        let call = Task { try await connection.perform(.ping).status }
        await pass(seconds: 6)
        await until { carrier.state.withLock { $0.sent.count } == 2 }
        try await carrier.release()
        #expect(try await call.value == 200)
        #expect(kms.state.withLock { $0.handshakes } == 1)
    }

    @Test("A forged details document opens nothing and sends nothing")
    func forgedDetails() async throws {
        let pki = try TestPKI.shared.get()
        let forged = try pki.details("stranger", chain: ["stranger", "issuing"])
        carrier.state.withLock { $0.details = forged }
        #expect(await code { try await connection.perform(.ping) } == .kmsUntrusted)
        #expect(carrier.state.withLock { $0.sent.isEmpty })
    }

    @Test("A bearer that the KMS refuses at the opening is renewed once")
    func handshakeRenewal() async throws {
        kms.state.withLock { $0.acceptedBearers = ["fresh"] }
        carrier.state.withLock { $0.renewedBearer = "fresh" }
        #expect(try await connection.perform(.ping).status == 200)
        #expect(carrier.state.withLock { $0.renewals } == 1)
        kms.state.withLock { $0.acceptedBearers = [] }
        try store.update { $0.session = nil }
        #expect(await code { try await connection.perform(.ping) } == .kmsUnauthorized)
    }

    // MARK: - Resets

    @Test("A valid reset ends the session; the call goes on with a new one")
    func reset() async throws {
        try await connection.perform(.ping)
        kms.forgetSessions()
        #expect(try await connection.perform(.ping).status == 200)
        #expect(kms.state.withLock { $0.handshakes } == 2)
    }

    @Test("A reset that is stale, of another session, unsigned or signed by another ends nothing")
    func invalidResets() async throws {
        try await connection.perform(.ping)
        let session = try #require(try store.current().session)
        let stranger = try KMSStaticKeyForge(leaf: "stranger")
        clock.advance(seconds: 600)
        let resets = [
            try kms.reset(session: session.uri, time: clock.now.adding(seconds: -301)),
            try kms.reset(session: session.uri, time: session.created.adding(seconds: -1)),
            try kms.reset(session: kms.names.session(UUIDText.random())), try kms.reset(session: nil),
            try stranger.reset(session: session.uri, kid: kms.staticKey.kid, time: clock.now),
        ]
        carrier.expect(.precede(resets))
        #expect(try await connection.perform(.ping).status == 200)
        #expect(try store.current().session?.uri == session.uri)
        #expect(kms.state.withLock { $0.handshakes } == 1)
        #expect(notes.codes.withLock { $0.contains(.kmsReset) && $0.contains(.kmsSignature) })
    }

    @Test("A KMS that loses each session at once does not lead to endless openings")
    func endlessResets() async throws {
        try await connection.perform(.ping)
        let verdict = await code {
            carrier.state.withLock { state in
                // Each handshake passes, each request meets a KMS without sessions.
                state.treatments = []
            }
            kms.forgetSessions()
            let spoiler = Task {
                var seen = 0
                while !Task.isCancelled {
                    let count = kms.state.withLock { $0.handshakes }
                    if count != seen {
                        seen = count
                        kms.forgetSessions()
                    }
                    await Task.yield()
                }
            }
            defer { spoiler.cancel() }
            try await connection.perform(.ping)
        }
        // Either the KMS was quick enough once, or the client gave up after three.
        #expect(verdict == nil || verdict == .kmsUnavailable)
        #expect(kms.state.withLock { $0.handshakes } <= 4)
    }

    // MARK: - Answers

    @Test("Without an answer a request is sent again after 6, 12 and 24 s, each time with a new id and counter")
    func resends() async throws {
        try await connection.perform(.ping)
        carrier.expect(.loseAnswer, .loseAnswer, .loseAnswer)
        let call = Task { await code { try await connection.perform(.createKeys(count: 1)) } }
        for (index, seconds) in [Int64(6), 12, 24].enumerated() {
            await until { requestCount == index + 2 }
            await until { clock.sleeperCount > 0 }
            clock.advance(seconds: seconds - 1)
            #expect(requestCount == index + 2)
            clock.advance(seconds: 1)
        }
        #expect(await call.value == .kmsNoAnswer)
        let requests = kms.state.withLock { $0.requests }.dropFirst()
        #expect(requests.count == 3)
        #expect(Set(requests.map(\.requestID)).count == 3)
        #expect(Set(requests.compactMap(\.counter)).count == 3)
        #expect(requests.map { $0.counter ?? 0 } == requests.map { $0.counter ?? 0 }.sorted())
    }

    @Test("The answer to an earlier sending counts when it comes at last")
    func lateAnswer() async throws {
        try await connection.perform(.ping)
        carrier.expect(.hold, .loseRequest)
        let call = Task { try await connection.perform(.createKeys(count: 2)) }
        await pass(seconds: 6)
        await until { carrier.state.withLock { $0.sent.count } == 4 }
        try await carrier.release()
        guard case .keys(let keys) = try await call.value.body else { throw TestFailure("no keys") }
        #expect(keys.count == 2)
    }

    @Test("Reflected, foreign, mismatched and malformed strings are noted and passed over")
    func hostileAnswers() async throws {
        try await connection.perform(.ping)
        let session = try #require(try store.current().session)
        let key = try #require(kms.state.withLock { $0.sessions[session.uri] })
        let request = try session.wrap(.ping, as: TestKMS.credential(), at: clock.now)
        let other = try kms.wrap(text: "{\"status\":200,\"requestId\":\"other\"}", key: key, kid: session.uri)
        let stranger = try kms.wrap(text: "{\"status\":200}", key: SymmetricKey.random(), kid: session.uri)
        carrier.expect(.precede([request.text, other, stranger, "", "a.b.c", "a.b.c.d.e", "nonsense"]))
        #expect(try await connection.perform(.ping).status == 200)
        #expect(notes.codes.withLock { $0.contains(.kmsReflected) && $0.contains(.kmsForeignAnswer) })
    }

    @Test("A right id with the wrong object is passed over: the call waits for its own answer")
    func wrongObject() async throws {
        guard case .keys(let keys) = try await connection.perform(.createKeys(count: 2)).body else {
            throw TestFailure("no keys")
        }
        carrier.expect(.hold)
        let call = Task { try await connection.perform(.retrieveKey(keys[0].uri)) }
        await until { carrier.state.withLock { !$0.held.isEmpty } }
        // The KMS is made to answer under the id of this request, but with the other key.
        let session = try #require(try store.current().session)
        let secret = try #require(kms.state.withLock { $0.sessions[session.uri] })
        let held = try #require(carrier.state.withLock { $0.held.first })
        let id = try TestKMS.requestID(of: held, key: secret)
        let wrong = KMSAnswer(status: 200, requestID: id, body: .key(keys[1]))
        await carrier.push(try kms.wrap(wrong, key: secret, kid: session.uri))
        #expect(notes.codes.withLock { $0.contains(.kmsMismatch) })
        try await carrier.release()
        guard case .key(let key) = try await call.value.body else { throw TestFailure("no key") }
        #expect(key.uri == keys[0].uri)
    }

    @Test("A refusal is thrown with the KMS's own status and reason")
    func refusal() async throws {
        let uri = kms.names.key(UUIDText.random())
        do {
            try await connection.perform(.retrieveKey(uri))
            Issue.record("given")
        } catch let refusal as KMSRefusal {
            #expect(refusal.status == 404)
            #expect(refusal.reason.contains(uri))
        }
    }

    @Test("A token that expired within the session is renewed once, without a handshake")
    func renewal() async throws {
        try await connection.perform(.ping)
        kms.state.withLock { $0.acceptedBearers = ["fresh"] }
        carrier.state.withLock { $0.renewedBearer = "fresh" }
        #expect(try await connection.perform(.ping).status == 200)
        #expect(carrier.state.withLock { $0.renewals } == 1)
        kms.state.withLock { $0.acceptedBearers = [] }
        #expect(await code { try await connection.perform(.ping) } == .kmsUnauthorized)
        #expect(carrier.state.withLock { $0.renewals } == 2)
        #expect(kms.state.withLock { $0.handshakes } == 1)
    }

    @Test("A counter that was too low leaps until it is high enough")
    func staleCounter() async throws {
        try await connection.perform(.ping)
        kms.state.withLock { state in
            state.enforcesCounters = true
            state.highestCounter += 30_000_000
        }
        #expect(try await connection.perform(.createKeys(count: 1)).status == 201)
    }

    @Test("Clocks that came apart lead to one new session")
    func staleTime() async throws {
        try await connection.perform(.ping)
        kms.state.withLock { $0.failures = [KMSFailure(409, "late", errorCode: KMSFailure.staleTimeCode)] }
        #expect(try await connection.perform(.ping).status == 200)
        #expect(kms.state.withLock { $0.handshakes } == 2)
        kms.state.withLock { state in
            state.failures = (0..<4).map { _ in KMSFailure(409, "late", errorCode: KMSFailure.staleTimeCode) }
        }
        #expect(await code { try await connection.perform(.ping) } == .kmsConflict)
    }

    @Test("429 is waited out a few times")
    func tooFast() async throws {
        try await connection.perform(.ping)
        kms.state.withLock { $0.failures = [KMSFailure(429, "slow down"), KMSFailure(429, "slow down")] }
        let call = Task { try await connection.perform(.ping).status }
        for count in [2, 3] {
            await until { requestCount == count && clock.hasSleeper(within: 4000) }
            clock.advance(seconds: 4)
        }
        #expect(try await call.value == 200)
    }

    @Test("A revoked master key has a name of its own, and a bare 405 has not")
    func revokedMasterKey() async throws {
        kms.state.withLock { $0.failures = [KMSFailure(405, "revoked", errorCode: 405_005)] }
        #expect(await code { try await connection.perform(.ping) } == .kmsMasterKeyRevoked)
        kms.state.withLock { $0.failures = [KMSFailure(405, "no")] }
        #expect(await code { try await connection.perform(.ping) } == .kmsFailed)
    }

    @Test("A cloud that can not take a string now is tried again, another refusal is told")
    func cloudFailures() async throws {
        try await connection.perform(.ping)
        carrier.expect(.fail(DiagnosedError(.cloudUnavailable, fault: .peer, "away")))
        let call = Task { try await connection.perform(.ping).status }
        await pass(seconds: 1)
        #expect(try await call.value == 200)
        carrier.expect(.fail(DiagnosedError(.cloudForbidden, fault: .client, "no")))
        #expect(await code { try await connection.perform(.ping) } == .cloudForbidden)
    }

    // MARK: - Order

    @Test("Mutating requests go one at a time, in the order of their counters, and nothing overtakes them")
    func order() async throws {
        try await connection.perform(.ping)
        kms.state.withLock { $0.enforcesCounters = true }
        try await withThrowingTaskGroup(of: Int.self) { group in
            for number in 0..<30 {
                group.addTask {
                    try await connection.perform(number % 3 == 0 ? .createKeys(count: 1) : .ping).status
                }
            }
            for try await status in group { #expect(status < 300) }
        }
        let counters = kms.state.withLock { $0.requests }.compactMap(\.counter)
        #expect(counters == counters.sorted())
        #expect(Set(counters).count == 31)
    }

    @Test("While a mutating request waits, no other leaves")
    func exclusive() async throws {
        try await connection.perform(.ping)
        carrier.expect(.hold)
        let change = Task { try await connection.perform(.createKeys(count: 1)).status }
        await until { carrier.state.withLock { !$0.held.isEmpty } }
        let read = Task { try await connection.perform(.ping).status }
        for _ in 0..<200 { await Task.yield() }
        #expect(carrier.state.withLock { $0.sent.count } == 3)
        try await carrier.release()
        #expect(try await change.value == 201)
        #expect(try await read.value == 200)
    }

    // MARK: - Carried by a service

    @Test("A carried request is taken once, however often its service fails on the way")
    func carried() async throws {
        let steps = Mutex<[String]>([])
        let call = Task {
            try await connection.carry(.createKeys(count: 1)) { wrapped, step in
                steps.withLock { $0.append(step) }
                let answer = try kms.answer(wrapped)
                guard steps.withLock({ $0.count }) == 3, let answer else {
                    throw DiagnosedError(.cloudUnavailable, fault: .peer, "lost")
                }
                return answer
            }
        }
        await pass(seconds: 1)
        await pass(seconds: 1)
        #expect(try await call.value.status == 201)
        // Nobody knew whether the step was taken, so it kept its name.
        #expect(Set(steps.withLock { $0 }).count == 1)
    }

    @Test("The service's answer to the first sending counts for a later one")
    func carriedDuplicate() async throws {
        let first = Mutex<String?>(nil)
        let call = Task {
            try await connection.carry(.createKeys(count: 1)) { wrapped, _ in
                if let stored = first.withLock({ $0 }) { return stored }
                let answer = try kms.answer(wrapped)
                first.withLock { $0 = answer }
                throw DiagnosedError(.cloudUnavailable, fault: .peer, "the answer was lost")
            }
        }
        await pass(seconds: 1)
        #expect(try await call.value.status == 201)
    }

    @Test("A refusal inside ends the step; a request that came too late is another step")
    func carriedRefusal() async throws {
        try await connection.perform(.ping)
        kms.state.withLock { $0.failures = [KMSFailure(409, "late", errorCode: KMSFailure.staleCounterCode)] }
        let steps = Mutex<Set<String>>([])
        try await connection.carry(.createKeys(count: 1)) { wrapped, step in
            steps.withLock { _ = $0.insert(step) }
            return try #require(try kms.answer(wrapped))
        }
        #expect(steps.withLock { $0.count } == 2)
        kms.state.withLock { $0.failures = [KMSFailure(403, "no")] }
        #expect(
            await code {
                try await connection.carry(.createKeys(count: 1)) { wrapped, _ in try #require(try kms.answer(wrapped))
                }
            }
                == .kmsForbidden)
    }

    @Test("What a service gives back in place of the KMS's answer is refused")
    func carriedForgery() async throws {
        try await connection.perform(.ping)
        for (text, expected) in [
            ("", DiagnosedError.Code.kmsForeignAnswer), ("a.b.c", .kmsSignature), ("a.b.c.d.e", .kmsForeignAnswer),
        ] {
            #expect(await code { try await connection.carry(.createKeys(count: 1)) { _, _ in text } } == expected)
        }
        #expect(
            await code { try await connection.carry(.createKeys(count: 1)) { wrapped, _ in wrapped } } == .kmsReflected)
    }

    @Test("Before a step at a service the session is proved to live, when it was not just now")
    func provedSession() async throws {
        try await connection.perform(.ping)
        kms.forgetSessions()
        clock.advance(seconds: 61)
        let steps = Mutex(0)
        try await connection.carry(.createKeys(count: 1)) { wrapped, _ in
            steps.withLock { $0 += 1 }
            return try #require(try kms.answer(wrapped))
        }
        // The loss was found by a ping, and the service was asked once.
        #expect(steps.withLock { $0 } == 1)
        #expect(kms.state.withLock { $0.handshakes } == 2)
    }

    // MARK: - Keys

    @Test("Concurrent calls for one key make one request, and the key is kept")
    func keyRing() async throws {
        guard case .keys(let keys) = try await connection.perform(.createKeys(count: 1)).body,
            case .resource = try await connection.perform(.createResource(keys: [keys[0].uri], users: [])).body
        else { throw TestFailure("no key") }
        let ring = KeyRing(kms: connection, store: store, now: { clock.now })
        let before = requestCount
        try await withThrowingTaskGroup(of: Void.self) { group in
            for _ in 0..<20 {
                group.addTask {
                    let key = try await ring.key(keys[0].uri)
                    #expect(key.key.isEqual(to: keys[0].key))
                }
            }
            try await group.waitForAll()
        }
        #expect(requestCount == before + 1)
        _ = try await ring.key(keys[0].uri)
        #expect(requestCount == before + 1)
        _ = try await ring.retrieve(keys[0].uri)
        #expect(requestCount == before + 2)
    }

    @Test("Unbound keys are fetched ahead, given once each, and not when they are about to expire")
    func unboundKeys() async throws {
        let ring = KeyRing(kms: connection, store: store, now: { clock.now })
        var seen: Set<String> = []
        for _ in 0..<KeyRing.supply { seen.insert(try await ring.takeUnboundKey().uri) }
        #expect(seen.count == KeyRing.supply)
        #expect(requestCount == 1)
        seen.insert(try await ring.takeUnboundKey().uri)
        #expect(requestCount == 2)
        clock.advance(seconds: 86_400 - 3599)
        seen.insert(try await ring.takeUnboundKey().uri)
        #expect(seen.count == KeyRing.supply + 2)
        #expect(try store.current().unboundKeys.count == KeyRing.supply - 1)
    }
}

/// Somebody who signs what only the KMS may sign.
struct KMSStaticKeyForge {
    private let key: PrivateKey

    init(leaf: String) throws { key = try TestPKI.shared.get().key(leaf) }

    func reset(session: String, kid: String, time: Timestamp) throws -> String {
        let json = KMSReset(reason: "gone", requestID: "r", session: session, time: time).json()
        return try JWS.sign(json.bytes(), with: key, algorithm: .ps256, kid: kid, typ: nil)
    }
}

extension TestKMS {
    /// The id inside a wrapped request.
    static func requestID(of text: String, key: SymmetricKey) throws -> String {
        let plain = try JWE.decryptDirect(JWE.parse(Array(text.utf8)), key: key)
        return try #require(try plain.withUnsafeBytes { try JSONDocument($0).root["requestId"]?.string })
    }
}
