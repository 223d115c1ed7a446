import CoreLink
import Diagnostics
import KMSProtocol
import KeyStore
import ServiceRuntime
import Synchronization
import TLSChannel
import WireText

/// The KMS's health checks and the alarms that follow from them.
final class KMSChecks: Sendable {
    private static let store = HealthCheck("store", "the key store", gate: .required)
    private static let certificate = HealthCheck("certificate", "the certificate of the static key")

    private let health: HealthRegistry
    private let link: HealthCheck

    init(_ health: HealthRegistry, readyWithoutCore: Bool) {
        self.health = health
        link = HealthCheck(
            "link", "the link to the core",
            gate: .policy(key: "core.ready-without-core", mayBeMissing: readyWithoutCore))
        health.declare(link)
    }

    /// Looks at the store and at the certificates in an interval.
    func watch(store: any KeyStore, keys: [KMSStaticKey], alarms: AlarmBoard) {
        health.probe(Self.store, every: .seconds(15)) {
            do {
                try await store.check()
                alarms.clear(.databaseUnreachable, "reading and durable writing work")
                return .ok("reading and durable writing work")
            } catch {
                alarms.raise(.databaseUnreachable, Loggable(error: error))
                return .fail(error)
            }
        }
        health.probe(Self.certificate, every: .seconds(600)) {
            let expires = keys[0].expires
            let days = (expires.seconds - Timestamp.now().seconds) / 86_400
            let stage = [1, 7, 14, 30].first { days < Int64($0) }
            guard let stage else {
                alarms.clear(.certificateExpiry, about: "static key", "valid for \(days) days")
                return .ok("valid until \(reviewed: expires.iso8601)")
            }
            alarms.raise(
                .certificateExpiry, about: "static key", stage: stage,
                "the certificate of the static key ends at \(reviewed: expires.iso8601)")
            return .warn(
                "ends at \(reviewed: expires.iso8601)",
                fix: "request a new certificate; list the present key under static-key.previous when you replace it")
        }
    }

    /// What the link tells of itself.
    func report(_ state: LinkState, alarms: AlarmBoard) {
        switch state.phase {
        case .open:
            health.report(link, .ok("open since \(reviewed: state.connectedSince?.iso8601 ?? "now")"))
            for alarm in [Alarm.cloudUnreachable, .cloudPinMismatch, .cloudAuthentication] {
                alarms.clear(alarm, "the link is open")
            }
        case .connecting, .waiting:
            guard let error = state.lastError else { return }
            health.report(link, .fail(error))
            // One lost connection is no alarm: the next attempt follows at once.
            guard state.failures > 1 || error.code == .tlsPinMismatch else { return }
            switch error.code {
            case .tlsPinMismatch: alarms.raise(.cloudPinMismatch, Loggable(error))
            case .linkTokenRefused, .serviceTokenRefused: alarms.raise(.cloudAuthentication, Loggable(error))
            default: alarms.raise(.cloudUnreachable, Loggable(error))
            }
        case .draining, .stopped: break
        }
    }
}
