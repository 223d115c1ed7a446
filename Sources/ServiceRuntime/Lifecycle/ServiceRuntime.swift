import Diagnostics
import Glibc
import Logging
import NIOCore
import NIOPosix
import ServiceLifecycle

/// Runs a service from its configuration file to its exit code.
///
/// In this order: harden the process, read the configuration, open the log, start the service, serve the health
/// address, run the self-test, say READY, work, and on SIGTERM drain. What goes wrong is told once: as a block to
/// read on stderr, or as one record of the journal when stderr leads there. Call it once in a process, first of all.
/// ```swift
/// let code = await ServiceRuntime.run(identity, configurationFile: path, as: KMSConfiguration.self) {
///     configuration, context in
///     let store = try await openStore(configuration, context.credentials)
///     return ServicePlan(services: [worker, link], selfTest: { try await store.check() })
/// }
/// exit(code.rawValue)
/// ```
package enum ServiceRuntime {
    /// Threads of the event-loop group: sockets need few, work runs elsewhere.
    package static let eventLoops = 2

    package static func run<Configuration: RuntimeConfiguration>(
        _ identity: ServiceIdentity, configurationFile: String, as type: Configuration.Type = Configuration.self,
        start: @escaping @Sendable (Configuration, ServiceContext) async throws -> ServicePlan<Configuration>
    ) async -> ExitCode {
        let hardeningFailures = ProcessHardening.apply()
        NIOSingletons.groupLoopCountSuggestion = min(eventLoops, System.coreCount)
        NIOSingletons.blockingPoolThreadCountSuggestion = 1
        let metrics = MetricRegistry()
        ProcessMetrics.register(in: metrics)
        metrics.gauge(.buildInfo, [identity.name, identity.version]).set(1)
        let configuration: Configuration
        let contents: [UInt8]
        do {
            contents = try ConfigurationFile.contents(of: configurationFile)
            configuration = try ConfigurationFile.decode(contents, of: configurationFile)
        } catch {
            return FailureReport(identity, LogSystem(service: identity.name, metrics: metrics)).tellStart(error)
        }
        let section = configuration.runtime
        let log = LogSystem(
            service: identity.name, format: section.log.format, level: section.log.level.severity, metrics: metrics)
        log.install()
        let run = ServiceRun<Configuration>(
            identity: identity, file: configurationFile, contents: contents, section: section, log: log,
            metrics: metrics)
        run.warnAboutProcess(hardeningFailures)
        return await run.run(configuration, start)
    }
}

/// One run of a service after its configuration was read.
private struct ServiceRun<Configuration: RuntimeConfiguration>: Sendable {
    typealias Start = @Sendable (Configuration, ServiceContext) async throws -> ServicePlan<Configuration>

    let identity: ServiceIdentity
    let file: String
    /// Of the file at the start.
    let contents: [UInt8]
    let section: RuntimeSection
    let log: LogSystem
    let events: any EventRecorder
    let metrics: MetricRegistry
    let health: HealthRegistry
    let notifier = Notifier.systemd
    let failures: FailureReport
    private var name: Loggable { Loggable(reviewed: identity.name) }

    init(
        identity: ServiceIdentity, file: String, contents: [UInt8], section: RuntimeSection, log: LogSystem,
        metrics: MetricRegistry
    ) {
        self.identity = identity
        self.file = file
        self.contents = contents
        self.section = section
        self.log = log
        self.metrics = metrics
        events = log.events
        health = HealthRegistry(events: events, metrics: metrics)
        failures = FailureReport(identity, log)
    }

    func warnAboutProcess(_ hardeningFailures: [Loggable]) {
        for text in hardeningFailures {
            health.warn(StandingWarning("not-hardened", text, fix: "start the service by its unit file"))
        }
        if ProcessHardening.isRoot, !section.allowRoot {
            health.warn(
                StandingWarning(
                    "runs-as-root", "the service runs as root",
                    fix: "start it by its unit file, which has a user of its own, or set runtime.allow-root: true"))
        }
    }

