import Diagnostics
import LinkProtocol
import NIOCore
import Synchronization
import WebSocketChannel
import WireText

/// One open WebSocket of the link with its state machine: frames in, frames out, in the order decided.
///
/// Any thread. Messages come on the event loop; answers from wherever the service made them. Frames are handed to the
/// socket under the lock, so their order is that of the decisions; the socket sends together what comes together.
final class LinkConversation: Sendable {
    /// Whether what the core had sent of the same sender before it knew of a decline has come: true, it has; false, a core
    /// of an earlier release does not tell.
    typealias Noted = @Sendable (_ isCertain: Bool) -> Void

    /// What the rest of the service is told, outside the lock.
    enum Report: Sendable {
        case opened(LinkWelcome)
        case delivered(id: UInt64, source: String, text: [UInt8])
        case feed(LinkFeedFrame)
    }

    private struct State {
        var half: LinkServiceHalf
        /// What this side closed with, and why.
        var ended: (code: LinkCloseCode, error: DiagnosedError?)?
        var isLost = false
        /// Since welcome.
        var openFor: (@Sendable () -> Duration)?
        /// Callers that wait for their outcome.
        var callers: [UInt64: CheckedContinuation<LinkCallOutcome, Never>] = [:]
        /// Declines of which the core has not taken note.
        var notes: [UInt64: Noted] = [:]
        /// The outcome of notes, for after the lock.
        var noted: [Noted] = []
    }

    let generation: UInt64
    private let socket: any LinkSocket
    private let clock: any Clock<Duration>
    private let proof: WelcomeProof
    private let state: Mutex<State>

    init(
        generation: UInt64, socket: any LinkSocket, clock: any Clock<Duration>, half: LinkServiceHalf,
        proof: WelcomeProof
    ) {
        self.generation = generation
        self.socket = socket
        self.clock = clock
        self.proof = proof
        state = Mutex(State(half: half))
    }

    var isOpen: Bool { state.withLock { $0.half.isOpen } }
    var outstandingCount: Int { state.withLock { $0.half.outstandingCount } }
    /// How long the link has been open, after welcome.
    var openFor: Duration { state.withLock { $0.openFor }?() ?? .zero }
    var ended: (code: LinkCloseCode, error: DiagnosedError?)? { state.withLock { $0.ended } }

    func start() { _ = perform { $0.connected() } }

    func received(_ message: WebSocketMessage) -> [Report] {
        switch message {
        case .text:
            return perform {
                $0.receivedMalformed(
                    DiagnosedError(
                        .linkViolation, fault: .peer, "the core sent a text message", expected: "binary messages"))
            }
        case .binary(let bytes):
            do throws(DiagnosedError) {
                let frame = try LinkFrame(decoding: bytes)
                if case .welcome(let welcome) = frame, let refusal = proof.refusal(of: welcome) {
                    return perform { $0.receivedMalformed(refusal) }
                }
                return perform { $0.received(frame) }
            } catch {
                return perform { $0.receivedMalformed(error) }
            }
        }
    }

    func answer(_ id: UInt64, text: [UInt8]) { _ = perform { $0.answer(id, text: text) } }
    /// `noted` is called once, when the core has taken note or the socket is gone: then nothing comes of it any more.
    func decline(_ id: UInt64, reason: String, noted: Noted?) {
        let isAwaited = state.withLock { state in
            guard let noted, state.half.isToldOfNotes else { return false }
            guard state.ended == nil, !state.isLost else {
                state.noted.append(noted)
                return true
            }
            state.notes[id] = noted
            return true
        }
        _ = perform { $0.decline(id, reason: reason) }
        if !isAwaited { noted?(false) }
    }
    func drop(_ id: UInt64, reason: String) { _ = perform { $0.drop(id, reason: reason) } }
    func subscribe(_ feed: String, from: LinkFeedStart, credit: UInt32) -> [Report] {
        perform { $0.subscribe(feed, from: from, credit: credit) }
    }
    func acknowledge(_ feed: String, cursor: UInt64, credit: UInt32) {
        _ = perform { $0.acknowledge(feed, cursor: cursor, credit: credit) }
    }
    func publish(_ details: String) { _ = perform { $0.publish(details) } }
    func publish(nodeList: String) { _ = perform { $0.publish(nodeList: nodeList) } }
    func drain() { _ = perform { $0.drain() } }
    func stop() { _ = perform { $0.stop() } }
    /// What let this link be is over.
    func end(_ error: DiagnosedError) { _ = perform { $0.receivedMalformed(error) } }
    /// The socket is gone: nobody waits in vain.
    func lost() {
        state.withLock { state in
            state.isLost = true
            state.noted += state.notes.values
            state.notes = [:]
        }
        _ = perform { $0.lost() }
    }

