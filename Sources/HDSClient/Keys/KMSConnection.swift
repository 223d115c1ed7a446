package import Diagnostics
package import KMSClient
package import KMSProtocol
package import WireText

/// How a client reaches its KMS: the cloud carries strings there, and brings answers by the event socket.
package protocol KMSCarrier: Sendable {
    /// The details document that the cloud has now.
    func details() async throws -> [UInt8]
    /// Hands strings to the cloud, in order; their answers come to `KMSConnection.receive` sooner or later, or never.
    func send(_ messages: [String]) async throws
    /// Who asks, with a token for the KMS that is good now, or a new one.
    func credential(renewed: Bool) async throws -> KMSCredential
    /// What the user's own issuer says about the user to another organisation's KMS; nil when it says nothing.
    func assertion(forKMS host: String) async -> Redacted<String>?
}

extension KMSCarrier {
    package func assertion(forKMS host: String) async -> Redacted<String>? { nil }
}

/// A client's connection with its KMS: one session, shared by all calls, kept across runs, and requests with answers.
///
/// A session is opened when there is none, when its life is over, and when the KMS said by a valid signed reset that it
/// is gone; never for any other failure. A request without an answer is sent again after 6, 12 and 24 s with a new
/// request id and counter; the protocol makes such repeats harmless. Requests that change something go one at a time.
package actor KMSConnection {
    /// Milliseconds to wait for an answer, for each sending.
    package static let patience: [Int64] = [6000, 12_000, 24_000]

    let carrier: any KMSCarrier
    let store: StateStore
    let trust: StaticKeyTrust
    let postQuantum: PostQuantumUse
    let now: @Sendable () -> Timestamp
    let sleep: Sleep
    let turns = Turns()
    let outbox: KMSOutbox
    var staticKey: VerifiedStaticKey?
    var lastDetails: Timestamp?
    /// Openings under way, by request id.
    var openings: [String: (opening: SessionOpening, answer: Awaited<OpeningAnswer>)] = [:]
    var opening: Task<KMSClientSession, any Error>?
    /// Calls that wait, by the request id of each of their sendings.
    private var waiting: [String: Waiting] = [:]
    private var lastProof: Timestamp?
    private let note: @Sendable (DiagnosedError) -> Void

    struct OpeningAnswer: Sendable {
        let opening: SessionOpening
        let answer: KMSAnswer
    }

    /// What can come back for one sending.
    enum Outcome: Sendable {
        case answer(KMSAnswer)
        /// The KMS does not have the session any more.
        case sessionLost
    }

    private struct Waiting {
        let request: KMSWrappedRequest
        let session: KMSClientSession
        let call: Call
    }

    /// One call with all its sendings: an answer to an earlier one counts as well, when it comes at last.
    private final class Call {
        var outcome = Awaited<Outcome>()
        var requests: [String] = []
    }

    /// - Parameter note: told what was received and refused, for a log.
    package init(
        carrier: any KMSCarrier, store: StateStore, trust: StaticKeyTrust, postQuantum: PostQuantumUse = .preferred,
        now: @escaping @Sendable () -> Timestamp, sleep: Sleep,
        note: @escaping @Sendable (DiagnosedError) -> Void = { _ in }
    ) {
        self.carrier = carrier
        self.store = store
        self.trust = trust
        self.postQuantum = postQuantum
        self.now = now
        self.sleep = sleep
        self.note = note
        outbox = KMSOutbox { try await carrier.send($0) }
    }

    // MARK: - Requests

    /// Asks and waits for the answer, whatever its status; throws when none comes.
    package func ask(_ operation: KMSOperation) async throws -> KMSAnswer {
        var trials = Trials()
        let call = Call()
        let partner = partner(of: operation)
        if operation.isMutating { await turns.take() }
        defer {
            if operation.isMutating { turns.give() }
            for id in call.requests { waiting[id] = nil }
        }
        for patience in Self.patience {
            while true {
                try Task.checkCancellation()
                let session = try await session()
                var credential = try await carrier.credential(renewed: trials.takeRenewal())
                if let partner { credential.assertion = await carrier.assertion(forKMS: partner) }
                call.outcome = Awaited()
                if !operation.isMutating { await turns.take() }
                let sent: Awaited<Result<Void, any Error>>
                do {
                    defer { if !operation.isMutating { turns.give() } }
                    let request = try session.wrap(operation, as: credential, at: now())
                    call.requests.append(request.id)
                    waiting[request.id] = Waiting(request: request, session: session, call: call)
                    sent = await outbox.enqueue(request.text)
                }
                var wait = patience
                if case .failure(let error)? = await sent.value() {
                    try Self.rethrowUnlessPassing(error)
                    // The core may have taken it all the same: then the answer comes.
                    wait = min(patience, 1000)
                }
                guard let received = await call.outcome.value(within: wait, sleep: sleep) else { break }
                if let reply = try await judge(received, session, &trials) { return reply }
            }
        }
        throw DiagnosedError(
            .kmsNoAnswer, fault: .peer, "the key management service did not answer",
            expected: "an answer within \(Self.patience.reduce(0, +) / 1000) s, asked \(Self.patience.count) times",
            hint: "it may be down or cut off from the cloud; try again later")
    }

    /// The other organisation's KMS that has to be asked by the own one; it only answers what reads.
    private func partner(of operation: KMSOperation) -> String? {
        guard !operation.isMutating, operation.uri.hasPrefix("kms://") else { return nil }
        let host = operation.uri.dropFirst(6).prefix { $0 != "/" }.lowercased()
        return host == trust.host.lowercased() ? nil : host
    }

    /// The answer to a request, or a refusal thrown as `KMSRefusal`.
    @discardableResult
    package func perform(_ operation: KMSOperation) async throws -> KMSAnswer {
        let reply = try await ask(operation)
        guard (200...299).contains(reply.status) else { throw KMSRefusal(reply) }
        return reply
    }

    /// Sends a request inside the body of another service of the cloud, which returns the wrapped answer.
    ///
    /// - Parameter send: puts the wrapped string into its body and gives back `kmsMessage` of the answer. It gets a name
    ///   for the step, the same as long as nobody knows whether the step was taken: the service takes it once.
    @discardableResult
    package func carry(
        _ operation: KMSOperation, send: @Sendable (_ wrapped: String, _ step: String) async throws -> String
    ) async throws -> KMSAnswer {
        try await proveSession()
        var trials = Trials()
        var step = UUIDText.random()
        var sendings: [(request: KMSWrappedRequest, session: KMSClientSession)] = []
        await turns.take()
        defer { turns.give() }
        for attempt in 0..<8 {
            try Task.checkCancellation()
            let session = try await session()
            let credential = try await carrier.credential(renewed: trials.takeRenewal())
            let request = try session.wrap(operation, as: credential, at: now())
            sendings.append((request, session))
            let message: String
            do {
                message = try await send(request.text, step)
            } catch {
                try Self.rethrowUnlessPassing(error)
                guard attempt < 3 else { throw error }
                try await sleep.milliseconds(500 << Int64(attempt))
                continue
            }
            let outcome = try await opened(message, sendings)
            guard let reply = try await judge(outcome, session, &trials) else {
                // The KMS has judged this sending: another one is another step for the service.
                step = UUIDText.random()
                sendings = []
                continue
            }
            guard (200...299).contains(reply.status) else { throw KMSRefusal(reply) }
            return reply
        }
        throw DiagnosedError(.kmsNoAnswer, fault: .peer, "the key management service did not take the request")
    }

    /// A service that can not read the answer keeps its step even when the KMS refuses because the session is gone. So
    /// before such a step the session is known to live.
    private func proveSession() async throws {
        if let lastProof, now() < lastProof.adding(seconds: 60), now() >= lastProof { return }
        try await perform(.ping)
    }

    private func opened(
        _ message: String, _ sendings: [(request: KMSWrappedRequest, session: KMSClientSession)]
    ) async throws -> Outcome {
        guard let last = sendings.last else { return .sessionLost }
        if SignedMessage.hasForm(message) {
            let key = try await verifiedKey(claimed: SignedMessage.claimedKeyID(message))
            switch try SignedMessage(message, signedBy: key) {
            case .reset(let reset):
                try last.session.accept(reset, at: now())
                try drop(last.session)
                return .sessionLost
            case .answer(let answer): throw KMSRefusal(answer)
            }
        }
        var failure: DiagnosedError?
        for sending in sendings.reversed() {
            do throws(DiagnosedError) {
                let reply = try sending.session.open(message)
                try sending.request.check(reply, host: trust.host)
                return .answer(reply)
            } catch {
                failure = failure ?? error
            }
        }
        throw failure ?? DiagnosedError(.kmsForeignAnswer, fault: .peer, "nothing can open the answer")
    }

    /// The reply that counts, or nil when the request is to be sent anew.
    private func judge(
        _ outcome: Outcome, _ session: KMSClientSession, _ trials: inout Trials
    ) async throws -> KMSAnswer? {
        guard case .answer(let reply) = outcome else {
            try trials.count(\.lostSessions, most: 2, "the key management service loses each session at once")
            return nil
        }
        lastProof = now()
        guard !(200...299).contains(reply.status) else { return reply }
        let refusal = KMSRefusal(reply)
        if refusal.isStaleCounter {
            guard trials.mayCount(\.staleCounters, most: 6) else { return reply }
            session.raiseCounter()
            try store.update { _ in }
            return nil
        }
        if refusal.isStaleTime {
            // The clocks were compared when the session was opened, and nowhere else.
            guard trials.mayCount(\.staleTimes, most: 1) else { return reply }
            try drop(session)
            return nil
        }
        if refusal.status == KMSStatus.unauthorized {
            guard trials.mayCount(\.renewals, most: 1) else { return reply }
            trials.wantsRenewal = true
            return nil
        }
        if refusal.status == KMSStatus.tooManyRequests {
            guard trials.mayCount(\.waits, most: 3) else { return reply }
            try await sleep.milliseconds(500 << Int64(trials.waits))
            return nil
        }
        return reply
    }

    /// How often a call may begin anew, by reason.
    private struct Trials {
        var lostSessions = 0
        var staleCounters = 0
        var staleTimes = 0
        var renewals = 0
        var waits = 0
        var wantsRenewal = false

        mutating func takeRenewal() -> Bool {
            defer { wantsRenewal = false }
            return wantsRenewal
        }

        mutating func mayCount(_ counter: WritableKeyPath<Trials, Int>, most: Int) -> Bool {
            self[keyPath: counter] += 1
            return self[keyPath: counter] <= most
        }

        mutating func count(_ counter: WritableKeyPath<Trials, Int>, most: Int, _ summary: String) throws {
            guard mayCount(counter, most: most) else {
                throw DiagnosedError(.kmsUnavailable, fault: .peer, summary, hint: "tell the administrator of the KMS")
            }
        }
    }

    /// Errors after which sending again can help.
    private static func rethrowUnlessPassing(_ error: any Error) throws {
        guard let diagnosed = error as? DiagnosedError, diagnosed.code == .cloudUnavailable else { throw error }
    }

    // MARK: - Answers

    /// One string that the event socket brought. What can not be believed is noted and has no effect.
    package func receive(_ message: String) async {
        do {
            if SignedMessage.hasForm(message) {
                try await receiveSigned(message)
            } else {
                try receiveEncrypted(message)
            }
        } catch {
            note(
                error as? DiagnosedError ?? DiagnosedError(.kmsForeignAnswer, fault: .peer, "an answer was not usable"))
        }
    }

    private func receiveEncrypted(_ message: String) throws {
        var failure: DiagnosedError?
        var tried = Set<String>()
        for session in waiting.values.map(\.session) where tried.insert(session.uri).inserted {
            do throws(DiagnosedError) {
                let reply = try session.open(message)
                guard let id = reply.requestID, let sending = waiting[id] else { return }
                try sending.request.check(reply, host: trust.host)
                // What the KMS says against an old sending does not speak against the one under way.
                let isOld = sending.call.requests.last != id
                if isOld, !(200...299).contains(reply.status) { return }
                sending.call.outcome.fulfil(.answer(reply))
                return
            } catch {
                failure = error
            }
        }
        if let failure { throw failure }
    }

    private func receiveSigned(_ message: String) async throws {
        let key = try await verifiedKey(claimed: SignedMessage.claimedKeyID(message))
        switch try SignedMessage(message, signedBy: key) {
        case .answer(let answer):
            guard let id = answer.requestID, let entry = openings[id] else { return }
            entry.answer.fulfil(OpeningAnswer(opening: entry.opening, answer: answer))
        case .reset(let reset):
            guard
                let session = try waiting.values.first(where: { $0.session.uri == reset.session })?.session
                    ?? store.current().session
            else { return }
            try session.accept(reset, at: now())
            try drop(session)
            for sending in waiting.values where sending.session === session {
                sending.call.outcome.fulfil(.sessionLost)
            }
        }
    }

    func drop(_ session: KMSClientSession) throws {
        try store.update { state in
            if state.session?.uri == session.uri { state.session = nil }
        }
        lastProof = nil
    }
}
