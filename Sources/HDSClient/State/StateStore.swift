import KMSClient
import Diagnostics
import DomainPolicy
import Glibc
import SecretMemory
import Synchronization
package import WireText

/// The client's state in a folder: sealed under the device key, shared by all `hds` processes of that folder.
///
/// Folder: `device.key`, `state-NAME` (NAME belongs to the device key), and locks. Every change reads what other
/// processes wrote, applies itself, and replaces the file, all under the lock `state.lock`, which is held for
/// milliseconds. So no process undoes another's change. Any thread; a call blocks for one write with two syncs.
package final class StateStore: Sendable {
    package let folder: String
    package let isProtected: Bool
    private let device: DeviceKey
    private let cached: Mutex<Cached>

    static let maximumBytes = 64 << 20

    private struct Cached {
        var state: ClientState
        /// Identity of the file that `state` was read from.
        var version: Version?
        var wiped: Timestamp?
    }

    private struct Version: Equatable {
        var inode: UInt64
        var seconds: Int
        var nanoseconds: Int
        var size: Int
    }

    /// Opens the folder, which is made with a new device key when it is not there.
    package static func open(
        folder: String, now: () -> Timestamp = Timestamp.now, passphrase: () throws -> Passphrase?
    ) throws -> StateStore {
        try SafeFile.makeFolder(folder)
        return try FileLock.hold(folder + "/state.lock") {
            try openLocked(folder: folder, now: now, passphrase: passphrase)
        }
    }

    private static func openLocked(
        folder: String, now: () -> Timestamp, passphrase: () throws -> Passphrase?
    ) throws -> StateStore {
        if var mark = try WipeMark.read(folder), !mark.isErased { try mark.erase(folder) }
        let path = folder + "/device.key"
        let given = try Self.isProtected(path) ? passphrase() : nil
        if given != nil { try UnlockTries.begin(in: folder, now: now()) }
        let device: DeviceKey
        if let found = try DeviceKey.read(path, passphrase: given) {
            device = found
            if given != nil { try UnlockTries.succeed(in: folder) }
        } else {
            guard !SafeFile.names(in: folder).contains(where: isStateName) else {
                throw DiagnosedError(
                    .deviceKey, fault: .store, "the device key of this state is gone", expected: path,
                    hint: "put it back, or run 'hds logout --forget' and log in anew")
            }
            device = try DeviceKey.random()
            try device.write(path, passphrase: nil)
        }
        return try StateStore(folder: folder, device: device)
    }

    private init(folder: String, device: DeviceKey) throws {
        self.folder = folder
        self.device = device
        isProtected = device.isProtected
        cached = Mutex(Cached(state: ClientState(), version: nil))
        // A new device key was made and the step after it interrupted, or the file belongs to another key.
        let states = SafeFile.names(in: folder).filter(Self.isStateName)
        let own = "state-" + device.name
        if !states.isEmpty, !states.contains(own) {
            throw StateSeal.unreadable("it belongs to another device key")
        }
        for other in states where other != own { try SafeFile.remove(folder + "/" + other) }
        try cached.withLock { try reload(&$0) }
    }

    private static func isStateName(_ name: String) -> Bool { name.hasPrefix("state-") && !name.hasSuffix(".new") }

    private static func isProtected(_ path: String) throws -> Bool {
        guard let bytes = try SafeFile.read(path, maximumBytes: 4096) else { return false }
        return String(decoding: bytes, as: UTF8.self).contains("\nscrypt ")
    }

    private var path: String { folder + "/state-" + device.name }

    // MARK: - Reading and changing

    /// The state as the last change of this or another process left it.
    package func current() throws -> ClientState {
        try cached.withLock { cached in
            if cached.version != version() || cached.version == nil { try reload(&cached) }
            return cached.state
        }
    }

    /// Applies one change and makes it durable. The closure may run on a newer state than the caller has seen.
    @discardableResult
    package func update<R: Sendable>(_ body: (inout ClientState) throws -> R) throws -> R {
        try update(checkpoint: { _ in }, body)
    }

    func update<R: Sendable>(
        checkpoint: (SafeFile.Step) throws -> Void, _ body: (inout ClientState) throws -> R
    ) throws -> R {
        try changing { cached in
            var changed = cached.state
            let result = try body(&changed)
            let sealed = try changed.json().withUnsafeBytes { try StateSeal.seal($0, under: device.key) }
            try SafeFile.replace(path, with: sealed, checkpoint: checkpoint)
            cached.state = changed
            cached.version = version()
            return result
        }
    }

    /// Runs `body` on the newest state, alone among all threads and processes.
    private func changing<R: Sendable>(_ body: (inout Cached) throws -> R) throws -> R {
        try cached.withLock { cached in
            try FileLock.hold(folder + "/state.lock") {
                if cached.version != version() || cached.version == nil { try reload(&cached) }
                return try body(&cached)
            }
        }
    }

    private func reload(_ cached: inout Cached) throws {
        if let wiped = cached.wiped { throw WipeMark.error(at: wiped) }
        let before = version()
        guard let sealed = try SafeFile.read(path, maximumBytes: Self.maximumBytes) else {
            if cached.version != nil, let mark = try WipeMark.read(folder) { throw WipeMark.error(at: mark.wiped) }
            guard cached.version == nil else { throw StateSeal.unreadable("another process has replaced its key") }
            return
        }
        let plain = try StateSeal.open(sealed, under: device.key)
        var state = try plain.withUnsafeBytes { (bytes) throws(DiagnosedError) in try ClientState(bytes) }
        // Calls that are under way share the session object and its counter.
        if let known = cached.state.session, known.uri == state.session?.uri { state.session = known }
        cached = Cached(state: state, version: before, wiped: nil)
    }

    private func version() -> Version? {
        var status = stat()
        guard stat(path, &status) == 0 else { return nil }
        return Version(
            inode: UInt64(status.st_ino), seconds: status.st_mtim.tv_sec, nanoseconds: status.st_mtim.tv_nsec,
            size: Int(status.st_size))
    }

    // MARK: - The domain's policy

    /// Refuses what the policy does not allow on this device, and ends a login that nobody used for too long: tokens,
    /// session and keys are forgotten, what is pinned of the domain stays.
    func keepToPolicy(now: Timestamp) throws {
        guard let policy = try current().policy else { return }
        try policy.check(isProtected: isProtected)
        guard policy.idle != nil else { return }
        let isOver = try update { state in
            guard state.tokens != nil, let used = state.lastUsed, policy.isOver(lastUsed: used, now: now) else {
                state.lastUsed = now
                return false
            }
            let account = state.account
            state.forgetLogin()
            state.account = account
            return true
        }
        if isOver { throw TokenSource.notLoggedIn(found: "nobody used this login for as long as your domain allows") }
    }

    /// Only where a policy counts it.
    func noteUse(now: Timestamp) throws {
        let state = try current()
        guard state.policy?.idle != nil, state.tokens != nil else { return }
        try update { $0.lastUsed = now }
    }

    // MARK: - Wiping

    /// Erases everything, here and for every process of this folder; `proof` is told to who ordered it (`WipeMark`).
    func wipe(proof: Redacted<String>, now: Timestamp) throws {
        try cached.withLock { cached in
            try FileLock.hold(folder + "/state.lock") {
                let profile = cached.state.profile
                var mark = WipeMark(wiped: now)
                mark.receipt = profile.map { WipeMark.Receipt(profile: $0, token: proof) }
                try mark.write(folder)
                try mark.erase(folder)
                cached = Cached(state: ClientState(), version: nil, wiped: now)
            }
        }
    }

    // MARK: - Passphrase

    /// Seals the state under a new device key and wraps that key under the passphrase, or under none.
    ///
    /// The new state file is there before the new key takes effect, so an interruption leaves the old pair whole.
    package func change(passphrase: Passphrase?) throws {
        try changing { cached in
            try cached.state.policy?.check(isProtected: passphrase != nil)
            let fresh = try DeviceKey.random()
            let sealed = try cached.state.json().withUnsafeBytes { try StateSeal.seal($0, under: fresh.key) }
            try SafeFile.replace(folder + "/state-" + fresh.name, with: sealed)
            try fresh.write(folder + "/device.key", passphrase: passphrase)
            try SafeFile.remove(path)
        }
    }

    /// Removes the state and its key from a folder, readable or not.
    package static func forget(folder: String) throws {
        for name in SafeFile.names(in: folder)
        where name.hasPrefix("state-") || name.hasPrefix("device.key") || name.hasPrefix("passphrase-tries")
            || name == "wiped"
            || name.hasSuffix(".lock")
        {
            try SafeFile.remove(folder + "/" + name)
        }
    }
}