    func run(_ configuration: Configuration, _ start: Start) async -> ExitCode {
        let router = SignalRouter(
            drainLimit: section.drainDeadline + .seconds(1),
            giveUp: {
                tellDrainDeadline()
                exit(ExitCode.internalFault.rawValue)
            },
            endWhileStarting: { [events, name] reason in
                events.record(.stopping, [.service: name, .reason: reason])
                exit(ExitCode.drained.rawValue)
            })
        let signals = await router.listen()
        defer { signals.cancel() }
        notifier.status("Starting.")
        let context = ServiceContext(
            identity: identity, log: log, events: events, health: health, metrics: metrics,
            credentials: .ofProcess, eventLoopGroup: MultiThreadedEventLoopGroup.singleton)
        do {
            let plan = try await start(configuration, context)
            return await work(plan, context, router)
        } catch {
            // What `systemctl status` shows of a unit that failed.
            notifier.status("Can not start: \(FailureReport.reason(error))")
            return failures.tellStart(error)
        }
    }

    private func work(
        _ plan: ServicePlan<Configuration>, _ context: ServiceContext, _ router: SignalRouter
    ) async -> ExitCode {
        let services = frame(around: plan, context, router)
        var settings = ServiceGroupConfiguration(
            services: services.map {
                // Named by type: the default name would describe the value with all it holds.
                .init(service: $0, serviceName: String(describing: type(of: $0)))
            }, logger: log.logger("lifecycle"))
        settings.maximumGracefulShutdownDuration = section.drainDeadline
        let group = ServiceGroup(configuration: settings)
        let reload = Reload(
            identity: identity, file: file, contents: contents, plan: plan, log: log, health: health,
            notifier: notifier)
        router.started(group) { await reload.run() }
        var code = ExitCode.drained
        do {
            try await group.run()
        } catch {
            code = health.report.isAnnounced ? failures.tellEnd(error) : failures.tellStart(error)
        }
        await plan.finish()
        if let took = router.drainTime, took >= section.drainDeadline {
            tellDrainDeadline()
            return .internalFault
        }
        if code == .drained { events.record(.stopped, [.service: name]) }
        return code
    }

    private func tellDrainDeadline() {
        let limit = section.drainDeadline.components.seconds * 1_000_000
        events.record(.drainDeadlinePassed, [.service: name, .durationMicroseconds: Loggable(limit)])
    }

    /// The plan's services between those of the runtime: the frame starts with them and outlives them.
    private func frame(
        around plan: ServicePlan<Configuration>, _ context: ServiceContext, _ router: SignalRouter
    ) -> [any Service] {
        let watchdog = Notifier.watchdogTimeout
        let interval = min(section.selfTestInterval, watchdog.map { $0 / 2 } ?? section.selfTestInterval)
        let liveness = Liveness(maximumAge: watchdog ?? interval * 3, clock: ContinuousClock())
        let history = LoadHistory()
        let listening = HealthCheck("health-address", "the health address", gate: .required)
        health.declare(listening)
        health.declare(SelfTestLoop<ContinuousClock>.check)
        return [
            HealthEndpoint(
                identity, address: section.health.address, health: health, liveness: liveness, metrics: metrics,
                history: history, handed: HealthSocket.handedToProcess(), group: context.eventLoopGroup,
                logger: log.logger("health")
            ) { [health] in health.report(listening, .ok(Loggable(reviewed: $0.description))) },
            StatusAnnouncer(
                identity: identity, health: health, notifier: notifier, events: events,
                age: { Int64(ProcessMetrics.secondsSinceStart * 1_000_000) },
                address: { [health] in health.report.checks.first { $0.check == listening }?.finding.detail ?? "-" }),
            SelfTestLoop(
                interval: interval, clock: ContinuousClock(), test: plan.selfTest, notifier: notifier, health: health,
                liveness: liveness, metrics: metrics, events: events),
            ProbeLoop(health: health, clock: ContinuousClock()),
            LoadSampling(history: history, metrics: metrics, clock: ContinuousClock()),
        ] + plan.services + [
            DrainAnnouncer(
                identity: identity, health: health, notifier: notifier, events: events, reason: { router.reason })
        ]
    }
}
