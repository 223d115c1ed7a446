import Cryptography
import Diagnostics
import HardwareToken
import KeyStore
import MasterKey
import SecretMemory
import Testing
import WireText

@Suite(
    "A master key in a hardware token (SoftHSM2)", .serialized,
    .enabled(if: SoftToken.isInstalled, "softhsm2 is not installed: apt-get install softhsm2"))
struct TokenKeyTests {
    private let pin = SymmetricKey(copying: Array(SoftToken.pin.utf8))

    @Test("a root key that was wrapped opens again, with a key found anew by its label")
    func roundTrip() throws {
        let token = try SoftToken()
        let key = try TokenKey.create(token.location(), pin: pin)
        let root = try SymmetricKey.random()
        let wrapped = try key.wrap(root, version: 7)
        let again = try TokenKey(token.location(), pin: pin)
        #expect(again.fingerprint == key.fingerprint && key.fingerprint.count == 16)
        #expect(try again.unwrap(wrapped, version: 7).isEqual(to: root))
        #expect(try again.wrap(root, version: 7) != wrapped)
    }

    @Test("neither another version, another key of the same token, nor a changed octet opens it")
    func bound() throws {
        let token = try SoftToken()
        let key = try TokenKey.create(token.location(), pin: pin)
        let other = try TokenKey.create(token.location(key: "other"), pin: pin)
        #expect(key.fingerprint != other.fingerprint)
        let wrapped = try key.wrap(try SymmetricKey.random(), version: 1)
        var errors = [#expect(throws: DiagnosedError.self) { try key.unwrap(wrapped, version: 2) }]
        errors.append(#expect(throws: DiagnosedError.self) { try other.unwrap(wrapped, version: 1) })
        for position in [0, 1, 12, 13, 44, 45, 60] {
            var changed = wrapped
            changed[position] ^= 1
            errors.append(#expect(throws: DiagnosedError.self) { try key.unwrap(changed, version: 1) })
        }
        errors.append(#expect(throws: DiagnosedError.self) { try key.unwrap(Array(wrapped.dropLast()), version: 1) })
        #expect(errors.allSatisfy { $0?.code == .rootKeyDamaged })
    }

    @Test("a store whose root keys are wrapped in the token opens with it, and with no other key")
    func store() async throws {
        let token = try SoftToken()
        let key = try TokenKey.create(token.location(), pin: pin)
        let store = MemoryKeyStore()
        let now = Timestamp(milliseconds: 1_800_000_000_000)
        let ring = try await SealRing.open(kek: key, store: store, now: now)
        let sealed = try ([1, 2, 3] as [UInt8]).withUnsafeBytes {
            try ring.seal($0, kind: .setting, id: "x", version: 1)
        }
        let again = try await SealRing.open(kek: try TokenKey(token.location(), pin: pin), store: store, now: now)
        #expect(throws: Never.self) { _ = try again.open(sealed, kind: .setting, id: "x", version: 1) }
        let file = try KeyEncryptionKey.create()
        let error = await #expect(throws: DiagnosedError.self) {
            try await SealRing.open(kek: file, store: store, now: now)
        }
        #expect(error?.code == .masterKeyMismatch && error?.expected?.contains(key.fingerprint) == true)
    }

    @Test("a wrong PIN is said, with a warning that the token will lock")
    func wrongPIN() throws {
        let token = try SoftToken()
        _ = try TokenKey.create(token.location(), pin: pin)
        let error = #expect(throws: DiagnosedError.self) {
            try TokenKey(token.location(), pin: SymmetricKey(copying: Array("4321".utf8)))
        }
        #expect(error?.code == .tokenLogin && error?.hint?.contains("locks") == true)
        // The right one still works: the failed login left nothing behind.
        #expect(throws: Never.self) { try TokenKey(token.location(), pin: pin) }
    }

    @Test("a token or key that is not there is named with what is")
    func missing() throws {
        let token = try SoftToken()
        let noToken = #expect(throws: DiagnosedError.self) { try TokenKey(token.location(token: "nowhere"), pin: pin) }
        #expect(noToken?.code == .tokenMissing && noToken?.found?.contains(token.label) == true)
        let noKey = #expect(throws: DiagnosedError.self) { try TokenKey(token.location(key: "absent"), pin: pin) }
        #expect(noKey?.code == .tokenKey)
        let noModule = #expect(throws: DiagnosedError.self) {
            try TokenKey(.init(module: "/nowhere/lib.so", token: "t", key: "k"), pin: pin)
        }
        #expect(noModule?.code == .tokenModule && noModule?.fault == .configuration)
        // A library that is there and no PKCS#11 module.
        let wrong = #expect(throws: DiagnosedError.self) {
            try TokenKey(.init(module: "/lib/x86_64-linux-gnu/libm.so.6", token: "t", key: "k"), pin: pin)
        }
        #expect(wrong?.code == .tokenModule)
    }

    @Test("a key is made once: the same label again is refused")
    func twice() throws {
        let token = try SoftToken()
        _ = try TokenKey.create(token.location(), pin: pin)
        let error = #expect(throws: DiagnosedError.self) { try TokenKey.create(token.location(), pin: pin) }
        #expect(error?.code == .tokenKey)
    }

    @Test(
        "a key that may leave the token is not taken",
        .enabled(if: SoftToken.makesExtractableKeys, "opensc is not installed: apt-get install opensc"))
    func extractable() throws {
        let token = try SoftToken()
        try token.makeExtractableKey("loose")
        let error = #expect(throws: DiagnosedError.self) { try TokenKey(token.location(key: "loose"), pin: pin) }
        #expect(error?.code == .tokenKey && error?.found == "extractable")
    }

    @Test("a key that was put back into the token, as from a copy of it, is taken; one of 128 bits is not")
    func imported() throws {
        let token = try SoftToken()
        try token.importKey("copied", bits: 256)
        let key = try TokenKey(token.location(key: "copied"), pin: pin)
        let root = try SymmetricKey.random()
        #expect(try key.unwrap(try key.wrap(root, version: 1), version: 1).isEqual(to: root))
        try token.importKey("short", bits: 128)
        let error = #expect(throws: DiagnosedError.self) { try TokenKey(token.location(key: "short"), pin: pin) }
        #expect(error?.code == .tokenKey && error?.expected == "AES of 256 bits")
    }
}
