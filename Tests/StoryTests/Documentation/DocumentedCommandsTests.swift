import Foundation
import Testing

@Suite("Command lines of the documentation")
struct DocumentedCommandsTests {
    @Test("Every one that names a program of ours would be taken by it")
    func programs() throws {
        let trees = try Documents.trees.get()
        let lines = Documents.lines(of: Set(trees.keys))
        #expect(lines.count > 200)
        for line in lines {
            let fault = trees[line.words[0]]?.fault(in: Array(line.words.dropFirst()), isWhole: line.isWhole)
            #expect(fault == nil, "\(line)")
        }
    }

    @Test("Every example in a program's own help would be taken by it")
    func examples() throws {
        let trees = try Documents.trees.get()
        var count = 0
        for (path, command) in trees.values.flatMap({ $0.flattened() }) {
            for text in command.discussion.replacing(/\\\n\s*/, with: "").split(separator: "\n") {
                // Behind the example, after some room or in brackets, stands what it is for.
                let text = text.replacing(/(\S)(?:  | \().*$/) { $0.1 }
                let place = path.joined(separator: " ") + " --help"
                for line in DocumentedLine.commands(in: String(text), place, isWhole: true, Set(trees.keys)) {
                    count += 1
                    let fault = trees[line.words[0]]?.fault(in: Array(line.words.dropFirst()), isWhole: true)
                    #expect(fault == nil, "\(line)")
                }
            }
        }
        #expect(count > 50)
    }

    @Test("Every command says in its help what it does")
    func abstracts() throws {
        for (path, command) in try Documents.trees.get().values.flatMap({ $0.flattened() }) where path.last != "help" {
            #expect(!command.abstract.isEmpty, "\(path.joined(separator: " "))")
        }
    }

    @Test("Every script that is named is there, and has the options")
    func scripts() throws {
        var count = 0
        for (page, text) in Documents.pages {
            for match in text.matches(
                of: /(?:^|[`\s])((?:deploy|\.ci)\/[a-z][a-z\/.-]*[a-z])((?: --[a-z-]+(?: [A-Z0-9]+)?)*)/)
            {
                let path = String(match.1)
                if path.hasSuffix("/") || !page.isEmpty && isFolder(path) { continue }
                let script = try #require(Documents.text(path), "\(page) names \(path), which is not there")
                for option in match.2.matches(of: /--[a-z-]+/) {
                    count += 1
                    #expect(script.contains(String(option.0)), "\(page): \(path) has no \(option.0)")
                }
            }
        }
        #expect(count > 5)
    }

    private func isFolder(_ path: String) -> Bool {
        var folder: ObjCBool = false
        return FileManager.default.fileExists(atPath: Documents.root + "/" + path, isDirectory: &folder)
            && folder.boolValue
    }

    @Test("Every unit that systemctl or journalctl is told is one of ours or the system's")
    func units() throws {
        let units = try FileManager.default.contentsOfDirectory(atPath: Documents.root + "/systemd")
        let known = Set(units.map { $0.replacing("@.", with: "@1.") } + units)
        func isKnown(_ word: String) -> Bool {
            let name = word.contains(".") ? word : word + ".service"
            let instance = name.replacing(/@[^.]+\./, with: "@.")
            return known.contains(name) || known.contains(instance)
        }
        var count = 0
        for line in Documents.lines(of: ["systemctl", "journalctl"]) {
            for word in line.words.dropFirst() where word.hasPrefix("hds") && !word.contains("*") {
                count += 1
                #expect(isKnown(word), "\(line)")
            }
        }
        #expect(count > 10)
    }

    /// Sources, configuration and units: what an operator reads in errors, alarms and comments.
    private static let sources: [(path: String, text: String)] = {
        ["Sources", "config", "systemd"].flatMap { folder -> [(path: String, text: String)] in
            let below = FileManager.default.enumerator(atPath: Documents.root + "/" + folder)
            return (below?.compactMap { $0 as? String } ?? []).sorted().compactMap { name in
                let path = folder + "/" + name
                // Texts that go on in the next line, in one.
                return Documents.text(path).map { text in
                    (
                        path,
                        text.replacing(/\\\n\s*/, with: "").replacing(/"\s*\+\s*"/, with: "")
                            .replacing(/\n\s*(?:\/\/\/|#) ?/, with: " ")
                    )
                }
            }
        }
    }()

    @Test("Every command that an error, an alarm or a configuration advises is there, with its options")
    func advice() throws {
        let trees = try Documents.trees.get()
        var count = 0
        for (path, text) in Self.sources {
            for match in text.matches(of: /\b(hdsctl|hds) ([a-z][^\n"`;:]*)/) {
                guard let tree = trees[String(match.1)] else { continue }
                let words = match.2.split(separator: " ").map {
                    $0.trimmingCharacters(in: CharacterSet(charactersIn: ".,;:)'"))
                }
                guard let (command, rest) = tree.command(in: words) else { continue }
                count += 1
                let known = Set(([command] + command.subcommands).flatMap(\.arguments).flatMap(\.names))
                // Until prose goes on.
                let options = rest.prefix { $0.wholeMatch(of: /[a-z]+/) == nil }.filter {
                    $0.hasPrefix("--") && $0.count > 2
                }
                for option in options {
                    #expect(
                        known.contains(String(option.prefix { $0 != "=" })), "\(path): \(match.1) \(match.2.prefix(80))"
                    )
                }
            }
        }
        #expect(count > 100)
    }

