import ArgumentParser
import Diagnostics
import Glibc
import PolicyFiles
import SecretMemory

/// Where the passphrase of an officer's key comes from.
struct PassphraseOptions: ParsableArguments {
    @Option(
        help: "Read the passphrase from the first line of this file of mode 0600; else the terminal is asked.",
        completion: .file())
    var passphraseFile: String?

    func passphrase(for file: String) throws(DiagnosedError) -> SecretBytes {
        if let passphraseFile { return try OfficerKeyFile.passphrase(inFile: passphraseFile) }
        return try Terminal.secret("Passphrase of \(file): ")
    }

    /// Typed twice where somebody types.
    func newPassphrase(for file: String) throws(DiagnosedError) -> SecretBytes {
        if let passphraseFile { return try OfficerKeyFile.passphrase(inFile: passphraseFile) }
        let first = try Terminal.secret("New passphrase of \(file): ")
        let again = try Terminal.secret("The same once more: ")
        let isSame = first.withUnsafeBytes { first in
            again.withUnsafeBytes { again in constantTimeEqual(first, again) }
        }
        guard isSame else {
            throw DiagnosedError(
                .passphraseUnreadable, fault: .client, "the two entries are not the same", hint: "type it again")
        }
        return first
    }
}

/// The terminal of the person, whatever standard input and output are.
enum Terminal {
    /// One line without echo, straight into secret memory.
    static func secret(_ prompt: String) throws(DiagnosedError) -> SecretBytes {
        let terminal = open("/dev/tty", O_RDWR | O_CLOEXEC | O_NOCTTY)
        guard terminal >= 0 else {
            throw DiagnosedError(
                .passphraseUnreadable, fault: .client, "there is no terminal to ask for the passphrase",
                hint: "give --passphrase-file")
        }
        defer { close(terminal) }
        var settings = termios()
        guard tcgetattr(terminal, &settings) == 0 else { throw unreadable() }
        var hidden = settings
        hidden.c_lflag &= ~tcflag_t(ECHO)
        guard tcsetattr(terminal, TCSAFLUSH, &hidden) == 0 else { throw unreadable() }
        defer {
            tcsetattr(terminal, TCSAFLUSH, &settings)
            _ = write(terminal, "\n", 1)
        }
        let text = Array(prompt.utf8)
        _ = write(terminal, text, text.count)
        return SecretBytes(capacity: 1025) { buffer in
            var count = 0
            while count < buffer.count {
                let more = read(terminal, buffer.baseAddress! + count, buffer.count - count)
                guard more > 0 else { break }
                count += more
                if buffer[count - 1] == UInt8(ascii: "\n") { return count - 1 }
            }
            return count
        }
    }

    /// A text of somebody else as it may be shown: a terminal obeys control characters.
    static func plain(_ text: String) -> String {
        String(String.UnicodeScalarView(text.unicodeScalars.map { isPlain($0) ? $0 : "\u{FFFD}" }))
    }

    private static func isPlain(_ scalar: Unicode.Scalar) -> Bool {
        switch scalar.properties.generalCategory {
        case .control, .format, .lineSeparator, .paragraphSeparator: false
        default: true
        }
    }

    private static func unreadable() -> DiagnosedError {
        DiagnosedError(
            .passphraseUnreadable, fault: .client, "the terminal can not be switched to hidden input",
            hint: "give --passphrase-file")
    }
}

extension DiagnosedError.Code {
    static let passphraseUnreadable: Self = "passphrase-unreadable"
}
