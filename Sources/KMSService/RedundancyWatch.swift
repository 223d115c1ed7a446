import Diagnostics
import Dispatch
import KeyStore
import LinkedService
import PostgreSQLClient
import ServiceLifecycle
import ServiceRuntime
import SiteFailover

/// Whether a cluster still has a second one of everything: nodes with a lease, and a standby that follows.
///
/// Rules:
/// 1. Of nodes that the database lists and nobody removed, two hold leases. A cluster that never had two says nothing.
/// 2. Where the configuration names more than one server, a standby follows the primary.
/// 3. The standby that is nearest lacks less than 16 MiB of the log; the alarm is cleared below half of that.
struct RedundancyWatch: Service {
    static let lag: Int64 = 16 << 20

    struct Seen: Sendable {
        /// Each node that is listed, and whether its lease is alive.
        var nodes: [(name: String, isLive: Bool)]
        /// Nil: one server is configured.
        var servers: FailoverSurvey.Redundancy?
    }

    let cluster: any ClusterStore
    let settings: PostgreSQLSettings
    let alarms: AlarmBoard
    private let thread = DispatchQueue(label: "hds.redundancy")

    init(_ cluster: any ClusterStore, _ settings: PostgreSQLSettings, _ alarms: AlarmBoard) {
        (self.cluster, self.settings, self.alarms) = (cluster, settings, alarms)
    }

    func run() async throws {
        await recurring(every: .seconds(15)) {
            if let seen = await look() { Self.judge(seen, alarms) }
        }
    }

    /// Nil while the database does not answer: its own alarms tell.
    func look() async -> Seen? {
        guard let leases = try? await cluster.leases() else { return nil }
        let nodes = leases.filter { !$0.isRemoved }.map { (name: $0.node, isLive: $0.age < .seconds(5)) }
        guard settings.hosts.count > 1 else { return Seen(nodes: nodes, servers: nil) }
        // Blocks for some seconds where a server does not answer.
        let redundancy = await withCheckedContinuation { continuation in
            thread.async { [settings] in
                continuation.resume(returning: FailoverSurvey(settings, seenEpoch: 0).redundancy)
            }
        }
        return Seen(nodes: nodes, servers: redundancy)
    }

    static func judge(_ seen: Seen, _ alarms: AlarmBoard) {
        let live = seen.nodes.filter(\.isLive).map(\.name)
        let lost = seen.nodes.filter { !$0.isLive }.map(\.name).sorted().joined(separator: ", ")
        if seen.nodes.count > 1, live.count < 2 {
            alarms.raise(
                .redundancyLost, about: "nodes",
                "\(Loggable(live.count)) of \(Loggable(seen.nodes.count)) nodes holds a lease; missing: \(reviewed: lost)"
            )
        } else {
            alarms.clear(.redundancyLost, about: "nodes", "\(Loggable(live.count)) nodes hold leases")
        }
        guard let servers = seen.servers else { return }
        guard !servers.following.isEmpty else {
            let missing = servers.missing.joined(separator: "; ")
            alarms.raise(
                .redundancyLost, about: "standby",
                "no standby follows the primary\(reviewed: missing.isEmpty ? "" : "; \(missing)")")
            return
        }
        alarms.clear(
            .redundancyLost, about: "standby",
            "\(reviewed: servers.following.joined(separator: ", ")) follows the primary")
        guard let behind = servers.behind else { return }
        let detail: Loggable = "the nearest standby is \(Loggable(Int(behind >> 20))) MiB behind"
        if behind >= lag {
            alarms.raise(.standbyLag, stage: behind >= 16 * lag ? 2 : 1, detail)
        } else if behind < lag / 2 {
            alarms.clear(.standbyLag, detail)
        }
    }
}
