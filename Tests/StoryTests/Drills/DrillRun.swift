import TestServers

/// One drill under way: people at work, the blow, and what is measured from then on.
final class DrillRun {
    let cluster: DrillCluster
    private let measure: DrillMeasure
    private var coreLogBefore = 0

    var wire: Wire { cluster.network.wire }
    var network: DrillNetwork { cluster.network }
    var node: ClusterNode { cluster.nodes[0] }
    var blow: ContinuousClock.Instant { measure.blow }

    private init(_ drill: Drill, _ cluster: DrillCluster) {
        self.cluster = cluster
        measure = DrillMeasure(drill.name, shows: drill.shows, cluster.people)
    }

    static func run(_ drill: Drill, on cluster: DrillCluster) async throws -> DrillReport {
        let run = DrillRun(drill, cluster)
        do {
            try await run.measure.atWork()
            try await drill.run(run)
        } catch {
            await run.measure.stop()
            throw error
        }
        let report = try await run.measure.finish()
        for failure in Set(await run.measure.failures()) { print("failed: \(failure)") }
        return report
    }

    // MARK: - Steps of a drill

    /// The fault begins: times count from here.
    func strike(_ fault: () async throws -> Void) async throws {
        coreLogBefore = cluster.coreLog.utf8.count
        measure.strike()
        try await fault()
    }

    /// Waits until the system says what is wrong.
    func detected(_ what: String, _ look: () async throws -> Bool) async throws {
        let blow = blow
        measure.report.detection = try await eventually(what, within: DrillMeasure.limit) {
            try await look() ? blow.duration(to: .now) : nil
        }
    }

    /// Waits until the core says that the link of this node has ended.
    func detectedByCore(_ node: ClusterNode) async throws {
        try await detected("the core ends the link of \(node.name)") {
            cluster.coreLog.utf8.dropFirst(coreLogBefore).contains("the link of \(node.name) ended")
        }
    }

    /// Waits until everybody had an answer to something asked after the blow.
    func recovered() async throws { try await measure.recovered() }

    /// The fault lasts until so long after the blow.
    func hold(_ time: Duration) async throws { try await Task.sleep(until: blow + time) }

    /// How many links the core has seen end since the blow.
    var linksLost: Int {
        let log = String(decoding: Array(cluster.coreLog.utf8.dropFirst(coreLogBefore)), as: UTF8.self)
        return log.split(separator: "\n").count { $0.contains("the link of kms-") && $0.contains(" ended: ") }
    }

    func whole() async throws {
        _ =
            try await eventually(
                "every node ready and linked", within: DrillMeasure.limit,
                seen: { "linked: \(cluster.linked().sorted())" }
            ) {
                await cluster.isWhole() ? true : nil
            } as Bool
    }

    /// The fault ends; waits until everything is as before and everybody is answered.
    func restore(_ mend: () async throws -> Void) async throws {
        let mended = ContinuousClock.now
        try await mend()
        try await whole()
        try await measure.restored(since: mended)
    }

    func figure(_ name: String, _ value: Int) { measure.report.figures.append((name, value)) }
}

extension Sequence where Element == UInt8 {
    fileprivate func contains(_ text: String) -> Bool { String(decoding: Array(self), as: UTF8.self).contains(text) }
}
