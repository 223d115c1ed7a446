import ArgumentParser
import Diagnostics

/// The command `hds-auth`: the authorization service of the customer's domain, and what its administrator needs.
@main
struct HDSAuth: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "hds-auth",
        abstract: "The authorization service: who signs in here gets one token for the cloud and one for the KMS.",
        discussion: """
            Accounts stand in a YAML file that you edit by hand or with add-account and add-service. After a change \
            send SIGHUP (systemctl reload hds-auth) and it counts at once.
            """,
        version: Release.version,
        subcommands: [
            Serve.self, HashPassword.self, AddAccount.self, AddService.self, Revoke.self, Unlink.self, RollKeys.self,
        ],
        defaultSubcommand: Serve.self)

}

/// `--config FILE`, for the commands that need the service's configuration.
struct ConfigurationOption: ParsableArguments {
    @Option(
        name: [.customLong("config"), .customLong("configuration"), .customShort("c")],
        help: ArgumentHelp("The service's configuration.", valueName: "file"), completion: .file())
    var path = "/etc/hds/hds-auth.yaml"
}
