package import KeyStore
package import WireText

/// What a rotation of the root key leaves for all nodes to read: who has proved a new version, what was promoted when,
/// what is to be destroyed.
///
/// One setting, sealed under the active root key. Every change of the root keys replaces it in the same transaction and
/// expects the value that it read: so of two at a time one wins, and nobody undoes what he did not see.
package struct RotationJournal: Sendable, Equatable {
    package struct Node: Sendable, Equatable {
        package var seen: Timestamp
        /// The highest version that it opened the trial record under.
        package var proved: Int64
        /// The fingerprint of the key-encryption key that it works with; nil when it has not said.
        package var kek: String?
    }

    /// The promotion whose old version is being replaced, or the last one that was.
    package struct Promotion: Sendable, Equatable {
        package var from: Int64
        package var to: Int64
        package var at: Timestamp
        package var retired: Timestamp?
    }

    package struct Trial: Sendable, Equatable {
        package var version: Int64
        package var sealed: [UInt8]
    }

    package struct Destruction: Sendable, Equatable {
        package var version: Int64
        /// Until then it can be undone.
        package var due: Timestamp
    }

    package var nodes: [String: Node] = [:]
    package var trial: Trial?
    package var promotion: Promotion?
    package var destruction: Destruction?
    /// By node, the key-encryption key that only it has: it joined with one of its own.
    package var ownKEKs: [String: String] = [:]
    /// Of every version; nil in a journal from before there were any.
    package var states: [Int64: RootKeyRecord.State]?

    init() {}

    /// The nodes with a lease.
    package func live(at now: Timestamp) -> [String: Node] {
        nodes.filter { $0.value.seen > now.adding(seconds: -RootKeyRotation.lease) }
    }
}

extension RotationJournal {
    /// Nil when it is none.
    init?(_ text: UnsafeRawBufferPointer) {
        guard let root = try? JSONDocument(text).root, root.kind == .object else { return nil }
        func time(_ node: JSONNode?) -> Timestamp? { node?.integer.map { Timestamp(milliseconds: $0) } }
        for (name, node) in root["nodes"]?.members ?? [] {
            guard let seen = time(node["seen"]), let proved = node["proved"]?.integer else { return nil }
            nodes[name] = Node(seen: seen, proved: proved, kek: node["kek"]?.string)
        }
        if let node = root["trial"] {
            guard let version = node["version"]?.integer, let sealed = node["sealed"]?.string,
                let octets = Base64URL.decode(sealed)
            else { return nil }
            trial = Trial(version: version, sealed: octets)
        }
        if let node = root["promotion"] {
            guard let from = node["from"]?.integer, let to = node["to"]?.integer, let at = time(node["at"]) else {
                return nil
            }
            promotion = Promotion(from: from, to: to, at: at, retired: time(node["retired"]))
        }
        if let node = root["destruction"] {
            guard let version = node["version"]?.integer, let due = time(node["due"]) else { return nil }
            destruction = Destruction(version: version, due: due)
        }
        for (name, node) in root["ownKEKs"]?.members ?? [] {
            guard let kek = node.string else { return nil }
            ownKEKs[name] = kek
        }
        if let node = root["states"] {
            var states: [Int64: RootKeyRecord.State] = [:]
            for (name, node) in node.members ?? [] {
                guard let version = Int64(name), let state = node.string.flatMap({ RootKeyRecord.State(rawValue: $0) })
                else { return nil }
                states[version] = state
            }
            self.states = states
        }
    }

    func text() -> String {
        var writer = JSONWriter()
        writer.beginObject()
        writer.name("nodes")
        writer.beginObject()
        for (name, node) in nodes.sorted(by: { $0.key < $1.key }) {
            writer.name(name)
            writer.beginObject()
            writer.member("seen", node.seen.milliseconds)
            writer.member("proved", node.proved)
            writer.member("kek", ifPresent: node.kek)
            writer.endObject()
        }
        writer.endObject()
        if let trial {
            writer.name("trial")
            writer.beginObject()
            writer.member("version", trial.version)
            writer.member("sealed", Base64URL.encode(trial.sealed))
            writer.endObject()
        }
        if let promotion {
            writer.name("promotion")
            writer.beginObject()
            writer.member("from", promotion.from)
            writer.member("to", promotion.to)
            writer.member("at", promotion.at.milliseconds)
            if let retired = promotion.retired { writer.member("retired", retired.milliseconds) }
            writer.endObject()
        }
        if let destruction {
            writer.name("destruction")
            writer.beginObject()
            writer.member("version", destruction.version)
            writer.member("due", destruction.due.milliseconds)
            writer.endObject()
        }
        if !ownKEKs.isEmpty {
            writer.name("ownKEKs")
            writer.beginObject()
            for (name, kek) in ownKEKs.sorted(by: { $0.key < $1.key }) { writer.member(name, kek) }
            writer.endObject()
        }
        if let states {
            writer.name("states")
            writer.beginObject()
            for (version, state) in states.sorted(by: { $0.key < $1.key }) {
                writer.member("\(version)", state.rawValue)
            }
            writer.endObject()
        }
        writer.endObject()
        return writer.text()
    }
}
