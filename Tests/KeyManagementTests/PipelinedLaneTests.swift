import Diagnostics
import KMSProtocol
import KeyManagement
import KeyStore
import Synchronization
import TestServers
import Testing
import WireText

/// Requests of one session are judged while records of earlier ones sync; answers leave in order, each kept before.
@Suite("Lanes over the audit trail")
struct PipelinedLaneTests {
    private func space(_ world: LaneWorld) async throws -> (alice: TestClient, key: KMSKey, space: KMSResource) {
        let alice = try await TestClient.open(world.kms, People.alice)
        let keys = try await alice.createKeys(1)
        return (alice, keys[0], try await alice.createSpace(keys))
    }

    @Test("while a record syncs the next requests are judged, none of them leaves, and one sync serves them all")
    func shared() async throws {
        let world = try await LaneWorld()
        let (alice, key, _) = try await space(world)
        world.disk.hold()
        let seen = Departures()
        for number in 0..<20 {
            world.submit(alice, try alice.wrapped("retrieve", key.uri, requestID: "r\(number)"), to: seen)
        }
        // The first sync may hold any number of them from one on; the second has the rest.
        await world.until { world.lanes.outstanding == 20 && world.disk.waiting == 1 }
        #expect(seen.count == 0)
        world.disk.letGo()
        await world.until { seen.count > 0 && (world.disk.waiting == 1 || seen.count == 20) }
        world.disk.open()
        await world.lanes.drain()
        #expect(seen.all == (0..<20).map { .init(id: "r\($0)", status: 200) })
        #expect(try world.done().suffix(20) == (0..<20).map { "r\($0)" })
    }

    @Test("the answers that one sync lets go leave together, with one stretch of the log")
    func together() async throws {
        let world = try await LaneWorld()
        let (alice, key, _) = try await space(world)
        world.disk.hold()
        let seen = Departures()
        world.submit(alice, try alice.wrapped("retrieve", key.uri, requestID: "first"), to: seen)
        await world.until { world.disk.waiting == 1 }
        for number in 0..<30 {
            world.submit(alice, try alice.wrapped("retrieve", key.uri, requestID: "r\(number)"), to: seen)
        }
        await world.until { world.lanes.outstanding == 31 }
        world.disk.letGo()
        await world.until { seen.count == 1 && world.disk.waiting == 1 }
        let before = world.kms.log.stretches.withLock { $0 }
        world.disk.open()
        await world.lanes.drain()
        #expect(seen.all.dropFirst().map(\.id) == (0..<30).map { "r\($0)" })
        // The first of them may have been handed in while the others were still judged, and sync alone.
        #expect(world.kms.log.stretches.withLock { $0 } - before <= 2)
    }

    @Test("a sync that fails in the middle refuses its own answers only, in their place")
    func failure() async throws {
        let world = try await LaneWorld()
        let (alice, key, _) = try await space(world)
        world.disk.hold()
        let seen = Departures()
        for (number, fails) in [false, true, false].enumerated() {
            world.submit(alice, try alice.wrapped("retrieve", key.uri, requestID: "r\(number)"), to: seen)
            await world.until { world.disk.waiting == 1 }
            // What releases nothing waits in its place all the same.
            world.submit(alice, try alice.wrapped("update", "/ping", requestID: "p\(number)"), to: seen)
            await world.until { world.lanes.outstanding == 2 }
            #expect(seen.count == 2 * number)
            world.disk.letGo(failing: fails)
            await world.until { seen.count == 2 * number + 2 }
            guard fails else { continue }
            // The refusal has a record of its own.
            await world.until { world.disk.waiting == 1 }
            world.disk.letGo()
        }
        #expect(seen.all.map(\.id) == ["r0", "p0", "r1", "p1", "r2", "p2"])
        #expect(seen.statuses == [200, 200, 500, 200, 200, 200])
        world.disk.open()
        #expect(try world.done().suffix(2) == ["r0", "r2"])
    }

    @Test("a change is seen by the next request of the session although neither has left")
    func visible() async throws {
        let world = try await LaneWorld()
        let (alice, key, space) = try await space(world)
        world.disk.hold()
        let seen = Departures()
        let requests = [("retrieve", key.uri), ("delete", space.uri), ("retrieve", key.uri), ("delete", alice.session)]
        for (method, uri) in requests + [("retrieve", key.uri)] {
            world.submit(alice, try alice.wrapped(method, uri), to: seen)
        }
        await world.until { world.lanes.outstanding == 5 && world.disk.waiting == 1 }
        #expect(seen.count == 0)
        world.disk.open()
        await world.lanes.drain()
        #expect(seen.statuses == [200, 200, 404, 204, 499])
    }

    @Test("the same string again waits for the first one's record, and for its completion when that fails")
    func replay() async throws {
        let world = try await LaneWorld()
        let (alice, _, _) = try await space(world)
        world.disk.hold()
        let seen = Departures()
        let create = try alice.wrapped("create", "/keys", requestID: "made") { $0.member("count", 1) }
        for _ in 0..<2 { world.submit(alice, create, to: seen) }
        await world.until { world.disk.waiting == 1 }
        // Past the lane too: as another node of the core might deliver it.
        async let direct = world.kms.handler.reply(to: create, source: "other")
        #expect(seen.count == 0)
        world.disk.letGo(failing: true)
        // The completion from the ledger syncs now, and the first answer is out.
        await world.until { world.disk.waiting == 1 && seen.count == 1 }
        #expect(seen.statuses == [500])
        world.disk.open()
        await world.lanes.drain()
        #expect(seen.statuses == [500, 201])
        #expect(try alice.open(await direct).status == 201)
        #expect(try world.done().count { $0 == "made" } == 1)
    }

