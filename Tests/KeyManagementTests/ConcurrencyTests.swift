import KMSProtocol
import KeyManagement
import KeyStore
import Testing
import WireText

/// Many clients at once: order within a session, races on one object, and what a removal promises.
@Suite("Concurrency")
struct ConcurrencyTests {
    @Test("after a removal was acknowledged no request received later gets a key by that path")
    func removalRaces() async throws {
        let kms = try await TestKMS.start()
        let alice = try await TestClient.open(kms, People.alice)
        let keys = try await alice.createKeys(1)
        let space = try await alice.createSpace(keys)
        let readers = try await [TestClient.open(kms, People.bob), TestClient.open(kms, People.bob)]
        for _ in 0..<20 {
            #expect(try await alice.add([People.bob], to: space.uri).status == 201)
            let isRemoved = Shared(false)
            try await withThrowingTaskGroup(of: Void.self) { group in
                for reader in readers {
                    group.addTask {
                        for _ in 0..<10 {
                            let wasRemoved = isRemoved.value
                            let status = try await reader.status(retrieving: keys[0].uri)
                            if wasRemoved { #expect(status == 403) }
                        }
                    }
                }
                group.addTask {
                    let status = try await alice.remove(People.bob, from: space.uri).status
                    #expect(status == 200)
                    isRemoved.withLock { $0 = true }
                }
                try await group.waitForAll()
            }
        }
    }

    @Test("one key bound to two resources at once ends up in exactly one")
    func bindRaces() async throws {
        let kms = try await TestKMS.start()
        let alice = try await TestClient.open(kms, People.alice)
        let other = try await TestClient.open(kms, People.alice)
        let spaces = try await [alice.createSpace([]), alice.createSpace([])]
        for key in try await alice.createKeys(20) {
            async let first = alice.ask("update", key.uri) { $0.member("resourceUri", spaces[0].uri) }
            async let second = other.ask("update", key.uri) { $0.member("resourceUri", spaces[1].uri) }
            let statuses = try await [first.status, second.status].sorted()
            #expect(statuses == [200, 409])
        }
    }

    @Test("many add to one resource at once: nobody is lost, nobody stands twice, the order has no gaps")
    func addRaces() async throws {
        let kms = try await TestKMS.start()
        let alice = try await TestClient.open(kms, People.alice)
        let space = try await alice.createSpace([])
        let users = (0..<40).map { _ in UUIDText.random() }
        try await withThrowingTaskGroup(of: Void.self) { group in
            for worker in 0..<8 {
                group.addTask {
                    let session = try await TestClient.open(kms, People.alice)
                    for index in stride(from: worker, to: users.count, by: 8) {
                        var status = 429
                        while status == 429 {
                            // With a counter: a decision made anew after a conflict must not count as a second request.
                            status = try await session.ask(
                                "create", "/authorizations", counter: Int64(index + 1), time: kms.clock.now
                            ) {
                                $0.member("resourceUri", space.uri)
                                $0.member("userIds", [users[index]])
                            }.status
                        }
                        #expect(status == 201)
                    }
                }
            }
            try await group.waitForAll()
        }
        guard case .authorizations(let list) = try await alice.ask("retrieve", space.uri + "/authorizations").body
        else {
            return
        }
        #expect(Set(list.map(\.authID)) == Set(users + [People.alice]))
        #expect(list.count == users.count + 1)
    }

    @Test("lanes keep the requests of a session in order and answer each exactly once")
    func lanes() async throws {
        let kms = try await TestKMS.start()
        let workers = WorkerPool(threads: 4)
        defer { workers.shutDown() }
        let lanes = RequestLanes(handler: kms.handler, workers: workers)
        let clients = try await [
            TestClient.open(kms, People.alice), TestClient.open(kms, People.bob), TestClient.open(kms, People.carol),
        ]
        let order = Shared<[[String]]>([[], [], []])
        for round in 0..<100 {
            for (index, client) in clients.enumerated() {
                let id = "r\(round)"
                let text = try client.wrapped(
                    round % 3 == 0 ? "create" : "update", round % 3 == 0 ? "/keys" : "/ping", requestID: id
                ) {
                    $0.member("count", 1)
                }
                lanes.submit(text, source: client.user) { reply in
                    let answered = (try? client.open(reply))?.requestID ?? "none"
                    order.withLock { $0[index].append(answered) }
                }
            }
        }
        await lanes.drain()
        #expect(lanes.waiting == 0)
        let expected = (0..<100).map { "r\($0)" }
        order.withLock { seen in
            for list in seen { #expect(list == expected) }
        }
    }

    @Test("more strings than may wait are declined at once")
    func overload() async throws {
        let kms = try await TestKMS.start()
        let alice = try await TestClient.open(kms, People.alice)
        let workers = WorkerPool(threads: 1)
        defer { workers.shutDown() }
        let lanes = RequestLanes(handler: kms.handler, workers: workers, maximumWaiting: 2)
        let outcomes = Shared(Outcomes())
        for _ in 0..<50 {
            lanes.submit(try alice.wrapped("create", "/keys") { $0.member("count", 100) }, source: "") { reply in
                outcomes.withLock {
                    if case .answer = reply { $0.answered += 1 } else { $0.declined += 1 }
                }
            }
        }
        await lanes.drain()
        outcomes.withLock {
            #expect($0.answered + $0.declined == 50)
            #expect($0.answered >= 2)
        }
    }
}

private struct Outcomes: Sendable {
    var answered = 0
    var declined = 0
}
