import KMSProtocol
import KeyManagement
import KeyStore
import MasterKey
import SecretMemory
import Testing
import WireText

/// Rows that somebody else than the KMS changed are never answered from.
@Suite("Sealed records")
struct SealedRecordTests {
    private func space() async throws -> (
        kms: TestKMS, alice: TestClient, bob: TestClient, key: KMSKey, space: KMSResource
    ) {
        let kms = try await TestKMS.start()
        let alice = try await TestClient.open(kms, People.alice)
        let keys = try await alice.createKeys(1)
        let space = try await alice.createSpace(keys)
        return (kms, alice, try await TestClient.open(kms, People.bob), keys[0], space)
    }

    @Test("a key row with another key's seal, or bound to another resource by hand, gives 500 and no key")
    func swappedKey() async throws {
        let (kms, alice, bob, key, _) = try await space()
        let other = try await bob.createKeys(1)[0]
        let bobs = try await bob.createSpace([other])
        let id = String(key.uri.suffix(36))
        var row = try #require(try await kms.store.key(id))
        row.version += 1
        row.resource = String(bobs.uri.suffix(36))
        #expect(try await kms.store.commit(StoreChange(writes: [.updateKey(row)])) == .committed)
        #expect(try await bob.status(retrieving: key.uri) == 500)
        #expect(try await alice.status(retrieving: key.uri) == 500)
    }

    @Test("an authorization copied to another space by the database's owner opens nothing")
    func movedAuthorization() async throws {
        let (kms, _, bob, key, space) = try await space()
        let bobs = try await bob.createSpace([])
        let id = String(bobs.authorizationURIs[0].suffix(36))
        let row = try #require(try await kms.store.authorization(id))
        let target = String(space.uri.suffix(36))
        let aliceRow = try #require(try await kms.store.authorizations(ofResource: target).first)
        // Bob's own entry, put where alice's stands: the lookup of another resource does not find it.
        let forged = AuthorizationRecord(
            id: UUIDText.random(), resource: target, lookup: row.lookup, order: 9, sealed: row.sealed)
        #expect(try await kms.store.commit(StoreChange(writes: [.insertAuthorization(forged)])) == .committed)
        #expect(try await bob.status(retrieving: key.uri) == 403)
        #expect(row.lookup != aliceRow.lookup)
    }

    @Test("equal people show as different lookups on different spaces")
    func blindLookups() async throws {
        let kms = try await TestKMS.start()
        let alice = try await TestClient.open(kms, People.alice)
        var lookups: [[UInt8]] = []
        for _ in 0..<3 {
            let space = try await alice.createSpace([], with: [People.bob])
            lookups += try await kms.store.authorizations(ofResource: String(space.uri.suffix(36))).map(\.lookup)
        }
        #expect(Set(lookups).count == 6)
    }

    @Test("a master key that is not the store's is refused with both fingerprints")
    func foreignMasterKey() async throws {
        let store = MemoryKeyStore()
        let right = try KeyEncryptionKey.create()
        let wrong = try KeyEncryptionKey.create()
        _ = try await TestKMS.start(store: store, kek: right)
        let error = await #expect(throws: (any Error).self) { try await TestKMS.start(store: store, kek: wrong) }
        let text = "\(try #require(error))"
        #expect(text.contains(right.fingerprint) && text.contains(wrong.fingerprint))
    }

    @Test("no row holds a key, a user or a client in clear")
    func nothingInClear() async throws {
        let (kms, alice, _, key, space) = try await space()
        let row = try #require(try await kms.store.key(String(key.uri.suffix(36))))
        let entry = try #require(try await kms.store.authorizations(ofResource: String(space.uri.suffix(36))).first)
        let session = try #require(try await kms.store.session(String(alice.session.suffix(36))))
        for octets in [row.sealed, entry.sealed, session.sealed, entry.lookup, session.user] {
            key.key.withUnsafeBytes { #expect(!octets.holds(Array($0))) }
            alice.key.withUnsafeBytes { #expect(!octets.holds(Array($0))) }
            #expect(!octets.holds(Array(People.alice.utf8)))
        }
    }
}

extension [UInt8] {
    func holds(_ part: [UInt8]) -> Bool { firstRange(of: part) != nil }
}
