import Cryptography
import JOSESignature
import KMSProtocol
import KeyStore
import MasterKey
import SecretMemory
import SignedPolicy
import Synchronization
import Testing
import WireText

@testable import KeyManagement

/// What an indexer asks the KMS for, on each database: docs/kms-extensions.md, "Search"; security model, rules 27, 28, 30.
@Suite("Search keys, memberships and sealing keys")
struct SearchKeyTests {
    private static let indexer = "svc-indexer"

    /// A KMS over a real database, Alice, and a service with a consent.
    private struct World {
        let world: RollbackWorld
        let node: RollbackWorld.Node
        let kms: TestKMS
        let alice: TestClient
        let service: TestClient

        static func start(
            _ kind: RollbackWorld.Kind, _ policy: Policy?, kmsPolicy: KMSPolicy = TestKMS.testPolicy()
        ) async throws -> World {
            let world = try RollbackWorld(kind)
            let node = try await world.start()
            let kms = try await TestKMS.start(
                store: node.store, kek: world.kek, policy: kmsPolicy, signed: policy, verifier: ClientTokens(),
                freezes: node.freezes, isShared: true, clock: world.clock)
            return World(
                world: world, node: node, kms: kms, alice: try await TestClient.open(kms, People.alice),
                service: try await TestClient.open(kms, indexer, token: ClientTokens.service(indexer)))
        }

        var lastRule: String? { kms.log.lines.withLock { $0.last?.entry?.rule } }
        var lastEffectiveUser: String? { kms.log.lines.withLock { $0.last?.entry?.effectiveUser } }

        func space(with users: [String] = []) async throws -> (key: KMSKey, space: KMSResource) {
            let keys = try await alice.createKeys(1)
            return (keys[0], try await alice.createSpace(keys, with: users))
        }

        func create(_ space: String, ends: (epoch: Int, because: String)? = nil) async throws -> KMSSearchKey {
            let answer = try await service.ask("create", "\(space)/searchKeys") { json in
                guard let ends else { return }
                json.name("ends")
                json.beginObject()
                json.member("epoch", ends.epoch)
                json.member("because", ends.because)
                json.endObject()
            }
            guard case .searchKeys(let keys) = answer.body, keys.count == 1 else {
                throw TestClient.Refused(answer: answer)
            }
            // What is new was made now.
            #expect(answer.status == 200 || (answer.status == 201 && keys[0].createDate == kms.clock.now))
            return keys[0]
        }

        func all(_ space: String) async throws -> [KMSSearchKey] {
            let answer = try await service.ask("retrieve", "\(space)/searchKeys")
            guard case .searchKeys(let keys) = answer.body else { throw TestClient.Refused(answer: answer) }
            return keys
        }

        func members(_ user: String, _ spaces: [String]) async throws -> [String] {
            let answer = try await service.ask("retrieve", "/memberships") {
                $0.member("userId", user)
                $0.member("resourceUris", spaces)
            }
            guard case .memberships(let list) = answer.body else { throw TestClient.Refused(answer: answer) }
            #expect(list.user == user && list.validMilliseconds == 500)
            return list.resourceURIs
        }

        func close() async { await node.close() }
    }

    private static func consent(_ members: String...) throws -> Policy {
        try TestPolicy.make(TestPolicy.consent(indexer, members: members))
    }

    // MARK: Search keys

    @Test(
        "a key of a space is made once, is the same for all who ask, and survives", arguments: RollbackWorld.Kind.here)
    func made(_ kind: RollbackWorld.Kind) async throws {
        let world = try await World.start(kind, Self.consent())
        let (_, space) = try await world.space()
        let first = try await world.create(space.uri)
        #expect(first.epoch == 1 && first.beginning == .first && first.resourceURI == space.uri)
        world.kms.clock.advance(seconds: 60)
        let again = try await world.create(space.uri)
        #expect(again.epoch == 1 && again.key.isEqual(to: first.key))
        #expect(world.lastRule == "service-consent:indexer")
        let listed = try await world.all(space.uri)
        #expect(listed.count == 1 && listed[0].key.isEqual(to: first.key))
        let (_, other) = try await world.space()
        #expect(try await world.all(other.uri).isEmpty, "reading makes none")
        #expect(try await !world.create(other.uri).key.isEqual(to: first.key))
        await world.close()
        // Another node of the same store, with the same key-encryption key.
        let node = try await world.world.start("b")
        let kms = try await TestKMS.start(
            store: node.store, kek: world.world.kek, signed: Self.consent(), verifier: ClientTokens(),
            freezes: node.freezes, isShared: true, clock: world.world.clock)
        let service = try await TestClient.open(kms, Self.indexer, token: ClientTokens.service(Self.indexer))
        guard case .searchKeys(let kept) = try await service.ask("retrieve", "\(space.uri)/searchKeys").body else {
            Issue.record("no keys")
            return
        }
        #expect(kept.count == 1 && kept[0].key.isEqual(to: first.key))
        #expect(node.kinds.isEmpty, "the guard against rollback counts them like any other row")
        await node.close()
    }

