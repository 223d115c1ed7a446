package import Cryptography
package import Diagnostics
import JOSESignature
package import WireText

/// Which nodes a customer's services have: name, kind of service, public key and whether it was removed. One document for
/// the cluster and the core; an officer with the duty `cluster` signs it (`SignedNodeList`).
///
/// ```json
/// {"issued":"2027-01-15T09:00:00Z","nodes":[{"key":{"crv":"P-256","kty":"EC","x":"…","y":"…"},"name":"kms-1",
///   "service":"kms","state":"active"}],"organisation":"example","version":3}
/// ```
package struct NodeList: Sendable, Equatable {
    package struct Node: Sendable, Equatable {
        package enum State: String, Sendable, CaseIterable {
            case active
            /// It is no node any more; its entry keeps anybody from coming back under its name unseen.
            case removed
        }

        package var name: String
        /// The kind of service: `kms`.
        package var service: String
        /// P-256.
        package var publicKey: PublicKey
        package var state: State

        package init(name: String, service: String, publicKey: PublicKey, state: State = .active) {
            self.name = name
            self.service = service
            self.publicKey = publicKey
            self.state = state
        }

        package var fingerprint: NodeFingerprint { NodeFingerprint(of: publicKey) }
    }

    package let organisation: String
    /// Rises with each list; a lower one than was seen is refused by everybody.
    package let version: Int64
    package let issued: Timestamp
    /// In the order of their names.
    package let nodes: [Node]

    package static let maximumNodes = 64
    package static let maximumBytes = 64 << 10

    package init(
        organisation: String, version: Int64, issued: Timestamp, nodes: [Node]
    ) throws(DiagnosedError) {
        guard version >= 1, nodes.count <= Self.maximumNodes, !organisation.isEmpty,
            nodes.allSatisfy({ Self.isName($0.name) && Self.isName($0.service) && $0.publicKey.kind == .p256 })
        else {
            throw .nodeListMalformed(
                expected: "version 1 or higher, at most \(Self.maximumNodes) nodes, names of 1 to 64 plain characters, "
                    + "P-256 keys")
        }
        guard Set(nodes.map { [$0.service, $0.name] }).count == nodes.count,
            Set(nodes.filter { $0.state == .active }.map(\.fingerprint)).count
                == nodes.count(where: { $0.state == .active })
        else { throw .nodeListMalformed(expected: "each node once, each with a key of its own") }
        self.organisation = organisation
        self.version = version
        self.issued = issued
        self.nodes = nodes.sorted { [$0.name, $0.service].lexicographicallyPrecedes([$1.name, $1.service]) }
    }

    package func node(_ name: String, of service: String) -> Node? {
        nodes.first { $0.name == name && $0.service == service }
    }

    /// Visible ASCII without quotes, as it stands in logs, tables and on command lines.
    package static func isName(_ text: String) -> Bool {
        (1...64).contains(text.utf8.count)
            && text.utf8.allSatisfy { (0x21...0x7e).contains($0) && $0 != 0x22 && $0 != 0x27 && $0 != 0x5c }
    }
}

/// Names a node's key for people, who compare it, and for root keys that are wrapped to it: 32 hexadecimal digits of the
/// SHA-256 of the encoded key.
package struct NodeFingerprint: Sendable, Hashable, CustomStringConvertible {
    package let digits: String

    package init(of key: PublicKey) { digits = Hexadecimal.encode(key.spkiSHA256.prefix(16)) }

    /// As somebody typed it: hyphens, colons, blanks and capitals do not count. Nil when it is none.
    package init?(_ text: String) {
        let digits = text.lowercased().filter { !"-: ".contains($0) }
        guard digits.utf8.count == 32, Hexadecimal.decode(digits) != nil else { return nil }
        self.digits = digits
    }

    /// In eight groups of four.
    package var description: String {
        var groups: [Substring] = []
        var rest = digits[...]
        while !rest.isEmpty {
            groups.append(rest.prefix(4))
            rest = rest.dropFirst(4)
        }
        return groups.joined(separator: "-")
    }
}

