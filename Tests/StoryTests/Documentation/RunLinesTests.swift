import Foundation
import TestServers
import Testing

extension StoryTests {
    /// Lines of the documents that change nothing are typed for real, in a throw-away set-up.
    @Suite("The documents' command lines, run") struct RunLinesTests {
        /// What may be asked of a running KMS without changing it; each stands in the documents.
        static let questions = [
            "policy show", "freeze list", "backup list", "drill reports", "node list", "master-key status",
            "escrow status", "rollback status", "restore status", "control ping",
        ]

        private func run(_ program: String, _ words: [String], limit: Duration = .seconds(60)) async throws -> (
            ending: ChildProcess.Ending, log: String
        ) {
            let output = FileManager.default.temporaryDirectory.path + "/hds-line-\(UUID().uuidString)"
            defer { try? FileManager.default.removeItem(atPath: output) }
            let child = try ChildProcess(program, words, output: output)
            let ending = try await child.end(within: limit)
            return (ending, child.log())
        }

        @Test("Questions to a running KMS, as the documents have them, are answered")
        func questionsAnswered() async throws {
            let domain = try await Deployment.shared().domain.folder
            var asked: Set<String> = []
            for line in Documents.lines(of: ["hdsctl"]) {
                let words = Array(line.words.dropFirst())
                let name = words.prefix(2).joined(separator: " ")
                guard Self.questions.contains(name), !words.contains("--socket"),
                    asked.insert(words.joined(separator: " ")).inserted
                else { continue }
                let (ending, log) = try await run(
                    Repository.program("hdsctl"), words + ["--socket", domain + "/kms/control.sock"])
                // This set-up has no folder for backups, and the answer says what to do.
                let isRefused = name == "backup list" && ending == .exit(78) && log.contains("backup.folder")
                #expect(ending == .exit(0) || isRefused, "\(line): \(log)")
            }
            #expect(asked.count >= Self.questions.count, "\(asked.sorted())")
        }

        @Test("The catalogue's lines write what is kept in docs/ and systemd/")
        func catalogue() async throws {
            for (words, file) in [("page", "docs/catalogue.md"), ("journal", "systemd/hds.catalog")] {
                let (ending, log) = try await run(Repository.program("hdsctl"), ["catalogue", words])
                #expect(ending == .exit(0))
                #expect(try log == String(contentsOfFile: Repository.root + "/" + file, encoding: .utf8), "\(file)")
            }
        }

        @Test(
            "A manual page names every command, hides what is hidden, and is made the same twice",
            arguments: ["hds-auth"])
        func manual(program: String) async throws {
            let words = [program, "8", "1.0", "1795000000", Repository.program(program)]
            let script = Repository.root + "/deploy/packaging/man-page"
            let (ending, page) = try await run(script, words, limit: .seconds(240))
            #expect(ending == .exit(0))
            let tree = try #require(try Documents.trees.get()[program])
            for (words, command) in tree.flattened() where words.count > 1 && words.last != "help" {
                let heading = words.joined(separator: " ").replacing("-", with: "\\-")
                #expect(page.contains(".SH \"\(heading)\""), "\(heading)")
                let first = command.abstract.prefix(30).replacing("-", with: "\\-").replacing("'", with: "'")
                #expect(page.contains(first), "\(heading): \(first)")
            }
            let (_, again) = try await run(script, words, limit: .seconds(240))
            #expect(again == page)
            #expect(!page.contains("hostile\\-drill"))
        }

        @Test(
            "Completion for bash is a script that bash takes, and for zsh and fish names the commands",
            arguments: Documents.programNames)
        func completion(program: String) async throws {
            let folder = FileManager.default.temporaryDirectory.path
            for shell in ["bash", "zsh", "fish"] {
                let (ending, script) = try await run(
                    Repository.program(program), ["--generate-completion-script", shell])
                #expect(ending == .exit(0) && script.contains(program) && !script.contains("hostile-drill"))
                guard shell == "bash" else { continue }
                let file = folder + "/hds-completion-\(UUID().uuidString)"
                try script.write(toFile: file, atomically: true, encoding: .utf8)
                defer { try? FileManager.default.removeItem(atPath: file) }
                let (checked, log) = try await run("/bin/bash", ["-n", file])
                #expect(checked == .exit(0), "\(log)")
            }
        }
    }
}
