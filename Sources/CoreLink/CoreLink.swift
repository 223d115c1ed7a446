import Cryptography
import Diagnostics
import HTTPClient
package import LinkProtocol
import NIOCore
import ServiceLifecycle
import Synchronization
import TLSChannel
import WebSocketChannel
import WireText

/// The outbound link of a service to the core: connects, greets, hands deliveries to the service and sends its
/// answers, and connects again for as long as the service runs (docs/link-protocol.md).
///
/// The core is not trusted: its certificate is held against pins, and a mismatch is an error that is shown and tried
/// again, never a way around. `handler` is called on the event loop in the order of the deliveries and must not block;
/// `answer` and `decline` may be called from any thread, also within the handler. What a link had not answered when it
/// ended the core delivers anew, so answers to its deliveries are then dropped. `state` is called at each change, one
/// call at a time.
package final class CoreLink: Service {
    struct Shared {
        var conversation: LinkConversation?
        var isStopping = false
        /// An operator has drained this node: no link until he ends that.
        var isHeld = false
        /// The pause before the next attempt.
        var pause: Task<Void, Never>?
        /// With what the link is made.
        var settings: Settings
        /// What takes its place, once the present link has drained.
        var renewal: Renewal?
        /// Who follows feeds, by name.
        var feeds: [String: FeedInbox] = [:]
    }

    /// A configuration with what leads to the core by it.
    struct Settings: Sendable {
        private final class Mark: Sendable {}

        let configuration: CoreLinkConfiguration
        let ground: LinkGround
        private let mark = Mark()

        init(_ configuration: CoreLinkConfiguration, _ ground: LinkGround) {
            self.configuration = configuration
            self.ground = ground
        }

        static func === (left: Settings, right: Settings) -> Bool { left.mark === right.mark }
    }

    /// Time, chance and threads.
    private let ground: LinkGround
    private let handler: @Sendable (LinkDelivery) -> Void
    private let report: @Sendable (LinkState) -> Void
    let shared: Mutex<Shared>
    private let current = Mutex(LinkState(phase: .connecting))
    /// Held while `report` runs, so that states are told one at a time and in order.
    private let reporting = Mutex(())

    package convenience init(
        configuration: CoreLinkConfiguration, handler: @escaping @Sendable (LinkDelivery) -> Void,
        state: @escaping @Sendable (LinkState) -> Void = { _ in }
    ) {
        self.init(configuration: configuration, ground: .network(configuration), handler: handler, state: state)
    }

    package init(
        configuration: CoreLinkConfiguration, ground: LinkGround,
        handler: @escaping @Sendable (LinkDelivery) -> Void, state: @escaping @Sendable (LinkState) -> Void = { _ in }
    ) {
        shared = Mutex(Shared(settings: Settings(configuration, ground)))
        self.ground = ground
        self.handler = handler
        report = state
    }

    var configuration: CoreLinkConfiguration { shared.withLock { $0.settings.configuration } }

    /// The state as it was last reported.
    package var state: LinkState { current.withLock { $0 } }

    /// Sends the answer to a delivery; nothing happens when its link is gone or it is answered already.
    package func answer(_ delivery: LinkDelivery, text: [UInt8]) {
        conversation(delivery.generation)?.answer(delivery.id, text: text)
    }

    /// Tells the core that this delivery will not be answered here.
    /// - Parameter noted: called once. True: all that the core had sent of the same sender before it knew has come to the
    ///   handler, or its link is gone. False: at once, for a core of an earlier release does not tell.
    package func decline(
        _ delivery: LinkDelivery, reason: String, noted: (@Sendable (_ isCertain: Bool) -> Void)? = nil
    ) {
        guard let conversation = conversation(delivery.generation) else {
            noted?(true)
            return
        }
        conversation.decline(delivery.id, reason: reason, noted: noted)
    }

    /// Tells the core that nobody will answer this delivery.
    package func drop(_ delivery: LinkDelivery, reason: String) {
        conversation(delivery.generation)?.drop(delivery.id, reason: reason)
    }

    /// Asks the service of another destination (`kms://HOST`) through the core, and waits for the one outcome: the
    /// core's, or `.timeout` when it tells none within `limit`. Any thread; cancellation ends the wait.
    package func call(_ destination: String, text: [UInt8], within limit: Duration) async -> LinkCallOutcome {
        guard let conversation = shared.withLock({ $0.conversation }) else { return .refused(.notLinked) }
        let waiting = LinkCallID()
        return await withTaskCancellationHandler {
            await withTaskGroup(of: Void.self) { group in
                group.addTask {
                    guard (try? await self.ground.clock.sleep(for: limit)) != nil else { return }
                    waiting.end(conversation)
                }
                let outcome = await conversation.call(destination, text: text) { waiting.begin($0, conversation) }
                group.cancelAll()
                return outcome
            }
        } onCancel: {
            waiting.end(conversation)
        }
    }

    /// The details document changed: the core is given the new one.
    package func publishDetails() {
        shared.withLock { $0.conversation }?.publish(configuration.details())
    }

    /// The list of nodes changed: a core that keeps one is given it.
    package func publishNodeList() {
        guard let list = configuration.proof?.list() else { return }
        shared.withLock { $0.conversation }?.publish(nodeList: list)
    }

    /// Drains and makes no link from now on, or makes links again. Idempotent; may be called before `run`.
    package func setHeld(_ isHeld: Bool) {
        let hasChanged = shared.withLock { shared in
            defer { shared.isHeld = isHeld }
            return shared.isHeld != isHeld
        }
        if hasChanged { reconnect() }
    }

    /// Makes the link anew, for the hello has changed: what is in flight is answered first, what comes meanwhile is declined
    /// for others, a pause ends.
    package func reconnect() {
        let (conversation, pause) = shared.withLock { ($0.isStopping ? nil : $0.conversation, $0.pause) }
        pause?.cancel()
        guard let conversation else { return }
        conversation.drain()
        let (deadline, clock) = (configuration.drainDeadline, ground.clock)
        Task(executorPreference: ground.executor) {
            try? await clock.sleep(for: deadline)
            conversation.stop()
        }
    }

    /// Runs until graceful shutdown or cancellation. A graceful stop takes no new deliveries, waits for the answers
    /// that are due, and closes with 1001.
    package func run() async throws {
        await withTaskGroup(of: Void.self) { group in
            group.addTask { await self.keepConnected() }
            group.addTask {
                guard (try? await gracefulShutdown()) != nil else { return }
                guard let conversation = self.beginStopping() else { return }
                self.change { $0.phase = .draining }
                conversation.drain()
                try? await self.ground.clock.sleep(for: self.configuration.drainDeadline)
                conversation.stop()
                // The connecting task ends when the socket is gone.
                try? await self.ground.clock.sleep(for: .seconds(60))
            }
            await group.next()
            group.cancelAll()
        }
        change { state in
            state.phase = .stopped
            state.connection = nil
            state.connectedSince = nil
            state.tls = nil
            state.retryIn = nil
        }
        let ground = shared.withLock { shared in
            shared.isStopping = true
            return shared.settings.ground
        }
        await ground.close()
        endRenewal(.failure(.linkIsStopping))
    }

    // MARK: - Connecting

    /// Connects again and again until it is cancelled, or this service stops.
    func keepConnected() async {
        var backoff = LinkBackoff(bounds: configuration.backoff)
        var random = ground.random()
        var generation: UInt64 = 0
        while !isStopping && !Task.isCancelled {
            let epoch = configuration.epoch()
            if shared.withLock({ $0.isHeld }) {
                change { state in
                    state.phase = .waiting
                    (state.connection, state.connectedSince, state.tls) = (nil, nil, nil)
                    (state.lastError, state.lastErrorAt) = (.linkDrained, .now())
                }
                await pause(.seconds(60), unless: { self.shared.withLock { !$0.isHeld } })
                continue
            }
            generation += 1
            if !isRenewing {
                change { state in
                    state.phase = .connecting
                    state.retryIn = nil
                }
            }
            let (ending, error) = await attempt(generation, epoch)
            guard !isStopping && !Task.isCancelled else { return }
            if await isRenewed(after: error) { continue }
            // A core that has seen a higher epoch has nothing against this node once it is in that, too.
            let isMended = ending.code == .superseded && configuration.epoch() > epoch
            let delay = isMended ? .zero : backoff.delay(after: ending, using: &random)
            let failures = backoff.failures
            change { state in
                state.phase = .waiting
                state.connection = nil
                state.connectedSince = nil
                state.tls = nil
                state.lastError = error
                state.lastErrorAt = .now()
                state.failures = failures
                state.retryIn = delay
            }
            if delay > .zero { await pause(delay, unless: { self.configuration.epoch() != epoch }) }
        }
    }

    /// Ended early by `reconnect`.
    private func pause(_ delay: Duration, unless isMended: () -> Bool) async {
        let clock = ground.clock
        let pause = Task(executorPreference: ground.executor) { _ = try? await clock.sleep(for: delay) }
        shared.withLock { $0.pause = pause }
        if isMended() { pause.cancel() }
        await withTaskCancellationHandler {
            await pause.value
        } onCancel: {
            pause.cancel()
        }
        shared.withLock { $0.pause = nil }
    }

    /// One connection from its first octet to its last.
    private func attempt(_ generation: UInt64, _ epoch: Int64) async -> (LinkBackoff.Ending, DiagnosedError) {
        let settings = shared.withLock { $0.settings }
        if let (socket, settings) = takeRenewal() { return await serve(socket, settings, generation, epoch) }
        let token: String
        do {
            token = try await settings.configuration.token()
        } catch {
            return (.init(code: nil), .linkHasNoToken(error))
        }
        let socket: any LinkSocket
        do {
            socket = try await connect(token, settings)
        } catch let error as DiagnosedError {
            return Self.refusedUpgrade(error)
        } catch {
            return (
                .init(code: nil),
                DiagnosedError(
                    .linkClosed, fault: .peer, "the core could not be reached",
                    found: "an error of type \(type(of: error))")
            )
        }
        return await serve(socket, settings, generation, epoch)
    }

    private func serve(
        _ socket: any LinkSocket, _ settings: Settings, _ generation: UInt64, _ epoch: Int64
    ) async -> (LinkBackoff.Ending, DiagnosedError) {
        let configuration = settings.configuration
        let hello: LinkHello
        do {
            hello = try Self.hello(configuration, epoch, on: socket)
        } catch {
            socket.beginClosing(code: LinkCloseCode.internalError.rawValue, reason: "")
            await socket.waitUntilClosed()
            return (
                .init(code: nil),
                DiagnosedError(.linkClosed, fault: .internal, "no random numbers or no proof can be made for the hello")
            )
        }
        let inspection = socket.tls?.inspection
        let conversation = LinkConversation(
            generation: generation, socket: socket, clock: ground.clock,
            half: LinkServiceHalf(hello: hello, window: configuration.window),
            proof: WelcomeProof(hello: hello, inspection: inspection, key: configuration.coreKey))
        let isLate = shared.withLock { shared in
            if !shared.isStopping { shared.conversation = conversation }
            return shared.isStopping
        }
        conversation.start()
        if isLate { conversation.stop() }
        let tls = socket.tls
        // It has risen since the hello was made, and `reconnect` found nothing to end yet.
        if configuration.epoch() != epoch || isOutdated(settings) || shared.withLock({ $0.isHeld }) {
            conversation.drain()
        }
        socket.receive { message in
            for report in conversation.received(message) { self.take(report, of: conversation, tls) }
        }
        let closure = await withTaskCancellationHandler {
            await withTaskGroup(of: Void.self) { group in
                group.addTask {
                    let deadline = configuration.welcomeDeadline
                    guard (try? await self.ground.clock.sleep(for: deadline)) != nil else { return }
                    conversation.welcomeIsOverdue(deadline)
                }
                if let inspection, let exception = configuration.trust?.inspection {
                    group.addTask {
                        guard await Self.waitUntilOver(exception) else { return }
                        conversation.end(.linkInspectionOver(inspection))
                    }
                }
                let closure = await socket.waitUntilClosed()
                group.cancelAll()
                return closure
            }
        } onCancel: {
            conversation.stop()
        }
        shared.withLock { $0.conversation = nil }
        conversation.lost()
        for inbox in shared.withLock({ Array($0.feeds.values) }) { inbox.lost(conversation) }
        return Self.ending(of: conversation, closure)
    }

    private static func hello(
        _ configuration: CoreLinkConfiguration, _ epoch: Int64, on socket: any LinkSocket
    ) throws -> LinkHello {
        var hello = LinkHello(
            service: configuration.service, node: configuration.node, organisation: configuration.organisation,
            version: configuration.version, epoch: epoch, destination: configuration.destination,
            details: configuration.details(), nonce: try RandomBytes.bytes(LinkHello.nonceBytes))
        try configuration.proof?.prove(&hello, on: socket)
        return hello
    }

    /// False when the wait was cancelled. Looks at the wall clock again and again, for it may be set meanwhile.
    private static func waitUntilOver(_ exception: TLSInspection) async -> Bool {
        while exception.now() < exception.until {
            let left = exception.until.milliseconds - exception.now().milliseconds
            guard (try? await Task.sleep(for: .milliseconds(min(max(left, 1), 60_000)))) != nil else { return false }
        }
        return true
    }

    func connect(_ token: String, _ settings: Settings) async throws -> any LinkSocket {
        let interval = settings.configuration.heartbeatSeconds
        return try await settings.ground.dial(
            token, WebSocketHeartbeat(interval: .seconds(interval), deadline: .seconds(3 * interval)))
    }

    // MARK: - While it stands

    private func take(
        _ report: LinkConversation.Report, of conversation: LinkConversation, _ tls: TLSSession?
    ) {
        switch report {
        case .opened(let welcome):
            let now = Timestamp.now()
            change { state in
                state.phase = .open
                state.connection = welcome.connection
                state.connectedSince = now
                state.tls = tls
                state.coreNodeList = welcome.nodeList
                state.clockOffsetMilliseconds = welcome.serverTime.milliseconds - now.milliseconds
                state.lastError = nil
                state.lastErrorAt = nil
                state.failures = 0
            }
            settleRenewal(conversation)
            for inbox in shared.withLock({ Array($0.feeds.values) }) { inbox.opened(conversation) }
        case .feed(let frame): shared.withLock { $0.feeds[frame.feed] }?.take(frame, of: conversation)
        case .delivered(let id, let source, let text):
            handler(
                LinkDelivery(
                    id: id, source: source, text: text, received: .now(), generation: conversation.generation))
        }
    }

    /// Hands the feed of that name to this inbox from now on.
    func follow(_ feed: String, with inbox: FeedInbox) {
        let open = shared.withLock { shared in
            shared.feeds[feed] = inbox
            return shared.conversation.flatMap { $0.isOpen ? $0 : nil }
        }
        if let open { inbox.opened(open) }
    }

    /// Lets the reader subscribe anew on the link that stands.
    func reopen(_ inbox: FeedInbox) {
        guard let open = shared.withLock({ $0.conversation }), open.isOpen else { return }
        inbox.restarted(open)
    }

    private func conversation(_ generation: UInt64) -> LinkConversation? {
        shared.withLock { $0.conversation?.generation == generation ? $0.conversation : nil }
    }

    var isStopping: Bool { shared.withLock { $0.isStopping } }

    private func beginStopping() -> LinkConversation? {
        shared.withLock { shared in
            shared.isStopping = true
            return shared.conversation
        }
    }

    private func change(_ step: (inout LinkState) -> Void) {
        reporting.withLock { _ in
            report(
                current.withLock { state in
                    step(&state)
                    return state
                })
        }
    }

    // MARK: - Ends

    private static func ending(
        of conversation: LinkConversation, _ closure: WebSocketClosure
    ) -> (LinkBackoff.Ending, DiagnosedError) {
        let openFor = conversation.openFor
        if let (code, error) = conversation.ended {
            return (
                .init(code: code, openFor: openFor),
                error ?? DiagnosedError(.linkGoingAway, fault: .internal, "this service closed the link")
            )
        }
        if let error = closure.error { return (.init(code: nil, openFor: openFor), error) }
        let code = LinkCloseCode(rawValue: closure.code)
        return (.init(code: code, openFor: openFor), .linkClosed(code, reason: closure.reason))
    }

    /// A core that answers the upgrade with 401 or 403 says the same as one that closes with 4401 or 4403.
    static func refusedUpgrade(_ error: DiagnosedError) -> (LinkBackoff.Ending, DiagnosedError) {
        switch error.code {
        case .webSocketUnauthorized:
            (.init(code: .tokenRefused), .linkTokenRefused(found: error.found ?? "status 401"))
        case .webSocketForbidden:
            (.init(code: .notAllowed), .linkClosed(.notAllowed, reason: error.found ?? "status 403"))
        default: (.init(code: nil), error)
        }
    }
}
