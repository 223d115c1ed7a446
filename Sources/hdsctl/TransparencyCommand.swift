import ArgumentParser
import AuditTrail
import Diagnostics
import PolicyFiles
import WireText

/// `hdsctl transparency`: how often keys were given to whom, as a signed report that names no person; asks no service.
struct TransparencyCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "transparency",
        abstract: "Report how often keys were given to services, partners and officers, signed; verify such a report.",
        discussion: """
            From the audit trails of all nodes, which are verified first. Typical use, on the machine that has the \
            attestation key, with copies of the other nodes' trails:

              hdsctl transparency report /var/lib/hds/audit /mnt/kms-2/audit --node kms-1 --node kms-2 \\
                --key FINGERPRINT --signing-key /etc/hds/attestation.pem \\
                --from 2026-10-01 --to 2026-11-01 --output 2026-10.json --html 2026-10.html
              hdsctl transparency verify 2026-10.json --key FINGERPRINT

            Services and partners are counted exactly; what is about persons is rounded up to tens and named nowhere.
            """,
        subcommands: [Report.self, Verify.self])

    struct Report: ParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Count releases of keys in audit trails and write a signed report.",
            discussion: """
                The period is of whole days (UTC) that are over. A trail that does not hold, has gaps or does not \
                cover the period, and a node without a trail, are named in the report, which is then not complete; \
                the command says so and ends with 65, and the report is there. Partners stand in it under the \
                pseudonym of their host, as 'hdsctl audit lookup --user HOST' tells it, or by --partner under the host. \
                A service that only asks on behalf of somebody is taken for an officer unless --service names it.
                """)

        @Argument(help: "The folders of the trails, one for each node.", completion: .directory)
        var folders: [String]
        @OptionGroup var keys: AuditCommand.Keys
        @Option(help: "The attestation key that signs the report.", completion: .file())
        var signingKey: String
        @Option(help: ArgumentHelp("The first day, as 2026-10-01.", valueName: "day"))
        var from: String
        @Option(help: ArgumentHelp("The day behind the last one, as 2026-11-01.", valueName: "day"))
        var to: String
        @Option(help: "The report's file, which must be new: JSON.", completion: .file())
        var output: String
        @Option(help: "Also a page for people in a new file.", completion: .file())
        var html: String?
        @Option(name: .customLong("node"), help: "A node that there was in the period; give all of them.")
        var nodes: [String] = []
        @Option(
            name: .customLong("witness"), help: "A file of witnessed heads; may be given several times.",
            completion: .file())
        var witnesses: [String] = []
        @Option(
            name: .customLong("partner"),
            help: ArgumentHelp("The host behind a pseudonym.", valueName: "host=u:pseudonym"))
        var partners: [String] = []
        @Option(
            name: .customLong("service"),
            help: ArgumentHelp(
                "The name of a service behind a pseudonym; needed of one that only asks on behalf of somebody.",
                valueName: "name=u:pseudonym"))
        var services: [String] = []

        func run() throws {
            try reporting {
                let key = try AttestationKey.load(fromFile: signingKey, isOfService: true)
                let report = try TransparencyReport.make(
                    of: folders, trust: try keys.trust, witnesses: witnesses, from: try Self.day(from, "--from"),
                    to: try Self.day(to, "--to"), nodes: nodes, partners: try named(partners, "--partner"),
                    services: try named(services, "--service"), issued: .now())
                try OwnFile.write(Array((try report.file(signedBy: key) + "\n").utf8), toNew: output, mode: 0o644)
                if let html {
                    try OwnFile.write(Array(report.html(signedBy: key.fingerprint).utf8), toNew: html, mode: 0o644)
                }
                show(report.text(signedBy: key.fingerprint).split(separator: "\n").map(String.init))
                guard report.isComplete else {
                    throw DiagnosedError(
                        "transparency-incomplete", fault: .client, "the report is written, and is not complete",
                        expected: "trails of all nodes that hold and cover the period",
                        hint: "see its sources; publish it only with that remark, or give what is missing")
                }
            }
        }

        private static func day(_ text: String, _ option: String) throws(DiagnosedError) -> Timestamp {
            guard text.utf8.count == 10, let time = Timestamp(iso8601: text + "T00:00:00Z") else {
                throw DiagnosedError(
                    "usage", fault: .client, "\(option) is not usable", expected: "a day as 2026-10-01")
            }
            return time
        }

        private func named(_ texts: [String], _ option: String) throws(DiagnosedError) -> [String: String] {
            var names: [String: String] = [:]
            for text in texts {
                let parts = text.split(separator: "=", maxSplits: 1).map(String.init)
                guard parts.count == 2, parts[1].hasPrefix("u:"), names[parts[1]] == nil else {
                    throw DiagnosedError(
                        "usage", fault: .client, "\(option) is not usable, or names a pseudonym twice",
                        expected: "NAME=u:PSEUDONYM", hint: "hdsctl audit lookup --user NAME tells the pseudonym")
                }
                names[parts[1]] = parts[0]
            }
            return names
        }
    }

    struct Verify: ParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Check a report's signature and print what it says; asks no service.",
            discussion: "The fingerprint must come by a way of its own, never with the report.")

        @Argument(help: "The report.", completion: .file())
        var file: String
        @OptionGroup var keys: AuditCommand.Keys
        @Flag(help: "Print what was signed, one JSON object.")
        var json = false
        @Option(help: "Also write it as a page for people to a new file.", completion: .file())
        var html: String?

        func run() throws {
            try reporting {
                let text = String(
                    decoding: try OwnFile.read(file, upTo: TransparencyReport.maximumBytes), as: UTF8.self)
                let (report, key) = try TransparencyReport.verify(file: text, trust: try keys.trust)
                if let html {
                    try OwnFile.write(Array(report.html(signedBy: key).utf8), toNew: html, mode: 0o644)
                }
                guard !json else { return print(String(decoding: report.json(), as: UTF8.self)) }
                show(["genuine: signed by the attestation key \(key)"])
                show(report.text(signedBy: key).split(separator: "\n").map(String.init))
            }
        }
    }
}
