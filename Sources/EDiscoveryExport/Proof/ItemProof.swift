import Cryptography
package import Diagnostics
import EDiscoveryModel
package import JOSESignature
import WireText

/// That one item stands in an export: its line, its path to the root (RFC 6962, section 2.1.1) and the signed statement.
///
/// For somebody who may see this item and no other one: the siblings on the path tell nothing of theirs but their digests.
package struct ItemProof: Sendable {
    package let line: [UInt8]
    /// From 0.
    package let index: Int64
    package let path: [[UInt8]]
    package let statement: ExportStatement
    package let signature: String

    private static let format = "hds-ediscovery-item/1"

    /// From an export's folder, by the item's id or its document number. Reads the lines twice; nothing is verified.
    package init(of wanted: String, in folder: String) throws {
        guard
            let octets = PackageReader.smallFile(
                folder + "/data/" + ExportStatement.path, limit: ExportStatement.maximumBytes),
            let signature = PackageReader.smallFile(folder + "/data/" + ExportStatement.signaturePath, limit: 1 << 20)
        else {
            throw DiagnosedError(
                .exportFile, fault: .configuration, "there is no export with a proof", expected: "an export's folder",
                found: folder)
        }
        statement = try ExportStatement(octets: octets)
        self.signature = String(decoding: signature, as: UTF8.self)
        let place = folder + "/data/items.jsonl"
        let needle = Array(wanted.utf8)
        var found: (index: Int64, line: [UInt8])?
        let lines = try PackageReader(place)
        var count: Int64 = 0
        while let line = try lines.line() {
            defer { count += 1 }
            // Decoding takes long: only what could be it.
            guard found == nil, Self.contains(line, needle), let exported = try? ItemLine.decode(line) else { continue }
            if exported.item.id == wanted || exported.number == wanted { found = (count, line) }
        }
        guard let found else {
            throw DiagnosedError(
                .exportMalformed, fault: .client, "the export has no such item", expected: "an item's id or its number",
                found: wanted.quotedForError)
        }
        var tree = MerkleTree(target: found.index)
        let again = try PackageReader(place)
        while let line = try again.line() { tree.append(MerkleTree.leaf(line)) }
        path = tree.inclusionPath ?? []
        (index, self.line) = found
    }

    private static func contains(_ line: [UInt8], _ needle: [UInt8]) -> Bool {
        // An id with characters that JSON escapes is not found by its octets.
        guard let first = needle.first, needle.allSatisfy({ $0 >= 0x20 && $0 != 0x22 && $0 != 0x5C }) else {
            return true
        }
        guard line.count >= needle.count else { return false }
        return line.indices.dropLast(needle.count - 1).contains { start in
            line[start] == first && line[start..<(start + needle.count)].elementsEqual(needle)
        }
    }

    package init(json: [UInt8]) throws(DiagnosedError) {
        let limits = JSONDocument.Limits(maximumNodes: 2000, maximumBytes: 2 * ItemLine.maximumBytes)
        let root = try JSONDocument(json, limits: limits).root
        guard root["format"]?.string == Self.format, let line = root["line"]?.string,
            let index = root["index"]?.integer,
            let texts = root["path"]?.strings, texts.count <= 64, let statement = root["statement"]?.string,
            let signature = root["signature"]?.string
        else { throw .exportMalformed("this is no proof of an item", expected: Self.format) }
        var path: [[UInt8]] = []
        for text in texts {
            guard let octets = Hexadecimal.decode(text), octets.count == SHA256.byteCount else {
                throw .exportMalformed("the proof's path is not usable", expected: "digests of 32 octets")
            }
            path.append(octets)
        }
        self.line = Array(line.utf8)
        self.index = index
        self.path = path
        self.statement = try ExportStatement(octets: Array(statement.utf8))
        self.signature = signature
    }

    package func json() -> String {
        var json = JSONWriter(reserving: 4096)
        json.beginObject()
        json.member("format", Self.format)
        json.member("index", index)
        json.member("line", String(decoding: line, as: UTF8.self))
        json.member("path", path.map { Hexadecimal.encode($0) })
        json.member("signature", signature)
        json.member("statement", String(decoding: statement.octets, as: UTF8.self))
        json.endObject()
        return json.text()
    }

    /// The item, when the line is in the tree whose root the key has signed.
    package func verify(key: JWK) throws -> ExportedItem {
        guard try ExportSignature.verify(signature, of: statement.octets, with: key) else {
            throw DiagnosedError(
                .exportSignature, fault: .client, "the signature is one over another statement",
                expected: "the octets of the statement")
        }
        let item = try ItemLine.decode(line)
        let computed = MerkleTree.root(
            leaf: MerkleTree.leaf(line), index: index, count: statement.size, path: path)
        guard computed == statement.root else {
            throw DiagnosedError(
                .exportSignature, fault: .client, "the item is not in the tree that was signed",
                expected: "the root \(Hexadecimal.encode(statement.root))",
                found: computed.map { Hexadecimal.encode($0) } ?? "a path that no such tree has")
        }
        return item
    }
}
