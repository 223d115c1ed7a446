import ArgumentParser
import Diagnostics
import Glibc
import KMSService
import PolicyFiles
import ServiceRuntime
import WireText

/// `hdsctl doctor`: everything that a KMS needs, looked at before it starts or while it runs.
struct DoctorCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "doctor",
        abstract: "Look at everything that hds-kms needs, and say what to do; nothing is changed.",
        discussion: """
            Before the service runs it goes by the configuration alone; while it runs it also asks the service. As root it \
            opens what only root may open. hds-doctor.timer runs it each hour; what fails becomes the alarm \
            HDS-DOCTOR-FAILED.

            Exit codes: 0 nothing fails, though there may be warnings; 69 a check fails; 78 the configuration is refused, \
            so that most could not be looked at.
            """)

    @Option(help: "The configuration of hds-kms.", completion: .file())
    var config: String?
    @Option(help: "Look at what is installed below this folder instead of /.", completion: .directory)
    var root = ""
    @Option(help: "The control socket of the service, instead of that of the configuration.", completion: .file())
    var socket: String?
    @Flag(help: "Show only what is not as it should be.")
    var quiet = false
    @Flag(help: "Leave the report where hds-kms makes alarms of it; without the service the journal is told.")
    var report = false
    @Flag(help: "Print one JSON object.")
    var json = false

    func run() throws {
        var code: Int32 = 0
        try reporting {
            let file = config ?? root + "/etc/hds/hds-kms.yaml"
            let doctor = Doctor(.init(configuration: file, root: root, socket: socket))
            let found = try waiting { await doctor.examine() }
            if report { try Self.keep(found, configuration: file) }
            if json {
                print(Terminal.plain(String(decoding: found.bytes(), as: UTF8.self)))
            } else {
                show(Self.lines(found, quiet: quiet))
            }
            code = Self.code(found)
        }
        if code != 0 { throw ExitCode(code) }
    }

    static func code(_ report: DoctorReport) -> Int32 {
        if report.checks.contains(where: { $0.id == "configuration" && $0.result == .fail }), report.node == nil {
            return EX_CONFIG
        }
        return report.failed.isEmpty ? 0 : EX_UNAVAILABLE
    }

    static func lines(_ report: DoctorReport, quiet: Bool = false) -> [String] {
        var lines: [String] = []
        for check in report.checks where !quiet || check.result != .pass {
            lines.append("\(check.result.rawValue)  \(check.id): \(check.detail)")
            if let fix = check.fix { lines.append("      to do: \(fix)") }
        }
        let counts = DoctorCheck.Result.allCases.map { result in
            "\(report.checks.count { $0.result == result }) \(result.rawValue)"
        }
        return lines + [counts.joined(separator: ", ")]
    }

    /// For the service to see. One that does not run raises no alarm, so the journal gets it from here.
    private static func keep(_ report: DoctorReport, configuration file: String) throws {
        let service = report.checks.first { $0.id == "service" }
        if service.map({ $0.result == .warn }) ?? true {
            let events = LogSystem(service: "hdsctl", metrics: MetricRegistry()).events
            for check in report.failed {
                events.record(
                    Alarm.doctorFailed.event,
                    [
                        .alarmID: Loggable(reviewed: Alarm.doctorFailed.id), .alarmState: "raised",
                        .detail: Loggable(reviewed: "\(check.id): \(check.detail)"),
                    ])
            }
        }
        guard let configuration = try? KMSServiceConfiguration.read(file) else { return }
        try OwnFile.replace(Doctor.reportFile(of: configuration), with: report.bytes(), mode: 0o600)
    }
}
