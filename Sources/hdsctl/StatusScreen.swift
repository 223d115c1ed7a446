import Diagnostics
import WireText

/// What `hdsctl status` shows, from the answers of the services.
struct StatusScreen {
    struct KMS {
        let status: JSONNode
        let nodes: JSONNode?
    }

    let kms: Result<KMS, DiagnosedError>
    let others: [OtherServices.Seen]
    /// Whether there is a configuration of a KMS here.
    let isSetUp: Bool
    var now = Timestamp.now()

    var isFailing: Bool {
        if others.contains(where: \.isFailing) { return true }
        switch kms {
        case .success(let kms): return kms.status["status"]?.string == "fail"
        // A machine may have the other services only.
        case .failure: return isSetUp || others.isEmpty
        }
    }

    // MARK: Lines

    var lines: [String] {
        var lines: [String] = []
        switch kms {
        case .success(let kms): lines += self.lines(of: kms)
        case .failure(let error) where isSetUp || others.isEmpty:
            lines.append("hds-kms   does not answer: \(error.summary)" + (error.found.map { " (\($0))" } ?? ""))
            lines.append(
                isSetUp
                    ? "          to do: \(error.hint.map { "\($0); " } ?? "")journalctl -u hds-kms -n 50 says why"
                    : "          to do: hdsctl setup; or name its socket with --socket [\(error.code.rawValue)]")
        case .failure: break
        }
        for other in others { lines += other.lines }
        return lines
    }

    private func lines(of kms: KMS) -> [String] {
        let answer = kms.status
        var lines = [
            "\(answer.text("service")) \(answer.text("version")), node \(answer.text("node")) of "
                + "\(answer.text("host")), running since \(answer.text("started"))",
            "state     \(answer.text("sentence"))",
        ]
        if let link = answer.nodes("checks").first(where: { $0.text("id") == "link" }) {
            lines.append("link      \(link.text("state")): \(link.text("detail"))")
        }
        lines += [policy(answer), officers(answer), freezes(answer)] + lease(answer) + nodes(kms.nodes)
        lines += [rotation(answer), backup(answer), drills(answer)]
        if let doctor = answer["doctor"] {
            lines.append("doctor    \(doctor.text("result")), \(ago(doctor["time"]))")
        } else {
            lines.append("doctor    has not looked yet: systemctl enable --now hds-doctor.timer")
        }
        let blocked = answer["audit"]?["blocked"]?.string.map { ", blocked: " + $0 } ?? ""
        let audit = answer["audit"]
        lines.append(
            "audit     \(audit?.number("records") ?? 0) records, \(audit?.number("percent") ?? 0) % full\(blocked)")
        return lines + alarms(answer)
    }

    private func policy(_ answer: JSONNode) -> String {
        let policy = answer["policy"]
        guard let policy, policy.number("version") > 0 else { return "policy    none: nobody but members gets keys" }
        let services = policy.texts("services")
        let named = services.isEmpty ? "no services" : "services: " + services.joined(separator: ", ")
        return "policy    version \(policy.number("version")), issued \(policy.text("issued")), \(named)"
    }

    private func officers(_ answer: JSONNode) -> String {
        let officers = answer.nodes("officers").map { officer in
            "\(officer.text("id")) (\(officer.text("name")): \(officer.texts("duties").joined(separator: ", ")))"
        }
        return "officers  " + (officers.isEmpty ? "none: nobody can sign" : officers.joined(separator: "; "))
    }

    private func freezes(_ answer: JSONNode) -> String {
        let freezes = answer.number("freezes")
        return freezes == 0 ? "freezes   none" : "freezes   \(freezes) standing"
    }

    private func lease(_ answer: JSONNode) -> [String] {
        guard let lease = answer["lease"] else { return [] }
        let epoch = lease.number("epoch")
        let commits = lease["synchronous"]?.boolean == true ? "synchronous" : "asynchronous"
        return [
            lease["held"]?.boolean == true
                ? "lease     held, epoch \(epoch), commits \(commits)"
                : "lease     none, epoch \(epoch): \(lease.text("reason"))"
        ]
    }

