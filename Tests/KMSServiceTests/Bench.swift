import AuditTrail
import Cryptography
import Diagnostics
import Glibc
import JOSESignature
import KeyManagement
import KeyStore
import MasterKey
import ServiceRuntime
import SignedPolicy
import Synchronization
import TestServers
import WireText

@testable import KMSService

/// What the KMS service stands on, for tests of its parts: a real store, real seals, a real trail, real files.
final class Bench: Sendable {
    let folder = TemporaryFolder()
    let store: any KeyStore
    let ring: SealRing
    let vault: RecordVault
    let audit: DecisionAudit
    let events = RecordedEvents()
    let health: HealthRegistry
    let metrics = MetricRegistry()
    let key: AttestationKey
    let ada: OfficerKey
    let bob: OfficerKey
    private let time: Mutex<Timestamp>

    /// An officer with the private key.
    struct OfficerKey: Sendable {
        let officer: Officer
        let key: PrivateKey

        init(_ id: String, _ duties: Set<Officer.Duty>) throws {
            key = try .generateP256()
            officer = try Officer(id: id, name: "\(id) example", publicKey: key.publicKey, duties: duties)
        }
    }

    init(store: any KeyStore = MemoryKeyStore()) async throws {
        self.store = store
        time = Mutex(.now())
        ring = try await SealRing.open(kek: KeyEncryptionKey.create(), store: store, now: .now())
        vault = RecordVault(ring: ring, store: store)
        key = try .createP256()
        audit = DecisionAudit(
            trail: try await AuditTrail.open(
                AuditTrailConfiguration(folder: folder.path + "/audit", node: "node-1", key: key)),
            ring: ring, store: store)
        health = HealthRegistry(events: events, metrics: metrics)
        ada = try OfficerKey("ada", [.policy, .freeze])
        bob = try OfficerKey("bob", [.policy, .fourEyes])
        try enrol([ada, bob])
    }

    var now: Timestamp { time.withLock { $0 } }
    func advance(seconds: Int64) { time.withLock { $0 = $0.adding(seconds: seconds) } }

    // MARK: Files

    var officersFile: String { folder.path + "/officers.json" }
    var policyFile: String { folder.path + "/policy.signed" }

    func write(_ text: String, to path: String, mode: mode_t = 0o600) throws {
        let beside = path + ".new"
        unlink(beside)
        let descriptor = open(beside, O_WRONLY | O_CREAT | O_EXCL, mode)
        guard descriptor >= 0 else { throw TestPKI.Failure(what: "write \(path)") }
        let bytes = Array(text.utf8)
        _ = Glibc.write(descriptor, bytes, bytes.count)
        fchmod(descriptor, mode)
        close(descriptor)
        rename(beside, path)
    }

    func enrol(_ officers: [OfficerKey]) throws {
        try write(
            String(decoding: try OfficerRoster(officers.map(\.officer)).json(), as: UTF8.self), to: officersFile)
    }

    static func canonical(version: Int, _ members: String...) throws -> [UInt8] {
        let always = [
            #""version": \#(version)"#, #""organisation": "example-org""#, #""issued": "2026-01-15""#,
        ]
        return try Policy.canonical(of: Array("{\((always + members).joined(separator: ", "))}".utf8)).bytes
    }

    static let consent =
        #""services": [{"name": "indexer", "type": "search-indexing", "subject": "svc", "spaces": "all", "#
        + #""notAfter": "2099-12-31"}]"#

    /// Puts a signed policy into its place.
    func sign(_ canonical: [UInt8], by officers: [OfficerKey]) throws {
        try write(
            try officers.map { try SignedPolicyText.sign(canonical, with: $0.key) }.joined(), to: policyFile,
            mode: 0o644)
    }

    // MARK: What was told

    /// Records of the trail that officers made: rule, officers, kind.
    func acts() throws -> [String] {
        try TrailReader(folder: folder.path + "/audit").records(AuditQuery()).map(\.record)
            .filter { $0.user?.hasPrefix("officer:") == true }
            .map { "\($0.kind.rawValue) \($0.rule ?? "-") \($0.path ?? "-")" }
    }

    func alarms() -> [String] { health.report.alarms.map(\.alarm.id) }

    func detail(_ id: String) -> String? {
        health.report.checks.first { $0.check.id == id }?.finding.detail.text
    }
}

/// Keeps the events that were recorded.
final class RecordedEvents: EventRecorder {
    private let lines = Mutex<[(id: String, detail: String)]>([])

    func isRecorded(_ severity: Severity) -> Bool { true }
    func write(_ event: Event, _ fields: LogFields) {
        lines.withLock { $0.append((event.id, fields[.detail]?.text ?? "")) }
    }
    func details(of event: Event) -> [String] { lines.withLock { $0.filter { $0.id == event.id }.map(\.detail) } }
}

func errorCode(_ body: () async throws -> some Any) async -> DiagnosedError.Code? {
    do {
        _ = try await body()
        return nil
    } catch {
        return (error as? DiagnosedError)?.code
    }
}
