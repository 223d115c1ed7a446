import Cryptography
import Diagnostics
import KMSProtocol
import KeyStore
import WireText

// The asked side of federation: sessions of other KMSs, and what is asked in them (protocol, section 10).
extension RequestHandler {
    /// Opens a session for another KMS. The same string again gets its first answer, before any costly operation.
    func openSession(
        forPartner text: [UInt8], claimed host: String, source: String, now: Timestamp
    ) async -> PendingReply {
        let digest = SHA256.hash(text)
        var entry = RequestLogEntry(at: now, lease: keyManagement.lease)
        entry.user = host
        do {
            guard let federation, let partner = federation.partners[host] else {
                return refuseStranger("\(keyManagement.names.host) has no federation with \(host)", source, entry, now)
            }
            if let earlier = try await store.ledgerEntry(digest) {
                try await audit?.settle()
                return again(earlier.sealedAnswer, entry)
            }
            guard budgets.takeOpening(now: now) else { return .drop("too many session openings") }
            let root: JSONNode
            do {
                root = try partner.trust.verify(text, at: now)
            } catch {
                return refuseStranger(error.summary, source, entry, now)
            }
            entry.requestID = KMSRequest.requestID(of: root)
            entry.method = KMSRequest.Method.create.rawValue
            entry.type = KMSURI.Object.sessions.logName
            let request = try FederationRequest(verified: root, of: host, asked: keyManagement.names, at: now)
            guard partner.mayAskUs else {
                throw KMSFailure(KMSStatus.forbidden, "\(keyManagement.names.host) has no federation with \(host)")
            }
            guard try await sessions.count(ofUser: host, now: now) < policy.sessionsPerUser else {
                throw KMSFailure(
                    KMSStatus.tooManyRequests, "\(host) has as many sessions as are allowed; keep and use one")
            }
            guard let agreement = try? KMSHandshake.agree(withX: request.x, y: request.y) else {
                throw KMSFailure(KMSStatus.malformed, "request does not contain a key of type EC on P-256 curve")
            }
            return try await establish(request, agreement, digest, entry, now)
        } catch let failure as KMSFailure {
            return .ready(refusePartner(failure, entry, now))
        } catch {
            log.failure(error, while: "opening a session for another KMS")
            return .ready(refusePartner(KMSFailure(KMSStatus.internalError, "internal error"), entry, now))
        }
    }

    private func establish(
        _ request: FederationRequest, _ agreement: KMSHandshake.Agreement, _ digest: [UInt8],
        _ entry: RequestLogEntry, _ now: Timestamp
    ) async throws -> PendingReply {
        let id = UUIDText.random()
        let content = SessionContent(
            key: agreement.sessionKey, userID: request.host, clientID: request.clientID, created: now,
            expires: now.adding(seconds: policy.sessionLife), holder: .partner(host: request.host))
        let ephemeral = KMSEphemeralKey(
            uri: keyManagement.names.session(id), x: agreement.x, y: agreement.y, userID: request.host,
            clientID: request.clientID, createDate: content.created, expirationDate: content.expires)
        let answer = KMSAnswer(
            status: KMSStatus.created, requestID: request.requestID, body: .ephemeralKey(ephemeral))
        let signedAnswer = try staticKey.sign(answer.json(), withChain: true)
        var entry = entry
        entry.session = id
        entry.rule = "partner-session-opened"
        if let blocked = audit?.blocked { throw blocked }
        let record = try auditRecord(entry, answer, now)
        // A conflict: the key of the day was destroyed between sealing and writing; the next one is taken.
        for _ in 0..<3 {
            let change = StoreChange(writes: [
                .insertSession(try await sessions.record(content, id: id, now: now)),
                .insertLedger(
                    LedgerRecord(
                        digest: digest, session: id, expires: content.expires, sealedAnswer: signedAnswer,
                        audit: try record.flatMap { try audit?.ledgerForm(of: $0) } ?? [])),
            ])
            let (result, ticket) = try await commit(change, record: record)
            switch result {
            case .committed:
                sessions.remember(content, id: id)
                return leave(signedAnswer, answer, when: ticket, entry) { [self, entry] _ in
                    var entry = entry
                    entry.renewAuditID(at: now)
                    return refusePartner(KMSFailure(KMSStatus.internalError, "internal error"), entry, now)
                }
            case .duplicate:
                guard let earlier = try await store.ledgerEntry(digest) else { continue }
                try await audit?.settle()
                return again(earlier.sealedAnswer, entry)
            case .conflict: continue
            }
        }
        throw KMSFailure(KMSStatus.internalError, "internal error")
    }

