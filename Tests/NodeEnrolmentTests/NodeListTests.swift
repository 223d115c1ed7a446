import Cryptography
import Diagnostics
import JOSESignature
import NodeList
import Testing
import WireText

/// Which lists of nodes count, and what an officer can do to one.
@Suite("The signed list of nodes") struct NodeListTests {
    private static let issued = Timestamp(seconds: 1_800_000_000)
    private let officer: PrivateKey
    private let node: PrivateKey

    init() throws {
        officer = try .generateP256()
        node = try .generateP256()
    }

    private func list(_ version: Int64, _ nodes: [NodeList.Node]) throws -> NodeList {
        try NodeList(organisation: "example", version: version, issued: Self.issued, nodes: nodes)
    }

    private func entry(
        _ name: String, key: PrivateKey? = nil, state: NodeList.Node.State = .active
    ) throws -> NodeList.Node {
        NodeList.Node(name: name, service: "kms", publicKey: (try key ?? .generateP256()).publicKey, state: state)
    }

    private func read(_ text: String, of organisation: String = "example") throws(DiagnosedError) -> SignedNodeList {
        let kid = JWK.thumbprint(of: officer.publicKey)
        return try SignedNodeList(verifying: text, of: organisation) { $0 == kid ? officer.publicKey : nil }
    }

    private func refusal(_ text: String, of organisation: String = "example") -> DiagnosedError.Code? {
        do throws(DiagnosedError) {
            _ = try read(text, of: organisation)
            return nil
        } catch { return error.code }
    }

    @Test("what an officer signed is read as it was, in the order of names")
    func whole() throws {
        let made = try list(3, [entry("kms-2"), entry("kms-1", key: node), entry("kms-0", state: .removed)])
        let read = try read(try SignedNodeList.sign(made, with: officer))
        #expect(read.list == made)
        #expect(read.list.nodes.map(\.name) == ["kms-0", "kms-1", "kms-2"])
        #expect(read.list.node("kms-1", of: "kms")?.publicKey == node.publicKey)
        #expect(read.list.node("kms-1", of: "indexer") == nil)
        #expect(read.list.node("kms-0", of: "kms")?.state == .removed)
    }

    @Test("another key, another type, another organisation and changed octets are none")
    func forged() throws {
        let made = try list(1, [entry("kms-1")])
        let good = try SignedNodeList.sign(made, with: officer)
        #expect(refusal(good) == nil)
        #expect(refusal(try SignedNodeList.sign(made, with: .generateP256())) == .nodeListSignature)
        let kid = JWK.thumbprint(of: officer.publicKey)
        let policy = try JWS.sign(made.canonical, with: officer, algorithm: .es256, kid: kid, typ: "hds-policy")
        #expect(refusal(policy) == .nodeListSignature)
        #expect(refusal(good, of: "other") == .nodeListMalformed)
        var parts = good.split(separator: ".").map(String.init)
        parts[1] = Base64URL.encode(try list(9, made.nodes).canonical)
        #expect(refusal(parts.joined(separator: ".")) == .nodeListSignature)
        let loose = Array(" ".utf8) + made.canonical
        let spaced = try JWS.sign(loose, with: officer, algorithm: .es256, kid: kid, typ: SignedNodeList.type)
        #expect(refusal(spaced) == .nodeListMalformed)
    }

    @Test("a lower version takes the place of none, nor does another list of the same version")
    func rollback() throws {
        func signed(_ version: Int64, _ names: String...) throws -> SignedNodeList {
            try read(try SignedNodeList.sign(try list(version, names.map { try entry($0) }), with: officer))
        }
        let second = try signed(2, "kms-1")
        #expect(try second.replaces(nil))
        #expect(try second.replaces(second) == false)
        #expect(try signed(3).replaces(second))
        for lower in [try signed(1, "kms-1"), try signed(2, "kms-2")] {
            #expect {
                try lower.replaces(second)
            } throws: { ($0 as? DiagnosedError)?.code == .nodeListRollback }
        }
    }

    @Test("one key stands for one active node, and one name for one node")
    func unique() throws {
        #expect(throws: DiagnosedError.self) { try list(1, [entry("a", key: node), entry("b", key: node)]) }
        #expect(throws: DiagnosedError.self) { try list(1, [entry("a"), entry("a")]) }
        #expect(throws: Never.self) {
            try list(1, [entry("a", key: node, state: .removed), entry("b", key: node)])
        }
        for name in ["", "a b", "a\n", "ä", String(repeating: "a", count: 65)] {
            #expect(throws: DiagnosedError.self) { try list(1, [entry(name)]) }
        }
    }

    @Test("approving puts a node on the next list under its new key, removing keeps its name")
    func changes() throws {
        let first = try NodeList.approving(try entry("a"), on: nil, organisation: "example", issued: Self.issued)
        #expect(first.version == 1)
        let second = try NodeList.approving(
            try entry("b"), on: first, organisation: "example", issued: Self.issued)
        let third = try #require(try second.removing("a", of: "kms", issued: Self.issued))
        #expect(third.version == 3 && third.nodes.map(\.state) == [.removed, .active])
        #expect(try third.removing("c", of: "kms", issued: Self.issued) == nil)
        let back = try NodeList.approving(
            try entry("a", key: node), on: third, organisation: "example", issued: Self.issued)
        #expect(back.node("a", of: "kms")?.state == .active && back.node("a", of: "kms")?.publicKey == node.publicKey)
    }

    @Test("a fingerprint is read as people write it, and nothing shorter is one")
    func fingerprint() throws {
        let print = NodeFingerprint(of: node.publicKey)
        #expect(print.description.split(separator: "-").count == 8)
        #expect(NodeFingerprint(print.description.uppercased()) == print)
        #expect(NodeFingerprint(print.digits) == print)
        #expect(NodeFingerprint(String(print.digits.dropLast())) == nil)
        #expect(NodeFingerprint(print.digits.dropLast() + "g") == nil)
    }
}
