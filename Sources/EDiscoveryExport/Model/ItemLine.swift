import Cryptography
package import Diagnostics
import EDiscoveryModel
import WireText

/// The line of one item in `items.jsonl`: canonical JSON, which is also the leaf of the tree.
///
/// Members sorted, no white space (`CanonicalJSON`), so that anybody who has the item can make the octets that are proven.
/// What an item does not have is left out; lists are always there.
package enum ItemLine {
    /// Longer ones are not read: it would be in memory as a whole.
    package static let maximumBytes = 64 << 20
    private static let limits = JSONDocument.Limits(
        maximumDepth: 8, maximumNodes: 4_000_000, maximumBytes: maximumBytes)

    /// Without a line feed.
    package static func encode(_ exported: ExportedItem) throws(DiagnosedError) -> [UInt8] {
        let item = exported.item
        guard let sequence = Int64(exactly: item.sequence) else {
            throw .exportMalformed("an item's sequence is no number of 63 bits", found: String(item.sequence))
        }
        var json = JSONWriter(reserving: 1024)
        json.beginObject()
        json.name("author")
        write(item.author, to: &json)
        json.member("context", item.isContext)
        json.member("custodians", item.custodians)
        if let deletion = item.deletion {
            json.name("deletion")
            json.beginObject()
            json.member("at", deletion.at.iso8601)
            json.name("by")
            write(deletion.by, to: &json)
            json.endObject()
        }
        json.name("files")
        json.beginArray()
        for (file, place) in zip(item.files, exported.files) { try write(file, place, to: &json) }
        json.endArray()
        json.name("history")
        json.beginArray()
        for version in item.history { write(version, to: &json) }
        json.endArray()
        json.member("id", item.id)
        json.member("kind", item.kind.rawValue)
        json.member("number", exported.number)
        optional("parent", item.parent, to: &json)
        json.name("participants")
        json.beginArray()
        for person in item.participants { write(person, to: &json) }
        json.endArray()
        json.name("problems")
        json.beginArray()
        for problem in item.problems {
            json.beginObject()
            json.member("class", problem.problemClass.rawValue)
            json.member("text", problem.text)
            json.endObject()
        }
        json.endArray()
        json.member("published", item.published.iso8601)
        json.member("sequence", sequence)
        json.member("space", item.space)
        if let subject = item.subject {
            json.name("subject")
            write(subject, to: &json)
        }
        optional("text", item.text, to: &json)
        json.endObject()
        guard json.count <= maximumBytes else {
            throw .exportMalformed("an item is too large", expected: "at most \(maximumBytes) octets as JSON")
        }
        return json.bytes()
    }

    private static func optional(_ name: String, _ text: String?, to json: inout JSONWriter) {
        if let text { json.member(name, text) }
    }

    private static func write(_ person: Person, to json: inout JSONWriter) {
        json.beginObject()
        optional("email", person.email, to: &json)
        json.member("id", person.id)
        optional("name", person.name, to: &json)
        json.endObject()
    }

    private static func write(
        _ file: CollectedFile, _ place: ExportedItem.Place, to json: inout JSONWriter
    ) throws(DiagnosedError) {
        json.beginObject()
        if let digest = file.digest { json.member("digest", Hexadecimal.encode(digest)) }
        optional("mediaType", file.mediaType, to: &json)
        optional("name", file.name, to: &json)
        json.member("number", place.number)
        optional("path", place.path, to: &json)
        optional("reference", file.reference, to: &json)
        if let size = file.size {
            guard let size = Int64(exactly: size) else {
                throw .exportMalformed("a file's size is no number of 63 bits", found: String(size))
            }
            json.member("size", size)
        }
        json.endObject()
    }

    private static func write(_ version: CollectedItem.Version, to json: inout JSONWriter) {
        json.beginObject()
        json.name("editor")
        write(version.editor, to: &json)
        optional("text", version.text, to: &json)
        json.member("until", version.until.iso8601)
        json.endObject()
    }

    /// Refuses what is not the canonical line of an item.
    package static func decode(_ line: [UInt8]) throws(DiagnosedError) -> ExportedItem {
        let root = try JSONDocument(line, limits: limits).root
        let exported = try item(root)
        // One line for one item: what says the same in other octets is not what was signed.
        guard try encode(exported) == line else {
            throw .exportMalformed(
                "a line is not the canonical one of its item", expected: "sorted members, no white space")
        }
        return exported
    }

    private static func item(_ root: JSONNode) throws(DiagnosedError) -> ExportedItem {
        let sequence = try need(root["sequence"]?.integer.flatMap { UInt64(exactly: $0) }, "sequence")
        let kind = try need(root["kind"]?.string.flatMap(CollectedItem.Kind.init), "kind")
        var item = CollectedItem(
            id: try text("id", root), kind: kind, space: try text("space", root), sequence: sequence,
            published: try time("published", root), author: try person("author", root), text: root["text"]?.string,
            parent: root["parent"]?.string)
        for node in try list("history", root) {
            item.history.append(
                .init(text: node["text"]?.string, until: try time("until", node), editor: try person("editor", node)))
        }
        if let node = root["deletion"] { item.deletion = .init(at: try time("at", node), by: try person("by", node)) }
        if root["subject"] != nil { item.subject = try person("subject", root) }
        var places: [ExportedItem.Place] = []
        for node in try list("files", root) {
            item.files.append(
                CollectedFile(
                    name: node["name"]?.string, mediaType: node["mediaType"]?.string,
                    size: node["size"]?.integer.flatMap { UInt64(exactly: $0) },
                    digest: node["digest"]?.string.flatMap { Hexadecimal.decode($0) },
                    reference: node["reference"]?.string))
            places.append(.init(number: try text("number", node), path: node["path"]?.string))
        }
        for node in try list("participants", root) { item.participants.append(try person(node)) }
        item.custodians = try need(root["custodians"]?.strings, "custodians")
        item.isContext = try need(root["context"]?.boolean, "context")
        for node in try list("problems", root) {
            let problem = try need(node["class"]?.string.flatMap(Problem.Class.init), "class")
            item.problems.append(Problem(problem, try text("text", node)))
        }
        return ExportedItem(item: item, number: try text("number", root), files: places)
    }

    private static func need<Value>(_ value: Value?, _ name: String) throws(DiagnosedError) -> Value {
        guard let value else { throw .exportMalformed("a line has no usable '\(name)'") }
        return value
    }

    private static func text(_ name: String, _ node: JSONNode) throws(DiagnosedError) -> String {
        try need(node[name]?.string, name)
    }

    private static func time(_ name: String, _ node: JSONNode) throws(DiagnosedError) -> Timestamp {
        try need(node[name]?.string.flatMap { Timestamp(iso8601: $0) }, name)
    }

    private static func list(_ name: String, _ node: JSONNode) throws(DiagnosedError) -> [JSONNode] {
        try need(node[name]?.elements, name)
    }

    private static func person(_ name: String, _ node: JSONNode) throws(DiagnosedError) -> Person {
        try person(try need(node[name], name))
    }

    private static func person(_ node: JSONNode) throws(DiagnosedError) -> Person {
        Person(id: try text("id", node), email: node["email"]?.string, name: node["name"]?.string)
    }
}
