import Cryptography
import Diagnostics
import Glibc
import KeyStore
import MasterKey
import NodeEnrolment
import NodeList
import SecretMemory
import TestServers
import Testing
import WireText

/// Root keys on their way to a node with a master key of its own, and away from it.
@Suite("Root keys of new nodes") struct NodeRootKeyTests {
    private static let start = Timestamp(seconds: 1_800_000_000)

    private struct World {
        let store = MemoryKeyStore()
        let kek: KeyEncryptionKey
        let ring: SealRing
        let rotation: RootKeyRotation
        let node: NodeKey
        let own: KeyEncryptionKey

        init() async throws {
            kek = try .create()
            own = try .create()
            node = try NodeKey(.generateP256())
            ring = try await SealRing.open(kek: kek, store: store, now: NodeRootKeyTests.start)
            rotation = RootKeyRotation(store: store, ring: ring)
        }

        /// As a service that starts first: opens with the node's key, and puts its own master key in the place of that.
        func adopt() async throws -> RootKeyRotation {
            let first = try await SealRing.open(kek: node, store: store, now: NodeRootKeyTests.start)
            #expect(
                try await RootKeyRotation(store: store, ring: first).adopt(node, kek: own, name: "kms-2"))
            let ring = try await SealRing.open(kek: own, store: store, now: NodeRootKeyTests.start)
            return RootKeyRotation(store: store, ring: ring)
        }

        func holders() async throws -> [[String]] {
            try await store.rootKeys().map { $0.wraps.keys.map { String($0.prefix { $0 != " " }) }.sorted() }
        }
    }

    @Test("a node opens what was wrapped to its public key, and puts its own master key in the place of that")
    func adopted() async throws {
        let world = try await World()
        let sealed = try Array("a record".utf8).withUnsafeBytes {
            try world.ring.seal($0, kind: .setting, id: "x", version: 1)
        }
        try await world.rotation.wrap(forNode: NodePublicKey(world.node.publicKey))
        #expect(try await world.holders() == [["kek", "node"]])
        let joined = try await world.adopt()
        #expect(try await world.holders() == [["kek", "kek"]])
        #expect(try await joined.journal().ownKEKs == ["kms-2": world.own.fingerprint])
        let opened = try joined.ring.open(sealed, kind: .setting, id: "x", version: 1)
        #expect(opened.withUnsafeBytes { Array($0) } == Array("a record".utf8))
        #expect(try await joined.adopt(world.node, kek: world.own, name: "kms-2") == false)
    }

    @Test("a wrap to a node opens with no other key, and not as another version")
    func bound() async throws {
        let world = try await World()
        let root = try SymmetricKey.random()
        let wrapped = try NodePublicKey(world.node.publicKey).wrap(root, version: 3)
        #expect(try world.node.unwrap(wrapped, version: 3).isEqual(to: root))
        #expect(throws: DiagnosedError.self) { try world.node.unwrap(wrapped, version: 4) }
        #expect(throws: DiagnosedError.self) { try NodeKey(.generateP256()).unwrap(wrapped, version: 3) }
        var changed = wrapped
        changed[80] ^= 1
        #expect(throws: DiagnosedError.self) { try world.node.unwrap(changed, version: 3) }
    }

    @Test("a new version reaches a node with a master key of its own by its public key, and waits for it")
    func rotated() async throws {
        let world = try await World()
        try await world.rotation.wrap(forNode: NodePublicKey(world.node.publicKey))
        let joined = try await world.adopt()
        for (rotation, name) in [(world.rotation, "kms-1"), (joined, "kms-2")] {
            try await rotation.beat(node: name, now: Self.start)
        }
        let refused = await #expect(throws: DiagnosedError.self) {
            try await world.rotation.generate(now: Self.start)
        }
        #expect(refused?.code == .rotationRefused, "without the public key it would lock the node out")
        let nodes: [String: any RootKeyHolder] = ["kms-2": NodePublicKey(world.node.publicKey)]
        #expect(try await world.rotation.generate(now: Self.start, nodes: nodes) == 2)
        try await world.rotation.beat(node: "kms-1", now: Self.start)
        await #expect(throws: DiagnosedError.self) { try await world.rotation.promote(now: Self.start) }
        try await joined.ring.refresh()
        #expect(try await joined.adopt(world.node, kek: world.own, name: "kms-2"))
        try await joined.beat(node: "kms-2", now: Self.start)
        #expect(try await world.rotation.promote(now: Self.start) == 2)
        #expect(try await joined.ring.refresh())
        #expect(joined.ring.activeVersion == 2)
    }

    @Test("what a removed node's keys open goes, and a promotion does not wait for its word")
    func forgotten() async throws {
        let world = try await World()
        try await world.rotation.wrap(forNode: NodePublicKey(world.node.publicKey))
        let joined = try await world.adopt()
        try await world.rotation.wrap(forNode: NodePublicKey(world.node.publicKey))
        for (rotation, name) in [(world.rotation, "kms-1"), (joined, "kms-2")] {
            try await rotation.beat(node: name, now: Self.start)
        }
        #expect(try await world.rotation.forget(node: "kms-2", holder: world.node.holder) == nil)
        #expect(try await world.store.rootKeys().map(\.keks) == [[world.kek.fingerprint]])
        #expect(try await world.holders() == [["kek"]])
        await #expect(throws: DiagnosedError.self) {
            try await SealRing.open(kek: world.own, store: world.store, now: Self.start)
        }
        #expect(try await world.rotation.generate(now: Self.start) == 2)
        try await world.rotation.beat(node: "kms-1", now: Self.start)
        // It still has the database, and says that it lives; the new version does not open to it.
        await #expect(throws: DiagnosedError.self) { try await joined.beat(node: "kms-2", now: Self.start) }
        #expect(try await world.rotation.journal().nodes["kms-2"] != nil)
        await #expect(throws: DiagnosedError.self) { try await world.rotation.promote(now: Self.start) }
        #expect(try await world.rotation.promote(now: Self.start, without: ["kms-2"]) == 2)
    }

    @Test("the master key that a removed node shared with others is named, and stays for them")
    func shared() async throws {
        let world = try await World()
        let second = try await SealRing.open(kek: world.kek, store: world.store, now: Self.start)
        try await world.rotation.beat(node: "kms-1", now: Self.start)
        try await RootKeyRotation(store: world.store, ring: second).beat(node: "kms-2", now: Self.start)
        #expect(
            try await world.rotation.forget(node: "kms-2", holder: world.node.holder) == world.kek.fingerprint)
        #expect(try await world.store.rootKeys().map(\.keks) == [[world.kek.fingerprint]])
        #expect(try await world.rotation.journal().nodes.keys.sorted() == ["kms-1"])
    }

    @Test("a node's key is made once, in a file that only its owner reads, and one that is open to others is refused")
    func file() throws {
        let folder = TemporaryFolder()
        let key = try NodeKey.open(folder: folder.path)
        #expect(try NodeKey.open(folder: folder.path).fingerprint == key.fingerprint)
        let path = folder.path + "/" + NodeKey.file
        #expect(try mode(of: path) == 0o600)
        try setMode(0o640, of: path)
        let error = #expect(throws: DiagnosedError.self) { try NodeKey.open(folder: folder.path) }
        #expect(error?.found?.contains("0640") == true)
    }
}

private func mode(of path: String) throws -> mode_t {
    var status = stat()
    try #require(stat(path, &status) == 0)
    return status.st_mode & 0o7777
}

private func setMode(_ mode: mode_t, of path: String) throws { try #require(chmod(path, mode) == 0) }
