import DatabaseConfiguration
import Diagnostics
import Dispatch
import Glibc
import KeyStore
import KeyStorePostgreSQL
import KeyStoreSQLite
import MasterKey
import Recovery
import ServiceRuntime
import WireText

/// The backups of a running KMS: made while it serves, one at a time, into the folder of its configuration.
///
/// The service writes the file itself and does not hand it over the control socket: so whoever may use the socket gets no
/// copy of all records, a backup has its mode and place whoever asked, and an asker who goes away leaves it whole.
final class KMSBackups: Sendable {
    /// What blocks, off the threads that answer requests; serial: two backups at once help nobody.
    private let thread = DispatchQueue(label: "hds.backup")
    private let section: BackupSection?
    private let store: StoreSection
    private let credentials: Credentials
    private let ring: SealRing
    private let names: Backup.Names
    /// Brings what a backup says about this node up to date.
    private let prepare: @Sendable () async -> Void
    private let epoch: @Sendable () -> Int64
    /// What the timers left.
    let reports: RunReports
    var host: String { names.host }

    init(
        _ configuration: KMSServiceConfiguration, credentials: Credentials, ring: SealRing,
        epoch: @escaping @Sendable () -> Int64 = { 1 }, prepare: @escaping @Sendable () async -> Void
    ) {
        self.prepare = prepare
        self.epoch = epoch
        self.credentials = credentials
        section = configuration.backup
        reports = RunReports(folder: configuration.reportsFolder)
        store = configuration.store
        self.ring = ring
        names = Backup.Names(host: configuration.host, node: configuration.node)
    }

    func make(now: Timestamp) async throws -> (
        file: String, erasable: String, expired: Int, made: Backup.Made
    ) {
        let folder = try folder()
        await prepare()
        // A version that another node has just made is to be in it.
        try await ring.refresh()
        let compact = now.iso8601.filter { $0 != ":" && $0 != "." && $0 != "-" }
        let file = "\(folder)/\(names.host)-\(compact)\(BackupFolder.ending)"
        let erasable = "\(folder)/\(names.host)-\(compact)\(ErasableBackup.ending)"
        let made = try await run { [ring, names, store, credentials, epoch = epoch()] in
            // Both of one moment, the erasable keys first: a main file without them is of no use.
            func write(_ snapshot: any StoreSnapshot) throws -> Backup.Made {
                _ = try Backup.write(snapshot, ring: ring, names: names, toNew: erasable, now: now, erasable: true)
                return try Backup.write(snapshot, ring: ring, names: names, toNew: file, now: now, epoch: epoch)
            }
            switch store.backend {
            case .sqlite(let file): return try SQLiteSnapshot.read(path: file.path, write)
            case .postgresql(let section):
                return try write(
                    PostgreSQLSnapshot(section.settings(credentials, application: "hds-kms \(names.node) backup")))
            }
        }
        let expired = try await expire(now: now)
        return (file, erasable, expired, made)
    }

    /// Deletes backups of the erasable keys that are too old; how many those were.
    private func expire(now: Timestamp) async throws -> Int {
        guard let section else { return 0 }
        let limit = now.adding(seconds: -Int64(section.erasableDays) * 86_400)
        let old = try await list(ErasableBackup.ending).filter {
            $0.header.host == names.host && $0.header.created < limit
        }
        for entry in old where unlink(entry.file) != 0 && errno != ENOENT {
            throw DiagnosedError(
                .backupFile, fault: .configuration, "the expired backup \(entry.file) can not be deleted",
                found: String(cString: strerror(errno)),
                hint: "delete it: certificates of erasures name the day on which it goes")
        }
        return old.count
    }

    /// When the last backup expires that can hold an erasable key of now; nil when nobody here can say it, because no
    /// folder is configured, or a backup there opens keys without erasable ones.
    func erasableUntil(now: Timestamp) async throws -> Timestamp? {
        guard let section else { return nil }
        guard try await list().allSatisfy({ $0.header.host != names.host || $0.header.part == .main }) else {
            return nil
        }
        return now.adding(seconds: Int64(section.erasableDays) * 86_400)
    }

    /// Newest first. Files that are no backups, or damaged at their start, are left out.
    func list(_ ending: String = BackupFolder.ending) async throws -> [BackupFolder.Entry] {
        let folder = try folder()
        return try await run { try BackupFolder(folder).list(ending) }
    }

    /// When the oldest backup of this KMS in the folder was made; nil when there is none.
    func oldest() async throws -> Timestamp? {
        guard section != nil else { return nil }
        return try await list().filter { $0.header.host == names.host }.map(\.header.created).min()
    }

    /// Those that were restored on trial, by the receipts beside them.
    func verified() async throws -> [VerifiedBackup] {
        let folder = try folder()
        return try await run { [ring] in try VerifiedBackups.list(in: folder, ring: ring) }
    }

    /// Why an operator should be told; nil when the newest backup is new enough.
    func staleness(now: Timestamp) async -> Loggable? {
        guard let section else { return "no folder for backups is configured (backup.folder)" }
        do {
            let newest = try await list().first { $0.header.host == names.host }
            guard let newest else { return "there is no backup in the folder" }
            let hours = (now.milliseconds - newest.header.created.milliseconds) / 3_600_000
            guard hours >= Int64(section.staleAfterHours) else { return await failure() }
            return "the newest backup is \(Loggable(Int(hours))) hours old"
        } catch {
            return Loggable(error: error)
        }
    }

    /// What went wrong in the last run of the timer; nil when it went well, when there was none, or when a backup was
    /// proved since.
    private func failure() async -> Loggable? {
        let newest = try? await run { [reports] in reports.newest(.backup) }
        guard let newest, let failure = newest.failure else { return nil }
        let proved = (try? await verified())?.filter { $0.host == names.host }.map(\.verified).max()
        if let proved, proved > newest.ended { return nil }
        return "the nightly backup of \(reviewed: newest.started.iso8601) failed: \(reviewed: failure)"
    }

    private func folder() throws(DiagnosedError) -> String {
        guard let section else {
            throw DiagnosedError(
                .backupFile, fault: .configuration, "no folder for backups is configured", expected: "backup.folder",
                hint: "name a folder of mode 0700 that belongs to the service, on another disk than the key store")
        }
        return section.folder.path
    }

    private func run<R: Sendable>(_ body: @escaping @Sendable () throws -> R) async throws -> R {
        try await withCheckedThrowingContinuation { continuation in
            thread.async { continuation.resume(with: Result { try body() }) }
        }
    }
}
