package import Diagnostics
package import WireText

/// What is signed of an export, `data/proof/root.json`: canonical JSON of its settings, its counts, the root of the tree over its
/// items, and one digest over all its other files.
package struct ExportStatement: Sendable {
    package static let path = "proof/root.json"
    package static let signaturePath = "proof/root.jws"
    /// The `typ` of the signature, so that it can be taken for nothing else.
    package static let type = "hds-ediscovery-export+jws"

    package let octets: [UInt8]
    package let report: String
    package let matter: String
    package let created: Timestamp
    /// The root of RFC 6962 over the lines of `items.jsonl`, and their number.
    package let root: [UInt8]
    package let size: Int64
    /// SHA-256 over the lines of `manifest-sha256.txt` in their order, without those of `data/proof/`.
    package let payload: [UInt8]
    /// The counts as canonical JSON.
    package let counts: [UInt8]

    private static let format = "hds-ediscovery-export/1"
    static let maximumBytes = 256 << 10

    init(
        settings: ExportSettings, counts: ExportCounts, root: [UInt8], payload: [UInt8], lastNumber: String?
    ) throws {
        var text = JSONWriter()
        counts.write(to: &text)
        self.counts = text.bytes()
        report = settings.report
        matter = settings.matter
        created = settings.created
        self.root = root
        size = counts.items
        self.payload = payload
        var json = JSONWriter(reserving: 2048)
        json.beginObject()
        json.name("counts")
        counts.write(to: &json)
        json.member("created", settings.created.iso8601)
        json.member("format", Self.format)
        json.member("formats", settings.formats.map(\.rawValue).sorted())
        json.member("matter", settings.matter)
        json.name("numbers")
        json.beginObject()
        json.member("first", try settings.numbering.number(0))
        if let lastNumber { json.member("last", lastNumber) }
        json.endObject()
        json.member("payload", Hexadecimal.encode(payload))
        json.member("report", settings.report)
        json.member("timezone", settings.zone.name)
        json.name("tree")
        json.beginObject()
        json.member("hash", "SHA-256, RFC 6962")
        json.member("root", Hexadecimal.encode(root))
        json.member("size", counts.items)
        json.endObject()
        json.endObject()
        octets = json.bytes()
    }

    package init(octets: [UInt8]) throws(DiagnosedError) {
        let limits = JSONDocument.Limits(maximumDepth: 6, maximumNodes: 2000, maximumBytes: Self.maximumBytes)
        let root = try JSONDocument(octets, limits: limits).root
        guard CanonicalJSON.isCanonical(octets, root) else {
            throw .exportMalformed("the statement is not canonical JSON")
        }
        guard root["format"]?.string == Self.format, let counts = root["counts"], let report = root["report"]?.string,
            let matter = root["matter"]?.string,
            let created = root["created"]?.string.flatMap({ Timestamp(iso8601: $0) }),
            let treeRoot = root["tree"]?["root"]?.string.flatMap({ Hexadecimal.decode($0) }), treeRoot.count == 32,
            let size = root["tree"]?["size"]?.integer, size >= 0,
            let payload = root["payload"]?.string.flatMap({ Hexadecimal.decode($0) })
        else {
            throw .exportMalformed(
                "the statement is none of an export", expected: Self.format,
                found: root["format"]?.string?.quotedForError)
        }
        self.octets = octets
        self.report = report
        self.matter = matter
        self.created = created
        self.root = treeRoot
        self.size = size
        self.payload = payload
        self.counts = try CanonicalJSON.bytes(counts)
    }
}
