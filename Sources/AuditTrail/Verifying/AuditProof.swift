import Cryptography
import Diagnostics
import JOSESignature
import WireText

/// The proof that one record stands in a trail, for somebody who has only a signed root and a key's fingerprint.
package struct AuditProof: Sendable {
    /// The record without its chain, as it was hashed.
    package let record: String
    /// Its place under the root, from 0.
    package let index: Int64
    package let count: Int64
    package let path: [[UInt8]]
    /// JWS of the root.
    package let root: String
    /// Material of the key that signed; counts only when its fingerprint is believed.
    private let key: String?
    private let successions: [String]

    /// Looks for the record and gathers its path; one pass over its segment.
    package static func make(for id: AuditID, folder path: String, trust: AttestationTrust) throws -> AuditProof {
        let folder = TrailFolder(path: path)
        var query = AuditQuery()
        query.id = id
        guard let found = try TrailReader(folder: path).records(query).first else {
            throw DiagnosedError(
                .auditProofInvalid, fault: .client, "no record has this id", found: id.description,
                hint: "its segment may have been deleted: look into the exports")
        }
        let roots = try RootChain(RootsFile(path: folder.rootsPath), node: found.node, trust: trust)
        guard let root = roots.root(covering: found.seq) else {
            throw DiagnosedError(
                .auditProofInvalid, fault: .client, "record \(found.seq) is not under a root yet",
                hint: "the root is signed when the hour of the record is over")
        }
        let statement = root.statement
        var tree = MerkleTree(target: found.seq - statement.first)
        let reader = try LineReader(folder.path(of: SegmentName(node: found.node, first: statement.first)))
        while let line = try reader.next(), let header = LineHeader(line) { tree.append(header.leaf) }
        guard let inclusion = tree.inclusionPath, tree.count == statement.count, tree.root == statement.root,
            let header = LineHeader(found.line)
        else {
            throw DiagnosedError(
                .auditRootInvalid, fault: .client, "the segment of record \(found.seq) is not what its root says",
                expected: "root \(Hexadecimal.encode(statement.root))", found: Hexadecimal.encode(tree.root),
                hint: "hdsctl audit verify tells what was changed")
        }
        return AuditProof(
            record: String(decoding: header.hashedText, as: UTF8.self), index: found.seq - statement.first,
            count: statement.count, path: inclusion, root: root.jws, key: try firstKey(folder),
            successions: roots.successions)
    }

    private static func firstKey(_ folder: TrailFolder) throws -> String? {
        var key: String?
        try RootsFile(path: folder.rootsPath).forEach { entry, _ in
            if case .key(let jwk) = entry, key == nil { key = jwk }
        }
        return key
    }

    private init(
        record: String, index: Int64, count: Int64, path: [[UInt8]], root: String, key: String?, successions: [String]
    ) {
        self.record = record
        self.index = index
        self.count = count
        self.path = path
        self.root = root
        self.key = key
        self.successions = successions
    }

    /// - Parameter root: the root that the reader has by another way; the one inside the proof must be the same.
    package func verify(root given: String? = nil, trust: AttestationTrust) throws -> (RootStatement, LineMembers) {
        var trust = trust
        if let key { trust.learn(try JWK(jsonText: key).publicKey()) }
        for jws in successions { _ = try? trust.accept(succession: jws) }
        let statement = try RootStatement(try trust.verify(given ?? root, as: .root).payload)
        let members = try LineMembers(record)
        guard statement.count == count, members.seq == statement.first + index, members.node == statement.node else {
            throw invalid(
                "the record does not belong to that root",
                expected: "record \(statement.first + index) of node \(statement.node.quotedForError)",
                found: "record \(members.seq) of node \(members.node.quotedForError)")
        }
        let leaf = TrailHash.leaf(of: Array(record.utf8))
        let computed = MerkleTree.root(leaf: leaf, index: index, count: count, path: path)
        guard computed == statement.root else {
            throw invalid(
                "the record does not lead to the signed root", expected: Hexadecimal.encode(statement.root),
                found: computed.map { Hexadecimal.encode($0) } ?? "a path of another length")
        }
        return (statement, members)
    }

    private func invalid(_ summary: String, expected: String, found: String) -> DiagnosedError {
        DiagnosedError(.auditProofInvalid, fault: .client, summary, expected: expected, found: found)
    }

    /// What a reader of the proof needs of the record.
    package struct LineMembers: Sendable {
        package let seq: Int64
        package let node: String

        init(_ record: String) throws(DiagnosedError) {
            let json = try JSONDocument(text: record).root
            guard let seq = json["seq"]?.integer, let node = json["node"]?.string else {
                throw StatementReader.malformed("record")
            }
            (self.seq, self.node) = (seq, node)
        }
    }
}

// As JSON.
extension AuditProof {
    private static let format = "hds-audit-proof-1"

    package func json() -> String {
        var json = JSONWriter()
        json.beginObject()
        json.member("format", Self.format)
        json.member("record", record)
        json.member("index", index)
        json.member("count", count)
        json.member("path", path.map { Hexadecimal.encode($0) })
        json.member("root", root)
        if let key {
            json.name("key")
            json.raw(key)
        }
        json.member("successions", successions)
        json.endObject()
        return json.text()
    }

    package init(fromFile path: String) throws { try self.init(json: try SmallFile.read(path, limit: 1 << 20)) }

    /// The JWS of a root: the text itself, or the file that it names.
    package static func root(_ text: String) throws -> String {
        if text.split(separator: ".", omittingEmptySubsequences: false).count == 3, text.hasPrefix("ey") { return text }
        let content = String(decoding: try SmallFile.read(text, limit: 64 << 10), as: UTF8.self)
        return content.filter { !$0.isWhitespace }
    }

    package init(json text: [UInt8]) throws {
        let root = try JSONDocument(text, limits: .init(maximumDepth: 4, maximumNodes: 2000, maximumBytes: 1 << 20))
            .root
        guard root["format"]?.string == Self.format, let record = root["record"]?.string,
            let index = root["index"]?.integer, let count = root["count"]?.integer, let texts = root["path"]?.strings,
            let jws = root["root"]?.string, case let path = texts.compactMap({ Hexadecimal.decode($0) }),
            path.count == texts.count
        else {
            throw DiagnosedError(
                .auditProofInvalid, fault: .client, "the file is no proof", expected: "what hdsctl audit prove prints")
        }
        self.init(
            record: record, index: index, count: count, path: path, root: jws, key: root["key"]?.rawText,
            successions: root["successions"]?.strings ?? [])
    }
}
