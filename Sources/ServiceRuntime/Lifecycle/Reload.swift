import Diagnostics
import Synchronization

/// What SIGHUP does: reads the configuration file anew and hands it to the service, which takes it over whole or not at all.
///
/// Rules:
/// 1. What is refused changes nothing. The journal and HDS-RELOAD-REFUSED say why and what to do, until one is taken.
/// 2. What differs from the start and can not change while the service runs is named, and stands as a warning until the
///    file says what it said or the service is started anew. It keeps nothing else from being taken over.
/// 3. systemd is told RELOADING=1 before, and READY=1 after, whatever came of it.
/// 4. Certificates are looked at anew at once: an alarm about one that was replaced does not stand until the next round.
struct Reload<Configuration: RuntimeConfiguration>: Sendable {
    let identity: ServiceIdentity
    let file: String
    /// Of the file at the start: what needs a restart is in force as it says.
    let contents: [UInt8]
    let plan: ServicePlan<Configuration>
    let log: LogSystem
    let health: HealthRegistry
    let notifier: Notifier
    private let refusals = Counter()

    static var warning: String { "restart-needed" }

    init(
        identity: ServiceIdentity, file: String, contents: [UInt8], plan: ServicePlan<Configuration>, log: LogSystem,
        health: HealthRegistry, notifier: Notifier
    ) {
        self.identity = identity
        self.file = file
        self.contents = contents
        self.plan = plan
        self.log = log
        self.health = health
        self.notifier = notifier
    }

    func run() async {
        notifier.reloading("Taking over a new configuration.")
        do {
            let new = try ConfigurationFile.contents(of: file)
            let configuration: Configuration = try ConfigurationFile.decode(new, of: file)
            try await plan.reload?(configuration)
            log.threshold.severity = configuration.runtime.log.level.severity
            taken(waiting: waiting(in: new))
        } catch {
            // Each refusal is told, also when one stands.
            health.alarms.raise(.reloadRefused, stage: refusals.next(), FailureReport.reason(error))
        }
        await health.lookAgain(at: HealthRegistry.certificateChecks)
        notifier.ready(Loggable(reviewed: health.report.sentence))
    }

    /// Keys that differ and count after a restart only.
    private func waiting(in new: [UInt8]) -> [String] {
        let reloadable = plan.reloadable + ["runtime.log.level"]
        return ConfigurationDifference.keys(contents, new).filter { key in
            !reloadable.contains { key == $0 || key.hasPrefix($0 + ".") }
        }
    }

    private func taken(waiting keys: [String]) {
        health.alarms.clear(.reloadRefused, "a configuration was taken over")
        health.withdraw(warning: Self.warning)
        var extent: Loggable = "the configuration"
        if !keys.isEmpty {
            let names = Loggable(reviewed: keys.joined(separator: ", "))
            extent = "the configuration, and needs a restart for \(names)"
            health.warn(
                StandingWarning(
                    Self.warning, "the configuration file differs in \(names), which needs a restart",
                    fix: "restart the service when it suits, or put back what the file said before"))
        }
        log.events.record(
            .reloaded,
            [.service: Loggable(reviewed: identity.name), .detail: extent, .file: Loggable(reviewed: file)])
    }

    private final class Counter: Sendable {
        private let count = Atomic(0)
        func next() -> Int { count.add(1, ordering: .relaxed).newValue }
    }
}
