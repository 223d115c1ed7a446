package import Diagnostics
import Glibc
import Synchronization

/// Carries out commands of the control socket.
package protocol ControlHandler: Sendable {
    /// Runs in a task of its own; a `DiagnosedError` goes to the client as it is, any other error as a defect without
    /// details. It is not cancelled when the client goes away, only when the socket is stopped: what it began it ends.
    func perform(
        _ request: ControlRequest, peer: PeerCredentials, progress: ControlProgress
    ) async throws -> ControlAnswer
}

/// Tells the client how far a long command is.
package struct ControlProgress: Sendable {
    private let tell: @Sendable (String) -> Bool

    package init(_ tell: @escaping @Sendable (String) -> Bool) { self.tell = tell }

    /// One line. False when the client is gone, so that what only reads can stop; lines for a slow client are left out.
    @discardableResult
    package func callAsFunction(_ text: String) -> Bool { tell(text) }
}

/// A unix socket on which the operator's tool talks to a service; the kernel says who talks.
///
/// One thread of its own waits with poll and moves octets; commands run as tasks. Requests and answers are lines of JSON.
/// Who may not use the socket is told so and cut off. `ping` is answered by the socket itself.
/// ```swift
/// let socket = try ControlSocket(.init(path: "/run/hds-kms/control.sock", identity: identity), handler: handler)
/// await socket.stop()
/// ```
package final class ControlSocket: Sendable {
    /// Who answers.
    package struct Identity: Sendable {
        package var service: String
        /// DNS name of the KMS, and the node's name: what officers sign for.
        package var host: String
        package var node: String
        package var version: String

        package init(service: String, host: String, node: String, version: String) {
            self.service = service
            self.host = host
            self.node = node
            self.version = version
        }
    }

    package struct Configuration: Sendable {
        package var path: String
        package var identity: Identity
        package var access: ControlAccess
        package var maximumConnections: Int
        var limits = ControlConversation.Limits()

        package init(
            path: String, identity: Identity, access: ControlAccess = ControlAccess(), maximumConnections: Int = 32
        ) {
            self.path = path
            self.identity = identity
            self.access = access
            self.maximumConnections = maximumConnections
        }
    }

    private let loop: ControlLoop

    /// Listens when it returns.
    ///
    /// - Parameter clock: milliseconds that never go back.
    package init(
        _ configuration: Configuration, handler: any ControlHandler,
        clock: @escaping @Sendable () -> Int64 = ControlSocket.monotonic
    ) throws(DiagnosedError) {
        loop = try ControlLoop(configuration, handler, clock)
        loop.start()
    }

    /// A socket that nobody holds any more has nobody to stop it.
    deinit { loop.askToStop() }

    /// Listens no more, closes what is open, removes the file. Returns when the thread is gone; may be called again.
    package func stop() async { await loop.stop() }

    /// Looks at the clock again: for clocks that do not run by themselves.
    func nudge() { loop.wake() }

    package static func monotonic() -> Int64 {
        var time = timespec()
        clock_gettime(CLOCK_MONOTONIC, &time)
        return Int64(time.tv_sec) * 1000 + Int64(time.tv_nsec) / 1_000_000
    }
}
