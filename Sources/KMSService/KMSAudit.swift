import AuditTrail
import Cryptography
import Diagnostics
import Glibc
import HTTPClient
import KeyManagement
import KeyStore
import LinkedService
import MasterKey
import ServiceLifecycle
package import ServiceRuntime
import Synchronization
import TLSChannel
import WireText

/// The audit trail as the service keeps it: opened, completed, sealed each minute, watched.
struct KMSAudit: Service {
    let audit: DecisionAudit
    private let health: HealthRegistry
    private let log: KMSRequestLog
    private let events: any EventRecorder
    private let section: AuditSection
    private let rollback: RollbackDetector
    private let inForce: PolicyInForce
    /// The newest signed head, for who keeps it elsewhere.
    let newestHead: NewestHead
    private static let check = HealthCheck("audit", "the audit trail", gate: .required)

    /// Opens the trail and adds what a crash kept out of it.
    static func open(
        _ section: AuditSection, _ configuration: KMSServiceConfiguration, _ context: ServiceContext, ring: SealRing,
        store: any KeyStore, rollback: RollbackDetector, inForce: PolicyInForce, log: KMSRequestLog, route: WebRoute
    ) async throws -> KMSAudit {
        let folder = configuration.auditFolder
        let key = try attestationKey(
            section.attestationKey ?? .file(FileLocation(configuration.dataFolder + "/attestation.key")),
            mayMake: section.attestationKey == nil, context)
        var settings = AuditTrailConfiguration(folder: folder, node: configuration.node, key: key)
        settings.limit = section.megabytes << 20
        settings.retention = section.retention
        settings.newTrailReason = section.newTrailReason
        settings.successions = try section.successions.map { file in
            let text = try file.text(upTo: 64 << 10)
            return text.split(whereSeparator: \.isWhitespace).joined()
        }
        let events = context.events
        let newest = NewestHead()
        let journal = ClosureWitness("journal") { head in
            newest.note(head.jws)
            events.record(.auditHead, [.detail: Loggable(reviewed: head.jws)])
        }
        settings.witnesses = [journal] + (try section.witnesses.map { try $0.witness(route) })
        settings.witnessFiles = section.witnesses.map(\.file.path).filter { access($0, F_OK) == 0 }
        let trail: AuditTrail
        do {
            trail = try await AuditTrail.open(settings)
        } catch let error as DiagnosedError where error.breaksTrail {
            ChainWatch.raise(error, stage: 2, context.alarms)
            throw error
        }
        try await rollback.compare(trail.state.store)
        let audit = DecisionAudit(trail: trail, ring: ring, store: store)
        try await audit.prepare(now: Timestamp.now())
        let added = try await audit.complete()
        events.record(
            .auditOpened,
            [
                .fingerprint: Loggable(reviewed: key.fingerprint), .file: Loggable(reviewed: folder),
                .detail: "\(trail.state.lastSeq) records, \(added) of them added from the ledger",
            ])
        context.health.declare(check)
        let service = KMSAudit(
            audit: audit, health: context.health, log: log, events: events, section: section,
            rollback: rollback, inForce: inForce, newestHead: newest)
        service.report()
        return service
    }

    private init(
        audit: DecisionAudit, health: HealthRegistry, log: KMSRequestLog, events: any EventRecorder,
        section: AuditSection, rollback: RollbackDetector, inForce: PolicyInForce, newestHead: NewestHead
    ) {
        self.newestHead = newestHead
        self.audit = audit
        self.health = health
        self.log = log
        self.events = events
        (self.section, self.rollback, self.inForce) = (section, rollback, inForce)
    }

    /// In seconds: the signed policy's time for both, where it names one.
    var retention: (records: Int64, details: Int64) {
        let signed = inForce.current.values.auditLife
        return (signed ?? section.retention, signed ?? section.detailsRetention)
    }

    private static func attestationKey(
        _ location: SecretLocation, mayMake: Bool, _ context: ServiceContext
    ) throws -> AttestationKey {
        switch location {
        case .file(let file):
            if mayMake, access(file.path, F_OK) != 0, errno == ENOENT {
                try AttestationKey.createP256().save(toNewFile: file.path)
            }
            return try AttestationKey.load(fromFile: file.path)
        case .credential:
            return try context.credentials.withBytes(of: location) { AttestationKey(try PrivateKey(pem: $0)) }
        }
    }

    /// That a device may inspect the TLS of the link is an administrator's decision, and stands in the trail at each
    /// start for which it holds.
    func keep(_ inspection: TLSInspection, of core: CoreSection, now: Timestamp) async throws {
        var act = OfficeAct(.decision, by: "configuration", command: "tls-inspection", rule: "tls-inspection")
        act.result = "\(core.link.host) by \(inspection.name) until \(inspection.until.iso8601)"
        act.detail = inspection.authorities.compactMap { SPKIPin(digest: $0.spkiSHA256)?.text }.joined(separator: ", ")
        try await audit.keep(act, now: now)
    }

