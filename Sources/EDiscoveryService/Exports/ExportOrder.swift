import Diagnostics
import EDiscoveryExport
import WireText

/// An export as it was ordered and how far it is: one document of the worker's database.
struct ExportOrder: Sendable {
    enum State: String { case waiting, completed, failed }

    struct File: Sendable, Equatable {
        let name: String
        let octets: Int64
        /// SHA-256 of the sealed file, hexadecimal.
        let digest: String
    }

    let id: String
    let report: String
    let officer: String
    let matter: String?
    let created: Timestamp
    let formats: Set<ExportFormat>
    /// The name of the officer's key.
    let recipient: String
    let split: Int64?
    let zone: String
    let numbering: DocumentNumbering
    var state = State.waiting
    var reason: String?
    var files: [File] = []

    /// Of a request; throws what can not be meant.
    init(_ body: JSONNode, report: Report, officer: String, now: Timestamp) throws {
        id = UUIDText.random()
        self.report = report.id
        self.officer = officer
        matter = report.matter
        created = now
        var formats = Set<ExportFormat>()
        for name in try OfficerCommands.texts(body["formats"], "formats") {
            guard let format = ExportFormat(rawValue: name) else {
                throw OfficerCommands.Refused(
                    400, "formats are " + ExportFormat.allCases.map(\.rawValue).joined(separator: ", "))
            }
            formats.insert(format)
        }
        self.formats = formats.isEmpty ? Set(ExportFormat.allCases) : formats
        guard let recipient = body["encryptTo"]?.string, !recipient.isEmpty else {
            throw OfficerCommands.Refused(400, "encryptTo is the name (kid) of a key in exports.recipients")
        }
        self.recipient = recipient
        let split = body["split"]?.integer
        guard split.map({ $0 >= 1 << 20 }) ?? true else {
            throw OfficerCommands.Refused(400, "split is the largest volume's octets, 1,048,576 at least")
        }
        self.split = split
        zone = body["timezone"]?.string ?? "UTC"
        _ = try Self.rules(zone)
        let bates = body["bates"]
        numbering =
            try bates == nil
            ? .standard
            : DocumentNumbering(
                prefix: bates?["prefix"]?.string ?? "HDS", digits: Int(bates?["digits"]?.integer ?? 9),
                start: bates?["start"]?.integer ?? 1)
    }

    static func rules(_ zone: String) throws -> ZoneRules { zone == "UTC" ? .utc : try ZoneRules(named: zone) }

    func write(to json: inout JSONWriter) {
        json.beginObject()
        json.member("id", id)
        json.member("reportId", report)
        json.member("officer", officer)
        json.member("matter", ifPresent: matter)
        json.member("created", created.iso8601)
        json.member("formats", formats.map(\.rawValue).sorted())
        json.member("encryptTo", recipient)
        if let split { json.member("split", split) }
        json.member("timezone", zone)
        json.name("bates")
        json.beginObject()
        json.member("prefix", numbering.prefix)
        json.member("digits", numbering.digits)
        json.member("start", numbering.start)
        json.endObject()
        json.member("state", state.rawValue)
        json.member("reason", ifPresent: reason)
        json.name("files")
        json.beginArray()
        for file in files {
            json.beginObject()
            json.member("name", file.name)
            json.member("octets", file.octets)
            json.member("sha256", file.digest)
            json.endObject()
        }
        json.endArray()
        json.endObject()
    }

    func text() -> String {
        var json = JSONWriter(reserving: 2048)
        write(to: &json)
        return json.text()
    }

    /// As `write` wrote it.
    init(_ node: JSONNode) throws {
        guard let id = node["id"]?.string, let report = node["reportId"]?.string,
            let officer = node["officer"]?.string,
            let created = node["created"]?.string.flatMap({ Timestamp(iso8601: $0) }),
            let formats = node["formats"]?.strings, let recipient = node["encryptTo"]?.string,
            let zone = node["timezone"]?.string, let bates = node["bates"],
            let state = node["state"]?.string.flatMap({ State(rawValue: $0) })
        else { throw DiagnosedError(.mirror, fault: .store, "a stored export is not of its form") }
        (self.id, self.report, self.officer, self.created) = (id, report, officer, created)
        matter = node["matter"]?.string
        self.formats = Set(formats.compactMap { ExportFormat(rawValue: $0) })
        (self.recipient, self.zone, self.state) = (recipient, zone, state)
        split = node["split"]?.integer
        numbering = try DocumentNumbering(
            prefix: bates["prefix"]?.string ?? "HDS", digits: Int(bates["digits"]?.integer ?? 9),
            start: bates["start"]?.integer ?? 1)
        reason = node["reason"]?.string
        files = (node["files"]?.elements ?? []).compactMap { file in
            guard let name = file["name"]?.string, let octets = file["octets"]?.integer,
                let digest = file["sha256"]?.string
            else { return nil }
            return File(name: name, octets: octets, digest: digest)
        }
    }
}
