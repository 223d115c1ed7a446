package import KeyStore
package import MasterKey
import SecretMemory
import WireText

/// Where the records of one node outside the database are: its audit trail's newest head and its journal's tip.
///
/// Each node keeps its own as a sealed setting, so that a backup knows every node and how far it had come: a restore sees
/// by it that a journal is missing or was cut off, and an auditor that a trail was.
package struct NodeHeads: Sendable, Equatable {
    static let prefix = "node-heads/"

    package let node: String
    /// Id of the journal of removals.
    package var journal: String?
    package var tip: JournalTip?
    /// The newest signed head of the audit trail.
    package var auditHead: String?

    package init(node: String, journal: String? = nil, tip: JournalTip? = nil, auditHead: String? = nil) {
        (self.node, self.journal, self.tip, self.auditHead) = (node, journal, tip, auditHead)
    }

    func write(to json: inout JSONWriter) {
        json.beginObject()
        json.member("node", node)
        json.member("journal", ifPresent: journal)
        tip?.write(to: &json)
        json.member("auditHead", ifPresent: auditHead)
        json.endObject()
    }

    init?(_ root: JSONNode) {
        guard let node = root["node"]?.string else { return nil }
        self.init(
            node: node, journal: root["journal"]?.string, tip: JournalTip(root),
            auditHead: root["auditHead"]?.string)
    }

    /// What is kept of a node; nil: nothing, or what does not open.
    package static func kept(of node: String, in store: any KeyStore, ring: SealRing) async throws -> NodeHeads? {
        let name = prefix + node
        return try await store.setting(name).flatMap { opened(name, $0, ring) }
    }

    /// Keeps them for this node.
    package func keep(in store: any KeyStore, ring: SealRing) async throws {
        let name = Self.prefix + node
        var json = JSONWriter()
        write(to: &json)
        let octets = json.bytes()
        for _ in 0..<8 {
            let old = try await store.setting(name)
            let version = (old.map(Self.version) ?? 0) + 1
            var value: [UInt8] = []
            value.append(bigEndian: version)
            value += try octets.withUnsafeBytes { try ring.seal($0, kind: .setting, id: name, version: version) }
            let change = StoreChange(
                writes: [.putSetting(name: name, value: value)], expectations: [.setting(name: name, value: old)])
            if try await store.commit(change) == .committed { return }
        }
    }

    /// Of all nodes, from the rows of settings. What does not open is left out: a backup is made all the same.
    static func all(in snapshot: any StoreSnapshot, ring: SealRing) throws -> [NodeHeads] {
        var heads: [NodeHeads] = []
        try snapshot.rows(of: .settings) { row in
            guard case .octets(let name) = row[0], case .octets(let value) = row[1],
                name.starts(with: Array(prefix.utf8))
            else { return }
            if let head = opened(String(decoding: name, as: UTF8.self), value, ring) { heads.append(head) }
        }
        return heads
    }

    /// Eight octets of the version, and what was sealed under it.
    private static func opened(_ name: String, _ value: [UInt8], _ ring: SealRing) -> NodeHeads? {
        guard value.count > 8,
            let plain = try? ring.open(Array(value.dropFirst(8)), kind: .setting, id: name, version: version(value)),
            let root = plain.withUnsafeBytes({ try? JSONDocument(Array($0)).root })
        else { return nil }
        return NodeHeads(root)
    }

    private static func version(_ value: [UInt8]) -> Int64 { value.prefix(8).reduce(0) { $0 << 8 | Int64($1) } }
}
