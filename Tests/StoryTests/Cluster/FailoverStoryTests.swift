import Foundation
import TestServers
import Testing
import WireText

extension StoryTests {
    /// The drill of docs/failover.md by this project's own client and with its own eyes; `hdsctl failover drill` does it with the
    /// programs alone.
    @Suite("A site is lost", .enabled(if: TestPostgreSQL.isInstalled)) struct FailoverStoryTests {
        @Test("A switch-over while everything runs and people work: the plan passes, nothing is lost, both nodes go on")
        func switchOver() async throws {
            try await FailoverDrill.withSites(isSynchronous: false) { primary, standby, deployment, nodes in
                let people = [
                    try await Person.logIn("alice", in: deployment), try await Person.logIn("bob", in: deployment),
                ]
                let load = KeyLoad(people)
                _ = try await eventually("the load") { await load.acknowledged > 10 ? true : nil } as Bool
                let plan = try await FailoverDrill.hdsctl(["plan", "--socket", nodes[1].socket], nodes[1])
                #expect(plan.code == 0, "\(plan.text)")
                #expect(plan.text.contains("2 live leases") && plan.text.contains("pass  master-key"), "\(plan.text)")
                let refused = try await FailoverDrill.hdsctl(["promote"], nodes[1])
                #expect(refused.code == 69 && refused.text.contains("still gives leases"), "\(refused.text)")
                let done = try await FailoverDrill.hdsctl(["promote", "--switch-over", "--site", "b"], nodes[1])
                #expect(done.code == 0 && done.text.contains("proved"), "\(done.text)")
                for node in nodes { try await node.waitUntilReady() }
                let then = await load.acknowledged
                _ = try await eventually("people go on") { await load.acknowledged > then + 10 ? true : nil } as Bool
                let list = try await ClusterStoryTests.nodeList(nodes[0])
                #expect(list.contains("epoch 3, site b") && !list.contains("no lease"), "\(list)")
                await load.stop()
                #expect(await load.failures == [])
                #expect(try await load.missing() == 0)
                print("switch-over: \(await load.acknowledged) keys, longest wait \(await load.longest)")
                let after = try await FailoverDrill.hdsctl(["plan", "--socket", nodes[1].socket], nodes[1])
                #expect(
                    after.text.contains("localhost:\(standby.port): primary, epoch 3, 2 live leases"), "\(after.text)")
                #expect(after.text.contains("localhost:\(primary.port) takes writes in epoch 2, which is over"))
                for person in people { await person.close() }
            }
        }

        @Test(
            "Another site takes over: proved with synchronous commits, unknown without; the old one releases nothing",
            arguments: LongTests.some(1, of: [true, false]))
        func drill(isSynchronous: Bool) async throws {
            let report = try await FailoverDrill(isSynchronous: isSynchronous).run()
            for line in report.lines { print("drill: \(line)") }
            #expect(report.lost == 0)
            #expect(report.acknowledged > 10)
            #expect(!report.oldAnswered)
            if isSynchronous {
                #expect(report.verdict.hasPrefix("proved"))
                #expect(report.unreadable == 0)
            } else {
                #expect(report.verdict.hasPrefix("unknown"))
                #expect(report.refusal?.contains("--force") == true, "it is refused without --force")
            }
        }

        @Test(
            "hdsctl failover drill does the same with nothing but programs, and says so as JSON",
            .enabled(if: LongTests.areWanted))
        func command() async throws {
            let output = FileManager.default.temporaryDirectory.path + "/failover-drill-\(UUID().uuidString).log"
            defer { try? FileManager.default.removeItem(atPath: output) }
            let child = try ChildProcess(
                Repository.program("hdsctl"), ["failover", "drill", "--commits", "synchronous", "--json"],
                output: output)
            #expect(try await child.end(within: .seconds(240)) == .exit(0), "\(child.tail())")
            let line = try #require(child.log().split(separator: "\n").first { $0.hasPrefix("{") })
            let report = try JSONDocument(text: String(line)).root
            #expect(report["lost"]?.integer == 0 && report["unreadable"]?.integer == 0)
            #expect((report["acknowledged"]?.integer ?? 0) > 10 && report["oldAnswered"]?.boolean == false)
            #expect(report["verdict"]?.string?.hasPrefix("proved") == true)
        }
    }
}
