import Cryptography
import SecretMemory
import Synchronization

/// Secrets of services that were compared with their scrypt hash before, so that a service that asks all day long costs
/// one HMAC and not 0.1 s of a core each time.
///
/// Only what was right is remembered: as an HMAC under a key of this process, bound to the hash that it was right for.
/// A new hash in the accounts file makes the memory void. A wrong secret goes the long way with its limits. Secrets of
/// services have 256 random bits, so their HMAC tells nothing to who reads this process's memory. Thread-safe.
final class ProvenSecrets: Sendable {
    private let key: SymmetricKey
    /// By the id of the service: bounded by the number of services.
    private let proofs = Mutex<[String: [UInt8]]>([:])

    init() throws { key = try SymmetricKey.random() }

    func isProven(_ secret: String, of service: ServiceAccount) -> Bool {
        guard let proof = proofs.withLock({ $0[service.id] }) else { return false }
        return HMACSHA256.isValid(proof, for: Self.message(secret, service), key: key)
    }

    func remember(_ secret: String, of service: ServiceAccount) {
        let proof = HMACSHA256.code(for: Self.message(secret, service), key: key)
        proofs.withLock { $0[service.id] = proof }
    }

    /// No secret and no hash has a NUL.
    private static func message(_ secret: String, _ service: ServiceAccount) -> [UInt8] {
        Array(service.secretHash.utf8) + [0] + Array(secret.utf8)
    }
}
