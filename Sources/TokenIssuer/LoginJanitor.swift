import ServiceLifecycle

/// Forgets expired codes and logins every ten minutes, for as long as the service runs.
///
/// Nothing depends on when it comes: what has expired is refused whether it was forgotten or not.
package struct LoginJanitor: Service {
    private let service: AuthorizationService
    private let interval: Duration

    package init(_ service: AuthorizationService, interval: Duration = .seconds(600)) {
        self.service = service
        self.interval = interval
    }

    package func run() async throws {
        await cancelWhenGracefulShutdown {
            while !Task.isCancelled {
                do { try await service.purge() } catch { service.recordFailure(error) }
                try? await Task.sleep(for: interval)
            }
        }
    }
}
