import ArgumentParser
import Glibc
import ServiceRuntime
import TokenIssuer
import WireText

/// Forgets which subject of a provider an account is. A running service follows at once.
struct Unlink: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "unlink", abstract: "Untie a user from the providers where the user signs in.",
        discussion: """
            The first sign-in at a provider ties an account to the provider's own name for the person, and nobody else \
            of that provider gets in by the address. When somebody was entered there anew, untie the account: its logins \
            from there end, and the next sign-in with its address ties it anew.

            hds-auth unlink --user alice@example.com
            """)

    @OptionGroup var file: ConfigurationOption
    @Option(help: ArgumentHelp("The user, by id or e-mail address.", valueName: "id"))
    var user: String

    func run() async throws {
        let configuration = try ConfigurationFile.read(file.path, as: AuthConfiguration.self)
        let grants = try configuration.existingGrants(file.path)
        let directory = try AccountDirectory(path: configuration.accounts.path)
        directory.add(try grants.madeAccounts())
        let id: String
        if let account = directory.accounts.user(email: user) {
            id = account.id
        } else if UUIDText.isValid(user) {
            id = user.lowercased()
        } else {
            throw ValidationError("There is no user \(user): give an e-mail address of an account, or a UUID.")
        }
        let count = try await grants.unlink(
            user: id, lifetime: configuration.lifetimes.accessToken.components.seconds, now: .now())
        try grants.close()
        print(count == 0 ? "\(id) is tied to no provider." : "\(id) is untied; the next sign-in there ties it anew.")
    }
}

extension AuthConfiguration {
    /// The database of logins, which has to be there.
    func existingGrants(_ file: String) throws -> GrantStore {
        let path = state.path + "/logins.sqlite"
        guard access(path, F_OK) == 0 else {
            throw ValidationError("There is no database of logins at \(path): see `state` in \(file).")
        }
        return try GrantStore(path: path)
    }
}
