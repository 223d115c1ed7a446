import Foundation
import TestServers
import Testing

extension StoryTests {
    /// The drill of docs/failover.md; `deploy/drill-failover` runs it and prints what it found.
    @Suite("A site is lost", .enabled(if: TestPostgreSQL.isInstalled)) struct FailoverStoryTests {
        @Test("Another site takes over: proved with synchronous commits, unknown without; the old one releases nothing",
            arguments: [true, false])
        func drill(isSynchronous: Bool) async throws {
            let report = try await FailoverDrill(isSynchronous: isSynchronous).run()
            for line in report.lines { print("drill: \(line)") }
            if let file = ProcessInfo.processInfo.environment["HDS_DRILL_REPORT"] {
                let before = (try? String(contentsOfFile: file, encoding: .utf8)) ?? ""
                try (before + report.json + "\n").write(toFile: file, atomically: true, encoding: .utf8)
            }
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
    }
}
