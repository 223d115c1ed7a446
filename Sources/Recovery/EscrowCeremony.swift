import Cryptography
package import Escrow
import SecretMemory

/// A new escrow: its shares, which go to their holders, and what the KMS keeps of it.
///
/// Runs on the machine of whoever holds the ceremony, never in the service.
package struct EscrowCeremony: Sendable {
    package let publicKey: EscrowPublicKey
    package let shares: [Share]
    package let commitments: [ShareProof.Commitment]

    package init(needed: Int, count: Int) throws {
        let secret = try SymmetricKey.random()
        publicKey = try EscrowPrivateKey(secret: secret).publicKey
        shares = try SecretSharing.split(secret, threshold: needed, count: count)
        commitments = try shares.map { try ShareProof.commitment(to: $0) }
    }

    /// The private key of enough shares.
    package static func recover(_ shares: [Share]) throws -> EscrowPrivateKey {
        try EscrowPrivateKey(secret: try SecretSharing.combine(shares))
    }
}
