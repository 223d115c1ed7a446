import Foundation
import Glibc
import HDSClient
import Testing
import WireText

extension StoryTests {
    /// What the timers run, with the real programs: a nightly backup that is proved, a rehearsal, their reports.
    @Suite("Timers of backup and rehearsal") struct TimerStoryTests {
        private struct Desk {
            let deployment: Deployment
            var folder: String { deployment.domain.folder }

            func hdsctl(_ arguments: String...) async throws -> String {
                try await ChildProcess.run(Repository.program("hdsctl"), arguments, folder: folder)
            }
            var place: [String] { ["--config", folder + "/kms/hds-kms.yaml", "--scratch", folder] }
            func run(_ words: String...) async throws -> String {
                try await ChildProcess.run(Repository.program("hdsctl"), words + place, folder: folder)
            }
            func reports() async throws -> [JSONNode] {
                let text = try await hdsctl("drill", "reports", "--json", "--socket", folder + "/kms/control.sock")
                return try JSONDocument(text: text).root["reports"]?.elements ?? []
            }
        }

        @Test("without a folder for backups they say so, and do nothing")
        func nowhere() async throws {
            let deployment = try await Deployment.shared()
            let desk = Desk(deployment: deployment)
            for words in [["backup", "nightly"], ["drill", "restore"]] {
                let text = try await desk.run(words[0], words[1])
                #expect(text.contains("Nothing was done: no folder for backups is configured"), "\(text)")
            }
        }

        @Test(
            "a backup is made and proved, a restore is rehearsed, both leave a report; a failure is told and reported")
        func nights() async throws {
            try await Deployment.with(change: { domain in
                mkdir(domain.path("backups"), 0o700)
                try domain.replace(
                    "control:\n", with: "backup:\n  folder: \(domain.path("backups"))\n  keep-days: 7\ncontrol:\n",
                    in: "kms/hds-kms.yaml")
            }) { deployment in
                let desk = Desk(deployment: deployment)
                let alice = try await Person.logIn("alice", in: deployment)
                let bob = try await Person.logIn("bob", in: deployment)
                let space = try await alice.spaces.create(name: "Kept", with: [bob.email])
                try await alice.spaces.post("hello", in: space)
                #expect(try await desk.reports().isEmpty)

                let night = try await desk.run("backup", "nightly")
                #expect(night.contains("Backed up and proved in") && night.contains("keys opened"), "\(night)")
                // Removed after the backup: the rehearsal does it again, from the journal of the running service.
                try await alice.spaces.remove(bob.email, from: space)
                let week = try await desk.run("drill", "restore")
                #expect(week.contains("A restore was rehearsed in") && !week.contains("unknown"), "\(week)")
                let reports = try await desk.reports()
                #expect(reports.map { $0["kind"]?.string } == ["restore-drill", "backup"])
                #expect(reports.allSatisfy { $0["passed"]?.boolean == true })
                #expect(
                    reports.allSatisfy { $0["opened"]?.integer ?? 0 >= 1 && $0["tables"]?.elements?.count ?? 0 > 3 })
                let file = try #require(reports[0]["file"]?.string)
                #expect(access(file + ".verified", F_OK) == 0)
                let names = try FileManager.default.contentsOfDirectory(atPath: desk.folder)
                #expect(!names.contains { $0.hasPrefix("hds-restore-") }, "nothing is left of the throw-away stores")
                let shown = try await desk.hdsctl("drill", "reports", "--folder", desk.folder + "/kms/reports")
                #expect(shown.contains("restore-drill") && shown.contains("passed"), "\(shown)")

                // A flipped octet in the middle: what the rehearsal is for.
                let handle = try FileHandle(forUpdating: URL(fileURLWithPath: file))
                let middle = try handle.seekToEnd() / 2
                try handle.seek(toOffset: middle)
                let octet = try #require(try handle.read(upToCount: 1)?.first)
                try handle.seek(toOffset: middle)
                try handle.write(contentsOf: Data([octet ^ 1]))
                try handle.close()
                await #expect(throws: NotInTime.self) { _ = try await desk.run("drill", "restore") }
                let failed = try #require(try await desk.reports().first)
                #expect(failed["passed"]?.boolean == false && failed["failure"]?.string?.isEmpty == false)

                // The service is away: no backup, and that is told.
                try await deployment[.kms]?.cut()
                await #expect(throws: NotInTime.self) { _ = try await desk.run("backup", "nightly") }
                let away = try await desk.hdsctl(
                    "drill", "reports", "--json", "--folder", desk.folder + "/kms/reports")
                let newest = try #require(try JSONDocument(text: away).root["reports"]?.elements?.first)
                #expect(newest["kind"]?.string == "backup" && newest["passed"]?.boolean == false)
            }
        }
    }
}
