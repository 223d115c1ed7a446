import Diagnostics
package import WireText

/// The answers of the health address, made from a report.
///
/// `/healthz` is one JSON object:
/// ```json
/// {"service":"hds-kms","version":"0.1.0","status":"ok","ready":true,"live":true,"sentence":"Ready; all checks pass.",
///  "started":"2026-11-23T13:04:02.123Z","time":"2026-11-23T13:09:40.001Z",
///  "checks":[{"id":"link","title":"the link to the core","state":"ok","since":"...","detail":"...","fix":"...",
///             "gate":"required"}],
///  "warnings":[{"id":"...","text":"...","fix":"..."}],
///  "alarms":[{"id":"HDS-...","severity":"error","title":"...","subject":"...","detail":"...","since":"...",
///             "text":"...","fix":"..."}]}
/// ```
/// `status` is ok, warn, fail or pending; `fix` and `subject` are absent where there is none.
struct HealthDocument {
    let identity: ServiceIdentity
    let report: HealthReport
    let isLive: Bool
    let started: Timestamp
    let time: Timestamp

    var json: [UInt8] {
        var json = JSONWriter(reserving: 2048)
        json.beginObject()
        json.member("service", identity.name)
        json.member("version", identity.version)
        json.member("status", report.state.rawValue)
        json.member("ready", report.isReady)
        json.member("live", isLive)
        json.member("sentence", report.sentence)
        json.member("started", started.iso8601)
        json.member("time", time.iso8601)
        report.writeChecks(to: &json)
        json.name("warnings")
        json.beginArray()
        for warning in report.warnings {
            json.beginObject()
            json.member("id", warning.id)
            json.member("text", warning.text.text)
            json.member("fix", warning.fix.text)
            json.endObject()
        }
        json.endArray()
        report.writeAlarms("alarms", to: &json)
        json.endObject()
        return json.bytes()
    }

    /// `/readyz`: one line when ready, else one for each reason.
    var readiness: String {
        if report.isReady { return "ready\n" }
        if report.isDraining { return "not ready: draining\n" }
        return report.obstacles.map { "not ready: \($0.check.title): \($0.finding.detail.text)\n" }.joined()
    }
}

extension HealthReport {
    /// Every check, as `/healthz` has it, under the name `checks`.
    package func writeChecks(to json: inout JSONWriter) {
        json.name("checks")
        json.beginArray()
        for entry in checks {
            json.beginObject()
            json.member("id", entry.check.id)
            json.member("title", entry.check.title)
            json.member("state", entry.finding.state.rawValue)
            json.member("since", entry.since.iso8601)
            json.member("detail", entry.finding.detail.text)
            json.member("fix", ifPresent: entry.finding.fix?.text)
            json.member("gate", entry.check.gate.name)
            json.endObject()
        }
        json.endArray()
    }

    /// Every alarm that stands, as `/healthz` has it.
    package func writeAlarms(_ name: String, to json: inout JSONWriter) {
        json.name(name)
        json.beginArray()
        for standing in alarms {
            json.beginObject()
            json.member("id", standing.alarm.id)
            json.member("severity", standing.alarm.severity.name)
            json.member("title", standing.alarm.title)
            json.member("subject", ifPresent: standing.subject.text.isEmpty ? nil : standing.subject.text)
            json.member("detail", standing.detail.text)
            json.member("since", standing.since.iso8601)
            json.member("text", standing.alarm.text)
            json.member("fix", standing.alarm.fix)
            json.endObject()
        }
        json.endArray()
    }
}
