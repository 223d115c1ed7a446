import ArgumentParser
import ControlSocket
import Cryptography
import Diagnostics
import KMSService
import NodeList
import PolicyFiles
import SecretMemory
import ServiceRuntime
import WireText

/// `hdsctl node`: the nodes that work together on one database.
struct NodeCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "node",
        abstract: "The nodes that work together on one database: who they are, who comes, who goes.",
        discussion: """
            A new machine (docs/cluster.md):
            hdsctl node invite kms-4                     (on a node that is there; prints a one-time code)
            hdsctl node join                             (on the new machine; asks for the code, prints a fingerprint)
            hdsctl node approve kms-4 FINGERPRINT --officer-key ada.pem    (on a node that is there)
            systemctl start hds-kms                      (on the new machine)

            Approving and removing need an officer with the duty cluster, who signs the list of nodes as well.
            """,
        subcommands: [List.self, Invite.self, Join.self, Approve.self, Remove.self, Drain.self])

    struct List: ParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Each node with its place on the list, its key, its release, its epoch and how old its lease is.")

        @OptionGroup var question: QuestionOptions

        func run() throws {
            try question.ask("nodes") { answer in
                show(Self.lines(answer))
            }
        }

        static func lines(_ answer: JSONNode) -> [String] {
            let nodes = answer.nodes("nodes")
            let site = answer.text("site").isEmpty ? "" : ", site \(answer.text("site"))"
            let promise = answer["synchronous"]?.boolean == true ? "synchronous" : "not promised to be synchronous"
            let list =
                answer["list"] == nil ? "no list of nodes" : "list of nodes version \(answer.number("list"))"
            let core =
                answer["coreList"] == nil
                ? "" : ", version \(answer.number("coreList")) at the core when this node linked"
            let rows = nodes.map { node in
                [
                    node.text("node"), Self.place(node), node.text("release"),
                    node["epoch"] == nil ? "-" : "epoch \(node.number("epoch"))", Self.lease(node),
                    node["fingerprint"]?.string ?? node["waiting"]?.string ?? "-",
                ]
            }
            let alone =
                nodes.allSatisfy { $0["held"] == nil } ? ["\(answer.text("node")) works alone on its database"] : []
            return alone + ["epoch \(answer.number("epoch"))\(site), commits are \(promise); \(list)\(core)"]
                + Columns.lines(rows)
        }

        private static func place(_ node: JSONNode) -> String {
            let waits = node["waiting"] == nil ? "" : ", a key waits for approval"
            let drained = node["drained"]?.boolean == true ? ", drained" : ""
            return (node.text("listed") == "no" ? "not listed" : node.text("listed")) + waits + drained
        }

        private static func lease(_ node: JSONNode) -> String {
            guard node["held"] != nil else { return "no lease needed" }
            if node["removed"]?.boolean == true { return "removed" }
            let state = node["held"]?.boolean == true ? "lease held" : "no lease"
            return "\(state), renewed \(node.number("ageMilliseconds")) ms ago"
        }
    }

    struct Invite: ParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Make a one-time code for a new machine: it lives ten minutes and counts once.",
            discussion:
                "An earlier code of that name counts no more. The code alone lets nobody in: an officer approves.")

        @Argument(help: "The new node's name, as its configuration has it.")
        var name: String
        @OptionGroup var control: SocketOptions
        @Flag(help: "Print one JSON object.")
        var json = false

        func run() throws {
            try reporting {
                var arguments = ArgumentsWriter()
                arguments.add("name", name)
                let answer = try ControlClient(path: control.socket).send("node-invite", arguments: arguments.node())
                guard !json else { return print(Terminal.plain(answer.rawText)) }
                show([
                    "One-time code for \(name): \(answer.text("code"))",
                    "It counts once, until \(answer.text("expires")). On the new machine: hdsctl node join",
                    "It has to show this fingerprint of the cluster: \(answer.text("cluster"))",
                ])
            }
        }
    }

    struct Join: ParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "On a new machine: make this node's key and show it to the cluster under a one-time code.",
            discussion: """
                Needs the configuration of hds-kms with the cluster's database, and the code; nothing of the cluster's \
                keys. Prints the fingerprint of this node's key and that of the cluster. Compare both with those that \
                hdsctl node invite and list show on a node that is there, then approve.
                """)

        @Option(help: "The configuration of this machine's hds-kms.", completion: .file())
        var config = "/etc/hds/hds-kms.yaml"
        @Option(
            help: "Read the code from the first line of this file of mode 0600; else the terminal is asked.",
            completion: .file())
        var codeFile: String?
        @Option(help: "How many seconds to wait for the cluster's answer.")
        var wait = 60
        @Flag(help: "Print one JSON object.")
        var json = false

        func run() throws {
            try reporting {
                let joining = try NodeJoining(try .read(config), .ofAdministrator(ServiceUnit(unit: "hds-kms.service")))
                let typed = SymmetricKey(
                    try codeFile.map { try OfficerKeyFile.passphrase(inFile: $0) }
                        ?? Terminal.secret("One-time code for \(joining.node): "))
                let patience = Duration.seconds(wait)
                let outcome = try waiting {
                    try await joining.run(code: typed.withUnsafeBytes { SecretBytes(copying: $0) }, patience: patience)
                }
                guard json else {
                    return show([
                        "\(outcome.node) has the key \(outcome.fingerprint)",
                        "and speaks with the cluster \(outcome.cluster).",
                        "Compare both, then on a node that is there: hdsctl node approve \(outcome.node) "
                            + "\(outcome.fingerprint) --officer-key FILE",
                    ])
                }
                var writer = JSONWriter()
                writer.beginObject()
                writer.member("node", outcome.node)
                writer.member("fingerprint", outcome.fingerprint)
                writer.member("cluster", outcome.cluster)
                writer.endObject()
                print(writer.text())
            }
        }
    }

    struct Approve: ParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Put a node on the list, when its key is the one whose fingerprint was read on its machine.",
            discussion: """
                The root keys are wrapped to the key of a node that joined with a one-time code; it puts its own \
                master key in the place of that when it starts.
                """)

        @Argument(help: "The node's name.")
        var name: String
        @Argument(help: "The fingerprint, as hdsctl node join or list shows it on the node's own machine.")
        var fingerprint: String
        @OptionGroup var officer: OfficerOptions
        @Flag(help: "Print one JSON object.")
        var json = false

        func run() throws {
            try reporting {
                let present = try PresentList(officer)
                guard let key = present.candidates[name], NodeFingerprint(fingerprint) == NodeFingerprint(of: key)
                else {
                    throw DiagnosedError(
                        "node-fingerprint", fault: .client,
                        present.candidates[name] == nil
                            ? "no key of \(name.quotedForError) waits for an approval"
                            : "\(name) has another key than the one that was compared",
                        expected: present.candidates[name].map { NodeFingerprint(of: $0).description }
                            ?? present.candidates.keys.sorted().joined(separator: ", "),
                        found: fingerprint.quotedForError,
                        hint:
                            "read the fingerprint on the machine itself; if it differs, somebody is between: invite anew"
                    )
                }
                let next = try NodeList.approving(
                    NodeList.Node(name: name, service: present.service, publicKey: key), on: present.list,
                    organisation: present.organisation, issued: .now())
                guard let answer = try present.send("node-approve", next, name: name, fingerprint: fingerprint) else {
                    return
                }
                guard !json else { return print(Terminal.plain(answer.rawText)) }
                show(["\(name) stands on version \(answer.number("version")) of the list of nodes."])
                if answer["starts"]?.boolean == true { show(["Start hds-kms on its machine now."]) }
            }
        }
    }

    struct Remove: ParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Take a node off the list: its lease and its link end, and a new root key is made.",
            discussion: """
                Within half a second its lease ends, the core closes its link, and what is wrapped to it goes. The root \
                key is changed, for it knew the old one. Its login to the database is taken away by hand: the command \
                prints the line.
                """)

        @Argument(help: "The node's name.")
        var name: String
        @OptionGroup var officer: OfficerOptions
        @Flag(help: "Print one JSON object.")
        var json = false

        func run() throws {
            try reporting {
                let present = try PresentList(officer)
                guard let next = try present.list?.removing(name, of: present.service, issued: .now()) else {
                    throw DiagnosedError(
                        "node-unknown", fault: .client, "the list has no node \(name.quotedForError)",
                        expected: (present.list?.nodes ?? []).map(\.name).joined(separator: ", "),
                        hint: "see hdsctl node list")
                }
                guard let answer = try present.send("node-remove", next, name: name) else { return }
                guard !json else { return print(Terminal.plain(answer.rawText)) }
                show([
                    "\(name) is removed in version \(answer.number("version")) of the list of nodes.",
                    "Root key: \(answer.text("rotation")).",
                ])
                if let shared = answer["sharedMasterKey"]?.string {
                    show([
                        "It knows the master key \(shared), with which other nodes work as well: change it now "
                            + "(hdsctl master-key change-kek)."
                    ])
                }
                if let user = answer["user"]?.string { show(Self.login(name, user)) }
            }
        }

        static func login(_ name: String, _ user: String) -> [String] {
            [
                "Take its login to the database away, in psql: ALTER ROLE \"ITS USER\" NOLOGIN; "
                    + "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name LIKE 'hds-kms \(name)%';",
                "If it used \"\(user)\" as this node does: ALTER ROLE \"\(user)\" PASSWORD 'NEW'; and give the others the new "
                    + "one.",
            ]
        }
    }

    struct Drain: ParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Let a node answer what it has and take nothing new, also over restarts, until that is ended.")

        @Argument(help: "The node's name.")
        var name: String
        @Flag(help: "Let it work again.")
        var end = false
        @OptionGroup var control: SocketOptions

        func run() throws {
            try reporting {
                var arguments = ArgumentsWriter()
                arguments.add("name", name)
                if end { arguments.add("end", "yes") }
                _ = try ControlClient(path: control.socket).send("node-drain", arguments: arguments.node())
                show([
                    end
                        ? "\(name) works again; its link is made within a second."
                        : "\(name) answers what it has and takes nothing new. To end that: hdsctl node drain \(name) --end"
                ])
            }
        }
    }
}