    /// Asks the service of another destination; `begun` is given the call's id before anything can end it.
    func call(
        _ destination: String, text: [UInt8], begun: @Sendable (UInt64) -> Void
    ) async -> LinkCallOutcome {
        await withCheckedContinuation { continuation in
            _ = perform { half, callers in
                let (id, actions) = half.call(destination, text: text)
                callers[id] = continuation
                begun(id)
                return actions
            }
        }
    }

    /// Nobody waits any more; the outcome of the core goes to nobody.
    func abandon(_ call: UInt64) {
        state.withLock { $0.callers.removeValue(forKey: call) }?.resume(returning: .refused(.timeout))
    }

    /// The core did not welcome the service in time.
    func welcomeIsOverdue(_ deadline: Duration) {
        let error = DiagnosedError(
            .linkViolation, fault: .peer, "the core did not answer the hello", expected: "welcome within \(deadline)",
            hint: "check that the address of the core is that of its link")
        _ = perform { $0.isOpen ? [] : $0.receivedMalformed(error) }
    }

    private func perform(_ step: (inout LinkServiceHalf) -> [LinkServiceHalf.Action]) -> [Report] {
        perform { half, _ in step(&half) }
    }

    private func perform(
        _ step: (inout LinkServiceHalf, inout [UInt64: CheckedContinuation<LinkCallOutcome, Never>]) ->
            [LinkServiceHalf.Action]
    ) -> [Report] {
        let (reports, noted) = state.withLock { state in
            var reports: [Report] = []
            for action in step(&state.half, &state.callers) {
                switch action {
                case .send(let frame): send(frame, &state)
                case .opened(let welcome):
                    state.openFor = clock.stopwatch()
                    let seconds = welcome.heartbeatSeconds
                    socket.setHeartbeat(
                        WebSocketHeartbeat(interval: .seconds(seconds), deadline: .seconds(3 * seconds)))
                    reports.append(.opened(welcome))
                case .deliver(let id, let source, let text):
                    reports.append(.delivered(id: id, source: source, text: text))
                case .feed(let frame): reports.append(.feed(frame))
                case .noted(let id): state.notes.removeValue(forKey: id).map { state.noted.append($0) }
                case .called(let id, let outcome): state.callers.removeValue(forKey: id)?.resume(returning: outcome)
                case .close(let code, let error): close(code, error, &state)
                }
            }
            defer { state.noted = [] }
            return (reports, state.noted)
        }
        for noted in noted { noted(true) }
        return reports
    }

    private func send(_ frame: LinkFrame, _ state: inout State) {
        guard state.ended == nil, !socket.enqueue(binary: frame.encode()), socket.isOpen else { return }
        close(
            .internalError,
            DiagnosedError(
                .linkClosed, fault: .peer, "the core takes answers more slowly than they come",
                hint: "look at the load of the core and the network between"), &state)
    }

    private func close(_ code: LinkCloseCode, _ error: DiagnosedError?, _ state: inout State) {
        guard state.ended == nil else { return }
        state.ended = (code, error)
        socket.beginClosing(code: code.rawValue, reason: error?.code.rawValue ?? code.description)
    }
}
