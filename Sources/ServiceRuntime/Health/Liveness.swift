import Synchronization

/// When the service last proved that it can do its work.
///
/// Alive means: a self-test passed within the allowed age, or the service is still starting. Any thread.
final class Liveness: Sendable {
    private let clock: any Clock<Duration> & Sendable
    private let maximumAge: Duration
    private let lastPass: Mutex<(@Sendable () -> Duration)?>

    init<Time: Clock>(maximumAge: Duration, clock: Time) where Time.Duration == Duration {
        self.clock = clock
        self.maximumAge = maximumAge
        lastPass = Mutex(nil)
    }

    func pass() {
        let age = Self.stopwatch(clock)
        lastPass.withLock { $0 = age }
    }

    var isLive: Bool { lastPass.withLock { $0 }.map { $0() <= maximumAge } ?? true }

    private static func stopwatch<Time: Clock>(_ clock: Time) -> @Sendable () -> Duration
    where Time.Duration == Duration {
        let start = clock.now
        return { start.duration(to: clock.now) }
    }
}
