import AuditTrail
import Diagnostics
import Encryption
import FoundationEssentials
import KMSProtocol
import KeyManagement
import KeyStore
import MasterKey
import Synchronization
import Testing
import WireText

/// Every decision stands in the audit trail exactly once, before its answer leaves (security model, rule 26).
@Suite("Decisions in the audit trail")
struct DecisionAuditTests {
    /// A KMS over a trail whose disk can be made full.
    private final class World: Sendable {
        let folder: String
        let kek: KeyEncryptionKey
        let store: any KeyStore
        let key: AttestationKey
        let disk = FullableDisk()

        init(store: any KeyStore = MemoryKeyStore()) throws {
            folder = FileManager.default.temporaryDirectory.path + "/hds-decisions-\(UUIDText.random())"
            kek = try KeyEncryptionKey.create()
            key = try AttestationKey.createP256()
            self.store = store
        }

        deinit { try? FileManager.default.removeItem(atPath: folder) }

        func start(lease: ReleaseLease? = nil) async throws -> TestKMS {
            var configuration = AuditTrailConfiguration(folder: folder, node: "kms-1", key: key)
            configuration.fileSystem = disk
            return try await TestKMS.start(
                store: store, kek: kek, lease: lease, audit: try await AuditTrail.open(configuration))
        }

        /// Decisions in the trail: method, type, rule and status.
        func decisions() throws -> [String] {
            try records().map { "\($0.method ?? "-") \($0.type ?? "-") \($0.rule ?? "-") \($0.status ?? 0)" }
        }
        func records() throws -> [AuditRecord] {
            var query = AuditQuery()
            query.kind = .decision
            return try TrailReader(folder: folder).records(query).map(\.record)
        }
        func verify() throws -> VerificationReport {
            try TrailVerifier(folder: folder, trust: AttestationTrust(keys: [key.publicKey])).verify()
        }
        /// Everything that lies in the folder.
        func text() throws -> String {
            try FileManager.default.contentsOfDirectory(atPath: folder).map { name in
                String(decoding: try Data(contentsOf: URL(filePath: folder + "/" + name)), as: UTF8.self)
            }.joined()
        }
    }

    private final class FullableDisk: TrailFileSystem {
        let isFull = Mutex(false)
        func openSegment(_ path: String) throws(DiagnosedError) -> any AppendFile {
            File(try PosixFileSystem().openSegment(path), self)
        }
        func remove(_ path: String) throws(DiagnosedError) { try PosixFileSystem().remove(path) }
        func synchronizeFolder(_ path: String) throws(DiagnosedError) { try PosixFileSystem().synchronizeFolder(path) }

        private final class File: AppendFile {
            let file: any AppendFile
            let disk: FullableDisk
            init(_ file: any AppendFile, _ disk: FullableDisk) {
                self.file = file
                self.disk = disk
            }
            func append(_ bytes: [UInt8]) throws(DiagnosedError) {
                guard !disk.isFull.withLock({ $0 }) else {
                    throw DiagnosedError("disk-full", fault: .store, "injected: the disk is full")
                }
                try file.append(bytes)
            }
            func synchronize() throws(DiagnosedError) { try file.synchronize() }
            func truncate(to count: Int) throws(DiagnosedError) { try file.truncate(to: count) }
        }
    }

