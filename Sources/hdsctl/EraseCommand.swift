import ArgumentParser
import AuditTrail
import ControlSocket
import Diagnostics
import PolicyFiles
import WireText

/// `hdsctl erase`: destroys keys for ever and hands out a certificate.
struct EraseCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "erase",
        abstract: "Destroy a space's keys, or all that are one person's alone, and take the person out of the rest.",
        discussion: """
            hdsctl erase anna@example.com --dry-run
            hdsctl erase anna@example.com --officer-key ada.pem --request-out request
            hdsctl officer confirm request --officer-key bob.pem --out confirmation
            hdsctl control send request --confirmation confirmation > certificate.json
            hdsctl erase verify certificate.json --key FINGERPRINT

            Needs an officer with the duty erasure, and a second one unless the policy says otherwise. What is held \
            is left as it is. An erasure that was interrupted goes on when it is ordered again.
            """,
        subcommands: [Order.self, Verify.self, Certificate.self], defaultSubcommand: Order.self)

    struct Order: ParsableCommand {
        static let configuration = CommandConfiguration(
            commandName: "order", abstract: "Erase a space or a user; with --dry-run only count.")

        @Argument(help: "A space, as kms://HOST/resources/UUID, or a user's id.")
        var subject: String
        @Flag(help: "Only count what would be destroyed, redacted and left.")
        var dryRun = false
        @Option(
            help:
                "Until when copies of backups elsewhere may hold what is destroyed, if longer than backup.erasable-days."
        )
        var backupsUntil: String?
        @OptionGroup var officer: OfficerOptions
        @Flag(help: "Print JSON (--dry-run).")
        var json = false

        func run() throws {
            try reporting {
                var arguments = ArgumentsWriter()
                arguments.add("subject", subject)
                guard !dryRun else { return try count(try arguments.node()) }
                if let backups = try moment(backupsUntil, "--backups-until") { arguments.add("backupsUntil", backups) }
                guard let answer = try officer.send("erase", arguments: arguments.node()) else { return }
                print(Terminal.plain(answer.rawText))
                announce("this is the certificate: keep it; hdsctl erase verify FILE reads it")
            }
        }

        private func count(_ arguments: JSONNode) throws {
            let answer = try ControlClient(path: officer.control.socket).send("erase-plan", arguments: arguments) {
                announce($0)
            }
            guard !json else { return print(Terminal.plain(answer.rawText)) }
            show(["an erasure now would come to this; nothing is changed"])
            show(EraseCommand.lines(answer["counts"]))
            if answer["needsSecondOfficer"]?.boolean == true { show(["a second officer has to confirm it"]) }
            show(["freeze the user or the space first, so that nothing changes meanwhile"])
        }
    }

    struct Certificate: ParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Print the certificate of the last finished erasure of a subject again.")

        @Argument(help: "The space or the user that was erased.")
        var subject: String
        @OptionGroup var control: SocketOptions

        func run() throws {
            try reporting {
                var arguments = ArgumentsWriter()
                arguments.add("subject", subject)
                let answer = try ControlClient(path: control.socket).send(
                    "erase-certificate", arguments: arguments.node())
                print(Terminal.plain(answer.rawText))
            }
        }
    }

    struct Verify: ParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Check an erasure's certificate and print what it says; asks no service.",
            discussion: "The fingerprint must come by a way of its own, never with the certificate.")

        @Argument(help: "The certificate.", completion: .file())
        var certificate: String
        @OptionGroup var keys: AuditCommand.Keys
        @Flag(help: "Print what was signed, one JSON object.")
        var json = false

        func run() throws {
            try reporting {
                let text = String(
                    decoding: try OwnFile.read(certificate, upTo: ErasureCertificate.maximumBytes), as: UTF8.self)
                let (it, key) = try ErasureCertificate.verify(file: text, trust: try keys.trust)
                guard !json else { return print(String(decoding: it.json(), as: UTF8.self)) }
                show([
                    "genuine: signed by the attestation key \(key)",
                    "erasure \(it.id) of the \(it.kind) \(it.subject), by \(it.host), node \(it.node)",
                    "ordered by \(it.officers.joined(separator: ", confirmed by ")), request \(it.request)",
                    "begun \(it.begun), finished \(it.finished)",
                ])
                show(Columns.lines(it.counts.all.map { ["  \($0.name)", String($0.count)] }))
                show(["objects (\(it.objects.count) named; digest over all: \(it.digest))"])
                show(it.objects.map { "  \($0)" })
                show(["the last backup that opens what was destroyed expires \(it.backupsUntil)"])
                show(["what stays"] + it.stays.map { "  \($0)" })
                show(["what is out of reach"] + it.outOfReach.map { "  \($0)" })
            }
        }
    }

    fileprivate static func lines(_ counts: JSONNode?) -> [String] {
        let words = [
            ("spacesDestroyed", "spaces destroyed"), ("keysDestroyed", "keys destroyed with them"),
            ("authorizationsDestroyed", "entries on their lists"), ("unboundKeysDestroyed", "unbound keys destroyed"),
            ("sessionsEnded", "sessions ended"), ("spacesRedacted", "spaces that others read, redacted"),
            ("authorizationsRedacted", "entries redacted there"), ("keysRedacted", "keys whose maker is redacted"),
            ("spacesHeld", "spaces held, left as they are"),
        ]
        return Columns.lines(words.map { ["  \(counts?.number($0.0) ?? 0)", $0.1] })
    }
}

/// `hdsctl hold`: keeps spaces from being erased.
struct HoldCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "hold",
        abstract: "Keep spaces from being erased, by anybody and by the end of their time as tombstones.",
        discussion: "Adding and removing need an officer with the duty compliance.",
        subcommands: [Add.self, Remove.self, List.self])

    struct Add: ParsableCommand {
        static let configuration = CommandConfiguration(abstract: "Hold a space.")

        @Argument(help: "The space, as kms://HOST/resources/UUID.")
        var space: String
        @Option(help: "Why, such as the name of a matter.")
        var reason: String
        @OptionGroup var officer: OfficerOptions

        func run() throws {
            try reporting {
                var arguments = ArgumentsWriter()
                arguments.add("space", space)
                arguments.add("reason", reason)
                guard let answer = try officer.send("hold-add", arguments: arguments.node()) else { return }
                show(["held: \(answer.text("space"))"])
            }
        }
    }

    struct Remove: ParsableCommand {
        static let configuration = CommandConfiguration(abstract: "End the hold of a space.")

        @Argument(help: "The space, as kms://HOST/resources/UUID.")
        var space: String
        @OptionGroup var officer: OfficerOptions

        func run() throws {
            try reporting {
                var arguments = ArgumentsWriter()
                arguments.add("space", space)
                guard let answer = try officer.send("hold-remove", arguments: arguments.node()) else { return }
                show(["not held any more: \(answer.text("space"))"])
            }
        }
    }

    struct List: ParsableCommand {
        static let configuration = CommandConfiguration(abstract: "Show what is held, and why.")

        @OptionGroup var question: QuestionOptions

        func run() throws {
            try question.ask("hold-list") { answer in
                let rows = answer.nodes("holds").map { [$0.text("space"), $0.text("reason")] }
                show(rows.isEmpty ? ["nothing is held"] : Columns.lines([["SPACE", "REASON"]] + rows))
            }
        }
    }
}
