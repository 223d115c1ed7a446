import ArgumentParser
import ControlSocket
import Diagnostics
import Recovery
import WireText

/// `hdsctl drill`: rehearse what has to work in an emergency, and look at what came of it.
struct DrillCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "drill",
        abstract: "Rehearse a restore; let a malicious core attack; show what backups and rehearsals gave.",
        discussion: """
            hdsctl drill reports
            systemctl start hds-restore-drill     # what hds-restore-drill.timer does each week
            hdsctl drill hostile-core             # on a throw-away set-up beside the installation
            """,
        subcommands: [Reports.self, RestoreDrill.self, HostileCore.self])

    struct HostileCore: ParsableCommand {
        static let configuration = CommandConfiguration(
            commandName: "hostile-core",
            abstract: "Let a malicious core attack real services in a throw-away folder; nothing may be released.",
            discussion: """
                Starts hds-auth, hds-kms, clients and a core that attacks, on loopback, from the folder of this program. For \
                each attack: what was tried, what stopped it, the record in the audit trail, and a control in which the \
                attack is missing and the release is noticed. Ends with 1 when anything was released or a control failed, \
                and with 75 when it could not be tried. Nothing of an installation is touched.

                Example: hdsctl drill hostile-core --only replay --only forged-token --json
                """)

        @Option(help: "Only this attack; may be given several times.")
        var only: [String] = []
        @Flag(help: "Name the attacks, and what each shows.")
        var list = false
        @Flag(help: "Print one JSON document.")
        var json = false
        @Option(help: "The folder of the programs, when they are not beside this one.", completion: .directory)
        var programs: String?
        @Option(
            help: ArgumentHelp(
                "Leave out the guard in this attack, to test the drill: it has to end with 1.", visibility: .hidden))
        var release: String?

        func run() throws {
            var arguments = ["--programs", programs ?? DrillScript.folder]
            for name in only { arguments += ["--only", name] }
            if list { arguments.append("--list") }
            if json { arguments.append("--json") }
            if let release { arguments += ["--release", release] }
            try reporting { try DrillScript("drill-hostile-core").run(arguments) }
        }
    }

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
