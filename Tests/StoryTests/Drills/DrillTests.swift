import Foundation
import Synchronization
import TestServers
import Testing

extension StoryTests {
    /// The drills of docs/drills.md, which `deploy/drill` runs on a network of their own.
    @Suite("Drills", .serialized, .enabled(if: !Drill.wanted.isEmpty)) struct DrillTests {
        /// Of this run, for the page.
        private static let reports = Mutex<[DrillReport]>([])

        /// The cluster of the last drill, when it left it as it found it.
        private static let standing = Standing()

        private actor Standing {
            private var cluster: DrillCluster?

            func take() -> DrillCluster? {
                defer { cluster = nil }
                return cluster
            }
            func keep(_ cluster: DrillCluster) { self.cluster = cluster }
        }

        @Test("A fault while people work", arguments: Drill.wanted)
        func drill(_ drill: Drill) async throws {
            let cluster: DrillCluster
            if case .shared = drill.ground, let standing = await Self.standing.take() {
                cluster = standing
            } else {
                await Self.standing.take()?.end()
                cluster = try await DrillCluster.start(drill.ground)
            }
            do {
                let report = try await DrillRun.run(drill, on: cluster)
                print("drill: \(report.line)")
                try Self.record(report)
                #expect(report.lost == 0)
                #expect(report.recovery != nil && report.restoration != nil)
                if case .shared = drill.ground, drill.name != Drill.wanted.last?.name {
                    await Self.standing.keep(cluster)
                } else {
                    await cluster.end()
                }
            } catch {
                print("drill: \(drill.name) did not recover: \(error)")
                for node in cluster.nodes { print("\(node.name): \(await node.log().suffix(3000))") }
                print("core: \(cluster.coreLog.suffix(3000))")
                await cluster.end()
                throw error
            }
        }

        private static func record(_ report: DrillReport) throws {
            guard let file = ProcessInfo.processInfo.environment["HDS_DRILL_REPORT"] else { return }
            let before = (try? String(contentsOfFile: file, encoding: .utf8)) ?? ""
            try (before + report.json + "\n").write(toFile: file, atomically: true, encoding: .utf8)
            let reports = Self.reports.withLock { reports in
                reports.append(report)
                return reports
            }
            let page = DrillPage(title: "Drills on a network of hosts", reports: reports)
            try page.html.write(toFile: file + ".html", atomically: true, encoding: .utf8)
        }
    }
}
