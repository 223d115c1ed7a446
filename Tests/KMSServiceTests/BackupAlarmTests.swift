import Diagnostics
import Glibc
import KeyStoreSQLite
import MasterKey
import Synchronization
import TestServers
import Testing
import WireText

@testable import KMSService
@testable import Recovery
@testable import ServiceRuntime

/// What the running service says of what the timers did.
@Suite("Backups and rehearsals by timer")
struct BackupAlarmTests {
    private let folder = TemporaryFolder()
    private let watched = WatchedHealth()

    private func configuration(_ more: String) throws -> KMSServiceConfiguration {
        let root = "/" + #filePath.split(separator: "/").dropLast(3).joined(separator: "/")
        let text = try FileLocation("\(root)/config/hds-kms.yaml").text()
            .replacing("/var/lib/hds-kms/kms.sqlite", with: folder.path + "/kms.sqlite")
        return try ConfigurationFile.decode(Array((text + more).utf8), file: "hds-kms.yaml", folder: "/etc/hds")
    }

    @Test("[HDS-BACKUP-STALE] a nightly backup that failed is told at once, until one is proved")
    func failed() async throws {
        let place = folder.path + "/backups"
        mkdir(place, 0o700)
        let store = try SQLiteKeyStore(path: folder.path + "/kms.sqlite")
        let kek = try KeyEncryptionKey.create()
        let now = Timestamp.now()
        let ring = try await SealRing.open(kek: kek, store: store, now: now)
        let backups = KMSBackups(
            try configuration("\nbackup:\n  folder: \(place)\n  keep-days: 400\n"), credentials: .ofProcess, ring: ring
        ) {}
        #expect(backups.reports.folder == folder.path + "/reports")
        let made = try await backups.make(now: now)
        #expect(await backups.staleness(now: now) == nil, "no timer has run: the age alone counts")

        var report = RunReport(.backup, host: backups.host, node: "kms-1", started: now)
        report.failure = "the backup does not open"
        try backups.reports.keep(report)
        let told = try #require(await backups.staleness(now: now)).text
        #expect(told.contains("the nightly backup of") && told.contains("the backup does not open"), "\(told)")
        let outcome = try await Restore.verify(
            made.file, with: .keyEncryptionKey(kek), in: folder.path, now: now.adding(seconds: 60))
        try outcome.leaveReceipt(beside: made.file, now: now.adding(seconds: 60))
        #expect(await backups.staleness(now: now) == nil)
        #expect(
            await backups.staleness(now: now.adding(seconds: 27 * 3600))?.text == "the newest backup is 27 hours old")
        await store.close()
    }

    @Test("keep-days is optional, and more than a day")
    func keepDays() throws {
        #expect(try configuration("\nbackup:\n  folder: /b\n").backup?.keepDays == nil)
        #expect(try configuration("\nbackup:\n  folder: /b\n  keep-days: 1\n").backup?.keepDays == 1)
        #expect(throws: ConfigurationError.self) { try configuration("\nbackup:\n  folder: /b\n  keep-days: 0\n") }
    }

    @Test("[HDS-DRILL-OVERDUE] a rehearsal that failed is told, however recent the last good one is")
    func rehearsal() async {
        let failure = Mutex<Loggable?>(nil)
        let now = Timestamp(seconds: 1_790_000_000)
        let watch = DrillWatch(
            drills: [.init(subject: "restore", last: { now }, failure: { failure.withLock { $0 } })], days: 92,
            alarms: watched.health.alarms)
        await watch.look(now: now)
        #expect(watched.standing(.drillOverdue) == nil)
        failure.withLock { $0 = "the rehearsal of Sunday failed: the journal of removals can not be read" }
        await watch.look(now: now)
        #expect(watched.standing(.drillOverdue)?.detail.text.contains("of Sunday failed") == true)
        failure.withLock { $0 = nil }
        await watch.look(now: now)
        #expect(watched.standing(.drillOverdue) == nil)
    }
}
