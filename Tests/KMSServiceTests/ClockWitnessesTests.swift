import Diagnostics
import KeyManagement
import KeyStore
import ServiceRuntime
import Synchronization
import Testing
import WireText

@testable import KMSService

private let hour: Int64 = 3_600_000

/// A node whose clock is wrong judges nothing; neither the core nor the database alone can say so.
@Suite("Witnesses of a node's clock") struct ClockWitnessesTests {
    private static let now = ClockWitnesses.Reading(wall: 1_800_000_000_000, boot: 500_000)

    private static func time(_ ahead: Int64) -> Timestamp { Timestamp(milliseconds: now.wall + ahead) }

    @Test(
        "wrong is a clock that is away from both by more than a minute in the same way",
        arguments: [
            (core: 0, database: 0, error: nil), (-hour, -hour, hour), (hour, hour + 30_000, -hour - 30_000),
            // One of them is wrong itself, or both are and do not agree.
            (0, -hour, nil), (-hour, 0, nil), (hour, -hour, nil), (-hour, -3 * hour, nil),
            // What tokens and requests are given.
            (-59_000, -59_000, nil),
        ] as [(core: Int64, database: Int64, error: Int64?)])
    func judged(_ row: (core: Int64, database: Int64, error: Int64?)) {
        var witnesses = ClockWitnesses()
        witnesses.heard(core: row.core, at: Self.time(0), now: Self.now)
        #expect(witnesses.error(database: Self.time(row.database), now: Self.now) == row.error)
    }

    @Test("before a core has said its time the database alone decides")
    func unlinked() {
        #expect(ClockWitnesses().error(database: Self.time(-hour), now: Self.now) == hour)
        #expect(ClockWitnesses().error(database: Self.time(1000), now: Self.now) == nil)
    }

    @Test("a clock that jumps while the link stands is wrong from then on, and right when it jumps back")
    func jumps() {
        var witnesses = ClockWitnesses()
        witnesses.heard(core: 0, at: Self.time(0), now: Self.now)
        let later = ClockWitnesses.Reading(wall: Self.now.wall + 10_000 + hour, boot: Self.now.boot + 10_000)
        #expect(witnesses.error(database: Self.time(10_000), now: later) == hour)
        let right = ClockWitnesses.Reading(wall: Self.now.wall + 20_000, boot: Self.now.boot + 20_000)
        #expect(witnesses.error(database: Self.time(20_000), now: right) == nil)
    }

    @Test("the keeper gives no lease and nothing is judged while the clock is wrong, [HDS-LEASE-LOST] says what to do")
    func keeper() async throws {
        let world = try await LeaseKeeperTests.World()
        let reading = Mutex(Self.now)
        let keeper = try await LeaseKeeper(
            world.cluster, node: "kms-1", release: "1", file: nil, lease: ReleaseLease(),
            reading: { reading.withLock { $0 } }, world.parts)
        world.cluster.setClock(Self.time(0))
        await keeper.renew()
        #expect(keeper.lease.isHeld && !keeper.lease.isClockWrong)
        reading.withLock { $0.wall += hour }
        await keeper.renew()
        #expect(!keeper.lease.isHeld && keeper.lease.isClockWrong)
        let alarm = try #require(world.health.alarms.current.first { $0.alarm.id == "HDS-LEASE-LOST" })
        #expect("\(alarm.detail)".contains("3600 s ahead") && "\(alarm.detail)".contains("set-ntp"), "\(alarm.detail)")
        reading.withLock { $0.wall -= hour }
        await keeper.renew()
        #expect(keeper.lease.isHeld && !keeper.lease.isClockWrong && world.alarms.isEmpty)
    }
}
