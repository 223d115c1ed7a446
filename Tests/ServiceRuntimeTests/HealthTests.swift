import Diagnostics
import Synchronization
import Testing
import WireText

@testable import ServiceRuntime

/// Keeps events with their fields.
final class RecordedEvents: EventRecorder {
    private let kept = Mutex<[(event: Event, fields: LogFields)]>([])
    var all: [(event: Event, fields: LogFields)] { kept.withLock { $0 } }
    var ids: [String] { all.map(\.event.id) }
    func isRecorded(_ severity: Severity) -> Bool { true }
    func write(_ event: Event, _ fields: LogFields) { kept.withLock { $0.append((event, fields)) } }
}

/// A wall clock that a test sets.
final class WallClock: Sendable {
    private let value = Mutex(Timestamp(seconds: 1_790_000_000))
    var now: Timestamp {
        get { value.withLock { $0 } }
        set { value.withLock { $0 = newValue } }
    }
}

/// Seconds since 1970 that a test sets.
private final class SharedTime: Sendable {
    private let value: Mutex<Int64?>
    init(_ seconds: Int64?) { value = Mutex(seconds) }
    var seconds: Int64? {
        get { value.withLock { $0 } }
        set { value.withLock { $0 = newValue } }
    }
}

@Suite("Health registry")
struct HealthRegistryTests {
    private let events = RecordedEvents()
    private let metrics = MetricRegistry()
    private let wall = WallClock()
    private let health: HealthRegistry
    private let store = HealthCheck("store", "the database", gate: .required)
    private let disk = HealthCheck("disk", "the disk")

    init() {
        let wall = wall
        health = HealthRegistry(events: events, metrics: metrics, now: { wall.now })
    }

    @Test("a service without gates is ready, one with a pending gate is not")
    func gates() {
        #expect(health.report.isReady)
        health.declare(store)
        #expect(!health.report.isReady)
        #expect(metrics.gauge(.ready).value == 0)
        #expect(health.report.sentence == "Starting: waiting for the database (not known yet).")
        health.report(store, .ok("answers"))
        #expect(health.report.isReady && health.report.state == .ok)
        #expect(metrics.gauge(.ready).value == 1)
        #expect(health.report.sentence == "Ready; all checks pass.")
    }

    @Test("a warning does not hold readiness, a failure does, and a check without a gate never")
    func states() {
        health.announceReady()
        health.report(store, .warn("slow", fix: "look"))
        #expect(health.report.isReady && health.report.state == .warn)
        #expect(health.report.sentence == "Ready; look at the database (slow).")
        health.report(store, .fail("gone", fix: nil))
        #expect(!health.report.isReady && health.report.state == .fail)
        #expect(health.report.sentence == "Not ready: failing the database (gone).")
        health.report(store, .ok("back"))
        health.report(disk, .fail("full", fix: "free space"))
        #expect(health.report.isReady && health.report.state == .fail)
        #expect(health.report.sentence == "Degraded: working without the disk (full).")
    }

    @Test("a policy may let a gate be missing, and the sentence says so")
    func policy() {
        let strict = HealthCheck("link", "the link", gate: .policy(key: "ready-without-core", mayBeMissing: false))
        health.declare(strict)
        #expect(!health.report.isReady)

        let lenient = HealthRegistry(events: events, metrics: metrics)
        lenient.declare(HealthCheck("link", "the link", gate: .policy(key: "ready-without-core", mayBeMissing: true)))
        #expect(lenient.report.isReady)
        #expect(lenient.report.sentence == "Degraded: working without the link (not known yet).")
    }

    @Test("since moves only when the state changes")
    func since() {
        health.report(store, .ok("a"))
        let start = wall.now
        wall.now = start.adding(seconds: 5)
        health.report(store, .ok("b"))
        #expect(health.report.checks[0].since == start)
        #expect(health.report.checks[0].finding.detail == "b")
        health.report(store, .fail("c", fix: nil))
        #expect(health.report.checks[0].since == start.adding(seconds: 5))
    }

