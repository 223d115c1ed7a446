import KMSProtocol
import KeyStore
import MasterKey
import SecretMemory
import Testing
import WireText

@testable import KeyManagement

/// Bound keys hang on their space's erasable key: which is made with the space, carried over for older ones, and whose
/// end is seen by every node at once.
@Suite("Erasable keys")
struct ErasableKeyTests {
    private let store = MemoryKeyStore()
    private let kek: KeyEncryptionKey
    private let one: TestKMS
    private let two: TestKMS

    init() async throws {
        kek = try KeyEncryptionKey.create()
        let clock = TestClock(Timestamp.now())
        one = try await TestKMS.start(store: store, kek: kek, isShared: true, clock: clock)
        two = try await TestKMS.start(store: store, kek: kek, isShared: true, clock: clock)
    }

    private func on(_ node: TestKMS, _ client: TestClient) -> TestClient {
        TestClient(kms: node, user: client.user, session: client.session, key: client.key, token: client.token)
    }

    private func id(_ uri: String) -> String { String(uri.suffix(36)) }

    /// What the root key alone opens of a key: its first octet, 1 for a content, 2 for another seal.
    private func inner(_ key: String) async throws -> UInt8? {
        let ring = try await SealRing.open(kek: kek, store: store, now: .now())
        let record = try #require(try await store.key(key))
        return try ring.open(record.sealed, kind: .key, id: key, version: record.version).withUnsafeBytes { $0.first }
    }

    @Test("a key is sealed under its space's erasable key when it is bound, whichever way")
    func binding() async throws {
        let alice = try await TestClient.open(one, People.alice)
        let keys = try await alice.createKeys(2)
        #expect(try await inner(id(keys[0].uri)) == 1, "control: unbound keys stand under the root key")
        let space = try await alice.createSpace([keys[0]]).uri
        #expect(try await store.erasableKey(ofResource: id(space)) != nil)
        let bound = try await alice.ask("update", keys[1].uri) { $0.member("resourceUri", space) }
        #expect(bound.status == 200)
        for key in keys {
            #expect(try await inner(id(key.uri)) == 2)
            #expect(try await on(two, alice).status(retrieving: key.uri) == 200)
        }
    }

    @Test("a node that has the erasable key in memory does not open what another one has erased")
    func erasedElsewhere() async throws {
        let alice = try await TestClient.open(one, People.alice)
        let key = try await alice.createKeys(1)[0]
        let space = try await alice.createSpace([key]).uri
        #expect(try await on(two, alice).status(retrieving: key.uri) == 200, "the other node has opened it")
        // Only the small row goes: everything else is as a copy of the big tables has it.
        try await store.dropErasableKey(of: id(space))
        #expect(try await alice.status(retrieving: key.uri) == 404)
        #expect(try await on(two, alice).status(retrieving: key.uri) == 404)
        #expect(try await on(two, alice).ask("retrieve", space + "/keys").status == 200)
    }

