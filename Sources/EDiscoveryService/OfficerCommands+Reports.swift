import Diagnostics
import EDiscoveryCollection
import WireText

// Reports: an officer sees his own of the matter only.
extension OfficerCommands {
    /// Octets of items in one answer.
    static let page = 192 << 10

    func reports(_ name: String, _ body: JSONNode?, _ asking: Asking) throws -> String {
        switch name {
        case "reports.create":
            guard let body else { throw Refused(400, "a report needs a request") }
            return try create(body, asking)
        case "reports.list":
            let own = try mirror.reports(under: asking.key).filter {
                $0.officer == asking.officer && $0.matter == asking.matter
            }
            return Self.object { json in
                json.name("reports")
                json.beginArray()
                for report in own.sorted(by: { ($0.created, $0.id) < ($1.created, $1.id) }).suffix(200) {
                    report.write(to: &json)
                }
                json.endArray()
            }
        case "reports.get": return try own(body, asking).text()
        case "reports.pause": return try order(.pause, body, asking)
        case "reports.resume": return try order(.resume, body, asking)
        case "reports.cancel": return try order(.cancel, body, asking)
        case "reports.delete":
            let report = try own(body, asking)
            try mirror.delete(report.id)
            return Self.object { $0.member("deleted", report.id) }
        case "reports.items": return try items(own(body, asking), body, asking)
        case "reports.estimate":
            guard let body else { throw Refused(400, "an estimate needs a request") }
            return try estimate(body, asking)
        default: throw Refused(400, "there is no such command")
        }
    }

    /// What a report would look at, without a key: messages, files and octets by what stands in clear, before any word is read.
    private func estimate(_ body: JSONNode, _ asking: Asking) throws -> String {
        let request = try ReportRequest(body)
        guard request.spaceNames.isEmpty else {
            throw Refused(400, "an estimate opens nothing, so it knows no names of spaces: name them by their ids")
        }
        let subjects = Set(try directory.ids(of: request))
        var spaces = 0, messages = 0, files = 0, octets: UInt64 = 0, after: String?
        let until = try mirror.last()
        while try !mirror.noteFacts(under: asking.key) {}
        while let space = try mirror.space(after: after, until: until) {
            after = space
            guard request.wants(space: space) == true else { continue }
            let selection = Selection(
                people: subjects, role: request.role == .author ? .author : .participant, start: request.start,
                end: request.end)
            var count = 0
            try mirror.eachPage(of: space, until: until, under: asking.key) { log in
                let found = selection.messages(of: log)
                count += found.count
                for file in found.flatMap(\.files) {
                    files += 1
                    octets += file.size ?? 0
                }
            }
            if count > 0 { spaces += 1 }
            messages += count
        }
        return Self.object { json in
            json.member("containers", spaces)
            json.member("items", messages)
            json.member("files", files)
            json.member("bytes", Int64(clamping: octets))
            json.member("beforeKeywords", !request.terms.isEmpty)
        }
    }

    private func create(_ body: JSONNode, _ asking: Asking) throws -> String {
        let request = try ReportRequest(body)
        guard request.matter == asking.matter else {
            throw Refused(400, "caseId is not the matter of the command")
        }
        if let idempotencyKey = request.idempotencyKey {
            for known in try mirror.reports(under: asking.key) where known.officer == asking.officer {
                if try known.asked.idempotencyKey == idempotencyKey { return known.text() }
            }
        }
        let report = Report(
            id: UUIDText.random(), officer: asking.officer, created: now(), until: try mirror.last(),
            request: body.rawText,
            subjects: try directory.ids(of: request))
        try mirror.insert(report, under: asking.key)
        return report.text()
    }

    func own(_ body: JSONNode?, _ asking: Asking) throws -> Report {
        guard let id = body?["id"]?.string, let report = try mirror.report(id, under: asking.key),
            report.officer == asking.officer,
            report.matter == asking.matter
        else { throw Refused(404, "you have no such report in this matter") }
        return report
    }

    private func order(_ order: ReportProgress.Order, _ body: JSONNode?, _ asking: Asking) throws -> String {
        let report = try own(body, asking)
        let changed = try mirror.update(report.id, under: asking.key) { report in
            try report.progress.order(order)
            return []
        }
        return (changed ?? report).text()
    }

    private func items(_ report: Report, _ body: JSONNode?, _ asking: Asking) throws -> String {
        let after = body?["after"]?.integer ?? 0
        let limit = Int(min(max(body?["limit"]?.integer ?? 200, 1), 1000))
        var texts: [String] = [], size = 0, next: Int64?
        // One more than is given says whether there are more.
        let found = try mirror.items(of: report.id, after: after, count: limit + 1, under: asking.key)
        for (place, octets) in found.prefix(limit) {
            guard texts.isEmpty || size + octets.count <= Self.page else { break }
            size += octets.count
            next = place
            // One that fits into no answer is named.
            texts.append(
                size > 2 * Self.page
                    ? "{\"place\":\(place),\"problems\":[{\"class\":\"tooLarge\"}]}"
                    : String(decoding: octets, as: UTF8.self))
        }
        return "{\"items\":[" + texts.joined(separator: ",") + "]"
            + (texts.count < found.count ? next.map { ",\"next\":\($0)" } ?? "" : "") + "}"
    }
}
