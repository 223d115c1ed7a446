package import Diagnostics
import ServiceRuntime
import SiteFailover
package import WireText

/// One thing that the doctor looked at: passed, to be thought about, or in the way, with what to do. Safe to log.
package struct DoctorCheck: Sendable, Hashable {
    package enum Result: String, Sendable, CaseIterable { case pass, warn, fail }

    /// Short and stable, such as `core`; with a name behind it where there are several, such as `credential master-key`.
    package let id: String
    package let result: Result
    package let detail: String
    package let fix: String?

    package init(_ id: String, _ result: Result, _ detail: String, fix: String? = nil) {
        self.id = id
        self.result = result
        self.detail = detail
        self.fix = result == .pass ? nil : fix
    }

    /// What an error means where something had to work.
    package init(_ id: String, _ error: any Error) { self.init(id, .fail, error) }

    package init(_ id: String, _ result: Result, _ error: any Error) {
        guard let error = error as? DiagnosedError else {
            self.init(id, result, Loggable(error: error).text, fix: "see what was asked for in the configuration")
            return
        }
        var text = error.summary
        if let expected = error.expected { text += "; expected \(expected)" }
        if let found = error.found { text += "; found \(found)" }
        self.init(id, result, text, fix: error.hint)
    }

    /// A health check of the services, looked at once; nil while nothing is known.
    init?(_ entry: HealthReport.Check, as id: String? = nil) {
        self.init(id ?? entry.check.id, entry.finding)
    }

    init?(_ id: String, _ finding: HealthFinding) {
        let result: Result
        switch finding.state {
        case .ok: result = .pass
        case .warn: result = .warn
        case .fail: result = .fail
        case .pending: return nil
        }
        self.init(id, result, finding.detail.text, fix: finding.fix?.text)
    }

    init(_ check: FailoverCheck) {
        let result: Result =
            switch check.result {
            case .pass: .pass
            case .warn: .warn
            case .fail: .fail
            }
        self.init(check.name, result, check.detail, fix: check.fix)
    }
}

/// Everything that the doctor found at one time. As JSON:
/// `{"time":"…","node":"…","result":"warn","checks":[{"id":"core","result":"pass","detail":"…","fix":"…"}]}`.
package struct DoctorReport: Sendable {
    package let time: Timestamp
    /// Nil without a configuration.
    package let node: String?
    package let checks: [DoctorCheck]

    package init(time: Timestamp, node: String?, checks: [DoctorCheck]) {
        (self.time, self.node, self.checks) = (time, node, checks)
    }

    package var failed: [DoctorCheck] { checks.filter { $0.result == .fail } }

    /// The worst of all.
    package var result: DoctorCheck.Result {
        if !failed.isEmpty { return .fail }
        return checks.contains { $0.result == .warn } ? .warn : .pass
    }

    package func write(to json: inout JSONWriter) {
        json.beginObject()
        json.member("time", time.iso8601)
        json.member("node", ifPresent: node)
        json.member("result", result.rawValue)
        json.name("checks")
        json.beginArray()
        for check in checks {
            json.beginObject()
            json.member("id", check.id)
            json.member("result", check.result.rawValue)
            json.member("detail", check.detail)
            json.member("fix", ifPresent: check.fix)
            json.endObject()
        }
        json.endArray()
        json.endObject()
    }

    package func bytes() -> [UInt8] {
        var json = JSONWriter(reserving: 8192)
        write(to: &json)
        return json.bytes()
    }

    /// What `bytes` wrote; a member more is no reason to refuse it.
    package init(_ bytes: [UInt8]) throws(DiagnosedError) {
        let root = try JSONDocument(bytes, limits: .init(maximumNodes: 10_000, maximumBytes: 1 << 20)).root
        guard let time = root["time"]?.string.flatMap({ Timestamp(iso8601: $0) }),
            let entries = root["checks"]?.elements
        else { throw Self.malformed }
        var checks: [DoctorCheck] = []
        for entry in entries {
            guard let id = entry["id"]?.string, let detail = entry["detail"]?.string,
                let result = entry["result"]?.string.flatMap({ DoctorCheck.Result(rawValue: $0) })
            else { throw Self.malformed }
            checks.append(DoctorCheck(id, result, detail, fix: entry["fix"]?.string))
        }
        self.init(time: time, node: root["node"]?.string, checks: checks)
    }

    private static var malformed: DiagnosedError {
        DiagnosedError(
            "doctor-report", fault: .configuration, "the doctor's report can not be read",
            expected: "what hdsctl doctor --report wrote", hint: "systemctl start hds-doctor writes it anew")
    }
}
