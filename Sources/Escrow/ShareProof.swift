import Cryptography
package import Diagnostics
import SecretMemory
import WireText

/// How a holder proves that he still has his share, without showing it.
///
/// When the shares are made, a signing key is derived from each and its public half is kept. The KMS gives a challenge;
/// the holder signs it on a machine of his own with `hdsctl escrow prove`, and brings the answer back. The derived key
/// tells nothing about the share.
package enum ShareProof {
    private static let answerPrefix = "HDS-SHARE-PROOF-1."
    private static let algorithm = SignatureAlgorithm.es256

    /// What is kept of a share: which one it is, and the public half of its proving key, 64 octets.
    package struct Commitment: Sendable, Equatable {
        /// 1, 2, …
        package let number: Int
        package let publicKey: [UInt8]

        package init(number: Int, publicKey: [UInt8]) {
            self.number = number
            self.publicKey = publicKey
        }
    }

    /// A question for one share, good for one answer: `HDS-SHARE-CHALLENGE-1.ESCROW.NUMBER.NONCE`.
    package struct Challenge: Sendable, Equatable {
        private static let prefix = "HDS-SHARE-CHALLENGE-1"

        /// Fingerprint of the escrow's public key.
        package let escrow: String
        package let number: Int
        package let nonce: [UInt8]

        package init(escrow: String, number: Int, nonce: [UInt8]) {
            self.escrow = escrow
            self.number = number
            self.nonce = nonce
        }

        package var text: String { "\(Self.prefix).\(escrow).\(number).\(Base64URL.encode(nonce))" }

        package init(text: String) throws(DiagnosedError) {
            let parts = text.split(separator: ".", omittingEmptySubsequences: false)
            guard parts.count == 4, parts[0] == Self.prefix, parts[1].utf8.count == 16,
                Hexadecimal.decode(String(parts[1])) != nil, let number = Int(parts[2]), (1...16).contains(number),
                let nonce = Base64URL.decode(parts[3]), nonce.count == 32
            else {
                throw DiagnosedError(
                    .escrowMismatch, fault: .client, "the text is no challenge",
                    expected: "\(Self.prefix).ESCROW.NUMBER.NONCE, in one line", hint: "copy it whole")
            }
            self.init(escrow: String(parts[1]), number: number, nonce: nonce)
        }
    }

    package static func commitment(to share: Share) throws -> Commitment {
        guard let point = try provingKey(of: share).publicKey.p256Coordinates else {
            throw DiagnosedError(.cryptographyFailure, fault: .internal, "a proving key has no coordinates")
        }
        return Commitment(number: share.memberIndex + 1, publicKey: point.x + point.y)
    }

    /// The answer of the share's holder; refuses a challenge for another share.
    package static func answer(to challenge: Challenge, with share: Share) throws -> String {
        guard challenge.number == share.memberIndex + 1 else {
            throw DiagnosedError(
                .escrowMismatch, fault: .client, "the challenge is for another share",
                expected: "share \(share.memberIndex + 1), which these words are", found: "share \(challenge.number)",
                hint: "ask for a challenge for your own share")
        }
        let signature = try provingKey(of: share).sign(Array(challenge.text.utf8), algorithm: algorithm)
        return answerPrefix + Base64URL.encode(signature)
    }

    /// Whether the answer was made with the share that was committed to.
    package static func isValid(_ answer: String, to challenge: Challenge, by commitment: Commitment) -> Bool {
        guard answer.hasPrefix(answerPrefix), commitment.number == challenge.number, commitment.publicKey.count == 64,
            let signature = Base64URL.decode(answer.dropFirst(answerPrefix.count)),
            let key = try? PublicKey(
                p256X: Array(commitment.publicKey[..<32]), y: Array(commitment.publicKey[32...]))
        else { return false }
        return key.isValidSignature(signature, for: Array(challenge.text.utf8), algorithm: algorithm)
    }

    private static func provingKey(of share: Share) throws -> PrivateKey {
        // Bound to the share's place: in 1-of-n sets of other programs, which all are alike, proofs still differ.
        try SecretScalar.derive(
            from: share.value, purpose: "HDS share proof \(share.identifier) \(share.groupIndex) \(share.memberIndex)"
        ) { try PrivateKey(p256Scalar: $0) }
    }
}
