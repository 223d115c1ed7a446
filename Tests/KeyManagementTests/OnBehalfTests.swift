import KMSProtocol
import KeyManagement
import KeyStore
import MasterKey
import SignedPolicy
import Synchronization
import Testing
import WireText

/// Reading for somebody else: compliance officers, services that work for them, former members (security model, rule 11).
@Suite("On behalf of somebody, and for former members")
struct OnBehalfTests {
    private static let service = "svc-ediscovery"
    private static let carla = "carla@example.com"

    /// What the service says about whom it asks for.
    private struct Errand {
        var agent: String? = OnBehalfTests.carla
        var user: String? = People.bob
        var matter: String? = "case-1"
    }

    private static func policy(
        _ members: String..., agents: String = #"[{"user": "\#(carla)", "matter": "case-1"}]"#, version: Int = 1
    ) throws -> Policy {
        let consent = TestPolicy.consent(service, members: [#""mayActOnBehalf": true"#] + members)
        return try TestPolicy.make(consent, #""agents": \#(agents)"#, version: version)
    }

    private struct World {
        let kms: TestKMS
        let alice: TestClient
        let service: TestClient

        static func start(_ signed: Policy, _ policy: KMSPolicy = TestKMS.testPolicy()) async throws -> World {
            let kms = try await TestKMS.start(policy: policy, signed: signed, verifier: ClientTokens())
            return World(
                kms: kms, alice: try await TestClient.open(kms, People.alice),
                service: try await TestClient.open(
                    kms, OnBehalfTests.service, token: ClientTokens.service(OnBehalfTests.service)))
        }

        func key(boundTo space: KMSResource) async throws -> KMSKey {
            let key = try await alice.createKeys(1)[0]
            #expect(
                try await alice.ask("update", key.uri) { $0.member("resourceUri", space.uri) }.status == 200)
            return key
        }

        func ask(_ errand: Errand, _ uri: String, _ method: String = "retrieve") async throws -> KMSAnswer {
            var json = JSONWriter()
            json.beginObject()
            json.member("requestId", UUIDText.random())
            json.member("method", method)
            json.member("uri", uri)
            json.name("client")
            json.beginObject()
            json.member("clientId", "https://ediscovery")
            json.name("credential")
            json.beginObject()
            json.member("bearer", service.token)
            json.member("userId", ifPresent: errand.agent)
            json.member("onBehalfOf", ifPresent: errand.user)
            json.member("matter", ifPresent: errand.matter)
            json.endObject()
            json.endObject()
            json.endObject()
            return try await service.send(service.wrap(text: json.text()))
        }

        func rule(_ errand: Errand, _ uri: String, _ method: String = "retrieve") async throws -> String {
            _ = try await ask(errand, uri, method)
            return kms.log.lines.withLock { $0.last?.entry?.rule } ?? "-"
        }
    }

    @Test("for a member it reads what that member may read, and names officer and matter in the log")
    func member() async throws {
        let world = try await World.start(try Self.policy())
        let keys = try await world.alice.createKeys(2)
        _ = try await world.alice.createSpace([keys[0]], with: [People.bob])
        _ = try await world.alice.createSpace([keys[1]])
        #expect(try await world.rule(Errand(), keys[0].uri) == "service-consent:indexer")
        #expect(try await world.ask(Errand(), keys[1].uri).status == 403, "Bob may not, so it may not for Bob")
        let lines = world.kms.log.lines.withLock { $0.compactMap(\.entry) }
        #expect(lines.contains { $0.errand == "for the compliance officer \(Self.carla) in the matter case-1" })
    }

    @Test("on-behalf-not-covered: a consent that does not say so lets it act for nobody else")
    func notCovered() async throws {
        let without = try TestPolicy.make(
            TestPolicy.consent(Self.service), #""agents": [{"user": "\#(Self.carla)"}]"#)
        let world = try await World.start(without)
        let keys = try await world.alice.createKeys(1)
        _ = try await world.alice.createSpace(keys, with: [People.bob])
        #expect(try await world.rule(Errand(), keys[0].uri) == "on-behalf-not-covered")
        #expect(
            try await world.rule(Errand(agent: nil, user: nil, matter: nil), keys[0].uri) == "service-consent:indexer")
    }

    @Test(
        "without an officer, with one whom the policy does not name, out of his matter or after his time it is refused")
    func officers() async throws {
        let now = Timestamp.now()
        let over = now.adding(seconds: 60).iso8601
        let world = try await World.start(
            try Self.policy(
                agents: #"[{"user": "\#(Self.carla)", "matter": "case-1"}, {"user": "dan", "notAfter": "\#(over)"}]"#))
        let keys = try await world.alice.createKeys(1)
        _ = try await world.alice.createSpace(keys, with: [People.bob])
        for (errand, rule) in [
            (Errand(agent: nil), "agent-missing"), (Errand(agent: Self.service), "agent-missing"),
            (Errand(agent: People.bob, user: nil), "agent-missing"), (Errand(agent: People.dan), "not-an-agent"),
            (Errand(matter: "case-2"), "agent-matter"), (Errand(matter: nil), "agent-matter"),
            (Errand(agent: "dan"), "service-consent:indexer"),
        ] {
            #expect(try await world.rule(errand, keys[0].uri) == rule, "\(errand)")
        }
        world.kms.clock.advance(seconds: 61)
        #expect(try await world.rule(Errand(agent: "dan"), keys[0].uri) == "agent-expired")
        #expect(try await world.rule(Errand(), keys[0].uri, "delete") == "on-behalf-changes")
    }

    @Test("a compliance officer with an own token is judged by the signed policy, by matter and time as well")
    func person() async throws {
        let over = Timestamp.now().adding(seconds: 60).iso8601
        let kms = try await TestKMS.start(
            signed: try TestPolicy.make(#""agents": [{"user": "\#(People.dan)", "notAfter": "\#(over)"}]"#))
        let alice = try await TestClient.open(kms, People.alice)
        let dan = try await TestClient.open(kms, People.dan)
        let keys = try await alice.createKeys(1)
        _ = try await alice.createSpace(keys)
        #expect(try await dan.ask("retrieve", keys[0].uri, onBehalfOf: People.alice).status == 200)
        kms.clock.advance(seconds: 61)
        let late = try await dan.ask("retrieve", keys[0].uri, onBehalfOf: People.alice)
        #expect(late.status == 403 && late.reason?.contains("(agent-expired)") == true)
        kms.inForce.take(try TestPolicy.make(version: 2))
        #expect(try await dan.ask("retrieve", keys[0].uri, onBehalfOf: People.alice).status == 403)
    }

    // MARK: Former members

    /// A space with a key of Bob's time, which he then left, and one of later.
    private func left(_ world: World) async throws -> (space: KMSResource, before: KMSKey, after: KMSKey) {
        let space = try await world.alice.createSpace([], with: [People.bob])
        let before = try await world.key(boundTo: space)
        world.kms.clock.advance(seconds: 10)
        #expect(try await world.alice.remove(People.bob, from: space.uri).status == 200)
        world.kms.clock.advance(seconds: 10)
        return (space, before, try await world.key(boundTo: space))
    }

    @Test("for a former member it reads the keys that were bound until he left, and nothing of later")
    func former() async throws {
        let world = try await World.start(try Self.policy(#""formerMembers": true"#))
        let (space, before, after) = try await left(world)
        #expect(try await world.rule(Errand(), before.uri) == "former-member:indexer")
        #expect(try await world.ask(Errand(), before.uri).status == 200)
        #expect(try await world.rule(Errand(), after.uri) == "bound-after-leaving")
        guard case .keys(let keys) = try await world.ask(Errand(), "\(space.uri)/keys").body else {
            Issue.record("no keys")
            return
        }
        #expect(keys.map(\.uri) == [before.uri])
        let later = "\(space.uri)/keys"
        #expect(try await world.rule(Errand(), later) == "former-member:indexer")
        #expect(try await world.rule(Errand(), space.uri) == "former-member-reads-keys-only")
        #expect(try await world.rule(Errand(), "\(space.uri)/authorizations") == "former-member-reads-keys-only")
        #expect(try await world.ask(Errand(user: People.carol), before.uri).status == 403, "she never was a member")
    }

    @Test(
        "a former member's keys need the consent's word, a matter and an officer; he himself and officers get nothing")
    func nobodyElse() async throws {
        let world = try await World.start(try Self.policy())
        let (_, before, _) = try await left(world)
        #expect(try await world.rule(Errand(), before.uri) == "not-a-member", "the consent is not for former members")
        let agents = #"[{"user": "\#(Self.carla)"}, {"user": "\#(People.dan)"}]"#
        world.kms.inForce.take(try Self.policy(#""formerMembers": true"#, agents: agents, version: 2))
        #expect(try await world.rule(Errand(matter: nil), before.uri) == "matter-missing")
        #expect(try await world.ask(Errand(), before.uri).status == 200)
        let bob = try await TestClient.open(world.kms, People.bob)
        #expect(try await bob.status(retrieving: before.uri) == 403)
        let dan = try await TestClient.open(world.kms, People.dan)
        #expect(try await dan.ask("retrieve", before.uri, onBehalfOf: People.bob).status == 403)
        // Withdrawn.
        world.kms.inForce.take(try TestPolicy.make(#""agents": \#(agents)"#, version: 3))
        #expect(try await world.rule(Errand(), before.uri) == "no-consent")
    }

    @Test("who came back and left again: until the last time; who is a member again is read as one")
    func again() async throws {
        let world = try await World.start(try Self.policy(#""formerMembers": true"#))
        let (space, before, after) = try await left(world)
        #expect(try await world.alice.add([People.bob], to: space.uri).status == 201)
        #expect(try await world.rule(Errand(), after.uri) == "service-consent:indexer")
        world.kms.clock.advance(seconds: 10)
        #expect(try await world.alice.remove(People.bob, from: space.uri).status == 200)
        for key in [before, after] { #expect(try await world.ask(Errand(), key.uri).status == 200) }
    }

    @Test("an interval that is over opens nothing, and its row is erased; a hold and rule 8 keep it")
    func retention() async throws {
        let store = MemoryKeyStore()
        let kek = try KeyEncryptionKey.create()
        var policy = TestKMS.testPolicy()
        policy.intervalLife = 7200
        policy.sessionLife = 3600
        let signed = try Self.policy(#""formerMembers": true"#)
        let kms = try await TestKMS.start(
            store: store, kek: kek, policy: policy, signed: signed, verifier: ClientTokens())
        let ring = try await SealRing.open(kek: kek, store: store, now: kms.clock.now)
        let vault = RecordVault(ring: ring, store: store)
        let intervals = Intervals(store: store, vault: vault, policy: kms.inForce)
        func world() async throws -> World {
            World(
                kms: kms, alice: try await TestClient.open(kms, People.alice),
                service: try await TestClient.open(kms, Self.service, token: ClientTokens.service(Self.service)))
        }
        let (space, before, _) = try await left(try await world())
        let resource = String(space.uri.suffix(36))
        func rows() async throws -> Int {
            try await store.authorizations(ofResource: resource, includingRemoved: true).count
        }
        #expect(try await rows() == 2)
        kms.clock.advance(seconds: 7189)
        #expect(try await world().ask(Errand(), before.uri).status == 200)
        #expect(try await intervals.erase(now: kms.clock.now) == 0)
        kms.clock.advance(seconds: 1)
        #expect(try await world().rule(Errand(), before.uri) == "not-a-member")
        try await HoldList.change([resource], reason: "case-1", store: store, vault: vault)
        #expect(try await intervals.erase(now: kms.clock.now) == 0)
        try await HoldList.change([resource], reason: nil, store: store, vault: vault)
        #expect(try await intervals.erase(now: kms.clock.now) == 1)
        #expect(try await rows() == 1, "Alice stays on the list")
        // A policy of no days: the row stays as long as a session of before the removal may live.
        kms.inForce.take(try TestPolicy.make(#""retention": {"intervalDays": 0}"#, version: 2))
        let alice = try await world().alice
        #expect(try await alice.add([People.bob], to: space.uri).status == 201)
        #expect(try await alice.remove(People.bob, from: space.uri).status == 200)
        kms.clock.advance(seconds: 3599)
        #expect(try await intervals.erase(now: kms.clock.now) == 0)
        kms.clock.advance(seconds: 1)
        #expect(try await intervals.erase(now: kms.clock.now) == 1)
    }
}