    private func nodes(_ answer: JSONNode?) -> [String] {
        guard let answer else { return ["nodes     not known: the database does not answer"] }
        let nodes = answer.nodes("nodes").filter { $0["held"] != nil }
        return Columns.lines(
            nodes.map { node in
                let lease =
                    node["removed"]?.boolean == true
                    ? "removed"
                    : (node["held"]?.boolean == true ? "lease held" : "no lease")
                        + ", renewed \(node.number("ageMilliseconds")) ms ago"
                return [
                    "node      \(node.text("node"))", node.text("listed") == "no" ? "not listed" : node.text("listed"),
                    node.text("release"), lease,
                ]
            })
    }

    private func rotation(_ answer: JSONNode) -> String {
        guard let rotation = answer["rotation"] else { return "rotation  not told by this release" }
        let version = rotation.number("rootKey")
        guard rotation["from"] != nil else { return "rotation  none; version \(version) of the root key is active" }
        let left = rotation["secondsLeft"] == nil ? "" : ", \(rotation.number("secondsLeft")) s left"
        let failure = rotation["failure"]?.string.map { ", held up: \($0)" } ?? ""
        return "rotation  from version \(rotation.number("from")) to \(version): \(rotation.number("done")) of "
            + "\(rotation.number("total")) records\(left)\(failure)"
    }

    private func backup(_ answer: JSONNode) -> String {
        let backup = answer["backup"]
        guard backup?["configured"]?.boolean == true else { return "backup    none: backup.folder is not set" }
        guard let newest = backup?["newest"] else { return "backup    none yet: hdsctl backup" }
        return "backup    \(ago(newest)), \(backup?.text("file") ?? "-")"
    }

    private func drills(_ answer: JSONNode) -> String {
        let drills = answer.nodes("drills").map { "\($0.text("subject")) \(ago($0["last"]))" }
        return "drills    " + (drills.isEmpty ? "none known" : drills.joined(separator: ", "))
    }

    private func alarms(_ answer: JSONNode) -> [String] {
        var lines: [String] = []
        for alarm in answer.nodes("standing") {
            lines.append("alarm     \(alarm.text("id")): \(alarm.text("detail"))")
            lines.append("          \(alarm.text("severity")) \(ago(alarm["since"])); to do: \(alarm.text("fix"))")
        }
        for warning in answer["warnings"]?.elements ?? [] { lines.append("warning   \(warning.string ?? "-")") }
        return lines
    }

    /// How long ago, in the unit that fits; `never` without a time.
    private func ago(_ node: JSONNode?) -> String {
        guard let time = node?.string.flatMap({ Timestamp(iso8601: $0) }) else { return "never" }
        let seconds = max(0, now.seconds - time.seconds)
        switch seconds {
        case ..<120: return "\(seconds) s ago"
        case ..<7200: return "\(seconds / 60) min ago"
        case ..<172_800: return "\(seconds / 3600) h ago"
        default: return "\(seconds / 86_400) days ago"
        }
    }

    // MARK: JSON

    /// What the KMS answered, with the other services beside it.
    var json: String {
        var services = JSONWriter()
        services.beginArray()
        for other in others { other.write(to: &services) }
        services.endArray()
        let head: String
        switch kms {
        case .success(let kms):
            head = String(kms.status.rawText.dropLast()) + (kms.nodes.map { ",\"cluster\":\($0.rawText)" } ?? "")
        case .failure(let error):
            var json = JSONWriter()
            json.beginObject()
            json.member("service", "hds-kms")
            json.member("status", "fail")
            json.member("answers", false)
            json.member("sentence", error.description)
            json.member("fix", ifPresent: error.hint)
            json.endObject()
            head = String(json.text().dropLast())
        }
        return "\(head),\"services\":\(services.text())}"
    }
}
