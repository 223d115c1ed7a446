import Diagnostics
import EDiscoveryCollection
import WireText

/// A report as it is kept: what was asked, by whom, until where the mirror counts, and how far it is.
struct Report: Sendable {
    let id: String
    let officer: String
    let created: Timestamp
    /// The last position of the mirror that belongs to it: fixed at its creation, so that every run finds the same.
    let until: Int64
    /// The request's JSON, as it came.
    let request: String
    /// E-mails resolved.
    let subjects: [String]
    var progress = ReportProgress()

    init(id: String, officer: String, created: Timestamp, until: Int64, request: String, subjects: [String]) {
        self.id = id
        self.officer = officer
        self.created = created
        self.until = until
        self.request = request
        self.subjects = subjects
    }

    var asked: ReportRequest {
        get throws { try ReportRequest(JSONDocument(text: request).root) }
    }

    func encoded() -> [UInt8] {
        var json = JSONWriter(reserving: 2048)
        json.beginObject()
        json.member("id", id)
        json.member("officer", officer)
        json.member("created", created.iso8601)
        json.member("until", until)
        json.name("request")
        json.raw(request)
        json.member("subjects", subjects)
        progress.write(to: &json)
        json.endObject()
        return json.bytes()
    }

    init(_ octets: [UInt8]) throws {
        let root = try JSONDocument(octets).root
        guard let id = root["id"]?.string, let officer = root["officer"]?.string,
            let created = root["created"]?.string.flatMap({ Timestamp(iso8601: $0) }),
            let until = root["until"]?.integer, let request = root["request"], let subjects = root["subjects"]?.strings
        else { throw DiagnosedError(.mirror, fault: .store, "a stored report is not of its form") }
        self.init(
            id: id, officer: officer, created: created, until: until, request: request.rawText, subjects: subjects)
        progress = try ReportProgress(root)
    }
}

extension Report {
    var matter: String? { try? asked.matter }

    func write(to json: inout JSONWriter) {
        json.beginObject()
        json.member("id", id)
        json.member("name", ifPresent: try? asked.name)
        json.member("caseId", ifPresent: matter)
        json.member("created", created.iso8601)
        json.member("terms", (try? asked.terms) ?? [])
        progress.write(to: &json)
        json.endObject()
    }

    func text() -> String {
        var json = JSONWriter(reserving: 2048)
        write(to: &json)
        return json.text()
    }
}