    @Test("keys of before are served as they were, and carried over once, in whatever order it is broken off")
    func carryOver() async throws {
        let alice = try await TestClient.open(one, People.alice)
        let keys = try await alice.createKeys(3)
        let space = try await alice.createSpace(Array(keys[..<2])).uri
        let ring = try await SealRing.open(kek: kek, store: store, now: .now())
        try await makeOld(id(space), keys: keys[..<2].map { id($0.uri) }, ring)
        for key in keys[..<2] {
            #expect(try await inner(id(key.uri)) == 1)
            #expect(try await alice.status(retrieving: key.uri) == 200)
        }
        let versions = try await store.keys(ofResource: id(space)).map(\.version)
        let carrying = ErasableCarryOver(store: store, ring: ring)
        #expect(try await !carrying.isDone())
        // Broken off behind the new row.
        #expect(
            try await store.commit(
                StoreChange(writes: [.insertErasableKey(try ring.makeErasableKey(for: id(space)).record)]))
                == .committed)
        var seen: [Resealer.Progress] = []
        #expect(try await carrying.run(progress: { seen.append($0) }) == 2)
        #expect(seen.first?.done == 0 && seen.last?.done == 2 && seen.allSatisfy { $0.total == 3 })
        #expect(try await !carrying.isDone(), "whoever got in between is looked for")
        #expect(try await carrying.run() == 0)
        #expect(try await carrying.isDone())
        #expect(try await carrying.run() == 0)
        #expect(try await store.keys(ofResource: id(space)).map(\.version) == versions)
        for key in keys[..<2] {
            #expect(try await inner(id(key.uri)) == 2)
            #expect(try await on(two, alice).status(retrieving: key.uri) == 200)
        }
        #expect(try await inner(id(keys[2].uri)) == 1)
    }

    @Test("a key bound to a space of before gives that an erasable key in the same transaction")
    func bindingToOld() async throws {
        let alice = try await TestClient.open(one, People.alice)
        let keys = try await alice.createKeys(2)
        let space = try await alice.createSpace([keys[0]]).uri
        let ring = try await SealRing.open(kek: kek, store: store, now: .now())
        try await makeOld(id(space), keys: [id(keys[0].uri)], ring)
        let bound = try await alice.ask("update", keys[1].uri) { $0.member("resourceUri", space) }
        #expect(bound.status == 200)
        #expect(try await store.erasableKey(ofResource: id(space)) != nil)
        #expect(try await inner(id(keys[1].uri)) == 2)
        for key in keys { #expect(try await on(two, alice).status(retrieving: key.uri) == 200) }
    }

    @Test("a rotation of the root key seals both layers' outsides again, and every key opens afterwards")
    func rotation() async throws {
        let alice = try await TestClient.open(one, People.alice)
        let key = try await alice.createKeys(1)[0]
        let space = try await alice.createSpace([key]).uri
        let before = try #require(try await store.erasableKey(ofResource: id(space)))
        let ring = try await SealRing.open(kek: kek, store: store, now: .now())
        let rotation = RootKeyRotation(store: store, ring: ring)
        _ = try await rotation.generate(now: .now(), escrow: [])
        try await rotation.beat(node: "a", now: .now())
        _ = try await rotation.promote(now: .now())
        _ = try await Resealer(store: store, ring: ring).run()
        let after = try #require(try await store.erasableKey(ofResource: id(space)))
        #expect(SealRing.rootVersion(of: before) == 1 && SealRing.rootVersion(of: after) == 2)
        let record = try #require(try await store.key(id(key.uri)))
        #expect(try RecordVault(ring: ring, store: store).content(record).resource == id(space))
    }

    /// As the version before left a space: no erasable key, its keys under the root key alone.
    private func makeOld(_ space: String, keys: [String], _ ring: SealRing) async throws {
        let vault = RecordVault(ring: ring, store: store)
        for key in keys {
            let record = try #require(try await store.key(key))
            let fields = try vault.content(record).encoded()
            let old = try fields.withUnsafeBytes { try ring.seal($0, kind: .key, id: key, version: record.version) }
            let change = StoreChange(writes: [.reseal(.keys, id: key, old: record.sealed, new: old)])
            #expect(try await store.commit(change) == .committed)
        }
        try await store.dropErasableKey(of: space)
    }
}

extension MemoryKeyStore {
    /// The erasable key goes, and the rows of the big tables are put back as they were.
    fileprivate func dropErasableKey(of space: String) async throws {
        let record = try #require(try await resource(space))
        let keys = try await keys(ofResource: space)
        let entries = try await authorizations(ofResource: space, includingRemoved: true)
        var gone = record
        (gone.version, gone.deletedAt) = (record.version + 1, .now())
        let change = StoreChange(
            writes: [
                .updateResource(gone), .eraseResource(id: space, version: gone.version), .insertResource(record),
            ] + keys.map { .insertKey($0) } + entries.map { .insertAuthorization($0) })
        #expect(try await commit(change) == .committed)
    }
}
