import Foundation

/// Every command line of the documents that is about a program of this project or of systemd: from blocks of code and from
/// code within the text, as it stands there.
struct DocumentedLine: Sendable, CustomStringConvertible {
    let file: String
    let text: String
    var description: String { "\(file): \(text)" }

    static let programs = [
        "hdsctl", "hds", "hds-kms", "hds-core", "hds-auth", "hds-indexer", "hds-ediscovery", "hds-calendar",
    ]

    /// The words up to what is no longer the command: a comment, an explanation after two spaces, a pipe.
    var words: [String] {
        var text = text[...]
        for end in ["  ", " #", " | ", " > ", " >> ", " && ", "; ", " = ", " …"] {
            if let found = text.range(of: end) { text = text[..<found.lowerBound] }
        }
        var words: [String] = []
        var word = ""
        var quote: Character?
        for letter in text {
            if letter == quote {
                quote = nil
            } else if quote == nil, letter == "\"" || letter == "'" {
                quote = letter
            } else if quote == nil, letter == " " {
                if !word.isEmpty { words.append(word) }
                word = ""
            } else {
                word.append(letter)
            }
        }
        return word.isEmpty ? words : words + [word]
    }

    static func all() throws -> [DocumentedLine] {
        let files = FileManager.default
        let folders = ["", "docs", "docs/decisions"]
        var pages: [String] = []
        for folder in folders {
            let path = Repository.root + "/" + folder
            pages += try files.contentsOfDirectory(atPath: path).filter { $0.hasSuffix(".md") }
                .map { folder.isEmpty ? $0 : folder + "/" + $0 }
        }
        var lines: [DocumentedLine] = []
        for page in pages.sorted() {
            let text = try String(contentsOfFile: Repository.root + "/" + page, encoding: .utf8)
            for piece in code(in: text) {
                let line = piece.replacing(/^(\w+\$|[$#]|sudo) +/, with: "")
                let first = line.prefix { $0 != " " }
                let isOurs = programs.contains(String(first)) || first.hasPrefix("deploy/")
                if isOurs || first == "journalctl" || first == "systemctl" {
                    lines.append(DocumentedLine(file: page, text: line))
                }
            }
        }
        return lines
    }

    /// Lines of fenced blocks (pictures are none), and what stands between backticks elsewhere.
    private static func code(in text: String) -> [String] {
        var pieces: [String] = []
        var prose = ""
        var fence: String?
        for line in text.split(separator: "\n", omittingEmptySubsequences: false) {
            if line.trimmingCharacters(in: .whitespaces).hasPrefix("```") {
                fence = fence == nil ? String(line.trimmingCharacters(in: .whitespaces).dropFirst(3)) : nil
            } else if let kind = fence {
                if kind != "mermaid" { pieces.append(line.trimmingCharacters(in: .whitespaces)) }
            } else {
                prose += line + "\n"
            }
        }
        for match in prose.matches(of: /`([^`]+)`/) {
            pieces.append(match.1.split(whereSeparator: \.isWhitespace).joined(separator: " "))
        }
        return pieces
    }
}

/// What a program says about its commands (`--experimental-dump-help`), made by its own parser from its own declarations.
final class CommandTree: Decodable, Sendable {
    struct Name: Decodable, Sendable {
        let kind: String
        let name: String
        var text: String { (kind == "long" ? "--" : "-") + name }
    }
    struct Argument: Decodable, Sendable {
        let kind: String
        let names: [Name]?
        let isRepeating: Bool
        let parsingStrategy: String?
    }
    let commandName: String
    let abstract: String?
    let discussion: String?
    let arguments: [Argument]?
    let subcommands: [CommandTree]?
    let defaultSubcommand: String?
    let shouldDisplay: Bool?

    private struct Dump: Decodable { let command: CommandTree }

    static func of(_ program: String) async throws -> CommandTree {
        let output = FileManager.default.temporaryDirectory.path + "/hds-help-\(UUID().uuidString)"
        defer { try? FileManager.default.removeItem(atPath: output) }
        let child = try ChildProcess(Repository.program(program), ["--experimental-dump-help"], output: output)
        _ = try await child.end()
        return try JSONDecoder().decode(Dump.self, from: Data(contentsOf: URL(fileURLWithPath: output))).command
    }

    private func option(_ word: String) -> Argument? {
        let name = word.split(separator: "=", maxSplits: 1).first.map(String.init) ?? word
        if let own = arguments?.first(where: { $0.names?.contains { $0.text == name } ?? false }) { return own }
        return standard?.option(word)
    }
    /// The subcommand that is meant when none is named.
    private var standard: CommandTree? { subcommands?.first { $0.commandName == defaultSubcommand } }

    /// Why these words are not as the program takes them; nil when they are. Missing words are not looked for: documents
    /// also name a command alone.
    func fault(_ words: ArraySlice<String>) -> String? {
        var rest = words
        let positional = arguments?.filter { $0.kind == "positional" } ?? []
        var taken = 0
        while let raw = rest.popFirst() {
            let word = raw.trimmingCharacters(in: ["[", "]"])
            if word.isEmpty || word == "|" || word == "…" || word == "..." { continue }
            if word.hasPrefix("-"), word != "-" {
                guard let option = option(word) else { return "\(commandName) has no option \(word)" }
                if option.kind == "option", !word.contains("=") {
                    _ = rest.popFirst()
                    if option.parsingStrategy == "upToNextOption" {
                        while let next = rest.first, !next.hasPrefix("-") { rest = rest.dropFirst() }
                    }
                }
                continue
            }
            if taken == 0, let sub = subcommands?.first(where: { $0.commandName == word }) { return sub.fault(rest) }
            if taken < positional.count || positional.last?.isRepeating == true {
                taken += 1
                continue
            }
            if let standard { return standard.fault([raw] + rest) }
            return "\(commandName) takes no \(word)"
        }
        return nil
    }

    /// Every command below with its words, itself included.
    func everything(_ prefix: [String] = []) -> [(words: [String], command: CommandTree)] {
        let words = prefix + [commandName]
        let below = (subcommands ?? []).filter { $0.commandName != "help" && $0.shouldDisplay != false }
        return [(words, self)] + below.flatMap { $0.everything(words) }
    }
}
