import Cryptography
import Diagnostics
import KeyStore
import MasterKey
import NodeEnrolment
import NodeList
import SecretMemory
import Synchronization
import Testing
import WireText

/// A new machine and a node that is there, with somebody between who can write every row of the database.
@Suite("Joining by a one-time code") struct JoiningTests {
    private static let host = "kms.example.com"
    private static let fingerprint = [UInt8](repeating: 7, count: 32)

    private final class Clock: Sendable {
        private let time = Mutex(Timestamp(seconds: 1_800_000_000))
        var now: Timestamp { time.withLock { $0 } }
        func advance(_ seconds: Int64) { time.withLock { $0 = $0.adding(seconds: seconds) } }
    }

    private struct World {
        let clock = Clock()
        let store = MemoryKeyStore()
        let cluster: MemoryClusterStore
        let register: NodeRegister
        let invitations: Invitations
        let key: NodeKey

        init() async throws {
            let clock = clock
            cluster = MemoryClusterStore(store, now: { clock.now })
            let ring = try await SealRing.open(kek: KeyEncryptionKey.create(), store: store, now: clock.now)
            register = NodeRegister(store: store, ring: ring)
            invitations = Invitations(
                cluster, register: register, ring: ring, host: JoiningTests.host, fingerprint: JoiningTests.fingerprint)
            key = try NodeKey(.generateP256())
        }

        func invite(_ node: String = "kms-4") async throws -> InvitationCode {
            try await invitations.invite(node, now: clock.now).code
        }

        func joining(_ code: InvitationCode, node: String = "kms-4", key: NodeKey? = nil) throws -> Joining {
            try Joining(cluster, node: node, host: JoiningTests.host, key: key ?? self.key, code: code)
        }

        func row() async throws -> NodeInvitation { try #require(try await cluster.invitations().first) }
    }

    private func refused(_ body: () async throws -> Void) async -> Bool {
        do {
            try await body()
            return false
        } catch { return (error as? DiagnosedError)?.code == .joinRefused }
    }

    @Test("a machine with the code gets its key before an officer, and knows the cluster by the same code")
    func right() async throws {
        let world = try await World()
        let code = try await world.invite()
        let typed = InvitationCode(SecretBytes(copying: Array(code.text.lowercased().utf8)))
        let joining = try world.joining(try #require(typed))
        try await joining.ask(now: world.clock.now)
        #expect(try await joining.answer() == nil)
        #expect(
            try await world.invitations.answer(now: world.clock.now)
                == [.admitted(node: "kms-4", world.key.nodeFingerprint)])
        #expect(try await joining.answer() == Self.fingerprint)
        let candidate = try #require(try await world.register.book().candidates["kms-4"])
        #expect(candidate.publicKey == world.key.publicKey && candidate.origin == .code)
        #expect(try await world.invitations.answer(now: world.clock.now).isEmpty)
    }

    @Test("a code counts once: neither the machine that had it nor another uses it again")
    func reused() async throws {
        let world = try await World()
        let code = try await world.invite()
        let joining = try world.joining(code)
        try await joining.ask(now: world.clock.now)
        let other = try NodeKey(.generateP256())
        #expect(await refused { try await world.joining(code, key: other).ask(now: world.clock.now) })
        _ = try await world.invitations.answer(now: world.clock.now)
        #expect(await refused { try await joining.ask(now: world.clock.now) })
        #expect(await refused { try await world.joining(code, key: other).ask(now: world.clock.now) })
        #expect(try await world.row().sealed.isEmpty, "what checked it is gone")
    }

    @Test("a wrong code, one of another node and one of before are refused and cost nothing")
    func wrong() async throws {
        let world = try await World()
        let old = try await world.invite()
        let code = try await world.invite()
        for other in [old, try InvitationCode.create()] {
            #expect(await refused { try await world.joining(other).ask(now: world.clock.now) })
        }
        _ = try await world.invite("kms-5")
        #expect(await refused { try await world.joining(code, node: "kms-5").ask(now: world.clock.now) })
        #expect(await refused { try await world.joining(code, node: "kms-6").ask(now: world.clock.now) })
        try await world.joining(code).ask(now: world.clock.now)
    }

    @Test("a code lives ten minutes, whatever the database's owner makes of its end")
    func expired() async throws {
        let world = try await World()
        let code = try await world.invite()
        world.clock.advance(InvitationCode.lifeSeconds)
        #expect(await refused { try await world.joining(code).ask(now: world.clock.now) })
        world.cluster.tamper("kms-4") { $0.expires = $0.expires.adding(seconds: 3600) }
        let joining = try world.joining(code)
        try await joining.ask(now: world.clock.now)
        guard case .refused? = try await world.invitations.answer(now: world.clock.now).first else {
            Issue.record("its end is bound by the seal")
            return
        }
        #expect(await refused { _ = try await joining.answer() })
        #expect(try await world.register.book().candidates.isEmpty)
    }

