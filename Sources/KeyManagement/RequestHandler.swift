import AuditTrail
import Cryptography
import Diagnostics
import JOSEEncryption
import JOSESignature
import KMSProtocol
import KeyStore
import SecretMemory
import SignedPolicy
package import WireText

/// Takes one wrapped string and gives one wrapped string back: the way of every request through the KMS.
///
/// 1. Size and form; the header's `kid` decides between handshake and session.
/// 2. Ledger: the same mutating string again gets its first answer and has no effect (security model, rule 7).
/// 3. Decryption, envelope, bearer, caller, counter and time.
/// 4. Decision; its change, the ledger entry with the wrapped answer, and the counter are one commit.
///
/// Calls of one session come one after the other (`RequestLanes`), each as soon as the one before has been judged and
/// its change committed: its answer may still wait for its audit record. Calls of different sessions run side by side.
/// Runs on a pool that may block on the store.
package final class RequestHandler: Sendable {
    /// What becomes of a string.
    package enum Reply: Sendable, Equatable {
        case answer([UInt8])
        /// This node can not answer now; another one may, or this one later.
        case decline(String)
        /// Nobody answers: the sender has used up a budget. Its client sends again by itself.
        case drop(String)
    }

    /// Longest wrapped string that is looked at, in octets (protocol, section 12).
    package static let maximumLength = 256 << 10
    /// Longest answer before wrapping, in octets: it has to fit into one frame of the link.
    static let maximumAnswerLength = 700_000

    let keyManagement: KeyManagement
    let store: any KeyStore
    let sessions: SessionTable
    let verifier: any BearerVerifier
    let keys: StaticKeysInForce
    let policy: KMSPolicy
    let budgets: RequestBudgets
    let callers: CallerBudgets
    let unusual = UnusualBehaviour()
    let log: any RequestLog
    /// Nil: nothing is kept, for tests and benchmarks of what lies below.
    let audit: DecisionAudit?
    let clock: @Sendable () -> Timestamp
    let homes: UserHomes
    package let clients = ClientUsage()
    private let partners: PartnersInForce?
    private let headers = SessionHeaders()

    /// - Parameters:
    ///   - staticKeys: they may be replaced while requests are answered.
    ///   - partners: nil: nobody else's KMS is asked or answered.
    package init(
        keyManagement: KeyManagement, sessions: SessionTable, verifier: any BearerVerifier,
        staticKeys: StaticKeysInForce, log: any RequestLog, audit: DecisionAudit? = nil,
        partners: PartnersInForce? = nil,
        clock: @escaping @Sendable () -> Timestamp = { Timestamp.now() }
    ) {
        var keyManagement = keyManagement
        keyManagement.staticKeys = staticKeys
        self.keyManagement = keyManagement
        store = keyManagement.store
        self.sessions = sessions
        self.verifier = verifier
        keys = staticKeys
        policy = keyManagement.policy
        budgets = RequestBudgets(policy: keyManagement.policy, now: clock())
        callers = CallerBudgets()
        self.log = log
        self.audit = audit
        self.clock = clock
        self.partners = partners
        homes = UserHomes(store: keyManagement.store, ring: keyManagement.vault.ring)
    }

    var staticKeys: [KMSStaticKey] { keys.all }
    var staticKey: KMSStaticKey { keys.present }

    /// Federation by the policy in force now; nil: there is no partner.
    var federation: Federation? { federation(by: keyManagement.inForce.current) }

    func federation(by snapshot: PolicySnapshot) -> Federation? { partners?.federation(by: snapshot) }

    /// The answer when it may leave.
    ///
    /// - Parameter source: an opaque name of the sender as the core gives it; only budgets use it.
    package func reply(to text: [UInt8], source: String) async -> Reply {
        switch await judge(text, source: source) {
        case .ready(let reply): reply
        case .keeping(let ticket, _, let settle): settle(await ticket.ended())
        }
    }

    /// Returns when the next request of the session may be judged.
    func judge(_ text: [UInt8], source: String) async -> PendingReply {
        let now = clock()
        if let newer = keyManagement.inForce.outdatedBy {
            return .decline("version \(newer) of the policy is in force on other nodes, and not on this one")
        }
        guard keyManagement.lease?.isClockWrong != true else { return .decline("the clock of this node is wrong") }
        guard text.count <= Self.maximumLength else {
            return reset("the message is longer than \(Self.maximumLength) octets", source: source, now: now)
        }
        if federation != nil, let host = FederationRequest.claimedHost(of: text, asked: keyManagement.names) {
            return await openSession(forPartner: text, claimed: host, source: source, now: now)
        }
        if let known = headers.session(of: text), let message = try? JWE.parse(text, header: known.header) {
            return await answer(message, text: text, session: known.session, source: source, now: now)
        }
        guard let message = try? JWE.parse(text) else {
            return reset("Request could not be decrypted", source: source, now: now)
        }
        let named = message.header.kid.flatMap { KMSURI($0) }
        switch (message.header.alg, named?.object) {
        case ("RSA-OAEP", .staticKey):
            guard let key = staticKeys.first(where: { $0.kid == message.header.kid }) else {
                return reset(
                    "the static key is not known; fetch the details of the KMS again", source: source, now: now)
            }
            return await openSession(message, text: text, key: key, source: source, now: now)
        case ("dir", .session(let id)):
            guard let named, keyManagement.names.owns(named) else {
                return reset("Ephemeral key is unknown or has expired", source: source, now: now)
            }
            return await answer(message, text: text, session: id, source: source, now: now)
        default:
            return reset("Request could not be decrypted", source: source, now: now)
        }
    }

    private func answer(
        _ message: JWECompact, text: [UInt8], session id: String, source: String, now: Timestamp
    ) async -> PendingReply {
        let uri = keyManagement.names.session(id)
        var entry = RequestLogEntry(at: now, lease: keyManagement.lease)
        entry.session = id
        let session: LiveSession
        do {
            guard let found = try await sessions.find(id, now: now) else {
                return reset("Ephemeral key is unknown or has expired", session: uri, source: source, now: now)
            }
            session = found
        } catch {
            // Saying "unknown" here would make clients throw a good session away.
            log.failure(error, while: "reading a session")
            return .decline("the key store is not available")
        }
        guard let plain = try? JWE.decryptDirect(message, key: session.content.key) else {
            return reset("Request could not be decrypted", session: uri, source: source, now: now)
        }
        headers.note(message.header, session: id, of: text)
        let answer: KMSAnswer
        do {
            let root = try plain.withUnsafeBytes {
                try JSONDocument($0, limits: KMSRequest.jsonLimits).root
            }
            entry.requestID = KMSRequest.requestID(of: root)
            if let refusal = refusalOfDisabled(session) {
                entry.user = session.content.userID
                entry.rule = refusal.rule
                return finish(KMSAnswer(refusal, requestID: entry.requestID), session: session, entry: entry, now: now)
            }
            if case .partner(let host) = session.content.holder {
                return await self.answer(partner: host, root, session: session, text: text, entry: entry, now: now)
            }
            do throws(KMSFailure) {
                let request = try KMSRequest(root)
                entry.note(request)
                if request.isMutating {
                    return await mutate(request, session: session, text: text, entry: entry, now: now)
                }
                let digest = request.counter == nil ? [] : SHA256.hash(text)
                let caller = try await authenticate(request, digest: digest, session: session, entry: &entry, now: now)
                let outcome = try await read(request, caller: caller, session: session, now: now)
                if let about = outcome.about { entry.effectiveUser = about }
                noteRead(caller, outcome, now)
                entry.rule = outcome.rule
                entry.way = outcome.way(keyManagement.names)
                answer = KMSAnswer(status: outcome.status, requestID: request.requestID, body: outcome.body)
            } catch {
                entry.rule = error.rule
                answer = KMSAnswer(error, requestID: entry.requestID)
            }
        } catch {
            answer = KMSAnswer(
                KMSFailure(KMSStatus.malformed, "the request is not valid JSON"), requestID: nil)
        }
        return finish(answer, session: session, entry: entry, now: now)
    }

    /// A mutating request: ledger first, then decision and commit, again while somebody else is quicker.
    private func mutate(
        _ request: KMSRequest, session: LiveSession, text: [UInt8], entry: RequestLogEntry, now: Timestamp
    ) async -> PendingReply {
        var entry = entry
        let digest = SHA256.hash(text)
        do {
            if let earlier = try await store.ledgerEntry(digest) {
                try await audit?.settle()
                entry.isReplay = true
                return await first(earlier, request, session: session, entry: entry, now: now)
            }
            var caller: Caller?
            var refusal: KMSFailure?
            do throws(KMSFailure) {
                caller = try await authenticate(request, digest: digest, session: session, entry: &entry, now: now)
            } catch {
                caller = nil
                refusal = error
            }
            var isDeletionTaken = false
            for _ in 0..<8 {
                var outcome: KeyManagement.Outcome
                var answer: KMSAnswer
                do throws(KMSFailure) {
                    guard let caller else { throw refusal ?? KMSFailure(KMSStatus.forbidden, "refused") }
                    outcome = try await decide(request, caller: caller, session: session, now: now)
                    if let keys = outcome.deletedKeys, !isDeletionTaken {
                        try callers.takeDeletion(caller, keys: keys, now: now)
                        isDeletionTaken = true
                    }
                    answer = KMSAnswer(status: outcome.status, requestID: request.requestID, body: outcome.body)
                } catch {
                    answer = KMSAnswer(error, requestID: request.requestID)
                    // Not judged, or judged by what passes by itself: the same string may come again.
                    entry.rule = error.rule
                    guard error.isFinal else { return finish(answer, session: session, entry: entry, now: now) }
                    outcome = KeyManagement.Outcome(error.status)
                }
                if answer.isSuccess {
                    entry.rule = outcome.rule
                    entry.way = outcome.way(keyManagement.names)
                    // Rule 1 of `DecisionAudit`, before anything is changed.
                    if let blocked = audit?.blocked { throw blocked }
                }
                let wrapped = try wrap(&answer, session: session)
                let record = try answer.isSuccess ? auditRecord(entry, answer, now) : nil
                var change = outcome.change
                change.expectations.append(.session(id: session.id))
                change.writes.append(
                    .insertLedger(
                        LedgerRecord(
                            digest: digest, session: session.id, expires: session.content.expires,
                            sealedAnswer: wrapped,
                            audit: try record.flatMap { try audit?.ledgerForm(of: $0) } ?? [])))
                if let counter = request.counter, answer.isSuccess, outcome.endedSession != session.id {
                    change.writes.append(.advanceSession(id: session.id, counter: counter))
                }
                let (result, ticket) = try await commit(change, record: record)
                switch result {
                case .committed:
                    if let ended = outcome.endedSession { sessions.forget(ended) }
                    if record == nil { noteRefusal(entry, answer, now) }
                    return leave(wrapped, answer, when: ticket, entry) { [self, entry] in
                        unkept($0, request.requestID, session: session, entry: entry, now: now)
                    }
                case .duplicate:
                    guard let earlier = try await store.ledgerEntry(digest) else { continue }
                    try await audit?.settle()
                    entry.isReplay = true
                    return await first(earlier, request, session: session, entry: entry, now: now)
                case .conflict:
                    // The session may have been ended by another request meanwhile, or moved on by another node.
                    guard let row = try await store.session(session.id) else {
                        sessions.forget(session.id)
                        return reset(
                            "Ephemeral key is unknown or has expired",
                            session: keyManagement.names.session(session.id), source: "", now: now)
                    }
                    if let counter = request.counter, counter <= row.lastCounter {
                        // Refused as any other, with its entry in the ledger.
                        (caller, refusal) = (nil, CounterRules.stale)
                    }
                }
            }
            let busy = KMSFailure(
                KMSStatus.tooManyRequests, "others change the same object at the same time; try again")
            return finish(KMSAnswer(busy, requestID: request.requestID), session: session, entry: entry, now: now)
        } catch {
            log.failure(error, while: "changing the key store")
            return .ready(unkept(error, request.requestID, session: session, entry: entry, now: now))
        }
    }

    /// Token, caller, counter and time: once for each string, however often its decision has to be made anew.
    private func authenticate(
        _ request: KMSRequest, digest: [UInt8], session: LiveSession, entry: inout RequestLogEntry, now: Timestamp
    ) async throws(KMSFailure) -> Caller {
        let (token, _) = try await identity(of: request.credential.bearer, now: now)
        try KeyBinding.check(token, session: session.content)
        entry.tokenClient = token.clientID.map {
            ($0, token.scopes.contains(ConsentIdentity.integrationScope))
        }
        let caller = try Caller.judge(
            request, token: token, session: session.content, policy: keyManagement.inForce.current, now: now)
        entry.user = caller.tokenUser
        entry.effectiveUser = caller.effectiveUser
        entry.errand = caller.errand
        entry.isPerson = caller.capacity == .user || caller.capacity == .officer
        try callers.takeRequest(caller, now: now)
        try CounterRules.check(
            request, digest: digest, session: session, window: policy.requestTimeWindow, now: now)
        return caller
    }

    private func decide(
        _ request: KMSRequest, caller: Caller, session: LiveSession, now: Timestamp
    ) async throws(KMSFailure) -> KeyManagement.Outcome {
        do {
            return try await decideOnce(request, caller: caller, session: session, now: now)
        } catch {
            // While the database was away nobody could read what is frozen. Now it is read for this request, which is
            // held for it like for any other read.
            guard error.rule == FreezeBoard.unknownRule, (try? await keyManagement.freezes?.refresh()) != nil else {
                throw error
            }
            return try await decideOnce(request, caller: caller, session: session, now: now)
        }
    }

    /// Decides on a request that only reads. Some leave a mark, such as the first use of a key: it is kept before the answer
    /// leaves, and decided again while somebody else is quicker.
    private func read(
        _ request: KMSRequest, caller: Caller, session: LiveSession, now: Timestamp
    ) async throws(KMSFailure) -> KeyManagement.Outcome {
        for _ in 0..<8 {
            let outcome = try await decide(request, caller: caller, session: session, now: now)
            guard !outcome.change.writes.isEmpty else { return outcome }
            do {
                switch try await store.commit(outcome.change) {
                case .committed: return outcome
                case .conflict: continue
                case .duplicate: break
                }
            } catch {
                log.failure(error, while: "keeping what a read leaves")
                throw KMSFailure(KMSStatus.internalError, "internal error")
            }
            throw KMSFailure(
                KMSStatus.conflict, "this very query was asked before (query-repeated)", rule: "query-repeated")
        }
        throw KMSFailure(KMSStatus.tooManyRequests, "others change the same object at the same time; try again")
    }

    private func decideOnce(
        _ request: KMSRequest, caller: Caller, session: LiveSession, now: Timestamp
    ) async throws(KMSFailure) -> KeyManagement.Outcome {
        if let federation = federation(by: caller.snapshot), !keyManagement.names.owns(request.uri) {
            guard caller.capacity == .user else {
                throw KMSFailure(
                    KMSStatus.forbidden, "another KMS is asked for users themselves only", rule: "foreign-on-behalf")
            }
            // Of a foreign key it is not known to which space it belongs: only a consent to all of them covers it.
            try keyManagement.judging(by: caller.snapshot)
                .demandConsent(caller, space: request.uri.spaceText, request.method, now)
            try keyManagement.freezes?.check(caller.release())
            do {
                try await PartnerRules.judgeDomain(
                    of: caller.tokenUser, partner: request.uri.host ?? "", caller.snapshot, homes)
            } catch let failure as KMSFailure {
                throw failure
            } catch {
                log.failure(error, while: "looking up the domain of a user")
                throw KMSFailure(KMSStatus.internalError, "internal error")
            }
            let (status, body) = try await federation.client.answer(
                request, user: caller.effectiveUser, partners: federation.partners)
            var outcome = KeyManagement.Outcome(status, body)
            outcome.isForeign = true
            return outcome
        }
        do {
            return try await keyManagement.judging(by: caller.snapshot).decide(
                request, caller: caller, session: session, now: now)
        } catch let failure as KMSFailure {
            throw failure
        } catch {
            log.failure(error, while: "deciding on a request")
            throw KMSFailure(KMSStatus.internalError, "internal error")
        }
    }

    func auditRecord(_ entry: RequestLogEntry, _ answer: KMSAnswer, _ now: Timestamp) throws -> AuditRecord? {
        guard let audit else { return nil }
        return try audit.record(
            Decision(entry, status: answer.status, reason: answer.reason, rule: entry.rule ?? "-", time: now))
    }

    /// A refusal in the audit trail: it neither waits nor blocks.
    func noteRefusal(_ entry: RequestLogEntry, _ answer: KMSAnswer, _ now: Timestamp) {
        noteUnusual(entry, answer, now)
        guard let audit, let record = try? auditRecord(entry, answer, now) else { return }
        audit.note(record, source: record.user ?? "nobody")
    }

    /// Encrypts the answer under the session; one that is too long is replaced by a refusal that says so.
    func wrap(_ answer: inout KMSAnswer, session: LiveSession) throws -> [UInt8] {
        let uri = keyManagement.names.session(session.id)
        let json = answer.json()
        if json.count > Self.maximumAnswerLength {
            let failure = KMSFailure(
                KMSStatus.malformed, "the answer would be too long; ask for less, with authId, count or boundAfter")
            answer = KMSAnswer(failure, requestID: answer.requestID)
            return try answer.json().withUnsafeBytes { try JWE.encryptDirect($0, key: session.content.key, kid: uri) }
        }
        return try json.withUnsafeBytes { try JWE.encryptDirect($0, key: session.content.key, kid: uri) }
    }

    /// A signed 499, while the budget for them lasts.
    func reset(_ reason: String, session: String? = nil, source: String, now: Timestamp) -> PendingReply {
        guard budgets.takeReset(source: source, now: now) else { return .drop("too many resets") }
        let reset = KMSReset(reason: reason, requestID: UUIDText.random(), session: session, time: now)
        log.reset(reason: reason, session: session)
        // A partner has no details document to know the key from.
        return signed(reset.json(), withChain: federation != nil)
    }

    func signed(_ json: borrowing JSONWriter, withChain: Bool = false) -> PendingReply {
        do {
            return .answer(try staticKey.sign(json, withChain: withChain))
        } catch {
            log.failure(error, while: "signing an answer")
            return .decline("internal error")
        }
    }
}

extension KMSFailure {
    /// Whether the same string, sent again later, must find this refusal and not be judged anew: a request that was
    /// refused today and takes effect tomorrow, because the cloud kept it, is a replay.
    var isFinal: Bool { status != KMSStatus.unauthorized && status != KMSStatus.tooManyRequests && status < 500 }
}

extension KMSAnswer.Body {
    var keyCount: Int {
        switch self {
        case .key: 1
        case .keys(let keys): keys.count
        default: 0
        }
    }
}

extension KMSAnswer {
    var isSuccess: Bool { (200..<300).contains(status) }
}
