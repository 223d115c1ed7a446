import Foundation
import Glibc
import HDSClient
import TestServers
import WireText

/// A site lost and another one that takes over, on a throw-away copy of everything, with people at work all the time.
///
/// Site A: the primary and a node. Site B: the standby and a node. Both nodes know both servers.
struct FailoverDrill {
    struct Report: Sendable {
        var isSynchronous = false
        /// From the loss of site A until the node of site B said so.
        var detection = Duration.zero
        /// How long `hdsctl failover promote` took.
        var promotion = Duration.zero
        /// From the loss until a request that was made after it was answered.
        var recovery = Duration.zero
        var requests = 0
        var lost = 0
        var acknowledged = 0
        var unreadable = 0
        var longestWait = Duration.zero
        var verdict = ""
        /// What `promote` said without `--force`, where it was refused.
        var refusal: String?
        var oldAnswered = true
        var oldRefusedBy = ""

        var lines: [String] {
            [
                "commits             " + (isSynchronous ? "synchronous" : "asynchronous"),
                "loss detected after " + detection.text, "promotion took      " + promotion.text,
                "answers again after " + recovery.text, "requests            \(requests), lost \(lost)",
                "longest wait        " + longestWait.text,
                "keys acknowledged   \(acknowledged), not readable \(unreadable)", "tool says           " + verdict,
            ] + (refusal.map { ["without --force     " + $0] } ?? []) + [
                "old primary, back   " + (oldAnswered ? "ANSWERED" : "released nothing: " + oldRefusedBy)
            ]
        }
    }

    let isSynchronous: Bool

    func run() async throws -> Report {
        try await Self.withSites(isSynchronous: isSynchronous) { primary, _, deployment, nodes in
            try await lose(primary, deployment, nodes)
        }
    }

    /// Two sites, each with a server and a node; all of it ends with the body.
    static func withSites<Result>(
        isSynchronous: Bool,
        _ body: (TestPostgreSQL, TestPostgreSQL, Deployment, [ClusterNode]) async throws -> Result
    ) async throws -> Result {
        let primary = try await TestPostgreSQL.start()
        defer { primary.end() }
        let standby = try await TestPostgreSQL.start(standbyOf: primary)
        defer { standby.end() }
        try await primary.sql("GRANT EXECUTE ON FUNCTION pg_promote(boolean, integer) TO hds")
        if isSynchronous {
            try await primary.sql("ALTER SYSTEM SET synchronous_standby_names = '*'")
            try await primary.sql("SELECT pg_reload_conf()")
        }
        let deployment = Deployment(try await Domain.make())
        var nodes: [ClusterNode] = []
        do {
            for service in [Service.auth, .core] {
                try deployment.start(service)
                try await deployment.waitUntilReady(service)
            }
            for name in ["site-a", "site-b"] {
                let node = try ClusterNode(name, deployment.domain, servers: [primary, standby])
                nodes.append(node)
                try await node.start()
                try await node.waitUntilReady()
            }
            let result = try await body(primary, standby, deployment, nodes)
            for node in nodes { try await node.end() }
            try await deployment.end()
            return result
        } catch {
            for node in nodes { print("\(node.name): \(await node.log().suffix(3000))") }
            for node in nodes { try? await node.end() }
            try? await deployment.end()
            throw error
        }
    }

    private func lose(_ primary: TestPostgreSQL, _ deployment: Deployment, _ nodes: [ClusterNode]) async throws
        -> Report
    {
        var report = Report()
        report.isSynchronous = isSynchronous
        let people = [
            try await Person.logIn("alice", in: deployment), try await Person.logIn("bob", in: deployment),
        ]
        let load = KeyLoad(people)
        _ = try await eventually("the load") { await load.acknowledged > 10 ? true : nil } as Bool

        // Site A is gone: its server as by a crash, its node without a word.
        try await nodes[0].cut()
        try await primary.tell("stop")
        let loss = ContinuousClock.now
        _ =
            try await eventually("site B says that it may not release keys") {
                try await nodes[1].alarms().contains("HDS-LEASE-LOST") ? true : nil
            } as Bool
        report.detection = loss.duration(to: .now)

        let begun = ContinuousClock.now
        if !isSynchronous {
            let (code, text) = try await Self.hdsctl(["promote"], nodes[1])
            report.refusal = code == 75 ? "exit code 75: " + String(text.split(separator: "\n").last ?? "") : nil
        }
        let (code, text) = try await Self.hdsctl(
            ["promote", "--site", "b", "--json"] + (isSynchronous ? [] : ["--force"]), nodes[1])
        guard code == 0, let line = text.split(separator: "\n").first(where: { $0.hasPrefix("{") }) else {
            throw NotInTime(what: "the promotion", limit: .zero, seen: "exit code \(code): \(text)")
        }
        report.promotion = begun.duration(to: .now)
        let answer = try JSONDocument(text: String(line)).root
        report.verdict = (answer["acknowledged"]?.string ?? "-") + ": " + (answer["reason"]?.string ?? "-")

        let first = try await eventually("an answer after the loss", within: .seconds(60)) {
            await load.answer(after: loss)
        }
        report.recovery = loss.duration(to: first)
        let then = await load.acknowledged
        _ = try await eventually("people go on") { await load.acknowledged > then + 5 ? true : nil } as Bool

        try await bringBack(primary, deployment, nodes[0], &report)
        await load.stop()
        report.requests = await load.requests
        report.lost = await load.failures.count
        report.longestWait = await load.longest
        for failure in await load.failures { print("lost: \(failure)") }
        report.acknowledged = await load.acknowledged
        report.unreadable = try await load.missing()
        for person in people { await person.close() }
        return report
    }

    /// The old primary runs again, cut off from the new one, with the node of its site, which knows nothing of all that.
    private func bringBack(
        _ primary: TestPostgreSQL, _ deployment: Deployment, _ node: ClusterNode, _ report: inout Report
    ) async throws {
        try await primary.tell("start")
        try node.use([primary])
        let before = await node.log().count
        try await node.start()
        let seen = try await eventually("the old node to be refused", within: .seconds(90)) {
            let log = String(await node.log().dropFirst(before))
            if log.contains("HDS-SPLIT-BRAIN") { return "the core (4410, HDS-SPLIT-BRAIN)" }
            if await !node.isRunning() { return "its database, which waits for a standby: it does not start" }
            return nil as String?
        }
        report.oldRefusedBy = seen
        // People are at work all the time: had it a link, it would answer.
        let log = String(await node.log().dropFirst(before))
        report.oldAnswered = log.contains(" answered 2")
        if seen.contains("4410") {
            _ =
                try await eventually("HDS-SPLIT-BRAIN at the core") {
                    try await deployment.health(of: .core).contains("HDS-SPLIT-BRAIN") ? true : nil
                } as Bool
        }
    }

    static func hdsctl(_ words: [String], _ node: ClusterNode) async throws -> (code: Int32, text: String) {
        let output = node.domain.path("failover-\(UUID().uuidString).log")
        let child = try ChildProcess(
            Repository.program("hdsctl"), ["failover"] + words + ["--config", node.configuration], output: output,
            at: node.place)
        guard case .exit(let code) = try await child.end(within: .seconds(120)) else { return (-1, child.tail()) }
        return (code, child.log())
    }
}

extension Duration {
    fileprivate var text: String { "\(milliseconds) ms" }
}
