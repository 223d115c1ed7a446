package import Diagnostics

/// The documented configuration with an installation's values in it: what is explained there stays explained.
///
/// It knows the form of config/hds-kms.yaml and no more of YAML: two spaces a level, a value on the line of its key, and
/// optional keys behind `# ` in their place. What comes out is read as a configuration before it is used.
package struct TemplateText: Sendable {
    private var lines: [String]

    package init(_ text: String) {
        lines = text.split(separator: "\n", omittingEmptySubsequences: false).map(String.init)
    }

    package var text: String { lines.joined(separator: "\n") }

    /// Gives the key at that path, such as `core.link`, another value.
    package mutating func set(_ path: String, _ value: String) throws(DiagnosedError) {
        let line = try index(of: path)
        guard let colon = lines[line].firstRange(of: ":") else { throw Self.missing(path) }
        lines[line] = lines[line][..<colon.upperBound] + " \(value)"
    }

    /// Makes an optional key, with all below it, count.
    package mutating func enable(_ path: String) throws(DiagnosedError) {
        let names = path.split(separator: ".")
        guard let name = names.last else { throw Self.missing(path) }
        let range = try names.count == 1 ? lines.indices : body(of: names.dropLast().joined(separator: "."))
        let column = (names.count - 1) * 2
        let start = String(repeating: " ", count: column) + "# "
        guard let first = range.first(where: { lines[$0].hasPrefix("\(start)\(name):") }) else {
            throw Self.missing(path)
        }
        var line = first
        // What is deeper than the key belongs to it.
        repeat {
            let rest = lines[line].dropFirst(start.utf8.count)
            lines[line] = String(repeating: " ", count: column) + rest
            line += 1
        } while line < range.upperBound && lines[line].hasPrefix(start + "  ")
    }

    /// The reverse, for one line.
    package mutating func disable(_ path: String) throws(DiagnosedError) {
        let line = try index(of: path)
        let indent = lines[line].prefix { $0 == " " }
        lines[line] = indent + "# " + lines[line].dropFirst(indent.count)
    }

    // MARK: Where things stand

    /// Its key, and the column in which that begins; nil for comments and empty lines. The mark of a list's element counts
    /// as indentation.
    private static func key(_ line: String) -> (name: Substring, column: Int)? {
        var rest = line[...]
        var column = 0
        while rest.hasPrefix(" ") || rest.hasPrefix("- ") {
            rest = rest.dropFirst()
            column += 1
        }
        guard let colon = rest.firstIndex(of: ":"), !rest.hasPrefix("#") else { return nil }
        return (rest[..<colon], column)
    }

    private func index(of path: String) throws(DiagnosedError) -> Int {
        var stack: [(name: Substring, column: Int)] = []
        for (index, line) in lines.enumerated() {
            guard let key = Self.key(line) else { continue }
            while let last = stack.last, last.column >= key.column { stack.removeLast() }
            stack.append(key)
            if stack.map(\.name).joined(separator: ".") == path { return index }
        }
        throw Self.missing(path)
    }

    /// The lines behind a section's own, up to the next key that is no deeper.
    private func body(of path: String) throws(DiagnosedError) -> Range<Int> {
        let start = try index(of: path)
        let column = Self.key(lines[start])?.column ?? 0
        let end = lines[(start + 1)...].firstIndex { line in Self.key(line).map { $0.column <= column } ?? false }
        return start + 1..<(end ?? lines.count)
    }

    private static func missing(_ path: String) -> DiagnosedError {
        DiagnosedError(
            "setup-template", fault: .configuration, "the template of the configuration has no key \(path)",
            expected: "config/hds-kms.yaml of this release", hint: "name it with --template")
    }

    // MARK: Values

    /// A text as a value; in quotes where YAML could take it for something else.
    package static func scalar(_ text: String) -> String {
        let isPlain =
            text.utf8.first.map { ("a"..."z").contains(Character(UnicodeScalar($0))) || $0 == UInt8(ascii: "/") }
            ?? false
            && text.utf8.allSatisfy { octet in
                switch octet {
                case 0x30...0x39, 0x41...0x5A, 0x61...0x7A, UInt8(ascii: "."), UInt8(ascii: "-"), UInt8(ascii: "_"),
                    UInt8(ascii: "/"), UInt8(ascii: ":"):
                    true
                default: false
                }
            } && !text.hasSuffix(":") && !["true", "false", "null", "yes", "no", "on", "off"].contains(text)
        guard !isPlain else { return text }
        var quoted = "\""
        for scalar in text.unicodeScalars {
            switch scalar {
            case "\"", "\\": quoted += "\\\(scalar)"
            case "\n": quoted += "\\n"
            default: quoted.unicodeScalars.append(scalar)
            }
        }
        return quoted + "\""
    }

    package static func list(_ texts: [String]) -> String {
        "[" + texts.map { scalar($0).hasPrefix("\"") ? scalar($0) : "\"\($0)\"" }.joined(separator: ", ") + "]"
    }
}
