import Diagnostics
import Foundation
import KeyManagement
import KeyStore
import MasterKey
import ServiceRuntime
import TestServers
import Testing
import WireText

@testable import KMSService
@testable import LinkedService

/// How a node lives by its lease: renewed, lost, refused, and the epoch that it remembers.
@Suite("The keeper of a node's lease") struct LeaseKeeperTests {
    struct World {
        let bench: Bench
        let cluster: MemoryClusterStore
        let freezes: FreezeBoard
        let parts: LeaseKeeper.Parts

        init() async throws {
            bench = try await Bench()
            cluster = MemoryClusterStore(bench.store)
            freezes = try await FreezeBoard(store: bench.store, vault: bench.vault)
            parts = LeaseKeeper.Parts(
                freezes: freezes, memory: PolicyMemory(store: bench.store, vault: bench.vault),
                inForce: PolicyInForce(KMSPolicy()), health: bench.health, metrics: bench.metrics,
                events: bench.events, links: LinkHolder())
        }

        var health: HealthRegistry { bench.health }
        var folder: TemporaryFolder { bench.folder }

        func keeper(_ file: EpochFile? = nil) async throws -> LeaseKeeper {
            try await LeaseKeeper(cluster, node: "kms-1", release: "1", file: file, lease: ReleaseLease(), parts)
        }

        var alarms: Set<String> { Set(health.alarms.current.map(\.alarm.id)) }
    }

    @Test("a renewal brings the lease, and what another node has frozen stands with it")
    func renewal() async throws {
        let world = try await World()
        let keeper = try await world.keeper()
        await keeper.renew()
        #expect(keeper.lease.isHeld && keeper.standing.renewals == 1)
        let mark = keeper.lease.mark
        let other = try await FreezeBoard(store: world.bench.store, vault: world.bench.vault)
        try await other.order(Freeze(scope: .everything, reason: "r", orderedBy: "o", since: .now()))
        await keeper.renew()
        #expect(world.freezes.standing.count == 1)
        #expect(!keeper.lease.permits(mark), "what was judged before does not leave")
        #expect(world.alarms.isEmpty)
    }

    @Test(
        "a database that refuses ends the lease at once, with [HDS-LEASE-LOST] and check; both go when it is held again"
    )
    func refused() async throws {
        let world = try await World()
        let keeper = try await world.keeper()
        await keeper.renew()
        for refuse in [
            { (cluster: MemoryClusterStore) in cluster.change { $0.isOpen = false } },
            { (cluster: MemoryClusterStore) in cluster.change { $0.promisesSynchronous = true } },
        ] {
            refuse(world.cluster)
            await keeper.renew()
            #expect(!keeper.lease.isHeld)
            #expect(world.alarms == ["HDS-LEASE-LOST"])
            #expect(!world.health.report.isReady)
            #expect(world.health.report.sentence.contains("the lease to release keys"))
            world.cluster.change {
                $0.isOpen = true
                $0.promisesSynchronous = false
            }
            await keeper.renew()
            #expect(keeper.lease.isHeld && world.alarms.isEmpty)
        }
        try await world.cluster.setRemoved(true, node: "kms-1")
        await keeper.renew()
        #expect(!keeper.lease.isHeld)
    }

    @Test("one renewal that fails takes nothing away")
    func oneFailure() async throws {
        struct Away: Error {}
        let world = try await World()
        let keeper = try await world.keeper()
        await keeper.renew()
        world.cluster.setFault { throw Away() }
        await keeper.renew()
        // The lease of the renewal before goes on; only if this thread slept for half a second it has ended.
        #expect(keeper.lease.isHeld == world.alarms.isEmpty)
    }