    @Test("each kind of request stands there once with its rule; a replay does not come again; nothing is in clear")
    func once() async throws {
        let world = try World()
        let kms = try await world.start()
        let alice = try await TestClient.open(kms, People.alice)
        let bob = try await TestClient.open(kms, People.bob)
        let create = try alice.wrapped("create", "/keys") { $0.member("count", 1) }
        guard case .keys(let keys) = try await alice.send(create).body else { return }
        let space = try await alice.createSpace(keys)
        #expect(try await alice.status(retrieving: keys[0].uri) == 200)
        #expect(try await bob.status(retrieving: keys[0].uri) == 403)
        for _ in 0..<3 { #expect(try await alice.send(create).status == 201) }
        #expect(try await bob.add([People.bob], to: space.uri).status == 403)
        try await kms.audit?.seal(now: kms.clock.now)
        #expect(
            try world.decisions() == [
                "create EPHEMERAL_KEY_COLLECTION session-opened 201",
                "create EPHEMERAL_KEY_COLLECTION session-opened 201", "create KEY_COLLECTION member 201",
                "create RESOURCE_COLLECTION member 201", "retrieve KEY member 200", "retrieve KEY not-a-member 403",
                "create AUTHORIZATION_COLLECTION not-a-member 403",
            ])
        let records = try world.records()
        #expect(Set(records.map(\.id)).count == records.count)
        #expect(records[4].user == kms.audit?.pseudonym(user: People.alice))
        #expect(records[4].object == kms.audit?.pseudonym(object: keys[0].uri))
        let text = try world.text()
        for clear in [People.alice, People.bob, String(keys[0].uri.suffix(36)), String(space.uri.suffix(36))] {
            #expect(!text.contains(clear), "\(clear)")
        }
        #expect(text.contains("not-a-member"), "the search sees what is there")
        #expect(try world.verify().unsealed == 0)
    }

