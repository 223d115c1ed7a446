package import CalendarBackend
import Diagnostics
package import WireText

/// A JSON value that can be compared and changed, for services that speak JSON. Numbers keep their text.
package indirect enum JSONValue: Sendable, Hashable {
    case null
    case boolean(Bool)
    case number(String)
    case string(String)
    case array([JSONValue])
    case object([String: JSONValue])

    /// - Throws: `protocolViolation`.
    package init(parsing octets: [UInt8], limit: Int = 32 << 20) throws(CalendarError) {
        do throws(DiagnosedError) {
            let limits = JSONDocument.Limits(maximumDepth: 32, maximumNodes: 2_000_000, maximumBytes: limit)
            self.init(try JSONDocument(octets, limits: limits).root)
        } catch {
            throw .violation(
                "the calendar service's answer can not be read", expected: "JSON within bounds", found: error.found)
        }
    }

    package init(_ node: JSONNode) {
        switch node.kind {
        case .null: self = .null
        case .boolean: self = .boolean(node.boolean == true)
        case .number: self = .number(node.rawText)
        case .string: self = .string(node.string ?? "")
        case .array: self = .array((node.elements ?? []).map(JSONValue.init))
        case .object:
            self = .object(
                Dictionary((node.members ?? []).map { ($0.name, JSONValue($0.value)) }) { first, _ in first })
        }
    }

    /// Members sorted, so that equal values have equal octets.
    package var octets: [UInt8] {
        var json = JSONWriter()
        write(to: &json)
        return json.bytes()
    }

    private func write(to json: inout JSONWriter) {
        switch self {
        case .null: json.null()
        case .boolean(let flag): json.value(flag)
        case .number(let text): json.raw(text)
        case .string(let text): json.value(text)
        case .array(let values):
            json.beginArray()
            for value in values { value.write(to: &json) }
            json.endArray()
        case .object(let members):
            json.beginObject()
            for (name, value) in members.sorted(by: { $0.key < $1.key }) {
                json.name(name)
                value.write(to: &json)
            }
            json.endObject()
        }
    }

    /// A member of an object; null and no member are the same.
    package subscript(name: String) -> JSONValue? {
        get {
            guard case .object(let members) = self, let value = members[name], value != .null else { return nil }
            return value
        }
        set {
            guard case .object(var members) = self else { return }
            members[name] = newValue
            self = .object(members)
        }
    }

    package var text: String? { if case .string(let text) = self { text } else { nil } }
    package var flag: Bool? { if case .boolean(let flag) = self { flag } else { nil } }
    package var integer: Int? { if case .number(let text) = self { Int(text) } else { nil } }
    package var list: [JSONValue] { if case .array(let values) = self { values } else { [] } }
    package var members: [String: JSONValue] { if case .object(let members) = self { members } else { [:] } }
    package static func integer(_ value: Int) -> JSONValue { .number(String(value)) }
}

extension JSONValue: ExpressibleByDictionaryLiteral, ExpressibleByArrayLiteral, ExpressibleByStringLiteral,
    ExpressibleByBooleanLiteral
{
    package init(dictionaryLiteral elements: (String, JSONValue)...) {
        self = .object(Dictionary(elements) { first, _ in first })
    }
    package init(arrayLiteral elements: JSONValue...) { self = .array(elements) }
    package init(stringLiteral value: String) { self = .string(value) }
    package init(booleanLiteral value: Bool) { self = .boolean(value) }
}
