import Cryptography
import KMSProtocol
import KeyStore
import SecretMemory
import SignedPolicy
import WireText

// The key with which a service seals its queue, its vocabulary and its caches (security model, rule 30): random, one for
// each service account, handed out for as long as the policy consents to the service. Without the consent nobody opens what
// the service has stored.
extension KeyManagement {
    private static let format: UInt8 = 1

    /// create /sealingKey: the service's own; made at the first time, the same from then on.
    func createSealingKey(_ caller: Caller, _ now: Timestamp) async throws -> Outcome {
        guard case .service(agent: nil) = caller.capacity,
            let consent = try demandConsent(caller, space: nil, .retrieve, now)
        else {
            throw KMSFailure(
                KMSStatus.forbidden, "this is for services that act for themselves only (service-type)",
                rule: "service-type")
        }
        try freezes?.check(caller.release())
        let path = AccessPath.service(consent.name)
        let name = "sealing-key " + Hexadecimal.encode(vault.lookup(service: caller.tokenUser))
        if let value = try await store.setting(name) {
            let key = try vault.openSetting(value, name: name) { bytes, _ -> KMSSealingKey in
                guard var fields = FieldReader(bytes, format: Self.format), let key = fields.octets(), key.count == 32,
                    let subject = fields.text(), subject == caller.tokenUser, let created = fields.time(),
                    fields.isAtEnd
                else { throw RecordVault.forged("sealing key") }
                return KMSSealingKey(key: SymmetricKey(copying: key), createDate: created)
            }
            return Outcome(KMSStatus.ok, .sealingKey(key), path: path)
        }
        let key = KMSSealingKey(key: try SymmetricKey.random(), createDate: now)
        var fields = FieldWriter(format: Self.format)
        key.key.withUnsafeBytes { fields.field($0) }
        fields.field(caller.tokenUser)
        fields.field(now)
        let sealed = try fields.withUnsafeBytes { try vault.sealSetting($0, name: name, version: 1) }
        let change = StoreChange(
            writes: [.putSetting(name: name, value: sealed)], expectations: [.setting(name: name, value: nil)])
        return Outcome(KMSStatus.created, .sealingKey(key), change: change, path: path)
    }
}
