import ArgumentParser
import ServiceRuntime
import TokenIssuer
import WireText

/// Rolls the signing key now. A running service goes on with the new key from its next token on.
struct RollKeys: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "roll-keys", abstract: "Sign with the next key from now on.",
        discussion: """
            The key so far stays published until its last token has expired, so nobody has to sign in again. After the \
            key file was in wrong hands use --compromised: then every key is replaced and no token issued so far is \
            accepted once the KMS and the core have fetched the new keys.
            """)

    @OptionGroup var file: ConfigurationOption
    @Flag(help: "Replace every key, and make all access tokens invalid.")
    var compromised = false

    func run() throws {
        let configuration = try ConfigurationFile.read(file.path, as: AuthConfiguration.self)
        let now = Timestamp.now()
        let keys = try SigningKeys(
            folder: configuration.state.path, schedule: configuration.keySchedule, now: now)
        if compromised { try keys.replaceAll(at: now) } else { try keys.roll(at: now) }
        print("Tokens are now signed with the key \(keys.ring(at: now).current.kid).")
    }
}
