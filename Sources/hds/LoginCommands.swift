import ArgumentParser
import Diagnostics
import Glibc
import HDSClient
import WireText

struct LoginCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "login",
        abstract: "Log in.",
        discussion: """
            The first login decides what your domain is: take the profile file of your administrator (--profile), or name \
            your authorization server (--server) and compare the fingerprints that are shown. From then on every change \
            of it is refused; --replace-profile with a new file accepts one.
            """)

    @Argument(help: "Your e-mail address.") var email: String
    @Option(help: ArgumentHelp("Profile of your domain, from your administrator.", valueName: "file")) var profile:
        String?
    @Option(help: ArgumentHelp("Authorization server, for a first contact without profile.", valueName: "url"))
    var server: String?
    @Option(help: ArgumentHelp("Certificates that this server may show (default: this machine's).", valueName: "file"))
    var ca: String?
    @Option(help: ArgumentHelp("Certificates that the core may show (default: as --ca).", valueName: "file"))
    var coreCa: String?
    @Option(
        help: ArgumentHelp("SHA-256 of the KMS's root certificate, to confirm it without a question.", valueName: "hex")
    )
    var fingerprint: String?
    @Flag(help: "Accept the given profile in place of the pinned one, and forget session and keys.")
    var replaceProfile = false
    @Option(help: ArgumentHelp("File whose first line is the password; - is standard input.", valueName: "file"))
    var passwordFile: String?
    @Flag(help: "Log in with a browser.") var browser = false
    @OptionGroup var common: CommonOptions

    func run() async throws {
        let login = Login(try common.openStore(), environment: common.environment)
        try await settleProfile(login)
        let account = try await login.logIn(email: email, proof: try proof())
        if common.json {
            var json = JSONWriter()
            json.beginObject()
            json.member("id", account.id)
            json.member("email", account.email)
            json.member("name", account.name)
            json.endObject()
            Terminal.output.line(json.text())
        } else {
            let out = Terminal.output
            out.line(out.styled("Logged in", .green) + " as \(out.clean(account.name)) <\(out.clean(account.email))>.")
        }
    }

    private func proof() throws -> Login.Proof {
        if browser {
            return .browser { url in
                Terminal.error.line("Open this address in a browser of this machine:\n\n  \(url)\n")
            }
        }
        if let passwordFile { return .password(Redacted(try Prompt.secret(file: passwordFile))) }
        guard let password = Prompt.secret("Password of \(email): "), !password.isEmpty else {
            throw DiagnosedError(
                .loginRefused, fault: .client, "no password was given",
                hint: "run it in a terminal, or use --password-file or --browser")
        }
        return .password(Redacted(password))
    }

    private func settleProfile(_ login: Login) async throws {
        if let profile {
            let new = try DomainProfile.read(file: profile)
            if replaceProfile, let pinned = try login.pinnedProfile() { show(DomainPins.differences(pinned, new)) }
            return try login.pin(new, replacing: replaceProfile)
        }
        if try login.pinnedProfile() != nil { return }
        let domain = email.split(separator: "@").last.map(String.init) ?? ""
        let trust = try ServerTrust.read(caFile: ca)
        let candidate: DomainProfile
        do {
            candidate = try await Login.firstContact(
                server: server ?? "https://\(domain)", issuerTrust: trust,
                coreTrust: try coreCa.map { try ServerTrust.read(caFile: $0) } ?? trust, environment: common.environment
            )
        } catch let error as DiagnosedError where server == nil {
            throw DiagnosedError(
                .domainUnconfirmed, fault: .client, "nothing is known of the domain \(domain) yet",
                found: "https://\(domain) does not tell: \(error.summary)",
                hint: "log in with the --profile FILE of your administrator, or with --server URL")
        }
        try confirm(candidate)
        try login.pin(candidate)
    }

    private func confirm(_ candidate: DomainProfile) throws {
        if let fingerprint {
            guard candidate.hasRoot(fingerprint: fingerprint) else {
                throw DiagnosedError(
                    .domainUnconfirmed, fault: .peer, "the KMS's root is not the one that you named",
                    expected: fingerprint, found: candidate.summary.last?.value)
            }
            return
        }
        let out = Terminal.error
        out.line(out.styled("First contact with \(candidate.domain).", .bold) + " This will be believed from now on:\n")
        for (label, value) in candidate.summary {
            let padded = label + String(repeating: " ", count: max(0, 22 - label.count))
            out.line("  " + padded + out.clean(value))
        }
        out.line()
        guard Prompt.confirms("Did you compare this with what your administrator told you? Type yes to go on: ") else {
            throw DiagnosedError(
                .domainUnconfirmed, fault: .client, "the domain was not confirmed", hint: "nothing was sent or kept")
        }
    }

    private func show(_ differences: [DomainPins.Difference]) {
        for difference in differences {
            Terminal.error.line("The \(difference.name) changes from \(difference.pinned) to \(difference.found).")
        }
    }
}

