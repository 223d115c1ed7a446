import AuditTrail
import Diagnostics
import FoundationEssentials
import KMSProtocol
import KeyStore
import MasterKey
import Testing
import WireText

@testable import KeyManagement

/// What the pseudonyms of the trail stand for: readable by the KMS until its time is over.
@Suite("Details of audit records")
struct AuditDetailsTests {
    private let folder = FileManager.default.temporaryDirectory.path + "/hds-details-\(UUIDText.random())"
    private let key: AttestationKey
    private let kek: KeyEncryptionKey
    private let store = MemoryKeyStore()
    private let november = Timestamp(iso8601: "2026-11-30T23:00:00Z")!

    init() throws {
        key = try AttestationKey.createP256()
        kek = try KeyEncryptionKey.create()
    }

    private func start(_ now: Timestamp) async throws -> (TestKMS, AuditTrail) {
        let trail = try await AuditTrail.open(AuditTrailConfiguration(folder: folder, node: "kms-1", key: key))
        return (try await TestKMS.start(store: store, kek: kek, audit: trail, now: now), trail)
    }

    private func decisions() throws -> [AuditRecord] {
        var query = AuditQuery()
        query.kind = .decision
        return try TrailReader(folder: folder).records(query).map(\.record)
    }

    @Test("are readable after a restart; when their month is destroyed this is said, and the trail holds as before")
    func destroyed() async throws {
        defer { try? FileManager.default.removeItem(atPath: folder) }
        var (kms, trail) = try await start(november)
        var alice = try await TestClient.open(kms, People.alice)
        let keys = try await alice.createKeys(1)
        #expect(try await alice.status(retrieving: keys[0].uri) == 200)
        try await trail.close()

        let december = november.adding(seconds: 7200)
        (kms, trail) = try await start(december)
        let audit = try #require(kms.audit)
        alice = try await TestClient.open(kms, People.alice)
        #expect(try await alice.status(retrieving: keys[0].uri) == 200)
        let records = try decisions().filter { $0.method == "retrieve" }
        #expect(records.count == 2)
        for record in records {
            #expect(try audit.details(of: record)?.object == keys[0].uri)
            #expect(try audit.details(of: record)?.user == People.alice)
        }

        let due = december.adding(seconds: 90 * 86_400)
        #expect(try await audit.destroyDetails(olderThan: 90 * 86_400, now: due).map(\.description) == ["2026-11"])
        #expect(try await audit.destroyDetails(olderThan: 90 * 86_400, now: due).isEmpty)
        let error = #expect(throws: DiagnosedError.self) { try audit.details(of: records[0]) }
        #expect(error?.code == .auditMonthDestroyed)
        #expect(try audit.details(of: records[1])?.object == keys[0].uri)
        #expect(records[0].user == audit.pseudonym(user: People.alice), "the pseudonym is still the person's")
        try await audit.seal(now: due)
        let report = try TrailVerifier(folder: folder, trust: AttestationTrust(keys: [key.publicKey])).verify()
        #expect(report.unsealed == 0)
        var query = AuditQuery()
        query.kind = .erasure
        let erasures = try TrailReader(folder: folder).records(query).map(\.record)
        #expect(erasures.map(\.path) == ["2026-11"] && erasures.map(\.rule) == ["details-retention"])
        try await trail.close()
    }
}
