import ArgumentParser
import ControlSocket
import Diagnostics
import Glibc
import ServiceRuntime
import SignedPolicy
import WireText

/// `hdsctl status`: how everything of the bundle on this machine is, on one screen.
struct StatusCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "status",
        abstract:
            "How the services of this machine are: health, nodes, alarms with what to do, rotation, backup, drills.",
        discussion: """
            Asks hds-kms over its control socket, and hds-auth and hds-core at their health addresses, where they are set up.
            Exit code 0 when all is well or only warned about, 69 when a check fails or a service does not answer.
            """)

    @OptionGroup var control: SocketOptions
    @Option(help: "The folder with the configurations of the services.", completion: .directory)
    var folder = "/etc/hds"
    @Flag(help: "Show it anew until it is interrupted.")
    var watch = false
    @Option(help: "Seconds between two looks of --watch.")
    var interval = 2
    @Flag(help: "Print one JSON object, with --watch one a line.")
    var json = false

    func validate() throws {
        guard (1...3600).contains(interval) else { throw ValidationError("--interval takes 1 to 3600 seconds") }
    }

    func run() throws {
        var isFailing = false
        repeat {
            let screen = StatusScreen(
                kms: Self.kms(control.socket), others: OtherServices.look(folder),
                isSetUp: access(folder + "/hds-kms.yaml", F_OK) == 0)
            isFailing = screen.isFailing
            if json {
                print(Terminal.plain(screen.json))
            } else {
                // A terminal shows the new screen in the place of the old one.
                if watch, isatty(STDOUT_FILENO) == 1 { print("\u{1B}[2J\u{1B}[H", terminator: "") }
                show(screen.lines)
            }
            fflush(nil)
            if watch { sleep(UInt32(interval)) }
        } while watch
        if isFailing { throw ExitCode(EX_UNAVAILABLE) }
    }

    /// What the KMS says, with its nodes where it can ask for them.
    private static func kms(_ socket: String) -> Result<StatusScreen.KMS, DiagnosedError> {
        Result { () throws(DiagnosedError) in
            let client = try ControlClient(path: socket)
            let empty = try ArgumentsWriter().node()
            let status = try client.send("status", arguments: empty)
            // These stand in the database, which may be away.
            return StatusScreen.KMS(status: status, nodes: try? client.send("nodes", arguments: empty))
        }
    }
}
