import KMSProtocol
import SecretMemory
import Testing
import WireText

@testable import KeyManagement

/// Octets are kept, decisions never (security model, rule 16).
@Suite("Federation: the cache of key octets")
struct FederationCacheTests {
    private func world() async throws -> FederationWorld {
        try await FederationWorld.make(
            atB: [FederationWorld.partner(FederationWorld.Host.a, cacheSeconds: 300)])
    }

    @Test("the second release asks A again, and A need not send the octets")
    func confirmed() async throws {
        let world = try await world()
        let (_, key, _) = try await world.space()
        let bob = try await TestClient.open(world.b, People.bob)
        #expect(try await bob.status(retrieving: key.uri) == 200)
        let whole = try #require(world.network.passed.last?.answer?.count)
        let asked = world.network.passed.count
        let again = try await bob.ask("retrieve", key.uri)
        #expect(again.status == 200 && again.key?.key.isEqual(to: key.key) == true)
        #expect(world.network.passed.count == asked + 1, "A was asked")
        #expect(try #require(world.network.passed.last?.answer?.count) < whole / 2)
    }

    @Test("who was removed, or is another user, gets nothing from the cache")
    func decisions() async throws {
        let world = try await FederationWorld.make(
            atA: [FederationWorld.partner(FederationWorld.Host.b, users: [People.bob, People.dan])],
            atB: [FederationWorld.partner(FederationWorld.Host.a, cacheSeconds: 300)])
        let (alice, key, space) = try await world.space()
        let bob = try await TestClient.open(world.b, People.bob)
        #expect(try await bob.status(retrieving: key.uri) == 200)
        let dan = try await TestClient.open(world.b, People.dan)
        #expect(try await dan.status(retrieving: key.uri) == 403)
        #expect(try await bob.status(retrieving: key.uri) == 200)
        _ = try await alice.remove(People.bob, from: space.uri)
        #expect(try await bob.status(retrieving: key.uri) == 403)
        _ = try await alice.ask("delete", space.uri)
        #expect(try await bob.status(retrieving: key.uri) == 404)
    }

    @Test("without A's answer nothing is released, however fresh the octets are")
    func away() async throws {
        let world = try await world()
        let (_, key, _) = try await world.space()
        let bob = try await TestClient.open(world.b, People.bob)
        #expect(try await bob.status(retrieving: key.uri) == 200)
        world.network.set(.away)
        #expect(try await bob.status(retrieving: key.uri) == 502)
    }

    @Test("after their life the octets are fetched whole; without a life none are kept")
    func life() async throws {
        let world = try await world()
        let (_, key, _) = try await world.space()
        let bob = try await TestClient.open(world.b, People.bob)
        #expect(try await bob.status(retrieving: key.uri) == 200)
        let whole = try #require(world.network.passed.last?.answer?.count)
        world.clock.advance(seconds: 300)
        #expect(try await bob.status(retrieving: key.uri) == 200)
        #expect(try #require(world.network.passed.last?.answer?.count) > whole / 2)
        let without = try await FederationWorld.make()
        let (_, other, _) = try await without.space()
        let same = try await TestClient.open(without.b, People.bob)
        for _ in 0..<2 { #expect(try await same.status(retrieving: other.uri) == 200) }
        #expect(try #require(without.network.passed.last?.answer?.count) > whole / 2)
    }

    private func key(_ number: Int) -> KMSKey {
        KMSKey(
            uri: "kms://kms.a.example.com/keys/\(number)", key: SymmetricKey(copying: [UInt8](repeating: 1, count: 32)),
            userID: "u", clientID: "c", createDate: Timestamp(milliseconds: 0),
            expirationDate: Timestamp(milliseconds: 1))
    }

    @Test("a sweep drops what has ended and nothing else; the number is bounded by dropping what ends first")
    func sweep() {
        var cache = FederationCache(capacity: 3)
        let now = Timestamp(milliseconds: 1_000_000)
        cache.keep(key(1), for: 10, at: now)
        cache.keep(key(2), for: 30, at: now)
        cache.keep(key(3), for: 20, at: now)
        cache.keep(key(9), for: 0, at: now)
        #expect(cache.count == 3)
        cache.keep(key(4), for: 5, at: now)
        #expect(cache.count == 3 && cache.entry(key(1).uri, at: now) == nil)
        cache.sweep(now.adding(seconds: 20))
        #expect(cache.count == 1 && cache.entry(key(2).uri, at: now.adding(seconds: 20)) != nil)
        // Kept again, it lives no longer for it.
        cache.keep(key(2), for: 30, at: now.adding(seconds: 20))
        cache.sweep(now.adding(seconds: 30))
        #expect(cache.count == 0)
        // Given up and kept again it lives its own life, and not the first one's.
        cache.keep(key(5), for: 10, at: now)
        cache.drop(key(5).uri)
        cache.keep(key(5), for: 20, at: now)
        cache.sweep(now.adding(seconds: 10))
        #expect(cache.count == 1)
        for round in 0..<100 {
            cache.drop(key(5).uri)
            cache.keep(key(5), for: 20, at: now.adding(milliseconds: Int64(round)))
        }
        #expect(cache.notes <= 6)
    }
}
