import KMSProtocol
import KeyManagement
import Synchronization
import Testing
import WireText

/// An introspection endpoint without network: answers what a test says, when it says so.
private final class Endpoint: Sendable {
    struct TimedOut: Error {}

    private struct State {
        var asked: [String] = []
        var held: [CheckedContinuation<Void, Never>] = []
        var isHolding = false
    }

    private let state = Mutex(State())
    let answer: Shared<@Sendable () throws -> [UInt8]>

    init(_ answer: @escaping @Sendable () throws -> [UInt8]) { self.answer = Shared(answer) }

    var asked: [String] { state.withLock { $0.asked } }

    /// Questions wait from now on.
    func hold() { state.withLock { $0.isHolding = true } }

    func release() {
        let held = state.withLock { state in
            defer { state.held = [] }
            state.isHolding = false
            return state.held
        }
        for continuation in held { continuation.resume() }
    }

    @Sendable func ask(_ token: String) async throws -> [UInt8] {
        await withCheckedContinuation { continuation in
            let goesOn = state.withLock { state in
                state.asked.append(token)
                if state.isHolding { state.held.append(continuation) }
                return !state.isHolding
            }
            if goesOn { continuation.resume() }
        }
        return try answer.value()
    }

    /// Returns when so many questions have arrived.
    func hasBeenAsked(_ count: Int) async {
        while asked.count < count { await Task.yield() }
    }
}

@Suite("Bearer tokens that are opaque")
struct IntrospectionVerifierTests {
    private let now = TestIssuer.now
    private let issuer: TestIssuer
    private let token = "5ec7e7_P1_o1"

    init() throws { issuer = try TestIssuer() }

    private func active(_ changes: [String: String?] = [:]) -> [UInt8] {
        var changes = changes
        changes["active"] = changes["active"] ?? "true"
        return Array(issuer.claims(changes).utf8)
    }

    private func directory(
        _ endpoint: Endpoint, clusters: Set<String> = [], concurrency: Int = 32, waiting: Int = 1000,
        capacity: Int = 20_000, _ change: (inout TokenPolicy) -> Void = { _ in }
    ) -> BearerDirectory {
        BearerDirectory(
            issuers: [],
            endpoints: [
                IntrospectionVerifier(
                    policy: issuer.policy(change), clusters: clusters, concurrency: concurrency, waiting: waiting,
                    ask: { try await endpoint.ask($0) })
            ], capacity: capacity)
    }

