import AuditTrail
import Diagnostics
import KMSProtocol
import KeyManagement
import KeyStore
import SignedPolicy
import Synchronization
import Testing
import WireText

/// What reports, counts and erasures do at their edges: bounds, ends of time, clients that go away, many rows.
@Suite("Oversight at its edges")
struct OversightEdgesTests {
    @Test("services, officers and their ends come from the signed policy; of several entries the last to end counts")
    func policyReaders() throws {
        let space = "kms://\(TestKMS.host)/resources/0b8cfd7e-5b1f-4f0e-9b0a-6f3a3f0b1c2d"
        let policy = try TestPolicy.make(
            TestPolicy.consent("svc-1", #""spaces": ["\#(space)"]"#, #""client": "crm""#, #""formerMembers": true"#),
            """
            "agents": [{"user": "carla", "matter": "a", "notAfter": "2027-01-01"}, {"user": "dan", "matter": "a"},
            {"user": "carla", "matter": "b", "notAfter": "2027-06-01"}, {"user": "dan", "notAfter": "2027-01-01"}]
            """)
        let readers = Oversight.PolicyReaders(policy, partners: ["kms.partner.example": true])
        let service = try #require(readers.services.first)
        #expect(service.name == "indexer" && service.aliases == ["svc-1", "crm"] && service.spaces == [space])
        #expect(service.formerMembers && readers.partners == ["kms.partner.example": true])
        let june = try #require(Timestamp(iso8601: "2027-06-01T00:00:00Z"))
        let end = try #require(readers.officers["carla"] ?? nil)
        #expect(end >= june && end <= june.adding(seconds: 86_400))
        #expect(readers.officers["dan"] == .some(nil), "one entry of Dan's has no end")
        #expect(readers.officers["eve"] == nil)
        #expect(Oversight.PolicyReaders(.none(organisation: "org"), partners: [:]) == Oversight.PolicyReaders())
    }

    @Test("nested spaces behind the bound give nothing, in the report as in the decision, and the report says so")
    func bounds() async throws {
        var policy = TestKMS.testPolicy()
        policy.nestingDepth = 2
        let world = try await OversightWorld.start(policy: policy)
        let alice = try await TestClient.open(world.kms, People.alice)
        let bob = try await TestClient.open(world.kms, People.bob)
        let carol = try await TestClient.open(world.kms, People.carol)
        let third = try await alice.createSpace([], with: [People.carol])
        let second = try await alice.createSpace([], with: [People.bob])
        let first = try await alice.createSpace([])
        let keys = try await alice.createKeys(1)
        let space = try await alice.createSpace(keys)
        for (inner, outer) in [(first, space), (second, first), (third, second)] {
            #expect(try await alice.add([inner.uri], to: outer.uri).status == 201)
        }
        let report = try await world.access(.space(space.uri.objectID))
        #expect(report.ways.contains { $0.reader == People.bob } && !report.ways.contains { $0.reader == People.carol })
        #expect(report.gaps.contains { $0.contains("deeper than 2") })
        #expect(try await bob.status(retrieving: keys[0].uri) == 200)
        #expect(try await carol.status(retrieving: keys[0].uri) == 403)
        let impact = try await world.oversight.impact(of: .space(space.uri.objectID), now: world.now)
        #expect(impact.users == 2, "Alice and Bob")
    }

    @Test("a space whose time is over and an unnamed holder's bearer end in the report when they end")
    func ends() async throws {
        let world = try await OversightWorld.start()
        let alice = try await TestClient.open(world.kms, People.alice)
        let answer = try await alice.ask("create", "/resources") {
            $0.member("keyUris", [String]())
            $0.member("userIds", [String]())
            $0.member("ttl", 100)
        }
        guard case .resource(let short) = answer.body else { throw TestClient.Refused(answer: answer) }
        let long = try await alice.createSpace([])
        #expect(
            try await alice.ask("create", "/authorizations") {
                $0.member("resourceUri", long.uri)
                $0.member("anonymous", 2)
            }.status == 201)
        let start = world.now
        #expect(try await world.access(.space(short.uri.objectID)).ways.map(\.reader) == [People.alice])
        let ways = try await world.access(.space(long.uri.objectID)).ways
        #expect(ways.filter { $0.means == .unnamed }.count == 2)
        #expect(
            ways.filter { $0.means == .unnamed }.allSatisfy {
                $0.until != nil && $0.reader.contains("/authorizations/")
            })
        world.kms.clock.advance(seconds: 31 * 86_400)
        let over = try await world.access(.space(short.uri.objectID))
        #expect(over.ways.isEmpty && over.gaps.contains { $0.contains("was over at") })
        #expect(try await world.access(.space(long.uri.objectID)).ways.map(\.means) == [.member])
        let then = try await world.access(.space(short.uri.objectID), at: start)
        #expect(then.ways.map(\.reader) == [People.alice])
    }

    @Test("a client that goes away ends a count, which then says that it is not whole, and never an erasure")
    func goingAway() async throws {
        let world = try await OversightWorld.start()
        let alice = try await TestClient.open(world.kms, People.alice)
        for _ in 0..<201 { _ = try await alice.createSpace([]) }
        let cut = try await world.oversight.impact(of: .everything, now: world.now) { _ in false }
        #expect(!cut.isWhole && cut.spaces == 200 && cut.sentence.contains("at least"))
        let part = try await world.oversight.access(
            to: .user(People.alice), at: nil, now: world.now, progress: { _ in false })
        let rest = try await world.oversight.access(
            to: .user(People.alice), at: nil, after: part.next, now: world.now)
        #expect(part.next != nil && part.ways.count == 200 && rest.ways.count == 1 && rest.next == nil)
        let order = Erasure.Order(officers: ["ada"], request: "r", backupsUntil: world.now)
        let file = try await world.erasure().run(
            .user(People.alice), order: order, id: AuditID.make(at: world.now), progress: { _ in false })
        #expect(try world.verified(file).counts.spacesDestroyed == 201)
    }

    @Test("a space with more keys than one page is redacted whole, and destroyed whole", arguments: [true, false])
    func manyKeys(_ isShared: Bool) async throws {
        let world = try await OversightWorld.start(.sqlite)
        let alice = try await TestClient.open(world.kms, People.alice)
        let bob = try await TestClient.open(world.kms, People.bob)
        let space = try await alice.createSpace([], with: isShared ? [People.bob] : [])
        for client in isShared ? [alice, bob] : [alice] {
            for _ in 0..<3 {
                for key in try await client.createKeys(80) {
                    let answer = try await client.ask("update", key.uri) { $0.member("resourceUri", space.uri) }
                    #expect(answer.status == 200)
                }
            }
        }
        let certificate = try world.verified(try await world.erase(.user(People.alice)))
        #expect(certificate.counts.keysRedacted == (isShared ? 240 : 0))
        #expect(certificate.counts.keysDestroyed == (isShared ? 0 : 240))
        guard isShared else { return }
        guard case .keys(let keys) = try await bob.ask("retrieve", space.uri + "/keys").body else {
            Issue.record("Bob reads no keys")
            return
        }
        #expect(!keys.isEmpty && !keys.contains { $0.userID == People.alice })
    }

    @Test("holds are listed with their reasons")
    func holds() async throws {
        let world = try await OversightWorld.start()
        let ids = [UUIDText.random(), UUIDText.random()].sorted()
        #expect(try await HoldList.standing(world.kms.store, world.vault).entries.isEmpty)
        try await HoldList.change([ids[1]], reason: "b", store: world.kms.store, vault: world.vault)
        try await HoldList.change([ids[0]], reason: "a", store: world.kms.store, vault: world.vault)
        let entries = try await HoldList.standing(world.kms.store, world.vault).entries
        #expect(entries.map(\.resource) == ids && entries.map(\.reason) == ["a", "b"])
    }

    @Test("what officers did is explained like a decision, with who and by which command")
    func officersActs() async throws {
        let world = try await OversightWorld.start()
        let act = OfficeAct(
            .freeze, signedBy: ["ada", "ben"], command: "freeze", rule: "officer:freeze", digest: "d", detail: "{}")
        let id = try await world.audit.keep(act, now: world.now)
        let explained = try await world.oversight.explain(id, audit: try world.audit, now: world.now)
        #expect(explained.sentence.hasSuffix(": freeze by officer:ada, confirmed by officer:ben."))
        #expect(explained.user == "officer:ada" && explained.because.contains("signed this command"))
        #expect(explained.path == "officers ada, ben" && explained.kind == "freeze")
    }
}
