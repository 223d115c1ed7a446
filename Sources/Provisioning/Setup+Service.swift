import ControlSocket
import Cryptography
import Diagnostics
import Glibc
import KMSService
import MasterKey
import SecretMemory
import ServiceRuntime
import WireText

// The steps around the running service: the cluster that it joins, its start, the escrow of its keys.
extension Setup {
    // MARK: Node

    /// A node of a cluster that is there: by a one-time code, and an officer's word on one of its nodes.
    func node(_ configuration: KMSServiceConfiguration) async {
        guard configuration.store.file == nil else {
            if options.joins {
                note(
                    SetupLine(
                        "node", .missing, "a key store in a file is for one node",
                        fix: "name the cluster's database in store.postgresql"))
            }
            return
        }
        // Opening the database brings its tables to this release: of a node that works that is its own affair.
        guard !isRunning else { return }
        do {
            let credentials = Credentials.ofAdministrator(places.unit)
            let joining = try NodeJoining(configuration, credentials)
            let key = try secrets.open(.masterKey).withUnsafeBytes {
                try KeyEncryptionKey(text: $0, path: "the master key")
            }
            switch try await joining.standing(masterKey: key) {
            case .empty:
                guard !options.joins else {
                    return note(
                        SetupLine(
                            "node", .missing, "the database has no keys yet: there is no cluster to join",
                            fix: "set up its first node without --join"))
                }
                note(SetupLine("node", .there, "\(configuration.node) is the first one"))
            case .known: note(SetupLine("node", .there, "\(configuration.node) opens the keys of the cluster"))
            case .stranger: try await join(joining, configuration)
            }
        } catch {
            note(SetupLine("node", missing: error))
        }
    }

    private func join(_ joining: NodeJoining, _ configuration: KMSServiceConfiguration) async throws {
        let name = configuration.node
        let approve =
            "on a node that is there: hdsctl node approve \(name) \(joining.fingerprint) --officer-key FILE; then hdsctl "
            + "setup --join here again"
        let asked = places.state + "/join-asked"
        if PlacedFile.exists(asked), !options.hasInvitation {
            return note(SetupLine("node", .missing, "\(name) waits for an officer's word", fix: approve))
        }
        guard options.joins, let code = try answer(.invitation(node: name)) else {
            return note(
                SetupLine(
                    "node", .missing, "the database belongs to a cluster, and \(name) is no node of it",
                    fix: "on a node that is there: hdsctl node invite \(name); then hdsctl setup --join here"))
        }
        let outcome = try await joining.run(code: code, patience: .seconds(60))
        let own = try configuration.staticKey.certificate.certificates()[0].spkiSHA256
        guard outcome.cluster == ClusterFingerprint.text(own) else {
            return note(
                SetupLine(
                    "node", .missing, "the cluster has another static key than this machine",
                    fix: "bring the cluster's own; a node of the cluster shows \(outcome.cluster)"))
        }
        // So that the next run does not ask for a code again.
        if !PlacedFile.exists(asked) {
            try PlacedFile.place(asked, mode: 0o600, owner: owner, text: outcome.fingerprint + "\n")
        }
        note(
            SetupLine(
                "node", .missing,
                "\(name) has the key \(outcome.fingerprint) and waits for an officer's word; the cluster is "
                    + outcome.cluster, fix: approve))
    }

    // MARK: Escrow

    /// When the service runs: with the officer at hand the ceremony, else what to do.
    func escrow(_ ceremony: ((EscrowAnswers) throws -> Void)?) {
        guard let wanted = answers.escrow else { return }
        do {
            let status = try ControlClient(path: places.socket).send(
                "escrow-status", arguments: try JSONDocument(text: "{}").root)
            if status["escrow"]?.boolean == true {
                return note(SetupLine("escrow", .there, status["fingerprint"]?.string ?? "there is one"))
            }
            guard let ceremony else {
                return note(
                    SetupLine(
                        "escrow", .missing, "shares in several hands, without which a lost master key is the end",
                        fix: "hdsctl setup --officer-key FILE in a terminal, or hdsctl escrow create --shares "
                            + "\(wanted.shares) --needed \(wanted.needed) --officer-key FILE"))
            }
            try ceremony(wanted)
            note(
                SetupLine(
                    "escrow", .made,
                    "\(wanted.needed) of \(wanted.shares) shares recover; each holder proves his: hdsctl "
                        + "escrow challenge NUMBER"))
        } catch {
            note(SetupLine("escrow", missing: error))
        }
    }
}

/// Starts the services by systemd.
enum ServiceStart {
    private static let program = "/usr/bin/systemctl"

    static func units(_ places: SetupPlaces) -> [String] {
        var units = ["hds.target", "hds-kms.service", "hds-doctor.timer"]
        if PlacedFile.exists(places.folder + "/hds-auth.yaml") { units.insert("hds-auth.service", at: 1) }
        return units
    }

    static func start(_ places: SetupPlaces) throws -> SetupLine {
        _ = try systemctl(["daemon-reload"])
        let units = units(places)
        _ = try systemctl(["enable", "--quiet"] + units)
        // Returns when the service says that it is ready; one that ends says why in its status.
        do throws(DiagnosedError) {
            _ = try systemctl(["start"] + units)
        } catch {
            let status = try? systemctl(["show", "-P", "StatusText", "hds-kms.service"])
            let reason = status?.split(whereSeparator: \.isNewline).first.map(String.init)
            throw DiagnosedError(
                error.code, fault: error.fault, "hds-kms does not start", found: reason ?? error.found, hint: error.hint
            )
        }
        return SetupLine("start", .made, "\(units.joined(separator: ", ")) enabled and started")
    }

    private static func systemctl(_ words: [String]) throws(DiagnosedError) -> String {
        guard let ending = OtherProgram.run(program, words, limit: .seconds(120)) else {
            throw DiagnosedError(
                "setup-start", fault: .configuration, "there is no \(program)", hint: "start hds-kms by hand")
        }
        guard ending.code == 0 else {
            throw DiagnosedError(
                "setup-start", fault: .peer, "systemctl \(words.joined(separator: " ")) failed", found: ending.lastLine,
                hint: "journalctl -u hds-kms -n 50 says why; then hdsctl setup again")
        }
        return ending.text
    }
}
