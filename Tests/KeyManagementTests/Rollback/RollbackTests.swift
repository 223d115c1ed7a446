import Diagnostics
import KMSProtocol
import KeyStore
import MasterKey
import TestServers
import Testing
import WireText

@testable import KeyManagement

/// What a database's owner can do to rows, and how it is noticed.
@Suite("Rollback by the database's owner", .timeLimit(.minutes(5)))
struct RollbackTests {
    typealias World = RollbackWorld

    /// A space of alice's, from which bob was removed; his row and the space's as they were before stand aside.
    private struct Removed {
        let world: World
        let node: World.Node
        let alice: TestClient
        let bob: TestClient
        let space: String
        let key: String
        let grant: String

        init(_ kind: World.Kind) async throws {
            world = try World(kind)
            node = try await world.start()
            alice = try await TestClient.open(node.kms, People.alice)
            bob = try await TestClient.open(node.kms, People.bob)
            (space, key) = try await alice.space(with: [People.bob])
            let lookup = node.vault.lookup(authID: People.bob, resource: space.lastID)
            grant = try #require(
                try await node.store.authorization(ofResource: space.lastID, lookup: lookup)
            ).id
            #expect(try await bob.status(retrieving: key) == 200)
            try await world.keep("authorizations", where: "id = \(world.id(grant))")
            try await world.keep("resources", where: "id = \(world.id(space.lastID))")
            try await world.keep("row_sums")
            #expect(try await alice.remove(People.bob, from: space).status == 200)
            #expect(try await bob.status(retrieving: key) == 403)
            try await node.detector.look(now: world.clock.now)
            #expect(try await node.detector.scan(now: world.clock.now).adds)
            #expect(node.kinds == [])
        }

