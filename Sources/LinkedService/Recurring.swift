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