    @Test("a standing warning is written once and shown until it is withdrawn")
    func warnings() {
        let warning = StandingWarning("w", "the core can impersonate users", fix: "use your own issuer")
        health.warn(warning)
        health.warn(warning)
        #expect(events.ids == ["HDS-WARNING"])
        #expect(events.all[0].event.message.text(events.all[0].fields) == "the core can impersonate users")
        #expect(health.report.state == .warn)
        #expect(health.report.sentence == "Ready; warning: the core can impersonate users.")
        health.withdraw(warning: "w")
        #expect(health.report.state == .ok)
    }

    @Test("draining is not ready, whatever the checks say")
    func draining() {
        health.report(store, .ok("fine"))
        health.beginDraining()
        #expect(!health.report.isReady)
        #expect(health.report.sentence == "Draining: answering what is in flight.")
        #expect(metrics.gauge(.ready).value == 0)
    }

    @Test("every change that shows is announced, and nothing else")
    func changes() async {
        var changes = health.changes.makeAsyncIterator()
        health.report(store, .ok("a"))
        await changes.next()
        health.report(store, .ok("a"))
        health.alarms.raise(.diskLow, "5 % left")
        await changes.next()
        #expect(health.report.alarms.count == 1)
    }
}

@Suite("Alarm board")
struct AlarmBoardTests {
    private let events = RecordedEvents()
    private let metrics = MetricRegistry()
    private let wall = WallClock()
    private let board: AlarmBoard

    init() {
        let wall = wall
        board = AlarmBoard(events: events, metrics: metrics, now: { wall.now })
    }

    @Test("an alarm is raised once, updated in silence, and cleared once")
    func life() {
        board.raise(.cloudUnreachable, "refused")
        let start = wall.now
        wall.now = start.adding(seconds: 60)
        board.raise(.cloudUnreachable, "timed out")
        #expect(events.ids == ["HDS-CLOUD-UNREACHABLE"])
        #expect(events.all[0].event.messageID == Alarm.cloudUnreachable.messageID)
        #expect(events.all[0].fields[.alarmState] == "raised")
        #expect(board.current.map(\.detail) == ["timed out"])
        #expect(board.current[0].since == start)
        #expect(metrics.gauge(.alarm, ["HDS-CLOUD-UNREACHABLE"]).value == 1)
        board.clear(.cloudUnreachable, "linked")
        board.clear(.cloudUnreachable, "linked")
        #expect(events.ids == ["HDS-CLOUD-UNREACHABLE", "HDS-ALARM-CLEARED"])
        #expect(events.all[1].fields[.alarmID] == "HDS-CLOUD-UNREACHABLE")
        #expect(metrics.gauge(.alarm, ["HDS-CLOUD-UNREACHABLE"]).value == 0)
    }

    @Test("a new stage is told again")
    func stages() {
        board.raise(.certificateExpiry, about: "kms.pem", stage: 30, "29 days left")
        board.raise(.certificateExpiry, about: "kms.pem", stage: 30, "28 days left")
        board.raise(.certificateExpiry, about: "kms.pem", stage: 14, "14 days left")
        #expect(events.all.map { $0.fields[.detail]?.text } == ["29 days left", "14 days left"])
    }

    @Test("subjects stand apart, and the metric falls with the last; the most severe stands first")
    func subjects() {
        board.raise(.diskLow, about: "/var", "a")
        board.raise(.diskLow, about: "/srv", "b")
        board.raise(.cloudPinMismatch, "c")
        #expect(board.current.map(\.alarm.id) == ["HDS-CLOUD-PIN-MISMATCH", "HDS-DISK-LOW", "HDS-DISK-LOW"])
        #expect(board.current.map(\.subject.text) == ["", "/srv", "/var"])
        board.clear(.diskLow, about: "/var", "free")
        #expect(metrics.gauge(.alarm, ["HDS-DISK-LOW"]).value == 1)
        board.clear(.diskLow, about: "/srv", "free")
        #expect(metrics.gauge(.alarm, ["HDS-DISK-LOW"]).value == 0)
    }
}