    @Test(
        "a room belongs to the space that it was first indexed for, on every node and after restarts",
        arguments: RollbackWorld.Kind.here)
    func rooms(_ kind: RollbackWorld.Kind) async throws {
        let world = try await World.start(kind, Self.consent())
        let (_, space) = try await world.space()
        let (_, other) = try await world.space()
        func ask(_ client: TestClient, _ space: String, _ room: String) async throws -> Int {
            try await client.ask("create", "\(space)/searchKeys") { $0.member("room", room) }.status
        }
        #expect(try await ask(world.service, space.uri, "room") == 201)
        #expect(try await ask(world.service, space.uri, "room") == 200)
        #expect(try await ask(world.service, space.uri, "second") == 200, "a space may have several rooms")
        #expect(try await ask(world.service, other.uri, "room") == 409)
        #expect(world.lastRule == "room-of-another-space")
        #expect(try await world.all(other.uri).isEmpty, "a refusal makes no key")
        #expect(try await ask(world.service, other.uri, "second") == 409, "pinned by an answer that made no key")
        #expect(try await ask(world.service, other.uri, "third") == 201)
        #expect(try await ask(world.service, other.uri, "") == 400)
        #expect(try await ask(world.service, other.uri, String(repeating: "r", count: 256)) == 400)
        #expect(try await ask(world.alice, space.uri, "room") == 403)
        await world.close()
        let node = try await world.world.start("b")
        let kms = try await TestKMS.start(
            store: node.store, kek: world.world.kek, signed: Self.consent(), verifier: ClientTokens(),
            freezes: node.freezes, isShared: true, clock: world.world.clock)
        let service = try await TestClient.open(kms, Self.indexer, token: ClientTokens.service(Self.indexer))
        #expect(try await ask(service, other.uri, "room") == 409)
        #expect(try await ask(service, space.uri, "room") == 200)
        #expect(node.kinds.isEmpty)
        await node.close()
    }

    @Test("many who ask at once get one key", arguments: RollbackWorld.Kind.here)
    func raced(_ kind: RollbackWorld.Kind) async throws {
        let world = try await World.start(kind, Self.consent())
        let (_, space) = try await world.space()
        var others: [TestClient] = []
        for _ in 0..<4 {
            others.append(
                try await TestClient.open(world.kms, Self.indexer, token: ClientTokens.service(Self.indexer)))
        }
        let keys = try await withThrowingTaskGroup(of: KMSSearchKey.self) { group in
            for client in others {
                group.addTask {
                    let answer = try await client.ask("create", "\(space.uri)/searchKeys")
                    guard case .searchKeys(let keys) = answer.body, let key = keys.first else {
                        throw TestClient.Refused(answer: answer)
                    }
                    return key
                }
            }
            return try await group.reduce(into: []) { $0.append($1) }
        }
        #expect(keys.allSatisfy { $0.epoch == 1 && $0.key.isEqual(to: keys[0].key) })
        #expect(try await world.all(space.uri).count == 1)
        await world.close()
    }

