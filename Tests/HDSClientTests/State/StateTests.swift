import Cryptography
import Diagnostics
import Glibc
import KMSClient
import KMSProtocol
import SecretMemory
import TestServers
import Testing
import WireText

@testable import HDSClient

@Suite("The state on the disk")
struct StateTests {
    let folder = TemporaryFolder()

    private func open(_ passphrase: String? = nil) throws -> StateStore {
        try StateStore.open(folder: folder.path) { passphrase.map { Passphrase($0) } }
    }

    private var stateName: String { folder.names.first { $0.hasPrefix("state-") } ?? "none" }

    private let secretKey = [UInt8](0..<32)

    private func key(_ uri: String, bound: Bool = true) -> KMSKey {
        KMSKey(
            uri: uri, key: SymmetricKey(copying: secretKey), userID: "u", clientID: "c", createDate: Timestamp.now(),
            expirationDate: Timestamp.now().adding(seconds: 1000), resourceURI: bound ? "kms://h/resources/1" : nil,
            bindDate: bound ? Timestamp.now() : nil)
    }

    private func fill(_ store: StateStore) throws {
        try store.update { state in
            state.account = Account(id: "user-id-1", email: "alice@example.com", name: "Alice Known-Secret")
            state.tokens = Tokens(
                cloud: Redacted("cloud-token-secret"), kms: Redacted("kms-token-secret"),
                refresh: Redacted("refresh-token-secret"), expires: Timestamp.now().adding(seconds: 3600))
            state.remember(key("kms://h/keys/1"))
            state.unboundKeys = [key("kms://h/keys/2", bound: false)]
            state.devices[3] = .init(id: "d", url: "https://core/devices/d", webSocketURL: "wss://core/events/d")
            state.spaces["space-1"] = .init(
                resource: "kms://h/resources/1", authorizations: ["a", "b"], staleKeys: ["kms://h/keys/0"])
            state.people["p"] = .init(email: "bob@example.com", name: "Bob")
        }
    }

    @Test("What was kept is there after reopening")
    func roundTrip() throws {
        let clock = TestClock()
        let session = try TestKMS(clock: clock).openSession()
        let store = try open()
        try fill(store)
        try store.update { $0.session = session }
        let state = try open().current()
        #expect(state.account == Account(id: "user-id-1", email: "alice@example.com", name: "Alice Known-Secret"))
        #expect(state.tokens?.refresh?.reveal { $0 } == "refresh-token-secret")
        #expect(state.session?.uri == session.uri)
        #expect(state.keys["kms://h/keys/1"]?.key.isEqual(to: SymmetricKey(copying: secretKey)) == true)
        #expect(state.unboundKeys.map(\.uri) == ["kms://h/keys/2"])
        #expect(state.devices[3]?.id == "d")
        #expect(state.spaces["space-1"]?.staleKeys == ["kms://h/keys/0"])
        #expect(state.people["p"]?.email == "bob@example.com")
    }

    @Test("No known secret stands in any file, in no usual form, and all files are one's own")
    func encrypted() throws {
        let store = try open()
        try fill(store)
        let needles = [
            Array("cloud-token-secret".utf8), Array("kms-token-secret".utf8), Array("refresh-token-secret".utf8),
            Array("Known-Secret".utf8), Array("alice@example.com".utf8), secretKey, Array("kms://h/keys".utf8),
        ]
        #expect(folder.names.contains("device.key"))
        for name in folder.names {
            let bytes = try folder.bytes(name)
            for needle in needles {
                for form in [
                    needle, Array(Base64URL.encode(needle).utf8),
                    Array(Base64.encode(needle).prefix { $0 != "=" }.utf8),
                    Array(Hexadecimal.encode(needle).utf8),
                ] {
                    #expect(bytes.firstRange(of: form) == nil, "\(name)")
                }
            }
            #expect(folder.mode(name) == 0o600, "\(name)")
        }
        #expect(!"\(try store.current())".contains("token-secret"))
    }

    @Test("A changed octet anywhere in the state file is found")
    func tampered() throws {
        try fill(open())
        let name = stateName
        let bytes = try folder.bytes(name)
        for index in [0, 5, 12, 30, 44, 50, 60, bytes.count / 2, bytes.count - 17, bytes.count - 1] {
            var changed = bytes
            changed[index] ^= 1
            try folder.write(name, changed)
            #expect(code { _ = try open() } == .stateUnreadable, "octet \(index)")
        }
        for count in [0, 10, 60, bytes.count - 1] {
            try folder.write(name, Array(bytes.prefix(count)))
            #expect(code { _ = try open() } == .stateUnreadable, "\(count) octets")
        }
        try folder.write(name, bytes)
        #expect(try open().current().account != nil)
    }