    @Test("completing the trail from the ledger does not add what is on its way")
    func completing() async throws {
        let world = try await LaneWorld()
        let (alice, _, _) = try await space(world)
        let bob = try await TestClient.open(world.kms, People.bob)
        world.store.inject(.loseAnswer(DiagnosedError("lost", fault: .store, "injected")), of: .commit)
        #expect(try await bob.ask("create", "/keys") { $0.member("count", 1) }.status == 500)
        world.disk.hold()
        let seen = Departures()
        world.submit(alice, try alice.wrapped("create", "/keys", requestID: "made") { $0.member("count", 1) }, to: seen)
        await world.until { world.disk.waiting == 1 }
        let isSealed = Shared(false)
        let sealing = Task {
            try await world.kms.audit?.seal(now: world.kms.clock.now)
            isSealed.withLock { $0 = true }
        }
        // Enough for the completion to read the ledger; it goes no further while the record is on its way.
        for _ in 0..<100 { await Task.yield() }
        #expect(!isSealed.value)
        world.disk.open()
        try await sealing.value
        await world.lanes.drain()
        #expect(seen.statuses == [201])
        #expect(try world.done().count { $0 == "made" } == 1)
        #expect(try await world.kms.audit?.complete() == 0)
    }

    @Test("draining ends when the last answer has left, not before")
    func drain() async throws {
        let world = try await LaneWorld()
        let (alice, key, _) = try await space(world)
        world.disk.hold()
        let seen = Departures()
        for _ in 0..<10 { world.submit(alice, try alice.wrapped("retrieve", key.uri), to: seen) }
        let left = Shared(-1)
        let draining = Task {
            await world.lanes.drain()
            left.withLock { $0 = seen.count }
        }
        await world.until { world.lanes.outstanding == 10 }
        #expect(left.value == -1 && world.lanes.waiting == 10)
        world.disk.open()
        await draining.value
        #expect(left.value == 10 && world.lanes.waiting == 0 && world.lanes.outstanding == 0)
    }

    @Test("a lane judges no more than its depth ahead, and all lanes together no more than the capacity and one each")
    func bounded() async throws {
        let world = try await LaneWorld(depth: 4, capacity: 6)
        let (alice, key, _) = try await space(world)
        let clients = try await [
            alice, TestClient.open(world.kms, People.alice), TestClient.open(world.kms, People.alice),
        ]
        world.disk.hold()
        let seen = Departures()
        for _ in 0..<30 { world.submit(alice, try alice.wrapped("retrieve", key.uri), to: seen) }
        await world.until { world.lanes.outstanding == 4 }
        for _ in 0..<30 {
            for client in clients[1...] { world.submit(client, try client.wrapped("retrieve", key.uri), to: seen) }
        }
        // The second lane may add two, the third always one; or each of them one and one of them another.
        await world.until { world.lanes.outstanding >= 6 }
        for _ in 0..<100 { await Task.yield() }
        #expect(world.lanes.outstanding <= 7 && seen.count == 0)
        world.disk.open()
        await world.lanes.drain()
        #expect(seen.statuses == Array(repeating: 200, count: 90))
    }

    @Test(
        "with syncs that come and fail at random each answer leaves once, in order, and none before its record is durable",
        arguments: SeededGenerator.seeds)
    func random(seed: UInt64) async throws {
        var random = SeededGenerator(seed: seed)
        let world = try await LaneWorld(depth: Int.random(in: 1...16, using: &random), capacity: 24)
        let (alice, key, space) = try await space(world)
        _ = try await alice.add([People.bob, People.carol], to: space.uri)
        let clients = try await [
            alice, TestClient.open(world.kms, People.bob), TestClient.open(world.kms, People.carol),
        ]
        world.disk.hold()
        let seen = clients.map { _ in Departures() }
        let undurable = Shared<[String]>([])
        let each = 60
        for number in 0..<each {
            for (index, client) in clients.enumerated() {
                let id = "\(index)-\(number)."
                let creates = Int.random(in: 0..<4, using: &random) == 0
                let text = try client.wrapped(
                    creates ? "create" : "retrieve", creates ? "/keys" : key.uri, counter: Int64(number + 1),
                    time: world.kms.clock.now, requestID: id
                ) { if creates { $0.member("count", 1) } }
                world.lanes.submit(text, source: client.user) { reply in
                    let status = (try? client.open(reply))?.status ?? 0
                    if status < 300, !world.disk.hasDurable("\"\(id)\"") { undurable.withLock { $0.append(id) } }
                    seen[index].add(.init(id: id, status: status))
                }
            }
        }
        while seen.contains(where: { $0.count < each }) {
            if world.disk.waiting > 0 { world.disk.letGo(failing: Int.random(in: 0..<5, using: &random) == 0) }
            for _ in 0..<Int.random(in: 0..<20, using: &random) { await Task.yield() }
        }
        world.disk.open()
        await world.lanes.drain()
        try await world.kms.audit?.seal(now: world.kms.clock.now)
        let done = try world.done()
        for (index, departures) in seen.enumerated() {
            #expect(departures.all.map(\.id) == (0..<each).map { "\(index)-\($0)." }, "seed \(seed)")
            #expect(departures.statuses.allSatisfy { [200, 201, 500].contains($0) }, "seed \(seed)")
            for answer in departures.all where answer.status < 300 {
                #expect(done.count { $0 == answer.id } == 1, "seed \(seed): \(answer.id)")
            }
        }
        #expect(undurable.value == [], "seed \(seed)")
        #expect(Set(done.filter { $0.hasSuffix(".") }).count == done.count { $0.hasSuffix(".") }, "seed \(seed)")
    }
}