    @Test(
        "a node that can not keep its records declines where others can answer, and tells the fault where it is alone")
    func blockedAmongOthers() async throws {
        let world = try World()
        let lease = ReleaseLease(clock: { 0 })
        lease.extend(sentAt: 0)
        let kms = try await world.start(lease: lease)
        let alice = try await TestClient.open(kms, People.alice)
        let keys = try await alice.createKeys(2)
        world.disk.isFull.withLock { $0 = true }
        for hasOthers in [true, false, true] {
            lease.noteOthers(hasOthers)
            let own = try P256Agreement.generate()
            for text in [
                try alice.wrapped("retrieve", keys[0].uri),
                try alice.wrapped("create", "/keys") { $0.member("count", 1) },
                try TestClient.opening(kms, People.bob, x: own.publicX, y: own.publicY),
            ] {
                let reply = await kms.handler.reply(to: text, source: "")
                if case .answer = reply { #expect(!hasOthers) } else { #expect(hasOthers) }
            }
        }
        world.disk.isFull.withLock { $0 = false }
        await kms.audit?.probe(now: kms.clock.now)
        #expect(try await alice.status(retrieving: keys[0].uri) == 200)
    }

    @Test("while nothing can be kept no key is released and nothing is changed; when the disk is back, all goes on")
    func blocked() async throws {
        let world = try World()
        let kms = try await world.start()
        let alice = try await TestClient.open(kms, People.alice)
        let keys = try await alice.createKeys(2)
        let space = try await alice.createSpace([keys[0]])
        world.disk.isFull.withLock { $0 = true }
        let refused = try await alice.ask("retrieve", keys[0].uri)
        #expect(refused.status == 500)
        guard case .none = refused.body else {
            Issue.record("a key was released")
            return
        }
        #expect(try await alice.ask("create", "/keys") { $0.member("count", 1) }.status == 500)
        #expect(try await alice.add([People.bob], to: space.uri).status == 500)
        #expect(try await alice.ask("update", "/ping").status == 200, "what releases nothing goes on")
        await #expect(throws: TestClient.Refused.self) { _ = try await TestClient.open(kms, People.bob) }
        world.disk.isFull.withLock { $0 = false }
        await kms.audit?.probe(now: kms.clock.now)
        guard case .authorizations(let list) = try await alice.ask("retrieve", space.uri + "/authorizations").body
        else {
            Issue.record("no list")
            return
        }
        #expect(list.map(\.authID) == [People.alice])
        #expect(try await alice.status(retrieving: keys[0].uri) == 200)
        #expect(try await TestClient.open(kms, People.bob).user == People.bob)
    }

    @Test("while the trail is broken where it goes on no key is released and nothing is changed, until it holds again")
    func distrusted() async throws {
        let world = try World()
        let kms = try await world.start()
        let alice = try await TestClient.open(kms, People.alice)
        let keys = try await alice.createKeys(2)
        let space = try await alice.createSpace([keys[0]])
        kms.audit?.distrust(DiagnosedError(.auditChainBroken, fault: .client, "record 7 was changed"))
        let refused = try await alice.ask("retrieve", keys[0].uri)
        #expect(refused.status == 500)
        guard case .none = refused.body else {
            Issue.record("a key was released")
            return
        }
        #expect(try await alice.add([People.bob], to: space.uri).status == 500)
        await #expect(throws: TestClient.Refused.self) { _ = try await TestClient.open(kms, People.bob) }
        #expect(kms.audit?.blocked?.summary.contains("record 7 was changed") == true)
        kms.audit?.trust()
        #expect(try await alice.status(retrieving: keys[0].uri) == 200)
        guard case .authorizations(let list) = try await alice.ask("retrieve", space.uri + "/authorizations").body
        else {
            Issue.record("no list")
            return
        }
        #expect(list.map(\.authID) == [People.alice], "nothing of what was refused took effect")
    }

    @Test(
        "a change whose record did not reach the trail is added from the ledger, once: at the next start, or at the next seal",
        arguments: [true, false])
    func completed(restart: Bool) async throws {
        let store = FaultingKeyStore(MemoryKeyStore())
        let world = try World(store: store)
        var kms = try await world.start()
        let alice = try await TestClient.open(kms, People.alice)
        let keys = try await alice.createKeys(1)
        try await kms.audit?.seal(now: kms.clock.now)
        // The commit takes effect, but nobody learns it: so it is after a crash behind it.
        store.inject(.loseAnswer(DiagnosedError("lost", fault: .store, "injected")), of: .commit)
        let create = try alice.wrapped("create", "/resources") { $0.member("keyUris", keys.map(\.uri)) }
        #expect(try await alice.send(create).status == 500)
        let made = "create RESOURCE_COLLECTION member 201"
        #expect(try world.decisions().count { $0 == made } == 0)
        if restart {
            try await kms.audit?.trail.close()
            kms = try await world.start()
            #expect(try await kms.audit?.complete() == 1)
        } else {
            try await kms.audit?.seal(now: kms.clock.now)
        }
        #expect(try world.decisions().count { $0 == made } == 1)
        #expect(try await kms.audit?.complete() == 0)
        _ = try world.verify()
    }

    @Test("the first answer is not given again before the trail has its record")
    func replayAfterFailure() async throws {
        let store = FaultingKeyStore(MemoryKeyStore())
        let world = try World(store: store)
        let kms = try await world.start()
        let alice = try await TestClient.open(kms, People.alice)
        store.inject(.loseAnswer(DiagnosedError("lost", fault: .store, "injected")), of: .commit)
        let create = try alice.wrapped("create", "/keys") { $0.member("count", 1) }
        #expect(try await alice.send(create).status == 500)
        world.disk.isFull.withLock { $0 = true }
        #expect(try await alice.send(create).status == 500)
        world.disk.isFull.withLock { $0 = false }
        #expect(try await alice.send(create).status == 201)
        #expect(try world.decisions().count { $0 == "create KEY_COLLECTION member 201" } == 1)
    }

    @Test("many at once, each exactly once, in an intact chain")
    func concurrent() async throws {
        let world = try World()
        let kms = try await world.start()
        let alice = try await TestClient.open(kms, People.alice)
        let bob = try await TestClient.open(kms, People.bob)
        let keys = try await alice.createKeys(1)
        _ = try await alice.createSpace(keys, with: [People.bob])
        try await withThrowingTaskGroup(of: Void.self) { group in
            for client in [alice, bob] {
                for _ in 0..<4 {
                    group.addTask {
                        for _ in 0..<25 {
                            #expect(try await client.status(retrieving: keys[0].uri) == 200)
                            _ = try await client.createKeys(1)
                        }
                    }
                }
            }
            try await group.waitForAll()
        }
        try await kms.audit?.seal(now: kms.clock.now)
        let decisions = try world.decisions()
        #expect(decisions.count { $0 == "retrieve KEY member 200" } == 200)
        #expect(decisions.count { $0 == "create KEY_COLLECTION member 201" } == 201)
        #expect(try world.verify().unsealed == 0)
    }
}
