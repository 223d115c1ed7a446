import Diagnostics
import KMSProtocol
import LinkedService
import MasterKey
import Recovery
import ServiceRuntime
import SiteFailover
import WireText

/// What `status` tells besides: checks and alarms with their fixes, the rotation, the newest backup, the last rehearsals.
///
/// Nothing of it asks the database, so that it is told when that is away as well.
struct StatusDetails: Sendable {
    private let report: HealthReport
    private let rootVersion: Int64
    private let work: RootKeyKeeper.Work
    private let backup: BackupFolder.Entry?
    private let hasBackupFolder: Bool
    private let drills: [(subject: String, last: Timestamp?)]
    private let doctor: DoctorReport?

    static func of(_ kms: RunningKMS) async -> StatusDetails {
        let backup = try? await kms.backups.list().first { $0.header.host == kms.names.host }
        let proved = try? await kms.backups.verified().filter { $0.host == kms.names.host }.map(\.verified).max()
        var drills: [(subject: String, last: Timestamp?)] = [(subject: "restore", last: proved)]
        if kms.configuration.store.file == nil {
            let journal = kms.configuration.dataFolder + "/failover.journal"
            drills.append((subject: "failover", last: FailoverJournal.lastDone(path: journal)))
        }
        let doctor = try? DoctorReport(
            Array(FileLocation(Doctor.reportFile(of: kms.configuration)).text(upTo: 1 << 20).utf8))
        return StatusDetails(
            report: kms.health.report, rootVersion: kms.ring.activeVersion, work: kms.rootKeys.work, backup: backup,
            hasBackupFolder: kms.configuration.backup != nil, drills: drills, doctor: doctor)
    }

    func write(to json: inout JSONWriter) {
        report.writeChecks(to: &json)
        report.writeAlarms("standing", to: &json)
        json.name("rotation")
        json.beginObject()
        json.member("rootKey", rootVersion)
        if let promotion = work.promotion, promotion.retired == nil { json.member("from", promotion.from) }
        if let progress = work.progress {
            json.member("done", progress.done)
            json.member("total", progress.total)
            if let left = progress.remaining { json.member("secondsLeft", left) }
        }
        json.member("failure", ifPresent: work.failure?.description)
        json.endObject()
        json.name("backup")
        json.beginObject()
        json.member("configured", hasBackupFolder)
        json.member("newest", ifPresent: backup?.header.created.iso8601)
        json.member("file", ifPresent: backup?.file)
        json.endObject()
        json.name("drills")
        json.beginArray()
        for drill in drills {
            json.beginObject()
            json.member("subject", drill.subject)
            json.member("last", ifPresent: drill.last?.iso8601)
            json.endObject()
        }
        json.endArray()
        guard let doctor else { return }
        json.name("doctor")
        json.beginObject()
        json.member("time", doctor.time.iso8601)
        json.member("result", doctor.result.rawValue)
        json.endObject()
    }
}
