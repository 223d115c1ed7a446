import Diagnostics
import Glibc
import KeyStoreSQLite
import MasterKey
import TestServers
import Testing
import WireText

@testable import Recovery

/// What the timers leave, and how many backups they let grow old.
@Suite("Reports of the timers", .timeLimit(.minutes(2)))
struct RunReportTests {
    private let folder = TemporaryFolder()
    private var reports: RunReports { RunReports(folder: folder.path + "/reports") }

    private func report(_ kind: RunReport.Kind, _ seconds: Int64, failure: String? = nil) -> RunReport {
        var report = RunReport(kind, host: "kms.example.com", node: "a", started: start.adding(seconds: seconds))
        report.ended = report.started.adding(milliseconds: 1500)
        report.failure = failure
        report.file = "/backups/one.hdsbackup"
        report.created = start
        report.octets = 4711
        report.tables = [.init(name: "keys", rows: 3, digest: "ab")]
        report.opened = 3
        report.gaps = ["node b: unknown"]
        return report
    }

    @Test("a report is read as it was written, the newest of each kind is found")
    func roundTrip() throws {
        #expect(reports.list().isEmpty && reports.newest(.backup) == nil, "no folder yet")
        let first = report(.backup, 0)
        let second = report(.restoreDrill, 10, failure: "the disk is full; what to do: free space")
        let third = report(.backup, 20)
        for one in [first, second, third] { try reports.keep(one) }
        #expect(reports.list() == [third, second, first])
        #expect(reports.list(.backup) == [third, first])
        #expect(reports.newest(.restoreDrill) == second && reports.newest(.backup) == third)
        var status = stat()
        #expect(stat(reports.folder, &status) == 0 && status.st_mode & 0o777 == 0o700)
    }

    @Test("so many of each kind are kept, the oldest go first")
    func bounded() throws {
        try reports.keep(report(.restoreDrill, 0))
        for number in 0..<RunReports.kept + 3 { try reports.keep(report(.backup, Int64(number))) }
        let kept = reports.list(.backup)
        #expect(kept.count == RunReports.kept && kept.last?.started == start.adding(seconds: 3))
        #expect(reports.list(.restoreDrill).count == 1, "the other kind is not touched")
        #expect(folder.names(in: "reports").count == RunReports.kept + 1)
    }

    @Test("what is no report is left out, and hides none")
    func damaged() throws {
        try reports.keep(report(.backup, 0))
        for (name, text) in [("backup-2999.json", "{"), ("backup-2998.json", #"{"kind":"backup"}"#), ("else", "")] {
            let file = try #require(fopen(reports.folder + "/" + name, "w"))
            fputs(text, file)
            fclose(file)
        }
        #expect(reports.list().count == 1 && reports.newest(.backup)?.started == start)
    }

    @Test("a rehearsal does all of a restore, tells the gaps, leaves a receipt and nothing else")
    func rehearsal() async throws {
        let machine = try await Machine()
        _ = try await machine.create(4)
        try machine.back(up: nil)
        let place = TemporaryFolder()
        let outcome = try await Restore.rehearse(
            machine.backup, with: .keyEncryptionKey(machine.kek), in: place.path, journals: [],
            now: start.adding(seconds: 60))
        #expect(outcome.opened == 4 && outcome.freeze != nil)
        var told = report(.restoreDrill, 0)
        told.take(outcome)
        #expect(told.opened == 4 && told.tables.first { $0.name == "keys" }?.rows == 4)
        #expect(told.gaps.count == 1 && told.gaps[0].contains("no journal was given"))
        try outcome.leaveReceipt(beside: machine.backup, now: start.adding(seconds: 60))
        #expect(try VerifiedBackups.list(in: machine.folder.path, ring: machine.ring).count == 1)
        #expect(place.names(in: "").isEmpty)
        await machine.store.close()
    }

    @Test("old backups are deleted with their receipts; the newest stays, and the newest that was proved")
    func expiry() async throws {
        let machine = try await Machine()
        try await machine.create()
        let day: Int64 = 86_400
        let files = (0..<4).map { machine.folder.path + "/\($0).hdsbackup" }
        for (index, file) in files.enumerated() {
            try machine.back(up: file, now: start.adding(seconds: Int64(index) * day))
        }
        for file in files[0...1] {
            let outcome = try await Restore.verify(
                file, erasable: Machine.erasable(beside: file), with: .keyEncryptionKey(machine.kek),
                in: machine.folder.path, now: start)
            try outcome.leaveReceipt(beside: file, now: start)
        }
        let folder = BackupFolder(machine.folder.path)
        #expect(try folder.list().map(\.file) == files.reversed())
        #expect(try folder.newest(of: "kms.example.com").file == files[3])
        #expect(try folder.expire(of: "other.example.com", before: start.adding(seconds: 99 * day)) == 0)
        #expect(try folder.expire(of: "kms.example.com", before: start) == 0)
        #expect(try folder.expire(of: "kms.example.com", before: start.adding(seconds: 99 * day)) == 2)
        #expect(try folder.list().map(\.file) == [files[3], files[1]])
        #expect(access(files[0] + VerifiedBackups.ending, F_OK) != 0)
        #expect(await code { _ = try folder.newest(of: "other.example.com") } == .backupFile)
        await machine.store.close()
    }
}
