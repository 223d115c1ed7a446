import Yams

/// Turns the bytes of a configuration file into nodes and every complaint of the parser into a problem with its line.
///
/// Yams is used for its tree and its marks only: no tag resolving (so `on` and `1:30` stay text until a type is
/// asked for) and no anchors, which a configuration does not need and which can blow up a small file.
enum YAMLText {
    enum Outcome {
        case success(Node)
        case failure(ConfigurationError.Problem)
    }

    static func parse(_ bytes: [UInt8]) -> Outcome {
        guard let text = String(validating: bytes, as: UTF8.self) else {
            return .failure(.init("the file is no UTF-8 text", hint: "save it as UTF-8"))
        }
        if let line = lineOfAnchor(in: text) {
            return .failure(
                .init(
                    line: line, "anchors and aliases are not supported", expected: "every value written out",
                    hint: "if this is text, put it into quotes and a character before the &"))
        }
        do {
            let parser = try Parser(yaml: text, resolver: .basic, encoding: .utf8)
            guard let root = try parser.singleRoot() else {
                return .failure(.init("the file is empty", expected: "key: value lines"))
            }
            return .success(root)
        } catch let error as YamlError {
            return .failure(problem(for: error, in: text))
        } catch {
            return .failure(.init("the file is no YAML"))
        }
    }

    /// The line of the first thing that looks like an anchor (`&name` where a value may start), comments left out.
    private static func lineOfAnchor(in text: String) -> Int? {
        var line = 1
        var before = UInt8(ascii: "\n")
        var isComment = false
        var candidate = false
        for byte in text.utf8 {
            if candidate, byte > UInt8(ascii: " "), byte != UInt8(ascii: "&") { return line }
            candidate = false
            switch byte {
            case UInt8(ascii: "\n"):
                line += 1
                isComment = false
            case UInt8(ascii: "#") where before <= UInt8(ascii: " "): isComment = true
            case UInt8(ascii: "&") where !isComment && startsValue(after: before): candidate = true
            default: break
            }
            before = byte
        }
        return nil
    }

    private static func startsValue(after byte: UInt8) -> Bool {
        byte <= UInt8(ascii: " ") || [UInt8](",[{:-?!".utf8).contains(byte)
    }

    private static func problem(for error: YamlError, in text: String) -> ConfigurationError.Problem {
        switch error {
        case .scanner(let context, let problem, let mark, _), .parser(let context, let problem, let mark, _),
            .composer(let context, let problem, let mark, _):
            let started = context.map { " (\($0.text), which began in line \($0.mark.line))" } ?? ""
            return .init(
                line: mark.line, "this is no YAML: \(problem)\(started)",
                hint: "check indentation (spaces, no tabs), colons and quotes of this line and the one before")
        case .reader(let problem, let offset, _, _):
            let line = offset.map { text.prefix($0).utf8.count { $0 == UInt8(ascii: "\n") } + 1 }
            return .init(line: line, "a character is not allowed: \(problem)", hint: "remove control characters")
        case .duplicatedKeysInMapping(let duplicates, let context):
            let outline = YAMLOutline(text)
            let key = duplicates.first ?? ""
            let again = outline.lineOfRepetition(of: key, after: context.mark.line)
            return .init(
                path: outline.path(toLine: context.mark.line, key: key), line: again ?? context.mark.line,
                "the key stands twice", expected: "each key once",
                found: "the first in line \(context.mark.line)" + (again.map { ", again in line \($0)" } ?? ""),
                hint: "remove one of the two")
        default:
            return .init("this is no YAML")
        }
    }
}

/// The indentation of a YAML text in block style, to name the path of a line that the parser refused to load.
///
/// A reading aid for messages: flow style (`{a: 1}`) has no lines of its own, there the path is only the key.
struct YAMLOutline {
    private struct Line {
        let number: Int
        let indentation: Int
        let key: String
        /// Columns of the dashes that open list elements in this line.
        let dashes: [Int]
    }

    private let lines: [Line]

    init(_ text: String) {
        var lines: [Line] = []
        for (index, line) in text.split(separator: "\n", omittingEmptySubsequences: false).enumerated() {
            var rest = Substring(line)
            var column = 0
            var dashes: [Int] = []
            func drop(_ count: Int) {
                rest = rest.dropFirst(count)
                column += count
            }
            while let first = rest.first, first == " " || (first == "-" && rest.dropFirst().first == " ") {
                if first == "-" { dashes.append(column) }
                drop(1)
            }
            guard let colon = rest.firstIndex(of: ":"), rest.first != "#" else { continue }
            let key = rest[..<colon].filter { $0 != "\"" && $0 != "'" }
            lines.append(Line(number: index + 1, indentation: column, key: String(key), dashes: dashes))
        }
        self.lines = lines
    }

    /// `a.b[1].key` for the key in the given line.
    func path(toLine number: Int, key: String) -> String {
        guard let position = lines.firstIndex(where: { $0.number == number && $0.key == key }) else { return key }
        var path = key
        var column = lines[position].indentation
        var index = position
        while index >= 0 {
            if let dash = lines[index].dashes.last(where: { $0 < column }) {
                path = "[\(element(atDash: dash, before: index))]." + path
                column = dash
                // A dash may stand in the column of its parent key.
                column += 1
            }
            index -= 1
            while index >= 0, lines[index].indentation >= column { index -= 1 }
            guard index >= 0 else { break }
            let parent = lines[index]
            path = parent.key + (path.hasPrefix("[") ? "" : ".") + path
            column = parent.indentation
        }
        return path
    }

    /// How many elements of the same list stand above the one whose dash is in this line.
    private func element(atDash column: Int, before index: Int) -> Int {
        lines[..<index].reversed().prefix { $0.indentation > column || $0.dashes.contains(column) }
            .count { $0.dashes.contains(column) }
    }

    /// The line in which the key stands again within the same mapping.
    func lineOfRepetition(of key: String, after number: Int) -> Int? {
        guard let first = lines.firstIndex(where: { $0.number == number && $0.key == key }) else { return nil }
        let column = lines[first].indentation
        return lines[(first + 1)...].prefix { $0.indentation >= column }
            .first { $0.indentation == column && $0.key == key }?.number
    }
}
