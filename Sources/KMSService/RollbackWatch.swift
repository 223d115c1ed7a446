import DatabaseConfiguration
import Diagnostics
import Dispatch
import KeyManagement
import KeyStore
import KeyStorePostgreSQL
import KeyStoreSQLite
import MasterKey
import ServiceLifecycle
import ServiceRuntime
import WireText

/// Looks again and again whether somebody else changed the key store, and tells when it is so.
struct RollbackWatch: Service {
    let detector: RollbackDetector
    private let health: HealthRegistry
    private let metrics: MetricRegistry
    private let log: KMSRequestLog
    private let scanEvery: Duration

    private static let check = HealthCheck("store-rollback", "whether the key store is as this KMS left it")
    private static let looks = Duration.seconds(1)
    /// Until the own sum is compared with nothing under way.
    private static let looksPerVerification = 15
    /// After a scan that could not be made.
    private static let soon = Duration.seconds(60)

    /// What a node remembers of its store, and the store as this node writes it.
    struct Opening {
        let store: SummingStore
        private let file: CountersFile
        private let memory: CountersMemory?

        init(_ store: any KeyStore, ring: SealRing, _ configuration: KMSServiceConfiguration) throws {
            file = CountersFile(path: configuration.countersFile)
            memory = try file.load()
            self.store = SummingStore(store, ring: ring, writer: memory?.writer ?? UUIDText.random())
        }

        /// Before anything is written.
        func start(
            vault: RecordVault, freezes: FreezeBoard, _ configuration: KMSServiceConfiguration,
            _ context: ServiceContext, now: Timestamp
        ) async throws -> RollbackDetector {
            let detector = RollbackDetector(
                store: store, vault: vault, freezes: freezes, file: file, memory: memory,
                view: view(configuration, context.credentials), now: now)
            try await detector.start(now: now)
            return detector
        }

        private func view(
            _ configuration: KMSServiceConfiguration, _ credentials: Credentials
        ) -> RollbackDetector.View {
            let thread = DispatchQueue(label: "hds.rollback.scan", qos: .utility)
            let (backend, node) = (configuration.store.backend, configuration.node)
            return { body in
                try await withCheckedThrowingContinuation { continuation in
                    thread.async {
                        continuation.resume(
                            with: Result {
                                switch backend {
                                case .sqlite(let file): try SQLiteSnapshot.read(path: file.path, body)
                                case .postgresql(let section):
                                    try body(
                                        PostgreSQLSnapshot(
                                            section.settings(credentials, application: "hds-kms \(node) scan")))
                                }
                            })
                    }
                }
            }
        }
    }

    init(_ detector: RollbackDetector, _ context: ServiceContext, log: KMSRequestLog, scanEvery: Duration) {
        self.init(detector, health: context.health, metrics: context.metrics, log: log, scanEvery: scanEvery)
    }

    init(
        _ detector: RollbackDetector, health: HealthRegistry, metrics: MetricRegistry, log: KMSRequestLog,
        scanEvery: Duration
    ) {
        (self.detector, self.health, self.metrics, self.log) = (detector, health, metrics, log)
        self.scanEvery = scanEvery
        health.declare(Self.check)
        detector.rollback.observe { [health, metrics, isFirstStart = detector.isFirstStart] findings in
            Self.tell(findings, isFirstStart: isFirstStart, health, metrics)
        }
    }

    private static func tell(
        _ findings: [RollbackGuard.Finding], isFirstStart: Bool, _ health: HealthRegistry, _ metrics: MetricRegistry
    ) {
        metrics.gauge(.storeRollback).set(findings.isEmpty ? 0 : 1)
        guard let first = findings.first else {
            let since: Loggable = isFirstStart ? "; what was before this node's first start is not known here" : ""
            health.report(check, .ok("counters and rows are as they were left\(since)"))
            return health.alarms.clear(.storeRollback, "nothing of it stands any more")
        }
        let more: Loggable = findings.count > 1 ? " and \(Loggable(findings.count - 1)) more" : ""
        let detail: Loggable = "\(Loggable(reviewed: first.text))\(more)"
        health.report(check, .fail(detail, fix: Loggable(reviewed: Alarm.storeRollback.fix)))
        health.alarms.raise(.storeRollback, stage: findings.count, detail)
    }

    func run() async throws {
        await cancelWhenGracefulShutdown {
            await withTaskGroup(of: Void.self) { group in
                group.addTask { await self.listen() }
                group.addTask { await self.walk() }
            }
        }
    }

    private func listen() async {
        var round = 0
        var wasKnown = true
        while !Task.isCancelled {
            do {
                try await detector.look(now: .now())
                round += 1
                if round.isMultiple(of: Self.looksPerVerification) { try await detector.verify() }
                wasKnown = true
            } catch {
                if wasKnown { log.failure(error, while: "comparing the counters of the key store") }
                wasKnown = false
            }
            do { try await Task.sleep(for: Self.looks) } catch { return }
        }
    }

    private func walk() async {
        var next = ContinuousClock.now
        while !Task.isCancelled {
            if detector.scanIsDue || next <= .now {
                next = .now + scanEvery
                do {
                    let scan = try await detector.scan(now: .now())
                    metrics.gauge(.storeScannedRows).set(Double(scan.rows))
                } catch {
                    next = .now + min(scanEvery, Self.soon)
                    log.failure(error, while: "comparing all rows of the key store with their sums")
                }
            }
            do { try await Task.sleep(for: .seconds(1)) } catch { return }
        }
    }
}
