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
    let disk = FullableDisk()
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
            trail: try await AuditTrail.open(Self.trail(folder.path + "/audit", key, disk)),
            ring: ring, store: store)
        try await audit.prepare(now: .now())
        health = HealthRegistry(events: events, metrics: metrics)
        ada = try OfficerKey("ada", [.policy, .freeze])
        bob = try OfficerKey("bob", [.policy, .fourEyes])
        try enrol([ada, bob])
    }

    private static func trail(_ folder: String, _ key: AttestationKey, _ disk: FullableDisk) -> AuditTrailConfiguration
    {
        var configuration = AuditTrailConfiguration(folder: folder, node: "node-1", key: key)
        configuration.fileSystem = disk
        return configuration
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

    /// Throws what is wrong with the trail; how many records it has.
    func verifyTrail() throws -> Int64 {
        try TrailVerifier(folder: folder.path + "/audit", trust: AttestationTrust(keys: [key.publicKey])).verify().last
    }

    func alarms() -> [String] { health.report.alarms.map(\.alarm.id) }

    func detail(_ id: String) -> String? {
        health.report.checks.first { $0.check.id == id }?.finding.detail.text
    }
}

/// The disk under the trail, which a test can fill.
final class FullableDisk: TrailFileSystem {
    let isFull = Mutex(false)
    func openSegment(_ path: String) throws(DiagnosedError) -> any AppendFile {
        File(try PosixFileSystem().openSegment(path), self)
    }
    func remove(_ path: String) throws(DiagnosedError) { try PosixFileSystem().remove(path) }
    func synchronizeFolder(_ path: String) throws(DiagnosedError) { try PosixFileSystem().synchronizeFolder(path) }

    private final class File: AppendFile {
        let file: any AppendFile
        let disk: FullableDisk
        init(_ file: any AppendFile, _ disk: FullableDisk) {
            self.file = file
            self.disk = disk
        }
        func append(_ bytes: [UInt8]) throws(DiagnosedError) {
            guard !disk.isFull.withLock({ $0 }) else {
                throw DiagnosedError("disk-full", fault: .store, "injected: the disk is full")
            }
            try file.append(bytes)
        }
        func synchronize() throws(DiagnosedError) { try file.synchronize() }
        func truncate(to count: Int) throws(DiagnosedError) { try file.truncate(to: count) }
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
