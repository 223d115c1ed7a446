import Diagnostics
import Yams

/// A place in a YAML file with the way to it: reads typed values and refuses with path and line.
///
/// For files whose items are checked one by one with errors that an administrator can act on. No error shows a value:
/// the file holds password hashes. Keys that nobody asked for are refused by `finish`.
struct StructuredText {
    let file: String
    /// Such as `users[2].email`; empty for the whole document.
    let path: String
    private let node: Node

    /// The longest file that is read: some 10,000 accounts.
    static let maximumBytes = 4 << 20

    init(_ text: String, file: String) throws(DiagnosedError) {
        self.file = file
        path = ""
        let root: Node?
        let anchored: Node?
        do {
            let parser = try Parser(yaml: text, resolver: .basic, encoding: .utf8)
            root = try parser.singleRoot()
            // Nodes know their anchors for as long as the parser lives.
            anchored = withExtendedLifetime(parser) { root.flatMap(Self.firstAnchored) }
        } catch let error as YamlError {
            throw Self.diagnosis(of: error, file: file)
        } catch {
            throw DiagnosedError(.accountsFile, fault: .configuration, "\(file): not readable as YAML")
        }
        if let anchored {
            throw DiagnosedError(
                .accountsFile, fault: .configuration, "\(file):\(anchored.mark?.line ?? 1): anchors are not supported",
                hint: "write every value out; put a text that starts with & into quotes")
        }
        // An empty file, or one with comments only, is an empty mapping.
        node = root ?? .mapping(Node.Mapping([]))
    }

    private init(file: String, path: String, node: Node) {
        self.file = file
        self.path = path
        self.node = node
    }

    var line: Int { node.mark?.line ?? 1 }
    var column: Int { node.mark?.column ?? 1 }

    /// The members of a mapping by name, each with its place. An empty value (`users:`) counts as absent.
    func members(_ known: [String]) throws(DiagnosedError) -> [String: StructuredText] {
        guard let mapping = node.mapping else { throw refusal("a mapping (key: value) is expected here") }
        var members: [String: StructuredText] = [:]
        for (key, value) in mapping {
            let name = key.scalar?.string ?? "(no text)"
            let path = self.path.isEmpty ? name : "\(self.path).\(name)"
            guard known.contains(name) else {
                throw StructuredText(file: file, path: path, node: key).refusal(
                    "unknown key; known are \(known.joined(separator: ", "))")
            }
            if let scalar = value.scalar, scalar.string.isEmpty, scalar.style == .plain { continue }
            members[name] = StructuredText(file: file, path: path, node: value)
        }
        return members
    }

    /// The names of a mapping whose keys are data.
    func keys() throws(DiagnosedError) -> [(name: StructuredText, value: StructuredText)] {
        guard let mapping = node.mapping else { throw refusal("a mapping (key: value) is expected here") }
        return mapping.map { key, value in
            let path = "\(self.path).\(key.scalar?.string ?? "(no text)")"
            return (
                StructuredText(file: file, path: path, node: key), StructuredText(file: file, path: path, node: value)
            )
        }
    }

    var isSequence: Bool { node.sequence != nil }
    /// Whether it is written on lines of its own (`- item`), not in brackets.
    var isBlock: Bool { node.sequence.map { $0.style != .flow } ?? (node.mapping?.style != .flow) }

    func items() throws(DiagnosedError) -> [StructuredText] {
        guard let sequence = node.sequence else { throw refusal("a list (- item) is expected here") }
        return sequence.enumerated().map { index, item in
            StructuredText(file: file, path: "\(path)[\(index)]", node: item)
        }
    }

    /// The text of a scalar as written, so that an id of digits stays what it is.
    func text() throws(DiagnosedError) -> String {
        guard let scalar = node.scalar else { throw refusal("a text is expected here") }
        return scalar.string
    }

    func flag() throws(DiagnosedError) -> Bool {
        switch try text() {
        case "true": return true
        case "false": return false
        default: throw refusal("true or false is expected here")
        }
    }

    func refusal(_ problem: String, hint: String? = nil) -> DiagnosedError {
        let place = path.isEmpty ? "" : " \(path):"
        return DiagnosedError(.accountsFile, fault: .configuration, "\(file):\(line):\(place) \(problem)", hint: hint)
    }

    /// A few lines of anchors and aliases can stand for a file of any size. An anchor comes before its aliases, so the
    /// search ends before it meets one.
    private static func firstAnchored(_ node: Node) -> Node? {
        if node.anchor != nil { return node }
        switch node {
        case .mapping(let mapping):
            return mapping.lazy.compactMap { firstAnchored($0.key) ?? firstAnchored($0.value) }.first
        case .sequence(let sequence): return sequence.lazy.compactMap { firstAnchored($0) }.first
        default: return nil
        }
    }

    /// Yams' own descriptions quote the line, which may hold a hash: only the place and the problem are taken.
    private static func diagnosis(of error: YamlError, file: String) -> DiagnosedError {
        let (line, problem): (Int, String) =
            switch error {
            case .scanner(_, let problem, let mark, _), .parser(_, let problem, let mark, _),
                .composer(_, let problem, let mark, _):
                (mark.line, problem)
            case .duplicatedKeysInMapping(let names, let context):
                (context.mark.line, "the key \(names.joined(separator: ", ")) comes more than once")
            case .reader(let problem, _, _, _): (1, problem)
            default: (1, "not readable as YAML")
            }
        return DiagnosedError(.accountsFile, fault: .configuration, "\(file):\(line): \(problem)")
    }
}