    @Test("an active token says what a JWT would say")
    func good() async throws {
        let answer = active()
        let endpoint = Endpoint { answer }
        let identity = try await directory(endpoint).identity(of: token, now: now)
        #expect(
            identity
                == TokenIdentity(
                    userID: People.alice, clientID: "hds-cli", scopes: ["a", "b"], issuer: issuer.name,
                    expires: now.adding(seconds: 600), tokenID: "t1", organisation: "o1", audience: ["kms"],
                    isCustomerControlled: true, issued: now))
        #expect(endpoint.asked == [token])
    }

    @Test("what is inactive, for the cloud, of another issuer, over, too long or incomplete is refused by its rule")
    func refusals() async throws {
        func at(_ seconds: Int64) -> String { "\(now.seconds + seconds)" }
        let cases: [([String: String?], String)] = [
            (["active": "false"], "token-inactive"), (["aud": "\"cloud\""], "token-wrong-audience"),
            (["aud": nil], "token-wrong-audience"), (["aud": "[\"cloud\",\"kms\"]"], "ok"),
            (["iss": "\"https://evil.example.com\""], "token-unknown-issuer"), (["iss": nil], "ok"),
            (["exp": at(-60)], "token-expired"), (["exp": at(-59)], "ok"), (["exp": nil], "token-malformed"),
            (["nbf": at(61)], "token-not-yet-valid"), (["iat": at(61)], "token-not-yet-valid"),
            (["iat": nil], "token-too-long-lived"), (["exp": at(86_401)], "token-too-long-lived"),
            (["sub": nil], "token-malformed"), (["sub": "\"\""], "token-malformed"), (["cnf": "{}"], "token-malformed"),
        ]
        for (changes, rule) in cases {
            let answer = active(changes)
            #expect(await directory(Endpoint { answer }).verdict(token) == rule, "\(changes)")
        }
        let answer = active()
        #expect(await directory(Endpoint { answer }) { $0.scope = "x" }.verdict(token) == "token-missing-scope")
    }

    @Test("an endpoint that is away, slow, or answers garbage or without end is 500, and nothing is remembered")
    func unavailable() async throws {
        let good = active()
        let bad: [@Sendable () throws -> [UInt8]] = [
            { throw Endpoint.TimedOut() }, { [] }, { Array("<html>".utf8) }, { Array("[]".utf8) }, { Array("{}".utf8) },
            { Array(#"{"active":"true"}"#.utf8) }, { Array(#"{"active":1}"#.utf8) },
            { Array(#"{"active":true,"active":false}"#.utf8) }, { [0xFF, 0xFE] },
            { Array(#"{"active":true,"x":""#.utf8) + [UInt8](repeating: 0x61, count: 80_000) + Array("\"}".utf8) },
        ]
        for answer in bad {
            let endpoint = Endpoint(answer)
            let directory = directory(endpoint)
            await #expect(throws: KMSFailure(500, "the bearer token can not be checked now", rule: "token-unchecked")) {
                try await directory.identity(of: token, now: now)
            }
            endpoint.answer.withLock { $0 = { good } }
            #expect(await directory.verdict(token) == "ok")
            endpoint.answer.withLock { $0 = answer }
            #expect(await directory.verdict(token, at: now.adding(seconds: 59)) == "ok", "still remembered")
            #expect(await directory.verdict(token, at: now.adding(seconds: 60)) == "token-unchecked", "nothing stale")
        }
    }

    @Test("good outcomes are remembered for a minute and never past the end, refusals for five seconds")
    func memory() async throws {
        let (good, short, none) = (active(), active(["exp": "\(now.seconds + 10)"]), active(["active": "false"]))
        let endpoint = Endpoint { good }
        let directory = directory(endpoint)
        for second in [Int64(0), 30, 59] {
            #expect(await directory.verdict(token, at: now.adding(seconds: second)) == "ok")
        }
        #expect(endpoint.asked.count == 1)
        endpoint.answer.withLock { $0 = { none } }
        #expect(await directory.verdict(token, at: now.adding(seconds: 60)) == "token-inactive")
        endpoint.answer.withLock { $0 = { short } }
        #expect(await directory.verdict(token, at: now.adding(milliseconds: 64_999)) == "token-inactive")
        #expect(endpoint.asked.count == 2)
        #expect(await directory.verdict("other_P1_o1") == "ok")
        #expect(await directory.verdict("other_P1_o1", at: now.adding(milliseconds: 9999)) == "ok")
        #expect(endpoint.asked.count == 3)
        _ = await directory.verdict("other_P1_o1", at: now.adding(seconds: 10))
        #expect(endpoint.asked.count == 4, "asked again at its end")
    }

    @Test("the memory is bounded")
    func bounded() async throws {
        let good = active()
        let endpoint = Endpoint { good }
        let directory = directory(endpoint, capacity: 8)
        for number in 0..<50 { #expect(await directory.verdict("t\(number)_P1_o1") == "ok") }
        #expect(await directory.verdict("t0_P1_o1") == "ok")
        #expect(endpoint.asked.count == 51)
        #expect(await directory.verdict("t49_P1_o1") == "ok")
        #expect(endpoint.asked.count == 51)
    }

    @Test("a hundred who ask for one token at the same time are one question")
    func singleFlight() async throws {
        let good = active()
        let endpoint = Endpoint { good }
        let directory = directory(endpoint)
        endpoint.hold()
        let started = Shared(0)
        let verdicts = await withTaskGroup(of: String.self, returning: [String].self) { group in
            for _ in 0..<100 {
                group.addTask {
                    started.withLock { $0 += 1 }
                    return await directory.verdict(token)
                }
            }
            await endpoint.hasBeenAsked(1)
            while started.value < 100 { await Task.yield() }
            endpoint.release()
            return await group.reduce(into: []) { $0.append($1) }
        }
        #expect(verdicts == [String](repeating: "ok", count: 100))
        #expect(endpoint.asked.count == 1)
    }

    @Test("a few questions are under way at a time, a bounded number waits, and the rest is refused at once")
    func bounds() async throws {
        let good = active()
        let endpoint = Endpoint { good }
        let directory = directory(endpoint, concurrency: 2, waiting: 3)
        endpoint.hold()
        let verdicts = await withTaskGroup(of: String.self, returning: [String].self) { group in
            for number in 0..<10 { group.addTask { await directory.verdict("t\(number)_P1_o1") } }
            await endpoint.hasBeenAsked(2)
            // Five find no place and are told so while all others wait.
            var verdicts: [String] = []
            while verdicts.count < 5, let next = await group.next() { verdicts.append(next) }
            #expect(verdicts == [String](repeating: "token-unchecked", count: 5))
            #expect(endpoint.asked.count == 2)
            endpoint.release()
            return await group.reduce(into: []) { $0.append($1) }
        }
        #expect(verdicts == [String](repeating: "ok", count: 5))
        #expect(endpoint.asked.count == 5)
    }

    @Test("when a question gets no answer in time, everybody who waits is sent away with it")
    func sentAway() async throws {
        let endpoint = Endpoint { throw Endpoint.TimedOut() }
        let verifier = IntrospectionVerifier(
            policy: issuer.policy(), concurrency: 1, waiting: 100, ask: { try await endpoint.ask($0) })
        let directory = BearerDirectory(issuers: [], endpoints: [verifier])
        endpoint.hold()
        let verdicts = await withTaskGroup(of: String.self, returning: [String].self) { group in
            group.addTask { await directory.verdict("first_P1_o1") }
            await endpoint.hasBeenAsked(1)
            for number in 0..<20 { group.addTask { await directory.verdict("t\(number)_P1_o1") } }
            while verifier.waiting < 20 { await Task.yield() }
            endpoint.release()
            return await group.reduce(into: []) { $0.append($1) }
        }
        #expect(endpoint.asked == ["first_P1_o1"], "nobody else waits for another time-out")
        #expect(verdicts == [String](repeating: "token-unchecked", count: 21))
        let good = active()
        endpoint.answer.withLock { $0 = { good } }
        #expect(await directory.verdict("t0_P1_o1") == "ok", "the gate is open again")
    }

    @Test("a token is shown to one endpoint: by its cluster, else to the one that takes all, and a JWT to none")
    func choice() async throws {
        let good = active()
        let (own, core) = (Endpoint { good }, Endpoint { good })
        func verifier(_ endpoint: Endpoint, _ clusters: Set<String>, customer: Bool) -> IntrospectionVerifier {
            IntrospectionVerifier(
                policy: issuer.policy { $0.isCustomerControlled = customer }, clusters: clusters,
                ask: { try await endpoint.ask($0) })
        }
        let directory = BearerDirectory(
            issuers: [issuer.verifier()],
            endpoints: [verifier(core, [], customer: false), verifier(own, ["P1", "P2"], customer: true)])
        #expect(!directory.isCustomerControlled, "an endpoint in the core can say who somebody is")
        _ = await directory.verdict("a_P1_o1")
        _ = await directory.verdict("a_P2_o1")
        #expect(own.asked.count == 2 && core.asked.isEmpty)
        for other in ["a_P3_o1", "a_P1_o1_x", "_P1_o1", "a_P1_", "plain", "a.b"] { _ = await directory.verdict(other) }
        #expect(own.asked.count == 2 && core.asked.count == 6)
        let stranger = try TestIssuer("https://evil.example.com")
        #expect(await directory.verdict(try stranger.token()) == "token-unknown-issuer")
        #expect(await directory.verdict(try issuer.token(["aud": "\"cloud\""])) == "token-wrong-audience")
        #expect(own.asked.count == 2 && core.asked.count == 6, "no JWT is shown to an endpoint")
        let only = BearerDirectory(issuers: [], endpoints: [verifier(own, ["P1"], customer: true)])
        #expect(await only.verdict("a_P3_o1") == "token-unknown-issuer")
        for odd in ["a b_P1_o1", "ä_P1_o1", String(repeating: "a", count: 4096) + "_P1_o1"] {
            #expect(await only.verdict(odd) == "token-malformed")
        }
    }

    @Test("an issuer that wants to be asked about its JWTs is asked about them")
    func jwtByIntrospection() async throws {
        let good = active()
        let endpoint = Endpoint { good }
        let jwt = try issuer.token()
        #expect(await directory(endpoint, clusters: ["P1"]).verdict(jwt) == "ok")
        #expect(endpoint.asked == [jwt])
    }
}