/// The list as the service has it, and the way of the next one to it: signed with the key that signs the request.
private struct PresentList {
    let list: NodeList?
    let organisation: String
    let service: String
    let candidates: [String: PublicKey]
    private let officer: OfficerOptions

    init(_ officer: OfficerOptions) throws {
        self.officer = officer
        let answer = try ControlClient(path: officer.control.socket).send(
            "node-list", arguments: ArgumentsWriter().node())
        list = answer["list"]?.string.flatMap { SignedNodeList.claimed($0) }
        organisation = answer.text("organisation")
        service = answer.text("service")
        var keys: [String: PublicKey] = [:]
        for candidate in answer.nodes("candidates") {
            guard let octets = candidate["key"]?.string.flatMap({ Base64URL.decode($0) }) else { continue }
            keys[candidate.text("name")] = try PublicKey(subjectPublicKeyInfo: octets)
        }
        candidates = keys
    }

    func send(_ command: String, _ next: NodeList, name: String, fingerprint: String? = nil) throws -> JSONNode? {
        let key = try officer.key()
        var arguments = ArgumentsWriter()
        arguments.add("name", name)
        arguments.add("fingerprint", fingerprint)
        arguments.add("list", try SignedNodeList.sign(next, with: key))
        return try officer.send(command, arguments: arguments.node(), signedBy: key)
    }
}