struct LogoutCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "logout", abstract: "End session and login, and forget all keys.")

    @Flag(help: "Remove the whole state, also what is pinned of the domain, even if it can not be read.")
    var forget = false
    @OptionGroup var common: CommonOptions

    func run() async throws {
        let folder = try common.folder
        if forget {
            // As far as it can be read, the servers are told first.
            if let store = try? common.openStore(), let client = try? await Client.connect(store, leaving: true) {
                _ = try? await client.logOut()
            }
            try StateStore.forget(folder: folder)
            return say("Everything is forgotten.")
        }
        let store = try common.openStore()
        do {
            let ended = try await Client.connect(store, environment: common.environment, leaving: true)
                .logOut()
            if let address = ended.providerLogout { say("To sign out at your provider as well, open\n\(address)") }
            for failure in ended.failures { Terminal.error.line("hds: not done: \(failure.summary)") }
        } catch let error as DiagnosedError where error.code == .notLoggedIn {
            return say("You were not logged in.")
        } catch let error as DiagnosedError where error.code == .deviceWiped {
            return say("You were not logged in: this device was wiped (\(error.found ?? "")).")
        } catch let error as DiagnosedError where error.code == .cloudUnavailable {
            try store.update { $0.forgetLogin() }
            Terminal.error.line("hds: the servers were not told: \(error.summary)")
        }
        say("Logged out. Keys and session are forgotten.")
    }

    private func say(_ text: String) {
        if !common.json { Terminal.output.line(text) }
    }
}

struct StatusCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "status", abstract: "Show who is logged in, and what is pinned and kept. Asks no server.")

    @OptionGroup var common: CommonOptions

    func run() async throws {
        let store = try common.openStore()
        let status = ClientStatus(try store.current(), isProtected: store.isProtected, folder: store.folder)
        if common.json {
            Terminal.output.line(status.json())
            return
        }
        for (label, value) in status.lines(now: Timestamp.now()) {
            let padded = label + String(repeating: " ", count: max(0, 22 - label.count))
            Terminal.output.line(Terminal.output.styled(padded, .dim) + Terminal.output.clean(value))
        }
    }
}

struct ProfileCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "profile", abstract: "Show or make the profile of a domain.",
        subcommands: [Show.self, Create.self])

    struct Show: AsyncParsableCommand {
        static let configuration = CommandConfiguration(abstract: "Print the pinned profile as a file for others.")
        @OptionGroup var common: CommonOptions

        func run() async throws {
            guard let profile = try common.openStore().current().profile else {
                throw DiagnosedError(.domainUnconfirmed, fault: .client, "nothing is pinned yet", hint: "log in first")
            }
            Terminal.output.write(profile.fileText)
        }
    }

    struct Create: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Make the profile file of a domain, for its administrator.",
            discussion: """
                Asks the authorization server what it says of its domain and adds which certificates its servers may show.
                """)
        @Option(help: ArgumentHelp("Authorization server.", valueName: "url")) var server: String
        @Option(help: ArgumentHelp("Certificates that it may show (default: any machine's own).", valueName: "file"))
        var ca: String?
        @Option(help: ArgumentHelp("Certificates that the core may show.", valueName: "file")) var coreCa: String?
        @Option(help: ArgumentHelp("Key that must be in the core's path, sha256/BASE64.", valueName: "pin"))
        var corePin: [String] = []
        @Option(help: ArgumentHelp("Where to write it (default: standard output).", valueName: "file"))
        var output: String?

        func run() async throws {
            let profile = try await Login.firstContact(
                server: server, issuerTrust: try ServerTrust.read(caFile: ca),
                coreTrust: try ServerTrust.read(caFile: coreCa, pins: corePin))
            guard let output else { return Terminal.output.write(profile.fileText) }
            try OutputFile.write(profile.fileText, to: output)
        }
    }
}

struct PassphraseCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "passphrase", abstract: "Protect this device's state by a passphrase.",
        subcommands: [Set.self, Remove.self])

    struct Set: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Set or change the passphrase; from then on every command asks for it.")
        @Option(help: ArgumentHelp("File whose first line is the new passphrase.", valueName: "file"))
        var newPassphraseFile: String?
        @OptionGroup var common: CommonOptions

        func run() async throws {
            let store = try common.openStore()
            try store.change(passphrase: Passphrase(try wanted()))
            if !common.json { Terminal.output.line("The state of this device is protected by the passphrase now.") }
        }

        private func wanted() throws -> String {
            if let newPassphraseFile { return try Prompt.secret(file: newPassphraseFile) }
            guard let first = Prompt.secret("New passphrase: "), first.count >= 8 else {
                throw DiagnosedError(
                    .passphraseNeeded, fault: .client, "a passphrase has at least 8 characters",
                    hint: "run it in a terminal, or use --new-passphrase-file")
            }
            guard Prompt.secret("The same again: ") == first else {
                throw DiagnosedError(.passphraseWrong, fault: .client, "the two were not the same", hint: "try again")
            }
            return first
        }
    }

    struct Remove: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Remove the passphrase; the device key then lies in a file of mode 0600.")
        @OptionGroup var common: CommonOptions

        func run() async throws {
            try common.openStore().change(passphrase: nil)
            if !common.json { Terminal.output.line("The state of this device needs no passphrase any more.") }
        }
    }
}