    /// A request in a partner's session.
    func answer(
        partner host: String, _ root: JSONNode, session: LiveSession, text: [UInt8], entry: RequestLogEntry,
        now: Timestamp
    ) async -> PendingReply {
        var entry = entry
        entry.user = host
        var answer: KMSAnswer
        do {
            let request = try KMSRequest(root, needsBearer: false)
            entry.note(request)
            let outcome = try await decide(request, forPartner: host, session, text, &entry, now)
            entry.rule = "partner:" + outcome.rule
            entry.way = outcome.way(keyManagement.names)
            answer = KMSAnswer(status: outcome.status, requestID: request.requestID, body: outcome.body)
        } catch let failure as KMSFailure {
            entry.rule = failure.rule ?? "partner-refused"
            answer = KMSAnswer(failure, requestID: entry.requestID)
        } catch {
            log.failure(error, while: "deciding on a request of another KMS")
            answer = KMSAnswer(KMSFailure(KMSStatus.internalError, "internal error"), requestID: entry.requestID)
        }
        return finish(answer, session: session, entry: entry, now: now)
    }

    private func decide(
        _ request: KMSRequest, forPartner host: String, _ session: LiveSession, _ text: [UInt8],
        _ entry: inout RequestLogEntry, _ now: Timestamp
    ) async throws -> KeyManagement.Outcome {
        let snapshot = keyManagement.inForce.current
        let federation = federation(by: snapshot)
        let partner = federation?.partners[host]
        let user = try PartnerRules.judge(request, partner: partner, names: keyManagement.names)
        entry.effectiveUser = user
        guard let federation, let partner else { throw KMSFailure(KMSStatus.forbidden, "refused") }
        let digest = request.counter == nil ? [] : SHA256.hash(text)
        try CounterRules.check(request, digest: digest, session: session, window: policy.requestTimeWindow, now: now)
        try await PartnerRules.judgeOwn(
            user, of: partner, in: federation, homes: homes, sessions: sessions, now: now)
        try await PartnerRules.judgeAssertion(request, of: user, partner: partner, now: now)
        try PartnerRules.judgeLists(user, of: partner, in: federation)
        let asking = KeyManagement.PartnerCaller(
            partner: partner, user: user, snapshot: snapshot, homes: homes)
        let outcome = try await keyManagement.judging(by: asking.snapshot).decide(request, for: asking, now: now)
        switch try await homes.claim(user, for: host, isDecided: asking.isListed) {
        case .granted: return outcome
        case .ownUser: throw PartnerRules.ownUser(user, partner)
        case .contested(let claimants):
            federation.observer.contested(user, claimants)
            throw PartnerRules.contested(user, partner)
        }
    }

    /// Who is not believed gets a signed refusal as long as the budget for resets lasts.
    private func refuseStranger(
        _ reason: String, _ source: String, _ entry: RequestLogEntry, _ now: Timestamp
    ) -> PendingReply {
        guard budgets.takeReset(source: source, now: now) else { return .drop("too many refusals") }
        return .ready(refusePartner(KMSFailure(KMSStatus.forbidden, reason), entry, now))
    }

    private func refusePartner(_ failure: KMSFailure, _ entry: RequestLogEntry, _ now: Timestamp) -> Reply {
        var entry = entry
        entry.rule = failure.rule ?? "partner-refused"
        noteRefusal(entry, KMSAnswer(failure, requestID: entry.requestID), now)
        log.request(entry, status: failure.status, reason: failure.reason)
        do {
            return .answer(try staticKey.sign(KMSAnswer(failure, requestID: entry.requestID).json(), withChain: true))
        } catch {
            log.failure(error, while: "signing an answer")
            return .decline("internal error")
        }
    }
}
