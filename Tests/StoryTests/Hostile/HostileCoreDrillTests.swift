import Foundation
import TestServers
import Testing
import WireText

extension StoryTests {
    /// `hdsctl drill hostile-core` as an operator runs it, and with a guard left out.
    @Suite("The drill of a hostile core") struct HostileCoreDrillTests {
        static let attacks = [
            "replay", "delay", "reorder", "old-backup", "wrong-room", "forged-token", "rogue-node",
        ]
        /// The script wants it to write into the core's database, as a core does.
        static let hasDatabaseTool = FileManager.default.isExecutableFile(atPath: "/usr/bin/sqlite3")

        private func drill(_ arguments: [String], expecting code: Int32) async throws -> String {
            let output = FileManager.default.temporaryDirectory.path + "/hds-hostile-\(UUID().uuidString)"
            defer { try? FileManager.default.removeItem(atPath: output) }
            let child = try ChildProcess(
                Repository.program("hdsctl"),
                ["drill", "hostile-core", "--programs", Repository.programs] + arguments, output: output)
            #expect(try await child.end(within: .seconds(240)) == .exit(code), "\(child.tail())")
            return child.log()
        }

        @Test(
            "Nothing is released in any attack, and each control shows that it would have been noticed",
            .enabled(if: hasDatabaseTool, "sqlite3 is not installed: deploy/test installs it"))
        func passes() async throws {
            let log = try await drill(["--json"], expecting: 0)
            let line = try #require(log.split(separator: "\n").first { $0.hasPrefix("{") })
            let root = try JSONDocument(Array(line.utf8)).root
            #expect(root["nothingReleased"]?.boolean == true)
            let attacks = root["attacks"]?.elements ?? []
            #expect(attacks.compactMap { $0["attack"]?.string } == Self.attacks)
            for attack in attacks {
                #expect(attack["released"]?.boolean == false && attack["controlNoticed"]?.boolean == true)
                #expect(attack["stoppedBy"]?.string?.isEmpty == false && attack["tried"]?.string?.isEmpty == false)
            }
        }

        @Test(
            "With the guard of an attack left out the drill says that something was released, and ends with 1",
            .enabled(if: hasDatabaseTool, "sqlite3 is not installed: deploy/test installs it"),
            arguments: attacks)
        func notices(attack: String) async throws {
            let log = try await drill(["--only", attack, "--release", attack], expecting: 1)
            #expect(log.contains("RELEASED"))
        }

        @Test("A core becomes hostile nowhere but in the folder of a drill")
        func refused() async throws {
            let domain = try await Deployment.shared().domain.folder
            let output = FileManager.default.temporaryDirectory.path + "/hds-hostile-\(UUID().uuidString)"
            defer { try? FileManager.default.removeItem(atPath: output) }
            let child = try ChildProcess(
                Repository.program("hds-core"),
                ["--config", domain + "/core/hds-core.yaml", "--hostile-drill", domain + "/core"], output: output)
            let ending = try await child.end()
            #expect(ending != .exit(0) && child.log().contains("hostile-core"), "\(child.tail())")
        }
    }
}
