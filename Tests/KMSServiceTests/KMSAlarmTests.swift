import Diagnostics
import Escrow
import Glibc
import KeyStore
import MasterKey
import Recovery
import ServiceRuntime
import Synchronization
import TestServers
import Testing
import WireText

@testable import AuditTrail
@testable import KMSService
@testable import KeyManagement

@Suite("Alarms of the KMS")
struct KMSAlarmTests {
    private let watched = WatchedHealth()
    private let store = MemoryKeyStore()
    private let ring: SealRing

    init() async throws {
        ring = try await SealRing.open(
            kek: try KeyEncryptionKey.create(), store: store, now: Timestamp(seconds: 1_790_000_000))
    }

    private var log: KMSRequestLog {
        KMSRequestLog(
            events: WatchedHealth.Silence(), metrics: watched.metrics, alarms: watched.health.alarms, ring: ring,
            usesPseudonyms: true)
    }

    @Test("[HDS-KEYREAD-ANOMALY] stands by pseudonym, and goes an hour after it was last raised")
    func anomaly() throws {
        let log = log
        log.unusual(.keyReads, user: "alice", count: 5001)
        let standing = try #require(watched.standing(.keyReadAnomaly))
        #expect(standing.detail.text.contains("has read 5001 keys") && !standing.detail.text.contains("alice"))
        log.clearUnusualReads(now: Timestamp.now().adding(seconds: 3500))
        #expect(watched.standing(.keyReadAnomaly) != nil)
        log.clearUnusualReads(now: Timestamp.now().adding(seconds: 3601))
        #expect(watched.standing(.keyReadAnomaly) == nil)
    }

    @Test("[HDS-PARTNER-UNREACHABLE] one partner's silence is told of him alone, until he answers")
    func partner() {
        let observer = KMSAssembly.observer(watched.health.alarms, log)
        observer.partner("kms.b.example", "no answer within 4 s")
        observer.partner("kms.c.example", nil)
        #expect(watched.standing(.partnerUnreachable)?.detail.text == "kms.b.example: no answer within 4 s")
        observer.partner("kms.b.example", nil)
        #expect(watched.standing(.partnerUnreachable) == nil)
    }

    @Test("[HDS-USER-CONTESTED] who claims a user is named, the user by pseudonym; it stands until the next start")
    func contested() throws {
        let observer = KMSAssembly.observer(watched.health.alarms, log)
        observer.contested("bob", ["kms.b.example", "own-users"])
        let standing = try #require(watched.standing(.userContested))
        #expect(standing.detail.text.contains("claimed by kms.b.example, own-users"))
        #expect(!standing.detail.text.contains("bob"))
        #expect(WatchedHealth().standing(.userContested) == nil)
    }

    private func state(percent: Int, blocked: DiagnosedError? = nil, failures: Int = 0) -> AuditTrailState {
        let failure = DiagnosedError("witness-away", fault: .peer, "no stamp came")
        return AuditTrailState(
            node: "kms-1", trail: "t", usedOctets: percent, limitOctets: 100, segments: 1, blocked: blocked, lastSeq: 9,
            sealedThrough: 9, unsealedSince: nil, position: nil, exportedThrough: 0, refusalsWaiting: 0,
            witnesses: [
                AuditTrailState.Witness(
                    name: "tsa", deliveredThrough: 4, failure: failures == 0 ? nil : failure, failures: failures)
            ])
    }

    private func tell(_ state: AuditTrailState) {
        let check = HealthCheck("audit", "the audit trail", gate: .required)
        AuditAlarms.tell(state, blocked: state.blocked, health: watched.health, check: check)
    }

    @Test("[HDS-AUDIT-BLOCKED] at 50 and 80 %, and when nothing is kept; below half it goes")
    func blocked() {
        tell(state(percent: 49))
        #expect(watched.standing(.auditBlocked) == nil)
        for percent in [50, 80, 95] {
            tell(state(percent: percent))
            #expect(watched.standing(.auditBlocked)?.detail.text.hasPrefix("\(percent) %") == true)
            #expect(watched.health.report.isReady)
        }
        tell(state(percent: 10, blocked: DiagnosedError("disk", fault: .store, "the disk is gone")))
        #expect(watched.standing(.auditBlocked)?.detail.text.contains("the disk is gone") == true)
        #expect(!watched.health.report.isReady)
        tell(state(percent: 10))
        #expect(watched.standing(.auditBlocked) == nil && watched.health.report.isReady)
    }

