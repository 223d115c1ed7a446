import AuditTrail
import Diagnostics
import KMSProtocol
import KeyStore
import WireText

// How an answer leaves: at once, or when its record is in the audit trail (security model, rule 26).
extension RequestHandler {
    /// An answer that has been decided on, and what it still waits for.
    enum PendingReply: Sendable {
        case ready(Reply)
        /// May leave when the ticket ends; `settle` is called once, with how it ended, and says what leaves. `octets` are
        /// held meanwhile.
        case keeping(KeepTicket, octets: Int, settle: @Sendable (DiagnosedError?) -> Reply)

        static func answer(_ text: [UInt8]) -> PendingReply { .ready(.answer(text)) }
        static func decline(_ reason: String) -> PendingReply { .ready(.decline(reason)) }
        static func drop(_ reason: String) -> PendingReply { .ready(.drop(reason)) }
    }

    /// Commits; a record that goes with it is on its way into the audit trail when this returns.
    func commit(_ change: StoreChange, record: AuditRecord?) async throws -> (CommitResult, KeepTicket?) {
        guard let record, let audit else { return (try await store.commit(change), nil) }
        return try await audit.keep(record) { try await store.commit(change) }
    }

    /// Wraps an answer that changes nothing; one that releases something leaves when it is kept in the audit trail.
    func finish(
        _ answer: KMSAnswer, session: LiveSession, entry: RequestLogEntry, now: Timestamp
    ) -> PendingReply {
        var answer = answer
        do {
            let wrapped = try wrap(&answer, session: session)
            var ticket: KeepTicket?
            if !answer.isSuccess {
                noteRefusal(entry, answer, now)
            } else if entry.uri?.object != .ping, let audit, let record = try auditRecord(entry, answer, now) {
                ticket = audit.keep(record)
            }
            return leave(wrapped, answer, when: ticket, entry) { [self, requestID = answer.requestID] in
                unkept($0, requestID, session: session, entry: entry, now: now)
            }
        } catch {
            log.failure(error, while: "wrapping an answer")
            return .decline("internal error")
        }
    }

    /// The answer, logged as it leaves; the refusal in its place when its record could not be kept.
    func leave(
        _ text: [UInt8], _ answer: KMSAnswer, when ticket: KeepTicket?, _ entry: RequestLogEntry,
        refusal: @escaping @Sendable (DiagnosedError) -> Reply
    ) -> PendingReply {
        // What grants something leaves under the lease, also when no record of it is kept.
        guard let ticket = ticket ?? (answer.isSuccess && keyManagement.lease != nil ? .kept : nil) else {
            if let reason = reasonForOthers(answer, entry) { return .decline(reason) }
            tell(entry, answer.status, answer.reason)
            return .answer(text)
        }
        return .keeping(ticket, octets: text.count) { [self, status = answer.status, reason = answer.reason] failure in
            if let failure {
                log.failure(failure, while: "keeping a decision in the audit trail; its answer does not leave")
                return refusal(failure)
            }
            // Asked last of all: from here the answer goes to the socket.
            guard !isOfDisabled(entry) else { return .drop("its user was disabled meanwhile") }
            guard mayLeave(entry) else { return .decline(ReleaseLease.missing) }
            tell(entry, status, reason)
            return .answer(text)
        }
    }

    private func tell(_ entry: RequestLogEntry, _ status: Int, _ reason: String?) {
        if let client = entry.tokenClient {
            clients.note(
                client.id, isIntegration: client.isIntegration, isRefused: (400..<500).contains(status), now: clock())
        }
        log.request(entry, status: status, reason: reason)
    }

    /// What a string gets that came again: its first answer, unless that carries keys whose release is frozen meanwhile.
    func first(
        _ earlier: LedgerRecord, _ request: KMSRequest, session: LiveSession, entry: RequestLogEntry, now: Timestamp
    ) async -> PendingReply {
        guard let failure = await freeze(of: request, session: session, now: now) else {
            log.request(entry, status: nil, reason: nil)
            return again(earlier.sealedAnswer, entry)
        }
        var entry = entry
        entry.rule = failure.rule
        return finish(KMSAnswer(failure, requestID: request.requestID), session: session, entry: entry, now: now)
    }

