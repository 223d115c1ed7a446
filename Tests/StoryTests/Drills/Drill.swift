import Foundation
import Testing

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
