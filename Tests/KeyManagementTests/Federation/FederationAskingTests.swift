import KMSProtocol
import KeyStore
import SecretMemory
import Testing
import WireText

@testable import KeyManagement

/// Bob at B reads what A holds: the asking side.
@Suite("Federation: asking")
struct FederationAskingTests {
    @Test("Bob reads a key, a space, its keys and his own entry through his own KMS, as A has them")
    func reads() async throws {
        let world = try await FederationWorld.make()
        let (alice, key, space) = try await world.space(with: [People.bob, People.carol])
        let bob = try await TestClient.open(world.b, People.bob)
        let read = try await bob.ask("retrieve", key.uri)
        #expect(read.status == 200 && read.key?.uri == key.uri && read.key?.resourceURI == space.uri)
        #expect(try #require(read.key).key.isEqual(to: key.key))
        #expect(read.key?.userID == People.alice && read.key?.bindDate != nil)
        #expect(try await bob.ask("retrieve", "\(space.uri)/keys").keys.map(\.uri) == [key.uri])
        let resource = try #require(try await bob.ask("retrieve", space.uri).resource)
        #expect(resource.uri == space.uri && resource.keyURIs == [key.uri])
        let own = try await bob.ask("retrieve", "\(space.uri)/authorizations").authorizations
        #expect(own.map(\.authID) == [People.bob], "who else takes part is not told")
        #expect(resource.authorizationURIs == own.map(\.uri))
        #expect(space.authorizationURIs.count == 3)
        #expect(
            try await bob.ask("retrieve", "\(space.uri)/authorizations?authId=\(People.carol)").authorizations.isEmpty)
        #expect(world.network.openings == 1, "one session for everything")
        // Alice's own view is not changed by any of it.
        #expect(try await alice.ask("retrieve", "\(space.uri)/authorizations").authorizations.count == 3)
    }

    @Test("dates and count of a list reach the partner, and the answer carries the client's own request id")
    func members() async throws {
        let world = try await FederationWorld.make()
        let (alice, _, space) = try await world.space()
        let second = try await alice.createKeys()[0]
        world.clock.advance(seconds: 10)
        _ = try await alice.ask("update", second.uri) { $0.member("resourceUri", space.uri) }
        let bob = try await TestClient.open(world.b, People.bob)
        let one = try await bob.ask("retrieve", "\(space.uri)/keys") { $0.member("count", 1) }
        #expect(one.keys.map(\.uri) == [second.uri])
        let old = try await bob.ask("retrieve", "\(space.uri)/keys") {
            $0.member("boundBefore", world.clock.now.adding(seconds: -5).iso8601)
        }
        #expect(old.keys.count == 1 && old.keys.map(\.uri) != [second.uri])
        let named = try await bob.send(try bob.wrapped("retrieve", second.uri, requestID: "my-own-id"))
        #expect(named.status == 200 && named.requestID == "my-own-id")
        #expect(try await bob.ask("retrieve", "\(space.uri)/keys") { $0.member("count", 0) }.status == 400)
    }

    @Test("nothing of another KMS can be changed through the own one")
    func mutations() async throws {
        let world = try await FederationWorld.make()
        let (_, key, space) = try await world.space()
        let bob = try await TestClient.open(world.b, People.bob)
        let own = try await bob.createKeys()[0]
        let before = world.network.passed.count
        #expect(try await bob.ask("delete", space.uri).status == 403)
        #expect(try await bob.remove(People.alice, from: space.uri).status == 403)
        #expect(try await bob.ask("update", key.uri) { $0.member("resourceUri", space.uri) }.status == 403)
        #expect(try await bob.ask("update", own.uri) { $0.member("resourceUri", space.uri) }.status == 501)
        #expect(try await bob.add([People.dan], to: space.uri).status == 501)
        let mine = try await bob.createSpace([own])
        #expect(try await bob.add([space.uri], to: mine.uri).status == 403, "a foreign KRO as authId")
        #expect(try await bob.ask("retrieve", "kms://kms.a.example.com/ecdhe").status == 404)
        #expect(world.network.passed.count == before, "A was not even asked")
    }

    @Test("a KMS that is no partner, or is not to be asked, is 501")
    func noPartner() async throws {
        let world = try await FederationWorld.make(
            atB: [FederationWorld.partner(FederationWorld.Host.a, weMayAsk: false)])
        let (_, key, _) = try await world.space()
        let bob = try await TestClient.open(world.b, People.bob)
        #expect(try await bob.status(retrieving: key.uri) == 501)
        #expect(try await bob.status(retrieving: "kms://kms.nowhere.example/keys/\(UUIDText.random())") == 501)
        #expect(world.network.passed.isEmpty)
    }

    @Test("A's refusals reach Bob with their reasons; a partner that does not know us refuses")
    func refusals() async throws {
        let world = try await FederationWorld.make()
        let (alice, key, space) = try await world.space()
        let bob = try await TestClient.open(world.b, People.bob)
        #expect(try await bob.status(retrieving: key.uri) == 200)
        _ = try await alice.remove(People.bob, from: space.uri)
        let refused = try await bob.ask("retrieve", key.uri)
        #expect(refused.status == 403)
        #expect(refused.reason?.contains(People.bob) == true && refused.reason?.contains(space.uri) == true)
        #expect(try await bob.status(retrieving: "kms://\(FederationWorld.Host.a)/keys/\(UUIDText.random())") == 404)
        // The session is still there; A's administrator has changed his mind.
        _ = try await world.restartA([])
        #expect(try await bob.status(retrieving: key.uri) == 403)
    }

    @Test("a partner that does not let this KMS ask refuses the first request, with its reason")
    func refusedSession() async throws {
        let world = try await FederationWorld.make(
            atA: [FederationWorld.partner(FederationWorld.Host.b, mayAskUs: false)])
        let (_, key, _) = try await world.space()
        let bob = try await TestClient.open(world.b, People.bob)
        let refused = try await bob.ask("retrieve", key.uri)
        #expect(refused.status == 403 && refused.reason?.contains("no federation") == true)
    }

    @Test("A away is 502 at once, the administrator is told once, and when A is back it works")
    func away() async throws {
        let world = try await FederationWorld.make()
        let (_, key, _) = try await world.space()
        let bob = try await TestClient.open(world.b, People.bob)
        world.network.set(.away)
        for _ in 0..<3 {
            let answer = try await bob.ask("retrieve", key.uri)
            #expect(answer.status == 502 && answer.reason?.contains(FederationWorld.Host.a) == true)
        }
        #expect(world.observer.partners.value == ["\(FederationWorld.Host.a) away"])
        world.network.set(.up)
        #expect(try await bob.status(retrieving: key.uri) == 200)
        #expect(world.observer.partners.value.last == "\(FederationWorld.Host.a) back")
        // What Bob asks of B itself is not touched by it.
        world.network.set(.away)
        #expect(try await bob.createKeys().count == 1)
    }

    @Test("a partner that does not answer in time is left alone for a moment, then asked again")
    func silent() async throws {
        let world = try await FederationWorld.make()
        let (_, key, _) = try await world.space()
        let bob = try await TestClient.open(world.b, People.bob)
        world.network.set(.silent)
        #expect(try await bob.status(retrieving: key.uri) == 502)
        let asked = world.network.passed.count
        world.network.set(.up)
        #expect(try await bob.status(retrieving: key.uri) == 502)
        #expect(world.network.passed.count == asked, "it was not asked")
        world.clock.advance(milliseconds: FederationClient.pause)
        #expect(try await bob.status(retrieving: key.uri) == 200)
    }

    @Test("requests that come together open one session")
    func singleFlight() async throws {
        let world = try await FederationWorld.make()
        let (_, key, _) = try await world.space()
        var clients: [TestClient] = []
        for _ in 0..<8 { clients.append(try await TestClient.open(world.b, People.bob)) }
        try await withThrowingTaskGroup(of: Int.self) { group in
            for client in clients { group.addTask { try await client.status(retrieving: key.uri) } }
            for try await status in group { #expect(status == 200) }
        }
        #expect(world.network.openings == 1)
    }

    @Test("a session whose life is over, or that A has lost, is opened again without anybody noticing")
    func renewal() async throws {
        let world = try await FederationWorld.make()
        let (alice, key, _) = try await world.space()
        let bob = try await TestClient.open(world.b, People.bob)
        #expect(try await bob.status(retrieving: key.uri) == 200)
        let session = try #require(world.network.passed.last.flatMap { try? JWEHeader.kid(of: $0.text) })
        _ = try await world.storeOfA.commit(.init(writes: [.deleteSession(id: String(session.suffix(36)))]))
        _ = try await world.restartA([FederationWorld.partner(FederationWorld.Host.b)])
        #expect(try await bob.status(retrieving: key.uri) == 200)
        #expect(world.network.openings == 2)
        world.clock.advance(seconds: 86_400 - 30)
        let late = try await TestClient.open(world.b, People.bob)
        #expect(try await late.status(retrieving: key.uri) == 200)
        #expect(world.network.openings == 3)
        _ = alice
    }

    @Test("whatever the core makes of A's answers, Bob gets the right key or a 502")
    func hostileCore() async throws {
        let world = try await FederationWorld.make()
        let (alice, key, space) = try await world.space()
        let other = try await alice.createKeys()[0]
        _ = try await alice.ask("update", other.uri) { $0.member("resourceUri", space.uri) }
        let bob = try await TestClient.open(world.b, People.bob)
        #expect(try await bob.status(retrieving: other.uri) == 200)
        let earlier = try #require(world.network.passed.last?.answer)
        let opened = try #require(world.network.passed.first?.answer)
        let forgedReset = try FederationWorld.identity(FederationWorld.Host.c)
        let reset = try KMSStaticKey(
            privateKey: forgedReset.privateKey, chain: forgedReset.chain, host: FederationWorld.Host.c,
            now: forgedReset.validAt
        ).sign(
            KMSReset(reason: "gone", requestID: "r", session: bob.session, time: world.clock.now).json(),
            withChain: true)
        let changes: [(String, @Sendable ([UInt8]) throws -> [UInt8])] = [
            ("an earlier answer", { _ in earlier }), ("the answer to the opening", { _ in opened }),
            ("a reset of another KMS", { _ in reset }), ("nothing", { _ in [] }),
            ("octets", { _ in [0xFF, 0x00] }),
            (
                "a changed octet",
                { text in
                    var text = text
                    text[text.count / 2] ^= 1
                    return text
                }
            ),
        ]
        for (what, change) in changes {
            world.network.set(.changing(change))
            #expect(try await bob.status(retrieving: key.uri) == 502, "\(what)")
        }
        // The request itself, sent back.
        let sent = Shared<[UInt8]>([])
        world.network.set(.changing { _ in sent.value })
        sent.withLock { $0 = world.network.passed.last?.text ?? [] }
        #expect(try await bob.status(retrieving: key.uri) == 502)
        world.network.set(.up)
        let answer = try await bob.ask("retrieve", key.uri)
        #expect(answer.status == 200 && answer.key?.key.isEqual(to: key.key) == true)
        #expect(world.network.openings == 1, "nothing of it cost the session")
    }

    @Test("a clock that was set costs one session, not the service")
    func clockSet() async throws {
        let world = try await FederationWorld.make()
        let (_, key, _) = try await world.space()
        let bob = try await TestClient.open(world.b, People.bob)
        #expect(try await bob.status(retrieving: key.uri) == 200)
        // Forwards and back; the certificates of a test begin too late for a clock that is behind.
        for (openings, skew) in [(2, 240_000), (3, 120_000)] {
            world.skew.withLock { $0 = Int64(skew) }
            #expect(try await bob.status(retrieving: key.uri) == 200)
            #expect(try await bob.status(retrieving: key.uri) == 200)
            #expect(world.network.openings == openings)
        }
        // Too far away for a session: A says so, and Bob is told that A can not be asked.
        world.skew.withLock { $0 = 400_000 }
        let refused = try await bob.ask("retrieve", key.uri)
        #expect(refused.status == 502 && refused.reason?.contains("client.time") == true)
    }

    @Test("an assertion that is too long is refused before it is sent anywhere")
    func longAssertion() async throws {
        let world = try await FederationWorld.make()
        let (_, key, _) = try await world.space()
        let bob = try await TestClient.open(world.b, People.bob)
        let text =
            "{\"requestId\":\"r\",\"method\":\"retrieve\",\"uri\":\"\(key.uri)\",\"client\":{\"clientId\":\"c\","
            + "\"credential\":{\"bearer\":\"\(TestTokens.token(People.bob))\","
            + "\"assertion\":\"\(String(repeating: "a", count: 16_385))\"}}}"
        #expect(try await bob.send(try bob.wrap(text: text)).status == 400)
        #expect(world.network.passed.isEmpty)
    }

    @Test("an old genuine reset does not end a newer session")
    func staleReset() async throws {
        let world = try await FederationWorld.make()
        let (_, key, _) = try await world.space()
        let bob = try await TestClient.open(world.b, People.bob)
        #expect(try await bob.status(retrieving: key.uri) == 200)
        let session = try #require(world.network.passed.last.flatMap { try? JWEHeader.kid(of: $0.text) })
        let old = try world.a.staticKey.sign(
            KMSReset(reason: "gone", requestID: "r", session: session, time: world.clock.now.adding(seconds: -600))
                .json(),
            withChain: true)
        world.network.set(.changing { _ in old })
        #expect(try await bob.status(retrieving: key.uri) == 502)
        world.network.set(.up)
        #expect(try await bob.status(retrieving: key.uri) == 200)
        #expect(world.network.openings == 1)
    }
}
