import Cryptography
import Diagnostics
import JOSESignature
import LinkProtocol
import NodeList
import TestServers
import Testing
import WireText

@testable import CloudCore

/// The core takes links of nodes that stand on the signed list and prove their key on that very connection.
@Suite("Nodes at the core") struct NodeAdmissionTests {
    /// A core with the list of one organisation, its officer, and nodes with keys.
    private struct World {
        let officer: PrivateKey
        let keys: [String: PrivateKey]
        var bench: RelayBench

        init(unproven: Bool = false, inspected: Bool = false) throws {
            officer = try .generateP256()
            keys = [
                "kms-1": try .generateP256(), "kms-2": try .generateP256(), "rogue": try .generateP256(),
            ]
            let kid = try #require(JWK.thumbprint(of: officer.publicKey))
            let rules = CloudCoreConfiguration.NodeRules(
                signers: [kid: officer.publicKey], allowsUnproven: unproven, allowsInspected: inspected)
            bench = RelayBench()
            bench.relay = Relay(
                limits: Relay.Limits(),
                admissions: [RelayBench.destination: NodeAdmission(organisation: "acme", rules: rules)])
        }

        func list(
            _ version: Int64, _ names: [String] = ["kms-1", "kms-2"], removed: Set<String> = [],
            service: String = "kms",
            by signer: PrivateKey? = nil
        ) throws -> String {
            let nodes = try names.map { name in
                NodeList.Node(
                    name: name, service: service, publicKey: try #require(keys[name]).publicKey,
                    state: removed.contains(name) ? .removed : .active)
            }
            return try SignedNodeList.sign(
                NodeList(organisation: "acme", version: version, issued: Timestamp(seconds: 1), nodes: nodes),
                with: signer ?? officer)
        }

        static func challenge(_ link: Relay.LinkID) -> NodeAdmission.Challenge {
            NodeAdmission.Challenge(
                nonce: Array(repeating: UInt8(link), count: 32),
                exporter: Array(repeating: 100 + UInt8(link), count: 32))
        }

        /// The hello of a node, signed for a connection.
        func hello(
            _ node: String, on link: Relay.LinkID, key: PrivateKey? = nil, list: String? = nil, exporter: [UInt8]? = nil
        ) throws -> LinkHello {
            var hello = RelayBench.hello(node: node)
            let challenge = Self.challenge(link)
            hello.proof = try (try key ?? #require(keys[node])).sign(
                hello.provenOctets(exporter: exporter ?? challenge.exporter ?? [], nonce: challenge.nonce),
                algorithm: .es256)
            hello.nodeList = list
            return hello
        }

        mutating func greet(_ link: Relay.LinkID, _ hello: LinkHello) -> [Relay.Action] {
            bench.relay.connected(link, grant: RelayBench.grant, challenge: Self.challenge(link), now: bench.now)
            let actions = bench.receive(.hello(hello), from: link)
            bench.receive(.credit(10), from: link)
            return actions
        }
    }

    private func reason(_ actions: [Relay.Action], _ link: Relay.LinkID) -> String? {
        for case .close(link, .notListed, let error) in actions { return error?.summary ?? "" }
        return nil
    }

    private func welcome(_ actions: [Relay.Action]) -> LinkWelcome? {
        for case .send(_, .welcome(let welcome)) in actions { return welcome }
        return nil
    }

    @Test("a node brings its list and proves its key; the welcome says by which version the core goes")
    func taken() throws {
        var world = try World()
        let list = try world.list(4)
        let actions = world.greet(1, try world.hello("kms-1", on: 1, list: list))
        #expect(welcome(actions)?.nodeList == 4)
        #expect(actions.contains(.listed(destination: RelayBench.destination, list)))
        #expect(welcome(world.greet(2, try world.hello("kms-2", on: 2))) != nil, "the list is known by now")
        #expect(world.bench.relay.openLinkCount(of: RelayBench.destination) == 2)
    }

    @Test("without a list, without a proof, with another's key and off the list nobody gets in, and is told what to do")
    func refused() throws {
        var world = try World()
        #expect(reason(world.greet(1, try world.hello("kms-1", on: 1)), 1)?.contains("hdsctl node approve") == true)
        world.bench.relay.setNodeList(try world.list(1), of: RelayBench.destination)
        let cases: [(LinkHello, String)] = [
            (RelayBench.hello(node: "kms-1"), "no proof"),
            (try world.hello("kms-1", on: 3, key: world.keys["rogue"]), "not the key of kms-1"),
            (try world.hello("rogue", on: 4), "hdsctl node approve"),
            (try world.hello("kms-3", on: 5, key: world.keys["kms-1"]), "kms-3 is not on the list"),
        ]
        for (index, (hello, why)) in cases.enumerated() {
            let link = UInt64(index + 2)
            let text = try #require(reason(world.greet(link, hello), link), "\(why)")
            #expect(text.contains(why) && text.utf8.count <= 123, "\(text)")
        }
        #expect(world.bench.relay.openLinkCount(of: RelayBench.destination) == 0)
    }