@Suite("Common probes")
struct CommonProbeTests {
    private let events = RecordedEvents()
    private let wall = WallClock()
    private let health: HealthRegistry

    init() {
        let wall = wall
        health = HealthRegistry(events: events, metrics: MetricRegistry(), now: { wall.now })
    }

    /// Looks once at the only probe.
    private func look() async throws -> HealthFinding {
        let probe = try #require(health.probes.first)
        return await probe.look()
    }

    @Test("[HDS-DISK-LOW] a full disk warns, then fails, each told once, and is cleared by itself")
    func space() async throws {
        let left = Mutex(FreeSpace.bytes(5 << 30))
        health.watchSpace(of: FileLocation("/var/lib/x")) { _ in left.withLock { $0 } }
        #expect(try await look() == .ok("5 GiB left for /var/lib/x"))
        left.withLock { $0 = .bytes(1000 << 20) }
        #expect(try await look().state == .warn)
        left.withLock { $0 = .bytes(900 << 20) }
        #expect(try await look().detail == "896 MiB left for /var/lib/x")
        left.withLock { $0 = .bytes(63 << 20) }
        #expect(try await look().state == .fail)
        left.withLock { $0 = .bytes(2 << 30) }
        #expect(try await look().state == .ok)
        #expect(events.ids == ["HDS-DISK-LOW", "HDS-DISK-LOW", "HDS-ALARM-CLEARED"])
        left.withLock { $0 = .unknown("gone") }
        #expect(try await look().state == .warn)
    }

    @Test("the space of a real folder is known, that of an absent one is not")
    func realSpace() {
        guard case .bytes(let bytes) = FreeSpace.of(FileLocation("/tmp")) else {
            Issue.record("no space known")
            return
        }
        #expect(bytes > 0)
        if case .bytes = FreeSpace.of(FileLocation("/absent")) { Issue.record("space of nothing") }
    }

    @Test("[HDS-CRED-AGE] an old secret is told with its age, a new file in its place clears it")
    func age() async {
        let file = SharedTime(wall.now.seconds - 364 * 86_400)
        health.watchAge(ofSecret: "client-secret", days: 365, now: { [wall] in wall.now }) { file.seconds }
        let probe = health.probes[0]
        #expect(await probe.look().state == .ok)
        wall.now = wall.now.adding(seconds: 86_400)
        #expect(await probe.look().state == .warn)
        #expect(health.alarms.current.map(\.detail.text) == ["client-secret is 365 days old"])
        file.seconds = wall.now.seconds
        #expect(await probe.look().state == .ok)
        #expect(health.alarms.current.isEmpty)
        file.seconds = nil
        #expect(await probe.look() == .ok("the age of client-secret is not known here"))
    }

    @Test(
        "[HDS-CERT-EXPIRY] a certificate is announced at 30, 14, 7 and 1 days, fails when it has ended, and is cleared by a new one"
    )
    func certificate() async throws {
        let wall = wall
        let end = Mutex(wall.now.adding(seconds: 40 * 86_400))
        health.watchCertificate("tls", "the certificate", fix: "renew it", now: { wall.now }) { end.withLock { $0 } }
        var announced: [Int: HealthState] = [:]
        for day in 0...41 {
            let before = events.ids.count
            let state = try await look().state
            if events.ids.count > before { announced[40 - day] = state }
            wall.now = wall.now.adding(seconds: 86_400)
        }
        #expect(announced == [30: .warn, 14: .warn, 7: .warn, 1: .warn, -1: .fail])
        end.withLock { $0 = wall.now.adding(seconds: 90 * 86_400) }
        #expect(try await look().state == .ok)
        #expect(events.ids.last == "HDS-ALARM-CLEARED")
        #expect(health.report.alarms.isEmpty)
    }
}
