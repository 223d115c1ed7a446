import ArgumentParser
import Cryptography

/// Makes the text for `password-hash` and `secret-hash` in the accounts file.
struct HashPassword: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "hash-password", abstract: "Hash a password for the accounts file.",
        discussion: "Reads the password from the terminal without showing it, or one line from standard input.")

    func run() throws {
        print(try PasswordHash.hash(try PasswordInput.new("Password")))
    }
}
