import Diagnostics
import Logging
import ServiceLifecycle

/// Proves in an interval that the service can do its work, and feeds the watchdog only when it could.
///
/// The test is the service's own: a canary through its real work path. A test that fails or hangs leaves the watchdog
/// unfed, and systemd restarts the service after WatchdogSec. The result is the check `self-test` and decides
/// `/livez`.
struct SelfTestLoop<Time: Clock>: Service where Time.Duration == Duration {
    static var check: HealthCheck { HealthCheck("self-test", "the self-test", gate: .required) }

    let interval: Duration
    let clock: Time
    let test: @Sendable () async throws -> Void
    let notifier: Notifier
    let health: HealthRegistry
    let liveness: Liveness
    let metrics: MetricRegistry
    let events: any EventRecorder

    func run() async throws {
        try? await cancelWhenGracefulShutdown {
            var pauses = RetryPauses(upTo: interval)
            while !Task.isCancelled {
                let passed = await once()
                try await clock.sleep(for: passed ? pauses.afterSuccess() : pauses.afterFailure())
            }
        }
    }

    /// One test and what follows from it.
    func once() async -> Bool {
        do {
            let start = clock.now
            try await test()
            let took = start.duration(to: clock.now)
            notifier.watchdog()
            liveness.pass()
            metrics.counter(.selfTests, ["passed"]).increment()
            // The time is told in steps, so that a report only changes when there is something to see.
            health.report(Self.check, took < .seconds(1) ? .ok("passes") : .ok("passes slowly (over 1 s)"))
            return true
        } catch is CancellationError {
            return false
        } catch {
            metrics.counter(.selfTests, ["failed"]).increment()
            let finding = HealthFinding.fail(error)
            let isNews = health.report.checks.first { $0.check == Self.check }?.finding != finding
            health.report(Self.check, finding)
            if isNews { events.record(.selfTestFailed, [.reason: finding.detail]) }
            return false
        }
    }
}

/// How long to wait before the next look: the interval after a success, short and growing after failures, so that a
/// start is not held up by something that comes a moment later.
struct RetryPauses {
    private let interval: Duration
    private var next: Duration = .milliseconds(20)

    init(upTo interval: Duration) { self.interval = interval }

    mutating func afterSuccess() -> Duration {
        next = .milliseconds(20)
        return interval
    }
    mutating func afterFailure() -> Duration {
        defer { next = min(next * 2, interval) }
        return min(next, interval)
    }
}

/// Looks at every declared probe, each in its interval and at once at the start.
struct ProbeLoop<Time: Clock>: Service where Time.Duration == Duration {
    let health: HealthRegistry
    let clock: Time

    func run() async throws {
        await cancelWhenGracefulShutdown {
            await withDiscardingTaskGroup { group in
                for probe in health.probes {
                    group.addTask {
                        var pauses = RetryPauses(upTo: probe.interval)
                        while !Task.isCancelled {
                            let finding = await probe.look()
                            health.report(probe.check, finding)
                            let pause = finding.state == .fail ? pauses.afterFailure() : pauses.afterSuccess()
                            guard (try? await clock.sleep(for: pause)) != nil else { return }
                        }
                    }
                }
                // Without any probe the service still runs until it is stopped.
                group.addTask { try? await gracefulShutdown() }
            }
        }
    }
}
