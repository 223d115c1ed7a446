import ArgumentParser
import Diagnostics
import Glibc
import HDSClient

/// The command of a user: end-to-end encrypted spaces under keys of the own organisation.
@main
struct HDSCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "hds",
        abstract: "Encrypted spaces whose keys never leave your organisation.",
        discussion: """
            Begin with 'hds login alice@example.com --profile FILE'; your administrator has the profile file. Then \
            'hds space create', 'hds post', 'hds read', 'hds send-file'.

            What the client keeps (session, keys) is encrypted in the state folder: --home, or HDS_HOME, or \
            ~/.local/state/hds.

            Exit codes: 0 done, 1 failed, 64 wrong usage, 65 something can not be decrypted or believed, 66 no such \
            input, 69 a server can not be reached, 73 an output can not be written, 75 busy, 77 refused, 78 the domain \
            or the state is not as it should be.
            """,
        version: Release.version,
        subcommands: [
            LoginCommand.self, LogoutCommand.self, StatusCommand.self, SpacesCommand.self, SpaceCommand.self,
            PostCommand.self, EditCommand.self, DeleteCommand.self, ReadCommand.self, SearchCommand.self,
            MeetingsCommand.self, EDiscoveryCommand.self, SendFileCommand.self, GetFileCommand.self,
            FilesCommand.self, PreviewCommand.self,
            RotateCommand.self, KeyCommand.self, KeysCommand.self, ProfileCommand.self, PassphraseCommand.self,
        ])

    static func main() async {
        Process.harden()
        do {
            var command = try parseAsRoot()
            if var asynchronous = command as? any AsyncParsableCommand {
                try await asynchronous.run()
            } else {
                try command.run()
            }
        } catch let failure as Failure {
            failure.report()
            Glibc.exit(failure.exitCode)
        } catch let error as DiagnosedError {
            let failure = Failure(error, asJSON: CommandLine.arguments.contains("--json"))
            failure.report()
            Glibc.exit(failure.exitCode)
        } catch {
            exit(withError: error)
        }
    }
}

/// What a process that holds keys switches off at its start.
enum Process {
    static func harden() {
        // No core file holds keys.
        var none = rlimit(rlim_cur: 0, rlim_max: 0)
        setrlimit(__rlimit_resource_t(RLIMIT_CORE.rawValue), &none)
    }
}
