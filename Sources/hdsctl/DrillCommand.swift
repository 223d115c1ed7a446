import ArgumentParser
import ControlSocket
import Diagnostics
import Recovery
import WireText

/// `hdsctl drill`: rehearse what has to work in an emergency, and look at what came of it.
struct DrillCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "drill",
        abstract: "Rehearse a restore; show what the nightly backups and the rehearsals gave.",
        discussion: """
            hdsctl drill reports
            systemctl start hds-restore-drill     # what hds-restore-drill.timer does each week
            """,
        subcommands: [Reports.self, RestoreDrill.self])

    struct Reports: ParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Show what the timers of backup and rehearsal did, the newest first.",
            discussion: "Asks the running service; with --folder it reads the reports itself.")

        @OptionGroup var question: QuestionOptions
        @Option(help: "The folder of the reports, such as /var/lib/hds-kms/reports.", completion: .directory)
        var folder: String?

        func run() throws {
            guard let folder else {
                return try question.ask("reports") { Self.tell($0.nodes("reports").compactMap { RunReport($0) }) }
            }
            let reports = RunReports(folder: folder).list()
            guard question.json else { return Self.tell(reports) }
            var json = JSONWriter()
            json.beginObject()
            json.name("reports")
            json.beginArray()
            for report in reports {
                json.beginObject()
                report.write(to: &json)
                json.endObject()
            }
            json.endArray()
            json.endObject()
            print(Terminal.plain(json.text()))
        }

        private static func tell(_ reports: [RunReport]) {
            guard !reports.isEmpty else {
                return show([
                    "there is no report yet: systemctl list-timers 'hds-*' shows when the timers run",
                    "now: systemctl start hds-backup hds-restore-drill",
                ])
            }
            let rows = reports.map { report in
                let outcome: String
                if let failure = report.failure {
                    outcome = failure
                } else {
                    outcome =
                        report.gaps.isEmpty ? report.file ?? "-" : "unknown: " + report.gaps.joined(separator: "; ")
                }
                return [
                    report.started.iso8601, report.node, report.kind.rawValue,
                    report.failure == nil ? "passed" : "FAILED", TimerRuns.seconds(report) + " s",
                    "\(report.opened)", outcome,
                ]
            }
            show(Columns.lines([["STARTED", "NODE", "WHAT", "RESULT", "TOOK", "KEYS", "OF"]] + rows))
        }
    }

    struct RestoreDrill: ParsableCommand {
        static let configuration = CommandConfiguration(
            commandName: "restore",
            abstract: "Restore the newest backup into a throw-away store, as after a loss (run by a timer).",
            discussion: "It needs the rights and the credentials of the service: systemctl start hds-restore-drill.")

        @OptionGroup var place: TimerOptions

        func run() throws {
            try reporting { try TimerRuns(place.config, scratch: place.scratch).rehearseRestore() }
        }
    }
}

/// What a timer's command needs to know.
struct TimerOptions: ParsableArguments {
    @Option(help: "The configuration of hds-kms.", completion: .file())
    var config = "/etc/hds/hds-kms.yaml"
    @Option(help: "The folder for the throw-away store.", completion: .directory)
    var scratch = "/var/tmp"
}
