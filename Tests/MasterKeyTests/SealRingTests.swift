import Cryptography
import Diagnostics
import KeyStore
import KeyStoreSQLite
import SecretMemory
import Testing

@testable import MasterKey

@Suite struct SealRingTests {
    private let store = MemoryKeyStore()
    private let kek: KeyEncryptionKey

    init() throws { kek = try KeyEncryptionKey.create() }

    // MARK: Records

    @Test("what is sealed opens as what it was", arguments: [0, 1, 15, 16, 17, 200, 100_000])
    func roundTrip(_ count: Int) async throws {
        let ring = try await SealRing.open(store, kek)
        let text = String(repeating: "k", count: count)
        for kind in RecordKind.allCases {
            let sealed = try ring.seal(text, kind: kind, version: 7)
            #expect(try ring.openText(sealed, kind: kind, version: 7) == text)
        }
    }

    @Test("a seal shows nothing of its content and is never the same twice")
    func confidential() async throws {
        let ring = try await SealRing.open(store, kek)
        let secret = "the content key of a space, in the clear"
        var seals: Set<[UInt8]> = []
        for _ in 0..<100 {
            let sealed = try ring.seal(secret)
            #expect(sealed.count == secret.utf8.count + 33)
            for start in 0..<secret.utf8.count - 4 {
                let piece = Array(secret.utf8)[start..<start + 4]
                #expect(sealed.firstRange(of: piece) == nil)
            }
            seals.insert(sealed)
        }
        #expect(seals.count == 100)
        #expect(Set(seals.map { $0[5..<17] }).count == 100, "a nonce was used twice")
    }

    @Test("a changed bit anywhere is noticed")
    func integrity() async throws {
        let ring = try await SealRing.open(store, kek)
        let sealed = try ring.seal("0123456789")
        for octet in sealed.indices {
            for bit in 0..<8 {
                var changed = sealed
                changed[octet] ^= 1 << bit
                let found = await code { _ = try ring.openText(changed) }
                // Octets 1 to 4 name the root key version.
                #expect(found == ((1...4).contains(octet) ? .rootKeyUnknown : .sealBroken), "octet \(octet)")
            }
        }
    }

    @Test("a truncated or lengthened seal is refused")
    func truncated() async throws {
        let ring = try await SealRing.open(store, kek)
        let sealed = try ring.seal("0123456789")
        for count in 0..<sealed.count {
            #expect(await code { _ = try ring.openText(Array(sealed.prefix(count))) } == .sealBroken, "\(count) octets")
        }
        #expect(await code { _ = try ring.openText(sealed + [0]) } == .sealBroken)
    }

    @Test("a record moved to another id, kind or version does not open")
    func moved() async throws {
        let ring = try await SealRing.open(store, kek)
        let sealed = try ring.seal("k", kind: .key, version: 2)
        #expect(try ring.openText(sealed, kind: .key, version: 2) == "k")
        let other = "0b5e4c1a-9a64-4d0e-8a53-3f3f8c2e1d01"
        #expect(await code { _ = try ring.openText(sealed, kind: .key, id: other, version: 2) } == .sealBroken)
        for version: Int64 in [0, 1, 3, -2, .max] {
            #expect(await code { _ = try ring.openText(sealed, kind: .key, version: version) } == .sealBroken)
        }
        for kind in RecordKind.allCases where kind != .key {
            #expect(await code { _ = try ring.openText(sealed, kind: kind, version: 2) } == .sealBroken)
        }
    }

    @Test("kind and id can not be shifted into each other")
    func boundaries() async throws {
        let ring = try await SealRing.open(store, kek)
        // "session" + "-kekX" and "session-kek" + "X" are the same octets without lengths.
        let sealed = try ring.seal("k", kind: .session, id: "-kekX")
        #expect(await code { _ = try ring.openText(sealed, kind: .sessionKEK, id: "X") } == .sealBroken)
    }

    @Test("another key store's records do not open, though both are at version 1")
    func foreignStore() async throws {
        let ring = try await SealRing.open(store, kek)
        let other = try await SealRing.open(MemoryKeyStore(), kek)
        #expect(await code { _ = try other.openText(ring.seal("k")) } == .sealBroken)
    }

