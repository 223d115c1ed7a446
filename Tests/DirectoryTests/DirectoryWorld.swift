import Cryptography
import Diagnostics
import DirectoryModel
import JOSESignature
import LDAPDirectory
import Synchronization
import TestServers
import Testing
import TokenIssuer
import WireText

/// An authorization service with two accounts in its file, a clock that a test moves, and a folder of its own.
final class DirectoryWorld: Sendable {
    let folder = TemporaryFolder()
    let clock: TestClock
    let events = RecordedEvents()
    let metrics = MetricRegistry()
    let service: AuthorizationService

    static let alice = "0a1b2c3d-0000-4000-8000-00000000a11c"
    static let bob = "0a1b2c3d-0000-4000-8000-000000000b0b"

    init(clock: TestClock = TestClock(), accounts: Accounts? = nil, folder other: TemporaryFolder? = nil) throws {
        self.clock = clock
        let path = (other ?? folder).path
        var settings = IssuerSettings(
            issuer: "https://auth.example.com", domain: "example.com", kmsCluster: "kms://kms.example.com",
            kmsRoots: [],
            core: "https://core.example.net")
        settings.directoryOrganisation = "example"
        let file = accounts ?? Self.file
        service = try AuthorizationService(
            settings: settings, accounts: AccountDirectory(file), stateFolder: path, events: events, metrics: metrics,
            surroundings: .init(now: { clock.now }),
            passwords: PasswordCheck(decoy: "scrypt$x", compare: { $0 == $1 }))
    }

    static let file = Accounts(users: [
        UserAccount(
            id: alice, email: "alice@example.com", name: "Alice", organisation: "example", passwordHash: "alice-hash"),
        UserAccount(id: bob, email: "bob@example.com", name: "Bob", organisation: "example", passwordHash: "bob-hash"),
    ])

    /// A login of a user, as the code exchange leaves it: a refresh token and an opaque access token.
    func signIn(_ user: String) async throws {
        let now = clock.now
        let grant = Grant(
            family: UUIDText.random(), user: user, client: "hds-cli", scope: ["hds"], credential: "c", signedIn: now,
            expires: now.adding(seconds: 86_400))
        try await service.grants.insert(
            AuthorizationCode(
                digest: UUIDText.random(), redirect: "r", challenge: "c", expires: now.adding(seconds: 60), grant: grant
            ))
        let token = AccessToken(
            id: UUIDText.random(), subject: user, client: "hds-cli", organisation: "example", scope: ["hds"],
            audience: .kms, issued: now, expires: now.adding(seconds: 3600), confirmation: nil, family: grant.family,
            credential: "c")
        #expect(try await service.grants.insert([(UUIDText.random(), token)]))
    }

    /// What the KMS would read now.
    func list() async throws -> RevocationDocument {
        let reply = await service.revocationList()
        let text = String(decoding: reply.body, as: UTF8.self)
        return try RevocationDocument.verify(
            text, keys: try JWKSet(json: service.keySet()), allowing: [.es256], issuer: service.settings.issuer)
    }

    func isDisabled(_ id: String) -> Bool? { service.accounts.accounts.user(id: id)?.isDisabled }
}

/// A clock that moves when a test says so.
final class TestClock: Sendable {
    private let instant: Mutex<Timestamp>

    init(_ start: Timestamp = Timestamp(seconds: 1_800_000_000)) { instant = Mutex(start) }

    var now: Timestamp { instant.withLock { $0 } }
    func advance(seconds: Int64) { instant.withLock { $0 = $0.adding(seconds: seconds) } }
}

final class RecordedEvents: EventRecorder {
    private let records = Mutex<[(event: Event, text: String)]>([])

    func isRecorded(_ severity: Severity) -> Bool { true }
    func write(_ event: Event, _ fields: LogFields) {
        records.withLock { $0.append((event, event.message.text(fields))) }
    }

    var lines: [String] { records.withLock { $0.map(\.text) } }
    func count(of event: Event) -> Int { records.withLock { $0.count { $0.event == event } } }
}

/// A directory in memory, which fails when a test says so.
final class FakeDirectory: DirectorySource {
    struct State: Sendable {
        var reading = DirectoryReading(people: [])
        var marker: String?
        var failure: DiagnosedError?
        var reads = 0
    }

    let name = "ldap:fake"
    private let state = Mutex(State())

    func change(_ body: (inout State) -> Void) { state.withLock { body(&$0) } }
    var reads: Int { state.withLock { $0.reads } }

    func marker() async throws -> String? { state.withLock { $0.marker } }
    func read() async throws -> DirectoryReading {
        try state.withLock { state in
            state.reads += 1
            if let failure = state.failure { throw failure }
            return state.reading
        }
    }
}
