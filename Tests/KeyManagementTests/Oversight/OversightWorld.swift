import AuditTrail
import FoundationEssentials
import KMSProtocol
import KeyManagement
import KeyStore
import KeyStoreSQLite
import MasterKey
import Testing
import WireText

/// A KMS with an audit trail and freezes, and what operators and officers see of it.
final class OversightWorld: Sendable {
    enum Store: String, CaseIterable, Sendable { case memory, sqlite }

    let folder: String
    let kms: TestKMS
    let board: FreezeBoard
    let vault: RecordVault
    let oversight: Oversight
    let attestation: AttestationKey
    let trail: AuditTrail
    let readers = Shared(Oversight.PolicyReaders())

    static func start(
        _ kind: Store = .memory, wrapping: (any KeyStore) -> any KeyStore = { $0 },
        policy: KMSPolicy = TestKMS.testPolicy()
    ) async throws -> OversightWorld {
        let folder = FileManager.default.temporaryDirectory.path + "/hds-oversight-\(UUIDText.random())"
        try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: true)
        let store: any KeyStore =
            switch kind {
            case .memory: MemoryKeyStore()
            case .sqlite: try SQLiteKeyStore(path: folder + "/keys.db")
            }
        return try await OversightWorld(folder, wrapping(store), policy)
    }

    private init(_ folder: String, _ store: any KeyStore, _ policy: KMSPolicy) async throws {
        self.folder = folder
        let kek = try KeyEncryptionKey.create()
        attestation = try AttestationKey.createP256()
        trail = try await AuditTrail.open(
            AuditTrailConfiguration(folder: folder + "/audit", node: "kms-1", key: attestation))
        let ring = try await SealRing.open(kek: kek, store: store, now: Timestamp.now())
        vault = RecordVault(ring: ring, store: store)
        board = try await FreezeBoard(store: store, vault: vault)
        kms = try await TestKMS.start(store: store, kek: kek, policy: policy, freezes: board, audit: trail)
        var management = KeyManagement(names: kms.names, store: store, vault: vault, policy: policy)
        management.freezes = board
        let readers = readers
        oversight = Oversight(
            management: management,
            sessions: SessionTable(store: store, ring: SessionSealRing(store: store, ring: ring), vault: vault),
            readers: { readers.value })
    }

    deinit { try? FileManager.default.removeItem(atPath: folder) }

    var now: Timestamp { kms.clock.now }

    var audit: DecisionAudit {
        get throws { try #require(kms.audit) }
    }

    func erasure() throws -> Erasure {
        let clock = kms.clock
        return Erasure(oversight: oversight, audit: try audit, node: "kms-1", clock: { clock.now })
    }

    func erase(_ subject: OversightSubject, by officers: [String] = ["ada", "bob"]) async throws -> String {
        try await erasure().run(
            subject,
            order: Erasure.Order(officers: officers, request: "digest", backupsUntil: now.adding(seconds: 86_400)),
            id: AuditID.make(at: now))
    }

    func verified(_ file: String) throws -> ErasureCertificate {
        let trust = AttestationTrust(fingerprints: [attestation.fingerprint])
        return try ErasureCertificate.verify(file: file, trust: trust).certificate
    }

    func access(_ subject: OversightSubject, at moment: Timestamp? = nil) async throws -> AccessReport {
        try await oversight.access(to: subject, at: moment, now: now)
    }

    /// Each way in short: means, reader and the last characters of what is between.
    func ways(_ report: AccessReport) -> [String] {
        report.ways.map { way in
            ([way.means.rawValue, short(way.reader)] + way.through.map { short($0) }).joined(separator: " ")
        }
    }
    private func short(_ text: String) -> String {
        let names = [People.alice: "alice", People.bob: "bob", People.carol: "carol", People.dan: "dan"]
        return names[text] ?? String(text.suffix(4))
    }
}

extension String {
    /// The id at the end of an object's URI.
    var objectID: String { String(suffix(36)) }
}
