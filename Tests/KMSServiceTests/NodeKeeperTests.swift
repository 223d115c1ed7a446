import CoreLink
import Cryptography
import Diagnostics
import KeyStore
import MasterKey
import NodeEnrolment
import NodeList
import ServiceRuntime
import SignedPolicy
import Synchronization
import TestServers
import Testing
import WireText

@testable import KMSService
@testable import LinkedService

/// How a node stands on the list, and what it believes of one.
@Suite("The keeper of the list of nodes") struct NodeKeeperTests {
    private struct World {
        let bench: Bench
        let officer: Bench.OfficerKey
        let register: NodeRegister
        let key: NodeKey
        let roster: Roster

        /// Who is enrolled, as a test sets it.
        final class Roster: Sendable {
            private let value: Mutex<OfficerRoster>
            init(_ roster: OfficerRoster) { value = Mutex(roster) }
            var roster: OfficerRoster {
                get { value.withLock { $0 } }
                set { value.withLock { $0 = newValue } }
            }
        }

        init() async throws {
            bench = try await Bench()
            officer = try Bench.OfficerKey("cleo", [.cluster])
            register = NodeRegister(store: bench.store, ring: bench.ring)
            key = try NodeKey.open(folder: bench.folder.path)
            roster = Roster(try OfficerRoster([bench.ada.officer, officer.officer]))
        }

        func keeper(_ folder: String? = nil) throws -> NodeKeeper {
            let roster = roster
            return try NodeKeeper(
                register, key: key, name: "kms-1",
                NodeKeeper.Parts(
                    organisation: "example-org", folder: folder ?? bench.folder.path, officers: { roster.roster },
                    invitations: nil, links: LinkHolder(), health: bench.health, events: bench.events))
        }

        func list(
            _ version: Int64, key: PublicKey? = nil, state: NodeList.Node.State = .active, by signer: PrivateKey? = nil,
            name: String = "kms-1"
        ) throws -> String {
            let node = NodeList.Node(
                name: name, service: "kms", publicKey: key ?? self.key.publicKey, state: state)
            return try SignedNodeList.sign(
                NodeList(organisation: "example-org", version: version, issued: .now(), nodes: [node]),
                with: signer ?? officer.key)
        }

        func put(_ text: String?) async throws { try await register.change { $0.list = text } }
        var isAlarmed: Bool { bench.alarms().contains("HDS-NODE-UNLISTED") }
    }

    @Test("a node without a list says its key to the others, and is as it was")
    func none() async throws {
        let world = try await World()
        let keeper = try world.keeper()
        await keeper.look()
        #expect(keeper.standing == .noList && !world.isAlarmed)
        let candidate = try #require(try await world.register.book().candidates["kms-1"])
        #expect(candidate.publicKey == world.key.publicKey && candidate.origin == .running)
    }

    @Test("[HDS-NODE-UNLISTED] stands while a list has not this node with this key, and goes when it has")
    func standing() async throws {
        let world = try await World()
        let keeper = try world.keeper()
        let stranger = try PrivateKey.generateP256().publicKey
        let steps: [(String, NodeKeeper.Standing)] = [
            (try world.list(1, name: "kms-2"), .unlisted), (try world.list(2), .active),
            (try world.list(3, state: .removed), .removed), (try world.list(4, key: stranger), .otherKey),
            (try world.list(5), .active),
        ]
        for (list, standing) in steps {
            try await world.put(list)
            await keeper.look()
            #expect(keeper.standing == standing)
            #expect(world.isAlarmed == (standing != .active))
        }
        #expect(keeper.removed.isEmpty)
    }

    @Test("a lower version is refused, and the database gets the newer one back, also after a restart of the node")
    func rollback() async throws {
        let world = try await World()
        let first = try world.list(1, name: "kms-2")
        let second = try world.list(2)
        let keeper = try world.keeper()
        try await world.put(first)
        await keeper.look()
        try await world.put(second)
        await keeper.look()
        #expect(keeper.list?.list.version == 2)
        for old in [first, nil] {
            try await world.put(old)
            await keeper.look()
            #expect(keeper.list?.list.version == 2)
            #expect(try await world.register.book().list == second, "it is written again")
        }
        try await world.put(first)
        let again = try world.keeper()
        #expect(again.list?.list.version == 2, "from its file")
        await again.look()
        #expect(again.standing == .active)
        #expect(try await world.register.book().list == second)
    }

    @Test("a list that no officer with the duty cluster signed is none, and what was taken stays")
    func unsigned() async throws {
        let world = try await World()
        let keeper = try world.keeper()
        try await world.put(try world.list(1))
        await keeper.look()
        let other = try PrivateKey.generateP256()
        for forged in [try world.list(2, state: .removed, by: other), try world.list(2, by: world.bench.ada.key), "x"] {
            try await world.put(forged)
            await keeper.look()
            #expect(keeper.list?.list.version == 1 && keeper.standing == .active)
            #expect(world.bench.detail("nodes")?.contains("not signed by an officer") == true)
        }
    }

    @Test("a file of a higher version holds also while its officer is not enrolled any more")
    func floor() async throws {
        let world = try await World()
        let keeper = try world.keeper()
        try await world.put(try world.list(7))
        await keeper.look()
        let next = try Bench.OfficerKey("dora", [.cluster])
        world.roster.roster = try OfficerRoster([next.officer])
        let again = try world.keeper()
        #expect(again.list == nil, "nobody vouches for it")
        try await world.put(try world.list(6, by: next.key))
        await again.look()
        #expect(again.list == nil)
        try await world.put(try world.list(8, by: next.key))
        await again.look()
        #expect(again.list?.list.version == 8)
    }

    @Test("[HDS-NODE-UNLISTED] stands while the core does not take the node, and goes with its link")
    func link() throws {
        let watched = WatchedHealth()
        let checks = LinkChecks(
            watched.health, events: WatchedHealth.Silence(), metrics: watched.metrics, pins: [],
            readyWithoutCore: false)
        var state = LinkState(phase: .waiting)
        state.lastError = DiagnosedError(.linkNotListed, fault: .configuration, "the core does not take this node")
        state.failures = 1
        checks.report(state, address: "core")
        #expect(watched.standing(.nodeUnlisted) != nil && watched.standing(.cloudUnreachable) == nil)
        checks.report(LinkState(phase: .open), address: "core")
        #expect(watched.standing(.nodeUnlisted) == nil)
    }
}
