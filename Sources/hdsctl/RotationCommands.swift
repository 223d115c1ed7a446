import ArgumentParser
import AuditTrail
import ControlSocket
import Diagnostics
import Glibc
import PolicyFiles
import WireText

// `hdsctl master-key generate | stage | promote | status | retire | destroy | undo | change-kek | certificate |
// verify-certificate`: the root key and the key-encryption key of a running KMS.
extension MasterKeyCommand {
    /// One step that needs nothing but the operators' group.
    fileprivate static func take(_ command: String, _ control: SocketOptions) throws {
        let answer = try ControlClient(path: control.socket).send(command, arguments: ArgumentsWriter().node()) {
            announce($0)
        }
        show([answer.text("done")])
    }

    fileprivate static func status(_ control: SocketOptions) throws -> JSONNode {
        try ControlClient(path: control.socket).send("master-key-status", arguments: ArgumentsWriter().node())
    }

    struct Generate: ParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Make a new version of the root key, which seals nothing yet.",
            discussion: """
                hdsctl master-key generate
                hdsctl master-key stage       waits until every node has proved that it can use the new version
                hdsctl master-key promote     seals everything under it from now on, what is there in the background
                hdsctl master-key status      how far that is; the old version retires by itself at the end
                hdsctl master-key certificate > rotation.json
                """)

        @OptionGroup var control: SocketOptions
        func run() throws { try reporting { try take("master-key-generate", control) } }
    }

    struct Promote: ParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Make the new version the active one. Refused while a node has not proved it.")

        @OptionGroup var control: SocketOptions
        func run() throws { try reporting { try take("master-key-promote", control) } }
    }

    struct Retire: ParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Close the old version, if nothing stands under it. Happens by itself as well.")

        @OptionGroup var control: SocketOptions
        func run() throws { try reporting { try take("master-key-retire", control) } }
    }

    struct Undo: ParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Take the last step back: a destruction that is not due, a new version, or a promotion.")

        @OptionGroup var control: SocketOptions
        func run() throws { try reporting { try take("master-key-undo", control) } }
    }

    struct Stage: ParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Wait until every node has loaded the new version and opened a trial record under it.")

        @Option(help: "Give up after so many seconds.")
        var timeout = 60
        @OptionGroup var control: SocketOptions

        func run() throws {
            try reporting {
                for second in 0...max(0, timeout) {
                    let answer = try MasterKeyCommand.status(control)
                    guard let staged = answer.nodes("versions").first(where: { $0.text("state") == "inert" }) else {
                        throw DiagnosedError(
                            "usage", fault: .client, "no new version is there", hint: "hdsctl master-key generate")
                    }
                    let version = staged.number("version")
                    let live = answer.nodes("nodes").filter { $0["live"]?.boolean == true }
                    let missing = live.filter { $0.number("proved") < version }.map { $0.text("node") }
                    if !live.isEmpty && missing.isEmpty {
                        let names = live.map { $0.text("node") }.joined(separator: ", ")
                        return show(["version \(version) is proved by \(names)"])
                    }
                    if second == timeout {
                        throw DiagnosedError(
                            "rotation-refused", fault: .peer, "not every node has proved version \(version)",
                            found: "none of " + missing.joined(separator: ", "),
                            hint: "the log of those nodes says why")
                    }
                    sleep(1)
                }
            }
        }
    }

    struct Status: ParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "The versions of the root key, the nodes, and how far a rotation is.")

        @OptionGroup var control: SocketOptions
        @Flag(help: "Print one JSON object.")
        var json = false

        func run() throws {
            try reporting {
                let answer = try MasterKeyCommand.status(control)
                guard !json else { return print(Terminal.plain(answer.rawText)) }
                show(["key-encryption key \(answer.text("keyEncryptionKey"))"])
                let versions = answer.nodes("versions").map { version in
                    [
                        "\(version.number("version"))", version.text("state"), "\(version.number("values"))",
                        version.text("created"), version.texts("holders").joined(separator: ", "),
                    ]
                }
                show(Columns.lines([["VERSION", "STATE", "VALUES", "MADE", "WRAPPED FOR"]] + versions))
                let nodes = answer.nodes("nodes").map { node in
                    [
                        node.text("node"), "\(node.number("proved"))", node.text("seen"),
                        node["live"]?.boolean == true ? "live" : "gone", node.text("keyEncryptionKey"),
                    ]
                }
                show(Columns.lines([["NODE", "PROVED", "SEEN", "", "MASTER KEY"]] + nodes))
                if let total = answer["total"]?.integer, total > 0 {
                    let left = answer["secondsLeft"]?.integer.map { ", about \($0) s left" } ?? ""
                    show(["sealed again: \(answer.number("done")) of \(total)\(left)"])
                }
                if answer.number("broken") > 0 { show(["\(answer.number("broken")) values do not open"]) }
                if let version = answer["destroys"]?.integer {
                    show(["version \(version) is destroyed at \(answer.text("destroysAt")); undo takes it back"])
                }
                if let reason = answer["destructionWaits"]?.string { show(["it waits: \(reason)"]) }
                if let carried = answer["erasableKeys"] {
                    let left = carried["secondsLeft"]?.integer.map { ", about \($0) s left" } ?? ""
                    show(["keys under erasable keys: \(carried.number("done")) of \(carried.number("total"))\(left)"])
                }
                if let failure = answer["failure"]?.string { show(["failure: \(failure)"]) }
            }
        }
    }

    struct Destroy: ParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Have a retired version destroyed after some days; until then undo takes it back.",
            discussion: """
                root-key.destroy-undo-window says how long that is, seven days by default. Shows first which backups need \
                that version. They keep its wraps: what opens one afterwards is the master key or the shares of then; one \
                that neither the present master key nor the present escrow opens dies with the version, unless somebody \
                kept an old one. Refused without a newer backup that was proved (hdsctl restore FILE --verify).

                Needs an officer with the duty erasure, and a second one unless the policy says otherwise.
                """)

        @Argument(help: "The version.")
        var version: Int64
        @Flag(help: "Only show the backups.")
        var review = false
        @OptionGroup var officer: OfficerOptions

        func run() throws {
            try reporting {
                var arguments = ArgumentsWriter()
                arguments.add("version", String(version))
                try Self.tell(
                    ControlClient(path: officer.control.socket).send(
                        "master-key-destroy-review", arguments: arguments.node()))
                guard !review else { return }
                arguments = ArgumentsWriter()
                arguments.add("version", String(version))
                guard let answer = try officer.send("master-key-destroy", arguments: arguments.node()) else { return }
                show([answer.text("done")])
            }
        }

        private static func tell(_ review: JSONNode) {
            let backups = review.nodes("backups")
            announce(
                backups.isEmpty
                    ? "no backup in the folder needs version \(review.number("version"))"
                    : "backups that need version \(review.number("version")), with what opens them afterwards:")
            let rows = backups.map { backup in
                let present = backup.texts("opensWith")
                let holders =
                    present.isEmpty
                    ? "DIES: only " + backup.texts("openedWith").joined(separator: " or ") + " of then"
                    : present.joined(separator: " or ")
                return ["  " + backup.text("file"), backup.text("created"), holders]
            }
            for line in Columns.lines(rows) { announce(line) }
            if !backups.isEmpty { announce("copies of them that lie elsewhere are not seen from here") }
            if let newer = review["newer"] {
                announce("newer and proved \(newer.text("verified")): \(newer.text("file"))")
            } else if let refusal = review["refusal"]?.string {
                announce(refusal)
            }
        }
    }

    struct ChangeKEK: ParsableCommand {
        static let configuration = CommandConfiguration(
            commandName: "change-kek",
            abstract: "Change the key-encryption key; no record is touched.",
            discussion: """
                hdsctl master-key create /etc/hds/new.key        readable for the service's user
                hdsctl master-key change-kek --to /etc/hds/new.key --officer-key ada.pem
                (name the new key in the configuration of each node and restart the nodes one after the other)
                hdsctl master-key change-kek --finish --officer-key ada.pem

                To a hardware token, whose key hdsctl master-key create-in-token has made:
                hdsctl master-key change-kek --module LIBRARY --token LABEL --pin credential:kms-token-pin \
                  --officer-key ada.pem

                Between the two nodes start with the old and with the new key. --finish is refused while a node works \
                with another key. Needs an officer with the duty erasure, and a second one unless the policy says \
                otherwise: who has the new key can open the root keys.
                """)

        @Option(
            help: "The new key as the service finds it: a file, or credential:NAME for one that systemd gave it.",
            completion: .file())
        var to: String?
        @Option(help: "Label of the token that has the new key.")
        var token: String?
        @Option(help: "The library that came with the token, as the service sees it.", completion: .file())
        var module: String?
        @Option(help: "Label of the new key in the token.")
        var key = "kms-master-key"
        @Option(help: "Where the service finds the token's user PIN: credential:NAME or a file of mode 0600.")
        var pin: String?
        @Flag(help: "Drop what the old key opens, when all nodes work with the new one.")
        var finish = false
        @OptionGroup var officer: OfficerOptions

        func validate() throws {
            guard [to != nil, token != nil, finish].count(where: \.self) == 1 else {
                throw ValidationError("give --to FILE, or --token LABEL, or --finish")
            }
            guard (token != nil) == (module != nil), (token != nil) == (pin != nil) else {
                throw ValidationError("--token, --module and --pin belong together")
            }
        }

        func run() throws {
            try reporting {
                var arguments = ArgumentsWriter()
                arguments.add("file", to)
                if let token {
                    arguments.add("module", module)
                    arguments.add("token", token)
                    arguments.add("key", key)
                    arguments.add("pin", pin)
                }
                let command = finish ? "master-key-change-kek-finish" : "master-key-change-kek"
                guard let answer = try officer.send(command, arguments: arguments.node()) else { return }
                show([answer.text("done")])
            }
        }
    }

    struct Certificate: ParsableCommand {
        static let configuration = CommandConfiguration(abstract: "Print the signed certificate of the last rotation.")

        @OptionGroup var control: SocketOptions

        func run() throws {
            try reporting {
                let answer = try ControlClient(path: control.socket).send(
                    "master-key-certificate", arguments: ArgumentsWriter().node())
                print(Terminal.plain(answer.rawText))
            }
        }
    }

    struct VerifyCertificate: ParsableCommand {
        static let configuration = CommandConfiguration(
            commandName: "verify-certificate",
            abstract: "Check a rotation's certificate and print what it says; asks no service.",
            discussion: "The fingerprint must come by a way of its own, never with the certificate.")

        @Argument(help: "The certificate.", completion: .file())
        var certificate: String
        @OptionGroup var keys: AuditCommand.Keys

        func run() throws {
            try reporting {
                let text = String(
                    decoding: try OwnFile.read(certificate, upTo: RotationCertificate.maximumBytes), as: UTF8.self)
                let (it, key) = try RotationCertificate.verify(file: text, trust: try keys.trust)
                show([
                    "genuine: signed by the attestation key \(key)",
                    "root key of \(it.host): version \(it.from.number) (\(it.from.fingerprint)) replaced by "
                        + "\(it.to.number) (\(it.to.fingerprint)), by node \(it.node)",
                    "promoted \(it.promoted), old version closed \(it.retired), certified \(it.issued)",
                    "values under the old version: 0; under the new one:",
                ])
                show(Columns.lines(it.counts.map { ["  \($0.table)", String($0.values)] }))
                show(["Merkle root \(Hexadecimal.encode(it.merkleRoot))", RotationCertificate.outOfReach])
            }
        }
    }
}
