import TestServers

/// One drill under way: people at work, the blow, and what is measured from then on.
final class DrillRun {
    let cluster: DrillCluster
    private(set) var report: DrillReport
    private let load: KeyLoad
    private(set) var blow = ContinuousClock.now
    private var coreLogBefore = 0

    var wire: Wire { cluster.network.wire }
    var network: DrillNetwork { cluster.network }
    var node: ClusterNode { cluster.nodes[0] }

    /// How long anything may take before the drill counts as failed.
    static let limit = Duration.seconds(180)

    private init(_ drill: Drill, _ cluster: DrillCluster) {
        self.cluster = cluster
        report = DrillReport(name: drill.name)
        load = KeyLoad(cluster.people, pause: .milliseconds(100))
    }

    static func run(_ drill: Drill, on cluster: DrillCluster) async throws -> DrillReport {
        let run = DrillRun(drill, cluster)
        do {
            _ = try await eventually("people at work", within: Self.limit) {
                await run.load.everybodyAnswered(after: run.blow)
            }
            try await drill.run(run)
        } catch {
            await run.load.stop()
            throw error
        }
        await run.load.stop()
        run.report.requests = await run.load.requests
        run.report.failed = await run.load.failures.count
        run.report.longestWait = await run.load.longest
        for failure in Set(await run.load.failures) { print("failed: \(failure)") }
        run.report.lost = try await run.load.missing()
        return run.report
    }

    // MARK: - Steps of a drill

    /// The fault begins: times count from here.
    func strike(_ fault: () async throws -> Void) async throws {
        coreLogBefore = cluster.coreLog.utf8.count
        blow = .now
        try await fault()
    }

    /// Waits until the system says what is wrong.
    func detected(_ what: String, _ look: () async throws -> Bool) async throws {
        report.detection = try await eventually(what, within: Self.limit) {
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
    func recovered() async throws {
        let moment = blow
        report.recovery = blow.duration(
            to: try await eventually("an answer for everybody", within: Self.limit) {
                await load.everybodyAnswered(after: moment)
            })
    }

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
                "every node ready and linked", within: Self.limit, seen: { "linked: \(cluster.linked().sorted())" }
            ) {
                await cluster.isWhole() ? true : nil
            } as Bool
    }

    /// The fault ends; waits until everything is as before and everybody is answered.
    func restore(_ mend: () async throws -> Void) async throws {
        let mended = ContinuousClock.now
        try await mend()
        try await whole()
        _ = try await eventually("everybody goes on", within: Self.limit) {
            await load.everybodyAnswered(after: mended)
        }
        report.restoration = mended.duration(to: .now)
    }

    func figure(_ name: String, _ value: Int) { report.figures.append((name, value)) }
}

extension Sequence where Element == UInt8 {
    fileprivate func contains(_ text: String) -> Bool { String(decoding: Array(self), as: UTF8.self).contains(text) }
}
