import AuditTrail
import Cryptography
import Encryption
import JOSEEncryption
import JOSESignature
import KMSProtocol
import KeyManagement
import KeyStore
import MasterKey
import SecretMemory
import SignedPolicy
import Testing
import WireText

/// A KMS without network: real keys, real seals, a real store, a clock that the test moves.
final class TestKMS: Sendable {
    static let host = "kms.hds.example.com"

    let store: any KeyStore
    let handler: RequestHandler
    let names: KMSNames
    let vault: RecordVault
    let sessions: SessionTable
    let staticKey: KMSStaticKey
    let clock: TestClock
    let log = RecordingLog()
    let audit: DecisionAudit?
    /// Where a test puts another signed policy in force.
    let inForce: PolicyInForce

    /// - Parameter store: nil for one in memory.
    static func start(
        store: (any KeyStore)? = nil, kek: KeyEncryptionKey? = nil, policy: KMSPolicy = testPolicy(),
        signed: Policy? = nil, identity: TestIdentity? = nil, verifier: (any BearerVerifier)? = nil,
        freezes: FreezeBoard? = nil, disabled: DisabledUsers? = nil, lease: ReleaseLease? = nil, isShared: Bool = false,
        audit: AuditTrail? = nil, now: Timestamp = Timestamp.now(), host: String = TestKMS.host,
        clock: TestClock? = nil,
        federation: (_ own: KMSStaticKey, _ clock: TestClock) throws -> Federation? = { _, _ in nil }
    ) async throws -> TestKMS {
        let store = store ?? MemoryKeyStore()
        let identity = try identity ?? TestIdentity.shared()
        return try await TestKMS(
            store: store, kek: kek ?? KeyEncryptionKey.create(), policy: policy, signed: signed, identity: identity,
            verifier: verifier ?? TestTokens(), freezes: freezes, disabled: disabled, lease: lease, isShared: isShared,
            audit: audit,
            clock: clock ?? TestClock(now),
            host: host, federation: federation)
    }

    private init(
        store: any KeyStore, kek: KeyEncryptionKey, policy: KMSPolicy, signed: Policy?, identity: TestIdentity,
        verifier: any BearerVerifier, freezes: FreezeBoard?, disabled: DisabledUsers?, lease: ReleaseLease?,
        isShared: Bool,
        audit trail: AuditTrail?,
        clock: TestClock, host: String,
        federation: (_ own: KMSStaticKey, _ clock: TestClock) throws -> Federation?
    ) async throws {
        let now = clock.now
        self.store = store
        names = KMSNames(host: host)
        let ring = try await SealRing.open(kek: kek, store: store, now: now)
        let vault = RecordVault(ring: ring, store: store)
        self.vault = vault
        let sessionRing = SessionSealRing(store: store, ring: ring)
        staticKey = try KMSStaticKey(
            privateKey: identity.privateKey, chain: identity.chain, host: host, now: identity.validAt)
        let audit = trail.map { DecisionAudit(trail: $0, ring: ring, store: store) }
        try await audit?.prepare(now: now)
        self.audit = audit
        self.clock = clock
        inForce = PolicyInForce(policy)
        if let signed { inForce.take(signed) }
        var keyManagement = KeyManagement(names: names, store: store, vault: vault, inForce: inForce)
        keyManagement.freezes = freezes
        keyManagement.disabled = disabled
        keyManagement.lease = lease
        sessions = SessionTable(store: store, ring: sessionRing, vault: vault, isShared: isShared)
        handler = RequestHandler(
            keyManagement: keyManagement, sessions: sessions,
            verifier: verifier,
            staticKeys: StaticKeysInForce([staticKey]), log: log, audit: audit,
            partners: try federation(staticKey, clock).map { PartnersInForce($0) },
            clock: { clock.now })
    }

    static func testPolicy() -> KMSPolicy {
        var policy = KMSPolicy()
        policy.allowsPublic = true
        policy.resetsPerSourceAndSecond = 100_000
        policy.resetsPerSecond = 100_000
        policy.sessionOpeningsPerSecond = 100_000
        return policy
    }
}
