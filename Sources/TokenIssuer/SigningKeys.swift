package import Cryptography
package import Diagnostics
import Synchronization
package import WireText

/// The signing keys of a running service: the ring in memory, the same ring in its file, and the clock that rolls it.
///
/// Thread-safe. Every use looks whether the file was replaced (one system call) and whether a roll is due: so a roll by
/// the command `hds-auth roll-keys` counts from the next token on, and no timer decides when keys change. Changes happen
/// under a lock among processes; the file is on the disk before a new key signs.
package final class SigningKeys: Sendable {
    package struct Schedule: Sendable, Equatable {
        /// Seconds between two rolls.
        package var period: Int64
        /// Seconds for which a retired key stays published: the longest life of a token and the leeway of verifiers.
        package var overlap: Int64

        package init(period: Int64, overlap: Int64) {
            self.period = period
            self.overlap = overlap
        }
    }

    private struct State {
        var ring: SigningKeyRing
        var identity: FileAccess.Identity?
        /// When a failure was last told, so that it is not told with every token.
        var toldAt: Timestamp?
    }

    private static let toldEverySeconds: Int64 = 600

    private let path: String
    private let schedule: Schedule
    private let events: (any EventRecorder)?
    private let makeKey: @Sendable () throws -> PrivateKey
    private let state: Mutex<State>

    /// Opens the ring in `folder`, or makes a first one when there is none.
    package init(
        folder: String, schedule: Schedule, now: Timestamp, events: (any EventRecorder)? = nil,
        makeKey: @escaping @Sendable () throws -> PrivateKey = { try PrivateKey.generateP256() }
    ) throws {
        try FileAccess.privateFolder(folder)
        let path = folder + "/signing-keys.pem"
        self.path = path
        self.schedule = schedule
        self.events = events
        self.makeKey = makeKey
        let (ring, identity) = try FileAccess.locked(path + ".lock", kind: SigningKeyFile.kind) {
            if FileAccess.identity(of: path) == nil {
                try SigningKeyFile.write(
                    SigningKeyRing(current: try makeKey(), next: try makeKey(), now: now), to: path)
            }
            return try SigningKeyFile.read(path)
        }
        state = Mutex(State(ring: ring, identity: identity))
    }

    /// The ring as it is now, rolled if that was due. When the file can not be read or written the ring in memory goes on
    /// serving and the error is recorded: logging in is worth more than rolling in time.
    package func ring(at now: Timestamp) -> SigningKeyRing {
        state.withLock { state in
            let identity = FileAccess.identity(of: path)
            do {
                if identity != state.identity {
                    let before = state.ring.current.kid
                    let (ring, read) = try SigningKeyFile.read(path)
                    state = State(ring: ring, identity: read)
                    if ring.current.kid != before { recordRoll(ring) }
                }
                if state.ring.isRollDue(at: now, period: schedule.period) {
                    try roll(&state, now: now, onlyIfDue: true)
                }
            } catch {
                tell(error, &state, now: now)
            }
            return state.ring
        }
    }

    private func tell(_ error: any Error, _ state: inout State, now: Timestamp) {
        if let toldAt = state.toldAt, now < toldAt.adding(seconds: Self.toldEverySeconds) { return }
        state.toldAt = now
        events?.record(
            .standingWarning,
            [
                .detail: "the signing keys stay as they are: \(Loggable(error: error))",
                .fix: "make \(reviewed: path) readable and writable for this service",
            ])
    }

    /// Rolls at once, whether it is due or not.
    package func roll(at now: Timestamp) throws {
        try state.withLock { try roll(&$0, now: now, onlyIfDue: false) }
    }

    /// Puts new keys in the place of all, after the file was in wrong hands: every token issued so far becomes invalid as
    /// soon as verifiers look at the key set again.
    package func replaceAll(at now: Timestamp) throws {
        try state.withLock { state in
            try FileAccess.locked(path + ".lock", kind: SigningKeyFile.kind) {
                try store(
                    SigningKeyRing(current: try makeKey(), next: try makeKey(), now: now), in: &state)
            }
        }
    }

    private func roll(_ state: inout State, now: Timestamp, onlyIfDue: Bool) throws {
        try FileAccess.locked(path + ".lock", kind: SigningKeyFile.kind) {
            // Another process may have been faster.
            var ring = try SigningKeyFile.read(path).ring
            if !onlyIfDue || ring.isRollDue(at: now, period: schedule.period) {
                ring.roll(newKey: try makeKey(), now: now, lifetime: schedule.overlap)
            }
            try store(ring, in: &state)
        }
    }

    private func store(_ ring: SigningKeyRing, in state: inout State) throws {
        try SigningKeyFile.write(ring, to: path)
        state = State(ring: ring, identity: FileAccess.identity(of: path))
        recordRoll(ring)
    }

    private func recordRoll(_ ring: SigningKeyRing) {
        events?.record(.signingKeyRolled, [.fingerprint: Loggable(reviewed: ring.current.kid)])
    }
}
