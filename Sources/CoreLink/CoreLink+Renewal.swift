import Diagnostics
import LinkProtocol
import Synchronization

// How a link takes other settings (trust, pins, proxy, token) while requests are under way.
extension CoreLink {
    /// A connection that takes the place of the present one.
    struct Renewal {
        let settings: Settings
        /// Connected and judged; nothing was said on it. Nil once it is in use.
        var socket: (any LinkSocket)?
        /// What was in force before.
        let previous: Settings
        let ended: CheckedContinuation<Result<Void, DiagnosedError>, Never>
    }

    /// How long what is in flight may take until its link is closed: the core waits ten seconds for a hello.
    static let renewalDrain = Duration.seconds(5)

    /// Makes the link with other settings, make before break: no request is lost.
    ///
    /// While a link is open, a connection is made with the new settings first: TLS, proxy and token have to do. Then what is
    /// in flight is answered on the old link, which is closed, and the new one greets the core. What comes between waits at
    /// the core. Where the core does not welcome it, the old settings are back in force and the link is made with them.
    /// Without an open link the new settings simply count from the next attempt, which is at once.
    ///
    /// Throws why the new settings are refused; the old ones are in force then. One call at a time.
    package func renew(_ configuration: CoreLinkConfiguration) async throws {
        let settings = Settings(configuration, .network(configuration))
        let (replaced, unopened, pause) = shared.withLock { shared in
            if shared.conversation?.isOpen == true {
                return (nil as Settings?, nil as LinkConversation?, nil as Task<Void, Never>?)
            }
            defer { shared.settings = settings }
            return (shared.settings, shared.conversation, shared.pause)
        }
        if let replaced {
            pause?.cancel()
            unopened?.drain()
            await replaced.ground.close()
            return
        }
        let previous = shared.withLock { $0.settings }
        do {
            try await takeOver(settings)
        } catch {
            await settings.ground.close()
            throw error
        }
        await previous.ground.close()
    }

    /// The open link gives way to one with these settings.
    private func takeOver(_ settings: Settings) async throws {
        let socket = try await trial(settings)
        let outcome = await withCheckedContinuation { ended in
            let conversation = shared.withLock { shared -> LinkConversation? in
                shared.renewal = Renewal(
                    settings: settings, socket: socket, previous: shared.settings, ended: ended)
                return shared.conversation
            }
            guard !isStopping else { return endRenewal(.failure(.linkIsStopping)) }
            // The link may have ended by itself meanwhile: the next attempt takes the new connection.
            shared.withLock { $0.pause }?.cancel()
            conversation?.drain()
            Task {
                try? await Task.sleep(for: Self.renewalDrain)
                conversation?.stop()
            }
        }
        try outcome.get()
    }

    /// A connection with these settings up to the WebSocket, on which nothing was said.
    private func trial(_ settings: Settings) async throws -> any LinkSocket {
        let token: String
        do {
            token = try await settings.configuration.token()
        } catch {
            throw DiagnosedError.linkHasNoToken(error)
        }
        do {
            return try await connect(token, settings)
        } catch let error as DiagnosedError {
            throw Self.refusedUpgrade(error).1
        }
    }

    /// Whether a connection waits to take over: a link that ends for it is no loss.
    var isRenewing: Bool { shared.withLock { $0.renewal != nil } }

    /// The connection that takes over, once; its settings are in force from here on.
    func takeRenewal() -> (any LinkSocket, Settings)? {
        shared.withLock { shared in
            guard let renewal = shared.renewal, let socket = renewal.socket else { return nil }
            shared.settings = renewal.settings
            shared.renewal?.socket = nil
            return (socket, renewal.settings)
        }
    }

    /// Whether others came into force, or wait for it, since this link began.
    func isOutdated(_ settings: Settings) -> Bool {
        shared.withLock { !($0.settings === settings) || $0.renewal?.socket != nil }
    }

    /// A link is open: it is the one that was to take over, or an old one that came back meanwhile and gives way.
    func settleRenewal(_ conversation: LinkConversation) {
        guard let isPending = shared.withLock({ $0.renewal.map { $0.socket != nil } }) else { return }
        if isPending { conversation.drain() } else { endRenewal(.success(())) }
    }

    /// After a link has ended: true where the next one is made at once, because a connection waits for that, or because
    /// one that took over was not welcomed.
    func isRenewed(after error: DiagnosedError) async -> Bool {
        let failed = shared.withLock { shared -> Bool? in
            guard let renewal = shared.renewal else { return nil }
            guard renewal.socket == nil else { return false }
            shared.settings = renewal.previous
            return true
        }
        guard let failed else { return false }
        if failed { endRenewal(.failure(error)) }
        return true
    }

    /// Tells whoever asked for the renewal; without one nothing happens.
    func endRenewal(_ result: Result<Void, DiagnosedError>) {
        let renewal = shared.withLock { shared in
            defer { shared.renewal = nil }
            return shared.renewal
        }
        renewal?.socket?.beginClosing(code: LinkCloseCode.goingAway.rawValue, reason: "not needed")
        renewal?.ended.resume(returning: result)
    }
}

extension DiagnosedError {
    static var linkIsStopping: DiagnosedError {
        DiagnosedError(
            .linkClosed, fault: .internal, "the service stops, and its link takes no new settings",
            hint: "they count from the next start")
    }
}
