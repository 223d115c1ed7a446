import ControlSocket
import Cryptography
package import Diagnostics
import Glibc
import KMSService
import MasterKey
package import SecretMemory
package import ServiceRuntime
import WireText

/// Makes an installation of hds-kms from its answers, or says what is missing (docs/installation.md).
///
/// Rules:
/// 1. Each step looks first. What is there stays as it is: no key, certificate or configuration is ever written over, and a
///    second run changes nothing.
/// 2. What is made is made beside its place and moved there whole (`PlacedFile`). A run that is cut off at any moment is
///    simply given again.
/// 3. Steps that need nothing of each other go on when one has to wait, so that one run tells all that is missing.
/// 4. Nothing starts before everything is there and the doctor has found nothing in the way.
package final class Setup {
    /// A secret that no file of the answers has.
    package enum Question: Sendable {
        case clientSecret(clientID: String)
        case containerPassphrase(file: String)
        /// Of `hdsctl node invite`.
        case invitation(node: String)
    }

    package struct Options: Sendable {
        package var isDryRun = false
        /// A further node of a cluster that is there.
        package var joins = false
        /// A new one-time code is at hand, though one was used before.
        package var hasInvitation = false
        package var starts = true
        /// The certificate chain, for the run after the request was signed.
        package var chain: FileLocation?
        package var template: String?

        package init() {}
    }

    let answers: SetupAnswers
    let places: SetupPlaces
    let options: Options
    let secrets: SecretPlace
    /// Nil where nobody can be asked.
    private let ask: (Question) throws -> SecretBytes?
    private let tell: (SetupLine) -> Void
    package private(set) var lines: [SetupLine] = []
    private var container: KeyContainer?
    /// Who runs the service.
    let owner: uid_t?

    package init(
        _ answers: SetupAnswers, _ places: SetupPlaces, _ options: Options,
        ask: @escaping (Question) throws -> SecretBytes?, tell: @escaping (SetupLine) -> Void
    ) throws(DiagnosedError) {
        (self.answers, self.places, self.options, self.ask, self.tell) = (answers, places, options, ask, tell)
        secrets = try SecretPlace(places, answers.masterKey.keeping)
        owner = places.isMachine ? places.unit.userID : nil
        guard !places.isMachine || geteuid() == 0 else {
            throw DiagnosedError(
                .setupFile, fault: .configuration, "an installation is made by root", expected: "root",
                found: "user \(geteuid())", hint: "sudo hdsctl setup; or --root DIR for a trial")
        }
        guard !places.isMachine || owner != nil else {
            throw DiagnosedError(
                .setupFile, fault: .configuration, "the service is not installed on this machine",
                expected: "hds-kms.service with its user", hint: "apt install ./hds-common_*.deb ./hds-appliance_*.deb")
        }
    }

    var isMissing: Bool { lines.contains { $0.state == .missing } }

    func note(_ line: SetupLine) {
        lines.append(line)
        tell(line)
    }

    /// Does `make` where `found` tells of nothing; what goes wrong is missing, and the other steps go on.
    func step(_ name: String, found: String?, would: String, _ make: () throws -> SetupLine) {
        if let found { return note(SetupLine(name, .there, found)) }
        guard !options.isDryRun else { return note(SetupLine(name, .would, would)) }
        do {
            note(try make())
        } catch {
            note(SetupLine(name, missing: error))
        }
    }

    // MARK: All of it

    /// Everything up to the start of the service. Two runs at once would only be in each other's way: the second is refused.
    package func run(escrow: ((EscrowAnswers) throws -> Void)?) async throws -> SetupEnd {
        let lock = try prepareFolders()
        defer { if lock >= 0 { close(lock) } }
        makeKeys()
        makeFiles()
        guard !options.isDryRun else { return isMissing ? .missing : .prepared }
        guard !isMissing else { return .missing }
        let configuration: KMSServiceConfiguration
        do {
            configuration = try ConfigurationFile.read(places.configuration)
        } catch {
            note(SetupLine("configuration", missing: error.diagnosed))
            return .missing
        }
        await node(configuration)
        guard !isMissing else { return .missing }
        return try await serve(escrow)
    }

    private func makeKeys() {
        masterKey()
        staticKey()
        certificate()
        clientSecret()
        otherSecrets()
    }

    private func makeFiles() {
        copies()
        configuration()
        unit()
    }

    private func serve(
        _ escrow: ((EscrowAnswers) throws -> Void)?
    ) async throws -> SetupEnd {
        guard options.starts, places.hasSystemd || isRunning else {
            await examine()
            let units = ServiceStart.units(places).joined(separator: " ")
            note(
                SetupLine(
                    "start", .warn, "not started",
                    fix: places.isMachine
                        ? "systemctl enable --now \(units)" : "hds-kms --config \(places.configuration)"))
            return isMissing ? .missing : .prepared
        }
        if !isRunning {
            await examine()
            guard !isMissing else { return .missing }
            do {
                note(try ServiceStart.start(places))
            } catch {
                note(SetupLine("start", missing: error))
                return .missing
            }
        } else {
            note(SetupLine("start", .there, "hds-kms runs"))
        }
        self.escrow(escrow)
        await examine()
        return isMissing ? .missing : .ready
    }

    var isRunning: Bool { (try? ControlClient(path: places.socket, timeout: 5000).ping()) != nil }

    /// What the doctor finds in the way is missing; the rest it tells when it is asked.
    private func examine() async {
        let report = await Doctor(.init(configuration: places.configuration, root: places.root)).examine()
        for check in report.failed {
            note(SetupLine("doctor", .missing, "\(check.id): \(check.detail)", fix: check.fix))
        }
        let warnings = report.checks.filter { $0.result == .warn }.map(\.id)
        if report.failed.isEmpty {
            note(
                SetupLine(
                    "doctor", warnings.isEmpty ? .there : .warn,
                    warnings.isEmpty
                        ? "\(report.checks.count) checks pass"
                        : "nothing is in the way; to be thought about: \(warnings.joined(separator: ", "))",
                    fix: warnings.isEmpty ? nil : "hdsctl doctor says what to do"))
        }
    }

    // MARK: Folders

    /// The lock on the installation's folder; -1 in a dry run, which makes none.
    private func prepareFolders() throws(DiagnosedError) -> Int32 {
        let wanted: [(String, mode_t, uid_t?)] = [
            (places.folder, 0o755, nil), (places.credentials, 0o700, nil), (places.state, 0o700, owner),
        ]
        for (path, mode, owner) in wanted where !PlacedFile.exists(path) {
            guard !options.isDryRun else {
                note(SetupLine("folders", .would, "would make \(path)"))
                continue
            }
            try PlacedFile.folder(path, mode: mode, owner: owner)
            note(SetupLine("folders", .made, path))
        }
        if !places.isMachine, !options.isDryRun { try PlacedFile.folder(places.runtime, mode: 0o750) }
        if let backup = answers.backup?.path, !PlacedFile.exists(backup), !options.isDryRun {
            try PlacedFile.folder(backup, mode: 0o700, owner: owner)
            note(SetupLine("folders", .made, backup))
        }
        guard !options.isDryRun else { return -1 }
        let lock = open(places.folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC)
        guard lock >= 0, flock(lock, LOCK_EX | LOCK_NB) == 0 else {
            if lock >= 0 { close(lock) }
            throw DiagnosedError(
                .setupFile, fault: .configuration, "another setup is at work in \(places.folder)",
                hint: "wait for its end, then run it again")
        }
        // What a run that was cut off has left beside its places.
        for folder in [places.folder, places.credentials, places.state, places.dropIn.folder] {
            for name in FolderListing.names(in: folder) where name.hasSuffix(".setup") { unlink("\(folder)/\(name)") }
        }
        return lock
    }

    // MARK: What the steps share

    func answer(_ question: Question) throws -> SecretBytes? { try ask(question) }

    /// Key and chain from the administrator's PKCS#12 file, opened once.
    func opened(_ file: FileLocation) throws -> KeyContainer {
        if let container { return container }
        let octets = try file.octets(upTo: KeyContainer.maximumBytes)
        let passphrase: SecretBytes
        if let place = answers.certificate.passphrase {
            passphrase = try Self.line(of: place)
        } else if let asked = try answer(.containerPassphrase(file: file.path)) {
            passphrase = asked
        } else {
            throw DiagnosedError(
                .setupFile, fault: .configuration, "\(file) needs its passphrase",
                hint: "set certificate.pkcs12-passphrase to a file of mode 0600, or run setup in a terminal")
        }
        let made = try KeyContainer(pkcs12: octets, passphrase: passphrase)
        container = made
        return made
    }

    /// The first line of a file of mode 0600.
    static func line(of file: FileLocation) throws -> SecretBytes {
        try Credentials(folder: nil).withBytes(of: .file(file)) { bytes in
            SecretBytes(copying: UnsafeRawBufferPointer(rebasing: bytes.prefix { $0 != 0x0A && $0 != 0x0D }))
        }
    }
}