    @Test("The picture of the architecture has every program that people start")
    func picture() throws {
        let page = try #require(Documents.text("docs/architecture.md"))
        let picture = try #require(page.firstMatch(of: /(?s)```mermaid\n(.*?)```/)).1
        for program in Documents.programNames { #expect(picture.contains(program), "\(program)") }
    }

    // MARK: Controls

    @Test("A line that a program would not take is found")
    func control() throws {
        let tree = try #require(try Documents.trees.get()["hdsctl"])
        func fault(_ line: String, isWhole: Bool = true) throws -> String? {
            let found = DocumentedLine.all(in: "```\n\(line)\n```", file: "f", programs: ["hdsctl"])
            return tree.fault(in: Array(try #require(found.first).words.dropFirst()), isWhole: isWhole)
        }
        #expect(try fault("hdsctl status") == nil)
        #expect(try fault("sudo hdsctl freeze lift ID --officer-key ada.pem  # back") == nil)
        #expect(try fault("hdsctl freez list")?.contains("no command freez") == true)
        #expect(try fault("hdsctl status --wach")?.contains("no option --wach") == true)
        #expect(try fault("hdsctl audit verify")?.contains("needs") == true)
        #expect(try fault("hdsctl audit verify", isWhole: false) == nil)
        #expect(try fault("hdsctl freeze lift ID --officer-key")?.contains("needs a value") == true)
        #expect(try fault("hdsctl status now")?.contains("takes 0 words") == true)
    }

    @Test("Words are those of a shell: quotes, pipes, redirections, comments, lines that go on")
    func words() {
        let text = """
            text `hdsctl a "b c"` and `other`
            ```sh
            hdsctl one --x 'y z' > out 2>/dev/null | less && hdsctl two # three
            hdsctl four \\
              five
            ```
            hdsctl no
            """
        let lines = DocumentedLine.all(in: text, file: "f.md", programs: ["hdsctl"])
        #expect(
            lines.map(\.words) == [
                ["hdsctl", "a", "b c"], ["hdsctl", "one", "--x", "y z"], ["hdsctl", "two"],
                ["hdsctl", "four", "five"],
            ])
        #expect(lines.map(\.isWhole) == [false, true, true, true])
        #expect(lines.first?.place == "f.md:1")
    }
}
