import AuditTrail
import KeyStore
import MasterKey
import TestServers
import Testing
import WireText

@testable import KeyManagement

@Suite("Counters in the seals of the audit trail")
struct SealedCountersTests {
    @Test(
        "a node that lost its file notices by the last seal that the database is older",
        arguments: RollbackWorld.Kind.here)
    func seals(_ kind: RollbackWorld.Kind) async throws {
        let world = try RollbackWorld(kind)
        let key = try AttestationKey.createP256()
        let settings = AuditTrailConfiguration(folder: world.folder.path + "/audit", node: "a", key: key)
        var node = try await world.start()
        var trail = try await AuditTrail.open(settings)
        #expect(trail.state.store == nil)
        try await node.detector.compare(trail.state.store)
        try await world.dump()
        let alice = try await TestClient.open(node.kms, People.alice)
        _ = try await alice.createKeys(3)
        try await node.detector.look(now: world.clock.now)
        let counters = try #require(node.detector.counters)
        #expect(counters.counters[node.store.writer] == node.store.known.counter)
        try await trail.sealHead(now: world.clock.now, store: counters)
        await node.close()
        try await trail.close()

        // Control: the same database and no file.
        node = try await world.start("lost")
        trail = try await AuditTrail.open(settings)
        #expect(trail.state.store == counters)
        try await node.detector.compare(trail.state.store)
        #expect(node.kinds == [])
        await node.close()
        try await trail.close()

        try await world.restoreDump()
        node = try await world.start("lost again")
        #expect(node.kinds == [], "control: it remembers nothing")
        trail = try await AuditTrail.open(settings)
        try await node.detector.compare(trail.state.store)
        #expect(node.kinds == [.counters])
        await node.close()
        try await trail.close()
        #expect(try await TrailVerifying.holds(world.folder.path + "/audit", key))
    }
}

private enum TrailVerifying {
    /// Whether an auditor who knows the key finds everything in order, heads with counters too.
    static func holds(_ folder: String, _ key: AttestationKey) async throws -> Bool {
        let settings = AuditTrailConfiguration(folder: folder, node: "a", key: key)
        let trail = try await AuditTrail.open(settings)
        defer { Task { try? await trail.close() } }
        if case .holds = await trail.check() { return true }
        return false
    }
}