    @Test("a proof that was made for another connection is none on this one")
    func replayed() throws {
        var world = try World()
        world.bench.relay.setNodeList(try world.list(1), of: RelayBench.destination)
        let hello = try world.hello("kms-1", on: 1)
        #expect(welcome(world.greet(1, hello)) != nil)
        #expect(reason(world.greet(2, hello), 2) != nil, "the same octets on another connection")
        var epoch = try world.hello("kms-2", on: 3)
        epoch.epoch = 2
        #expect(reason(world.greet(3, epoch), 3) != nil, "the epoch is signed, too")
    }

    @Test("a service that stands on no list is refused, also with the key of a node of another service")
    func otherService() throws {
        var world = try World()
        world.bench.relay.setNodeList(try world.list(1, service: "indexer"), of: RelayBench.destination)
        #expect(reason(world.greet(1, try world.hello("kms-1", on: 1)), 1) != nil)
    }

    @Test("a list that removes a node closes its link at once, and its strings go to another node")
    func removed() throws {
        var world = try World()
        world.bench.relay.setNodeList(try world.list(1), of: RelayBench.destination)
        #expect(welcome(world.greet(1, try world.hello("kms-1", on: 1))) != nil)
        let delivered = world.bench.submit("a").deliveries
        #expect(delivered.map(\.link) == [1])
        #expect(welcome(world.greet(2, try world.hello("kms-2", on: 2))) != nil)
        let next = try world.list(2, removed: ["kms-1"])
        let actions = world.bench.receive(.nodes(next), from: 2)
        #expect(reason(actions, 1)?.contains("removed") == true)
        #expect(actions.deliveries.map(\.link) == [2] && actions.deliveries.first?.id == delivered.first?.id)
        #expect(reason(world.greet(3, try world.hello("kms-1", on: 3)), 3)?.contains("removed") == true)
    }

    @Test("a lower version, another list of the same one and a list that no officer signed change nothing")
    func rollback() throws {
        var world = try World()
        world.bench.relay.setNodeList(try world.list(5, removed: ["kms-2"]), of: RelayBench.destination)
        #expect(welcome(world.greet(1, try world.hello("kms-1", on: 1)))?.nodeList == 5)
        let refused = [
            try world.list(4), try world.list(5), try world.list(6, by: world.keys["kms-1"]), "x.y.z",
        ]
        for list in refused {
            let actions = world.bench.receive(.nodes(list), from: 1)
            #expect(actions.count == 1)
            guard case .listRefused? = actions.first else {
                Issue.record("\(actions)")
                continue
            }
        }
        let stale = world.greet(2, try world.hello("kms-2", on: 2, list: world.list(4)))
        #expect(reason(stale, 2)?.contains("removed") == true, "who brings the old list is judged by the new one")
        #expect(world.bench.relay.openLinkCount(of: RelayBench.destination) == 1)
    }

    @Test("releases without proof are taken where the configuration says so, under no name that is on the list")
    func unproven() throws {
        var world = try World(unproven: true)
        #expect(welcome(world.greet(1, RelayBench.hello(node: "kms-2"))) != nil, "no list yet")
        #expect(welcome(world.greet(2, RelayBench.hello(node: "old"))) != nil)
        let actions = world.greet(3, try world.hello("kms-1", on: 3, list: world.list(1)))
        #expect(welcome(actions) != nil)
        #expect(reason(actions, 1) != nil, "its name is on the list now: it has to prove its key")
        #expect(reason(actions, 2) == nil)
        #expect(reason(world.greet(4, RelayBench.hello(node: "kms-1")), 4) != nil)
        _ = world.bench.receive(.nodes(try world.list(2, removed: ["kms-2"])), from: 3)
        #expect(reason(world.greet(5, RelayBench.hello(node: "kms-2")), 5) != nil, "removed stays removed")
    }

    @Test("where TLS is inspected, the exporter is asked for unless the configuration says otherwise")
    func inspected() throws {
        for isAllowed in [false, true] {
            var world = try World(inspected: isAllowed)
            world.bench.relay.setNodeList(try world.list(1), of: RelayBench.destination)
            let actions = world.greet(1, try world.hello("kms-1", on: 1, exporter: []))
            #expect((welcome(actions) != nil) == isAllowed)
            #expect(reason(world.greet(2, try world.hello("kms-2", on: 1, exporter: [])), 2) != nil, "another nonce")
        }
    }

    @Test("without a list in the configuration nothing is asked for, and lists are sent to nobody")
    func none() throws {
        var bench = RelayBench()
        bench.relay.connected(1, grant: RelayBench.grant, now: bench.now)
        let actions = bench.receive(.hello(RelayBench.hello()), from: 1)
        #expect(welcome(actions)?.nodeList == nil && welcome(actions) != nil)
        #expect(bench.receive(.nodes("x"), from: 1).closes.map(\.code) == [.protocolViolated])
    }

    @Test("the list that counted is stored, and counts in the next run")
    func remembered() async throws {
        let folder = TemporaryFolder()
        let store = try CloudStore(path: folder.path + "/core.sqlite")
        #expect(try await store.nodeList(of: RelayBench.destination) == nil)
        for text in ["a", "b"] {
            try await store.setNodeList(text, of: RelayBench.destination, now: Timestamp(milliseconds: 0))
        }
        #expect(try await store.nodeList(of: RelayBench.destination) == "b")
        try store.close()
    }
}
