import ArgumentParser
import HardwareToken
import MasterKey
import SecretMemory
import WireText

/// `hdsctl master-key`: the key-encryption key that everything in the key store rests on.
struct MasterKeyCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "master-key",
        abstract: "Make and identify the master key, and rotate the root keys under it.",
        discussion: """
            The master key wraps the root keys of the key store. It lives outside the database: in a file of mode \
            0600, or as a systemd credential. Without it nothing in the key store can ever be opened.
            """,
        subcommands: [
            Create.self, CreateInToken.self, Fingerprint.self, Generate.self, Stage.self, Promote.self, Status.self,
            Retire.self, Destroy.self, Undo.self, ChangeKEK.self, Certificate.self, VerifyCertificate.self,
        ])

    struct Create: ParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Write a new random master key to a new file of mode 0600.",
            discussion: "An existing file is never overwritten. Prints the fingerprint, never the key.")

        @Argument(help: "The file to make.", completion: .file())
        var file: String
        @OptionGroup var output: KeyOutput

        func run() throws {
            try reporting {
                let key = try KeyEncryptionKey.create()
                try key.save(toNewFile: file)
                output.show(
                    key.fingerprint, file: file,
                    """
                    A new master key lies in \(file), fingerprint \(key.fingerprint).
                    Next:
                      1. Copy the file to a place that outlives this machine, and note the fingerprint beside it:
                         without it nothing in the key store can ever be opened again.
                      2. Name it in the configuration of hds-kms as 'master-key', or hand it over as the systemd
                         credential kms-master-key, and start the service.
                    """)
            }
        }
    }

    struct CreateInToken: ParsableCommand {
        static let configuration = CommandConfiguration(
            commandName: "create-in-token",
            abstract: "Make a master key in a hardware token (PKCS#11), which it never leaves.",
            discussion: """
                The key is AES of 256 bits, sensitive and not extractable. A copy of it exists only if the token's own \
                tools make one: without the token, and without an escrow, nothing in the key store can be opened. Asks \
                for the token's user PIN.
                """)

        @Option(help: "The library that came with the token.", completion: .file())
        var module: String
        @Option(help: "Label of the token.")
        var token: String
        @Option(help: "Label of the new key.")
        var key = "kms-master-key"
        @OptionGroup var pin: PassphraseOptions
        @OptionGroup var output: KeyOutput

        func run() throws {
            try reporting {
                let pin = SymmetricKey(try pin.passphrase(for: "the token \(token) (its user PIN)"))
                let made = try TokenKey.create(.init(module: module, token: token, key: key), pin: pin)
                output.show(
                    made.fingerprint, file: "\(token)/\(key)",
                    """
                    A new master key lies in the token \(token) as \(key), fingerprint \(made.fingerprint).
                    Next:
                      1. Copy the token with its own tools to a second one, and keep that elsewhere.
                      2. Name it in the configuration of hds-kms as 'master-key-token' and start the service.
                    """)
            }
        }
    }

    struct Fingerprint: ParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Check a master key, in a file or a hardware token, and print its fingerprint.",
            discussion: """
                The fingerprint tells which key a key store wants without telling anything about the key. A file is \
                judged as the service judges it: owner, mode, form, checksum. For a token give --module and --token; \
                asks for its user PIN.
                """)

        @Argument(help: "The file to read.", completion: .file())
        var file: String?
        @Option(help: "The library that came with the token.", completion: .file())
        var module: String?
        @Option(help: "Label of the token.")
        var token: String?
        @Option(help: "Label of the key in the token.")
        var key = "kms-master-key"
        @OptionGroup var pin: PassphraseOptions
        @OptionGroup var output: KeyOutput

        func validate() throws {
            guard (file != nil) != (token != nil), (token != nil) == (module != nil) else {
                throw ValidationError("give a file, or --module LIBRARY and --token LABEL")
            }
        }

        func run() throws {
            try reporting {
                if let file {
                    let key = try KeyEncryptionKey.load(fromFile: file)
                    return output.show(key.fingerprint, file: file, key.fingerprint)
                }
                guard let module, let token else { return }  // checked by `validate`
                let pin = SymmetricKey(try pin.passphrase(for: "the token \(token) (its user PIN)"))
                let found = try TokenKey(.init(module: module, token: token, key: key), pin: pin)
                output.show(found.fingerprint, file: "\(token)/\(key)", found.fingerprint)
            }
        }
    }
}

/// How the commands of a key answer.
struct KeyOutput: ParsableArguments {
    @Flag(help: "Print one JSON object with the members fingerprint and file.")
    var json = false

    func show(_ fingerprint: String, file: String, _ text: String) {
        guard json else { return print(text) }
        var writer = JSONWriter()
        writer.beginObject()
        writer.member("fingerprint", fingerprint)
        writer.member("file", file)
        writer.endObject()
        print(writer.text())
    }
}
