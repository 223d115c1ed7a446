import Diagnostics
import KMSProtocol
import KeyManagement
import KeyStore
import TestServers
import Testing
import WireText

/// `hdsctl access`: who can read a space, or what a user can read, now or at a moment of the past.
@Suite("Access reports")
struct AccessReportTests {
    @Test(
        "a space's readers come with every path: members, nested, everybody, services, officers",
        arguments: OversightWorld.Store.allCases)
    func everyPath(_ store: OversightWorld.Store) async throws {
        let world = try await OversightWorld.start(store)
        let alice = try await TestClient.open(world.kms, People.alice)
        let bob = try await TestClient.open(world.kms, People.bob)
        let inner = try await alice.createSpace([], with: [People.carol, People.bob])
        let middle = try await bob.createSpace([], with: [])
        _ = try await bob.add([inner.uri], to: middle.uri)
        let space = try await alice.createSpace(try await alice.createKeys(1), with: [People.bob])
        _ = try await alice.add([middle.uri, "/public"], to: space.uri)
        world.readers.withLock { readers in
            readers.services = [
                .init(name: "indexer", spaces: nil, notAfter: world.now.adding(seconds: 60)),
                .init(name: "other", spaces: ["kms://x/resources/y"], notAfter: world.now.adding(seconds: 60)),
                .init(name: "over", spaces: nil, notAfter: world.now),
            ]
            readers.officers = [People.dan: nil, "gone": world.now]
        }
        let report = try await world.access(.space(space.uri.objectID))
        func end(_ space: KMSResource) -> String { String(space.uri.suffix(4)) }
        #expect(
            Set(world.ways(report)) == [
                "member alice", "member bob", "nested bob \(end(middle))",
                "nested alice \(end(middle)) \(end(inner))", "nested carol \(end(middle)) \(end(inner))",
                "nested bob \(end(middle)) \(end(inner))", "everybody body", "service exer", "officer dan",
            ])
        #expect(report.gaps.isEmpty)
        let carol = try await world.access(.user(People.carol))
        #expect(
            Set(carol.ways.map { "\($0.means.rawValue) \($0.space)" }) == [
                "member \(inner.uri)", "nested \(middle.uri)", "nested \(space.uri)", "everybody \(space.uri)",
            ])
        let json = try JSONDocument(report.json().bytes()).root
        #expect(json["ways"]?.elements?.count == report.ways.count)
        #expect(json["at"]?.string == world.now.iso8601)
    }

    @Test("what the report says is what the KMS decides, over many lists at random", arguments: SeededGenerator.seeds)
    func agreesWithDecisions(_ seed: UInt64) async throws {
        var random = SeededGenerator(seed: seed)
        let world = try await OversightWorld.start()
        let people = [People.alice, People.bob, People.carol, People.dan]
        var clients: [TestClient] = []
        for person in people { clients.append(try await TestClient.open(world.kms, person)) }
        var spaces: [(uri: String, key: String, owner: Int)] = []
        for _ in 0..<8 {
            let owner = Int.random(in: 0..<4, using: &random)
            let keys = try await clients[owner].createKeys(1)
            let space = try await clients[owner].createSpace(
                keys, with: Bool.random(using: &random) ? [people.randomElement(using: &random)!] : [])
            spaces.append((space.uri, keys[0].uri, owner))
        }
        for _ in 0..<16 {
            let target = spaces.randomElement(using: &random)!
            var id = spaces.randomElement(using: &random)!.uri
            if Int.random(in: 0..<12, using: &random) == 0 { id = "/public" }
            if id != target.uri { _ = try await clients[target.owner].add([id], to: target.uri) }
        }
        for space in spaces {
            let report = try await world.access(.space(space.uri.objectID))
            for (person, client) in zip(people, clients) {
                let may = report.ways.contains { $0.reader == person || $0.means == .everybody }
                #expect(
                    (try await client.status(retrieving: space.key) == 200) == may,
                    "\(person) at \(space), seed \(seed)")
                let own = try await world.access(.user(person))
                #expect(own.ways.contains { $0.space == space.uri } == may)
            }
        }
    }

    @Test("the past is told from what is kept: later members are left out, removed ones are there")
    func past() async throws {
        let world = try await OversightWorld.start()
        let alice = try await TestClient.open(world.kms, People.alice)
        let start = world.now
        world.kms.clock.advance(seconds: 10)
        let inner = try await alice.createSpace([], with: [People.dan])
        let space = try await alice.createSpace(try await alice.createKeys(1), with: [People.bob])
        let id = space.uri.objectID
        _ = try await alice.add([inner.uri], to: space.uri)
        world.kms.clock.advance(seconds: 10)
        let before = world.now
        world.kms.clock.advance(seconds: 10)
        _ = try await alice.remove(People.bob, from: space.uri)
        _ = try await alice.remove(inner.uri, from: space.uri)
        _ = try await alice.add([People.carol], to: space.uri)
        world.kms.clock.advance(seconds: 10)
        let nested = "nested dan \(inner.uri.suffix(4))"
        #expect(
            Set(world.ways(try await world.access(.space(id), at: before)))
                == ["member alice", "member bob", nested, "nested alice \(inner.uri.suffix(4))"])
        #expect(Set(world.ways(try await world.access(.space(id)))) == ["member alice", "member carol"])
        let bob = try await world.access(.user(People.bob), at: before)
        #expect(bob.ways.map(\.space) == [space.uri])
        #expect(bob.ways.first?.until == before.adding(seconds: 10), "when it ended is told")
        #expect(try await world.access(.user(People.bob)).ways.isEmpty)
        #expect(try await world.access(.user(People.carol), at: before).ways.isEmpty)
        #expect(bob.gaps.contains { $0.contains("earlier policies are not kept") }, "what is not kept is said")
        let early = try await world.access(.space(id), at: start)
        #expect(early.ways.isEmpty && early.gaps.contains { $0.contains("made later") })
        await #expect(throws: DiagnosedError.self) {
            try await world.access(.space(id), at: world.now.adding(seconds: 1))
        }
    }

    @Test("a deleted space tells who could read until then; an erased one is not guessed about")
    func deleted() async throws {
        var policy = TestKMS.testPolicy()
        policy.tombstoneLife = 100
        let world = try await OversightWorld.start(policy: policy)
        let alice = try await TestClient.open(world.kms, People.alice)
        let space = try await alice.createSpace(try await alice.createKeys(1), with: [People.bob])
        world.kms.clock.advance(seconds: 10)
        let before = world.now
        world.kms.clock.advance(seconds: 10)
        _ = try await alice.ask("delete", space.uri)
        let id = space.uri.objectID
        #expect(
            Set(world.ways(try await world.access(.space(id), at: before))) == ["member alice", "member bob"])
        let now = try await world.access(.space(id))
        #expect(now.ways.isEmpty && now.gaps.contains { $0.contains("deleted at") })
        world.kms.clock.advance(seconds: 200)
        _ = try await Tombstones(store: world.kms.store, vault: world.vault, policy: policy).erase(now: world.now)
        await #expect(throws: DiagnosedError("subject-unknown", fault: .client, "")) {
            try await world.access(.space(id), at: before)
        }
    }

    @Test("a report over more spaces than one part holds comes in parts without gap or overlap")
    func parts() async throws {
        let world = try await OversightWorld.start()
        let alice = try await TestClient.open(world.kms, People.alice)
        var spaces: Set<String> = []
        for _ in 0..<505 { spaces.insert(try await alice.createSpace([]).uri) }
        var seen: [String] = []
        var next: String?
        var parts = 0
        repeat {
            let report = try await world.oversight.access(
                to: .user(People.alice), at: nil, after: next, now: world.now)
            seen += report.ways.map(\.space)
            next = report.next
            parts += 1
        } while next != nil
        #expect(parts == 2)
        #expect(seen.count == 505 && Set(seen) == spaces)
    }

    @Test("what names neither a space of this KMS nor a user is refused with what to write")
    func subjects() throws {
        let names = KMSNames(host: TestKMS.host)
        let id = "0b8cfd7e-5b1f-4f0e-9b0a-6f3a3f0b1c2d"
        #expect(try OversightSubject(names.resource(id), names: names) == .space(id))
        #expect(try OversightSubject("/resources/\(id)", names: names) == .space(id))
        #expect(try OversightSubject(id.uppercased(), names: names) == .user(id))
        #expect(try OversightSubject("carla@example.com", names: names) == .user("carla@example.com"))
        for text in ["", "kms://other.example.com/resources/\(id)", names.key(id), "/resources"] {
            #expect(throws: DiagnosedError("subject-malformed", fault: .client, "")) {
                try OversightSubject(text, names: names)
            }
        }
    }
}
