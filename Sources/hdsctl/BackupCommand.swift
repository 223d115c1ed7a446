import ArgumentParser
import ControlSocket
import Diagnostics
import WireText

/// `hdsctl backup`: copies of the key store, made while the service runs.
struct BackupCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "backup",
        abstract: "Back up the key store while the service runs.",
        discussion: """
            hdsctl backup create
            hdsctl backup list
            hdsctl restore FILE --verify --master-key /etc/hds/master.key

            The file holds everything but sessions, as it was at one moment, encrypted. The service's master key opens \
            it, or enough shares of the escrow. It is written by the service into backup.folder, and beside it a second \
            one with the erasable keys, without which no key opens: the service deletes that after \
            backup.erasable-days, and copies of it must not be kept longer.
            """,
        subcommands: [Create.self, List.self, Nightly.self], defaultSubcommand: Create.self)

    struct Create: ParsableCommand {
        static let configuration = CommandConfiguration(abstract: "Make a backup.")

        @OptionGroup var control: SocketOptions
        @Flag(help: "Print one JSON object.")
        var json = false

        func run() throws {
            try reporting {
                let answer = try ControlClient(path: control.socket).send(
                    "backup", arguments: ArgumentsWriter().node()
                ) { announce($0) }
                guard !json else { return print(Terminal.plain(answer.rawText)) }
                show([answer.text("file"), answer.text("erasable")])
                if answer.number("expired") > 0 {
                    show(["\(answer.number("expired")) expired backups of erasable keys deleted"])
                }
                show(answer.nodes("tables").map { "\($0.text("name")): \($0.number("rows")) rows" })
                show([
                    "opens with the master key " + answer.texts("masterKeys").joined(separator: ", "),
                    answer["escrow"]?.string.map { "or with shares of the escrow \($0)" }
                        ?? "and with nothing else: there is no escrow",
                    "Next: copy both to another place, and prove them: hdsctl restore FILE --verify",
                ])
            }
        }
    }

    struct Nightly: ParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Make a backup, prove it and leave a report (run by a timer).",
            discussion: """
                It needs the rights and the credentials of the service: systemctl start hds-backup. Without backup.folder \
                it says so and does nothing. hdsctl drill reports shows what came of it.
                """)

        @OptionGroup var place: TimerOptions

        func run() throws { try reporting { try TimerRuns(place.config, scratch: place.scratch).backUp() } }
    }

    struct List: ParsableCommand {
        static let configuration = CommandConfiguration(abstract: "Show the backups of the folder and what opens them.")

        @OptionGroup var question: QuestionOptions

        func run() throws {
            try question.ask("backup-list") { answer in
                let rows = answer.nodes("backups").map { backup in
                    [
                        backup.text("created"), backup.texts("masterKeys").joined(separator: " "),
                        backup.text("escrow"), backup.text("file"),
                    ]
                }
                guard !rows.isEmpty else { return print("there is no backup") }
                show(Columns.lines([["CREATED", "MASTER KEY", "ESCROW", "FILE"]] + rows))
            }
        }
    }
}
