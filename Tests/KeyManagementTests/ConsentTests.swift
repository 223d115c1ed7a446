import KMSProtocol
import KeyManagement
import KeyStore
import MasterKey
import SignedPolicy
import Synchronization
import Testing
import WireText

/// Which plaintext services get keys: the rows of docs/policy.md, "How a service is judged", and what follows from them.
@Suite("Services and the signed policy")
struct ConsentTests {
    private static let indexer = "svc-indexer"

    /// A space of Alice's with one key, and a service that wants it.
    private struct World {
        let kms: TestKMS
        let alice: TestClient
        let service: TestClient
        let key: KMSKey
        let space: KMSResource

        static func start(
            _ policy: Policy? = nil, user: String = indexer, token: String? = nil, listing: [String] = []
        ) async throws -> World {
            let kms = try await TestKMS.start(signed: policy, verifier: ClientTokens())
            let alice = try await TestClient.open(kms, People.alice)
            let keys = try await alice.createKeys(1)
            let space = try await alice.createSpace(keys, with: listing)
            let service = try await TestClient.open(
                kms, user, token: token ?? ClientTokens.service(indexer, organisation: "org"))
            return World(kms: kms, alice: alice, service: service, key: keys[0], space: space)
        }

        /// The rule by which the service is refused the key, "granted" when it gets it.
        func verdict(onBehalfOf user: String? = nil) async throws -> String {
            let answer = try await service.ask("retrieve", key.uri, onBehalfOf: user)
            let logged = kms.log.lines.withLock { $0.last?.entry?.rule } ?? "-"
            guard answer.status == 200 else {
                #expect(answer.status == 403)
                #expect(answer.reason?.contains("(\(logged))") == true, "\(answer.reason ?? "") names \(logged)")
                return logged
            }
            guard case .key(let key) = answer.body else { return "no key in it" }
            #expect(key.uri == self.key.uri)
            return "granted by \(logged)"
        }
    }

    private func consent(_ members: String...) throws -> Policy {
        try TestPolicy.make(TestPolicy.consent(Self.indexer, members: members))
    }

    // MARK: The rows of the table

    @Test("no-consent: without a policy a service reads nothing, not even on the list of a space")
    func noPolicy() async throws {
        let world = try await World.start(listing: [Self.indexer])
        #expect(try await world.verdict() == "no-consent")
        for (method, uri) in [
            ("retrieve", "\(world.space.uri)/keys"), ("retrieve", world.space.uri),
            ("retrieve", "\(world.space.uri)/authorizations"), ("delete", world.space.uri),
            ("delete", "\(world.space.uri)/authorizations?authId=\(People.alice)"),
        ] {
            #expect(try await world.service.ask(method, uri).status == 403, "\(method) \(uri)")
        }
        #expect(try await world.service.ask("create", "/keys") { $0.member("count", 1) }.status == 403)
        #expect(try await world.service.ask("update", "/ping").status == 200)
        #expect(try await world.alice.status(retrieving: world.key.uri) == 200, "members need no policy")
    }

    @Test("no-consent: a service that the policy does not name is no person, whatever it is called")
    func otherService() async throws {
        let policy = try TestPolicy.make(TestPolicy.consent("svc-other"))
        let world = try await World.start(policy, listing: [Self.indexer])
        #expect(try await world.verdict() == "no-consent")
        // An account whose id looks like a person's.
        let id = People.carol
        let posing = try await World.start(policy, user: id, token: ClientTokens.service(id), listing: [id])
        #expect(try await posing.verdict() == "no-consent")
        let person = try await TestClient.open(posing.kms, id, token: ClientTokens.token(id, client: "hds-desktop"))
        #expect(try await person.status(retrieving: posing.key.uri) == 200, "the control: a person of that id")
    }

    @Test("service-consent: with a consent it reads every space, and no list has it")
    func granted() async throws {
        let world = try await World.start(try consent())
        #expect(try await world.verdict() == "granted by service-consent:indexer")
        guard case .keys(let keys) = try await world.service.ask("retrieve", "\(world.space.uri)/keys").body else {
            Issue.record("no keys")
            return
        }
        #expect(keys.map(\.uri) == [world.key.uri])
        #expect(try await world.service.status(retrieving: "/keys/\(UUIDText.random())") == 404)
        #expect(try await world.alice.ask("delete", world.space.uri).status == 200)
        #expect(try await world.service.status(retrieving: world.key.uri) == 404, "a deleted space is gone for it too")
    }

