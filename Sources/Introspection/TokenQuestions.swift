import Synchronization
package import WireText

/// Asks one introspection endpoint (RFC 7662) what tokens are worth, without letting a crowd or a silent endpoint hurt.
///
/// Any number may ask for one token at the same time: one question is sent (single flight). No more than `concurrency`
/// questions are under way, no more than `waiting` wait; beyond that, and whenever the endpoint can not be reached,
/// everybody who waits is told at once that it can not be told now, instead of one time-out after the other. It
/// remembers nothing.
package final class TokenQuestions: Sendable {
    /// Sends the question and returns the body of a 200; throws when there is none in time. The time limit is its own.
    package typealias Ask = @Sendable (_ token: String) async throws -> [UInt8]

    package enum Outcome: Sendable {
        case active(IntrospectionAnswer)
        case inactive
        /// Active, it says, but not whose and until when.
        case incomplete
        /// No proper answer: nothing is proven.
        case unchecked
    }

    private let ask: Ask
    private let gate: QuestionGate
    private let flights = Mutex<[[UInt8]: Task<Outcome, Never>]>([:])

    package init(concurrency: Int = 32, waiting: Int = 1000, ask: @escaping Ask) {
        self.ask = ask
        gate = QuestionGate(concurrency: concurrency, waiting: waiting)
    }

    /// How many questions wait for their turn.
    package var waiting: Int { gate.waiting }

    /// - Parameter digest: names the token among those under way.
    package func answer(to token: String, digest: [UInt8]) async -> Outcome {
        let flight = flights.withLock { flights in
            if let running = flights[digest] { return running }
            let fresh = Task { () async -> Outcome in
                let outcome = await self.answer(to: token)
                self.flights.withLock { $0[digest] = nil }
                return outcome
            }
            flights[digest] = fresh
            return fresh
        }
        return await flight.value
    }

    private func answer(to token: String) async -> Outcome {
        guard await gate.enter() else { return .unchecked }
        do {
            let body = try await ask(token)
            gate.leave(hasFailed: false)
            return IntrospectionAnswer.read(body)
        } catch {
            gate.leave(hasFailed: true)
            return .unchecked
        }
    }
}

/// What an endpoint says about an active token.
package struct IntrospectionAnswer: Sendable {
    package let subject: String
    package let audience: [String]
    package let expires: Timestamp
    package let scopes: Set<String>
    /// All that it says.
    package let root: JSONNode

    private static let limits = JSONDocument.Limits(maximumDepth: 6, maximumNodes: 500, maximumBytes: 64 << 10)

    static func read(_ body: [UInt8]) -> TokenQuestions.Outcome {
        guard let root = try? JSONDocument(body, limits: limits).root, root.kind == .object,
            let isActive = root["active"]?.boolean
        else { return .unchecked }
        guard isActive else { return .inactive }
        guard let answer = IntrospectionAnswer(root) else { return .incomplete }
        return .active(answer)
    }

    private init?(_ root: JSONNode) {
        guard let subject = root["sub"]?.string, !subject.isEmpty, let expires = Self.time(root["exp"]) else {
            return nil
        }
        self.subject = subject
        self.expires = expires
        audience = root["aud"].flatMap { node in node.string.map { [$0] } ?? node.strings } ?? []
        scopes = Set(root["scope"]?.string?.split(separator: " ").map(String.init) ?? [])
        self.root = root
    }

    /// Whether it names this issuer, if it names one.
    package func names(issuer: String) -> Bool { root["iss"].map { $0.string == issuer } ?? true }

    /// A member in seconds since 1970, such as `iat`.
    package func time(_ name: String) -> Timestamp? { Self.time(root[name]) }

    private static func time(_ node: JSONNode?) -> Timestamp? {
        guard let node, node.kind == .number, let seconds = Double(node.rawText), seconds.magnitude < 1e11 else {
            return nil
        }
        return Timestamp(milliseconds: Int64((seconds * 1000).rounded(.down)))
    }
}
