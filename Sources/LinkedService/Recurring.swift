import ServiceLifecycle

/// Does something at once and then after each pause, until the service stops.
package func recurring(every pause: Duration, _ body: @escaping @Sendable () async -> Void) async {
    try? await cancelWhenGracefulShutdown {
        while !Task.isCancelled {
            await body()
            try await Task.sleep(for: pause)
        }
    }
}

/// `recurring` as a service of its own.
package struct Recurring: Service {
    private let pause: Duration
    private let body: @Sendable () async -> Void

    package init(every pause: Duration, _ body: @escaping @Sendable () async -> Void) {
        (self.pause, self.body) = (pause, body)
    }

    package func run() async throws { await recurring(every: pause, body) }
}