    @Test("somebody between who puts another public key into the database gets nothing, and both sides are told")
    func swapped() async throws {
        let attacker = try NodeKey(.generateP256())
        let key = attacker.publicKey.subjectPublicKeyInfo
        let guesses: [@Sendable (inout NodeInvitation) throws -> Void] = [
            { $0.request?.publicKey = key },
            { invitation in
                let guessed = try InvitationCode.create().key(node: "kms-4", host: Self.host)
                invitation.request = .init(publicKey: key, code: guessed.code(ofNewMachine: key))
            },
            { invitation in
                // His own invitation, with a key that he knows: he can not seal.
                let own = try InvitationCode.create().key(node: "kms-4", host: Self.host)
                invitation.sealed = own.withUnsafeBytes { [1, 0, 0, 0, 1] + Array($0) }
                invitation.request = .init(publicKey: key, code: own.code(ofNewMachine: key))
            },
        ]
        for guess in guesses {
            let world = try await World()
            let joining = try world.joining(try await world.invite())
            try await joining.ask(now: world.clock.now)
            world.cluster.tamper("kms-4") { try? guess(&$0) }
            guard case .refused(node: "kms-4", _)? = try await world.invitations.answer(now: world.clock.now).first
            else {
                Issue.record("a swapped key was taken")
                continue
            }
            #expect(try await world.register.book().candidates.isEmpty)
            #expect(await refused { _ = try await joining.answer() })
        }
    }

    @Test("an answer that was not made with the code is none to the new machine")
    func answered() async throws {
        let world = try await World()
        let joining = try world.joining(try await world.invite())
        try await joining.ask(now: world.clock.now)
        let other = try InvitationCode.create().key(node: "kms-4", host: Self.host)
        let forged = other.answer(cluster: Self.fingerprint, to: world.key.publicKey.subjectPublicKeyInfo)
        world.cluster.tamper("kms-4") { $0.answer = forged }
        #expect(await refused { _ = try await joining.answer() })
        world.cluster.tamper("kms-4") { $0.answer = nil }
        _ = try await world.invitations.answer(now: world.clock.now)
        world.cluster.tamper("kms-4") { $0.answer?[0] ^= 1 }
        #expect(await refused { _ = try await joining.answer() })
    }

    @Test("the database holds neither the code nor what the proofs are made with")
    func stored() async throws {
        let world = try await World()
        let code = try await world.invite()
        let row = try await world.row()
        let key = try code.key(node: "kms-4", host: Self.host).withUnsafeBytes { Array($0) }
        func holds(_ octets: [UInt8], in field: [UInt8]) -> Bool {
            field.count >= octets.count
                && (0...(field.count - octets.count)).contains { Array(field[$0..<($0 + octets.count)]) == octets }
        }
        #expect(holds(Array(key[4..<20]), in: key), "the search finds what is there")
        for field in [row.sealed, row.check] {
            #expect(!holds(key, in: field) && !holds(Array(key.prefix(16)), in: field))
            #expect(!holds(Array(code.text.filter { $0 != "-" }.utf8), in: field))
        }
    }

    @Test("a code is read as people type it, and changed characters make another one or none")
    func text() throws {
        let code = try InvitationCode.create()
        let key = try code.key(node: "n", host: "h").check
        #expect(code.text.count == 31)
        func read(_ text: String) throws -> [UInt8]? {
            try InvitationCode(SecretBytes(copying: Array(text.utf8)))?.key(node: "n", host: "h").check
        }
        let typed = code.text.replacing("0", with: "o").replacing("1", with: "l").replacing("-", with: " ")
        #expect(try read(typed.lowercased() + "\n") == key)
        #expect(try read(String(code.text.dropLast())) == nil)
        #expect(try read(code.text + "0") == nil)
        #expect(try read("U" + code.text.dropFirst()) == nil)
        let first = code.text.hasPrefix("A") ? "B" : "A"
        #expect(try read(first + code.text.dropFirst()) != key)
        #expect(try code.key(node: "n", host: "i").check != key)
    }

    @Test("the book of nodes is sealed: what somebody writes there is no candidate")
    func sealed() async throws {
        let world = try await World()
        let candidate = NodeBook.Candidate(publicKey: world.key.publicKey, origin: .running, since: world.clock.now)
        try await world.register.change { $0.candidates["kms-1"] = candidate }
        #expect(try await world.register.book().candidates["kms-1"] == candidate)
        var value = try #require(try await world.store.setting(NodeRegister.setting))
        value[value.count - 1] ^= 1
        _ = try await world.store.commit(
            StoreChange(writes: [.putSetting(name: NodeRegister.setting, value: value)]))
        await #expect(throws: DiagnosedError.self) { try await world.register.book() }
    }
}
