import ControlSocket
import Diagnostics
import Foundation
import Synchronization
import TestServers
import WireText

/// A handler for tests: says what it is told, fails as it is told, waits until it is released.
final class Actor: ControlHandler {
    struct Mishap: Error { let secret = "not for the client" }
    private struct State {
        var isHeld = false
        var held: [CheckedContinuation<Void, Never>] = []
        var performed: [String] = []
        var peers: [PeerCredentials] = []
        var arrivals: [CheckedContinuation<Void, Never>] = []
        var toldGone = false
    }
    private let state = Mutex(State())

    var performed: [String] { state.withLock { $0.performed } }
    var peers: [PeerCredentials] { state.withLock { $0.peers } }
    /// Whether a progress line found nobody any more.
    var toldGone: Bool { state.withLock { $0.toldGone } }

    func perform(
        _ request: ControlRequest, peer: PeerCredentials, progress: ControlProgress
    ) async throws -> ControlAnswer {
        let arrivals = state.withLock { state in
            state.performed.append(request.command)
            state.peers.append(peer)
            defer { state.arrivals = [] }
            return state.arrivals
        }
        for arrival in arrivals { arrival.resume() }
        switch request.command {
        case "echo":
            return ControlAnswer { json in
                json.name("said")
                try? CanonicalJSON.write(request.arguments, to: &json)
                json.member("signature", ifPresent: request.signature)
                json.member("confirmation", ifPresent: request.confirmation)
            }
        case "steps":
            for step in 1...(request.arguments["count"]?.integer ?? 1) { progress("step \(step)") }
            return ControlAnswer()
        case "big":
            let count = Int(request.arguments["count"]?.integer ?? 0)
            return ControlAnswer { $0.member("text", String(repeating: "x", count: count)) }
        case "hold":
            await withCheckedContinuation { continuation in
                state.withLock { state in
                    if state.isHeld { state.held.append(continuation) } else { continuation.resume() }
                }
            }
            let isThere = progress("still here")
            state.withLock { $0.toldGone = !isThere }
            return ControlAnswer()
        case "refuse":
            throw DiagnosedError("not-now", fault: .store, "no", expected: "yes", found: "no", hint: "ask again")
        case "break": throw Mishap()
        default:
            throw DiagnosedError(.controlUnknownCommand, fault: .client, "there is no such command")
        }
    }

    /// From now on `hold` waits for `release`.
    func hold() { state.withLock { $0.isHeld = true } }

    func release() {
        let held = state.withLock { state in
            state.isHeld = false
            defer { state.held = [] }
            return state.held
        }
        for one in held { one.resume() }
    }

    /// Returns once that many commands have begun.
    func begun(_ count: Int) async {
        while true {
            let isEnough = await withCheckedContinuation { (continuation: CheckedContinuation<Bool, Never>) in
                let isEnough = state.withLock { $0.performed.count >= count }
                continuation.resume(returning: isEnough)
            }
            if isEnough { return }
            await withCheckedContinuation { (continuation: CheckedContinuation<Void, Never>) in
                let isEnough = state.withLock { state in
                    if state.performed.count >= count { return true }
                    state.arrivals.append(continuation)
                    return false
                }
                if isEnough { continuation.resume() }
            }
        }
    }
}

/// A real socket in a folder of its own.
struct Stage {
    let folder = TemporaryFolder()
    let actor = Actor()
    let socket: ControlSocket

    var path: String { Self.path(in: folder) }
    static func path(in folder: TemporaryFolder) -> String { folder.path + "/control.sock" }
    static let identity = ControlSocket.Identity(
        service: "hds-kms", host: "kms.example.com", node: "node-1", version: "1.2.3")

    init(
        access: ControlAccess = ControlAccess(), maximumConnections: Int = 32,
        clock: @escaping @Sendable () -> Int64 = ControlSocket.monotonic
    ) throws {
        socket = try ControlSocket(
            .init(
                path: Self.path(in: folder), identity: Self.identity, access: access,
                maximumConnections: maximumConnections), handler: actor, clock: clock)
    }
}

/// Blocking work on a thread of its own: the pool's threads are needed by whoever answers.
func apart<R: Sendable>(_ work: @escaping @Sendable () throws -> R) async throws -> R {
    try await withCheckedThrowingContinuation { continuation in
        Thread.detachNewThread { continuation.resume(with: Result { try work() }) }
    }
}

func node(_ text: String) throws -> JSONNode { try JSONDocument(text: text).root }