    @Test("[HDS-AUDIT-WITNESS] the third lost head raises it, one that arrives clears it")
    func witness() {
        tell(state(percent: 1, failures: 2))
        #expect(watched.standing(.auditWitness) == nil)
        tell(state(percent: 1, failures: 3))
        #expect(watched.standing(.auditWitness)?.detail.text.contains("heads up to record 4") == true)
        tell(state(percent: 1))
        #expect(watched.standing(.auditWitness) == nil)
    }

    @Test("[HDS-MASTERKEY-NOT-ESCROWED] until each share was proved, and again when a proof is a year old")
    func escrow() async throws {
        let start = Timestamp(seconds: 1_790_000_000)
        let book = EscrowBook(store: store, ring: ring)
        let watch = RecoveryWatch(
            book: book, staleness: { _ in nil }, alarms: watched.health.alarms, log: log)
        await watch.look(now: start)
        #expect(watched.standing(.masterKeyNotEscrowed)?.detail.text == "there is no escrow")
        let made = try EscrowCeremony(needed: 2, count: 3)
        _ = try await book.create(
            publicKey: made.publicKey.octets, needed: 2, commitments: made.commitments, now: start)
        for (index, share) in made.shares.enumerated() {
            await watch.look(now: start)
            #expect(watched.standing(.masterKeyNotEscrowed) != nil, "\(index) of 3 shares are proved")
            let challenge = try await book.challenge(index + 1, nonce: Array(repeating: UInt8(index), count: 16))
            _ = try await book.confirm(try ShareProof.answer(to: challenge, with: share), now: start)
        }
        await watch.look(now: start)
        #expect(watched.standing(.masterKeyNotEscrowed) == nil)
        await watch.look(now: start.adding(seconds: 366 * 86_400))
        #expect(watched.standing(.masterKeyNotEscrowed)?.detail.text.contains("1, 2, 3") == true)
    }

    @Test("[HDS-JOURNAL-BLOCKED] while the journal of removals takes nothing, and backups know how far it had come")
    func journal() async throws {
        let folder = TemporaryFolder()
        let (place, away) = (folder.path + "/removals", folder.path + "/away")
        let start = Timestamp(seconds: 1_790_000_000)
        let journal = try RemovalJournal.open(folder: place, host: "kms.example.com", node: "a", now: start) {
            ring.journalKey($0)
        }
        let service = KMSJournal(
            journal, node: "a", store: store, ring: ring, alarms: watched.health.alarms, log: log,
            auditHead: { "a.b.c" })
        func look() async {
            await service.beat(now: start)
            service.report()
        }
        await look()
        #expect(watched.standing(.journalBlocked) == nil)
        #expect(try await store.setting("node-heads/a") != nil)
        #expect(rename(place, away) == 0)
        await look()
        let detail = try #require(watched.standing(.journalBlocked)?.detail.text)
        #expect(detail.contains("the mark of the journal of removals can not be written"), "\(detail)")
        #expect(rename(away, place) == 0)
        await look()
        #expect(watched.standing(.journalBlocked) == nil)
        await journal.close()
    }

    @Test("[HDS-BACKUP-STALE] while there is something to say of the newest backup")
    func backup() async {
        let shared = Shared()
        let watch = RecoveryWatch(
            book: EscrowBook(store: store, ring: ring), staleness: { _ in shared.value.withLock { $0 } },
            alarms: watched.health.alarms, log: log)
        await watch.look(now: .now())
        #expect(watched.standing(.backupStale)?.detail.text == "the newest backup is 49 hours old")
        shared.value.withLock { $0 = nil }
        await watch.look(now: .now())
        #expect(watched.standing(.backupStale) == nil)
    }

    private final class Shared: Sendable {
        let value = Mutex<Loggable?>("the newest backup is 49 hours old")
    }

    @Test("[HDS-DB-UNREACHABLE] when the store tells that the database went away, until it is back")
    func database() {
        let checks = KMSChecks(watched.health)
        checks.observer.trouble(
            DiagnosedError("store-unreachable", fault: .store, "the server closed the connection"))
        #expect(watched.standing(.databaseUnreachable) != nil && !watched.health.report.isReady)
        checks.observer.trouble(nil)
        #expect(watched.standing(.databaseUnreachable) == nil && watched.finding("store")?.state == .ok)
    }

    @Test("[HDS-DB-TLS-WEAK] a weak connection is told at the start, a verified one is not")
    func weak() {
        for weakness: Loggable? in ["tls: require", nil] {
            let watched = WatchedHealth()
            KMSChecks(watched.health).tell(weakness: weakness)
            #expect((watched.standing(.databaseTLSWeak) != nil) == (weakness != nil))
        }
    }
}
