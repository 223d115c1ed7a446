import Foundation
import Testing
import WireText

/// Something goes wrong on purpose while people work, and what they notice of it is measured.
struct Drill: Sendable, CustomTestStringConvertible {
    let name: String
    let shows: String
    let ground: Ground
    let run: @Sendable (DrillRun) async throws -> Void

    /// The cluster that it runs on.
    enum Ground {
        /// The one of the drill before; it leaves it as it found it.
        case shared
        /// A new one, which is not used again.
        case own
        /// A new one whose nodes reach all but the database through a proxy.
        case behindProxy
        /// A new one whose nodes are of the release in the folder `HDS_DRILL_OLD`.
        case oldRelease
    }

    init(
        _ name: String, _ shows: String, on ground: Ground = .shared,
        run: @escaping @Sendable (DrillRun) async throws -> Void
    ) {
        (self.name, self.shows, self.ground, self.run) = (name, shows, ground, run)
    }

    var testDescription: String { name }

    /// In this order; `deploy/drill --list` reads their names where they are made.
    static let all = [
        nodeKilled, nodeStopped, linkCut, linkCutToCore, linkCutFromCore, linkHalfOpen, linkLossy, linkDelayed,
        linkThrottled,
        siteOffline, coreKilled, namesGone, rollingRestart, rollingUpgrade, databaseLost, proxyKilled,
    ]

    /// Those that `deploy/drill` asks for; none in any other run.
    static var wanted: [Drill] {
        let names = (ProcessInfo.processInfo.environment["HDS_DRILLS"] ?? "").split(separator: " ")
        return all.filter { names.contains(Substring($0.name)) }
    }
}

/// What one drill found. Times count from the blow.
struct DrillReport: Sendable {
    let name: String
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

    var line: String {
        func text(_ time: Duration?) -> String { time.map { "\($0.milliseconds) ms" } ?? "-" }
        var parts = [
            "detected \(text(detection))", "recovered \(text(recovery))", "as before \(text(restoration))",
            "requests \(requests), failed \(failed), lost \(lost)", "longest wait \(text(longestWait))",
        ]
        parts += figures.map { "\($0.name) \($0.value)" }
        return name.padding(toLength: 20, withPad: " ", startingAt: 0) + parts.joined(separator: "; ")
    }

    var json: String {
        var json = JSONWriter()
        json.beginObject()
        json.member("drill", name)
        if let detection { json.member("detectionMilliseconds", detection.milliseconds) }
        if let recovery { json.member("recoveryMilliseconds", recovery.milliseconds) }
        if let restoration { json.member("restorationMilliseconds", restoration.milliseconds) }
        json.member("requests", requests)
        json.member("failed", failed)
        json.member("lost", lost)
        json.member("longestWaitMilliseconds", longestWait.milliseconds)
        for figure in figures { json.member(figure.name, figure.value) }
        json.endObject()
        return json.text()
    }
}

extension Duration {
    var milliseconds: Int64 { components.seconds * 1000 + components.attoseconds / 1_000_000_000_000_000 }
}
