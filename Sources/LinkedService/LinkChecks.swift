package import CoreLink
package import Diagnostics
package import ServiceRuntime
import Synchronization
package import TLSChannel
import WireText

/// What a service tells of its link and of how it believes the core: health checks with the alarms, events and metrics that
/// follow from them. Any thread.
package final class LinkChecks: Sendable {
    private let health: HealthRegistry
    private let events: any EventRecorder
    private let metrics: MetricRegistry
    private let link: HealthCheck
    private let steadiness: LinkSteadiness
    private static let pins = HealthCheck("pins", "the pins of the core")
    private let corePins: Mutex<[SPKIPin]>
    /// As it was last told, to tell changes only.
    private let wasOpen = Mutex(false)

    package convenience init(
        _ health: HealthRegistry, events: any EventRecorder, metrics: MetricRegistry, core: CoreSection
    ) throws {
        self.init(
            health, events: events, metrics: metrics, pins: try core.spkiPins(), readyWithoutCore: core.readyWithoutCore
        )
    }

    package init(
        _ health: HealthRegistry, events: any EventRecorder, metrics: MetricRegistry, pins: [SPKIPin],
        readyWithoutCore: Bool
    ) {
        corePins = Mutex(pins)
        self.health = health
        self.events = events
        self.metrics = metrics
        link = HealthCheck(
            "link", "the link to the core",
            gate: .policy(key: "core.ready-without-core", mayBeMissing: readyWithoutCore))
        steadiness = LinkSteadiness(health: health)
        health.declare(link)
        use(pins: pins, inspection: nil)
        metrics.gauge(.linkUp).set(0)
    }

    /// How the core is believed from now on.
    package func use(pins: [SPKIPin], inspection: TLSInspection?) {
        corePins.withLock { $0 = pins }
        health.withdraw(warning: PinFinding.warning)
        if let weakness = PinFinding.weakness(of: pins) { health.warn(weakness) }
        health.report(Self.pins, PinFinding.of(pins, nil))
        health.withdraw(warning: "tls-inspected")
        guard let inspection else { return }
        health.warn(
            StandingWarning(
                "tls-inspected", "TLS to the core may be inspected by \(Self.text(.init(inspection)))",
                fix: "let the device pass the link without inspection and remove core.inspection"))
    }

    /// What the link tells of itself.
    package func report(_ state: LinkState, address: Loggable) {
        let isOpen = state.phase == .open
        let hasChanged = wasOpen.withLock { was in
            defer { was = isOpen }
            return was != isOpen
        }
        metrics.gauge(.linkUp).set(isOpen ? 1 : 0)
        switch state.phase {
        case .open:
            health.report(link, Self.open(state))
            health.report(Self.pins, PinFinding.of(corePins.withLock { $0 }, state.tls))
            for alarm in [Alarm.cloudUnreachable, .cloudPinMismatch, .cloudAuthentication, .cloudThrottled] {
                health.alarms.clear(alarm, "the link is open")
            }
            health.alarms.clear(.splitBrain, about: "link", "the core takes links of this epoch")
            health.alarms.clear(.nodeUnlisted, about: "link", "the core takes this node")
            guard hasChanged else { return }
            steadiness.opened(clockOffset: state.clockOffsetMilliseconds)
            metrics.counter(.linkConnects, ["open"]).increment()
            events.record(.linkUp, [.address: address, .connectionID: state.connection.map { Loggable(reviewed: $0) }])
            if let inspection = state.tls?.inspection {
                events.record(.linkInspected, [.address: address, .detail: Self.text(inspection)])
            }
        case .connecting, .waiting:
            guard let error = state.lastError else { return }
            health.report(link, .fail(error))
            if hasChanged {
                steadiness.lost(error)
                events.record(.linkDown, [.address: address, .reason: Loggable(error)])
            }
            if state.phase == .waiting { metrics.counter(.linkConnects, ["failed"]).increment() }
            alarm(error, failures: state.failures)
        case .draining, .stopped: break
        }
    }

    private static func open(_ state: LinkState) -> HealthFinding {
        let since: Loggable = "open since \(reviewed: state.connectedSince?.iso8601 ?? "now")"
        guard let inspection = state.tls?.inspection else { return .ok(since) }
        return .warn(
            "\(since); TLS is inspected by \(text(inspection)); the core has proven itself by its own key",
            fix: "let the device pass the link without inspection and remove core.inspection")
    }

    private static func text(_ inspection: TLSInspection.Seen) -> Loggable {
        "\(reviewed: inspection.name) until \(reviewed: inspection.until.iso8601)"
    }

    private func alarm(_ error: DiagnosedError, failures: Int) {
        switch error.code {
        // An operator wants it so.
        case .linkDrained: break
        case .linkNotListed: health.alarms.raise(.nodeUnlisted, about: "link", Loggable(error))
        case .linkSuperseded: health.alarms.raise(.splitBrain, about: "link", Loggable(error))
        case let code where code.isIdentityFault || code == .linkUnproven:
            health.alarms.raise(.cloudPinMismatch, Loggable(error))
        case .linkTokenRefused, .serviceTokenRefused, .linkNotAllowed:
            health.alarms.raise(.cloudAuthentication, Loggable(error))
        case .linkTooMany: health.alarms.raise(.cloudThrottled, Loggable(error))
        // One lost connection is no alarm: the next attempt follows at once.
        default: if failures > 1 { health.alarms.raise(.cloudUnreachable, Loggable(error)) }
        }
    }
}