    @Test("A calendar service reads only what it is on the list of: its own calendars, and no space")
    func calendar() async throws {
        let policy = try consent(#""type": "calendar""#, #""operations": ["create", "update"]"#)
        let world = try await World.start(policy)
        #expect(try await world.verdict() == "not-its-calendar")
        #expect(try await world.service.ask("retrieve", "\(world.space.uri)/keys").status == 403)
        let keys = try await world.service.createKeys(2)
        let calendar = try await world.service.createSpace([keys[0]], with: [People.alice])
        let bound = try await world.service.ask("update", keys[1].uri) { $0.member("resourceUri", calendar.uri) }
        #expect(bound.status == 200)
        for key in keys {
            #expect(try await world.service.status(retrieving: key.uri) == 200)
            #expect(try await world.alice.status(retrieving: key.uri) == 200)
        }
        // An indexer with the same words reads both.
        let indexer = try await World.start(try consent())
        #expect(try await indexer.verdict() == "granted by service-consent:indexer")
    }

    @Test("client-mismatch: the token has to have been issued to the client that the consent names")
    func client() async throws {
        let policy = try consent(#""client": "hds-indexer""#)
        #expect(try await World.start(policy).verdict() == "client-mismatch")
        let fitting = ClientTokens.token(Self.indexer, client: "hds-indexer", organisation: "org")
        #expect(try await World.start(policy, token: fitting).verdict() == "granted by service-consent:indexer")
    }

    @Test("organisation-not-covered: neither a token of another organisation, nor one of none")
    func organisation() async throws {
        let policy = try consent(#""organisations": ["org"]"#)
        for other in ["other", nil] {
            let token = ClientTokens.service(Self.indexer, organisation: other)
            #expect(try await World.start(policy, token: token).verdict() == "organisation-not-covered")
        }
        #expect(try await World.start(policy).verdict() == "granted by service-consent:indexer")
        // The space belongs to this KMS's organisation.
        let token = ClientTokens.service(Self.indexer, organisation: "elsewhere")
        let elsewhere = try consent(#""organisations": ["elsewhere"]"#)
        #expect(try await World.start(elsewhere, token: token).verdict() == "organisation-not-covered")
    }

    @Test("consent-not-yet and consent-expired: by the KMS's clock, while a session lasts")
    func time() async throws {
        let now = Timestamp.now()
        let world = try await World.start(
            try consent(
                #""notBefore": "\#(now.adding(seconds: 60).iso8601)""#,
                #""notAfter": "\#(now.adding(seconds: 120).iso8601)""#))
        #expect(try await world.verdict() == "consent-not-yet")
        world.kms.clock.advance(seconds: 62)
        #expect(try await world.verdict() == "granted by service-consent:indexer")
        world.kms.clock.advance(seconds: 60)
        #expect(try await world.verdict() == "consent-expired")
    }

    @Test("space-not-covered: only the spaces that the consent names")
    func space() async throws {
        let world = try await World.start(try consent())
        let other = "kms://\(TestKMS.host)/resources/\(UUIDText.random())"
        world.kms.inForce.take(try consent(#""spaces": ["\#(other)"]"#))
        #expect(try await world.verdict() == "space-not-covered")
        #expect(try await world.service.ask("retrieve", "\(world.space.uri)/keys").status == 403)
        world.kms.inForce.take(try consent(#""spaces": ["\#(other)", "\#(world.space.uri)"]"#))
        #expect(try await world.verdict() == "granted by service-consent:indexer")
    }

    @Test(
        "operation-not-covered: it retrieves; to make something the consent has to say so, to change a list it is on it"
    )
    func operation() async throws {
        let world = try await World.start(try consent())
        func create() async throws -> KMSAnswer {
            try await world.service.ask("create", "/keys") { $0.member("count", 1) }
        }
        #expect(try await create().reason?.contains("(operation-not-covered)") == true)
        #expect(
            try await world.service.ask("create", "/resources") { $0.member("keyUris", [String]()) }.reason?
                .contains("(operation-not-covered)") == true)
        world.kms.inForce.take(try consent(#""operations": ["create", "update"]"#))
        #expect(try await create().status == 201)
        let own = try await world.service.createKeys(1)
        #expect(try await world.service.status(retrieving: own[0].uri) == 200, "its own unbound key")
        let space = try await world.service.createSpace(own, with: [People.bob])
        let bob = try await TestClient.open(world.kms, People.bob)
        #expect(try await bob.status(retrieving: own[0].uri) == 200)
        #expect(try await world.service.add([People.carol], to: space.uri).status == 201, "it stands on this list")
        #expect(try await world.service.add([People.carol], to: world.space.uri).status == 403, "and not on that one")
        #expect(
            try await world.service.remove(People.bob, from: space.uri).reason?.contains("(operation-not-covered)")
                == true)
    }

    // MARK: Policies that change

    @Test("another policy counts from the next request on: given, withdrawn, and never the older one again")
    func reload() async throws {
        let world = try await World.start()
        #expect(try await world.verdict() == "no-consent")
        world.kms.inForce.take(try TestPolicy.make(TestPolicy.consent(Self.indexer), version: 2))
        #expect(try await world.verdict() == "granted by service-consent:indexer")
        world.kms.inForce.take(try TestPolicy.make(version: 3))
        #expect(try await world.verdict() == "no-consent")
        world.kms.inForce.take(try TestPolicy.make(TestPolicy.consent(Self.indexer), version: 2))
        #expect(try await world.verdict() == "no-consent")
        #expect(world.kms.inForce.current.signed.version == 3)
    }

    @Test("an account whose tokens look like a person's is none once a policy has named it, also when it is taken out")
    func withdrawn() async throws {
        // Issued to a client of another name, as some providers do.
        let token = ClientTokens.token(Self.indexer, client: "robot-7")
        let world = try await World.start(token: token, listing: [Self.indexer])
        #expect(try await world.service.status(retrieving: world.key.uri) == 200, "nobody told the KMS what it is")
        world.kms.inForce.take(try TestPolicy.make(version: 1))
        #expect(try await world.service.status(retrieving: world.key.uri) == 200)
        world.kms.inForce.take(try TestPolicy.make(TestPolicy.consent(Self.indexer), version: 2))
        #expect(try await world.verdict() == "granted by service-consent:indexer")
        world.kms.inForce.take(try TestPolicy.make(version: 3))
        #expect(try await world.verdict() == "no-consent")
    }

    @Test("a mutating request that was refused for want of a consent stays refused when its string comes again")
    func refusedReplay() async throws {
        let world = try await World.start()
        let text = try world.service.wrapped("create", "/keys") { $0.member("count", 1) }
        #expect(try await world.service.send(text).status == 403)
        world.kms.inForce.take(try consent(#""operations": ["create"]"#))
        #expect(try await world.service.send(text).status == 403)
        #expect(try await world.service.createKeys(1).count == 1)
    }

    // MARK: /public, persons' tokens, freezes

    @Test("a space that is open to everybody is not open to a service")
    func everybody() async throws {
        let policy = try TestPolicy.make(
            TestPolicy.consent(
                Self.indexer, #""spaces": ["kms://\#(TestKMS.host)/resources/\#(UUIDText.random())"]"#),
            #""publicAuthorizations": true"#)
        let world = try await World.start(policy)
        #expect(try await world.alice.add(["/public"], to: world.space.uri).status == 201)
        let bob = try await TestClient.open(world.kms, People.bob)
        #expect(try await bob.status(retrieving: world.key.uri) == 200)
        #expect(try await world.verdict() == "space-not-covered")
    }

    @Test("a person's token of a client that a consent names needs the person's right and the client's consent")
    func clientOfPersons() async throws {
        let now = Timestamp.now()
        func policy(_ version: Int, _ seconds: Int64, _ more: String...) throws -> Policy {
            let consent = TestPolicy.consent(
                "svc-crm", #""client": "crm""#, #""notAfter": "\#(now.adding(seconds: seconds).iso8601)""#)
            return try TestPolicy.make(([consent] + more).joined(separator: ", "), version: version)
        }
        let kms = try await TestKMS.start(signed: try policy(1, 3600), verifier: ClientTokens(), now: now)
        let alice = try await TestClient.open(kms, People.alice)
        let keys = try await alice.createKeys(1)
        _ = try await alice.createSpace(keys)
        let through = try await TestClient.open(
            kms, People.alice, token: ClientTokens.token(People.alice, client: "crm"))
        #expect(try await through.status(retrieving: keys[0].uri) == 200)
        let stranger = try await TestClient.open(kms, People.bob, token: ClientTokens.token(People.bob, client: "crm"))
        #expect(
            try await stranger.ask("retrieve", keys[0].uri).reason?.contains("doesn't have authorization") == true,
            "the consent is no right of its own")
        #expect(
            try await through.ask("create", "/keys") { $0.member("count", 1) }.reason?
                .contains("(operation-not-covered)") == true)
        // Withdrawn: the consent stands and is over.
        kms.inForce.take(try policy(2, -1))
        let refused = try await through.ask("retrieve", keys[0].uri)
        #expect(refused.status == 403 && refused.reason?.contains("(consent-expired)") == true)
        let desktop = try await TestClient.open(
            kms, People.alice, token: ClientTokens.token(People.alice, client: "hds-desktop"))
        #expect(try await desktop.status(retrieving: keys[0].uri) == 200)
        // With a list of personal clients every other client is refused.
        kms.inForce.take(try policy(3, -1, #""personalClients": ["hds-mobile"]"#))
        #expect(try await desktop.ask("retrieve", keys[0].uri).reason?.contains("(unknown-client)") == true)
        #expect(try await alice.ask("retrieve", keys[0].uri).status == 403, "a token that names no client neither")
    }

    @Test(
        "integration-without-consent: an integration acts with a person's rights only while a consent names it, and is counted"
    )
    func integrations() async throws {
        let consent = TestPolicy.consent("svc-api", #""client": "integration-crm""#, #""type": "api-access""#)
        let kms = try await TestKMS.start(signed: try TestPolicy.make(consent), verifier: ClientTokens())
        let alice = try await TestClient.open(kms, People.alice)
        let keys = try await alice.createKeys(1)
        _ = try await alice.createSpace(keys)
        func open(_ person: String, _ client: String) async throws -> TestClient {
            try await TestClient.open(kms, person, token: ClientTokens.token(person, client: client))
        }
        let named = try await open(People.alice, "integration-crm")
        #expect(try await named.status(retrieving: keys[0].uri) == 200)
        let other = try await open(People.alice, "integration-spy")
        let refused = try await other.ask("retrieve", keys[0].uri)
        #expect(refused.status == 403 && refused.reason?.contains("(integration-without-consent)") == true)
        #expect(try await open(People.bob, "integration-crm").status(retrieving: keys[0].uri) == 403)
        #expect(try await open(People.alice, "hds-desktop").status(retrieving: keys[0].uri) == 200)

        let usage = Dictionary(uniqueKeysWithValues: kms.handler.clients.all.map { ($0.client, $0.count) })
        #expect(usage["integration-crm"]?.requests == 2 && usage["integration-crm"]?.refusals == 1)
        #expect(usage["integration-spy"]?.refusals == 1 && usage["integration-spy"]?.isIntegration == true)
        #expect(usage["hds-desktop"]?.requests == 1 && usage["hds-desktop"]?.isIntegration == false)
    }

    @Test("a freeze of a service stops it by the name of its consent, and persons who come through its client")
    func freeze() async throws {
        let store = MemoryKeyStore()
        let kek = try KeyEncryptionKey.create()
        let ring = try await SealRing.open(kek: kek, store: store, now: .now())
        let board = try await FreezeBoard(store: store, vault: RecordVault(ring: ring, store: store))
        let kms = try await TestKMS.start(
            store: store, kek: kek, signed: try consent(#""client": "crm""#), verifier: ClientTokens(), freezes: board)
        let alice = try await TestClient.open(kms, People.alice)
        let keys = try await alice.createKeys(1)
        _ = try await alice.createSpace(keys)
        let service = try await TestClient.open(
            kms, Self.indexer, token: ClientTokens.token(Self.indexer, client: "crm"))
        let through = try await TestClient.open(
            kms, People.alice, token: ClientTokens.token(People.alice, client: "crm"))
        let all = [alice, service, through]
        func statuses() async throws -> [Int] {
            var statuses: [Int] = []
            for client in all { statuses.append(try await client.status(retrieving: keys[0].uri)) }
            return statuses
        }
        #expect(try await statuses() == [200, 200, 200])
        try await board.order(
            Freeze(scope: .service("indexer"), reason: "test", orderedBy: "ada", since: kms.clock.now))
        #expect(try await statuses() == [200, 403, 403])
    }
}