    @Test("Another device key does not open the state, and its loss is said")
    func otherKey() throws {
        try fill(open())
        let original = try folder.bytes("device.key")
        try DeviceKey.random().write(folder.path + "/device.key", passphrase: nil)
        #expect(code { _ = try open() } == .stateUnreadable)
        unlink(folder.path + "/device.key")
        #expect(code { _ = try open() } == .deviceKey)
        for text in ["", "hds-device-key 1\n", "hds-device-key 1\nplain AAAA\n", "hds-device-key 2\nplain x\n", "x"] {
            try folder.write("device.key", text)
            #expect(code { _ = try open() } == .deviceKey, "\(text)")
        }
        try folder.write("device.key", original)
        #expect(try open().current().account != nil)
    }

    @Test("A device key or state that others may read is refused")
    func permissions() throws {
        try fill(open())
        for name in ["device.key", stateName] {
            chmod(folder.path + "/" + name, 0o640)
            #expect(code { _ = try open() } == .stateFile, "\(name)")
            chmod(folder.path + "/" + name, 0o600)
        }
        #expect(try open().current().account != nil)
        let link = TemporaryFolder()
        symlink(folder.path + "/device.key", link.path + "/device.key")
        #expect(code { _ = try StateStore.open(folder: link.path) { nil } } == .stateFile)
    }

