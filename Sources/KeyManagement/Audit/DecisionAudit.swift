package import AuditTrail
package import Diagnostics
import Introspection
package import KeyStore
package import MasterKey
import SecretMemory
import Synchronization
package import WireText

/// Brings each decision into the audit trail exactly once, before its answer leaves (security model, rule 26).
///
/// Rules:
/// 1. What releases a key or changes something is kept first; when it can not be kept, it is refused.
/// 2. A change carries its record in the ledger entry of its own transaction; after a crash, or when keeping failed
///    behind a commit, the trail is completed from there (`complete`).
/// 3. Refusals are noted, counted per source, and never wait.
/// 4. Identifiers stand as HMACs (`u:` users, `c:` clients, `o:` objects); what an officer needs in clear is sealed
///    beside them under the key of its month (`MonthSealRing`), bound to the record's id. When that key is destroyed,
///    chain and pseudonyms still hold.
package final class DecisionAudit: Sendable {
    private struct State {
        var changes = OpenChanges()
        var completing: Task<Void, any Error>?
        /// Why the trail proves nothing from here on.
        var distrusted: DiagnosedError?
    }

    package let trail: AuditTrail
    let ring: SealRing
    private let months: MonthSealRing
    private let store: any KeyStore
    private let state = Mutex(State())
    /// Most identifiers come again soon, and an HMAC costs ten times as much as finding it.
    private let codes = TwoGenerationCache<String, String>(capacity: 4096)

    package init(trail: AuditTrail, ring: SealRing, store: any KeyStore) {
        self.trail = trail
        self.ring = ring
        months = MonthSealRing(store: store, ring: ring)
        self.store = store
    }

    /// Why nothing can be kept now; nil when it can.
    package var blocked: DiagnosedError? { state.withLock { $0.distrusted } ?? trail.state.blocked }

    /// Nothing is released until `trust`: what would be kept behind that break proves nothing.
    package func distrust(_ error: DiagnosedError) {
        let blocked = DiagnosedError(
            .auditBlocked, fault: .store, "the audit trail is broken where it would go on: \(error.summary)",
            expected: error.expected, found: error.found,
            hint: "put back what was changed, or start a new trail (audit.new-trail-reason; see HDS-AUDIT-CHAIN-BROKEN)"
        )
        state.withLock { $0.distrusted = blocked }
    }

    package func trust() { state.withLock { $0.distrusted = nil } }

    // MARK: Records

    /// The pseudonym under which an identifier stands in the trail.
    package func pseudonym(user: String) -> String { "u:" + code(user.canonicalAuthID) }
    package func pseudonym(client: String) -> String { "c:" + code(client) }
    package func pseudonym(object: String) -> String { "o:" + code(object) }

    private func code(_ text: String) -> String {
        if let known = codes[text] { return known }
        let code = Hexadecimal.encode(ring.lookup(text, purpose: "audit"))
        codes[text] = code
        return code
    }

    func record(_ decision: Decision) throws -> AuditRecord {
        var record = AuditRecord(.decision, id: decision.id, at: decision.time)
        record.user = decision.user.map(pseudonym(user:))
        record.effectiveUser =
            decision.effectiveUser == decision.user ? record.user : decision.effectiveUser.map(pseudonym(user:))
        record.client = decision.client.map(pseudonym(client:))
        record.method = decision.method
        record.type = decision.type
        record.object = decision.object.map(pseudonym(object:))
        record.requestId = decision.requestID.map { String(decoding: $0.utf8.prefix(256), as: UTF8.self) }
        record.rule = decision.rule
        record.status = decision.status
        record.durationUs = decision.durationMicroseconds
        try seal(decision.details(), into: &record)
        return record
    }

    /// What an officer may need in clear, under the key of the record's month.
    func seal(_ details: consuming FieldWriter, into record: inout AuditRecord) throws {
        let sealed = try details.withUnsafeBytes {
            try months.seal($0, id: record.id.description, at: record.time)
        }
        record.sealed = Base64URL.encode(sealed)
    }

    /// The clear part of a record of this KMS; nil for one without. Throws `audit-month-destroyed` when its time is over.
    func details(of record: AuditRecord) throws -> Decision.Details? {
        guard let sealed = record.sealed.flatMap({ Base64URL.decode($0) }) else { return nil }
        let plain = try months.open(sealed, id: record.id.description)
        guard let details = plain.withUnsafeBytes({ Decision.Details($0) }) else {
            throw RecordVault.forged("audit record")
        }
        return details
    }

    /// Has the keys for the details of now; before the first record, then each minute.
    package func prepare(now: Timestamp) async throws { try await months.prepare(now: now) }

    /// Makes details unreadable for ever in months that ended so many seconds ago, and records it.
    package func destroyDetails(olderThan seconds: Int64, now: Timestamp) async throws -> [CalendarMonth] {
        let destroyed = try await months.destroy(olderThan: seconds, now: now)
        for month in destroyed {
            var record = AuditRecord(.erasure, at: now)
            (record.rule, record.type, record.path) = ("details-retention", "AUDIT_DETAILS", month.description)
            try await trail.keep(record)
        }
        return destroyed
    }

    // MARK: Keeping

    /// The record is on its way, behind all that were handed in before; the ticket tells how it ended.
    func keep(_ record: AuditRecord) -> KeepTicket {
        let ticket = KeepTicket()
        send(record) { ticket.end($0) }
        return ticket
    }

    /// The record is on the disk when this returns.
    func keepAndWait(_ record: AuditRecord) async throws {
        if let failure = await keep(record).ended() { throw failure }
    }

    /// The one way of a decision into the trail.
    private func send(_ record: AuditRecord, then completion: @escaping KeepTicket.Completion) {
        if let distrusted = state.withLock({ $0.distrusted }) { return completion(distrusted) }
        trail.keep(record, then: completion)
    }

    func note(_ record: AuditRecord, source: String) { trail.noteRefusal(record, source: source) }

    /// The record as a ledger entry carries it.
    func ledgerForm(of record: AuditRecord) throws -> [UInt8] {
        let fields = record.ledgerForm()
        return try fields.withUnsafeBytes {
            try ring.seal($0, kind: .audit, id: "ledger " + record.id.description, version: 1)
        } + Array(record.id.description.utf8)
    }

    private func record(ledgerForm value: [UInt8]) throws -> AuditRecord {
        let id = String(decoding: value.suffix(36), as: UTF8.self)
        let plain = try ring.open(Array(value.dropLast(36)), kind: .audit, id: "ledger " + id, version: 1)
        guard let record = plain.withUnsafeBytes({ AuditRecord(ledgerForm: $0) }), record.id.description == id else {
            throw RecordVault.forged("audit record")
        }
        return record
    }

    /// Tries to write while nothing can be kept, so that a trail is open again as soon as its disk is.
    package func probe(now: Timestamp) async {
        var record = AuditRecord(.lookup, at: now)
        record.rule = "probe"
        try? await trail.keep(record)
    }

    /// Runs a commit; when it took effect, the record is on its way and the ticket tells how that ended. The trail's
    /// position never passes a record on its way.
    func keep(
        _ record: AuditRecord, after commit: () async throws -> CommitResult
    ) async throws -> (CommitResult, KeepTicket?) {
        let number = state.withLock { $0.changes.begin() }
        let result: CommitResult
        do {
            result = try await commit()
        } catch {
            // Whether the commit took effect is not known: what the ledger has is looked at before the next head.
            end(number, isKept: false)
            throw error
        }
        guard result == .committed else {
            end(number, isKept: true)
            return (result, nil)
        }
        let ticket = KeepTicket()
        send(record) { [self] failure in
            end(number, isKept: failure == nil)
            ticket.end(failure)
        }
        return (result, ticket)
    }

    private func end(_ number: UInt64, isKept: Bool) {
        let waiting = state.withLock { $0.changes.end(number, isKept: isKept) }
        for continuation in waiting { continuation.resume() }
    }

    /// Returns when every change that is open now is kept, or has failed.
    private func openOnesEnded() async {
        await withCheckedContinuation { continuation in
            if !state.withLock({ $0.changes.wait(continuation) }) { continuation.resume() }
        }
    }

    /// Before an earlier answer is given again: its record is in the trail, or is completed now.
    func settle() async throws {
        await openOnesEnded()
        try await completeFailed()
    }

    /// One at a time, else two would add the same record.
    private func completeFailed() async throws {
        while true {
            let running = state.withLock { state -> Task<Void, any Error>? in
                guard state.changes.failed != nil else { return nil }
                if let running = state.completing { return running }
                let task = Task { try await self.completeOnce() }
                state.completing = task
                return task
            }
            guard let running else { return }
            try await running.value
        }
    }

    private func completeOnce() async throws {
        defer { state.withLock { $0.completing = nil } }
        guard let failed = state.withLock({ $0.changes.failed }) else { return }
        _ = try await complete()
        state.withLock { $0.changes.completed(through: failed) }
    }

    /// Adds what the ledger carries and the trail lacks; how many records that were. At the start, and after a failure.
    package func complete() async throws -> Int {
        var position = trail.state.position ?? 0
        var added = 0
        while true {
            let page = try await store.ledgerAudits(after: position, limit: 500)
            guard let last = page.last else { return added }
            let records = try page.map { try record(ledgerForm: $0.audit) }
            // What is on its way is not missing.
            await openOnesEnded()
            let standing = try await trail.present(records.map(\.id))
            let missing = records.filter { !standing.contains($0.id) }
            if !missing.isEmpty { try await trail.keep(missing) }
            added += missing.count
            position = last.position
        }
    }

    /// Seals the chain's head; called each minute. The position that goes with it says up to where the ledger stands in
    /// the trail for sure.
    package func seal(now: Timestamp, store counters: StoreCounters? = nil) async throws {
        try await completeFailed()
        let newest = try await store.ledgerPosition()
        let position = state.withLock { $0.changes.position(newest: newest) }
        try await trail.sealRoot(now: now)
        try await trail.sealHead(now: now, position: position, store: counters)
    }
}
