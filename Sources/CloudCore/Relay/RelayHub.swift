import Diagnostics
import LinkProtocol
import Synchronization
import WireText

/// The relay with its sockets: runs what `Relay` decides, under one lock, so that frames leave in the order decided.
///
/// Any thread. Nothing in here waits: sockets take frames without blocking, answers go to the event hub or wake the
/// request that waits. `tick` has to be called a few times a second.
final class RelayHub: Sendable {
    /// One link's socket, seen from here.
    protocol Output: Sendable {
        /// False when the socket has ended or does not keep up.
        func enqueue(_ frame: [UInt8]) -> Bool
        func close(_ code: LinkCloseCode, reason: String)
    }

    /// What a caller has to see to after a frame of a link was taken.
    enum Report: Equatable, Sendable {
        case opened(LinkHello)
        case published(destination: String, details: String)
        case closed(LinkCloseCode, DiagnosedError?)
        case raised(destination: String, epoch: Int64)
        case listed(destination: String, String)
        case listRefused(destination: String, DiagnosedError)
        case feed(LinkFeedFrame)
        case called(call: UInt64, destination: String, [UInt8])
    }

    static let forwardMilliseconds: Int64 = 20_000

    private struct Waiter {
        var continuation: CheckedContinuation<[UInt8]?, Never>
        var deadline: Int64
    }

    private struct State {
        var relay: Relay
        var outputs: [Relay.LinkID: any Output] = [:]
        var waiters: [UInt64: Waiter] = [:]
        /// Callers that were cancelled before they began to wait.
        var cancelled: Set<UInt64> = []
        var details: [String: String] = [:]
        var lastLink: Relay.LinkID = 0
        var lastCaller: UInt64 = 0
        var isStopping = false
    }

    private let state: Mutex<State>
    private let clock: @Sendable () -> Int64
    private let wall: @Sendable () -> Timestamp
    private let answered: @Sendable (_ device: String, _ text: [UInt8]) -> Void
    /// Drills only: what a malicious core would do.
    private let hostile: HostileRelay?

    init(
        relay: Relay, hostile: HostileRelay? = nil, clock: @escaping @Sendable () -> Int64,
        wall: @escaping @Sendable () -> Timestamp,
        answered: @escaping @Sendable (_ device: String, _ text: [UInt8]) -> Void
    ) {
        state = Mutex(State(relay: relay))
        self.clock = clock
        self.wall = wall
        self.answered = answered
        self.hostile = hostile
    }

    var counts: Relay.Counts { state.withLock { $0.relay.counts } }
    var pendingCount: Int { state.withLock { $0.relay.pendingCount } }
    func openLinkCount(of destination: String) -> Int { state.withLock { $0.relay.openLinkCount(of: destination) } }

    func setEpoch(_ epoch: Int64, of destination: String) {
        state.withLock { $0.relay.setEpoch(epoch, of: destination) }
    }
    func setNodeList(_ text: String, of destination: String) {
        state.withLock { $0.relay.setNodeList(text, of: destination) }
    }
    func nodes(of destination: String) -> [LinkedNode] { state.withLock { $0.relay.nodes(of: destination) } }
    /// Who was refused for a lower epoch within the last two minutes.
    func superseded(of destination: String) -> Relay.Superseded? {
        let now = clock()
        return state.withLock { $0.relay.superseded[destination] }.flatMap { now - $0.at < 120_000 ? $0 : nil }
    }

    // MARK: details documents

    func details(of destination: String) -> String? { state.withLock { $0.details[destination] } }
    func setDetails(_ document: String, of destination: String) {
        state.withLock { $0.details[destination] = document }
    }

    // MARK: strings of clients

    /// Strings of a device; the answers go to its event socket.
    func submit(_ texts: [[UInt8]], to destination: String, from device: String) throws(Relay.Refusal) {
        let texts = hostile?.pass(texts, to: destination, from: device) ?? texts
        if !texts.isEmpty { try pass(texts, to: destination, from: device) }
    }

    private func pass(_ texts: [[UInt8]], to destination: String, from device: String) throws(Relay.Refusal) {
        let now = clock()
        let result: Result<Void, Relay.Refusal> = state.withLock { state in
            state.relay.submit(texts, to: destination, from: device, origin: .device(device), now: now).map {
                run($0, &state)
            }
        }
        try result.get()
    }

    /// One string that an HTTP request waits for; nil when no answer came in time.
    func forward(_ text: [UInt8], to destination: String, from source: String) async throws -> [UInt8]? {
        if let hostile, hostile.pass([text], to: destination, from: source, holds: true).isEmpty { return nil }
        let caller = state.withLock { state in
            state.lastCaller += 1
            return state.lastCaller
        }
        let answer: Result<[UInt8]?, Relay.Refusal> = await withTaskCancellationHandler {
            var refusal: Relay.Refusal?
            let answer = await withCheckedContinuation { continuation in
                refusal = begin(caller, text, destination, source, continuation)
            }
            if let refusal { return .failure(refusal) }
            return .success(answer)
        } onCancel: {
            state.withLock { state in
                if state.waiters[caller] == nil { state.cancelled.insert(caller) }
                abandon(caller, &state)
            }
        }
        state.withLock { _ = $0.cancelled.remove(caller) }
        return try answer.get()
    }

    private func begin(
        _ caller: UInt64, _ text: [UInt8], _ destination: String, _ source: String,
        _ continuation: CheckedContinuation<[UInt8]?, Never>
    ) -> Relay.Refusal? {
        let now = clock()
        return state.withLock { state in
            guard !state.cancelled.contains(caller), !state.isStopping else {
                continuation.resume(returning: nil)
                return nil
            }
            state.waiters[caller] = Waiter(continuation: continuation, deadline: now + Self.forwardMilliseconds)
            switch state.relay.submit([text], to: destination, from: source, origin: .caller(caller), now: now) {
            case .success(let actions):
                run(actions, &state)
                return nil
            case .failure(let refusal):
                abandon(caller, &state)
                return refusal
            }
        }
    }

