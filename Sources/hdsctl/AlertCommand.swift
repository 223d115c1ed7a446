import ArgumentParser
import Diagnostics
import Glibc
import ServiceRuntime

/// `hdsctl alert UNIT`: what systemd runs when a service stays down (`hds-alert@.service`).
struct AlertCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "alert",
        abstract: "Write into the journal that a service is down, and what to do (run by systemd).",
        discussion: """
            systemd tells the reason in MONITOR_SERVICE_RESULT, MONITOR_EXIT_CODE and MONITOR_EXIT_STATUS \
            (systemd.exec(5)).
            """,
        shouldDisplay: false)

    @Argument(help: "The unit, such as hds-kms.service.")
    var unit: String

    func run() throws {
        let end = UnitEnd(unit: unit, environment: { name in getenv(name).map { String(cString: $0) } })
        // The name comes from systemd, the rest from fixed texts.
        LogSystem(service: "hdsctl", metrics: MetricRegistry()).events.record(
            .serviceDown,
            [
                .service: Loggable(reviewed: unit), .detail: Loggable(reviewed: end.detail),
                .fix: Loggable(reviewed: end.fix),
            ])
    }
}

/// How a unit ended, and what to do about it.
struct UnitEnd {
    let detail: String
    let fix: String

    init(unit: String, environment: (String) -> String?) {
        let result = environment("MONITOR_SERVICE_RESULT") ?? "unknown"
        let code = environment("MONITOR_EXIT_CODE")
        let status = environment("MONITOR_EXIT_STATUS")
        let how =
            switch code {
            case "exited": "it exited with \(status ?? "?")"
            case "killed", "dumped": "it was killed by \(status ?? "?")"
            default: "how it ended is not known"
            }
        detail = "\(how) (\(result))"
        let log = "journalctl -u \(unit) -n 50"
        // What a timer runs is tried again by it.
        let isTimed = ["hds-backup", "hds-restore-drill"].contains { unit.hasPrefix($0) }
        fix =
            switch (code, status) {
            case ("exited", "78"):
                "the configuration is refused: \(log) names the line; correct it and systemctl start \(unit)"
            case ("exited", "243"):
                "a credential is missing or can not be decrypted on this machine: compare LoadCredential= "
                    + "(systemctl cat \(unit)) with /etc/hds/credentials, then systemctl start \(unit)"
            default:
                isTimed
                    ? "\(log) says why, hdsctl drill reports as well; then systemctl start \(unit), or wait for its timer"
                    : "\(log) says why; then systemctl start \(unit)"
            }
    }
}
