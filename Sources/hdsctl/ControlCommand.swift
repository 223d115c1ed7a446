import ArgumentParser
import ControlSocket
import Cryptography
import Diagnostics
import JOSESignature
import PolicyFiles
import SignedPolicy
import WireText

/// `hdsctl control`: talk to a running service over its control socket.
struct ControlCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "control",
        abstract: "Talk to a running service over its control socket.",
        subcommands: [Ping.self, Call.self, Send.self])

    struct Ping: ParsableCommand {
        static let configuration = CommandConfiguration(abstract: "Ask the service who it is.")

        @OptionGroup var control: SocketOptions
        @Flag(help: "Print one JSON object.")
        var json = false

        func run() throws {
            try reporting {
                let service = try ControlClient(path: control.socket).ping()
                guard json else {
                    return print(
                        Terminal.plain(
                            "\(service.service) \(service.version) answers for \(service.host), node \(service.node), "
                                + "process \(service.pid)."))
                }
                var writer = JSONWriter()
                writer.beginObject()
                writer.member("service", service.service)
                writer.member("host", service.host)
                writer.member("node", service.node)
                writer.member("version", service.version)
                writer.member("pid", service.pid)
                writer.endObject()
                print(writer.text())
            }
        }
    }

    struct Call: ParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Send any command by its name, with an officer's signature if a key is given.",
            discussion: "For what has no command of its own here. Prints the service's answer as JSON.")

        @Argument(help: "The command's name.")
        var command: String
        @Option(help: "Its arguments, a JSON object.")
        var arguments = "{}"
        @OptionGroup var officer: OfficerOptions

        func run() throws {
            try reporting {
                let arguments = try JSONDocument(text: arguments).root
                if let result = try officer.send(command, arguments: arguments) {
                    print(Terminal.plain(result.rawText))
                }
            }
        }
    }

    struct Send: ParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Send a request that an officer signed, with a second officer's confirmation if it needs one.",
            discussion: "The request is a file that --request-out wrote, at most five minutes ago.")

        @Argument(help: "The signed request.", completion: .file())
        var request: String
        @Option(help: "The confirmation, as hdsctl officer confirm wrote it.", completion: .file())
        var confirmation: String?
        @OptionGroup var control: SocketOptions

        func run() throws {
            try reporting {
                let file = try RequestFile(path: request)
                let confirmed = try confirmation.map { path in
                    String(decoding: try OwnFile.read(path, upTo: RequestFile.maximumBytes), as: UTF8.self)
                        .split(whereSeparator: \.isNewline).first.map(String.init) ?? ""
                }
                let asked = try OfficerRequest.unverified(file.signature)
                let result = try ControlClient(path: control.socket).send(
                    asked.command, arguments: asked.arguments, signature: file.signature, confirmation: confirmed
                ) { announce($0) }
                print(Terminal.plain(result.rawText))
            }
        }
    }
}

/// Where the service listens.
struct SocketOptions: ParsableArguments {
    @Option(help: "The control socket of the service.", completion: .file())
    var socket = "/run/hds-kms/control.sock"
}

/// How a command of an officer is signed and sent; every such command takes these options.
struct OfficerOptions: ParsableArguments {
    @OptionGroup var control: SocketOptions
    @Option(help: "The officer's key that signs the request.", completion: .file())
    var officerKey: String?
    @OptionGroup var secret: PassphraseOptions
    @Option(
        help: "Write the signed request to this new file instead of sending it, for a second officer to confirm.",
        completion: .file())
    var requestOut: String?

    /// Sends a command, signed if there is a key. Nil when the request was written to a file.
    func send(_ command: String, arguments: JSONNode) throws -> JSONNode? {
        try send(command, arguments: arguments, signedBy: try officerKey.map { try open($0) })
    }

    /// For what is signed beside the request itself, with the one key.
    func key() throws -> PrivateKey {
        guard let officerKey else {
            throw DiagnosedError(
                .requestUnsigned, fault: .client, "this needs an officer's signature",
                hint: "give the officer's key: --officer-key FILE")
        }
        return try open(officerKey)
    }

    private func open(_ path: String) throws -> PrivateKey {
        try OfficerKeyFile.open(path, passphrase: try secret.passphrase(for: path))
    }

    func send(_ command: String, arguments: JSONNode, signedBy key: PrivateKey?) throws -> JSONNode? {
        let client = try ControlClient(path: control.socket)
        guard let key else {
            guard requestOut == nil else {
                throw DiagnosedError(
                    .requestUnsigned, fault: .client, "a request for a second officer needs the first one's signature",
                    hint: "give --officer-key FILE")
            }
            return try client.send(command, arguments: arguments) { announce($0) }
        }
        let signature = try Self.signature(of: command, arguments, with: key, for: client)
        if let requestOut {
            try OwnFile.write(Array((signature + "\n").utf8), toNew: requestOut)
            announce("the request lies in \(requestOut) and lives five minutes")
            return nil
        }
        return try client.send(command, arguments: arguments, signature: signature) { announce($0) }
    }

    /// What is signed names the KMS and the node, so the service is asked for its names first.
    static func signature(
        of command: String, _ arguments: JSONNode, with key: PrivateKey, for client: ControlClient
    ) throws -> String {
        let service = try client.ping()
        announce("signing for \(service.host), node \(service.node)")
        let payload = try OfficerRequest.payload(
            command: command, arguments: arguments, host: service.host, node: service.node, issued: .now())
        return try OfficerSignature.sign(payload, as: .request, with: key)
    }
}

/// A file with an officer's signed request: the signature holds all that is asked for.
struct RequestFile {
    static let maximumBytes = 1 << 20
    let signature: String

    init(path: String) throws(DiagnosedError) {
        let text = String(decoding: try OwnFile.read(path, upTo: Self.maximumBytes), as: UTF8.self)
        let lines = text.split(whereSeparator: \.isNewline)
        guard lines.count == 1 else {
            throw DiagnosedError(
                .requestMalformed, fault: .client, "\(path) is no signed request", expected: "one line, a compact JWS")
        }
        signature = String(lines[0])
    }

    static func sentences(_ request: OfficerRequest) throws(DiagnosedError) -> [String] {
        let arguments = String(decoding: try CanonicalJSON.bytes(request.arguments), as: UTF8.self)
        return [
            "The request is \(request.command) for \(request.host), node \(request.node),",
            "with the arguments \(arguments),", "issued at \(request.issued), valid until \(request.expires).",
        ]
    }
}
