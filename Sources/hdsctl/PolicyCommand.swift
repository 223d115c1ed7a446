import ArgumentParser
import ControlSocket
import Diagnostics
import PolicyFiles
import SignedPolicy
import WireText

/// `hdsctl policy`: who but the members may get keys.
struct PolicyCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "policy",
        abstract: "Sign, check and compare policies.",
        discussion: """
            A policy is written as YAML (docs/policy.md shows one), signed by one or two officers, and given to every \
            node as the same file. The KMS takes it on reload, and never one that is older than it has seen.
            """,
        subcommands: [Sign.self, Check.self, Diff.self, Show.self])

    struct Sign: ParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Check a policy and sign it.",
            discussion: "Writes POLICY.signed beside it, or what --out names. A second officer signs with --append.")

        @Argument(help: "The policy as YAML or JSON.", completion: .file())
        var policy: String
        @Option(help: "The officer's key.", completion: .file())
        var key: String
        @Option(help: "The signed file.", completion: .file())
        var out: String?
        @Flag(help: "Put this signature below those that stand in the signed file.")
        var append = false
        @OptionGroup var secret: PassphraseOptions

        func run() throws {
            try reporting {
                let target = out ?? PolicyCommand.signedName(of: policy)
                let draft = try PolicySigning.Draft(file: policy)
                for line in PolicySentences.sentences(draft.policy, now: .now()) { print(line) }
                let key = try OfficerKeyFile.open(key, passphrase: try secret.passphrase(for: key))
                try PolicySigning.sign(draft, into: target, with: key, appending: append)
                print("Version \(draft.policy.version) is signed in \(target).")
            }
        }
    }

    struct Check: ParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Check a policy and say in sentences what it allows.",
            discussion: """
                A signed file is checked as the KMS checks it, with the file of officers of its configuration. A file \
                in YAML is checked without signatures.
                """)

        @Argument(help: "The policy, signed or in YAML.", completion: .file())
        var file: String
        @Option(help: "The file of enrolled officers.", completion: .file())
        var officers: String?
        @Option(help: "How many officers have to have signed.")
        var signatures = 1

        func run() throws {
            try reporting {
                var (policy, text, isSigned) = try PolicySigning.read(file)
                if isSigned {
                    guard let officers else {
                        throw DiagnosedError(
                            .officersMalformed, fault: .client, "the signatures can not be checked",
                            expected: "the file of enrolled officers", hint: "give --officers FILE")
                    }
                    let roster = try OfficerRoster(
                        json: try OwnFile.read(officers, upTo: OfficerRoster.maximumBytes))
                    let signed = try SignedPolicyText.verify(text, by: roster, signaturesNeeded: signatures)
                    policy = signed.policy
                    print("Signed by \(signed.signers.map { "\($0.name) (\($0.id))" }.joined(separator: " and ")).")
                } else {
                    print("This policy is not signed.")
                }
                for line in PolicySentences.sentences(policy, now: .now()) { print(line) }
                print("Its digest is \(Hexadecimal.encode(policy.digest)).")
            }
        }
    }

    struct Diff: ParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Say what a new policy widens and what it narrows.",
            discussion: "Signatures are not checked. Exit code 0 when nothing is widened, 1 when something is.")

        @Argument(help: "The policy in force.", completion: .file())
        var old: String
        @Argument(help: "The new policy.", completion: .file())
        var new: String

        func run() throws {
            var widens = false
            try reporting {
                let changes = PolicyDifference.changes(
                    from: try PolicySigning.read(old).policy, to: try PolicySigning.read(new).policy)
                if changes.isEmpty { print("Nothing that anybody may has changed.") }
                for change in changes { print("\(change.effect.rawValue) \(change.path): \(change.sentence)") }
                widens = changes.contains { $0.effect == .widens }
            }
            if widens { throw ExitCode(1) }
        }
    }

    struct Show: ParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Say in sentences what the policy of the running KMS allows.")

        @OptionGroup var control: SocketOptions

        func run() throws {
            try reporting {
                let empty = try JSONDocument(text: "{}").root
                let answer = try ControlClient(path: control.socket).send("policy", arguments: empty)
                for line in answer["sentences"]?.elements ?? [] { print(Terminal.plain(line.string ?? "")) }
            }
        }
    }

    /// `policy.yaml` is signed into `policy.signed`.
    private static func signedName(of path: String) -> String {
        for ending in [".yaml", ".yml", ".json"] where path.hasSuffix(ending) {
            return path.dropLast(ending.count) + ".signed"
        }
        return path + ".signed"
    }
}
