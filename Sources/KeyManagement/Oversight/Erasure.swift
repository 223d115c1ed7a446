package import AuditTrail
package import Diagnostics
import KMSProtocol
import KeyStore
package import WireText

/// Destroys the keys of a space, or of all spaces that were one person's alone, and takes the person out of all others.
///
/// One space is one transaction, with the hold list as its condition: a hold that comes meanwhile wins. The erasure's own
/// progress is written in each of them, so that a run that was interrupted goes on where it was, when it is ordered
/// again, and its certificate counts everything. `ErasureFate` has the rules.
package struct Erasure: Sendable {
    /// By whom and how it was ordered.
    package struct Order: Sendable, Equatable {
        package var officers: [String]
        /// SHA-256 of the signed request, base64url.
        package var request: String
        /// Until when backups may hold what is destroyed, as the officer states it.
        package var backupsUntil: Timestamp

        package init(officers: [String], request: String, backupsUntil: Timestamp) {
            self.officers = officers
            self.request = request
            self.backupsUntil = backupsUntil
        }
    }

    let oversight: Oversight
    let audit: DecisionAudit
    let node: String
    let clock: @Sendable () -> Timestamp

    package init(
        oversight: Oversight, audit: DecisionAudit, node: String,
        clock: @escaping @Sendable () -> Timestamp = { Timestamp.now() }
    ) {
        self.oversight = oversight
        self.audit = audit
        self.node = node
        self.clock = clock
    }

    private var store: any KeyStore { oversight.store }
    private var vault: RecordVault { oversight.vault }

    // MARK: Before

    /// What an erasure would do now; changes nothing.
    package func plan(
        _ subject: OversightSubject, progress: Oversight.Progress = { _ in true }
    ) async throws -> ErasureCertificate.Counts {
        var counts = ErasureCertificate.Counts()
        let (holds, _) = try await HoldList.read(store, vault)
        switch subject {
        case .space(let id):
            guard let record = try await store.resource(id) else { throw unknown(id) }
            guard !holds.contains(id) else {
                counts.spacesHeld = 1
                return counts
            }
            try await countDestroyed(record, &counts)
        case .user(let user):
            counts.sessionsEnded = Int64(try await sessions(of: user).count)
            try await forEachUnboundKey(of: user, progress) { _ in counts.unboundKeysDestroyed += 1 }
            try await oversight.walk(progress) { record, head in
                let list = try await list(of: record.id)
                let isHeld = holds.contains(record.id)
                switch ErasureFate.judge(head, list: list, of: user, isHeld: isHeld, now: clock()) {
                case .untouched: break
                case .held: counts.spacesHeld += 1
                case .destroyed: try await countDestroyed(record, &counts)
                case .redacted:
                    counts.spacesRedacted += 1
                    counts.authorizationsRedacted += Int64(list.count { $0.content.names(user) })
                    try await forEachKey(of: record.id) { content in
                        if content.owner.canonicalAuthID == user { counts.keysRedacted += 1 }
                    }
                }
                return true
            }
        }
        return counts
    }

    // MARK: Doing it

    /// The certificate's file. An erasure of the same subject that was interrupted goes on.
    ///
    /// - Parameter id: of the audit record that says that it begins, kept before.
    package func run(
        _ subject: OversightSubject, order: Order, id: AuditID, progress: Oversight.Progress = { _ in true }
    ) async throws -> String {
        var run = try await ErasureRun(subject, order: order, id: id, oversight, audit, clock())
        switch subject {
        case .space(let space):
            guard try await destroy(space, &run) || run.isResumed else { throw unknown(space) }
        case .user(let user):
            run.progress.counts.spacesHeld = 0
            for session in try await sessions(of: user) {
                try await run.commit([.deleteSession(id: session)]) { $0.counts.sessionsEnded += 1 }
                oversight.sessions.forget(session)
            }
            try await eraseUnboundKeys(of: user, &run, progress)
            try await oversight.walk({ text in
                // Who asked may have gone: what was begun is finished.
                _ = progress(text)
                return true
            }) { record, _ in
                try await erase(user, in: record.id, &run)
                return true
            }
        }
        return try await finish(&run, subject)
    }

    /// The certificate of the last erasure of the subject that was finished; nil for none.
    package func certificate(of subject: OversightSubject) async throws -> String? {
        try await ErasureRun.standing(subject, oversight, audit)?.progress.certificate
    }

    private func finish(_ run: inout ErasureRun, _ subject: OversightSubject) async throws -> String {
        let done = run.progress
        let isUser = if case .user = subject { true } else { false }
        let certificate = ErasureCertificate(
            id: done.id.description, kind: isUser ? "user" : "space", subject: run.pseudonym,
            host: oversight.names.host, node: node, officers: done.order.officers, request: done.order.request,
            begun: done.begun, finished: clock(), counts: done.counts, objects: done.objects,
            digest: Hexadecimal.encode(done.digest), backupsUntil: done.order.backupsUntil,
            stays: isUser ? Self.staysOfUser : Self.staysOfSpace, outOfReach: Self.outOfReach)
        let file = try audit.trail.certify(certificate)
        try await run.commit([]) { $0.certificate = file }
        return file
    }

    // MARK: One space

    /// Destroys a space; false when it is not there. Throws `erasure-held` when it is held.
    private func destroy(_ id: String, _ run: inout ErasureRun) async throws -> Bool {
        for _ in 0..<16 {
            guard let record = try await store.resource(id) else { return false }
            let (holds, sealed) = try await HoldList.read(store, vault)
            guard !holds.contains(id) else {
                throw DiagnosedError(
                    .erasureHeld, fault: .client, "the space is held and can not be erased",
                    hint: "hdsctl hold list says why; who ordered the hold ends it first")
            }
            if try await commitDestruction(of: record, holds: sealed, &run) { return true }
        }
        throw Self.busy
    }

    private func commitDestruction(
        of record: ResourceRecord, holds: [UInt8]?, _ run: inout ErasureRun
    ) async throws -> Bool {
        var head = try vault.content(record)
        var counts = ErasureCertificate.Counts()
        try await countDestroyed(record, &counts)
        var writes: [StoreWrite] = []
        var version = record.version
        if head.deletedAt == nil {
            head.deletedAt = clock()
            version += 1
            writes.append(.updateResource(try vault.record(head, id: record.id, version: version)))
        }
        writes.append(.eraseResource(id: record.id, version: version))
        let object = audit.pseudonym(object: oversight.names.resource(record.id))
        return try await run.commit(writes, holds: holds) { progress in
            progress.counts.spacesDestroyed += 1
            progress.counts.keysDestroyed += counts.keysDestroyed
            progress.counts.authorizationsDestroyed += counts.authorizationsDestroyed
            progress.note(object)
        }
    }

    private func erase(_ user: String, in id: String, _ run: inout ErasureRun) async throws {
        for _ in 0..<16 {
            guard let record = try await store.resource(id) else { return }
            let head = try vault.content(record)
            let list = try await list(of: id)
            let (holds, sealed) = try await HoldList.read(store, vault)
            switch ErasureFate.judge(head, list: list, of: user, isHeld: holds.contains(id), now: clock()) {
            case .untouched: return
            case .held:
                run.progress.counts.spacesHeld += 1
                return
            case .destroyed:
                if try await commitDestruction(of: record, holds: sealed, &run) { return }
            case .redacted:
                if try await redact(user, record, head, list, holds: sealed, &run) { return }
            }
        }
        throw Self.busy
    }

    /// Keys first, then the list with the head: until that last commit the space still shows that it is to be redacted.
    private func redact(
        _ user: String, _ record: ResourceRecord, _ head: ResourceContent,
        _ list: [(row: AuthorizationRecord, content: AuthorizationContent)], holds: [UInt8]?, _ run: inout ErasureRun
    ) async throws -> Bool {
        let standIn = ErasedIdentity.make()
        var last: KeyRecord?
        while true {
            let page = try await store.keys(ofResource: record.id, behind: last, limit: Oversight.page)
            guard let end = page.last else { break }
            var writes: [StoreWrite] = []
            var made: [StoreWrite] = []
            let erasable = try await vault.erasableKey(of: record.id, &made)
            for key in page {
                guard var content = try vault.contentUnlessErased(key), content.redact(user, standIn) else { continue }
                writes.append(
                    .updateKey(try vault.record(content, id: key.id, version: key.version + 1, erasable: erasable)))
            }
            let count = Int64(writes.count)
            if count > 0 {
                guard try await run.commit(made + writes, holds: holds, { $0.counts.keysRedacted += count }) else {
                    return false
                }
            }
            last = end
        }
        let writes = try StoreWrite.redacting(
            user, record, head, list, standIn: standIn, vault, now: clock())
        // But for the head.
        let count = Int64(writes.count - 1)
        let object = audit.pseudonym(object: oversight.names.resource(record.id))
        return try await run.commit(writes, holds: holds) { progress in
            progress.counts.spacesRedacted += 1
            progress.counts.authorizationsRedacted += count
            progress.note(object)
        }
    }

    // MARK: What there is

    private func list(
        of id: String
    ) async throws -> [(row: AuthorizationRecord, content: AuthorizationContent)] {
        try await store.authorizations(ofResource: id, includingRemoved: true).map { ($0, try vault.content($0)) }
    }

    private func countDestroyed(_ record: ResourceRecord, _ counts: inout ErasureCertificate.Counts) async throws {
        counts.spacesDestroyed += 1
        counts.authorizationsDestroyed += Int64(
            try await store.authorizations(ofResource: record.id, includingRemoved: true).count)
        var last: KeyRecord?
        while true {
            let page = try await store.keys(ofResource: record.id, behind: last, limit: Oversight.page)
            guard let end = page.last else { return }
            counts.keysDestroyed += Int64(page.count)
            last = end
        }
    }

    private func forEachKey(of space: String, _ body: (KeyContent) throws -> Void) async throws {
        var last: KeyRecord?
        while true {
            let page = try await store.keys(ofResource: space, behind: last, limit: Oversight.page)
            guard let end = page.last else { return }
            for record in page { if let content = try vault.contentUnlessErased(record) { try body(content) } }
            last = end
        }
    }

    private func sessions(of user: String) async throws -> [String] {
        try await oversight.sessionRecords(of: user).map(\.id)
    }

    private func forEachUnboundKey(
        of user: String, _ progress: Oversight.Progress, _ body: (KeyRecord) async throws -> Void
    ) async throws {
        var last: String?
        var count = 0
        while true {
            let page = try await store.unboundKeys(after: last, limit: Oversight.page)
            guard let end = page.last else { return }
            for record in page where try vault.content(record).owner.canonicalAuthID == user { try await body(record) }
            last = end.id
            count += page.count
            _ = progress("unbound keys looked at: \(count)")
            await Task.yield()
        }
    }

    private func eraseUnboundKeys(
        of user: String, _ run: inout ErasureRun, _ progress: Oversight.Progress
    ) async throws {
        try await forEachUnboundKey(of: user, progress) { record in
            // A key that was bound meanwhile is found with its space.
            try await run.commit([.eraseKey(id: record.id, version: record.version)]) {
                $0.counts.unboundKeysDestroyed += 1
            }
        }
    }

    private func unknown(_ space: String) -> DiagnosedError {
        DiagnosedError(
            .subjectUnknown, fault: .client, "there is no record of this space", found: oversight.names.resource(space),
            hint: "see its spelling; a space that was erased before has a certificate")
    }

    static let busy = DiagnosedError(
        .erasureBusy, fault: .store, "others change what is to be erased at the same time",
        hint: "freeze the user or the space first, then order the erasure again: it goes on where it was")
}

