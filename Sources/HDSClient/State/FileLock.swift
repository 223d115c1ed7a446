import Diagnostics
import Glibc

/// An advisory lock on a file (flock), held as long as the value lives and gone with the process, however it ends.
///
/// Locks between processes and between two holders in one process alike. The file itself stays.
struct FileLock: ~Copyable, Sendable {
    private let descriptor: Int32

    /// The lock, or nil while somebody else has it.
    static func attempt(_ path: String) throws -> FileLock? {
        let descriptor = open(path, O_RDWR | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0o600)
        guard descriptor >= 0 else { throw SafeFile.failure("can not open the lock", path) }
        while flock(descriptor, LOCK_EX | LOCK_NB) != 0 {
            if errno == EINTR { continue }
            let isTaken = errno == EWOULDBLOCK
            let failure = SafeFile.failure("can not lock", path)
            close(descriptor)
            guard isTaken else { throw failure }
            return nil
        }
        return FileLock(descriptor: descriptor)
    }

    /// Runs `body` under a lock that everybody holds for milliseconds only.
    static func hold<R>(_ path: String, patienceMilliseconds: Int = 10_000, _ body: () throws -> R) throws -> R {
        for _ in 0..<max(1, patienceMilliseconds / 5) {
            guard let lock = try attempt(path) else {
                usleep(5000)
                continue
            }
            let result = try body()
            lock.release()
            return result
        }
        throw DiagnosedError(
            .stateLocked, fault: .store, "another hds process holds the state",
            expected: "its lock within "
                + "\(patienceMilliseconds / 1000) s", found: path, hint: "is a stopped 'hds' still there? end it")
    }

    /// Waits for a lock that others may hold for a whole exchange over the network.
    static func patient(_ path: String, seconds: Int, sleep: Sleep) async throws -> FileLock {
        for _ in 0..<(seconds * 20) {
            if let lock = try attempt(path) { return lock }
            try await sleep.milliseconds(50)
        }
        throw DiagnosedError(
            .stateLocked, fault: .store, "another hds process is busy with the same step",
            expected: "its end within \(seconds) s", found: path, hint: "is a stopped 'hds' still there? end it")
    }

    /// The end of the lock; leaving the value's scope does the same.
    consuming func release() {}

    private init(descriptor: Int32) { self.descriptor = descriptor }

    deinit {
        // Said, not only closed: a program that is being started has a copy of the descriptor for a moment.
        flock(descriptor, LOCK_UN)
        close(descriptor)
    }
}
