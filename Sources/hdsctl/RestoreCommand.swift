import ArgumentParser
import ControlSocket
import Diagnostics
import Dispatch
import Glibc
import KeyStore
import MasterKey
import PostgreSQLClient
import Recovery
import Synchronization
import WireText

/// `hdsctl restore`: prove a backup, put it into a new store, and open that to clients.
struct RestoreCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "restore",
        abstract: "Prove a backup, or make a key store of it.",
        discussion: """
            hdsctl restore FILE --verify --master-key /etc/hds/master.key
            hdsctl restore FILE --to kms.sqlite --master-key /etc/hds/master.key --journal FOLDER
            hdsctl restore FILE --config /etc/hds/hds-kms.yaml --journal FOLDER
            hdsctl escrow recover FILE --to kms.sqlite --new-master-key new.key
            hdsctl escrow recover FILE --config /etc/hds/hds-kms.yaml --journal FOLDER
            hdsctl restore status
            hdsctl restore open --officer-key ada.pem

            A restored store is frozen: no key leaves it until an officer with the duty freeze says so, after looking \
            at what is not known.
            """,
        subcommands: [Run.self, Status.self, Open.self], defaultSubcommand: Run.self)

    struct Run: ParsableCommand {
        static let configuration = CommandConfiguration(
            commandName: "run", abstract: "Prove a backup, or put it into a new SQLite file.")

        @Argument(help: "The backup.", completion: .file())
        var file: String
        @Flag(help: "Restore into a throw-away folder, compare everything, open keys at random.")
        var verify = false
        @Flag(help: "Open it with shares of the escrow instead of the master key; only with --verify.")
        var shares = false
        @Option(
            help: "The backup of the erasable keys, made with this one or later; by default the newest beside it.",
            completion: .file())
        var erasable: String?
        @Option(help: "The new SQLite file of the store.", completion: .file())
        var to: String?
        @Option(
            help: "The configuration of hds-kms: its store, also in PostgreSQL, and its master key, also in a token.",
            completion: .file())
        var config: String?
        @Option(
            help: "A folder with journals of removals; once for each node that has its own.", completion: .directory)
        var journal: [String] = []
        @Option(help: "The file of the master key that the backup was made under.", completion: .file())
        var masterKey: String?
        @OptionGroup var words: WordsOptions
        @Option(help: "The folder for the throw-away store.", completion: .directory)
        var scratch = "/tmp"
        @OptionGroup var begin: EpochOptions

        func run() throws {
            try reporting {
                let isTold = config != nil
                guard verify ? to == nil && journal.isEmpty : (to != nil || isTold),
                    shares ? masterKey == nil && verify : (masterKey != nil || isTold)
                else {
                    throw DiagnosedError(
                        "usage", fault: .client, "say what is to be done, and what opens the backup",
                        expected:
                            "--verify or --to FILE, with --master-key FILE or --config FILE; --verify with --shares",
                        hint: "with shares, hdsctl escrow recover makes a store and its new master key")
                }
                let restoring = Restoring(file: file, erasable: erasable, begin: begin)
                let configuration = try config.map { try ServiceStore($0) }
                let key: BackupKey
                // With both, the file opens the backup, and the service's own key wraps the root keys from now on.
                var newKey: (any RootKeyWrapping)?
                if shares {
                    key = .escrow(try EscrowCeremony.recover(try words.readEnough()))
                } else if masterKey == nil, let configuration {
                    key = .keyEncryptionKey(try configuration.masterKey())
                } else {
                    key = .keyEncryptionKey(try KeyEncryptionKey.load(fromFile: masterKey ?? ""))
                    if !verify { newKey = try configuration?.masterKey() }
                }
                if !verify, let target = to.map({ .file($0) }) ?? configuration?.target(scratch: scratch) {
                    try restoring.restore(to: target, key: key, newKey: newKey, journals: journal)
                } else {
                    try restoring.verify(key: key, in: scratch)
                }
            }
        }
    }

    struct Status: ParsableCommand {
        static let configuration = CommandConfiguration(abstract: "Show whether the store waits for an officer's yes.")

        @OptionGroup var question: QuestionOptions

        func run() throws {
            try question.ask("restore-status") { answer in
                guard answer["isRestored"]?.boolean == true, let report = RestoreReport(answer) else {
                    return print("this key store was not restored")
                }
                show(RestoreWords.lines(report))
                guard answer["isFrozen"]?.boolean == true else { return }
                let gap = report.gap.map { " --gap \($0)" } ?? ""
                show(["frozen; open it with: hdsctl restore open\(gap) --officer-key FILE"])
            }
        }
    }

    struct Open: ParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Let the restored store release keys; needs an officer with the duty freeze.")

        @OptionGroup var officer: OfficerOptions
        @Option(help: "The name of what is unknown, as hdsctl restore status shows it.")
        var gap: String?

        func run() throws {
            try reporting {
                var arguments = ArgumentsWriter()
                if let gap { arguments.add("gap", gap) }
                guard let answer = try officer.send("restore-open", arguments: arguments.node()) else { return }
                show(answer.texts("gaps").map { "accepted: \($0)" })
                show(["the restored store releases keys"])
            }
        }
    }

}

