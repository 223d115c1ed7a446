import Cryptography
import Diagnostics
import Escrow
import SecretMemory
import Testing
import WireText

@Suite("Escrow of root keys")
struct EscrowKeyTests {
    private func escrow() throws -> (secret: SymmetricKey, key: EscrowPrivateKey) {
        let secret = try SymmetricKey.random()
        return (secret, try EscrowPrivateKey(secret: secret))
    }

    @Test("what was wrapped to the public half opens with the shares, also of versions that came later")
    func recovery() throws {
        let (secret, key) = try escrow()
        let shares = try SecretSharing.split(secret, threshold: 2, count: 3, iterationExponent: 0)
        let stored = try EscrowPublicKey(octets: key.publicKey.octets)
        #expect(stored.fingerprint == key.publicKey.fingerprint && stored.fingerprint.count == 16)
        let roots = try (0..<3).map { _ in try SymmetricKey.random() }
        let wrapped = try roots.enumerated().map { try stored.wrap($0.element, version: Int64($0.offset + 1)) }
        let again = try EscrowPrivateKey(secret: try SecretSharing.combine([shares[2], shares[0]]))
        #expect(again.publicKey.octets == stored.octets)
        for (index, root) in roots.enumerated() {
            #expect(try again.unwrap(wrapped[index], version: Int64(index + 1)).isEqual(to: root))
        }
    }

    @Test("neither another version, another escrow, nor a changed octet opens it")
    func bound() throws {
        let (_, key) = try escrow()
        let wrapped = try key.publicKey.wrap(try SymmetricKey.random(), version: 4)
        #expect(throws: DiagnosedError.self) { try key.unwrap(wrapped, version: 5) }
        #expect(throws: DiagnosedError.self) { try escrow().key.unwrap(wrapped, version: 4) }
        for position in wrapped.indices {
            var changed = wrapped
            changed[position] ^= 1
            let error = #expect(throws: DiagnosedError.self) { try key.unwrap(changed, version: 4) }
            #expect(error?.code == .escrowMismatch)
        }
        for count in [0, 1, 64, wrapped.count - 1] {
            #expect(throws: DiagnosedError.self) { try key.unwrap(Array(wrapped.prefix(count)), version: 4) }
        }
    }

    @Test("the same root key wrapped twice looks different")
    func fresh() throws {
        let (_, key) = try escrow()
        let root = try SymmetricKey.random()
        let first = try key.publicKey.wrap(root, version: 1), second = try key.publicKey.wrap(root, version: 1)
        #expect(first != second && first[1..<65] != second[1..<65])
    }

    @Test("a point that is not on the curve is no public key")
    func invalidPoint() throws {
        var octets = try escrow().key.publicKey.octets
        octets[63] ^= 1
        #expect(throws: (any Error).self) { try EscrowPublicKey(octets: octets) }
        #expect(throws: (any Error).self) { try EscrowPublicKey(octets: [1, 2]) }
    }
}

@Suite("Proving a share without showing it")
struct ShareProofTests {
    private func stage() throws -> (shares: [Share], escrow: String, commitments: [ShareProof.Commitment]) {
        let secret = try SymmetricKey.random()
        let shares = try SecretSharing.split(secret, threshold: 2, count: 3, iterationExponent: 0)
        return (
            shares, try EscrowPrivateKey(secret: secret).publicKey.fingerprint,
            try shares.map { try ShareProof.commitment(to: $0) }
        )
    }

    private func challenge(_ escrow: String, _ number: Int) throws -> ShareProof.Challenge {
        .init(escrow: escrow, number: number, nonce: try RandomBytes.bytes(32))
    }

    @Test("the holder's answer counts for that challenge and that share only")
    func proof() throws {
        let (shares, escrow, commitments) = try stage()
        #expect(commitments.map(\.number) == [1, 2, 3])
        let asked = try challenge(escrow, 2)
        let typed = try share(words(shares[1]))
        let answer = try ShareProof.answer(to: try .init(text: asked.text), with: typed)
        #expect(ShareProof.isValid(answer, to: asked, by: commitments[1]))
        #expect(!ShareProof.isValid(answer, to: try challenge(escrow, 2), by: commitments[1]))
        #expect(!ShareProof.isValid(answer, to: asked, by: commitments[0]))
        #expect(!ShareProof.isValid(answer.replacing("PROOF-1", with: "PROOF-2"), to: asked, by: commitments[1]))
        let impostor = ShareProof.Commitment(number: 2, publicKey: commitments[0].publicKey)
        #expect(!ShareProof.isValid(answer, to: asked, by: impostor))
        let error = #expect(throws: DiagnosedError.self) { try ShareProof.answer(to: asked, with: shares[0]) }
        #expect(error?.code == .escrowMismatch)
    }

    @Test("the share of another escrow proves nothing, although it has the same number")
    func otherEscrow() throws {
        let (_, escrow, commitments) = try stage()
        let asked = try challenge(escrow, 1)
        let answer = try ShareProof.answer(to: asked, with: try stage().shares[0])
        #expect(!ShareProof.isValid(answer, to: asked, by: commitments[0]))
    }

    @Test(
        "a text that is no challenge is refused",
        arguments: [
            "", "HDS-SHARE-CHALLENGE-1", "HDS-SHARE-CHALLENGE-1.0123456789abcdef.0.AA", "x.y.z.w",
            "HDS-SHARE-CHALLENGE-1.0123456789abcdef.17.AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA",
            "HDS-SHARE-CHALLENGE-1.0123456789abcdeg.1.AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA",
        ])
    func noChallenge(_ text: String) {
        #expect(throws: DiagnosedError.self) { try ShareProof.Challenge(text: text) }
    }
}