    @Test(
        "a higher epoch is on the disk before the node works in it; a lower one raises [HDS-SPLIT-BRAIN] and gives nothing"
    )
    func epoch() async throws {
        let world = try await World()
        let file = try EpochFile(folder: world.folder.path)
        let keeper = try await world.keeper(file)
        #expect(keeper.epoch == 1)
        #expect(try EpochFile(folder: world.folder.path).epoch == 1)
        world.cluster.change { $0.epoch = 3 }
        await keeper.renew()
        #expect(keeper.epoch == 3 && !keeper.lease.isHeld)
        #expect(try EpochFile(folder: world.folder.path).epoch == 3)
        await keeper.renew()
        #expect(keeper.lease.isHeld)
        world.cluster.change { $0.epoch = 2 }
        await keeper.renew()
        #expect(!keeper.lease.isHeld && keeper.epoch == 3)
        #expect(world.alarms == ["HDS-LEASE-LOST", "HDS-SPLIT-BRAIN"])
        let again = try EpochFile(folder: world.folder.path)
        await #expect(throws: DiagnosedError.self) { _ = try await world.keeper(again) }
        world.cluster.change { $0.epoch = 3 }
        await keeper.renew()
        #expect(keeper.lease.isHeld && world.alarms.isEmpty)
    }

    @Test("a freeze that a promoted database has lost is put back in the new epoch; in the old one there is no lease")
    func lostFreeze() async throws {
        let world = try await World()
        let keeper = try await world.keeper()
        let other = try await FreezeBoard(store: world.bench.store, vault: world.bench.vault)
        func order(_ reason: String) async throws -> [UInt8]? {
            try await other.order(Freeze(scope: .everything, reason: reason, orderedBy: "o", since: .now()))
            return try await world.bench.store.setting(FreezeBoard.setting)
        }
        let older = try #require(try await order("first"))
        let newer = try await order("second")
        await keeper.renew()
        #expect(keeper.lease.isHeld && world.freezes.standing.count == 2)

        func restored() -> Int { world.bench.events.details(of: .freezesRestored).count }
        func putBack() async throws {
            let change = StoreChange(writes: [.putSetting(name: FreezeBoard.setting, value: older)])
            #expect(try await world.bench.store.commit(change) == .committed)
        }
        try await putBack()
        await keeper.renew()
        #expect(restored() == 0, "in one epoch it is somebody's work")
        #expect(try await world.bench.store.setting(FreezeBoard.setting) == older)

        world.cluster.change { $0.epoch = 2 }
        await keeper.renew()
        #expect(keeper.epoch == 2 && !keeper.lease.isHeld)
        await keeper.renew()
        #expect(keeper.lease.isHeld && world.freezes.standing.map(\.reason) == ["first", "second"])
        #expect(try await world.bench.store.setting(FreezeBoard.setting) == newer)
        #expect(restored() == 1)

        // Only the first renewal of an epoch may.
        try await putBack()
        await keeper.renew()
        #expect(restored() == 1)
        #expect(try await world.bench.store.setting(FreezeBoard.setting) == older)
    }

    @Test("nodes of different releases raise [HDS-VERSION-SKEW] until they are of one")
    func skew() async throws {
        let world = try await World()
        let keeper = try await world.keeper()
        await keeper.renew()
        _ = try await world.cluster.renewLease(LeaseRequest(node: "kms-2", epoch: 1, release: "2"))
        #expect(!keeper.lease.hasOthers)
        await keeper.compareReleases()
        #expect(world.alarms == ["HDS-VERSION-SKEW"] && keeper.lease.hasOthers)
        _ = try await world.cluster.renewLease(LeaseRequest(node: "kms-2", epoch: 1, release: "1"))
        await keeper.compareReleases()
        #expect(world.alarms.isEmpty)
    }

    @Test("the file of the epoch is of mode 0600, never falls, and one that is damaged stops the node")
    func file() throws {
        let folder = TemporaryFolder()
        let file = try EpochFile(folder: folder.path)
        #expect(file.epoch == 0)
        try file.raise(to: 7)
        try file.raise(to: 6)
        #expect(try EpochFile(folder: folder.path).epoch == 7)
        let attributes = try FileManager.default.attributesOfItem(atPath: file.path)
        #expect((attributes[.posixPermissions] as? NSNumber)?.intValue == 0o600)
        for text in ["", "HDS-EPOCH-1 \n", "HDS-EPOCH-1 0\n", "HDS-EPOCH-1 7", "7\n"] {
            try Data(text.utf8).write(to: URL(fileURLWithPath: file.path))
            #expect(throws: DiagnosedError.self, "\(text)") { _ = try EpochFile(folder: folder.path) }
        }
    }
}
