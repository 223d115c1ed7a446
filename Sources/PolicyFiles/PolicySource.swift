package import Diagnostics
package import SignedPolicy
import WireText
import Yams

/// A policy as a person writes it, YAML or JSON, turned into the JSON that is checked and signed.
///
/// Only what can not be misread is taken: no anchors, aliases, tags, merge keys or several documents; an unquoted `true`,
/// `false` or integer is one, everything else is a text. So a word such as `on` or `no` stays a word and is refused where
/// true or false is due.
package enum PolicySource {
    /// The policy of a file's text and the octets to sign.
    package static func read(
        _ text: String, file: String
    ) throws(DiagnosedError) -> (policy: Policy, canonical: [UInt8]) {
        guard text.utf8.count <= Policy.maximumBytes else {
            throw refused(file, nil, "the file is too long", expected: "at most \(Policy.maximumBytes) octets")
        }
        let json = try json(text, file: file)
        do {
            let (policy, bytes) = try Policy.canonical(of: json)
            return (policy, bytes)
        } catch {
            throw DiagnosedError(
                error.code, fault: .configuration, "\(file): \(error.summary)", expected: error.expected,
                found: error.found, hint: error.hint)
        }
    }

    static func json(_ text: String, file: String) throws(DiagnosedError) -> [UInt8] {
        let root: Node
        do {
            let parser = try Parser(yaml: text, resolver: .basic, encoding: .utf8)
            guard let node = try parser.singleRoot() else { throw refused(file, nil, "the file is empty") }
            // Nodes know their anchors for as long as the parser lives.
            if let anchored = withExtendedLifetime(parser, { firstAnchored(node, depth: 0) }) {
                throw refused(
                    file, anchored.mark?.line, "anchors and aliases are not supported",
                    expected: "every value written out")
            }
            root = node
        } catch let error as DiagnosedError {
            throw error
        } catch let error as YamlError {
            throw diagnosis(of: error, file: file)
        } catch {
            throw refused(file, nil, "the file is no YAML")
        }
        var json = JSONWriter()
        try write(root, "", file, depth: 0, to: &json)
        return json.bytes()
    }

    private static let maximumDepth = 8

    private static func write(
        _ node: Node, _ path: String, _ file: String, depth: Int, to json: inout JSONWriter
    ) throws(DiagnosedError) {
        guard depth <= maximumDepth else { throw refused(file, node.mark?.line, "\(path): nested too deeply") }
        try checkTag(node, path, file)
        switch node {
        case .mapping(let mapping):
            json.beginObject()
            for (key, value) in mapping {
                guard let name = key.scalar?.string, name != "<<" else {
                    throw refused(file, key.mark?.line, "\(path): a name is no text")
                }
                try checkTag(key, path, file)
                json.name(name)
                try write(value, path.isEmpty ? name : "\(path).\(name)", file, depth: depth + 1, to: &json)
            }
            json.endObject()
        case .sequence(let sequence):
            json.beginArray()
            for (index, element) in sequence.enumerated() {
                try write(element, "\(path)[\(index)]", file, depth: depth + 1, to: &json)
            }
            json.endArray()
        case .scalar(let scalar): try write(scalar, path, file, to: &json)
        case .alias: throw refused(file, node.mark?.line, "\(path): aliases are not supported")
        }
    }

    private static func write(
        _ scalar: Node.Scalar, _ path: String, _ file: String, to json: inout JSONWriter
    ) throws(DiagnosedError) {
        let text = scalar.string
        guard scalar.style == .plain || scalar.style == .any else { return json.value(text) }
        switch text {
        case "true": json.value(true)
        case "false": json.value(false)
        case "", "~", "null", "Null", "NULL":
            throw refused(
                file, scalar.mark?.line, "\(path): there is no value", expected: "a value",
                hint: "write the value, or take the line out")
        default:
            // `007` and `+1` are texts; `1_000` as well.
            if let number = Int64(text), String(number) == text { json.value(number) } else { json.value(text) }
        }
    }

    /// A tag of the author's own, such as `!!str` or `!secret`.
    private static func checkTag(_ node: Node, _ path: String, _ file: String) throws(DiagnosedError) {
        let known = ["", "!", "tag:yaml.org,2002:str", "tag:yaml.org,2002:map", "tag:yaml.org,2002:seq"]
        guard known.contains(node.tag.description) else {
            throw refused(file, node.mark?.line, "\(path): tags are not supported", hint: "take the !… out")
        }
    }

    private static func firstAnchored(_ node: Node, depth: Int) -> Node? {
        // Deeper ones are refused in any case.
        guard depth <= maximumDepth + 1 else { return nil }
        if node.anchor != nil { return node }
        switch node {
        case .mapping(let mapping):
            for (key, value) in mapping {
                if let found = firstAnchored(key, depth: depth + 1) ?? firstAnchored(value, depth: depth + 1) {
                    return found
                }
            }
            return nil
        case .sequence(let sequence):
            for element in sequence {
                if let found = firstAnchored(element, depth: depth + 1) { return found }
            }
            return nil
        case .scalar: return nil
        case .alias: return node
        }
    }

    private static func diagnosis(of error: YamlError, file: String) -> DiagnosedError {
        switch error {
        case .scanner(_, let problem, let mark, _), .parser(_, let problem, let mark, _),
            .composer(_, let problem, let mark, _):
            refused(
                file, mark.line, "this is no YAML: \(problem)",
                hint: "check indentation (spaces, no tabs), colons and quotes of this line and the one before")
        case .duplicatedKeysInMapping(let duplicates, let context):
            refused(
                file, context.mark.line, "\(duplicates.joined(separator: ", ")): the member stands twice",
                expected: "each member once", hint: "remove one of the two")
        default: refused(file, nil, "this is no YAML")
        }
    }

    private static func refused(
        _ file: String, _ line: Int?, _ summary: String, expected: String? = nil, hint: String? = nil
    ) -> DiagnosedError {
        DiagnosedError(
            .policyMalformed, fault: .configuration, "\(file)\(line.map { ":\($0)" } ?? ""): \(summary)",
            expected: expected, hint: hint)
    }
}
