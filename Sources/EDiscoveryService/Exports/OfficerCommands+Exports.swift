import Diagnostics
import EDiscoveryCollection
import Glibc
import WireText

// Exports of reports: who ordered the report orders, sees and fetches its exports.
extension OfficerCommands {
    /// Octets in one answer over the sealed channel.
    static let longestChunk = 1 << 20

    func exports(_ name: String, _ body: JSONNode?, _ asking: Asking) throws -> String {
        guard exportFolder != nil else {
            throw Refused(409, "this worker makes no exports: its configuration has no section exports")
        }
        switch name {
        case "exports.create":
            guard let body else { throw Refused(400, "an export needs a request") }
            let report = try own(
                JSONDocument(text: Self.object { $0.member("id", body["reportId"]?.string ?? "") }).root, asking)
            guard [.completed, .completedWithWarnings].contains(report.progress.state) else {
                throw Refused(
                    409, "the report is \(report.progress.state.rawValue): only one that is completed is exported")
            }
            let order = try ExportOrder(body, report: report, officer: asking.officer, now: now())
            try mirror.put("export", order.id, Array(order.text().utf8), under: asking.key)
            return order.text()
        case "exports.list":
            let own = try mirror.documents("export", under: asking.key).map { try ExportOrder($0.root) }
                .filter { $0.officer == asking.officer && $0.matter == asking.matter }
            return "{\"exports\":[" + own.sorted { $0.created < $1.created }.map { $0.text() }.joined(separator: ",")
                + "]}"
        case "exports.get": return try export(body, asking).text()
        case "exports.delete":
            let order = try export(body, asking)
            try mirror.deleteDocument("export", order.id)
            return Self.object { $0.member("deleted", order.id) }
        case "exports.chunk":
            let (path, file) = try exportFile(body, asking)
            let offset = body?["offset"]?.integer ?? 0
            guard offset >= 0, offset <= file.octets else { throw Refused(400, "offset is beyond the file") }
            let length = min(max(body?["length"]?.integer ?? Int64(Self.longestChunk), 1), Int64(Self.longestChunk))
            let octets = try Exporter.octets(of: path, from: offset, count: Int(length))
            return Self.object { json in
                json.member("file", file.name)
                json.member("offset", offset)
                json.member("size", file.octets)
                json.member("octets", Base64URL.encode(octets))
            }
        default: throw Refused(400, "there is no such command")
        }
    }

    private func export(_ body: JSONNode?, _ asking: Asking) throws -> ExportOrder {
        guard let id = body?["id"]?.string, let found = try mirror.document("export", id, under: asking.key) else {
            throw Refused(404, "you have no such export in this matter")
        }
        let order = try ExportOrder(found.root)
        guard order.officer == asking.officer, order.matter == asking.matter else {
            throw Refused(404, "you have no such export in this matter")
        }
        return order
    }

    /// The sealed file `file` of the export `id`.
    func exportFile(_ body: JSONNode?, _ asking: Asking) throws -> (path: String, file: ExportOrder.File) {
        let order = try export(body, asking)
        // The name is looked up, never put together.
        guard let exportFolder, let name = body?["file"]?.string,
            let file = order.files.first(where: { $0.name == name })
        else { throw Refused(404, "the export has no such file") }
        let path = "\(exportFolder)/\(order.id)/\(file.name)"
        guard access(path, R_OK) == 0 else {
            // It stands on the disk of a worker that has ended: made anew here, the package has the same octets.
            var again = order
            (again.state, again.files) = (.waiting, [])
            try mirror.put("export", order.id, Array(again.text().utf8), under: asking.key)
            throw Refused(409, "the worker that made the export is gone: it is made anew, try again later")
        }
        return (path, file)
    }
}
