import Foundation

/// A command line as a page of the documentation has it, in the words that a shell would make of it.
struct DocumentedLine: Sendable, CustomStringConvertible {
    /// File and line.
    let place: String
    let text: String
    /// Of a block of code: all of it stands there. In a sentence what is not the point may be missing.
    let isWhole: Bool
    let words: [String]

    var description: String { "\(place): \(text)" }

    /// All lines in blocks of code, but those of `text`, and in `spans` that begin with one of these programs.
    static func all(in text: String, file: String, programs: Set<String>) -> [DocumentedLine] {
        var lines: [DocumentedLine] = []
        var (isCode, isOutput) = (false, false)
        var continued = ""
        for (index, line) in text.components(separatedBy: "\n").enumerated() {
            let place = "\(file):\(index + 1)"
            let trimmed = line.trimmingCharacters(in: .whitespaces)
            if trimmed.hasPrefix("```") {
                isCode.toggle()
                isOutput = trimmed == "```text"
                continued = ""
            } else if isCode {
                if isOutput { continue }
                continued += line
                if continued.hasSuffix("\\") {
                    continued.removeLast()
                    continue
                }
                lines += commands(in: continued, place, isWhole: true, programs)
                continued = ""
            } else {
                let spans = line.split(separator: "`", omittingEmptySubsequences: false).enumerated()
                for (number, span) in spans where number % 2 == 1 {
                    lines += commands(in: String(span), place, isWhole: false, programs)
                }
            }
        }
        return lines
    }

    /// The commands of a line: parts of pipes and lists are judged one by one.
    static func commands(
        in line: String, _ place: String, isWhole: Bool, _ programs: Set<String>
    ) -> [DocumentedLine] {
        parts(of: line).compactMap { words in
            var words = words
            while let first = words.first, first == "sudo" || first == "$" || first == "#" { words.removeFirst() }
            guard let program = words.first, programs.contains(program) else { return nil }
            return DocumentedLine(
                place: place, text: words.joined(separator: " "), isWhole: isWhole, words: words)
        }
    }

    /// Words between `|`, `&&`, `;`; without what is redirected and what stands behind a `#`.
    static func parts(of line: String) -> [[String]] {
        var parts: [[String]] = [[]]
        var word = ""
        var isWord = false
        var quote: Character?
        var skips = false
        func end() {
            if isWord, !skips { parts[parts.count - 1].append(word) }
            if isWord { skips = false }
            (word, isWord) = ("", false)
        }
        for character in line {
            if let open = quote {
                if character == open { quote = nil } else { word.append(character) }
                continue
            }
            switch character {
            case "'", "\"": (quote, isWord) = (character, true)
            case " ", "\t": end()
            case "#" where !isWord: return parts
            case "|", ";", "&":
                end()
                parts.append([])
            case ">", "<":
                if let number = Int(word), number < 10 { (word, isWord) = ("", false) }
                end()
                skips = true
            default:
                word.append(character)
                isWord = true
            }
        }
        end()
        return parts
    }
}