    /// No further strings for callers that wait; those that wait may still be answered.
    func stopForwarding() { state.withLock { $0.isStopping = true } }
    var isForwarding: Bool { state.withLock { !$0.isStopping } }
    var waitingCallers: Int { state.withLock { $0.waiters.count } }

    // MARK: links

    func connect(
        _ output: any Output, grant: Relay.Grant, challenge: NodeAdmission.Challenge? = nil
    ) -> Relay.LinkID {
        let now = clock()
        return state.withLock { state in
            state.lastLink += 1
            state.outputs[state.lastLink] = output
            state.relay.connected(state.lastLink, grant: grant, challenge: challenge, now: now)
            return state.lastLink
        }
    }

    func received(_ bytes: [UInt8], from link: Relay.LinkID) -> [Report] {
        let frame: LinkFrame
        do throws(DiagnosedError) {
            frame = try LinkFrame(decoding: bytes)
        } catch {
            return receivedMalformed(error, from: link)
        }
        let now = clock()
        let time = wall()
        return state.withLock { state in
            let actions = state.relay.received(frame, from: link, now: now, wall: time)
            run(actions, &state)
            return reports(actions, of: link, &state)
        }
    }

    /// The epoch that came with a link is on the disk, or (nil) can not be stored.
    func epochStored(_ epoch: Int64?, of destination: String, by link: Relay.LinkID) -> [Report] {
        let now = clock()
        let time = wall()
        return state.withLock { state in
            let actions =
                epoch.map { state.relay.epochStored($0, of: destination, by: link, now: now, wall: time) }
                ?? state.relay.epochNotStored(by: link, now: now)
            run(actions, &state)
            return reports(actions, of: link, &state)
        }
    }

    func receivedMalformed(_ error: DiagnosedError, from link: Relay.LinkID) -> [Report] {
        let now = clock()
        return state.withLock { state in
            let actions = state.relay.receivedMalformed(error, from: link, now: now)
            run(actions, &state)
            return reports(actions, of: link, &state)
        }
    }

    /// The outcome of a call that the core itself answers.
    func settle(_ call: UInt64, of link: Relay.LinkID, _ outcome: LinkCallOutcome) {
        state.withLock { state in run(state.relay.settle(call, of: link, outcome), &state) }
    }

    /// A frame beside what the relay decides; false when the link is gone or does not keep up.
    func send(_ frame: LinkFrame, to link: Relay.LinkID) -> Bool {
        let octets = frame.encode()
        return state.withLock { $0.outputs[link]?.enqueue(octets) ?? false }
    }

    func endSlow(_ link: Relay.LinkID) {
        state.withLock { $0.outputs[link] }?.close(.internalError, reason: "the service does not keep up")
    }

    func disconnect(_ link: Relay.LinkID) {
        let now = clock()
        state.withLock { state in
            state.outputs[link] = nil
            run(state.relay.disconnected(link, now: now), &state)
        }
    }

    // MARK: time

    func tick() {
        for taken in hostile?.due() ?? [] { try? pass([taken.text], to: taken.destination, from: taken.device) }
        let now = clock()
        state.withLock { state in
            run(state.relay.tick(now: now), &state)
            for (caller, waiter) in state.waiters where waiter.deadline <= now { abandon(caller, &state) }
        }
    }

    // MARK: helpers

    /// Nobody waits for this one any more.
    private func abandon(_ caller: UInt64, _ state: inout State) {
        state.relay.cancel(.caller(caller))
        state.waiters.removeValue(forKey: caller)?.continuation.resume(returning: nil)
    }

    private func run(_ actions: [Relay.Action], _ state: inout State) {
        for action in actions {
            switch action {
            case .send(let link, let frame):
                // A socket that does not keep up is closed; its end puts the strings back.
                if state.outputs[link]?.enqueue(frame.encode()) == false {
                    state.outputs[link]?.close(.internalError, reason: "the service does not keep up")
                }
            case .answered(.device(let device), let text): answered(device, text)
            case .answered(.caller(let caller), let text):
                state.waiters.removeValue(forKey: caller)?.continuation.resume(returning: text)
            case .expired(.caller(let caller)):
                state.waiters.removeValue(forKey: caller)?.continuation.resume(returning: nil)
            case .expired(.device): break
            // What concerns a call leaves as a frame of its link.
            case .answered(.link, _), .expired(.link): break
            case .published(let destination, let details): state.details[destination] = details
            case .opened, .raised, .listed, .listRefused, .feed, .called: break
            case .close(let link, let code, let error):
                state.outputs.removeValue(forKey: link)?.close(code, reason: error?.summary ?? code.description)
            }
        }
    }

    private func reports(_ actions: [Relay.Action], of link: Relay.LinkID, _ state: inout State) -> [Report] {
        actions.compactMap { action in
            switch action {
            case .opened(_, let hello): .opened(hello)
            case .published(let destination, let details): .published(destination: destination, details: details)
            case .close(link, let code, let error): .closed(code, error)
            case .raised(let destination, let epoch): .raised(destination: destination, epoch: epoch)
            case .listed(let destination, let text): .listed(destination: destination, text)
            case .listRefused(let destination, let error): .listRefused(destination: destination, error)
            case .feed(let frame): .feed(frame)
            case .called(_, let call, let destination, let text):
                .called(call: call, destination: destination, text)
            default: nil
            }
        }
    }
}
