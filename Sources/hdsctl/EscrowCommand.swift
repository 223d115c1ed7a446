import ArgumentParser
import ControlSocket
import Diagnostics
import Escrow
import Recovery
import SecretMemory
import WireText

/// `hdsctl escrow`: shares in the hands of several people, which recover the keys when the master key is lost.
struct EscrowCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "escrow",
        abstract: "Shares in several hands, which recover all keys when the master key is lost.",
        discussion: """
            hdsctl escrow create --shares 5 --needed 3 --officer-key ada.pem
            hdsctl escrow challenge 2                 (prints a challenge for the holder of share 2)
            hdsctl escrow prove CHALLENGE             (the holder, on a machine of his own; prints an answer)
            hdsctl escrow confirm ANSWER
            hdsctl escrow status
            hdsctl escrow recover BACKUP --to kms.sqlite --new-master-key master.key

            The words are made and shown here, never sent to the service and never written to a disk.
            """,
        subcommands: [Create.self, Status.self, Challenge.self, Prove.self, Confirm.self, Recover.self])

    struct Create: ParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Make shares, show each one alone, and tell the service the public key.",
            discussion: """
                Needs an officer with the duty policy. Each share is shown until its holder has written it down. The \
                service is told only after all were shown; if it refuses, the words are worthless: begin again.
                """)

        @Option(help: "How many shares are made, at most 16.")
        var shares = 5
        @Option(help: "How many of them recover, at least 2.")
        var needed = 3
        @Flag(help: "Replace the present escrow: its shares open only backups made until now.")
        var replace = false
        @Flag(help: "Show each share as a QR code as well, after its words (needs the package qrencode).")
        var qr = false
        @OptionGroup var words: WordsOptions
        @OptionGroup var officer: OfficerOptions
        @Flag(help: "Print one JSON object.")
        var json = false

        func validate() throws {
            guard !qr || words.wordsFD == nil else {
                throw ValidationError("--qr is for a terminal; what reads from --words-fd can make its own")
            }
        }

        func run() throws {
            try reporting {
                if qr { _ = try ShareCode.picture(of: SecretBytes(copying: Array("probe".utf8))) }
                // Before people write down words that nobody can be told about.
                _ = try ControlClient(path: officer.control.socket).ping()
                let arguments = try Self.give(shares, needed: needed, replaces: replace, codes: qr, words)
                guard let answer = try officer.send(Self.command, arguments: arguments) else { return }
                guard !json else { return print(Terminal.plain(answer.rawText)) }
                show([
                    "The escrow \(answer.text("fingerprint")) stands: \(needed) of \(shares) shares recover.",
                    "Next: each holder proves his share (hdsctl escrow challenge NUMBER); until then "
                        + "HDS-MASTERKEY-NOT-ESCROWED stands.",
                ])
            }
        }

        static let command = "escrow-create"

        /// Makes the shares and gives them to their holders; returns what the service is told.
        static func give(
            _ shares: Int, needed: Int, replaces: Bool = false, codes: Bool = false, _ words: WordsOptions
        ) throws -> JSONNode {
            let ceremony = try EscrowCeremony(needed: needed, count: shares)
            try words.give(ceremony.shares, codes: codes)
            var writer = JSONWriter()
            writer.beginObject()
            writer.member("publicKey", Base64URL.encode(ceremony.publicKey.octets))
            writer.member("needed", String(needed))
            writer.member("commitments", ceremony.commitments.map { Base64URL.encode($0.publicKey) })
            if replaces { writer.member("replace", true) }
            writer.endObject()
            return try JSONDocument(writer.bytes()).root
        }
    }

    struct Status: ParsableCommand {
        static let configuration = CommandConfiguration(abstract: "Show who has proved his share, and when.")

        @OptionGroup var question: QuestionOptions

        func run() throws {
            try question.ask("escrow-status") { answer in
                guard answer["escrow"]?.boolean == true else {
                    return print("There is no escrow: if the master key is lost, so is every key.")
                }
                show([
                    "escrow \(answer.text("fingerprint")) of \(answer.text("created")), "
                        + "\(answer.number("needed")) of \(answer.nodes("shares").count) shares recover"
                ])
                let rows = answer.nodes("shares").map { share in
                    [
                        String(share.number("number")), share.text("proved"),
                        share["due"]?.boolean == true ? "a proof is due" : "well",
                    ]
                }
                show(Columns.lines([["SHARE", "PROVED", "STATE"]] + rows))
            }
        }
    }

    struct Challenge: ParsableCommand {
        static let configuration = CommandConfiguration(abstract: "Ask for a challenge for the holder of a share.")

        @Argument(help: "The share's number.")
        var number: Int
        @OptionGroup var control: SocketOptions

        func run() throws {
            try reporting {
                var arguments = ArgumentsWriter()
                arguments.add("number", String(number))
                let answer = try ControlClient(path: control.socket).send(
                    "escrow-challenge", arguments: arguments.node())
                show([answer.text("challenge")])
            }
        }
    }

    struct Prove: ParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Answer a challenge with a share; works offline.",
            discussion:
                "Asks for the share's words without showing them and prints one line, which tells nothing of them.")

        @Argument(help: "The challenge, one line.")
        var challenge: String
        @OptionGroup var words: WordsOptions

        func run() throws {
            try reporting {
                let challenge = try ShareProof.Challenge(text: challenge)
                let share = try words.read("Words of share \(challenge.number): ")
                print(try ShareProof.answer(to: challenge, with: share))
            }
        }
    }

    struct Confirm: ParsableCommand {
        static let configuration = CommandConfiguration(abstract: "Hand a holder's answer to the service.")

        @Argument(help: "The answer, one line.")
        var answer: String
        @OptionGroup var control: SocketOptions

        func run() throws {
            try reporting {
                var arguments = ArgumentsWriter()
                arguments.add("answer", answer)
                let result = try ControlClient(path: control.socket).send(
                    "escrow-confirm", arguments: arguments.node())
                let due = result.nodes("shares").filter { $0["due"]?.boolean == true }.map { $0.number("number") }
                show([
                    "share \(result.number("proved")) is proved",
                    due.isEmpty
                        ? "all shares are proved" : "a proof is due of " + due.map(String.init).joined(separator: ", "),
                ])
            }
        }
    }

    struct Recover: ParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Restore a backup with shares alone, under a new master key; works offline on a bare machine.")

        @Argument(help: "The backup.", completion: .file())
        var file: String
        @Option(
            help: "The backup of the erasable keys, made with this one or later; by default the newest beside it.",
            completion: .file())
        var erasable: String?
        @Option(help: "The new SQLite file of the store.", completion: .file())
        var to: String?
        @Option(
            help: "The configuration of hds-kms: its store, also in PostgreSQL; its master key, also in a token.",
            completion: .file())
        var config: String?
        @Option(help: "The folder for the throw-away store on the way into PostgreSQL.", completion: .directory)
        var scratch = "/tmp"
        @Option(
            help: "A folder with journals of removals; once for each node that has its own.", completion: .directory)
        var journal: [String] = []
        @Option(
            help: "A new master key is made in this new file; without it that of the configuration is taken.",
            completion: .file())
        var newMasterKey: String?
        @OptionGroup var begin: EpochOptions
        @OptionGroup var words: WordsOptions

        func run() throws {
            try reporting {
                let configured = try config.map { try ServiceStore($0) }
                guard let target = to.map({ .file($0) }) ?? configured?.target(scratch: scratch) else {
                    throw DiagnosedError(
                        "usage", fault: .client, "say where the key store goes", expected: "--to FILE or --config FILE")
                }
                let master: Restoring.NewMasterKey
                if let newMasterKey {
                    master = .file(newMasterKey)
                } else if let configured {
                    master = .configured(try configured.masterKey())
                } else {
                    throw DiagnosedError(
                        "usage", fault: .client, "say under which master key the key store is from now on",
                        expected: "--new-master-key FILE, or --config FILE whose master key is there")
                }
                try Restoring(file: file, erasable: erasable, begin: begin).recover(
                    to: target, under: master, words: words, journals: journal)
            }
        }
    }
}
