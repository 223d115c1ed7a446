import Cryptography
import DatabaseConfiguration
import Diagnostics
import KMSProtocol
import KeyManagement
import KeyStore
import LinkedService
import ServiceRuntime

/// The KMS's health checks, beside those of its link, with the alarms that follow from them.
final class KMSChecks: Sendable {
    private static let store = HealthCheck("store", "the key store", gate: .required)

    private let health: HealthRegistry
    private let latency = StoreLatency()

    init(_ health: HealthRegistry) { self.health = health }

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
}
