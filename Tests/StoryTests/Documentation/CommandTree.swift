import Foundation
import WireText

/// What a program says of its own commands and options (`--experimental-dump-help` of ArgumentParser).
final class CommandTree: Sendable {
    struct Argument: Sendable {
        enum Kind: String, Sendable { case positional, option, flag }
        let kind: Kind
        /// `--long` and `-s`.
        let names: [String]
        let isOptional: Bool
        let isRepeating: Bool
        /// Takes all that follows, of whatever form.
        let takesRest: Bool
        let valueName: String
    }

    let name: String
    let abstract: String
    let discussion: String
    let isHidden: Bool
    let arguments: [Argument]
    let subcommands: [CommandTree]
    let defaultSubcommand: String?

    init(_ node: JSONNode) {
        name = node["commandName"]?.string ?? ""
        abstract = node["abstract"]?.string ?? ""
        discussion = node["discussion"]?.string ?? ""
        isHidden = node["shouldDisplay"]?.boolean == false
        defaultSubcommand = node["defaultSubcommand"]?.string
        subcommands = (node["subcommands"]?.elements ?? []).map(CommandTree.init)
        arguments = (node["arguments"]?.elements ?? []).map { argument in
            Argument(
                kind: argument["kind"]?.string.flatMap(Argument.Kind.init(rawValue:)) ?? .flag,
                names: (argument["names"]?.elements ?? []).map { name in
                    (name["kind"]?.string == "long" ? "--" : "-") + (name["name"]?.string ?? "")
                },
                isOptional: argument["isOptional"]?.boolean ?? false,
                isRepeating: argument["isRepeating"]?.boolean ?? false,
                takesRest: ["allRemainingInput", "postTerminator"].contains(argument["parsingStrategy"]?.string ?? ""),
                valueName: argument["valueName"]?.string ?? "")
        }
    }

    /// The command that words behind the program's name lead to, and what follows; nil when the first one is none.
    func command(in words: [String]) -> (command: CommandTree, rest: [String])? {
        var command = self
        var rest = words[...]
        while let word = rest.first, let next = command.subcommands.first(where: { $0.name == word }) {
            command = next
            rest.removeFirst()
        }
        return command === self ? nil : (command, Array(rest))
    }

    /// What is wrong with the words behind the program's name; nil: it would be taken.
    ///
    /// Words in capitals, `…` and brackets stand for what a reader puts there.
    func fault(in words: [String], isWhole: Bool) -> String? {
        var words = words.map { $0.trimmingCharacters(in: CharacterSet(charactersIn: "[]")) }.filter { !$0.isEmpty }
        var command = self
        if let found = self.command(in: words) { (command, words) = found }
        if words.contains("--help") || words.contains("-h") { return nil }
        if command.subcommands.isEmpty == false {
            // Alone it shows its help, or does what it does most.
            guard !words.isEmpty else { return nil }
            if let name = command.defaultSubcommand,
                let standard = command.subcommands.first(where: { $0.name == name })
            {
                command = standard
            } else if let word = words.first, !word.hasPrefix("-"), word != "..." && word != "…" {
                return "\(command.name) has no command \(word), only \(command.subcommands.map(\.name))"
            }
        }
        return command.faultOfArguments(words, isWhole: isWhole)
    }

    private func faultOfArguments(_ given: [String], isWhole: Bool) -> String? {
        var words = given[...]
        var positionals = 0
        var seen: Set<String> = []
        while let word = words.popFirst() {
            if word == "..." || word == "…" { return nil }
            if word == "--" { break }
            guard word.hasPrefix("-"), word != "-" else {
                positionals += 1
                continue
            }
            let name = String(word.prefix { $0 != "=" })
            guard let argument = arguments.first(where: { $0.names.contains(name) }) else {
                return "\(self.name) has no option \(name)"
            }
            seen.formUnion(argument.names)
            guard argument.kind == .option, !word.contains("=") else { continue }
            guard let value = words.popFirst() else {
                if isWhole { return "\(name) needs a value" }
                continue
            }
            if value.hasPrefix("--"), !argument.takesRest { return "\(name) needs a value, not \(value)" }
            if argument.isRepeating {
                // As many values as follow.
                while let next = words.first, !next.hasPrefix("-") { words.removeFirst() }
            }
        }
        let places = arguments.filter { $0.kind == .positional }
        if positionals > places.count, !places.contains(where: { $0.isRepeating || $0.takesRest }) {
            return "\(name) takes \(places.count) words, and there are \(positionals)"
        }
        guard isWhole else { return nil }
        let needed = places.count(where: { !$0.isOptional })
        if positionals < needed { return "\(name) needs \(places.map(\.valueName)), and there are \(positionals)" }
        let missing = arguments.filter { $0.kind == .option && !$0.isOptional && seen.isDisjoint(with: $0.names) }
        return missing.isEmpty ? nil : "\(name) needs \(missing.compactMap(\.names.last))"
    }

    /// This and all below that are shown, each with the words that lead to it.
    func flattened(_ path: [String] = []) -> [(path: [String], command: CommandTree)] {
        [(path + [name], self)] + subcommands.filter { !$0.isHidden }.flatMap { $0.flattened(path + [name]) }
    }
}
