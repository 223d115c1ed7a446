import Cryptography
package import Diagnostics
import Glibc
package import KeyManagement
import KeyStore
import KeyStoreSQLite
package import MasterKey
package import PostgreSQLClient
import SecretMemory
import StoreMigration
package import WireText

extension DiagnosedError.Code {
    /// What was restored is not what the backup's manifest says.
    package static let restoreUnverified: Self = "restore-unverified"
}

/// Puts a backup into a new key store and proves that it is whole: rows, digests, and keys that open.
package enum Restore {
    /// Who a freeze of a restored store names as its officer.
    package static let orderedBy = Freeze.byRestore
    package static let defaultSample = 200
    /// How far above the backup's the ledger's positions go on: the audit trail knows positions that were given after
    /// the backup, and would take new ones below them for records that it has.
    static let positionGap: Int64 = 1 << 40

    /// Where a backup goes.
    package enum Target: Sendable {
        /// A new SQLite file.
        case file(String)
        /// An empty database; `scratch` is the folder in which the store is made and proved before.
        case postgresql(PostgreSQLSettings, scratch: String)
    }

    package struct Outcome: Sendable {
        package let header: BackupHeader
        package let manifest: BackupManifest
        /// The backup of the erasable keys; nil for a backup of before there were such.
        package let erasable: BackupHeader?
        /// Spaces of the backup that were erased after it, and stay so.
        package let erased: Int
        /// How many keys, taken at random, were opened.
        package let opened: Int
        /// The freeze that stands until an officer lifts it; nil for a trial.
        package let freeze: Freeze?
        /// What was done again and what is unknown; nil for a trial.
        package let report: RestoreReport?
        /// The root key that the file's key is sealed under.
        let root: RootKeyOutside

        /// Writes down beside the backup that it was proved (`VerifiedBackups`).
        package func leaveReceipt(beside file: String, now: Timestamp) throws {
            try VerifiedBackups.write(file, root: root, opened: opened, now: now)
        }
    }

    /// Restores into a throw-away folder below `folder`, which must be private to this user, and removes it again.
    package static func verify(
        _ path: String, erasable: String? = nil, with key: BackupKey, in folder: String = "/tmp",
        sample: Int = defaultSample, now: Timestamp
    ) async throws -> Outcome {
        try await inThrowAway(folder) { place in
            let kek = try holder(key, newKey: nil)
            return try await fill(
                "\(place)/trial.sqlite", from: path, erasable, key: key, kek: kek, sample: sample, now: now)
        }
    }

    /// The whole of a restore, journals done again and frozen, into a throw-away folder below `folder`, and removes it again.
    package static func rehearse(
        _ path: String, with key: BackupKey, in folder: String = "/tmp", journals: [String],
        sample: Int = defaultSample, now: Timestamp
    ) async throws -> Outcome {
        try await inThrowAway(folder) { place in
            try await restore(
                path, with: key, newKey: nil, toNew: "\(place)/trial.sqlite", journals: journals, sample: sample,
                now: now)
        }
    }

    private static func inThrowAway<R>(_ folder: String, _ body: (String) async throws -> R) async throws -> R {
        var template = Array("\(folder)/hds-restore-XXXXXX".utf8CString)
        guard mkdtemp(&template) != nil else {
            throw DiagnosedError(
                .backupFile, fault: .configuration, "no folder to restore into can be made in \(folder)",
                found: String(cString: strerror(errno)))
        }
        let place = String(decoding: template.dropLast().map { UInt8(bitPattern: $0) }, as: UTF8.self)
        defer {
            removeStore("\(place)/trial.sqlite")
            rmdir(place)
        }
        return try await body(place)
    }

    /// Restores into a database or a file, frozen. What goes into PostgreSQL is made, proved and frozen in a throw-away
    /// file, and goes over in one transaction: no service sees it before it is whole and frozen.
    package static func restore(
        _ path: String, erasable: String? = nil, with key: BackupKey, newKey: (any RootKeyWrapping)?,
        to target: Target, journals: [String] = [], sample: Int = defaultSample, epoch: Int64 = 1, now: Timestamp
    ) async throws -> Outcome {
        switch target {
        case .file(let store):
            return try await restore(
                path, erasable: erasable, with: key, newKey: newKey, toNew: store, journals: journals, sample: sample,
                epoch: epoch, now: now)
        case .postgresql(let settings, let scratch):
            return try await inThrowAway(scratch) { place in
                let outcome = try await restore(
                    path, erasable: erasable, with: key, newKey: newKey, toNew: "\(place)/trial.sqlite",
                    journals: journals, sample: sample, epoch: epoch, now: now)
                _ = try StoreMigration.sqliteToPostgreSQL(
                    from: "\(place)/trial.sqlite", to: settings, epoch: outcome.report?.epoch ?? 1)
                return outcome
            }
        }
    }

    /// Restores into the new SQLite file `store`, frozen.
    /// - Parameters:
    ///   - newKey: wraps the root keys from now on. Needed with the escrow's key: the one before is gone.
    ///   - journals: folders with the journals of all nodes: what stands there is taken away again.
    ///   - epoch: what it begins with at least; the backup's may be higher.
    package static func restore(
        _ path: String, erasable: String? = nil, with key: BackupKey, newKey: (any RootKeyWrapping)?,
        toNew store: String, journals: [String] = [], sample: Int = defaultSample, epoch: Int64 = 1, now: Timestamp
    ) async throws -> Outcome {
        guard access(store, F_OK) != 0 else { throw exists(store) }
        let partial = store + ".restoring"
        removeStore(partial)
        defer { removeStore(partial) }
        let kek = try holder(key, newKey: newKey)
        let trial = try await fill(partial, from: path, erasable, key: key, kek: kek, sample: sample, now: now)
        let (freeze, report) = try await conclude(
            partial, kek: kek, trial, journals: journals, epoch: max(epoch, trial.manifest.epoch ?? 1), now: now)
        // What still stood in a log of its own would be lost: the freeze.
        var log = stat()
        guard stat(partial + "-wal", &log) != 0 || log.st_size == 0 else {
            throw DiagnosedError(.restoreUnverified, fault: .store, "the restored store could not be closed whole")
        }
        // A store that appears under its name is whole and frozen.
        guard link(partial, store) == 0 else { throw exists(store) }
        let folder = Glibc.open(store.folderOfFile, O_RDONLY | O_DIRECTORY | O_CLOEXEC)
        if folder >= 0 {
            fsync(folder)
            close(folder)
        }
        return Outcome(
            header: trial.header, manifest: trial.manifest, erasable: trial.erasable, erased: trial.erased,
            opened: trial.opened, freeze: freeze, report: report, root: trial.root)
    }

    private static func exists(_ store: String) -> DiagnosedError {
        DiagnosedError(
            .storeNotEmpty, fault: .configuration, "there is a key store \(store)",
            expected: "no file: nothing is ever overwritten", hint: "move it away, or name a new file")
    }

    private static func removeStore(_ path: String) {
        for suffix in ["", "-wal", "-shm", ".lock"] { unlink(path + suffix) }
    }

    private static func holder(_ key: BackupKey, newKey: (any RootKeyWrapping)?) throws -> any RootKeyWrapping {
        if let newKey { return newKey }
        switch key {
        case .keyEncryptionKey(let kek): return kek
        // For a trial: it lives as long as the throw-away store.
        case .escrow: return try KeyEncryptionKey.create()
        }
    }

    // MARK: Steps

    private static func fill(
        _ store: String, from path: String, _ erasablePath: String?, key: BackupKey, kek: any RootKeyWrapping,
        sample: Int, now: Timestamp
    ) async throws -> Outcome {
        let input = try BackupFile.open(path)
        let reader = try BackupReader(source: { try input.read($0) })
        let header = reader.header
        let roots = try Dictionary(
            header.rootKeys.map { ($0.version, try key.unwrap($0, of: header)) },
            uniquingKeysWith: { first, _ in first })
        guard let root = roots[header.rootVersion],
            let outside = RootKeyOutside(root, version: header.rootVersion),
            let fileKey = try? SymmetricKey(outside.open(header.sealedKey, kind: .backup, id: header.id, version: 1))
        else { throw BackupReader.damaged("its key does not open under its root key") }
        let erasable = try ErasableBackup.read(erasablePath, beside: path, header, key: key, known: roots)
        let file = try SQLiteImport(path: store)
        let target = ErasableFilling(target: file, erasable)
        var wrapped: Set<Int64> = []
        var filling = BackupFilling(target: target, sample: sample) { row in
            guard case .integer(let version) = row[0], case .octets(let holder) = row[1], let root = roots[version]
            else { throw BackupReader.damaged("it has a root key that its header has not") }
            // For the escrow as it was; of key-encryption keys, of which there are two during a change, for the new one.
            guard holder.starts(with: Array("kek ".utf8)) else { return row }
            guard wrapped.insert(version).inserted else { return nil }
            return [
                row[0], .octets(Array(kek.holder.utf8)), .octets(try kek.wrap(root, version: version)),
            ]
        }
        try reader.parts(key: fileKey) { try filling.take($0, $1) }
        let manifest = try filling.finish()
        try target.finish()
        guard manifest.schema <= BackupManifest.presentSchema else {
            throw BackupReader.damaged("its tables are of a newer form; use the version that made it")
        }
        for (version, root) in roots {
            guard let check = manifest.rootChecks[version],
                RootKeyOutside(root, version: version)?.check == check
            else {
                throw BackupReader.damaged("version \(version) of the root key is not the one that the KMS had")
            }
        }
        try target.raiseLastPosition(to: manifest.lastPosition + positionGap)
        try target.commit()
        let opened = try await open(
            filling.sampled, in: store, kek: kek, isWhole: target.dropped == 0, now: now)
        return Outcome(
            header: header, manifest: manifest, erasable: erasable?.header, erased: target.dropped, opened: opened,
            freeze: nil, report: nil, root: outside)
    }

    /// Opens keys as a service would; throws what the first one throws that does not open.
    private static func open(
        _ ids: [String], in path: String, kek: any RootKeyWrapping, isWhole: Bool, now: Timestamp
    ) async throws -> Int {
        try await using(path, kek: kek, now: now) { store, ring in
            var opened = 0
            for id in ids {
                guard let record = try await store.key(id) else {
                    // Of a space that was erased after the backup.
                    if !isWhole { continue }
                    throw DiagnosedError(.restoreUnverified, fault: .store, "a key of the backup was not restored")
                }
                _ = try ring.open(record)
                opened += 1
            }
            return opened
        }
    }

    /// The end of a restore: takes away again what the journals have, says what is unknown, and freezes.
    private static func conclude(
        _ path: String, kek: any RootKeyWrapping, _ trial: Outcome, journals: [String], epoch: Int64,
        now: Timestamp
    ) async throws -> (Freeze, RestoreReport) {
        try await using(path, kek: kek, now: now) { store, ring in
            let store = SummingStore(store, ring: ring, writer: UUIDText.random())
            let vault = RecordVault(ring: ring, store: store)
            let reading =
                journals.isEmpty
                ? nil
                : try JournalReading(
                    folders: journals, host: trial.header.host, tips: trial.manifest.heads, since: trial.header.created
                ) { ring.journalKey($0) }
            let escrow = try await EscrowBook(store: store, ring: ring).holders()
            let again = try await RemovalReplay(store: store, vault: vault, escrow: escrow)
                .apply(reading?.removals ?? [], now: now)
            let id = UUIDText.random()
            let report = RestoreReport(trial.header, trial.manifest, reading, again, freeze: id, epoch: epoch, now: now)
            try await report.keep(in: store, ring: ring)
            let freeze = Freeze(
                id: id, scope: .everything,
                reason: """
                    restored from a backup of \(trial.header.created): unknown is what was created after that, and \
                    \(report.gaps.isEmpty ? "no removal" : report.gaps.joined(separator: "; "))
                    """, orderedBy: orderedBy, since: now)
            try await FreezeBoard(store: store, vault: vault).order(freeze)
            // Last: nodes remember higher counters, and are to know why these are others.
            try await StoreEpoch.begin(
                .restored, note: "backup \(trial.header.id) of \(trial.header.created)", store: store, vault: vault,
                view: { body in try SQLiteSnapshot.read(path: path, body) }, now: now)
            return (freeze, report)
        }
    }

    private static func using<R>(
        _ path: String, kek: any RootKeyWrapping, now: Timestamp,
        _ body: (any KeyStore, SealRing) async throws -> R
    ) async throws -> R {
        let store = try SQLiteKeyStore(path: path)
        do {
            let result = try await body(store, try await SealRing.open(kek: kek, store: store, now: now))
            await store.close()
            return result
        } catch {
            await store.close()
            throw error
        }
    }
}
