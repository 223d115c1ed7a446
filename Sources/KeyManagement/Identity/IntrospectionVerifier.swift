import Cryptography
import KMSProtocol
import Synchronization
import WireText

/// Asks an introspection endpoint (RFC 7662) what an opaque token is worth.
///
/// Rules, before those of `TokenPolicy`:
/// 1. The endpoint says `active`; `false` is a refusal, anything that is no proper answer is 500 and proves nothing.
/// 2. The answer names `sub`, `aud`, `exp`, and this issuer if it names one.
///
/// Any number may ask for one token at the same time: one question is sent (single flight). No more than `concurrency`
/// questions are under way, no more than `waiting` wait; beyond that, and whenever the endpoint can not be reached,
/// everybody who waits gets 500 at once instead of one time-out after the other. It remembers nothing: `BearerDirectory`
/// does.
package final class IntrospectionVerifier: Sendable {
    /// Sends the question and returns the body of a 200; throws when there is none in time. The time limit is its own.
    package typealias Ask = @Sendable (_ token: String) async throws -> [UInt8]

    package let policy: TokenPolicy
    /// Second fields of the three-field tokens that this endpoint knows; empty for any opaque token.
    package let clusters: Set<String>
    private let ask: Ask
    private let gate: QuestionGate
    private let flights = Mutex<[[UInt8]: Task<Result<TokenIdentity, KMSFailure>, Never>]>([:])

    static let maximumAnswerBytes = 64 << 10
    private static let limits = JSONDocument.Limits(
        maximumDepth: 6, maximumNodes: 500, maximumBytes: maximumAnswerBytes)

    package init(
        policy: TokenPolicy, clusters: Set<String> = [], concurrency: Int = 32, waiting: Int = 1000,
        ask: @escaping Ask
    ) {
        self.policy = policy
        self.clusters = clusters
        self.ask = ask
        gate = QuestionGate(concurrency: concurrency, waiting: waiting)
    }

    /// How many questions wait for their turn.
    package var waiting: Int { gate.waiting }

    func verified(_ token: String, digest: [UInt8], now: Timestamp) async throws(KMSFailure) -> TokenIdentity {
        let flight = flights.withLock { flights in
            if let running = flights[digest] { return running }
            let fresh = Task { () async -> Result<TokenIdentity, KMSFailure> in
                let result = await self.answer(to: token, now: now)
                self.flights.withLock { $0[digest] = nil }
                return result
            }
            flights[digest] = fresh
            return fresh
        }
        return try await flight.value.get()
    }

    private func answer(to token: String, now: Timestamp) async -> Result<TokenIdentity, KMSFailure> {
        guard await gate.enter() else { return .failure(TokenRule.unchecked.failure) }
        let body: [UInt8]
        do {
            body = try await ask(token)
        } catch {
            gate.leave(hasFailed: true)
            return .failure(TokenRule.unchecked.failure)
        }
        gate.leave(hasFailed: false)
        do throws(KMSFailure) {
            return .success(try judge(body, now))
        } catch {
            return .failure(error)
        }
    }

    private func judge(_ body: [UInt8], _ now: Timestamp) throws(KMSFailure) -> TokenIdentity {
        guard let root = try? JSONDocument(body, limits: Self.limits).root, root.kind == .object,
            let isActive = root["active"]?.boolean
        else { throw TokenRule.unchecked.failure }
        guard isActive else { throw TokenRule.inactive.failure }
        let audience = root["aud"].flatMap { node in node.string.map { [$0] } ?? node.strings } ?? []
        guard let subject = root["sub"]?.string, !subject.isEmpty, let expires = Self.time(root["exp"]) else {
            throw TokenRule.malformed.failure
        }
        guard root["iss"].map({ $0.string == policy.issuer }) ?? true else { throw TokenRule.unknownIssuer.failure }
        let scopes = root["scope"]?.string?.split(separator: " ").map(String.init) ?? []
        let identity = TokenIdentity(
            userID: subject, clientID: root["client_id"]?.string, scopes: Set(scopes), issuer: policy.issuer,
            expires: expires, tokenID: root["jti"]?.string, organisation: root["org"]?.string, audience: audience,
            isCustomerControlled: policy.isCustomerControlled, issued: Self.time(root["iat"]),
            confirmation: try Confirmation.thumbprint(root["cnf"]))
        try policy.judge(identity, notBefore: Self.time(root["nbf"]), now: now)
        return identity
    }

    private static func time(_ node: JSONNode?) -> Timestamp? {
        guard let node, node.kind == .number, let seconds = Double(node.rawText), seconds.magnitude < 1e11 else {
            return nil
        }
        return Timestamp(milliseconds: Int64((seconds * 1000).rounded(.down)))
    }
}

/// Lets a bounded number through at a time and a bounded number wait, in their order.
final class QuestionGate: Sendable {
    private struct State {
        var running = 0
        var waiting: [CheckedContinuation<Bool, Never>] = []
    }

    private let concurrency: Int
    private let maximumWaiting: Int
    private let state = Mutex(State())

    init(concurrency: Int, waiting: Int) {
        self.concurrency = max(1, concurrency)
        maximumWaiting = waiting
    }

    /// Whether the caller may go on; then it has to `leave`.
    func enter() async -> Bool {
        await withCheckedContinuation { continuation in
            let verdict = state.withLock { state -> Bool? in
                if state.running < concurrency {
                    state.running += 1
                    return true
                }
                guard state.waiting.count < maximumWaiting else { return false }
                state.waiting.append(continuation)
                return nil
            }
            if let verdict { continuation.resume(returning: verdict) }
        }
    }

    /// - Parameter hasFailed: the endpoint could not be reached; who waits is sent away, for it would wait in vain.
    func leave(hasFailed: Bool) {
        let (next, sentAway) = state.withLock {
            state -> (CheckedContinuation<Bool, Never>?, [CheckedContinuation<Bool, Never>]) in
            defer { if hasFailed { state.waiting = [] } }
            guard !hasFailed, !state.waiting.isEmpty else {
                state.running -= 1
                return (nil, hasFailed ? state.waiting : [])
            }
            // The place goes to the next one.
            return (state.waiting.removeFirst(), [])
        }
        next?.resume(returning: true)
        for continuation in sentAway { continuation.resume(returning: false) }
    }

    var waiting: Int { state.withLock { $0.waiting.count } }
}
