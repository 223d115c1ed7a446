import Diagnostics
import ServiceLifecycle
import Synchronization
import Testing

@testable import ServiceRuntime

@Suite("Self-test and watchdog")
struct SelfTestTests {
    /// What a loop does to the outside, and the outcome of its next tests.
    private final class Bench: Sendable {
        let clock = ManualClock()
        let events = RecordedEvents()
        let metrics = MetricRegistry()
        let health: HealthRegistry
        let liveness: Liveness
        let sent = Mutex<[String]>([])
        let failure = Mutex<DiagnosedError?>(nil)
        let runs = Mutex(0)

        init() {
            health = HealthRegistry(events: events, metrics: metrics)
            liveness = Liveness(maximumAge: .seconds(30), clock: clock)
        }

        var loop: SelfTestLoop<ManualClock> {
            SelfTestLoop(
                interval: .seconds(10), clock: clock,
                test: {
                    self.runs.withLock { $0 += 1 }
                    if let error = self.failure.withLock({ $0 }) { throw error }
                }, notifier: Notifier { text in self.sent.withLock { $0.append(text) } }, health: health,
                liveness: liveness, metrics: metrics, events: events)
        }
        var pings: Int { sent.withLock { $0.count { $0 == "WATCHDOG=1" } } }
        var state: HealthState? { health.report.checks.first?.finding.state }
    }

    @Test("the watchdog is fed after each test that passes, and only then")
    func feeding() async throws {
        let bench = Bench()
        let task = Task { try await bench.loop.run() }
        await bench.clock.sleepers()
        #expect(bench.pings == 1 && bench.state == .ok)
        #expect(bench.clock.nextWake == .seconds(10))

        bench.failure.withLock { $0 = DiagnosedError("store-gone", fault: .store, "the canary was not read back") }
        bench.clock.advance(by: .seconds(10))
        await bench.clock.sleepers()
        #expect(bench.pings == 1 && bench.state == .fail)
        #expect(bench.events.ids == ["HDS-SELF-TEST-FAILED"])
        #expect(bench.events.all[0].fields[.reason]?.text == "the canary was not read back [store-gone]")

        // It looks again soon, and tells the same failure once.
        #expect(bench.clock.nextWake == .milliseconds(20))
        bench.clock.advance(by: .milliseconds(20))
        await bench.clock.sleepers()
        #expect(bench.runs.withLock { $0 } == 3)
        #expect(bench.pings == 1 && bench.events.ids.count == 1)

        bench.failure.withLock { $0 = nil }
        bench.clock.advance(by: .milliseconds(40))
        await bench.clock.sleepers()
        #expect(bench.pings == 2 && bench.state == .ok)
        #expect(bench.clock.nextWake == .seconds(10))
        #expect(bench.metrics.counter(.selfTests, ["passed"]).value == 2)
        #expect(bench.metrics.counter(.selfTests, ["failed"]).value == 2)
        task.cancel()
        try await task.value
    }

    @Test("a test that hangs feeds nothing, and the service is no longer alive when its last pass is too old")
    func hanging() async throws {
        let bench = Bench()
        #expect(bench.liveness.isLive)
        #expect(await bench.loop.once())
        bench.clock.advance(by: .seconds(30))
        #expect(bench.liveness.isLive)
        bench.clock.advance(by: .milliseconds(1))
        #expect(!bench.liveness.isLive)
        #expect(bench.pings == 1)
    }

    @Test("pauses after failures grow up to the interval and start anew after a success")
    func pauses() {
        var pauses = RetryPauses(upTo: .milliseconds(100))
        #expect((0..<4).map { _ in pauses.afterFailure() } == [20, 40, 80, 100].map { .milliseconds($0) })
        #expect(pauses.afterSuccess() == .milliseconds(100))
        #expect(pauses.afterFailure() == .milliseconds(20))
    }

