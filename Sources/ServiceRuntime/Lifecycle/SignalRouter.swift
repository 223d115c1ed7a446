import Diagnostics
import Glibc
import Logging
import ServiceLifecycle
import Synchronization
import UnixSignals

/// Turns SIGTERM and SIGINT into a drain and SIGHUP into a reload.
///
/// Listens from before the service starts, so that no signal meets its default action: a stop that comes while the
/// service still starts ends the process at once, there is nothing to answer yet. Signals are taken one at a time.
final class SignalRouter: Sendable {
    private enum Phase: Sendable {
        case starting
        case running(ServiceGroup, reload: @Sendable () async -> Void)
        case stopping
    }

    private struct State: Sendable {
        var phase = Phase.starting
        var reason: Loggable = "the service ended by itself"
        var drainStart: ContinuousClock.Instant?
    }

    private let state = Mutex(State())
    private let endWhileStarting: @Sendable (Loggable) -> Void
    private let drainLimit: Duration
    private let giveUp: @Sendable () -> Void

    /// `giveUp` is called when a drain has not ended `drainLimit` after its begin, which means that something did not
    /// even heed its cancellation.
    init(
        drainLimit: Duration, giveUp: @escaping @Sendable () -> Void,
        endWhileStarting: @escaping @Sendable (Loggable) -> Void
    ) {
        self.drainLimit = drainLimit
        self.giveUp = giveUp
        self.endWhileStarting = endWhileStarting
    }

    /// Returns once the signals are caught; the task takes them until it is cancelled.
    func listen() async -> Task<Void, Never> {
        let signals = await UnixSignalsSequence(trapping: .sigterm, .sigint, .sighup)
        return Task { for await signal in signals { await self.take(signal) } }
    }

    func started(_ group: ServiceGroup, reload: @escaping @Sendable () async -> Void) {
        state.withLock { $0.phase = .running(group, reload: reload) }
    }

    /// Why the service drains.
    var reason: Loggable { state.withLock { $0.reason } }
    /// How long the drain has taken so far; nil before it.
    var drainTime: Duration? { state.withLock { $0.drainStart?.duration(to: .now) } }

    private func take(_ signal: UnixSignal) async {
        let phase = state.withLock { $0.phase }
        if signal == .sighup {
            if case .running(_, let reload) = phase { await reload() }
            return
        }
        let name: Loggable = signal == .sigint ? "SIGINT" : "SIGTERM"
        switch phase {
        case .starting: endWhileStarting("\(name) while starting")
        case .running(let group, _):
            state.withLock {
                $0.phase = .stopping
                $0.reason = name
                $0.drainStart = .now
            }
            Task.detached { [drainLimit, giveUp] in
                try? await Task.sleep(for: drainLimit)
                giveUp()
            }
            await group.triggerGracefulShutdown()
        case .stopping: break
        }
    }
}

/// Says that the drain has begun. Stands last among the services, so that a stop reaches it first.
struct DrainAnnouncer: Service {
    let identity: ServiceIdentity
    let health: HealthRegistry
    let notifier: Notifier
    let events: any EventRecorder
    let reason: @Sendable () -> Loggable

    func run() async throws {
        try? await gracefulShutdown()
        health.beginDraining()
        notifier.stopping(Loggable(reviewed: health.report.sentence))
        events.record(.stopping, [.service: Loggable(reviewed: identity.name), .reason: reason()])
    }
}
