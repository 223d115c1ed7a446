import ArgumentParser
import ControlSocket
import Diagnostics
import SignedPolicy
import WireText

/// `hdsctl status`: how the running KMS is, in plain lines.
struct StatusCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "status",
        abstract: "How the running KMS is: health, policy, officers, freezes, audit.",
        discussion: "Exit code 0 when all is well or only warned about, 69 when a check fails or nobody answers.")

    @OptionGroup var control: SocketOptions
    @Flag(help: "Print one JSON object.")
    var json = false

    func run() throws {
        var isFailing = false
        try reporting {
            let empty = try JSONDocument(text: "{}").root
            let answer = try ControlClient(path: control.socket).send("status", arguments: empty)
            isFailing = answer["status"]?.string == "fail"
            if json { return print(Terminal.plain(answer.rawText)) }
            for line in Self.lines(answer) { print(Terminal.plain(line)) }
        }
        if isFailing { throw ExitCode(69) }
    }

    static func lines(_ answer: JSONNode) -> [String] {
        func text(_ node: JSONNode?) -> String { node?.string ?? "-" }
        func texts(_ node: JSONNode?) -> [String] { (node?.elements ?? []).compactMap(\.string) }
        let program = "\(text(answer["service"])) \(text(answer["version"]))"
        let place = "node \(text(answer["node"])) of \(text(answer["host"]))"
        var lines = [
            "\(program), \(place), running since \(text(answer["started"]))", "state     \(text(answer["sentence"]))",
        ]
        let policy = answer["policy"]
        let version: Int64 = policy?["version"]?.integer ?? 0
        if version == 0 {
            lines.append("policy    none: nobody but members gets keys")
        } else {
            let services = texts(policy?["services"])
            let named = services.isEmpty ? "no services" : "services: " + services.joined(separator: ", ")
            lines.append("policy    version \(version), issued \(text(policy?["issued"])), \(named)")
        }
        let officers = (answer["officers"]?.elements ?? []).map { officer in
            let duties = texts(officer["duties"]).joined(separator: ", ")
            return "\(text(officer["id"])) (\(text(officer["name"])): \(duties))"
        }
        lines.append("officers  " + (officers.isEmpty ? "none: nobody can sign" : officers.joined(separator: "; ")))
        let freezes: Int64 = answer["freezes"]?.integer ?? 0
        lines.append(freezes == 0 ? "freezes   none" : "freezes   \(freezes) standing")
        if let lease = answer["lease"] {
            let epoch: Int64 = lease["epoch"]?.integer ?? 0
            let commits = lease["synchronous"]?.boolean == true ? "synchronous" : "asynchronous"
            lines.append(
                lease["held"]?.boolean == true
                    ? "lease     held, epoch \(epoch), commits \(commits)"
                    : "lease     none, epoch \(epoch): \(text(lease["reason"]))")
        }
        let records: Int64 = answer["audit"]?["records"]?.integer ?? 0
        let percent: Int64 = answer["audit"]?["percent"]?.integer ?? 0
        let blocked = answer["audit"]?["blocked"]?.string.map { ", blocked: " + $0 } ?? ""
        lines.append("audit     \(records) records, \(percent) % full\(blocked)")
        for alarm in answer["alarms"]?.elements ?? [] { lines.append("alarm     " + text(alarm)) }
        for warning in answer["warnings"]?.elements ?? [] { lines.append("warning   " + text(warning)) }
        return lines
    }
}