extension NodeList {
    /// The octets that are signed.
    package var canonical: [UInt8] {
        var json = JSONWriter()
        json.beginObject()
        json.member("issued", issued.iso8601)
        json.name("nodes")
        json.beginArray()
        for node in nodes {
            // A key is P-256, seen when the list was made.
            let point = node.publicKey.p256Coordinates ?? ([], [])
            json.beginObject()
            json.name("key")
            json.beginObject()
            json.member("crv", "P-256")
            json.member("kty", "EC")
            json.member("x", Base64URL.encode(point.x))
            json.member("y", Base64URL.encode(point.y))
            json.endObject()
            json.member("name", node.name)
            json.member("service", node.service)
            json.member("state", node.state.rawValue)
            json.endObject()
        }
        json.endArray()
        json.member("organisation", organisation)
        json.member("version", version)
        json.endObject()
        return json.bytes()
    }

    /// Refuses octets that are not the canonical text of a list.
    package init(canonical bytes: [UInt8]) throws(DiagnosedError) {
        let limits = JSONDocument.Limits(maximumDepth: 6, maximumNodes: 2_000, maximumBytes: Self.maximumBytes)
        guard let root = try? JSONDocument(bytes, limits: limits).root, CanonicalJSON.isCanonical(bytes, root),
            Self.has(root, ["issued", "nodes", "organisation", "version"]),
            let organisation = root["organisation"]?.string, let version = root["version"]?.integer,
            let issued = root["issued"]?.string.flatMap({ Timestamp(iso8601: $0) }),
            let elements = root["nodes"]?.elements
        else { throw .nodeListMalformed(expected: "canonical JSON of issued, nodes, organisation and version") }
        var nodes: [Node] = []
        for element in elements {
            guard Self.has(element, ["key", "name", "service", "state"]), let name = element["name"]?.string,
                let service = element["service"]?.string,
                let state = element["state"]?.string.flatMap({ Node.State(rawValue: $0) }), let key = element["key"],
                Self.has(key, ["crv", "kty", "x", "y"]), let publicKey = try? JWK(key).publicKey()
            else { throw .nodeListMalformed(expected: "of each node key, name, service, and state active or removed") }
            nodes.append(Node(name: name, service: service, publicKey: publicKey, state: state))
        }
        try self.init(organisation: organisation, version: version, issued: issued, nodes: nodes)
        guard canonical == bytes else { throw .nodeListMalformed(expected: "the nodes in the order of their names") }
    }

    private static func has(_ node: JSONNode, _ names: [String]) -> Bool {
        node.members.map { $0.map(\.name).sorted() == names } ?? false
    }
}

extension DiagnosedError.Code {
    package static let nodeListMalformed: Self = "node-list-malformed"
    /// Not signed by an officer with the duty `cluster`.
    package static let nodeListSignature: Self = "node-list-signature"
    /// A higher one was seen.
    package static let nodeListRollback: Self = "node-list-rollback"
}

extension DiagnosedError {
    static func nodeListMalformed(expected: String) -> DiagnosedError {
        DiagnosedError(
            .nodeListMalformed, fault: .configuration, "this is no list of nodes", expected: expected,
            hint: "let hdsctl node approve or remove make the list")
    }
}

// What officers do to a list: the tool makes it so, and the service holds what was signed against the same.
extension NodeList {
    /// The list with that node as an active one; whatever stood under its name goes.
    package static func approving(
        _ node: Node, on present: NodeList?, organisation: String, issued: Timestamp
    ) throws(DiagnosedError) -> NodeList {
        let others = (present?.nodes ?? []).filter { $0.name != node.name || $0.service != node.service }
        return try NodeList(
            organisation: organisation, version: (present?.version ?? 0) + 1, issued: issued, nodes: others + [node])
    }

    /// The list in which that node is removed; nil when it has none of that name.
    package func removing(_ name: String, of service: String, issued: Timestamp) throws(DiagnosedError) -> NodeList? {
        guard node(name, of: service) != nil else { return nil }
        let nodes = nodes.map { node in
            var node = node
            if node.name == name, node.service == service { node.state = .removed }
            return node
        }
        return try NodeList(organisation: organisation, version: version + 1, issued: issued, nodes: nodes)
    }
}
