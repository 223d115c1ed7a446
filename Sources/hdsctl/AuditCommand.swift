import ArgumentParser
import AuditTrail
import Cryptography
import Diagnostics
import PolicyFiles
import WireText

/// `hdsctl audit`: reads, verifies, proves and exports an audit trail from its files alone; only `lookup` asks the service.
struct AuditCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "audit",
        abstract: "Verify, read, prove and export an audit trail from its files.",
        discussion: """
            Works on the folder of a trail, of a copy or of an export, on any machine. Typical use:

              hdsctl audit verify /var/lib/hds/audit --key FINGERPRINT --witness /mnt/other/witness
              hdsctl audit show /var/lib/hds/audit --user u:5b1f --since 2026-11-01T00:00:00Z --newest-first
              hdsctl audit prove ID /var/lib/hds/audit --key FINGERPRINT > proof.json
              hdsctl audit verify-proof proof.json --key FINGERPRINT
              hdsctl audit export /var/lib/hds/audit /mnt/archive/2026-11 --key FINGERPRINT

            The fingerprint must come by a way of its own, never from the machine that is verified.
            """,
        subcommands: [Verify.self, Show.self, Lookup.self, Prove.self, VerifyProof.self, Export.self])

    struct Keys: ParsableArguments {
        // One fingerprint in 64 begins with a hyphen.
        @Option(
            name: .customLong("key"), parsing: .unconditionalSingleValue,
            help: ArgumentHelp(
                "Fingerprint or file of the attestation key that is believed; may be given several times.",
                valueName: "file|fingerprint"))
        var keys: [String]

        func validate() throws {
            guard !keys.isEmpty else { throw ValidationError("name the attestation key that is believed with --key") }
        }

        var trust: AttestationTrust {
            get throws { try AttestationTrust(pins: keys) }
        }
    }

    struct Verify: ParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Check every link, head, root and number of a trail, and name what is proven.",
            discussion: """
                Ends with 0 when everything holds, else with 65 and the first break: segment, line, what was expected \
                and what was found. Without a witness nobody can tell that records behind the last head were cut off, \
                or that an older copy of the whole folder was put back; with one, only what is behind its last head. Time \
                stamps that stand beside a witness's heads are verified with the CA certificates of their authority, \
                offline: they prove that the records existed before a time, whatever the node's clock said.
                """)

        @Argument(help: "The folder of the trail.", completion: .directory)
        var folder: String
        @OptionGroup var keys: Keys
        @Option(
            name: .customLong("witness"),
            help: "A file of witnessed heads, one a line; may be given several times.", completion: .file())
        var witnesses: [String] = []
        @Option(
            name: .customLong("tsa-ca"),
            help: ArgumentHelp(
                "CA certificates (PEM) of the time-stamping authority whose stamps stand in a witness's file.",
                valueName: "file"), completion: .file())
        var authorities: String?
        @Flag(help: "Print one JSON object.")
        var json = false

        func run() throws {
            try reporting {
                let verifier = TrailVerifier(
                    folder: folder, trust: try keys.trust, witnesses: witnesses,
                    authorities: try authorities.map {
                        try Certificate.all(inPEM: String(decoding: try OwnFile.read($0, upTo: 1 << 20), as: UTF8.self))
                    } ?? [])
                let report = try verifier.verify()
                print(json ? report.json() : report.text())
            }
        }
    }

    struct Prove: ParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Print the proof that one record stands in the trail.",
            discussion: """
                The proof holds the record and an inclusion proof (RFC 6962) to the signed root of its hour; it can be \
                given to somebody who may not see any other record.
                """)

        @Argument(help: "The id of the record.")
        var id: String
        @Argument(help: "The folder of the trail.", completion: .directory)
        var folder: String
        @OptionGroup var keys: Keys

        func run() throws {
            try reporting {
                guard let id = AuditID(id) else {
                    throw DiagnosedError(
                        "audit-id", fault: .client, "this is no id of a record",
                        expected: "a UUID of version 7 in lower case")
                }
                print(try AuditProof.make(for: id, folder: folder, trust: try keys.trust).json())
            }
        }
    }

    struct VerifyProof: ParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Check a proof against a signed root and print the record.",
            discussion: "With --root the root is the one that you have; without, the one in the proof, signed as well.")

        @Argument(help: "The proof.", completion: .file())
        var proof: String
        @Option(help: ArgumentHelp("The root's JWS, or a file that holds it.", valueName: "jws|file"))
        var root: String?
        @OptionGroup var keys: Keys

        func run() throws {
            try reporting {
                let proof = try AuditProof(fromFile: proof)
                let (statement, _) = try proof.verify(root: try root.map(AuditProof.root), trust: try keys.trust)
                print(proof.record)
                complain(
                    "proven: record \(statement.first + proof.index) of node \(statement.node), trail "
                        + "\(statement.trail), under the root of \(statement.time)")
            }
        }
    }

    struct Export: ParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Verify a trail and copy its sealed segments with roots and manifest to a new folder.",
            discussion: """
                The copy is verified too, and can be verified anywhere. Then the trail is marked: its exported \
                segments may be deleted when space runs short. Without --no-mark only keep copies that last.
                """)

        @Argument(help: "The folder of the trail.", completion: .directory)
        var folder: String
        @Argument(help: "The folder to make.", completion: .directory)
        var out: String
        @OptionGroup var keys: Keys
        @Flag(help: "Leave the trail as it is: nothing may be deleted because of this copy.")
        var noMark = false

        func run() throws {
            try reporting {
                let summary = try AuditExport(folder: folder, to: out, trust: try keys.trust)
                    .run(now: .now(), marks: !noMark)
                print(
                    "exported records \(summary.first) to \(summary.last) of trail \(summary.trail): "
                        + "\(summary.segments) segments, \(summary.octets) octets")
            }
        }
    }
}
