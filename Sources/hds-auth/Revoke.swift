import ArgumentParser
import ServiceRuntime
import TokenIssuer
import WireText

/// Ends access tokens before their time. A running service, and every KMS that reads its list, follows within seconds.
struct Revoke: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "revoke", abstract: "End the access tokens and logins of a user, a service, or everybody.",
        discussion: """
            Works on the database of logins, whether the service runs or not. The KMS reads the list of revocations \
            every few seconds; the core goes by the end of a token (lifetimes.access-token) unless the token is opaque. \
            Disable the account as well if the user shall not sign in again.

            hds-auth revoke --user alice@example.com
            hds-auth revoke --token-id 8p0V…
            """)

    @OptionGroup var file: ConfigurationOption
    @Option(help: ArgumentHelp("A user by id or e-mail address: all tokens, all logins.", valueName: "id"))
    var user: String?
    @Option(help: ArgumentHelp("A service by its id: all tokens.", valueName: "id"))
    var service: String?
    @Option(help: ArgumentHelp("One token by its id (jti).", valueName: "jti"))
    var tokenID: String?
    @Flag(help: "All tokens and all logins: everybody signs in again.")
    var everyone = false

    func validate() throws {
        let count = [user != nil, service != nil, tokenID != nil, everyone].count { $0 }
        guard count == 1 else {
            throw ValidationError("One of --user, --service, --token-id and --everyone is needed.")
        }
        guard tokenID.map({ (1...256).contains($0.utf8.count) }) ?? true else {
            throw ValidationError("--token-id is the jti of a token, not the token.")
        }
    }

    func run() async throws {
        let configuration = try ConfigurationFile.read(file.path, as: AuthConfiguration.self)
        let grants = try configuration.existingGrants(file.path)
        let now = Timestamp.now()
        let lifetime = configuration.lifetimes.accessToken.components.seconds
        if let tokenID {
            try await grants.revoke(
                tokenID: tokenID, subject: "", expires: now.adding(seconds: lifetime), now: now)
            print("The token \(tokenID) is revoked.")
        } else if everyone {
            try await grants.revokeEveryone(lifetime: lifetime, now: now)
            print("All tokens and logins have ended.")
        } else {
            let directory = try AccountDirectory(path: configuration.accounts.path)
            directory.add(try grants.madeAccounts())
            let subject = try subject(directory.accounts)
            try await grants.revoke(subject: subject, lifetime: lifetime, now: now)
            print("All tokens and logins of \(subject) have ended.")
        }
        try grants.close()
    }

    /// An id counts also when the account is not in the file any more: its tokens may still live.
    private func subject(_ accounts: Accounts) throws -> String {
        if let service {
            guard accounts.user(id: service) == nil else { throw ValidationError("\(service) is a user: use --user.") }
            if accounts.service(id: service) == nil {
                print("There is no service \(service) in the accounts file now.")
            }
            return service
        }
        let named = user ?? ""
        if let account = accounts.user(email: named) { return account.id }
        guard UUIDText.isValid(named) else {
            throw ValidationError("There is no user \(named): give an e-mail address of the accounts file, or a UUID.")
        }
        return named.lowercased()
    }
}
