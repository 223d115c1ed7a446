import Foundation
import WireText

/// What one drill found. Times count from the blow.
struct DrillReport: Sendable {
    /// One line of a journal that shows what happened.
    struct Proof: Sendable {
        let after: Duration
        let host: String
        let text: String
        /// It is the first that says what is wrong.
        var isDetection = false
    }

    let name: String
    let shows: String
    /// Until the system said that something is wrong; nil where there is nothing to be said.
    var detection: Duration?
    /// Until everybody had an answer to something asked after the blow; nil if somebody never had.
    var recovery: Duration?
    /// From the end of the fault until everything was as before.
    var restoration: Duration?
    var requests = 0
    /// Those that ended with an error before the client's patience was over, or with it.
    var failed = 0
    /// Of what was acknowledged, what can not be had any more or is something else.
    var lost = 0
    var longestWait = Duration.zero
    /// Figures of this drill alone.
    var figures: [(name: String, value: Int)] = []
    /// In the order of time.
    var proofs: [Proof] = []
    /// Why it did not pass, when somebody found that before the figures were there.
    var fault: String?

    init(name: String, shows: String) { (self.name, self.shows) = (name, shows) }

    /// Nothing is lost, and everybody was answered again.
    var passed: Bool { fault == nil && lost == 0 && recovery != nil && restoration != nil }

    var line: String {
        func text(_ time: Duration?) -> String { time.map { "\($0.milliseconds) ms" } ?? "-" }
        var parts = [
            "detected \(text(detection))", "recovered \(text(recovery))", "as before \(text(restoration))",
            "requests \(requests), failed \(failed), lost \(lost)", "longest wait \(text(longestWait))",
        ]
        parts += figures.map { "\($0.name) \($0.value)" }
        if let fault { parts.append("NOT PASSED: \(fault)") }
        return name.padding(toLength: max(20, name.count + 1), withPad: " ", startingAt: 0)
            + parts.joined(separator: "; ")
    }

    /// With the lines that prove it.
    var text: String {
        ([line] + proofs.map { "    \($0.after.milliseconds) ms \($0.host): \($0.text)" }).joined(separator: "\n")
    }

    var json: String {
        var json = JSONWriter()
        json.beginObject()
        json.member("drill", name)
        json.member("shows", shows)
        json.member("passed", passed)
        if let detection { json.member("detectionMilliseconds", detection.milliseconds) }
        if let recovery { json.member("recoveryMilliseconds", recovery.milliseconds) }
        if let restoration { json.member("restorationMilliseconds", restoration.milliseconds) }
        json.member("requests", requests)
        json.member("failed", failed)
        json.member("lost", lost)
        json.member("longestWaitMilliseconds", longestWait.milliseconds)
        for figure in figures { json.member(figure.name, figure.value) }
        json.member("fault", ifPresent: fault)
        if !proofs.isEmpty {
            json.name("journal")
            json.beginArray()
            for proof in proofs {
                json.beginObject()
                json.member("afterMilliseconds", proof.after.milliseconds)
                json.member("host", proof.host)
                json.member("detection", proof.isDetection)
                json.member("line", proof.text)
                json.endObject()
            }
            json.endArray()
        }
        json.endObject()
        return json.text()
    }
}

extension Duration {
    var milliseconds: Int64 { components.seconds * 1000 + components.attoseconds / 1_000_000_000_000_000 }
}
