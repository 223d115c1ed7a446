import ArgumentParser
import Glibc

/// A secret from standard input: typed twice without echo on a terminal, else the first line.
enum PasswordInput {
    static let minimumLength = 8

    /// A password that is new: long enough, and typed twice where somebody types.
    static func new(_ what: String) throws -> String {
        let password: String
        if isatty(STDIN_FILENO) == 1 {
            password = try typed("\(what): ")
            guard try typed("The same once more: ") == password else {
                throw ValidationError("The two entries are not the same.")
            }
        } else {
            password = try line()
        }
        guard password.count >= minimumLength else {
            throw ValidationError("A password has at least \(minimumLength) characters.")
        }
        return password
    }

    private static func line() throws -> String {
        guard let line = readLine(strippingNewline: true), !line.isEmpty else {
            throw ValidationError("No password came on standard input.")
        }
        return line
    }

    private static func typed(_ prompt: String) throws -> String {
        tell(prompt)
        var settings = termios()
        guard tcgetattr(STDIN_FILENO, &settings) == 0 else {
            throw ValidationError("The terminal can not be switched to hidden input.")
        }
        var hidden = settings
        hidden.c_lflag &= ~tcflag_t(ECHO)
        guard tcsetattr(STDIN_FILENO, TCSAFLUSH, &hidden) == 0 else {
            throw ValidationError("The terminal can not be switched to hidden input.")
        }
        defer {
            tcsetattr(STDIN_FILENO, TCSAFLUSH, &settings)
            tell("\n")
        }
        return try line()
    }

    /// To the terminal and not to standard output, which carries the result.
    private static func tell(_ text: String) {
        var text = text
        _ = text.withUTF8 { write(STDERR_FILENO, $0.baseAddress, $0.count) }
    }
}
