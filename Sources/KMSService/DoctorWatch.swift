import Diagnostics
import Glibc
import LinkedService
import ServiceLifecycle
import ServiceRuntime
import Synchronization
import WireText

/// Turns what `hdsctl doctor --report` found, as `hds-doctor.timer` starts it, into alarms: one for each check that failed,
/// until a later report says otherwise. Looks every 5 s at the report's file.
final class DoctorWatch: Service {
    /// A report that is older tells nothing any more, but that nobody looks.
    static let oldest: Int64 = 50 * 3600
    /// What the alarm is about when there is no report to go by.
    private static let itself = "doctor"

    private let file: String
    private let alarms: AlarmBoard
    /// The checks whose alarms stand.
    private let standing = Mutex<Set<String>>([])

    init(file: String, alarms: AlarmBoard) { (self.file, self.alarms) = (file, alarms) }

    func run() async throws {
        await recurring(every: .seconds(5)) { [self] in look(now: .now()) }
    }

    func look(now: Timestamp) {
        guard access(file, F_OK) == 0 else { return settle([:], "there is no report") }
        let report: DoctorReport
        do {
            report = try DoctorReport(Array(try FileLocation(file).text(upTo: 1 << 20).utf8))
        } catch {
            return settle([Self.itself: Loggable(error: error)], "there is no report")
        }
        let age = now.seconds - report.time.seconds
        guard age < Self.oldest else {
            let told: Loggable = "it looked last \(age / 3600) hours ago: systemctl status hds-doctor.timer hds-doctor"
            return settle([Self.itself: told], "there is a new report")
        }
        var failed: [String: Loggable] = [:]
        for check in report.failed {
            failed[check.id] = Loggable(
                reviewed: "\(check.id): \(check.detail)" + (check.fix.map { "; to do: \($0)" } ?? ""))
        }
        settle(failed, "passed at \(reviewed: report.time.iso8601)")
    }

    private func settle(_ failed: [String: Loggable], _ cleared: Loggable) {
        let gone = standing.withLock { standing in
            defer { standing = Set(failed.keys) }
            return standing.subtracting(failed.keys)
        }
        for (id, detail) in failed { alarms.raise(.doctorFailed, about: Loggable(reviewed: id), detail) }
        for id in gone {
            alarms.clear(.doctorFailed, about: Loggable(reviewed: id), "\(reviewed: id): \(cleared)")
        }
    }
}