    @Test("probes are looked at from the start, each in its interval, and failing ones sooner")
    func probes() async throws {
        let clock = ManualClock()
        let health = HealthRegistry(events: RecordedEvents(), metrics: MetricRegistry())
        let finding = Mutex(HealthFinding.fail("down", fix: nil))
        let looks = Mutex(0)
        health.probe(HealthCheck("p", "a probe", gate: .required), every: .seconds(60)) {
            looks.withLock { $0 += 1 }
            return finding.withLock { $0 }
        }
        #expect(!health.report.isReady)
        let task = Task { try await ProbeLoop(health: health, clock: clock).run() }
        await clock.sleepers()
        #expect(looks.withLock { $0 } == 1 && !health.report.isReady)
        finding.withLock { $0 = .ok("up") }
        clock.advance(by: .milliseconds(20))
        await clock.sleepers()
        #expect(health.report.isReady)
        #expect(clock.nextWake == .seconds(60))
        task.cancel()
        try await task.value
    }

    @Test("READY is said once when the last gate is met, and a changed sentence afterwards")
    func announcing() async throws {
        let bench = Bench()
        let store = HealthCheck("store", "the database", gate: .required)
        bench.health.declare(store)
        let heard = AsyncStream.makeStream(of: String.self)
        let announcer = StatusAnnouncer(
            identity: ServiceIdentity(name: "hds-test", version: "1"), health: bench.health,
            notifier: Notifier { heard.continuation.yield($0) }, events: bench.events, age: { 1234 },
            address: { "127.0.0.1:1" })
        let task = Task { try await announcer.run() }
        var said = heard.stream.makeAsyncIterator()
        #expect(await said.next() == "STATUS=Starting: waiting for the database (not known yet).")
        bench.health.report(store, .ok("answers"))
        #expect(await said.next() == "READY=1\nSTATUS=Ready; all checks pass.")
        bench.health.report(store, .fail("gone\nREADY=1", fix: nil))
        #expect(await said.next() == "STATUS=Not ready: failing the database (gone READY=1).")
        bench.health.report(store, .ok("back"))
        #expect(await said.next() == "STATUS=Ready; all checks pass.")
        #expect(bench.events.ids == ["HDS-READY"])
        #expect(
            bench.events.all[0].event.message.text(bench.events.all[0].fields)
                == "hds-test 1 is ready (1234 us after its start); health at 127.0.0.1:1")
        task.cancel()
        try await task.value
    }

    @Test("what changes while READY is being said is told next")
    func changeMeanwhile() async throws {
        let bench = Bench()
        let link = HealthCheck("link", "the link", gate: .policy(key: "ready-without-core", mayBeMissing: true))
        bench.health.declare(link)
        let heard = AsyncStream.makeStream(of: String.self)
        let announcer = StatusAnnouncer(
            identity: ServiceIdentity(name: "hds-test", version: "1"), health: bench.health,
            notifier: Notifier { text in
                if text.hasPrefix("READY=1") { bench.health.report(link, .ok("up")) }
                heard.continuation.yield(text)
            }, events: bench.events, age: { 0 }, address: { "-" })
        let task = Task { try await announcer.run() }
        var said = heard.stream.makeAsyncIterator()
        #expect(await said.next() == "READY=1\nSTATUS=Degraded: working without the link (not known yet).")
        #expect(await said.next() == "STATUS=Ready; all checks pass.")
        task.cancel()
        try await task.value
    }

    @Test("a start without something that may be missing says so once")
    func degraded() async throws {
        let bench = Bench()
        bench.health.declare(
            HealthCheck("link", "the link", gate: .policy(key: "ready-without-core", mayBeMissing: true)))
        let heard = AsyncStream.makeStream(of: String.self)
        let announcer = StatusAnnouncer(
            identity: ServiceIdentity(name: "hds-test", version: "1"), health: bench.health,
            notifier: Notifier { heard.continuation.yield($0) }, events: bench.events, age: { 0 }, address: { "-" })
        let task = Task { try await announcer.run() }
        var said = heard.stream.makeAsyncIterator()
        #expect(await said.next() == "READY=1\nSTATUS=Degraded: working without the link (not known yet).")
        bench.health.report(HealthCheck("link", "the link"), .ok("up"))
        #expect(await said.next() == "STATUS=Ready; all checks pass.")
        #expect(bench.events.ids == ["HDS-READY-DEGRADED", "HDS-READY"])
        task.cancel()
        try await task.value
    }
}
