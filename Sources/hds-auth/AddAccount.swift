import ArgumentParser
import Cryptography
import TokenIssuer
import WireText

/// Adds a user to an accounts file, or prints the entry for it.
struct AddAccount: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "add-account", abstract: "Add a user to the accounts file.",
        discussion: """
            Reads the password from the terminal without showing it, or one line from standard input. Prints the \
            user's id. Without --accounts the entry is printed and no file is changed.
            """)

    @Option(help: ArgumentHelp("The accounts file; it is made when missing.", valueName: "file"), completion: .file())
    var accounts: String?
    @Option(help: "E-mail address of the user.")
    var email: String
    @Option(help: "Name of the user, as others see it.")
    var name: String
    @Option(help: "Organisation of the user, unless the file names one for all.")
    var organisation: String?
    @Option(help: "UUID of the user; a new one is made by default.")
    var id: String?
    @Flag(help: "No password: the user signs in at a provider (docs/login.md).")
    var withoutPassword = false

    func run() throws {
        let id = id?.lowercased() ?? UUIDText.random()
        guard UUIDText.isValid(id) else { throw ValidationError("--id has to be a UUID.") }
        let entry = AccountFileEdit.Entry.user(
            id: id, email: email, name: name, organisation: organisation,
            passwordHash: withoutPassword
                ? nil : try PasswordHash.hash(try PasswordInput.new("Password of \(email)")))
        guard let accounts else { return print(entry.text(column: 2), terminator: "") }
        try AccountFileEdit.add(entry, to: .users, path: accounts)
        print(id)
    }
}
