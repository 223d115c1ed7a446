package import Diagnostics

/// The one text of a JSON value that is signed: members sorted, no white space, integers only, strings as short as can be.
///
/// The form is RFC 8785 for texts without fractions, with two differences that keep it small: names are sorted by their
/// UTF-8 octets, and control characters other than line feed, return and tab are written `\u00XX`. Two documents of the
/// same content have the same octets, so that several people can sign one payload and a reader can demand the form.
package enum CanonicalJSON {
    /// Refuses numbers with a fraction, an exponent or more than 64 bits: two readers could see two values.
    package static func bytes(_ node: JSONNode) throws(DiagnosedError) -> [UInt8] {
        var json = JSONWriter()
        try write(node, to: &json)
        return json.bytes()
    }

    /// Whether the octets are the canonical text of what they say.
    package static func isCanonical(_ bytes: [UInt8], _ node: JSONNode) -> Bool {
        (try? self.bytes(node)) == bytes
    }

    /// Writes the value as it would stand within a larger canonical text.
    package static func write(_ node: JSONNode, to json: inout JSONWriter) throws(DiagnosedError) {
        switch node.kind {
        case .object:
            json.beginObject()
            let members = (node.members ?? []).sorted { $0.name.utf8.lexicographicallyPrecedes($1.name.utf8) }
            for (name, value) in members {
                json.name(name)
                try write(value, to: &json)
            }
            json.endObject()
        case .array:
            json.beginArray()
            for element in node.elements ?? [] { try write(element, to: &json) }
            json.endArray()
        case .string: json.value(node.string ?? "")
        case .number:
            guard let number = node.integer else {
                throw DiagnosedError(
                    .malformedJSON, fault: .client, "a number has no canonical form", expected: "an integer of 64 bits")
            }
            json.value(number)
        case .boolean: json.value(node.boolean == true)
        case .null: json.null()
        }
    }
}