    func run() async throws {
        try? await cancelWhenGracefulShutdown {
            var sealed = ContinuousClock.now
            var monthsKept = ContinuousClock.now
            while !Task.isCancelled {
                try await Task.sleep(for: .seconds(5))
                if sealed.duration(to: .now) >= .seconds(60) {
                    sealed = .now
                    do {
                        audit.trail.retention = retention.records
                        try await audit.seal(now: Timestamp.now(), store: rollback.counters)
                    } catch {
                        log.failure(error, while: "sealing the audit trail")
                    }
                    let isHour = monthsKept.duration(to: .now) >= .seconds(3600)
                    if isHour { monthsKept = .now }
                    await keepMonths(destroying: isHour, now: Timestamp.now())
                }
                if audit.trail.state.blocked != nil { await audit.probe(now: Timestamp.now()) }
                report()
            }
        }
    }

    /// The keys of the months' details: made in time, destroyed when their time is over.
    private func keepMonths(destroying: Bool, now: Timestamp) async {
        do {
            try await audit.prepare(now: now)
            guard destroying else { return }
            for month in try await audit.destroyDetails(olderThan: retention.details, now: now) {
                events.record(.auditDetailsDestroyed, [.detail: Loggable(reviewed: month.description)])
            }
        } catch {
            log.failure(error, while: "keeping the keys of audit details")
        }
    }

    /// The last records and a last head; called when nothing is answered any more.
    func close() async {
        do {
            try await audit.trail.close()
        } catch {
            log.failure(error, while: "closing the audit trail")
        }
    }

    func chainWatch(every interval: Duration) -> ChainWatch {
        ChainWatch(audit: audit, health: health, interval: interval)
    }

    private func report() {
        AuditAlarms.tell(audit.trail.state, blocked: audit.blocked, health: health, check: Self.check)
    }
}

/// The newest signed head of the trail.
final class NewestHead: Sendable {
    private let held = Mutex<String?>(nil)
    var text: String? { held.withLock { $0 } }
    func note(_ text: String) { held.withLock { $0 = text } }
}

/// Where the audit trail lies and how large it may grow.
package struct AuditSection: Decodable, Sendable {
    /// Nil: `audit` beside the key store.
    package let folder: FileLocation?
    /// Nil: `attestation.key` beside the key store, made when missing.
    package let attestationKey: SecretLocation?
    package let successions: [FileLocation]
    package let witnesses: [AuditWitnessSection]
    package let megabytes: Int
    /// Seconds.
    package let retention: Int64
    /// Seconds after which a month's details are made unreadable.
    package let detailsRetention: Int64
    /// How often the whole trail is read again and verified.
    package let verifyEvery: Duration
    /// Why a new trail may begin although there was one.
    package let newTrailReason: String?

    package enum CodingKeys: String, CodingKey, CaseIterable {
        case folder
        case attestationKey = "attestation-key"
        case successions
        case witnesses
        case megabytes = "limit-megabytes"
        case retention
        case detailsRetention = "details-retention"
        case verifyEvery = "verify-every"
        case newTrailReason = "new-trail-reason"
    }

    package init() {
        (folder, attestationKey, successions, witnesses) = (nil, nil, [], [])
        (megabytes, retention, detailsRetention) = (10_240, 90 * 86_400, 90 * 86_400)
        verifyEvery = .seconds(6 * 3600)
        newTrailReason = nil
    }

    package init(from decoder: any Decoder) throws {
        let section = try decoder.container(keyedBy: CodingKeys.self)
        folder = try section.optional(.folder)
        attestationKey = try section.optional(.attestationKey)
        successions = try section.value(.successions, default: [])
        witnesses = try section.value(.witnesses, default: [])
        megabytes = try section.value(.megabytes, default: 10_240, in: 16...10_000_000)
        let days = Duration.seconds(86_400)...Duration.seconds(3650 * 86_400)
        let kept: Duration = try section.value(.retention, default: .seconds(90 * 86_400), in: days)
        retention = kept.components.seconds
        verifyEvery = try section.value(
            .verifyEvery, default: .seconds(6 * 3600), in: .seconds(60) ... .seconds(30 * 86_400))
        detailsRetention = try section.value(.detailsRetention, default: kept, in: days).components.seconds
        newTrailReason = try section.optional(.newTrailReason)
        guard newTrailReason.map({ (8...200).contains($0.utf8.count) }) ?? true else {
            throw section.problem(.newTrailReason, "expected a sentence of 8 to 200 octets: it stands in the audit")
        }
    }
}
