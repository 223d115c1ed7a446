import CoreLink
import Diagnostics
import ServiceRuntime
import Synchronization
import Testing
import WireText

@testable import KMSService
@testable import LinkedService

/// A registry whose clock a test sets.
struct WatchedHealth {
    struct Silence: EventRecorder {
        func isRecorded(_ severity: Severity) -> Bool { false }
        func write(_ event: Event, _ fields: LogFields) {}
    }

    final class Clock: Sendable {
        private let value = Mutex(Timestamp(seconds: 1_790_000_000))
        var now: Timestamp { value.withLock { $0 } }
        func advance(_ seconds: Int64) { value.withLock { $0 = $0.adding(seconds: seconds) } }
    }

    let clock = Clock()
    let metrics = MetricRegistry()
    let health: HealthRegistry

    init() { health = HealthRegistry(events: Silence(), metrics: metrics) }

    func standing(_ alarm: Alarm) -> AlarmBoard.Standing? { health.alarms.current.first { $0.alarm == alarm } }
    func finding(_ id: String) -> HealthFinding? { health.report.checks.first { $0.check.id == id }?.finding }
}

@Suite("Alarms of the link")
struct LinkAlarmTests {
    private let watched = WatchedHealth()
    private let cut = DiagnosedError("link-closed", fault: .peer, "the connection was cut")

    private func steadiness() -> LinkSteadiness {
        let clock = watched.clock
        return LinkSteadiness(health: watched.health, now: { clock.now })
    }

    @Test("[HDS-LINK-FLAPPING] five losses within ten minutes raise it, ten minutes without one clear it")
    func flapping() {
        let steadiness = steadiness()
        for _ in 0..<4 {
            steadiness.lost(cut)
            watched.clock.advance(60)
        }
        #expect(watched.standing(.linkFlapping) == nil)
        steadiness.lost(cut)
        #expect(watched.standing(.linkFlapping)?.detail.text.contains("the connection was cut") == true)
        #expect(watched.finding("link-steadiness")?.state == .warn)
        watched.clock.advance(500)
        _ = steadiness.look()
        #expect(watched.standing(.linkFlapping) != nil, "one loss is not old enough yet")
        watched.clock.advance(100)
        #expect(steadiness.look().state == .ok)
        #expect(watched.standing(.linkFlapping) == nil)
    }

    @Test("losses that are far apart are no flapping")
    func seldom() {
        let steadiness = steadiness()
        for _ in 0..<20 {
            steadiness.lost(cut)
            watched.clock.advance(200)
        }
        #expect(watched.standing(.linkFlapping) == nil)
    }

    @Test("[HDS-CLOCK-SKEW] a core whose clock is 31 s away raises it, one within a second clears it")
    func skew() {
        let steadiness = steadiness()
        steadiness.opened(clockOffset: 30_000)
        #expect(watched.standing(.clockSkew) == nil)
        steadiness.opened(clockOffset: -31_000)
        #expect(watched.standing(.clockSkew)?.detail.text == "the core's clock is 31 s behind")
        #expect(watched.finding("clock")?.state == .warn)
        steadiness.opened(clockOffset: 400)
        #expect(watched.standing(.clockSkew) == nil)
        #expect(watched.finding("clock") == .ok("within a second of the core's"))
        steadiness.opened(clockOffset: Int64.min)
        #expect(watched.standing(.clockSkew) != nil, "no value overflows")
    }

    @Test("[HDS-SESSION-STORM] twenty strings turned away in a minute raise it, five calm minutes clear it")
    func storm() {
        let clock = watched.clock
        let storms = StormWatch(health: watched.health, metrics: watched.metrics, now: { clock.now })
        for _ in 0..<19 { storms.turnedAway() }
        #expect(watched.standing(.sessionStorm) == nil)
        watched.clock.advance(60)
        for _ in 0..<19 { storms.turnedAway() }
        #expect(watched.standing(.sessionStorm) == nil, "a new minute counts anew")
        storms.turnedAway()
        #expect(watched.standing(.sessionStorm) != nil)
        watched.clock.advance(299)
        storms.turnedAway()
        watched.clock.advance(299)
        #expect(storms.look().state == .warn, "the last one was 299 s ago")
        watched.clock.advance(1)
        #expect(storms.look().state == .ok)
        #expect(watched.standing(.sessionStorm) == nil)
        #expect(watched.metrics.counter(.kmsDropped).value == 40)
    }

    private struct Case: CustomTestStringConvertible {
        let code: DiagnosedError.Code
        let alarm: Alarm
        var failures = 1
        var testDescription: String { "[\(alarm.id)]" }
    }

    /// What a link tells, and which alarm it is to be.
    private static let cases = [
        Case(code: .linkTokenRefused, alarm: .cloudAuthentication),
        Case(code: .linkTooMany, alarm: .cloudThrottled),
        Case(code: "tls-pin-mismatch", alarm: .cloudPinMismatch),
        Case(code: .linkClosed, alarm: .cloudUnreachable, failures: 2),
    ]

    @Test(
        """
        [HDS-CLOUD-AUTH] [HDS-CLOUD-THROTTLED] [HDS-CLOUD-PIN-MISMATCH] [HDS-CLOUD-UNREACHABLE] each stands while the \
        link is down for its reason, and goes when it is open
        """, arguments: cases)
    private func link(_ reason: Case) {
        let checks = LinkChecks(
            watched.health, events: WatchedHealth.Silence(), metrics: watched.metrics, pins: [], readyWithoutCore: false
        )
        var state = LinkState(phase: .waiting)
        state.lastError = DiagnosedError(reason.code, fault: .peer, "it ended")
        state.failures = reason.failures
        checks.report(state, address: "wss://core.example.com/link/v1")
        #expect(watched.health.alarms.current.map(\.alarm) == [reason.alarm])
        checks.report(LinkState(phase: .open), address: "wss://core.example.com/link/v1")
        #expect(watched.health.alarms.current.isEmpty)
    }
}