    // MARK: Opening the ring

    @Test("an empty store gets version 1; a restart finds the same keys", arguments: [false, true])
    func provisioning(_ onDisk: Bool) async throws {
        let directory = try TemporaryDirectory()
        let path = directory.path("keys.db")
        var store: any KeyStore = onDisk ? try SQLiteKeyStore(path: path) : store
        let ring = try await SealRing.open(store, kek)
        #expect(ring.activeVersion == 1)
        #expect(ring.fingerprint == kek.fingerprint)
        #expect(try await store.rootKeys().map(\.state) == [.active])
        let sealed = try ring.seal("k")
        let lookup = ring.lookup("alice", purpose: "p")
        if onDisk {
            await store.close()
            store = try SQLiteKeyStore(path: path)
        }
        let again = try await SealRing.open(store, kek)
        #expect(try again.openText(sealed) == "k")
        #expect(again.lookup("alice", purpose: "p") == lookup)
        #expect(try await store.rootKeys().count == 1)
        await store.close()
    }

    @Test("nothing that lies in the store is a key in the clear")
    func wrappedOnly() async throws {
        _ = try await SealRing.open(store, kek)
        let record = try #require(try await store.rootKeys().first)
        let setting = try #require(try await store.setting("blind-index-key"))
        let root = try kek.unwrap(#require(record.wraps[kek.holder]), version: 1)
        root.withUnsafeBytes { root in
            #expect(record.wraps.values.allSatisfy { $0.firstRange(of: root[0..<8]) == nil })
            #expect(setting.firstRange(of: root[0..<8]) == nil)
        }
        // The key of blind indexes is sealed as every record is.
        let plain = try RecordSeal.open(
            setting, as: RecordSeal.Identity(kind: .setting, id: "blind-index-key", version: 1), format: .root,
            generation: 1, parent: root)
        #expect(plain.count == 32)
        plain.withUnsafeBytes { plain in #expect(setting.firstRange(of: plain[0..<8]) == nil) }
    }

    @Test("the wrong key-encryption key is refused with the fingerprint wanted and the one found")
    func wrongKEK() async throws {
        _ = try await SealRing.open(store, kek)
        let wrong = try KeyEncryptionKey.create()
        do {
            _ = try await SealRing.open(store, wrong)
            Issue.record("a wrong key-encryption key was taken")
        } catch let error as DiagnosedError {
            #expect(error.code == .masterKeyMismatch)
            #expect(error.fault == .configuration)
            #expect(error.expected?.contains(kek.fingerprint) == true)
            #expect(error.found?.contains(wrong.fingerprint) == true)
        }
        #expect(try await store.rootKeys().count == 1)
    }

    @Test("a store with records and no root key gets no new one")
    func noRootKey() async throws {
        _ = try await store.commit(StoreChange(writes: [.insertResource(ResourceRecord(id: id, sealed: [1]))]))
        #expect(await code { _ = try await SealRing.open(store, kek) } == .rootKeyMissing)
        #expect(try await store.rootKeys().isEmpty)
    }

    @Test("a lost key of blind indexes, or no active version, is a clear refusal")
    func incomplete() async throws {
        let root = try SymmetricKey.random()
        let record = RootKeyRecord(
            version: 1, state: .inert, wraps: [kek.holder: try kek.wrap(root, version: 1)],
            created: start)
        _ = try await store.commit(StoreChange(writes: [.insertRootKey(record)]))
        #expect(await code { _ = try await SealRing.open(store, kek) } == .rootKeyMissing)
        var active = record
        active.state = .active
        _ = try await store.commit(StoreChange(writes: [.updateRootKey(active)]))
        let found = await code { _ = try await SealRing.open(store, kek) }
        #expect(found == .rootKeyMissing)
        #expect(try await store.setting("blind-index-key") == nil)
    }

    @Test("a root key row that was changed, or swapped with another, is refused")
    func damagedRoot() async throws {
        _ = try await SealRing.open(store, kek)
        let record = try #require(try await store.rootKeys().first)
        var changed = record
        changed.wraps[kek.holder]?[20] ^= 1
        _ = try await store.commit(StoreChange(writes: [.updateRootKey(changed)]))
        #expect(await code { _ = try await SealRing.open(store, kek) } == .rootKeyDamaged)
        let second = RootKeyRecord(
            version: 2, state: .retiring, wraps: record.wraps, created: start)
        _ = try await store.commit(StoreChange(writes: [.updateRootKey(record), .insertRootKey(second)]))
        #expect(await code { _ = try await SealRing.open(store, kek) } == .rootKeyDamaged)
    }

    @Test("two nodes that meet on an empty store end with the same keys")
    func race() async throws {
        // The second node provisions between the first one's look and its commit.
        let slow = FaultingKeyStore(store)
        let (store, kek) = (store, kek)
        slow.inject(.delay { _ = try? await SealRing.open(kek: kek, store: store, now: start) }, of: .commit)
        let first = try await SealRing.open(slow, kek)
        let second = try await SealRing.open(store, kek)
        #expect(try second.openText(first.seal("k")) == "k")
        #expect(first.lookup("a", purpose: "p") == second.lookup("a", purpose: "p"))
        #expect(try await store.rootKeys().count == 1)
    }

    @Test("a store that fails while it is provisioned is no provisioned store")
    func failingStore() async throws {
        let failing = FaultingKeyStore(store)
        failing.inject(.fail(DiagnosedError(.storeFull, fault: .store, "injected")), of: .commit)
        #expect(await code { _ = try await SealRing.open(failing, kek) } == .storeFull)
        #expect(try await store.isEmpty())
        // The answer of the commit is lost: the keys are there and are used.
        failing.inject(.loseAnswer(DiagnosedError(.storeFull, fault: .store, "injected")), of: .commit)
        #expect(await code { _ = try await SealRing.open(failing, kek) } == .storeFull)
        #expect(try await SealRing.open(failing, kek).activeVersion == 1)
    }

    @Test("after a rotation old records open, new ones are sealed under the new version, lookups stay")
    func rotated() async throws {
        let before = try await SealRing.open(store, kek)
        let sealed = try before.seal("old")
        let first = try #require(try await store.rootKeys().first)
        var retired = first
        retired.state = .retired
        let second = RootKeyRecord(
            version: 2, state: .active, wraps: [kek.holder: try kek.wrap(SymmetricKey.random(), version: 2)],
            created: start)
        #expect(
            try await store.commit(StoreChange(writes: [.updateRootKey(retired), .insertRootKey(second)])) == .committed
        )
        let after = try await SealRing.open(store, kek)
        #expect(after.activeVersion == 2)
        #expect(after.versions == [1, 2])
        #expect(try after.openText(sealed) == "old")
        let new = try after.seal("new")
        #expect(RecordSeal.generation(of: new, format: .root) == 2)
        #expect(try after.openText(new) == "new")
        #expect(after.lookup("alice", purpose: "p") == before.lookup("alice", purpose: "p"))
        #expect(await code { _ = try before.openText(new) } == .rootKeyUnknown)
        // A record can not be passed off as one of another version of the root key.
        var relabelled = sealed
        relabelled[4] = 2
        #expect(await code { _ = try after.openText(relabelled) } == .sealBroken)
    }

    // MARK: Blind indexes

    @Test("a lookup is the same for the same text, purpose and scope, and for nothing else")
    func lookups() async throws {
        let ring = try await SealRing.open(store, kek)
        let inputs = [
            ("alice", "authorization", ""), ("alice", "session-user", ""), ("bob", "authorization", ""),
            ("alice", "authorization", "space"), ("alice", "authorizationspace", ""), ("", "authorization", "alice"),
            ("", "", ""), ("Alice", "authorization", ""), ("alice ", "authorization", ""),
        ]
        let indexes = inputs.map { ring.lookup($0.0, purpose: $0.1, scope: $0.2) }
        #expect(Set(indexes).count == inputs.count)
        #expect(indexes.allSatisfy { $0.count == 16 })
        #expect(indexes == inputs.map { ring.lookup($0.0, purpose: $0.1, scope: $0.2) })
        let other = try await SealRing.open(MemoryKeyStore(), kek)
        #expect(other.lookup("alice", purpose: "authorization") != indexes[0])
    }
}