    @Test("A crash between any two steps of a writing leaves the old or the new state whole")
    func crash() throws {
        struct Crash: Error {}
        for step in SafeFile.Step.allCases {
            let store = try open()
            try store.update { $0.people["old"] = .init(email: "old", name: "old") }
            #expect(throws: Crash.self) {
                try store.update(checkpoint: { if $0 == step { throw Crash() } }) {
                    $0.people["old"] = nil
                    $0.people["new"] = .init(email: "new", name: "new")
                }
            }
            let people = try open().current().people
            #expect(people.keys.sorted() == [step == .renamed ? "new" : "old"], "\(step)")
            try open().update { $0.people = [:] }
        }
    }

    @Test("A half-written temporary file of a crash is replaced by the next writing")
    func leftover() throws {
        let store = try open()
        try fill(store)
        try folder.write(stateName + ".new", "half")
        try store.update { $0.people = [:] }
        #expect(try open().current().people.isEmpty)
        #expect(!folder.names.contains(stateName + ".new"))
    }

    @Test("Two processes change the state without undoing each other")
    func twoStores() async throws {
        let stores = [try open(), try open(), try open()]
        await withTaskGroup(of: Void.self) { group in
            for (index, store) in stores.enumerated() {
                group.addTask {
                    for number in 0..<20 {
                        _ = try? store.update { $0.people["\(index)-\(number)"] = .init(email: "e", name: "n") }
                    }
                }
            }
        }
        for store in stores { #expect(try store.current().people.count == 60) }
    }

    @Test("Calls share the session object over a reload, so its counter goes on")
    func sharedSession() throws {
        let clock = TestClock()
        let session = try TestKMS(clock: clock).openSession()
        let (one, two) = (try open(), try open())
        try one.update { $0.session = session }
        let seen = try #require(try two.current().session)
        try one.update { $0.people["x"] = .init(email: "e", name: "n") }
        #expect(try two.current().session === seen)
        #expect(try one.current().session === session)
    }

    @Test("Locks exclude each other, in one process too, and end with their holder")
    func locks() throws {
        let path = folder.path + "/a.lock"
        guard let first = try FileLock.attempt(path) else { throw TestFailure("no lock") }
        #expect(try !isFree(path))
        #expect(code { try FileLock.hold(path, patienceMilliseconds: 5) {} } == .stateLocked)
        first.release()
        let wasFree = try FileLock.hold(path) { try isFree(path) }
        #expect(!wasFree)
        #expect(try isFree(path))
    }

    private func isFree(_ path: String) throws -> Bool {
        guard let lock = try FileLock.attempt(path) else { return false }
        lock.release()
        return true
    }

    @Test("A lock dies with its process")
    func lockOfAnotherProcess() throws {
        let path = folder.path + "/a.lock"
        #expect(system("flock -n '\(path)' true") == 0)
        guard let held = try FileLock.attempt(path) else { throw TestFailure("no lock") }
        #expect(system("flock -n '\(path)' true") != 0)
        held.release()
        #expect(system("flock -n '\(path)' true") == 0)
    }

    @Test("A lock that is let go is free, also while a program that is being started has a copy of its descriptor")
    func copiedLock() throws {
        let path = folder.path + "/a.lock"
        guard let held = try FileLock.attempt(path) else { throw TestFailure("no lock") }
        let copy = try #require(Descriptors.copy(of: path))
        defer { close(copy) }
        #expect(try !isFree(path))
        held.release()
        #expect(try isFree(path))
    }

    @Test("A passphrase protects the state, can be changed and removed, and a wrong one is said")
    func passphrase() throws {
        let store = try open()
        try fill(store)
        let before = stateName
        try store.change(passphrase: Passphrase("correct horse"))
        #expect(stateName != before)
        #expect(!folder.names.contains(before))
        #expect(!(try folder.text("device.key")).contains("plain"))
        #expect(code { _ = try open() } == .passphraseNeeded)
        #expect(code { _ = try open("wrong horse") } == .passphraseWrong)
        let protected = try open("correct horse")
        #expect(protected.isProtected)
        #expect(try protected.current().account != nil)
        // Who had the old key open does not write beside the new state.
        #expect(code { try store.update { $0.people = [:] } } == .stateUnreadable)
        try protected.change(passphrase: nil)
        #expect(try open().current().account != nil)
        #expect(try !open().isProtected)
    }

    @Test("Wrong passphrases in a row make the next one wait, even the right one, and the right one ends the count")
    func wrongTries() throws {
        try fill(open())
        try open().change(passphrase: Passphrase("correct horse"))
        var now = Timestamp(seconds: 1_000_000)
        func attempt(_ text: String) -> DiagnosedError.Code? {
            code { _ = try StateStore.open(folder: folder.path, now: { now }) { Passphrase(text) } }
        }
        for _ in 0..<UnlockTries.free { #expect(attempt("wrong horse") == .passphraseWrong) }
        #expect(attempt("correct horse") == .passphraseTooSoon)
        now = now.adding(milliseconds: 4999)
        #expect(attempt("wrong horse") == .passphraseTooSoon)
        now = now.adding(milliseconds: 1)
        #expect(attempt("wrong horse") == .passphraseWrong)
        now = now.adding(seconds: 9)
        #expect(attempt("correct horse") == .passphraseTooSoon)
        // A clock that is set back neither frees nor locks for ever.
        now = Timestamp(seconds: 500_000)
        #expect(attempt("correct horse") == .passphraseTooSoon)
        now = now.adding(seconds: 10)
        #expect(attempt("correct horse") == nil)
        #expect(!folder.names.contains("passphrase-tries"))
        #expect(attempt("wrong horse") == .passphraseWrong)
        #expect(attempt("correct horse") == nil)
    }

    @Test("A damaged count of wrong passphrases makes wait as long as the longest, and no longer")
    func damagedTries() throws {
        try fill(open())
        try open().change(passphrase: Passphrase("correct horse"))
        try folder.write("passphrase-tries", "nonsense")
        var now = Timestamp(seconds: 1_000_000)
        func attempt() -> DiagnosedError.Code? {
            code { _ = try StateStore.open(folder: folder.path, now: { now }) { Passphrase("correct horse") } }
        }
        #expect(attempt() == .passphraseTooSoon)
        now = now.adding(milliseconds: UnlockTries.longest)
        #expect(attempt() == nil)
    }

    @Test("An interrupted change of the key leaves the old pair whole")
    func interruptedChange() throws {
        try fill(open())
        // The new state is there, the new key is not yet.
        let orphan = try DeviceKey.random()
        let sealed = try ClientState().json().withUnsafeBytes { try StateSeal.seal($0, under: orphan.key) }
        try folder.write("state-" + orphan.name, sealed)
        #expect(try open().current().account != nil)
        #expect(folder.names.filter { $0.hasPrefix("state-") }.count == 1)
    }

    @Test("Forgetting a login keeps what is pinned; forgetting all removes key and state")
    func forget() throws {
        let store = try open()
        try fill(store)
        try store.update { state in
            state.profile = try DomainProfile(
                domain: "example.com", issuer: "https://a.example.com", issuerTrust: ServerTrust(roots: []),
                core: "https://c.example.com", coreTrust: ServerTrust(roots: []), kmsCluster: "kms://k.example.com",
                kmsRoots: [try TestPKI.shared.get().certificate("root")])
        }
        try store.update { $0.forgetLogin() }
        let state = try open().current()
        #expect(state.profile != nil)
        #expect(state.account == nil && state.tokens == nil && state.keys.isEmpty && state.spaces.isEmpty)
        try StateStore.forget(folder: folder.path)
        #expect(folder.names.isEmpty)
    }

    @Test("The number of keys kept is bounded, and the newest stay")
    func bounded() {
        var state = ClientState()
        let now = Timestamp.now()
        for number in 0..<(ClientState.maximumKeys + 10) {
            var key = key("kms://h/keys/\(number)")
            key.bindDate = now.adding(seconds: Int64(number))
            state.keys[key.uri] = key
        }
        state.remember(key("kms://h/keys/last"))
        #expect(state.keys.count == ClientState.maximumKeys)
        #expect(state.keys["kms://h/keys/0"] == nil || state.keys["kms://h/keys/last"] == nil)
        #expect(state.keys["kms://h/keys/\(ClientState.maximumKeys + 9)"] != nil)
    }
}
