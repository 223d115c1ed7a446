import ArgumentParser
import Cryptography
import Diagnostics
import EDiscoveryExport
import Glibc
import JOSESignature
import PolicyFiles
import WireText

/// `hdsctl ediscovery`: opens and checks exports of eDiscovery reports from their files alone; nothing asks a service.
struct EDiscoveryCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "ediscovery",
        abstract: "Open and verify exports of eDiscovery reports, and prove single items of them.",
        discussion: """
            Works on the folder of an export, on any machine, without a service. Typical use:

              hdsctl ediscovery verify export --key signer.jwk
              hdsctl ediscovery verify export --key signer.jwk --item ACME-000042
              hdsctl ediscovery prove export --item ACME-000042 > proof.json
              hdsctl ediscovery verify-proof proof.json --key signer.jwk
              hdsctl ediscovery key delivery.pem > delivery.jwk
              hdsctl ediscovery open export.001.zip.sealed --key delivery.pem --into .

            The key must come by a way of its own, never with the export that is verified.
            """,
        subcommands: [Verify.self, Prove.self, VerifyProof.self, Key.self, Open.self])

    struct SignerOptions: ParsableArguments {
        @Option(
            name: .customLong("key"),
            help: ArgumentHelp(
                "The KMS's certificate of its static key (PEM), or the key as a JWK.", valueName: "file"),
            completion: .file())
        var file: String

        func jwk() throws -> JWK {
            let text = String(decoding: try OwnFile.read(file, upTo: 64 << 10), as: UTF8.self)
            guard text.contains("-----BEGIN CERTIFICATE-----") else { return try JWK(jsonText: text) }
            guard let leaf = try Certificate.all(inPEM: text).first else { return try JWK(jsonText: text) }
            return JWK(publicKey: leaf.publicKey, kid: nil)
        }
    }

    struct Verify: ParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Check every file, every item and the signature of an export, or one item of it.",
            discussion: """
                Ends with 0 when everything holds. Ends with 65 when something does not: then each finding is a line of \
                standard output with the file, the fault (missing, extra, changed, malformed, order, tree, signature, \
                counts) and what it is. Ends with 78 when there is no such folder or key.
                With --item only that item's line, its place in the tree and the signature are checked, and the item \
                is printed.
                """)

        @Argument(help: "The export's folder.", completion: .directory)
        var folder: String
        @OptionGroup var key: SignerOptions
        @Option(help: "The id of an item, or its document number.")
        var item: String?
        @Flag(help: "Print one JSON object.")
        var json = false

        func run() throws {
            try reporting {
                let jwk = try key.jwk()
                try demandFolder(folder)
                if let item {
                    let proof = try ItemProof(of: item, in: folder)
                    try EDiscoveryCommand.show(proof, key: jwk)
                    return
                }
                let report = try ExportVerifier(folder: folder, key: jwk).verify()
                print(json ? EDiscoveryCommand.json(report) : EDiscoveryCommand.text(report))
                guard report.isSound else {
                    complain(
                        "hdsctl: the export is not sound; expected no finding, found \(report.count) [export-unsound]")
                    throw ExitCode(EX_DATAERR)
                }
            }
        }
    }

    struct Prove: ParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Print the proof that one item stands in an export.",
            discussion: """
                The proof holds the item's line, an inclusion proof (RFC 6962) and the signed statement; it can be given to \
                somebody who may not see any other item.
                """)

        @Argument(help: "The export's folder.", completion: .directory)
        var folder: String
        @Option(help: "The id of an item, or its document number.")
        var item: String

        func run() throws {
            try reporting {
                try demandFolder(folder)
                print(try ItemProof(of: item, in: folder).json())
            }
        }
    }

    struct VerifyProof: ParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Check a proof against the signer's key and print the item.")

        @Argument(help: "The proof.", completion: .file())
        var proof: String
        @OptionGroup var key: SignerOptions

        func run() throws {
            try reporting {
                let octets = try OwnFile.read(proof, upTo: 2 * ItemLine.maximumBytes)
                try EDiscoveryCommand.show(ItemProof(json: octets), key: try key.jwk())
            }
        }
    }

    /// The item on standard output, what is proven beside it.
    private static func show(_ proof: ItemProof, key: JWK) throws {
        let exported = try proof.verify(key: key)
        print(Terminal.plain(String(decoding: proof.line, as: UTF8.self)))
        let place = "\(exported.number) is item \(proof.index + 1) of \(proof.statement.size)"
        announce("proven: \(place) of report \(proof.statement.report), matter \(proof.statement.matter)")
    }

    private static func text(_ report: ExportVerifier.Report) -> String {
        var lines = report.findings.map { "\($0.fault.rawValue) \($0.file): \($0.text)" }
        if report.count > report.findings.count { lines.append("and \(report.count - report.findings.count) more") }
        if report.isSound, let statement = report.statement {
            lines.append(
                "sound: report \(statement.report), matter \(statement.matter), \(statement.size) items, "
                    + "\(report.files) files")
            lines.append("root \(Hexadecimal.encode(statement.root))")
        }
        return lines.map(Terminal.plain).joined(separator: "\n")
    }

    private static func json(_ report: ExportVerifier.Report) -> String {
        var json = JSONWriter()
        json.beginObject()
        json.member("sound", report.isSound)
        json.member("files", report.files)
        if let statement = report.statement {
            json.member("report", statement.report)
            json.member("matter", statement.matter)
            json.member("items", statement.size)
            json.member("root", Hexadecimal.encode(statement.root))
        }
        json.member("count", report.count)
        json.name("findings")
        json.beginArray()
        for finding in report.findings {
            json.beginObject()
            json.member("file", finding.file)
            json.member("fault", finding.fault.rawValue)
            json.member("text", finding.text)
            json.endObject()
        }
        json.endArray()
        json.endObject()
        return Terminal.plain(json.text())
    }
}

func demandFolder(_ path: String) throws {
    var status = stat()
    guard stat(path, &status) == 0, status.st_mode & S_IFMT == S_IFDIR else {
        throw DiagnosedError(
            "export-folder", fault: .configuration, "there is no such folder", expected: "the folder of an export",
            found: path)
    }
}
