package import Diagnostics
package import Logging
package import NIOCore
package import ServiceLifecycle

/// What the runtime hands to a service that starts.
package struct ServiceContext: Sendable {
    package let identity: ServiceIdentity
    package let log: LogSystem
    package let events: any EventRecorder
    package let health: HealthRegistry
    package let metrics: MetricRegistry
    package let credentials: Credentials
    /// The one group of the process; everything that uses NIO shares its few threads.
    package let eventLoopGroup: any EventLoopGroup

    package var alarms: AlarmBoard { health.alarms }
    package func logger(_ part: String? = nil) -> Logger { log.logger(part) }
}

/// What a service hands back once its parts are made: what runs, how it proves that it works, how it reloads.
package struct ServicePlan<Configuration: RuntimeConfiguration>: Sendable {
    /// Run side by side; a stop reaches them one after the other from the last to the first, each when the one behind
    /// it has ended. So the source of work (the link, a listener) stands last and what it needs before it.
    package var services: [any Service]
    /// A canary through the real work path; throws what went wrong. Run at the start and in an interval.
    package var selfTest: @Sendable () async throws -> Void
    /// Takes over a new configuration on SIGHUP, wholly or, throwing, not at all. The log level is the runtime's; nil
    /// means that nothing else can change while the service runs.
    package var reload: (@Sendable (Configuration) async throws -> Void)?
    /// Keys of the file that `reload` takes over, each with all below it, such as `core.pins`; elements of lists without
    /// their number. What else differs needs a restart, and is named.
    package var reloadable: [String]
    /// After everything has ended: close stores.
    package var finish: @Sendable () async -> Void

    package init(
        services: [any Service], selfTest: @escaping @Sendable () async throws -> Void,
        reload: (@Sendable (Configuration) async throws -> Void)? = nil,
        reloadable: [String] = [],
        finish: @escaping @Sendable () async -> Void = {}
    ) {
        self.services = services
        self.selfTest = selfTest
        self.reload = reload
        self.reloadable = reloadable
        self.finish = finish
    }
}
