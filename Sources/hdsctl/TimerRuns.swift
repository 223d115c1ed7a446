import ControlSocket
import Diagnostics
import Glibc
import KMSService
import MasterKey
import Recovery
import ServiceRuntime
import WireText

/// What the timers run: a backup that is proved at once, and a rehearsal of a restore. Each leaves a report.
///
/// As the service's user and beside the running service, which writes the backup itself: they need its configuration, its
/// master key and room for a throw-away store.
struct TimerRuns {
    let configuration: KMSServiceConfiguration
    /// Where the throw-away store is made; its folder is private to this run.
    let scratch: String

    init(_ path: String, scratch: String) throws(DiagnosedError) {
        configuration = try KMSServiceConfiguration.read(path)
        self.scratch = scratch
    }

    func backUp() throws {
        guard let folder = backupFolder() else { return }
        try reported(.backup) { report in
            let answer = try ControlClient(path: configuration.control.socket.path).send(
                "backup", arguments: ArgumentsWriter().node()
            ) { announce($0) }
            let file = answer.text("file")
            report.file = file
            report.octets = size(of: file)
            let (key, scratch) = (try key(), scratch)
            let outcome = try waiting { try await Restore.verify(file, with: key, in: scratch, now: .now()) }
            report.take(outcome)
            try outcome.leaveReceipt(beside: file, now: .now())
            guard let days = configuration.backup?.keepDays else { return }
            report.deleted = try folder.expire(
                of: configuration.host, before: .now().adding(seconds: -Int64(days) * 86_400))
        }
    }

    /// The newest backup as after a loss: restored with the journals of removals, compared, keys opened, frozen.
    func rehearseRestore() throws {
        guard let folder = backupFolder() else { return }
        try reported(.restoreDrill) { report in
            let file = try folder.newest(of: configuration.host).file
            report.file = file
            report.octets = size(of: file)
            let (key, scratch, journal) = (try key(), scratch, configuration.journalFolder)
            let outcome = try waiting {
                try await Restore.rehearse(file, with: key, in: scratch, journals: [journal], now: .now())
            }
            report.take(outcome)
            try outcome.leaveReceipt(beside: file, now: .now())
        }
    }

    /// Nil, and said so, when none is configured: then there is nothing to do, and HDS-BACKUP-STALE stands at the service.
    private func backupFolder() -> BackupFolder? {
        if let backup = configuration.backup { return BackupFolder(backup.folder.path) }
        show([
            "Nothing was done: no folder for backups is configured.",
            "Name one in the section backup of the configuration (backup.folder) and restart hds-kms.",
        ])
        return nil
    }

    private func key() throws -> BackupKey { .keyEncryptionKey(try configuration.masterKey.open(.ofProcess)) }

    private func size(of file: String) -> Int64 {
        var status = stat()
        return stat(file, &status) == 0 ? Int64(status.st_size) : 0
    }

    private func reported(_ kind: RunReport.Kind, _ work: (inout RunReport) throws -> Void) throws {
        var report = RunReport(kind, host: configuration.host, node: configuration.node, started: .now())
        let reports = RunReports(folder: configuration.reportsFolder)
        do {
            try work(&report)
        } catch {
            report.ended = .now()
            report.failure = (error as? DiagnosedError)?.description ?? "an error without a diagnosis"
            do { try reports.keep(report) } catch let second { announce("no report was kept: \(second)") }
            throw error
        }
        report.ended = .now()
        try reports.keep(report)
        show(Self.lines(report))
    }

    /// For people.
    static func lines(_ report: RunReport) -> [String] {
        let what = report.kind == .backup ? "Backed up and proved" : "A restore was rehearsed"
        let rows = report.tables.reduce(0) { $0 + $1.rows }
        var lines = [
            "\(what) in \(seconds(report)) s: \(report.file ?? "-"), \(report.octets) octets, \(rows) rows compared, "
                + "\(report.opened) keys opened."
        ]
        if report.deleted > 0 { lines.append("\(report.deleted) backups older than backup.keep-days deleted.") }
        return lines + report.gaps.map { "After a loss this would be unknown: \($0)" }
    }

    /// To a tenth.
    static func seconds(_ report: RunReport) -> String {
        let tenths = max(0, report.ended.milliseconds - report.started.milliseconds + 50) / 100
        return "\(tenths / 10).\(tenths % 10)"
    }
}