        func accept() async throws {
            let gap = try #require(node.freezes.rollback.gap)
            try await node.detector.accept(gap, by: "ada", now: world.clock.now)
        }
    }

    @Test(
        "a removed authorization that is put back is refused at its next use, stops every release, and is removed again",
        arguments: World.Kind.here)
    func grant(_ kind: World.Kind) async throws {
        let removed = try await Removed(kind)
        let (world, node) = (removed.world, removed.node)
        try await world.putBack("authorizations")
        #expect(try await removed.alice.status(retrieving: removed.key) == 200, "control: nobody has looked")
        for uri in [removed.key, removed.space, removed.space + "/keys"] {
            #expect(try await removed.bob.ask("retrieve", uri).status == 403)
        }
        #expect(node.kinds == [.grant])
        #expect(try await removed.alice.status(retrieving: removed.key) == 500)
        #expect(try await removed.alice.createKeys(1).isEmpty)

        let wrong = await code { try await node.detector.accept("0000000000000000", by: "ada", now: world.clock.now) }
        #expect(wrong == .rollbackRefused)
        #expect(try await removed.alice.status(retrieving: removed.key) == 500)
        try await removed.accept()
        #expect(node.kinds == [])
        #expect(try await removed.alice.status(retrieving: removed.key) == 200)
        #expect(try await removed.bob.status(retrieving: removed.key) == 403)
        #expect(try await node.store.authorization(removed.grant)?.removedAt != nil)
        #expect(try await node.detector.scan(now: world.clock.now).adds)
        #expect(node.kinds == [], "what was removed again is found by nothing")
        await node.close()
    }

    @Test(
        "an authorization that was put back and that nobody used is removed again all the same",
        arguments: World.Kind.here)
    func unused(_ kind: World.Kind) async throws {
        let removed = try await Removed(kind)
        let (world, node) = (removed.world, removed.node)
        try await world.putBack("authorizations")
        try await node.detector.scan(now: world.clock.now)
        #expect(node.kinds == [.rows])
        try await removed.accept()
        #expect(try await node.store.authorization(removed.grant)?.removedAt != nil)
        #expect(try await removed.bob.status(retrieving: removed.key) == 403)
        #expect(node.kinds == [])
        await node.close()
    }

    @Test("who is granted again after a removal reads, and his old row does not", arguments: World.Kind.here)
    func grantedAgain(_ kind: World.Kind) async throws {
        let removed = try await Removed(kind)
        #expect(
            try await removed.alice.add([People.bob], to: removed.space).status == 201)
        #expect(try await removed.bob.status(retrieving: removed.key) == 200)
        try await removed.node.detector.scan(now: removed.world.clock.now)
        #expect(removed.node.kinds == [])
        await removed.node.close()
    }

    @Test(
        "an authorization that is put back with its space is noticed by who read the space before, and by the scan",
        arguments: World.Kind.here)
    func head(_ kind: World.Kind) async throws {
        let removed = try await Removed(kind)
        let (world, node) = (removed.world, removed.node)
        try await world.putBack("authorizations")
        try await world.putBack("resources")
        #expect(try await removed.bob.status(retrieving: removed.key) == 500)
        #expect(node.kinds == [.head])
        await node.close()
        // A run that has not read it: what was found is remembered, and the scan finds more.
        let later = try await world.start()
        #expect(later.kinds == [.head])
        try await later.detector.scan(now: world.clock.now)
        #expect(later.kinds == [.head, .rows])
        let gap = try #require(later.freezes.rollback.gap)
        try await later.detector.accept(gap, by: "ada", now: world.clock.now)
        #expect(later.kinds == [])
        #expect(try await later.detector.scan(now: world.clock.now).adds)
        await later.close()
    }

    @Test(
        "rows and sums that are put back together are noticed by the counters", arguments: World.Kind.here,
        [false, true])
    func sums(_ kind: World.Kind, restarts: Bool) async throws {
        let removed = try await Removed(kind)
        let world = removed.world
        var node = removed.node
        if restarts { await node.close() }
        for table in ["authorizations", "resources", "row_sums"] { try await world.putBack(table) }
        if restarts {
            node = try await world.start()
        } else {
            #expect(node.kinds == [], "control: nobody has looked")
            try await node.detector.look(now: world.clock.now)
        }
        #expect(node.kinds == [.counters])
        let alice = try await TestClient.open(node.kms, People.alice)
        #expect(try await alice.status(retrieving: removed.key) == 500)
        await node.close()
    }

    @Test(
        "somebody who makes sums and counters fit again is noticed by what the node itself remembers",
        arguments: World.Kind.here, [false, true])
    func forgedSums(_ kind: World.Kind, restarts: Bool) async throws {
        let removed = try await Removed(kind)
        let world = removed.world
        var node = removed.node
        if restarts { await node.close() }
        // The counter as it is now, the sum as it was when the rows were: a scan finds nothing.
        for table in ["authorizations", "resources"] { try await world.putBack(table) }
        let counter = removed.node.store.known.counter
        try await world.putBack("row_sums")
        try await world.sql("UPDATE row_sums SET counter = \(counter) WHERE writer = \(world.id(node.store.writer))")
        if restarts {
            node = try await world.start()
        } else {
            #expect(try await node.detector.scan(now: world.clock.now).adds, "control: rows and sums fit")
            #expect(node.kinds == [])
            try await node.detector.verify()
        }
        #expect(node.kinds == [.counters])
        await node.close()
    }

    @Test("a counter that somebody else raised is noticed", arguments: World.Kind.here, [false, true])
    func raised(_ kind: World.Kind, restarts: Bool) async throws {
        let removed = try await Removed(kind)
        let world = removed.world
        var node = removed.node
        if restarts { await node.close() }
        try await world.sql("UPDATE row_sums SET counter = counter + 1000")
        if restarts { node = try await world.start() } else { try await node.detector.verify() }
        #expect(node.kinds == [.counters])
        await node.close()
    }

    enum Damage: String, CaseIterable {
        case keyDeleted, grantDeleted, sealChanged, columnChanged, settingBack, settingGone
    }

    @Test(
        "a row that is deleted or changed is found by the scan", arguments: World.Kind.here, Damage.allCases)
    func scan(_ kind: World.Kind, damage: Damage) async throws {
        let removed = try await Removed(kind)
        let (world, node) = (removed.world, removed.node)
        try await node.freezes.order(
            Freeze(scope: .user("nobody"), reason: "r", orderedBy: "o", since: world.clock.now))
        try await world.keep(
            "settings", where: "name = \(world.kind == .sqlite ? "'freezes'" : world.octets(Array("freezes".utf8)))")
        let freeze = try #require(node.freezes.standing.first)
        _ = try await node.freezes.lift(freeze.id)
        #expect(try await node.detector.scan(now: world.clock.now).adds)
        let key = world.id(removed.key.lastID)
        switch damage {
        case .keyDeleted: try await world.sql("DELETE FROM keys WHERE id = \(key)")
        case .grantDeleted: try await world.sql("DELETE FROM authorizations WHERE id = \(world.id(removed.grant))")
        case .sealChanged:
            try await world.sql("UPDATE keys SET sealed = \(world.octets([UInt8](repeating: 1, count: 80)))")
        case .columnChanged: try await world.sql("UPDATE keys SET bound_at = bound_at + 1 WHERE id = \(key)")
        case .settingBack: try await world.putBack("settings")
        case .settingGone: try await world.sql("DELETE FROM settings WHERE name IN (SELECT name FROM kept_settings)")
        }
        let scan = try await node.detector.scan(now: world.clock.now)
        #expect(scan.adds == [.sealChanged, .columnChanged].contains(damage))
        #expect((scan.brokenCount > 0) == [.sealChanged, .columnChanged].contains(damage))
        #expect(node.kinds == [.rows])
        try await removed.accept()
        #expect(node.kinds == [], "what was accepted is not found again")
        try await node.detector.scan(now: world.clock.now)
        #expect(node.kinds == [])
        await node.close()
    }

    @Test("a dump that is restored shows within a look, while the KMS runs", arguments: World.Kind.here)
    func dump(_ kind: World.Kind) async throws {
        let removed = try await Removed(kind)
        let (world, node) = (removed.world, removed.node)
        try await world.dump()
        try await node.detector.look(now: world.clock.now)
        #expect(node.kinds == [])
        _ = try await removed.alice.createKeys(1)
        try await node.detector.look(now: world.clock.now)
        #expect(node.kinds == [], "control")
        try await world.restoreDump()
        #expect(try await removed.alice.status(retrieving: removed.key) == 200, "control: nobody has looked")
        try await node.detector.look(now: world.clock.now)
        #expect(node.kinds == [.counters])
        #expect(try await removed.alice.status(retrieving: removed.key) == 500)
        try await removed.accept()
        #expect(node.kinds == [])
        #expect(try await removed.alice.status(retrieving: removed.key) == 200)
        await node.close()
        let again = try await world.start()
        #expect(again.kinds == [])
        await again.close()
    }

    @Test("a dump that is restored while the KMS stands still shows at its start", arguments: World.Kind.here)
    func dumpWhileStopped(_ kind: World.Kind) async throws {
        let removed = try await Removed(kind)
        let world = removed.world
        try await world.dump()
        _ = try await removed.alice.createKeys(1)
        await removed.node.close()
        try await world.restoreDump()
        let node = try await world.start()
        #expect(node.kinds == [.counters])
        await node.close()
    }

    @Test("without a memory nothing is known of before, and what comes later is noticed", arguments: World.Kind.here)
    func firstStart(_ kind: World.Kind) async throws {
        let removed = try await Removed(kind)
        let world = removed.world
        try await world.dump()
        _ = try await removed.alice.createKeys(1)
        await removed.node.close()
        try await world.restoreDump()
        let node = try await world.start("another")
        #expect(node.detector.isFirstStart)
        #expect(node.kinds == [])
        let alice = try await TestClient.open(node.kms, People.alice)
        _ = try await alice.createKeys(1)
        #expect(try await node.detector.scan(now: world.clock.now).adds)
        try await node.detector.look(now: world.clock.now)
        try await world.restoreDump()
        try await node.detector.look(now: world.clock.now)
        #expect(node.kinds == [.counters])
        await node.close()
    }

    @Test("a retired root key that is made active again in the database is not believed", arguments: World.Kind.here)
    func rootStates(_ kind: World.Kind) async throws {
        let world = try World(kind)
        var node = try await world.start()
        let rotation = RootKeyRotation(store: node.store, ring: node.ring)
        _ = try await rotation.generate(now: world.clock.now)
        try await rotation.beat(node: "a", now: world.clock.now)
        _ = try await rotation.promote(now: world.clock.now)
        _ = try await Resealer(store: node.store, ring: node.ring).run()
        #expect(try await rotation.retire(now: world.clock.now) == 1)
        let swap = """
            UPDATE root_keys SET state = 'retiring' WHERE version = 2; UPDATE root_keys SET state = 'active' WHERE version = 1
            """
        for isRunning in [true, false] {
            if !isRunning { await node.close() }
            try await world.sql(swap)
            if isRunning {
                #expect(await code { try await node.ring.refresh() } == .rootKeysChanged)
            } else {
                node = try await world.start()
            }
            #expect(node.ring.activeVersion == 2)
            try await node.detector.look(now: world.clock.now)
            #expect(node.kinds == [.roots])
            let gap = try #require(node.freezes.rollback.gap)
            try await node.detector.accept(gap, by: "ada", now: world.clock.now)
            #expect(node.kinds == [])
            let states = try await node.store.rootKeys().map(\.state)
            #expect(states == [.retired, .active])
        }
        await node.close()
    }
}
