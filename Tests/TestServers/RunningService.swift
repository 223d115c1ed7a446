import Logging
package import ServiceLifecycle

/// Services that run until they are stopped, as the executable runs them: a stop is graceful, last one first.
package final class RunningService: Sendable {
    private let group: ServiceGroup
    private let task: Task<Void, any Error>

    package init(_ services: [any Service]) {
        var logger = Logger(label: "test")
        logger.logLevel = .critical
        let group = ServiceGroup(services: services, logger: logger)
        self.group = group
        task = Task { try await group.run() }
    }

    package func stop() async {
        await group.triggerGracefulShutdown()
        _ = await task.result
    }

    /// Without any grace, as a crash would.
    package func cancel() async {
        task.cancel()
        _ = await task.result
    }
}
