import Diagnostics
import HTTPClient
import JOSESignature
import KMSProtocol
import KeyStore
import MasterKey
import SecretMemory
import ServiceRuntime
import Synchronization
import TLSChannel
import Testing
import WireText

@testable import KMSService
@testable import KeyManagement

@Suite("Following who is disabled")
struct DisabledKeeperTests {
    private final class Recorded: EventRecorder {
        let records = Mutex<[(Event, String)]>([])
        func isRecorded(_ severity: Severity) -> Bool { true }
        func write(_ event: Event, _ fields: LogFields) {
            records.withLock { $0.append((event, event.message.text(fields))) }
        }
        func texts(of event: Event) -> [String] { records.withLock { $0.filter { $0.0 == event }.map(\.1) } }
    }

    private static let user = "0a1b2c3d-0000-4000-8000-000000000b0b"
    private let now = Timestamp.now()
    private let events = Recorded()
    private let metrics = MetricRegistry()
    private let sessions: SessionTable
    private let keeper: DisabledKeeper
    private let store = MemoryKeyStore()

    init() async throws {
        let ring = try await SealRing.open(kek: try KeyEncryptionKey.create(), store: store, now: now)
        let vault = RecordVault(ring: ring, store: store)
        sessions = SessionTable(store: store, ring: SessionSealRing(store: store, ring: ring), vault: vault)
        let health = HealthRegistry(events: events, metrics: metrics)
        let polls = [true, false].map { isOwn in
            RevocationPoll(
                client: WebClient(trust: nil), url: "https://127.0.0.1:1/revocations",
                list: RevocationList(issuer: "https://\(isOwn ? "own" : "other").example.com") { _ in
                    try JWKSet(json: Array(#"{"keys":[]}"#.utf8))
                },
                interval: .seconds(1), health: health, isCustomerControlled: isOwn)
        }
        keeper = DisabledKeeper(
            try await DisabledUsers(store: store, vault: vault),
            .init(
                sessions: sessions, audit: nil,
                log: KMSRequestLog(
                    events: events, metrics: metrics, alarms: AlarmBoard(events: events, metrics: metrics), ring: ring,
                    usesPseudonyms: true), metrics: metrics, events: events), polls: polls)
    }

    private func document(_ users: [String]) -> RevocationDocument {
        var document = RevocationDocument(issuer: "https://own.example.com", issued: now, version: 1)
        for user in users { document.disabled[user] = now }
        return document
    }

    private func open() async throws {
        let content = SessionContent(
            key: [UInt8](repeating: 7, count: 32).withUnsafeBytes { SymmetricKey(copying: $0) }, userID: Self.user,
            clientID: "device", created: now, expires: now.adding(seconds: 3600),
            holder: .user())
        let id = UUIDText.random()
        #expect(
            try await store.commit(
                StoreChange(writes: [.insertSession(try await sessions.record(content, id: id, now: now))]))
                == .committed)
    }

    @Test(
        "[HDS-USER-DISABLED] who is listed is put on the list once, his sessions end, and it is told under a pseudonym")
    func cut() async throws {
        for _ in 0..<3 { try await open() }
        let follow = try #require(keeper.polls.first).follow
        try await follow(document([Self.user]))
        try await follow(document([Self.user]))
        #expect(keeper.disabled.entry(of: Self.user) != nil)
        #expect(keeper.sessionsEnded(of: Self.user) == 3)
        #expect(try await sessions.living(ofUser: Self.user, now: now) == 0)
        let told = events.texts(of: .userDisabled)
        #expect(told.count == 1 && told[0].contains("3") && !told[0].contains(Self.user))
        #expect(metrics.collect().contains { $0.metric == .disabledUsers })
        try await follow(document([]))
        #expect(keeper.disabled.entry(of: Self.user) == nil)
        #expect(events.texts(of: .userEnabled).count == 1)
    }

    @Test("a list that can not be read is told by issuer, and only the customer's own are asked")
    func unreachable() async throws {
        let readings = await keeper.read()
        #expect(readings.map(\.issuer) == ["https://own.example.com"])
        #expect(readings.first?.trouble != nil)
    }
}
