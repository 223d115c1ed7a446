import Encryption
import KMSProtocol
import KeyManagement
import KeyStore
import MasterKey
import Testing
import WireText

/// Replayed, withheld and redelivered requests (security model, rules 7 and 8).
@Suite("Replay ledger and counters")
struct LedgerTests {
    @Test("the same mutating string again gets its first answer, octet for octet, and has no effect")
    func replay() async throws {
        let kms = try await TestKMS.start()
        let alice = try await TestClient.open(kms, People.alice)
        let bob = try await TestClient.open(kms, People.bob)
        let keys = try await alice.createKeys(1)
        let space = try await alice.createSpace(keys)
        let add = try alice.wrapped("create", "/authorizations") {
            $0.member("resourceUri", space.uri)
            $0.member("userIds", [People.bob])
        }
        let first = await kms.handler.reply(to: add, source: "")
        #expect(try alice.open(first).status == 201)
        #expect(try await bob.status(retrieving: keys[0].uri) == 200)
        #expect(try await alice.remove(People.bob, from: space.uri).status == 200)
        #expect(await kms.handler.reply(to: add, source: "") == first)
        #expect(try await bob.status(retrieving: keys[0].uri) == 403, "the replayed add let bob in again")
        let create = try alice.wrapped("create", "/keys") { $0.member("count", 2) }
        #expect(await kms.handler.reply(to: create, source: "") == kms.handler.reply(to: create, source: ""))
    }

    @Test("a mutating request that was refused stays refused when it comes again after the right was given")
    func refusedReplay() async throws {
        let kms = try await TestKMS.start()
        let alice = try await TestClient.open(kms, People.alice)
        let bob = try await TestClient.open(kms, People.bob)
        let space = try await alice.createSpace([])
        let add = try bob.wrapped("create", "/authorizations") {
            $0.member("resourceUri", space.uri)
            $0.member("userIds", [People.carol])
        }
        #expect(try await bob.send(add).status == 403)
        _ = try await alice.add([People.bob], to: space.uri)
        #expect(try await bob.send(add).status == 403)
    }

    @Test("a replayed handshake gets its first answer and opens no second session")
    func handshakeReplay() async throws {
        var policy = TestKMS.testPolicy()
        policy.sessionsPerUser = 2
        let kms = try await TestKMS.start(policy: policy)
        let own = try P256Agreement.generate()
        let text = try TestClient.opening(kms, People.alice, x: own.publicX, y: own.publicY)
        let first = await kms.handler.reply(to: text, source: "")
        for _ in 0..<5 { #expect(await kms.handler.reply(to: text, source: "") == first) }
        _ = try await TestClient.open(kms, People.alice)
    }

    @Test("the ledger outlives a restart: the string from before gets its first answer")
    func restart() async throws {
        let store = MemoryKeyStore()
        let kek = try KeyEncryptionKey.create()
        let before = try await TestKMS.start(store: store, kek: kek)
        let alice = try await TestClient.open(before, People.alice)
        let create = try alice.wrapped("create", "/keys") { $0.member("count", 1) }
        let first = await before.handler.reply(to: create, source: "")
        let after = try await TestKMS.start(store: store, kek: kek)
        #expect(await after.handler.reply(to: create, source: "") == first)
        #expect(
            try alice.open(await after.handler.reply(to: try alice.wrapped("update", "/ping"), source: "")).status
                == 200)
    }