// What a certificate says beside its counts.
extension Erasure {
    static let staysOfUser = [
        "keys of spaces that others can read: they belong to those others",
        "the note that the id belongs to a user of this organisation, sealed, so that no partner can claim it",
        "spaces that officers hold, with everything that names the person, until the hold ends",
        "audit records: pseudonyms, and sealed names until the retention of the trail ends",
        "answers in the replay ledger, sealed under keys of ended sessions, until those would have expired",
        "the record of this erasure, by the pseudonym of the person",
    ]
    static let staysOfSpace = [
        "audit records: pseudonyms, and sealed names until the retention of the trail ends",
        "answers in the replay ledger, sealed under session keys, until the sessions expire",
        "entries on lists of other spaces that name this one, which grant nothing any more",
        "the record of this erasure, by the pseudonym of the space",
    ]
    static let outOfReach = [
        "keys and contents that clients keep",
        "keys that a partner's KMS or a consented service got and keeps",
        "exports that were made before",
        "backups of the erasable keys until the date stated, and any copy of them that somebody keeps longer",
        "copies of the database's disk and log made below the file system; of PostgreSQL also its archived log, and dead "
            + "rows until autovacuum has been there",
        "whoever holds the master key together with such a copy",
        "the person's account at the authorization service, and what the cloud keeps encrypted",
    ]
}

extension AuthorizationContent {
    /// Whether anything in it is that person's id.
    func names(_ user: String) -> Bool {
        [authID, createdBy, removedBy ?? ""].contains { $0.canonicalAuthID == user }
    }
}

extension DiagnosedError.Code {
    package static let erasureHeld: Self = "erasure-held"
    package static let erasureBusy: Self = "erasure-busy"
}