    @Test(
        "an epoch ends by time, by removal at most once a day, by messages at most once an hour, on compromise at once",
        arguments: RollbackWorld.Kind.here)
    func epochs(_ kind: RollbackWorld.Kind) async throws {
        var policy = TestKMS.testPolicy()
        policy.searchEpochLife = 10 * 86_400
        policy.sessionLife = 20 * 86_400
        let world = try await World.start(kind, Self.consent(), kmsPolicy: policy)
        let clock = world.kms.clock
        let (_, space) = try await world.space(with: [People.bob, People.carol])
        #expect(try await world.create(space.uri).epoch == 1)
        #expect(try await world.create(space.uri, ends: (1, "messages")).epoch == 1, "within the first hour")
        clock.advance(seconds: 3_600)
        let second = try await world.create(space.uri, ends: (1, "messages"))
        #expect(second.epoch == 2 && second.beginning == .messages)
        #expect(try await world.create(space.uri, ends: (1, "messages")).epoch == 2, "it names an epoch that is over")
        #expect(try await world.create(space.uri, ends: (1, "compromise")).epoch == 2)
        clock.advance(seconds: 10)
        #expect(try await world.create(space.uri, ends: (2, "compromise")).beginning == .compromise)
        clock.advance(seconds: 10)
        #expect(try await world.alice.remove(People.bob, from: space.uri).status == 200)
        #expect(try await world.create(space.uri).epoch == 3, "the epoch began less than a day ago")
        clock.advance(seconds: 86_400)
        let fourth = try await world.create(space.uri)
        #expect(fourth.epoch == 4 && fourth.beginning == .removal)
        clock.advance(seconds: 86_401)
        #expect(try await world.create(space.uri).epoch == 4, "that removal has had its epoch")
        clock.advance(seconds: 10 * 86_400)
        #expect(try await world.create(space.uri).beginning == .time)
        #expect(try await world.all(space.uri).map(\.epoch) == [5, 4, 3, 2, 1])
        await world.close()
    }