    @Test("a withheld mutating request is refused once a later one was seen; a redelivered read is answered")
    func withheld() async throws {
        let kms = try await TestKMS.start()
        let alice = try await TestClient.open(kms, People.alice)
        let now = kms.clock.now
        let bob = try await TestClient.open(kms, People.bob)
        let keys = try await alice.createKeys(1)
        let space = try await alice.createSpace(keys)
        let withheld = try alice.wrapped("create", "/authorizations", counter: 5, time: now) {
            $0.member("resourceUri", space.uri)
            $0.member("userIds", [People.bob])
        }
        let read = try alice.wrapped("retrieve", space.uri, counter: 6, time: now)
        #expect(try await alice.send(read).status == 200)
        let refused = try await alice.send(withheld)
        #expect(refused.status == 409 && refused.errorCode == KMSFailure.staleCounterCode)
        #expect(try await bob.status(retrieving: keys[0].uri) == 403)
        #expect(try await alice.send(read).status == 200, "redelivered read")
        #expect(try await alice.ask("retrieve", space.uri).status == 400, "counter missing")
        let later = now.adding(seconds: 61)
        kms.clock.advance(seconds: 61)
        let stale = try await alice.ask("create", "/keys", counter: 7, time: now) { $0.member("count", 1) }
        #expect(stale.status == 409 && stale.errorCode == KMSFailure.staleTimeCode)
        #expect(try await alice.ask("create", "/keys", counter: 8, time: later) { $0.member("count", 1) }.status == 201)
    }

    @Test("a request that was withheld from one node is refused as stale by another one, and has no effect")
    func withheldAcrossNodes() async throws {
        let store = MemoryKeyStore()
        let kek = try KeyEncryptionKey.create()
        let now = Timestamp.now()
        let first = try await TestKMS.start(store: store, kek: kek, now: now)
        let second = try await TestKMS.start(store: store, kek: kek, now: now)
        let alice = try await TestClient.open(first, People.alice)
        let space = try await alice.createSpace([])
        // The second node has seen the session before, with a low counter.
        let early = try alice.wrapped("retrieve", space.uri, counter: 1, time: now)
        #expect(try alice.open(await second.handler.reply(to: early, source: "")).status == 200)
        let withheld = try alice.wrapped("create", "/authorizations", counter: 2, time: now) {
            $0.member("resourceUri", space.uri)
            $0.member("userIds", [People.bob])
        }
        #expect(try await alice.ask("create", "/keys", counter: 3, time: now) { $0.member("count", 1) }.status == 201)
        let reply = await second.handler.reply(to: withheld, source: "")
        let refused = try alice.open(reply)
        #expect(refused.status == 409 && refused.errorCode == KMSFailure.staleCounterCode)
        #expect(await first.handler.reply(to: withheld, source: "") == reply, "the same string, the same answer")
        let list = try await alice.ask("retrieve", space.uri + "/authorizations", counter: 4, time: now)
        guard case .authorizations(let entries) = list.body else { throw TestClient.Refused(answer: list) }
        #expect(entries.map(\.authID) == [People.alice])
    }

    @Test("counters of committed requests survive a restart")
    func counterAfterRestart() async throws {
        let store = MemoryKeyStore()
        let kek = try KeyEncryptionKey.create()
        let now = Timestamp.now()
        let before = try await TestKMS.start(store: store, kek: kek, now: now)
        let alice = try await TestClient.open(before, People.alice)
        #expect(try await alice.ask("create", "/keys", counter: 9, time: now) { $0.member("count", 1) }.status == 201)
        let after = try await TestKMS.start(store: store, kek: kek, now: now)
        let old = try alice.wrapped("create", "/keys", counter: 9, time: now) { $0.member("count", 1) }
        #expect(try alice.open(await after.handler.reply(to: old, source: "")).status == 409)
    }

    @Test("with the policy on, adding somebody again needs a session opened after the removal")
    func reAdding() async throws {
        var policy = TestKMS.testPolicy()
        policy.reAddingNeedsNewerSession = true
        let kms = try await TestKMS.start(policy: policy)
        let alice = try await TestClient.open(kms, People.alice)
        let space = try await alice.createSpace([], with: [People.bob])
        #expect(try await alice.remove(People.bob, from: space.uri).status == 200)
        #expect(try await alice.add([People.bob], to: space.uri).status == 403)
        kms.clock.advance(seconds: 1)
        let fresh = try await TestClient.open(kms, People.alice)
        #expect(try await fresh.add([People.bob], to: space.uri).status == 201)
    }
}
