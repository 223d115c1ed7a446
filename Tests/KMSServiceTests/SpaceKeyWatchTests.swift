import Diagnostics
import KMSProtocol
import KeyStore
import MasterKey
import ServiceRuntime
import Testing
import WireText

@testable import KMSService
@testable import KeyManagement

@Suite("Spaces that wait for a new key, as the operator sees it")
struct SpaceKeyWatchTests {
    private struct Silence: EventRecorder {
        func isRecorded(_ severity: Severity) -> Bool { false }
        func write(_ event: Event, _ fields: LogFields) {}
    }

    private static let start = Timestamp(iso8601: "2026-11-26T12:00:00Z")!

    private let store = MemoryKeyStore()
    private let vault: RecordVault
    private let metrics = MetricRegistry()
    private let alarms: AlarmBoard
    private let watch: SpaceKeyWatch

    init() async throws {
        let ring = try await SealRing.open(kek: try KeyEncryptionKey.create(), store: store, now: Self.start)
        vault = RecordVault(ring: ring, store: store)
        alarms = AlarmBoard(events: Silence(), metrics: metrics)
        watch = SpaceKeyWatch(
            due: SpaceKeysDue(
                store: store, vault: vault, names: KMSNames(host: "kms.example.com"), policy: KMSPolicy()),
            alarms: alarms, metrics: metrics,
            log: KMSRequestLog(
                events: Silence(), metrics: metrics, alarms: alarms, ring: ring, usesPseudonyms: true),
            name: { "o:" + $0.suffix(4) })
    }

    private func id(_ number: Int) -> String { "00000000-0000-4000-8000-00000000000\(number)" }

    /// A space with one member, from which somebody left that many seconds after the start.
    private func leave(_ number: Int, after seconds: Int64) async throws {
        var head = ResourceContent(creator: "alice", created: Self.start, expires: nil, fingerprint: [])
        head.lastBound = Self.start
        head.lastRemoval = Self.start.adding(seconds: seconds)
        let member = AuthorizationContent(
            authID: "alice", resource: id(number), roleURI: nil, created: Self.start, createdBy: "alice", order: 1)
        let change = StoreChange(writes: [
            .insertResource(try vault.record(head, id: id(number), version: 1)),
            .insertAuthorization(try vault.record(member, id: id(number), version: 1)),
        ])
        #expect(try await store.commit(change) == .committed)
    }

    private func bind(_ number: Int, at time: Timestamp) async throws {
        let record = try #require(try await store.resource(id(number)))
        var head = try vault.content(record)
        head.lastBound = time
        let change = StoreChange(writes: [
            .updateResource(try vault.record(head, id: id(number), version: record.version + 1))
        ])
        #expect(try await store.commit(change) == .committed)
    }

    private var detail: String? { alarms.current.first { $0.alarm == .spaceKeyDue }?.detail.text }

    private var gauge: Double { metrics.gauge(.kmsSpaceKeysDue).value }

    @Test(
        "[HDS-SPACE-KEY-DUE] The alarm names them by pseudonyms and counts the others; it goes when each has a new key")
    func alarm() async throws {
        for number in 1...7 { try await leave(number, after: Int64(number)) }
        let day: Int64 = 86_400
        try await watch.look(all: true, now: Self.start.adding(seconds: day))
        #expect(detail == nil)
        let due = Self.start.adding(seconds: day + 7)
        try await watch.look(all: true, now: due)
        #expect(detail?.hasPrefix("7 spaces wait") == true && detail?.hasSuffix("and 2 more") == true)
        #expect(detail?.contains("o:0001 since 2026-11-26T12:00:01.000Z") == true)
        #expect(detail?.contains("00000000-0000") == false, "no identifier in clear")
        #expect(gauge == 7)
        for number in 1...6 { try await bind(number, at: due) }
        try await watch.look(all: false, now: due.adding(seconds: 60))
        #expect(detail?.hasPrefix("1 spaces wait") == true && detail?.contains("o:0007") == true)
        try await bind(7, at: due)
        try await watch.look(all: false, now: due.adding(seconds: 120))
        #expect(detail == nil && gauge == 0)
    }
}
