import AuditTrail
import Diagnostics
import Glibc
import KeyManagement
import KeyStore
import MasterKey
import ServiceRuntime
import Synchronization
import TestServers
import Testing
import WireText

@testable import KMSService

@Suite("The own audit trail, read again")
struct ChainWatchTests {
    private final class Events: EventRecorder {
        let written = Mutex<[String]>([])
        func isRecorded(_ severity: Severity) -> Bool { true }
        func write(_ event: Event, _ fields: LogFields) { written.withLock { $0.append(event.message.text(fields)) } }
    }

    private final class World: Sendable {
        let folder = TemporaryFolder()
        let key: AttestationKey
        let time = Mutex(Timestamp(iso8601: "2026-11-26T11:05:00Z")!)
        let events = Events()
        let health: HealthRegistry

        init() throws {
            key = try AttestationKey.createP256()
            health = HealthRegistry(events: events, metrics: MetricRegistry())
        }

        func open() async throws -> (DecisionAudit, ChainWatch) {
            var settings = AuditTrailConfiguration(folder: folder.path + "/audit", node: "kms-1", key: key)
            settings.clock = { [self] in time.withLock { $0 } }
            let trail = try await AuditTrail.open(settings)
            let store = MemoryKeyStore()
            let ring = try await SealRing.open(
                kek: try KeyEncryptionKey.create(), store: store, now: time.withLock { $0 })
            let audit = DecisionAudit(trail: trail, ring: ring, store: store)
            return (audit, ChainWatch(audit: audit, health: health, interval: .seconds(3600)))
        }

        func fill(_ trail: AuditTrail) async throws {
            let now = time.withLock { $0 }
            for _ in 0..<5 {
                var record = AuditRecord(.decision, at: now)
                (record.rule, record.status) = ("member", 200)
                try await trail.keep(record)
            }
            try await trail.sealHead(now: now)
        }

        /// Two segments.
        func story(_ trail: AuditTrail) async throws {
            try await fill(trail)
            let now = time.withLock { time in
                time = time.adding(seconds: 3600)
                return time
            }
            try await trail.sealRoot(now: now)
            try await fill(trail)
        }

        var segments: [String] { folder.names(in: "audit").filter { $0.hasSuffix(".audit") } }

        /// Changes one octet of the third line, or back.
        func flip(_ segment: String) throws {
            let path = "\(folder.path)/audit/\(segment)"
            let text = Array(try folder.contents(of: "audit/\(segment)").utf8)
            let third = text.indices.filter { text[$0] == 0x0A }[1] + 20
            let descriptor = Glibc.open(path, O_RDWR | O_CLOEXEC)
            defer { close(descriptor) }
            var octet = text[third] ^ 1
            #expect(pwrite(descriptor, &octet, 1, third) == 1)
        }

        var alarm: AlarmBoard.Standing? { health.alarms.current.first { $0.alarm == .auditChainBroken } }
    }

    @Test("While everything holds nothing stands and keys are released")
    func holds() async throws {
        let world = try World()
        let (audit, watch) = try await world.open()
        try await world.story(audit.trail)
        await watch.look()
        #expect(world.alarm == nil && audit.blocked == nil)
        try await audit.trail.close()
    }

    @Test(
        "[HDS-AUDIT-CHAIN-BROKEN] A break in older records is told and changes nothing else; when it is put back the alarm goes"
    )
    func older() async throws {
        let world = try World()
        let (audit, watch) = try await world.open()
        try await world.story(audit.trail)
        try world.flip(world.segments[0])
        await watch.look()
        let detail = world.alarm?.detail.text ?? ""
        #expect(detail.contains("requests are answered") && detail.contains("\(world.segments[0]) line"))
        #expect(audit.blocked == nil)
        try world.flip(world.segments[0])
        await watch.look()
        #expect(world.alarm == nil)
        try await audit.trail.close()
    }

    @Test("A break where the trail goes on stops every release until it holds again")
    func present() async throws {
        let world = try World()
        let (audit, watch) = try await world.open()
        try await world.story(audit.trail)
        try world.flip(world.segments[1])
        await watch.look()
        #expect(world.alarm?.detail.text.contains("nothing is released") == true)
        #expect(audit.blocked?.code == .auditBlocked && audit.blocked?.hint?.contains("new trail") == true)
        try world.flip(world.segments[1])
        await watch.look()
        #expect(world.alarm == nil && audit.blocked == nil)
        try await audit.trail.close()
    }

    @Test("A segment that is gone is a break; a folder that can not be read is none")
    func gone() async throws {
        let world = try World()
        let (audit, watch) = try await world.open()
        try await world.story(audit.trail)
        let path = "\(world.folder.path)/audit/"
        let names = (world.segments[0], world.segments[1])
        #expect(rename(path + names.1, path + "away") == 0)
        await watch.look()
        #expect(audit.blocked?.code == .auditBlocked)
        #expect(rename(path + "away", path + names.1) == 0)
        await watch.look()
        #expect(audit.blocked == nil)
        // A link is not followed: that is no break, and nothing that was known changes.
        #expect(rename(path + names.0, path + "away") == 0 && symlink("away", path + names.0) == 0)
        await watch.look()
        #expect(world.alarm == nil && audit.blocked == nil)
        try await audit.trail.close()
    }
}
