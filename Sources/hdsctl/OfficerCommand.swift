import ArgumentParser
import Cryptography
import Diagnostics
import JOSESignature
import PolicyFiles
import SignedPolicy
import WireText

/// `hdsctl officer`: the keys of the people whose signatures count.
struct OfficerCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "officer",
        abstract: "Make officers' keys, and confirm what another officer asks for.",
        discussion: """
            An officer signs the policy, or requests such as a freeze or an erasure. The private key stays with the \
            officer, encrypted under a passphrase. What the KMS gets is the public key: it is entered by hand into the \
            file of officers that the KMS's configuration names.
            """,
        subcommands: [Create.self, Show.self, Confirm.self])

    struct Create: ParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Write a new officer's key to a new file of mode 0600.",
            discussion: """
                Prints the entry for the file of officers and the key's fingerprint. Whoever enters it compares the \
                fingerprint with the officer in person, and decides about the duties: \
                policy, freeze, erasure, four-eyes, compliance, cluster.
                """)

        @Argument(help: "The file to make.", completion: .file())
        var file: String
        @Option(help: "The officer's id: lower-case letters, digits and hyphens.")
        var id: String
        @Option(help: "The officer's name.")
        var name: String?
        @Option(parsing: .upToNextOption, help: "Duties for the entry.")
        var duty: [String] = []
        @OptionGroup var secret: PassphraseOptions

        func run() throws {
            try reporting {
                let duties = try OfficerCommand.duties(duty)
                let probe = try PrivateKey.generateP256().publicKey
                // Refuse what can not be enrolled before a key lies on the disk.
                _ = try Officer(id: id, name: name ?? id, publicKey: probe, duties: duties)
                let key = try OfficerKeyFile.create(file, passphrase: try secret.newPassphrase(for: file))
                OfficerCommand.show(
                    try Officer(id: id, name: name ?? id, publicKey: key.publicKey, duties: duties))
            }
        }
    }

    struct Show: ParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Open an officer's key and print its public half and its fingerprint.")

        @Argument(help: "The officer's key.", completion: .file())
        var file: String
        @Option(help: "The officer's id.")
        var id = "officer"
        @Option(help: "The officer's name.")
        var name: String?
        @OptionGroup var secret: PassphraseOptions

        func run() throws {
            try reporting {
                let key = try OfficerKeyFile.open(file, passphrase: try secret.passphrase(for: file))
                OfficerCommand.show(try Officer(id: id, name: name ?? id, publicKey: key.publicKey, duties: []))
            }
        }
    }

    struct Confirm: ParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Confirm, as the second officer, a request that another officer signed.",
            discussion: """
                Shows what is confirmed and writes the confirmation to a new file. Both are sent together: \
                hdsctl control send REQUEST --confirmation FILE. A request lives five minutes.
                """)

        @Argument(help: "The request, as --request-out wrote it.", completion: .file())
        var request: String
        @Option(help: "Your own officer's key.", completion: .file())
        var officerKey: String
        @Option(help: "The file to write the confirmation to.", completion: .file())
        var out: String
        @OptionGroup var secret: PassphraseOptions

        func run() throws {
            try reporting {
                let file = try RequestFile(path: request)
                let asked = try OfficerRequest.unverified(file.signature)
                for line in try RequestFile.sentences(asked) { print(Terminal.plain(line)) }
                let key = try OfficerKeyFile.open(officerKey, passphrase: try secret.passphrase(for: officerKey))
                let payload = OfficerRequest.confirmation(of: file.signature, host: asked.host, issued: .now())
                let confirmation = try OfficerSignature.sign(payload, as: .confirmation, with: key)
                try OwnFile.write(Array((confirmation + "\n").utf8), toNew: out)
                print("The confirmation lies in \(out).")
            }
        }
    }

    fileprivate static func duties(_ words: [String]) throws(DiagnosedError) -> Set<Officer.Duty> {
        var duties: Set<Officer.Duty> = []
        for word in words {
            guard let duty = Officer.Duty(rawValue: word) else {
                throw DiagnosedError(
                    .officersMalformed, fault: .client, "there is no such duty",
                    expected: Officer.Duty.allCases.map(\.rawValue).joined(separator: ", "),
                    found: word.quotedForError)
            }
            duties.insert(duty)
        }
        return duties
    }

    /// The entry goes to standard output alone, so that it can be put into a file.
    fileprivate static func show(_ officer: Officer) {
        var json = JSONWriter()
        officer.write(to: &json)
        print(json.text())
        announce("fingerprint \(officer.kid)")
    }
}
