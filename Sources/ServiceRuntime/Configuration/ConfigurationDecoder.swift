import Diagnostics
import Yams

/// What one reading of a file gathers on its way: problems that do not end it.
///
/// Used by one thread, during one call of `ConfigurationFile.decode`.
final class ConfigurationReading {
    let folder: String
    var problems: [ConfigurationError.Problem] = []

    init(folder: String) { self.folder = folder }
}

/// A `Decoder` over YAML nodes that knows the line of everything and holds each mapping against its coding keys.
///
/// Of its own because `YAMLDecoder` of Yams ignores unknown keys, tells no lines and takes `on` for true.
struct ConfigurationDecoder: Decoder {
    let node: Node
    let path: [any CodingKey]
    let reading: ConfigurationReading
    /// Set for the values of a dictionary, whose keys are the administrator's.
    var acceptsAnyKey = false

    static let folderKey = CodingUserInfoKey(rawValue: "configuration-folder")
    var codingPath: [any CodingKey] { path }
    var userInfo: [CodingUserInfoKey: Any] { Self.folderKey.map { [$0: reading.folder] } ?? [:] }

    func container<Key: CodingKey>(keyedBy type: Key.Type) throws -> KeyedDecodingContainer<Key> {
        var values: [String: Node] = [:]
        switch node {
        case .mapping(let mapping):
            let known = acceptsAnyKey ? nil : try Self.names(of: type)
            for (key, value) in mapping {
                guard let name = key.scalar?.string else {
                    throw fault("a key has to be a word", expected: "key: value", line: key.mark?.line)
                }
                values[name] = value
                if let known, !known.contains(name) { note(unknown: name, known: known, line: key.mark?.line) }
            }
        case .scalar(let scalar) where scalar.isNull: break
        default: throw fault("a section is missing here", expected: "key: value lines", found: node.kindName)
        }
        return KeyedDecodingContainer(Keyed(decoder: self, values: values))
    }

    func unkeyedContainer() throws -> any UnkeyedDecodingContainer {
        switch node {
        case .sequence(let sequence): Unkeyed(decoder: self, elements: Array(sequence))
        default: throw fault("a list is missing here", expected: "lines that start with -", found: node.kindName)
        }
    }

    func singleValueContainer() throws -> any SingleValueDecodingContainer { Single(decoder: self) }

    func child(_ node: Node, _ key: any CodingKey) -> ConfigurationDecoder {
        ConfigurationDecoder(node: node, path: path + [key], reading: reading)
    }

    /// The list that `CaseIterable` gives; a type without it can not be checked, which is a fault of this program.
    private static func names<Key: CodingKey>(of type: Key.Type) throws -> [String] {
        guard let listed = type as? any (CodingKey & CaseIterable).Type else {
            throw DiagnosedError(
                .configurationKeysNotListed, fault: .internal, "the coding keys \(type) are not CaseIterable",
                hint: "declare them as enum CodingKeys: String, CodingKey, CaseIterable")
        }
        func all<Listed: CodingKey & CaseIterable>(_ type: Listed.Type) -> [String] {
            type.allCases.map(\.stringValue)
        }
        return all(listed)
    }

    private func note(unknown name: String, known: [String], line: Int?) {
        let nearest = NearestName.of(name, among: known)
        reading.problems.append(
            .init(
                path: Self.text(path + [NamedKey(name)]), line: line, "this key is not known",
                expected: nearest == nil ? "one of \(known.sorted().joined(separator: ", "))" : nil,
                hint: nearest.map { "did you mean \($0)?" } ?? "remove it or correct its name"))
    }
}

extension DiagnosedError.Code {
    /// A structure of the configuration was declared without the list of its keys.
    static let configurationKeysNotListed: Self = "configuration-keys-not-listed"
}

// MARK: - Problems

/// Ends a reading; `ConfigurationFile` gathers it with the problems noted before.
struct ConfigurationFault: Error {
    let problem: ConfigurationError.Problem
}

extension ConfigurationDecoder {
    func fault(
        _ summary: String, expected: String? = nil, found: String? = nil, line: Int? = nil, hint: String? = nil
    ) -> ConfigurationFault {
        ConfigurationFault(
            problem: .init(
                path: Self.text(path), line: line ?? node.mark?.line, summary, expected: expected, found: found,
                hint: hint))
    }

    /// The problem behind whatever an initialiser threw; errors that know only a coding path get its line.
    func problem(for error: any Error) -> ConfigurationError.Problem {
        switch error {
        case let fault as ConfigurationFault: return fault.problem
        case let error as DiagnosedError:
            return .init(error.summary, expected: error.expected, found: error.found, hint: error.hint)
        case let error as DecodingError:
            let (summary, context): (String, DecodingError.Context) =
                switch error {
                case .typeMismatch(_, let context): (context.debugDescription, context)
                case .valueNotFound(_, let context): ("a value is missing", context)
                case .keyNotFound(let key, let context): ("the key \(key.stringValue) is missing", context)
                case .dataCorrupted(let context): (context.debugDescription, context)
                @unknown default: ("the value can not be used", .init(codingPath: [], debugDescription: ""))
                }
            return .init(path: Self.text(context.codingPath), line: line(of: context.codingPath), summary)
        default: return .init("the value can not be used")
        }
    }

    private func line(of path: [any CodingKey]) -> Int? {
        var node = node
        for key in path {
            let next: Node? =
                switch node {
                case .mapping(let mapping): mapping.first { $0.key.scalar?.string == key.stringValue }?.value
                case .sequence(let sequence):
                    key.intValue.flatMap { sequence.indices.contains($0) ? sequence[$0] : nil }
                default: nil
                }
            guard let next else { break }
            node = next
        }
        return node.mark?.line
    }

    static func text(_ path: [any CodingKey]) -> String {
        path.reduce(into: "") { text, key in
            if let index = key.intValue, key is IndexKey {
                text += "[\(index)]"
            } else {
                text += text.isEmpty ? key.stringValue : ".\(key.stringValue)"
            }
        }
    }
}

struct NamedKey: CodingKey {
    let stringValue: String
    var intValue: Int? { nil }
    init(_ name: String) { stringValue = name }
    init?(stringValue: String) { self.stringValue = stringValue }
    init?(intValue: Int) { return nil }
}

struct IndexKey: CodingKey {
    let index: Int
    var stringValue: String { String(index) }
    var intValue: Int? { index }
    init(_ index: Int) { self.index = index }
    init?(stringValue: String) { return nil }
    init?(intValue: Int) { index = intValue }
}

extension Node {
    var isNull: Bool { scalar?.isNull ?? false }

    /// What a person calls it, with the value of a scalar.
    var kindName: String {
        switch self {
        case .scalar(let scalar): scalar.isNull ? "nothing" : scalar.quoted
        case .mapping: "a section with keys of its own"
        case .sequence: "a list"
        case .alias: "an alias"
        }
    }
}

extension Node.Scalar {
    var isPlain: Bool { style == .plain || style == .any }
    /// Nothing after the colon, `~` or `null`.
    var isNull: Bool { isPlain && (string.isEmpty || string == "~" || string == "null") }
    /// Short enough for a message.
    var quoted: String {
        let cut = string.count > 60 ? String(string.prefix(57)) + "..." : string
        return "\"\(cut.replacing("\n", with: "\\n"))\""
    }
}
