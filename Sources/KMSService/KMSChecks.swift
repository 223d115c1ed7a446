import CoreLink
import Cryptography
import Diagnostics
import KMSProtocol
import KeyManagement
import KeyStore
import ServiceRuntime
import Synchronization
import TLSChannel
import WireText

/// The KMS's health checks with the alarms, events and metrics that follow from them.
final class KMSChecks: Sendable {
    private static let store = HealthCheck("store", "the key store", gate: .required)

    private let health: HealthRegistry
    private let events: any EventRecorder
    private let metrics: MetricRegistry
    private let link: HealthCheck
    private let steadiness: LinkSteadiness
    private static let pins = HealthCheck("pins", "the pins of the core")
    private let corePins: Mutex<[SPKIPin]>
    private let latency = StoreLatency()
    /// As it was last told, to tell changes only.
    private let wasOpen = Mutex(false)

    convenience init(
        _ health: HealthRegistry, events: any EventRecorder, metrics: MetricRegistry, core: CoreSection
    ) throws {
        self.init(
            health, events: events, metrics: metrics, pins: try core.spkiPins(), readyWithoutCore: core.readyWithoutCore
        )
    }

    init(
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
    func use(pins: [SPKIPin], inspection: TLSInspection?) {
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

    /// The certificate of the static key: the one in use, and the one that a start or a reload would take.
    func watch(_ keys: StaticKeysInForce, host: String, file: CertificateFileInForce) {
        health.watchCertificates(
            "the certificate of the static key", host: host, file: { file.current },
            fix:
                "request a new certificate, replace its file and reload; list a key that is replaced in static-key.previous",
            isFor: { $0.commonName == $1 && $0.dnsNames.contains($1) },
            expires: { keys.present.expires })
    }

    /// Looks at the store and the disk in an interval.
    func watch(store: any KeyStore, section: StoreSection, audit: String) {
        let alarms = health.alarms
        if case .postgresql(let database) = section.backend { tell(weakness: database.weakness) }
        health.probe(Self.store, every: .seconds(15)) { [latency] in
            do {
                let start = ContinuousClock.now
                try await store.check()
                latency.note(start.duration(to: .now))
                latency.report(to: alarms)
                Self.clear(alarms, "reading and durable writing work")
                return .ok("reading and durable writing work")
            } catch {
                Self.raise(error, alarms)
                return .fail(error)
            }
        }
        let data = section.file?.path.folder
        health.watchSpace(of: FileLocation(data ?? audit), every: .seconds(10))
        if let data, !audit.hasPrefix(data + "/") {
            health.watchSpace(
                of: FileLocation(audit), check: HealthCheck("disk-audit", "the disk of the audit trail"),
                every: .seconds(10))
        }
    }

    /// What is weak about the way to the database; it can only change with a restart.
    func tell(weakness: Loggable?) {
        if let weakness { health.alarms.raise(.databaseTLSWeak, weakness) }
    }

    /// What the store tells between two looks: the alarm does not wait for the next one.
    var observer: StoreObserver {
        let health = health
        return StoreObserver(
            trouble: { trouble in
                if let trouble {
                    Self.raise(trouble, health.alarms)
                    health.report(Self.store, .fail(trouble))
                } else {
                    Self.clear(health.alarms, "the database answers again")
                    health.report(Self.store, .ok("the database answers"))
                }
            }, committed: { [latency] in latency.note($0) })
    }

    /// Opens the store. One that can not be opened ends the start; its alarm says why.
    func telling<R>(_ open: () async throws -> R) async throws -> R {
        do {
            let opened = try await open()
            Self.clear(health.alarms, "the database is open")
            health.alarms.clear(.databaseCorrupt, "the database was found whole")
            return opened
        } catch let error as DiagnosedError where error.fault == .store {
            Self.raise(error, health.alarms)
            throw error
        }
    }

    /// The alarm that fits what the store said.
    static func raise(_ trouble: any Error, _ alarms: AlarmBoard) {
        switch (trouble as? DiagnosedError)?.code {
        case .storeFull: alarms.raise(.diskLow, about: full, stage: 3, Loggable(error: trouble))
        case .storeCorrupt: alarms.raise(.databaseCorrupt, Loggable(error: trouble))
        default: alarms.raise(.databaseUnreachable, Loggable(error: trouble))
        }
    }

    /// Damage does not pass by itself: its alarm stands until the next start.
    private static func clear(_ alarms: AlarmBoard, _ detail: Loggable) {
        alarms.clear(.databaseUnreachable, detail)
        alarms.clear(.diskLow, about: full, detail)
    }

    /// What the alarm of a disk that is full, and not only nearly so, is about.
    private static let full: Loggable = "the key store"

    /// What the link tells of itself.
    func report(_ state: LinkState, address: Loggable) {
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

extension String {
    /// The folder of a path.
    var folder: String {
        guard let slash = lastIndex(of: "/"), slash != startIndex else { return "/" }
        return String(self[..<slash])
    }
}