    @Test("members never see them: neither among keys of the space, nor by their id, nor in what they count")
    func hidden() async throws {
        let world = try await World.start(.sqlite, Self.consent())
        let (key, space) = try await world.space()
        _ = try await world.create(space.uri)
        let id = SearchEpoch.id(space: String(space.uri.suffix(36)), epoch: 1)
        #expect(try await world.node.store.key(id) != nil)
        for client in [world.alice, world.service] {
            #expect(try await client.status(retrieving: "kms://\(TestKMS.host)/keys/\(id)") == 404)
            guard case .keys(let keys) = try await client.ask("retrieve", "\(space.uri)/keys").body else {
                Issue.record("no keys")
                return
            }
            #expect(keys.map(\.uri) == [key.uri])
        }
        guard case .resource(let seen) = try await world.alice.ask("retrieve", space.uri).body else {
            Issue.record("no resource")
            return
        }
        #expect(seen.keyURIs == [key.uri])
        #expect(
            try await world.alice.ask("update", "/keys/\(id)", { $0.member("resourceUri", space.uri) }).status == 404)
        #expect(
            try await world.alice.ask("create", "/resources") { $0.member("keyUris", ["/keys/\(id)"]) }.status == 404)
        await world.close()
    }

    @Test("nobody but a consented indexer gets them, and the refusal names its rule")
    func refused() async throws {
        for (policy, rule) in [
            (nil, "no-consent"), (try Self.consent(#""type": "ediscovery""#), "service-type"),
            (try Self.consent(#""notAfter": "2020-01-01""#), "consent-expired"),
            (
                try Self.consent(
                    #""spaces": ["kms://kms.example.com/resources/0b8cfd7e-5b1f-4f0e-9b0a-6f3a3f0b1c2d"]"#),
                "space-not-covered"
            ),
        ] as [(Policy?, String)] {
            let world = try await World.start(.sqlite, policy)
            let (_, space) = try await world.space()
            for (method, uri) in [
                ("create", "\(space.uri)/searchKeys"), ("retrieve", "\(space.uri)/searchKeys"),
            ] {
                let answer = try await world.service.ask(method, uri)
                #expect(answer.status == 403 && world.lastRule == rule, "\(method) \(rule)")
                #expect(answer.reason?.contains("(\(rule))") == true)
                #expect(try await world.alice.ask(method, uri).status == 403, "a member of the space is no indexer")
                #expect(world.lastRule == "service-type")
            }
            #expect(try await world.service.ask("update", "\(space.uri)/searchKeys").status >= 403)
            await world.close()
        }
        let world = try await World.start(.sqlite, Self.consent())
        #expect(
            try await world.service.ask(
                "create", "kms://\(TestKMS.host)/resources/0b8cfd7e-5b1f-4f0e-9b0a-6f3a3f0b1c2d/searchKeys"
            ).status == 404)
        let (_, space) = try await world.space()
        #expect(try await world.service.ask("delete", "\(space.uri)/searchKeys").status >= 403)
        _ = try await world.create(space.uri)
        #expect(try await world.alice.ask("delete", space.uri).status == 200)
        #expect(try await world.service.ask("retrieve", "\(space.uri)/searchKeys").status == 404)
        await world.close()
    }

    @Test("a freeze of the space, of the service or of everything stops them, the first answer sent again as well")
    func frozen() async throws {
        let world = try await World.start(.sqlite, Self.consent())
        let (_, space) = try await world.space()
        let wrapped = try world.service.wrapped("create", "\(space.uri)/searchKeys")
        #expect(try await world.service.send(wrapped).status == 201)
        #expect(try await world.service.send(wrapped).status == 201)
        let id = String(space.uri.suffix(36))
        for scope in [Freeze.Scope.everything, .space(id), .service("indexer")] {
            let freeze = Freeze(scope: scope, reason: "drill", orderedBy: "ada", since: world.kms.clock.now)
            try await world.node.freezes.order(freeze)
            #expect(try await world.service.ask("retrieve", "\(space.uri)/searchKeys").status == 403)
            #expect(try await world.service.send(wrapped).status == 403)
            _ = try await world.node.freezes.lift(freeze.id)
        }
        #expect(try await world.all(space.uri).count == 1)
        await world.close()
    }

    @Test("erasing a space makes its search keys unreadable with its other keys", arguments: RollbackWorld.Kind.here)
    func erased(_ kind: RollbackWorld.Kind) async throws {
        let world = try await World.start(kind, Self.consent())
        let (_, space) = try await world.space()
        _ = try await world.create(space.uri)
        let id = String(space.uri.suffix(36))
        #expect(try await world.alice.ask("delete", space.uri).status == 200)
        world.kms.clock.advance(seconds: 31 * 86_400)
        let tombstones = Tombstones(store: world.node.store, vault: world.node.vault, policy: TestKMS.testPolicy())
        #expect(try await tombstones.erase(now: world.kms.clock.now) == 1)
        #expect(try await world.node.store.key(SearchEpoch.id(space: id, epoch: 1)) == nil)
        await world.close()
    }

    // MARK: Memberships

    @Test("which of many spaces a person reads is told in one answer", arguments: RollbackWorld.Kind.here)
    func memberships(_ kind: RollbackWorld.Kind) async throws {
        let world = try await World.start(kind, Self.consent())
        var spaces: [String] = []
        for index in 0..<30 {
            spaces.append(try await world.space(with: index % 3 == 0 ? [People.bob] : []).space.uri)
        }
        let foreign = [
            "kms://kms.other.example/resources/0b8cfd7e-5b1f-4f0e-9b0a-6f3a3f0b1c2d",
            "kms://\(TestKMS.host)/resources/0b8cfd7e-5b1f-4f0e-9b0a-6f3a3f0b1c2d", "nonsense",
        ]
        let expected = spaces.enumerated().filter { $0.offset % 3 == 0 }.map(\.element)
        #expect(try await world.members(People.bob, spaces + foreign) == expected)
        #expect(world.lastEffectiveUser == People.bob && world.lastRule == "service-consent:indexer")
        #expect(try await world.members(People.alice, spaces) == spaces)
        #expect(try await world.members(People.dan, spaces).isEmpty)
        // Through another space, and not any more.
        let group = try await world.space(with: [People.carol]).space.uri
        _ = try await world.alice.add([group], to: spaces[1])
        #expect(try await world.members(People.carol, spaces) == [spaces[1]])
        _ = try await world.alice.remove(People.bob, from: spaces[0])
        #expect(try await world.members(People.bob, spaces) == Array(expected.dropFirst()))
        let freeze = Freeze(
            scope: .space(String(spaces[3].suffix(36))), reason: "drill", orderedBy: "ada", since: world.kms.clock.now)
        try await world.node.freezes.order(freeze)
        #expect(try await world.members(People.bob, spaces) == Array(expected.dropFirst(2)))
        await world.close()
    }

    @Test(
        "a sealed query counts once, whoever brings it again", arguments: RollbackWorld.Kind.here)
    func queriesOnce(_ kind: RollbackWorld.Kind) async throws {
        let world = try await World.start(kind, Self.consent())
        let (_, space) = try await world.space()
        let other = try await TestClient.open(world.kms, Self.indexer, token: ClientTokens.service(Self.indexer))
        func ask(_ client: TestClient, _ digest: String) async throws -> Int {
            try await client.ask("retrieve", "/memberships") {
                $0.member("userId", People.alice)
                $0.member("resourceUris", [space.uri])
                $0.member("queryDigest", digest)
            }.status
        }
        let first = Base64URL.encode([UInt8](repeating: 1, count: 32))
        #expect(try await ask(world.service, first) == 200)
        #expect(try await ask(world.service, first) == 409)
        #expect(try await ask(other, first) == 409)
        #expect(world.lastRule == "query-repeated")
        #expect(try await ask(other, Base64URL.encode([UInt8](repeating: 2, count: 32))) == 200)
        #expect(try await ask(other, "short") == 400)
        try await world.node.store.purgeExpired(now: world.kms.clock.now.adding(seconds: 30 * 86_400))
        #expect(
            try await world.members(People.alice, [space.uri]) == [space.uri], "without a query it is asked as often")
        await world.close()
    }

    @Test("who is cut off has no memberships: a query that was kept for later finds nothing")
    func membershipsOfDisabled() async throws {
        let world = try await World.start(.sqlite, Self.consent())
        let list = try await DisabledUsers(store: world.node.store, vault: world.kms.vault)
        let kms = try await TestKMS.start(
            store: world.node.store, kek: world.world.kek, signed: Self.consent(), verifier: ClientTokens(),
            freezes: world.node.freezes, disabled: list, isShared: true, clock: world.world.clock)
        let (_, space) = try await world.space(with: [People.bob])
        let service = try await TestClient.open(
            kms, Self.indexer, token: ClientTokens.service(Self.indexer))
        for isCutOff in [false, true] {
            if isCutOff { _ = try await list.apply([People.bob: kms.clock.now], of: "https://auth.example.com") }
            let answer = try await service.ask("retrieve", "/memberships") { json in
                json.member("userId", People.bob)
                json.member("resourceUris", [space.uri])
            }
            guard case .memberships(let found) = answer.body else { throw TestClient.Refused(answer: answer) }
            #expect(found.resourceURIs == (isCutOff ? [] : [space.uri]))
        }
    }

    @Test("memberships are for an indexer alone, and about persons")
    func membershipsRefused() async throws {
        let world = try await World.start(.sqlite, Self.consent())
        let (_, space) = try await world.space()
        for (client, user) in [(world.alice, People.alice), (world.service, Self.indexer)] {
            let answer = try await client.ask("retrieve", "/memberships") {
                $0.member("userId", user)
                $0.member("resourceUris", [space.uri])
            }
            #expect(answer.status == 403 && world.lastRule == "service-type")
        }
        #expect(try await world.service.ask("retrieve", "/memberships").status == 400)
        let tooMany = try await world.service.ask("retrieve", "/memberships") {
            $0.member("userId", People.alice)
            $0.member("resourceUris", (0..<1001).map { "x\($0)" })
        }
        #expect(tooMany.status == 400)
        await world.close()
    }

    // MARK: What keys are used for

    private func take(_ world: World, _ key: String, for use: String?) async throws -> KMSAnswer {
        try await world.service.ask("retrieve", key) { $0.member("use", ifPresent: use) }
    }

    @Test("a person's own key opens a query and from then on nothing else", arguments: RollbackWorld.Kind.here)
    func queryKey(_ kind: RollbackWorld.Kind) async throws {
        let world = try await World.start(kind, Self.consent())
        let (key, _) = try await world.space()
        let answer = try await take(world, key.uri, for: "search")
        guard case .key(let taken) = answer.body else { throw TestClient.Refused(answer: answer) }
        #expect(taken.key.isEqual(to: key.key) && taken.userID == People.alice)
        #expect(world.lastRule == "query-key:indexer")
        #expect(try await take(world, key.uri, for: "search").status == 200, "again, for the same")
        for other in [nil, "content"] {
            #expect(try await take(world, key.uri, for: other).status == 403)
            #expect(world.lastRule == "key-for-another-use")
        }
        #expect(try await world.alice.status(retrieving: key.uri) == 200, "persons are not asked what for")
        #expect(try await take(world, key.uri, for: "report").status == 403)
        #expect(try await take(world, key.uri, for: "anything").status == 400)
        #expect(world.node.kinds.isEmpty)
        await world.close()
    }

    @Test(
        "a key that messages are read with opens no query, though its only member made it",
        arguments: RollbackWorld.Kind.here)
    func contentKey(_ kind: RollbackWorld.Kind) async throws {
        let world = try await World.start(kind, Self.consent())
        let (key, space) = try await world.space()
        #expect(try await take(world, key.uri, for: nil).status == 200)
        #expect(try await take(world, key.uri, for: "search").status == 403)
        #expect(world.lastRule == "key-for-another-use")
        let more = try await world.alice.createKeys(2)
        for key in more {
            #expect(
                try await world.alice.ask("update", key.uri, { $0.member("resourceUri", space.uri) }).status == 200)
        }
        #expect(try await take(world, more[0].uri, for: "search").status == 200)
        guard case .keys(let keys) = try await world.service.ask("retrieve", "\(space.uri)/keys").body else {
            Issue.record("no keys")
            return
        }
        #expect(Set(keys.map(\.uri)) == [key.uri, more[1].uri], "one that opens queries is none of messages")
        #expect(try await take(world, more[1].uri, for: "search").status == 403, "all of a list are marked")
        await world.close()
    }

    @Test("a key opens no query when others are on the list of its space, or it is somebody else's space")
    func notTheAskers() async throws {
        let world = try await World.start(
            .sqlite, TestPolicy.make(TestPolicy.consent(Self.indexer), #""publicAuthorizations": true"#))
        let (shared, space) = try await world.space(with: [People.bob])
        #expect(try await take(world, shared.uri, for: "search").status == 403)
        #expect(world.lastRule == "not-the-askers-key")
        // Bob's key in Alice's space, after Alice has left it.
        let bob = try await TestClient.open(world.kms, People.bob)
        let own = try await bob.createKeys(1)[0]
        #expect(try await bob.ask("update", own.uri, { $0.member("resourceUri", space.uri) }).status == 200)
        #expect(try await world.alice.remove(People.alice, from: space.uri).status == 200)
        #expect(try await take(world, own.uri, for: "search").status == 403, "the space is not his")
        #expect(try await take(world, own.uri, for: "content").status == 200, "a refusal marks nothing")
        let unbound = try await world.alice.createKeys(1)[0]
        #expect(try await take(world, unbound.uri, for: "search").status == 403)
        let (opened, group) = try await world.space()
        #expect(try await world.alice.add([space.uri], to: group.uri).status == 201)
        #expect(try await take(world, opened.uri, for: "search").status == 403, "a space is on its list")
        let (open, room) = try await world.space()
        #expect(try await world.alice.add(["/public"], to: room.uri).status == 201)
        #expect(try await take(world, open.uri, for: "search").status == 403, "it is open to everybody")
        await world.close()
    }

    @Test("an eDiscovery service opens report requests and no queries")
    func report() async throws {
        let world = try await World.start(.sqlite, Self.consent(#""type": "ediscovery""#))
        let (key, _) = try await world.space()
        #expect(try await take(world, key.uri, for: "search").status == 403)
        #expect(try await take(world, key.uri, for: "report").status == 200)
        #expect(try await take(world, key.uri, for: nil).status == 403)
        await world.close()
    }

    @Test(
        "an eDiscovery service holds a space, ends its own holds and no officer's; nobody else does either",
        arguments: RollbackWorld.Kind.here)
    func holds(_ kind: RollbackWorld.Kind) async throws {
        let world = try await World.start(kind, Self.consent(#""type": "ediscovery""#))
        let (_, space) = try await world.space()
        func reason() async throws -> String? {
            try await HoldList.standing(world.node.store, world.kms.vault).entries.first?.reason
        }
        func ask(_ client: TestClient, _ method: String, _ reason: String = "m7") async throws -> Int {
            try await client.ask(method, space.uri + "/hold") { $0.member("reason", reason) }.status
        }
        #expect(try await ask(world.alice, "create") == 403)
        #expect(try await reason() == nil)
        #expect(try await ask(world.service, "create", "") == 400)
        #expect(try await ask(world.service, "create") == 201)
        #expect(try await ask(world.service, "create", "another") == 201)
        #expect(try await reason() == "eDiscovery: m7", "the first one stands")
        #expect(try await ask(world.alice, "delete") == 403)
        #expect(try await ask(world.service, "delete") == 200)
        #expect(try await reason() == nil)
        let id = String(space.uri.split(separator: "/").last ?? "")
        try await HoldList.change([id], reason: "a judge", store: world.node.store, vault: world.kms.vault)
        #expect(try await ask(world.service, "create") == 201)
        #expect(try await ask(world.service, "delete") == 200)
        #expect(try await reason() == "a judge")
        #expect(
            try await world.service.ask("create", "/resources/\(UUIDText.random())/hold") { $0.member("reason", "r") }
                .status == 404)
        await world.close()
    }

    @Test("an eDiscovery service has a digest signed by the KMS's static key, and says so to nobody else")
    func signature()
        async throws
    {
        let world = try await World.start(.sqlite, Self.consent(#""type": "ediscovery""#))
        let digest = Base64URL.encode([UInt8](repeating: 9, count: 32))
        let answer = try await world.service.ask("create", "/signatures") { $0.member("digest", digest) }
        guard case .signature(let jws) = answer.body else { throw TestClient.Refused(answer: answer) }
        let signed = try JWS.verify(jws, allowing: [.ps256]) { _ in world.kms.staticKey.publicKey }
        #expect(signed.header.typ == KeyManagement.exportSignatureType)
        let payload = try JSONDocument(signed.payload).root
        #expect(payload["digest"]?.string == digest && payload["time"]?.string == world.kms.clock.now.iso8601)
        #expect(payload["service"]?.string == Self.indexer)
        for bad in ["AAAA", "", "?"] {
            let refused = try await world.service.ask("create", "/signatures") { $0.member("digest", bad) }
            #expect(refused.status == 400, "\(bad)")
        }
        #expect(try await world.alice.ask("create", "/signatures") { $0.member("digest", digest) }.status == 403)
        world.kms.inForce.take(try TestPolicy.make(TestPolicy.consent("svc-other"), version: 2))
        #expect(try await world.service.ask("create", "/signatures") { $0.member("digest", digest) }.status == 403)
        await world.close()
    }

    // MARK: Sealing keys

    @Test(
        "a service has one key to seal with, for as long as the policy consents to it",
        arguments: RollbackWorld.Kind.here)
    func sealing(_ kind: RollbackWorld.Kind) async throws {
        let world = try await World.start(kind, Self.consent())
        func key(_ client: TestClient) async throws -> KMSSealingKey {
            let answer = try await client.ask("create", "/sealingKey")
            guard case .sealingKey(let key) = answer.body else { throw TestClient.Refused(answer: answer) }
            return key
        }
        let first = try await key(world.service)
        world.kms.clock.advance(seconds: 5)
        let again = try await key(world.service)
        #expect(again.key.isEqual(to: first.key) && again.createDate == first.createDate)
        #expect(try await world.alice.ask("create", "/sealingKey").status == 403)
        world.kms.inForce.take(try TestPolicy.make(TestPolicy.consent("svc-other"), version: 2))
        let refused = try await world.service.ask("create", "/sealingKey")
        #expect(refused.status == 403 && world.lastRule == "no-consent")
        let other = try await TestClient.open(world.kms, "svc-other", token: ClientTokens.service("svc-other"))
        #expect(try await !key(other).key.isEqual(to: first.key))
        #expect(world.node.kinds.isEmpty)
        await world.close()
    }

    @Test("search keys and sealing keys survive a rotation of the root key", arguments: RollbackWorld.Kind.here)
    func rotation(_ kind: RollbackWorld.Kind) async throws {
        let world = try await World.start(kind, Self.consent())
        let (_, space) = try await world.space()
        let key = try await world.create(space.uri)
        guard case .sealingKey(let sealing) = try await world.service.ask("create", "/sealingKey").body else {
            Issue.record("no sealing key")
            return
        }
        let now = world.kms.clock.now
        let rotation = RootKeyRotation(store: world.node.store, ring: world.kms.vault.ring)
        _ = try await rotation.generate(now: now)
        try await rotation.beat(node: "a", now: now)
        _ = try await rotation.promote(now: now)
        _ = try await Resealer(store: world.node.store, ring: world.kms.vault.ring).run()
        #expect(try await rotation.retire(now: now) != nil)
        try await world.node.detector.verify()
        let scan = try await world.node.detector.scan(now: now)
        #expect(scan.adds && scan.brokenCount == 0, "a scan opens every row, those of the search index as well")
        #expect(try await world.all(space.uri)[0].key.isEqual(to: key.key))
        guard case .sealingKey(let after) = try await world.service.ask("create", "/sealingKey").body else {
            Issue.record("no sealing key")
            return
        }
        #expect(after.key.isEqual(to: sealing.key))
        await world.close()
    }
}
