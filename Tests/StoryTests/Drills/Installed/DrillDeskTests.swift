import Testing

extension StoryTests {
    /// Not a test by itself: what `deploy/drill` talks to while it drills installed nodes.
    @Suite("Desk of drills on installed nodes", .enabled(if: DrillDesk.wanted != nil)) struct DrillDeskTests {
        @Test("Obeys until its input ends")
        func desk() async throws {
            try await DrillDesk(reportsTo: try #require(DrillDesk.wanted)).run()
        }
    }

    @Suite("Reports of drills") struct DrillReportTests {
        private static var report: DrillReport {
            var report = DrillReport(name: "01-service-killed", shows: "killed & back")
            report.detection = .milliseconds(12)
            report.recovery = .milliseconds(1234)
            report.restoration = .milliseconds(900)
            report.requests = 40
            report.proofs = [
                DrillReport.Proof(
                    after: .milliseconds(12), host: "kms-1", text: "<script>alert(1)</script>", isDetection: true)
            ]
            return report
        }

        @Test("A drill has passed when nothing is lost and everybody was answered again")
        func passed() {
            var report = Self.report
            #expect(report.passed)
            report.lost = 1
            #expect(!report.passed)
            report = Self.report
            report.recovery = nil
            #expect(!report.passed)
            report = Self.report
            report.fault = "the service did not come back"
            #expect(!report.passed && report.line.contains("NOT PASSED: the service did not come back"))
        }

        @Test("Text, JSON and page say the same figures; what a journal holds is no markup")
        func forms() {
            let report = Self.report
            #expect(report.text.contains("detected 12 ms; recovered 1234 ms; as before 900 ms"))
            #expect(report.text.contains("12 ms kms-1: <script>"))
            #expect(report.json.contains(#""detectionMilliseconds":12,"recoveryMilliseconds":1234"#))
            #expect(report.json.contains(#""passed":true"#) && report.json.contains(#""host":"kms-1""#))
            let html = DrillPage(title: "Drills", reports: [report]).html
            #expect(html.contains("<td>12 ms<td>1.2 s<td>900 ms<td>40<td>0<td>0"))
            #expect(html.contains("&lt;script&gt;alert(1)") && !html.contains("<script"))
            #expect(html.contains("All 1 drills passed") && !html.contains("http"))
        }
    }
}
