/// A Swift source file with everything that is not code blanked out: comments, and the insides of string literals.
///
/// Lines and columns stay what they were, so that findings can name their line. A small scanner rather than
/// SwiftSyntax: building that takes minutes, and imports, modifiers and attributes need no grammar.
struct SwiftSource {
    struct Import: Equatable {
        let module: String
        let line: Int
    }

    /// The lines as written.
    let lines: [Substring]
    /// The same lines, only code.
    let code: [Substring]

    init(_ text: String) {
        lines = text.split(separator: "\n", omittingEmptySubsequences: false)
        code = String(decoding: Blanking.codeOnly(Array(text.utf8)), as: UTF8.self)
            .split(separator: "\n", omittingEmptySubsequences: false)
    }

    /// `import A`, `package import A`, `@testable import A`, `import struct A.B`; several in one line, too.
    var imports: [Import] {
        var found: [Import] = []
        for (index, line) in code.enumerated() where line.contains("import") {
            for statement in line.split(separator: ";") {
                guard let module = Self.importedModule(statement) else { continue }
                found.append(Import(module: module, line: index + 1))
            }
        }
        return found
    }

    private static let modifiers: Set<Substring> = ["public", "package", "internal", "fileprivate", "private"]
    private static let kinds: Set<Substring> = [
        "struct", "class", "enum", "protocol", "func", "var", "let", "typealias", "actor",
    ]

    private static func importedModule(_ statement: Substring) -> String? {
        var words = statement.split(whereSeparator: \.isWhitespace)[...]
        while let word = words.first, modifiers.contains(word) || word.hasPrefix("@") { words.removeFirst() }
        guard words.popFirst() == "import", var name = words.popFirst() else { return nil }
        if kinds.contains(name), let next = words.popFirst() { name = next }
        return name.split(separator: ".").first.map(String.init)
    }

    /// The lines (counted from 1) in which the word stands as a word of its own.
    func linesWith(word: String) -> [Int] {
        code.indices.filter { index in
            code[index].contains(word)
                && code[index].split { !($0.isLetter || $0.isNumber || $0 == "_") }.contains { $0 == word }
        }.map { $0 + 1 }
    }

    /// Whether the line, or a comment that ends right above it, says something.
    func isExplained(line: Int) -> Bool {
        if lines[line - 1].contains("//") { return true }
        var above = line - 2
        // Attributes of the same declaration may stand in between.
        while above >= 0, lines[above].drop(while: \.isWhitespace).hasPrefix("@") { above -= 1 }
        return above >= 0 && lines[above].drop(while: \.isWhitespace).hasPrefix("//")
    }
}

/// Replaces what is not code by spaces.
private enum Blanking {
    private static let newline = UInt8(ascii: "\n")
    private static let quote = UInt8(ascii: "\"")
    private static let hash = UInt8(ascii: "#")
    private static let slash = UInt8(ascii: "/")
    private static let backslash = UInt8(ascii: "\\")

    static func codeOnly(_ text: [UInt8]) -> [UInt8] {
        var output = text
        var index = 0
        while index < text.count {
            let byte = text[index]
            guard byte == slash || byte == quote || byte == hash else {
                index += 1
                continue
            }
            let end: Int
            if starts(text, index, "//") {
                end = text[index...].firstIndex(of: newline) ?? text.count
            } else if starts(text, index, "/*") {
                end = endOfBlockComment(text, index)
            } else if let literal = endOfLiteral(text, index) {
                end = literal
            } else {
                index += 1
                continue
            }
            for position in index..<end where text[position] != newline { output[position] = UInt8(ascii: " ") }
            index = end
        }
        return output
    }

    private static func starts(_ text: [UInt8], _ index: Int, _ token: String) -> Bool {
        text[index...].starts(with: token.utf8)
    }

    /// Block comments nest.
    private static func endOfBlockComment(_ text: [UInt8], _ start: Int) -> Int {
        var depth = 0
        var index = start
        while index < text.count {
            if starts(text, index, "/*") {
                depth += 1
                index += 2
            } else if starts(text, index, "*/") {
                depth -= 1
                index += 2
                if depth == 0 { return index }
            } else {
                index += 1
            }
        }
        return text.count
    }

    /// One after the end of the string literal that starts here, or nil if none does. Interpolations are blanked with
    /// it, but for quotes inside them: a literal within an interpolation ends the outer one for this scanner and starts
    /// it again behind, which blanks the same text.
    private static func endOfLiteral(_ text: [UInt8], _ start: Int) -> Int? {
        let pounds = text[start...].prefix { $0 == hash }.count
        var index = start + pounds
        guard index < text.count, text[index] == quote else { return nil }
        let isMultiline = starts(text, index, "\"\"\"")
        let closing = String(repeating: "\"", count: isMultiline ? 3 : 1) + String(repeating: "#", count: pounds)
        index += isMultiline ? 3 : 1
        while index < text.count {
            if text[index] == quote, starts(text, index, closing) { return index + closing.utf8.count }
            if !isMultiline, text[index] == newline { return index }
            index += text[index] == backslash && pounds == 0 ? 2 : 1
        }
        return text.count
    }
}
