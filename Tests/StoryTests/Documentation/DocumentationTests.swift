import Foundation
import Testing

/// What the documents tell people to type, held against the programs.
@Suite("The documents' command lines") struct DocumentationTests {
    @Test("Every line for a program of ours has commands and options that the program declares")
    func declared() async throws {
        var trees: [String: CommandTree] = [:]
        for program in DocumentedLine.programs { trees[program] = try await CommandTree.of(program) }
        let lines = try DocumentedLine.all()
        var looked = 0
        for line in lines {
            let words = line.words
            guard let program = words.first, let tree = trees[program] else { continue }
            // `hdsctl COMMAND --help` stands for all of them.
            if words.dropFirst().first?.allSatisfy({ $0.isUppercase }) == true { continue }
            looked += 1
            if let fault = tree.fault(words.dropFirst()) { Issue.record("\(line): \(fault)") }
        }
        #expect(looked > 250, "the lines are found")
    }

    @Test("What is wrong in a line is noticed: a command, an option of another command, a word too many")
    func noticed() async throws {
        let tree = try await CommandTree.of("hdsctl")
        for (line, fault) in [
            ("hdsctl statos", "hdsctl takes no statos"), ("hdsctl status --wacht", "status has no option --wacht"),
            ("hdsctl freeze list --everything", "list has no option --everything"),
            ("hdsctl rollback status now", "status takes no now"),
        ] {
            #expect(tree.fault(DocumentedLine(file: "-", text: line).words.dropFirst()) == fault)
        }
        for line in ["hdsctl status --watch   # a comment", "hdsctl freeze --everything --reason \"a b\" | cat"] {
            #expect(tree.fault(DocumentedLine(file: "-", text: line).words.dropFirst()) == nil)
        }
    }

    @Test("Every script that a line names is there, and takes the options of the line")
    func scripts() throws {
        for line in try DocumentedLine.all() where line.text.hasPrefix("deploy/") {
            let words = line.words
            let path = Repository.root + "/" + words[0]
            // Options of deploy/bench are those of hds-bench, which tests do not build.
            if words[0].contains("NN") || words[0].contains("/lib/") || words[0] == "deploy/bench" { continue }
            #expect(FileManager.default.fileExists(atPath: path), "\(line)")
            guard let text = try? String(contentsOfFile: path, encoding: .utf8) else { continue }
            for word in words.dropFirst() where word.hasPrefix("--") {
                #expect(text.contains(word.trimmingCharacters(in: ["[", "]"])), "\(line): \(words[0]) has no \(word)")
            }
        }
    }

    @Test("Every unit that a line of systemctl or journalctl names is in systemd/, made of a template, or Debian's")
    func units() throws {
        let files = Set(try FileManager.default.contentsOfDirectory(atPath: Repository.root + "/systemd"))
        for line in try DocumentedLine.all() where line.text.hasPrefix("systemctl") || line.text.hasPrefix("journalctl")
        {
            for word in line.words.dropFirst() where word.hasPrefix("hds") && !word.contains("*") && !word.contains("/")
            {
                let name = word.replacing(/@[^.]*/, with: "@")
                let known = [".service", ".timer", ".socket", ".target", ""].contains { files.contains(name + $0) }
                #expect(known, "\(line): there is no unit \(word)")
            }
        }
    }

    @Test("Every command of every program says in a sentence what it does")
    func abstracts() async throws {
        for program in DocumentedLine.programs {
            for (words, command) in try await CommandTree.of(program).everything() {
                #expect(command.abstract?.isEmpty == false, "\(words.joined(separator: " "))")
            }
        }
    }

    @Test("The picture of the architecture has every program that people start")
    func picture() throws {
        let page = try String(contentsOfFile: Repository.root + "/docs/architecture.md", encoding: .utf8)
        let picture = try #require(page.firstMatch(of: /(?s)```mermaid\n(.*?)```/)).1
        for program in DocumentedLine.programs { #expect(picture.contains(program), "\(program)") }
    }
}