/// Which epoch a restored store begins with.
struct EpochOptions: ParsableArguments {
    @Option(
        help: ArgumentHelp(
            "The epoch of the cluster that the store begins with, at least; a backup has its own.",
            discussion:
                "For a core that has seen a higher one than the backup's and refuses the restored store (HDS-SPLIT-BRAIN)."
        ))
    var epoch: Int64 = 1

    func validate() throws {
        guard (1...1_000_000_000).contains(epoch) else { throw ValidationError("--epoch is 1 to 1000000000") }
    }
}

/// Restoring as the commands do it, with what is said afterwards.
struct Restoring {
    let file: String
    var erasable: String?
    let begin: EpochOptions

    func verify(key: BackupKey, in scratch: String) throws {
        let outcome = try waiting { [file, erasable] in
            try await Restore.verify(file, erasable: erasable, with: key, in: scratch, now: .now())
        }
        report(outcome)
        show(["The backup is whole: it was restored, compared and removed again."])
        do {
            try outcome.leaveReceipt(beside: file, now: .now())
            show(["\(file)\(VerifiedBackups.ending) says so to the service: keep it beside the backup."])
        } catch let error as DiagnosedError {
            announce("no receipt was left beside the backup: \(error.summary)")
        }
    }

    func restore(
        to target: Restore.Target, key: BackupKey, newKey: (any RootKeyWrapping)?, journals: [String]
    ) throws {
        var (made, place) = (target, RestorePlace?.none)
        if case .file(let path) = target {
            let beside = try RestorePlace(path)
            (made, place) = (.file(beside.working), beside)
        }
        let outcome: Restore.Outcome
        do {
            outcome = try waiting { [file, erasable, made, epoch = begin.epoch] in
                try await Restore.restore(
                    file, erasable: erasable, with: key, newKey: newKey, to: made, journals: journals, epoch: epoch,
                    now: .now())
            }
        } catch {
            place?.remove()
            throw error
        }
        try place?.finish()
        report(outcome)
        if let report = outcome.report { show(RestoreWords.lines(report)) }
        let name =
            switch target {
            case .file(let path): path
            case .postgresql(let settings, _): "in the database \(settings.database)"
            }
        show([
            "The key store \(name) is whole and frozen.",
            "Next: see that it belongs to the service's user, start hds-kms on it, look at hdsctl restore status, and let an",
            "officer open it: hdsctl restore open --officer-key FILE",
        ])
    }

    /// What wraps the root keys of a store that shares recovered.
    enum NewMasterKey {
        /// Made now, into a new file.
        case file(String)
        /// That of the service's configuration, which is there.
        case configured(any RootKeyWrapping)
    }

    func recover(to target: Restore.Target, under master: NewMasterKey, words: WordsOptions, journals: [String]) throws
    {
        var files: [String] = []
        if case .file(let path) = master { files.append(path) }
        if case .file(let store) = target { files.append(store) }
        for path in files where access(path, F_OK) == 0 {
            throw DiagnosedError(
                .storeNotEmpty, fault: .configuration, "\(path) exists and is never overwritten",
                hint: "name a new file")
        }
        let header = try Backup.header(of: file)
        show([
            "backup of \(header.host), \(header.created)",
            "wanted: shares of the escrow \(header.escrow ?? "- (none: only the master key opens it)")",
        ])
        let key = BackupKey.escrow(try EscrowCeremony.recover(try words.readEnough()))
        switch master {
        case .configured(let kek):
            try restore(to: target, key: key, newKey: kek, journals: journals)
            show(["The master key of the configuration opens it, fingerprint \(kek.fingerprint)."])
        case .file(let path):
            let kek = try KeyEncryptionKey.create()
            // First the key: a store whose key was lost with this process would be of no use.
            try kek.save(toNewFile: path)
            do {
                try restore(to: target, key: key, newKey: kek, journals: journals)
            } catch {
                unlink(path)
                throw error
            }
            show(["Its new master key lies in \(path), fingerprint \(kek.fingerprint): copy it to another place."])
        }
    }

    private func report(_ outcome: Restore.Outcome) {
        show(["backup of \(outcome.header.host), node \(outcome.header.node), \(outcome.header.created)"])
        for table in outcome.manifest.tables {
            show(["\(table.name): \(table.rows) rows, SHA-256 \(Hexadecimal.encode(table.digest).prefix(16))…"])
        }
        if let erasable = outcome.erasable {
            show([
                "erasable keys of \(erasable.created); \(outcome.erased) spaces were erased since the backup and stay so"
            ])
        }
        show(["\(outcome.opened) keys, taken at random, open"])
    }
}

/// Waits for asynchronous work; commands run on a thread that nothing else needs.
func waiting<R: Sendable>(_ body: @escaping @Sendable () async throws -> R) throws -> R {
    let done = DispatchSemaphore(value: 0)
    let result = Waited<R>()
    Task.detached {
        let outcome: Result<R, any Error>
        do { outcome = .success(try await body()) } catch { outcome = .failure(error) }
        result.value.withLock { $0 = outcome }
        done.signal()
    }
    done.wait()
    guard let outcome = result.value.withLock({ $0 }) else {
        throw DiagnosedError(.restoreUnverified, fault: .internal, "the work ended without a result")
    }
    return try outcome.get()
}

private final class Waited<R: Sendable>: Sendable {
    let value = Mutex<Result<R, any Error>?>(nil)
}
