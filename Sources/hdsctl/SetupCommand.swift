import ArgumentParser
import ControlSocket
import Diagnostics
import Glibc
import PolicyFiles
import Provisioning
import SecretMemory
import ServiceRuntime
import WireText

/// `hdsctl setup`: from installed packages to a running KMS, or to what is missing for it.
struct SetupCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "setup",
        abstract:
            "Set up hds-kms on this machine: keys, credentials, certificate, configuration, escrow; then start it.",
        discussion: """
            hdsctl setup                              (asks in the terminal; the answers are kept in /etc/hds/setup.yaml)
            hdsctl setup --answers FILE               (docs/installation.md, every key in config/setup.example.yaml)
            hdsctl setup --chain FILE                 (again, when the certificate was signed)
            hdsctl setup --answers FILE --join        (a further node of a cluster that is there)

            What is there is never written over: a second run changes nothing, and one that was cut off is given again.

            Exit codes: 0 ready, or prepared with --no-start or --dry-run; 75 something is missing, which it says with what \
            to do; 78 the answers are refused by path and line.
            """)

    @Option(
        help: "What setup has to know, a YAML file; without it that of the last run, or the terminal.",
        completion: .file())
    var answers: String?
    @Option(help: "The signed certificate of the static key with its intermediate ones, PEM.", completion: .file())
    var chain: String?
    @Flag(help: "Join a cluster that is there, by a one-time code of hdsctl node invite.")
    var join = false
    @Option(
        help: "Read the one-time code from the first line of this file of mode 0600; else the terminal is asked.",
        completion: .file())
    var codeFile: String?
    @Option(help: "The officer's key that signs the escrow, with the duty policy.", completion: .file())
    var officerKey: String?
    @OptionGroup var secret: PassphraseOptions
    @OptionGroup var words: WordsOptions
    @Flag(help: "Say what would be done, and do nothing.")
    var dryRun = false
    @Flag(help: "Make everything and start nothing.")
    var noStart = false
    @Option(
        help: "Work below this folder instead of /: a trial without systemd, secrets in files.", completion: .directory)
    var root = ""
    @Option(help: "The template of the configuration, config/hds-kms.yaml of this release.", completion: .file())
    var template: String?
    @Flag(help: "Print one JSON object at the end instead of lines.")
    var json = false

    func run() throws {
        var end = SetupEnd.missing
        try reporting {
            let places = SetupPlaces(root: root.isEmpty ? "" : FileLocation.absolute(root))
            let file = try answersFile(places)
            let answers = try Self.read(file)
            var options = Setup.Options()
            options.isDryRun = dryRun
            options.joins = join
            options.hasInvitation = codeFile != nil
            options.starts = !noStart
            options.chain = chain.map { FileLocation(FileLocation.absolute($0)) }
            options.template = template
            let setup = try Setup(answers, places, options, ask: { try ask($0) }) { line in
                if !json { show(Self.lines(line)) }
            }
            // Handed to the thread that works on it, while this one only waits for that.
            nonisolated(unsafe) let work = (setup: setup, ceremony: ceremony(places))
            end = try waiting { try await work.setup.run(escrow: work.ceremony) }
            if json { print(Self.json(end, setup.lines)) } else { show([Self.sentence(end, setup.lines)]) }
        }
        if end == .missing { throw ExitCode(EX_TEMPFAIL) }
    }

    // MARK: Answers

    private func answersFile(_ places: SetupPlaces) throws -> String {
        if let answers { return answers }
        let kept = places.folder + "/setup.yaml"
        if access(kept, F_OK) == 0 { return kept }
        let text = try SetupQuestions.ask()
        guard !dryRun else {
            let file = "/tmp/hds-setup-\(UUIDText.random()).yaml"
            try OwnFile.write(Array(text.utf8), toNew: file)
            announce("the answers lie in \(file)")
            return file
        }
        try PlacedFile.folder(places.folder, mode: 0o755)
        try PlacedFile.place(kept, mode: 0o600, text: text)
        announce("the answers lie in \(kept), to be changed and given again")
        return kept
    }

    private static func read(_ file: String) throws(DiagnosedError) -> SetupAnswers {
        do {
            return try ConfigurationFile.read(file)
        } catch {
            throw error.diagnosed
        }
    }

    private func ask(_ question: Setup.Question) throws -> SecretBytes? {
        let prompt: String
        switch question {
        case .clientSecret(let id): prompt = "Secret of the account \(id) at the authorization service: "
        case .containerPassphrase(let file): prompt = "Passphrase of \(file): "
        case .invitation(let node):
            if let codeFile { return try OfficerKeyFile.passphrase(inFile: codeFile) }
            prompt = "One-time code for \(node): "
        }
        guard isatty(STDIN_FILENO) == 1 else { return nil }
        return try Terminal.secret(prompt)
    }

    // MARK: Escrow

    private func ceremony(_ places: SetupPlaces) -> ((EscrowAnswers) throws -> Void)? {
        guard let officerKey else { return nil }
        let (words, secret, socket) = (words, secret, places.socket)
        return { wanted in
            let key = try OfficerKeyFile.open(officerKey, passphrase: try secret.passphrase(for: officerKey))
            let client = try ControlClient(path: socket)
            let arguments = try EscrowCommand.Create.give(wanted.shares, needed: wanted.needed, words)
            let signature = try OfficerOptions.signature(
                of: EscrowCommand.Create.command, arguments, with: key, for: client)
            _ = try client.send(EscrowCommand.Create.command, arguments: arguments, signature: signature)
        }
    }

    // MARK: What it says

    static func lines(_ line: SetupLine) -> [String] {
        let word =
            switch line.state {
            case .there: "ok"
            case .made: "made"
            case .would: "would"
            case .warn: "warn"
            case .missing: "MISSING"
            }
        return ["\(word)  \(line.step): \(line.text)"] + (line.fix.map { ["      to do: \($0)"] } ?? [])
    }

    static func sentence(_ end: SetupEnd, _ lines: [SetupLine]) -> String {
        switch end {
        case .ready: return "ready"
        case .prepared:
            return lines.contains { $0.state == .would } ? "nothing was done" : "prepared; nothing was started"
        case .missing:
            let missing = lines.filter { $0.state == .missing }
            return
                "not ready: \(missing.count == 1 ? "one thing is" : "\(missing.count) things are") missing; do what is "
                + "said above, then give the same command again"
        }
    }

    static func json(_ end: SetupEnd, _ lines: [SetupLine]) -> String {
        var json = JSONWriter()
        json.beginObject()
        json.member("end", end.rawValue)
        json.name("steps")
        json.beginArray()
        for line in lines { line.write(to: &json) }
        json.endArray()
        json.endObject()
        return Terminal.plain(json.text())
    }
}