    /// Judged anew while anything is frozen, and only for what a freeze says; who can not be judged then gets nothing.
    private func freeze(of request: KMSRequest, session: LiveSession, now: Timestamp) async -> KMSFailure? {
        guard let freezes = keyManagement.freezes, freezes.mayRefuse else { return nil }
        switch (request.method, request.uri.object) {
        case (.create, .keys), (.update, .key), (.create, .resourceSearchKeys), (.create, .sealingKey): break
        default: return nil
        }
        let caller: Caller
        do throws(KMSFailure) {
            let (token, _) = try await identity(of: request.credential.bearer, now: now)
            caller = try Caller.judge(
                request, token: token, session: session.content, policy: keyManagement.inForce.current, now: now)
        } catch {
            return error
        }
        do {
            _ = try await keyManagement.judging(by: caller.snapshot).decide(
                request, caller: caller, session: session, now: now)
            return nil
        } catch let failure as KMSFailure {
            return FreezeBoard.isFreeze(failure) ? failure : nil
        } catch {
            log.failure(error, while: "looking whether a first answer is frozen")
            return KMSFailure(KMSStatus.internalError, "internal error")
        }
    }

    /// The first answer to a string that came again: it may carry keys, so it leaves under the lease like any other.
    func again(_ text: [UInt8], _ entry: RequestLogEntry) -> PendingReply {
        guard keyManagement.lease != nil else { return .answer(text) }
        return .keeping(.kept, octets: text.count) { [self] _ in
            guard !isOfDisabled(entry) else { return .drop("its user was disabled meanwhile") }
            return mayLeave(entry) ? .answer(text) : .decline(ReleaseLease.missing)
        }
    }

    /// Why a fault is this node's own, and another one may answer: it is cut off from the database, or it can not keep
    /// records and is not alone. Nil: the fault is told.
    private func reasonForOthers(_ answer: KMSAnswer, _ entry: RequestLogEntry) -> String? {
        guard let lease = keyManagement.lease, answer.status >= 500, answer.status != KMSStatus.notImplemented else {
            return nil
        }
        guard lease.isHeld else { return ReleaseLease.missing }
        return lease.hasOthers && Self.isBlocked(entry.rule) ? ReleaseLease.blocked : nil
    }

    private static func isBlocked(_ rule: String?) -> Bool { rule == auditBlocked || rule == journalBlocked }
    private static let auditBlocked = "audit-blocked"
    private static let journalBlocked = "journal-blocked"

    /// The rule of a refusal by what went wrong on this node.
    static func rule(of error: any Error) -> String {
        switch (error as? DiagnosedError)?.code {
        case .auditBlocked: auditBlocked
        case .journalBlocked: journalBlocked
        default: "internal-error"
        }
    }

    /// Why an opening that failed goes to another node; nil: the failure is told.
    func reasonForOthers(_ error: any Error) -> String? {
        guard Self.isBlocked(Self.rule(of: error)), let lease = keyManagement.lease, lease.hasOthers else { return nil }
        return ReleaseLease.blocked
    }

    private func mayLeave(_ entry: RequestLogEntry) -> Bool {
        guard let lease = keyManagement.lease else { return true }
        return entry.leaseMark.map { lease.permits($0) } ?? false
    }

    /// The refusal in place of an answer whose change or record failed.
    func unkept(
        _ error: any Error, _ requestID: String?, session: LiveSession, entry: RequestLogEntry, now: Timestamp
    ) -> Reply {
        var entry = entry
        entry.renewAuditID(at: now)
        entry.rule = Self.rule(of: error)
        var answer = KMSAnswer(KMSFailure(KMSStatus.internalError, "internal error"), requestID: requestID)
        if let reason = reasonForOthers(answer, entry) { return .decline(reason) }
        do {
            let wrapped = try wrap(&answer, session: session)
            noteRefusal(entry, answer, now)
            log.request(entry, status: answer.status, reason: answer.reason)
            return .answer(wrapped)
        } catch {
            log.failure(error, while: "wrapping an answer")
            return .decline("internal error")
        }
    }
}

extension ReleaseLease {
    /// Why a string is declined: the core gives it to another node.
    static let missing = "this node has no lease to release keys"
    static let blocked = "this node can not keep its records"
}

extension RequestHandler {
    /// Why a string is declined that could be answered: its client matches answers by their order.
    static let behindDeclined = "an earlier string of its session was declined"
}
