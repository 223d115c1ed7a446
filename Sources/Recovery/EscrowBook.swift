import Cryptography
package import Diagnostics
package import Escrow
package import KeyStore
package import MasterKey
import SecretMemory
package import WireText

extension DiagnosedError.Code {
    /// The escrow is not there, is there already, or does not hold what is asked for.
    package static let escrowState: Self = "escrow-state"
    package static let escrowProofRefused: Self = "escrow-proof-refused"
}

/// What is kept of the escrow: its public key, and for each share who has proved it when. Sealed in the store.
package struct EscrowState: Sendable, Equatable {
    package struct Share: Sendable, Equatable {
        package let commitment: ShareProof.Commitment
        package var proved: Timestamp?
        /// The challenge that waits for its answer.
        package var nonce: [UInt8]?
    }

    /// How long a proof counts: then it is asked for again (security model, rule 24).
    package static let proofLife: Int64 = 365 * 86_400_000

    package let publicKey: [UInt8]
    package let fingerprint: String
    /// How many shares recover the root keys.
    package let needed: Int
    package let created: Timestamp
    package internal(set) var shares: [Share]

    /// The numbers of the shares whose proof is missing or older than a year.
    package func unproved(now: Timestamp) -> [Int] {
        shares.filter { share in
            share.proved.map { now.milliseconds - $0.milliseconds > Self.proofLife } ?? true
        }.map(\.commitment.number)
    }
}

/// The escrow of a key store: who may recover its root keys, and whether the holders still can.
///
/// The setting `escrow` is sealed under the root key, for whoever could put another public key there would get every
/// later root key. The root keys wrapped to that public key stand beside their wraps by the key-encryption key: that is
/// what recovery opens when nothing else opens. Share words never come here.
package struct EscrowBook: Sendable {
    package static let setting = "escrow"
    private let store: any KeyStore
    private let ring: SealRing

    package init(store: any KeyStore, ring: SealRing) {
        (self.store, self.ring) = (store, ring)
    }

    /// Nil while there is none.
    package func state() async throws -> EscrowState? { try await read()?.state }

    /// Keeps a new escrow and wraps all root keys to it.
    package func create(
        publicKey: [UInt8], needed: Int, commitments: [ShareProof.Commitment], replacing: Bool = false, now: Timestamp
    ) async throws -> EscrowState {
        let escrow = try EscrowPublicKey(octets: publicKey)
        guard (2...16).contains(needed), (needed...16).contains(commitments.count),
            commitments.map(\.number) == Array(1...commitments.count),
            commitments.allSatisfy({ $0.publicKey.count == EscrowPublicKey.pointCount }),
            Set(commitments.map(\.publicKey)).count == commitments.count
        else {
            throw DiagnosedError(
                .escrowParameters, fault: .client, "what was sent is no escrow",
                expected: "2 to 16 shares, 2 or more of them needed, a key of its own for each",
                found: "\(commitments.count) shares, \(needed) needed")
        }
        let old = try await read()
        guard old == nil || replacing else {
            throw DiagnosedError(
                .escrowState, fault: .client, "there is an escrow, \(old?.state.fingerprint ?? "")",
                expected: "none", hint: "to replace it, and make its shares worthless from now on, say so: --replace")
        }
        let state = EscrowState(
            publicKey: publicKey, fingerprint: escrow.fingerprint, needed: needed, created: now,
            shares: commitments.map { EscrowState.Share(commitment: $0) })
        try await write(state, over: old)
        // When this does not happen any more, `wrapNewVersions` does it.
        try await RootKeyRotation(store: store, ring: ring).wrap(for: escrow)
        return state
    }

    /// A question for the holder of a share; the one before is void.
    package func challenge(_ number: Int, nonce: [UInt8]) async throws -> ShareProof.Challenge {
        let old = try await existing()
        var state = old.state
        guard let index = state.shares.firstIndex(where: { $0.commitment.number == number }) else {
            throw DiagnosedError(
                .escrowState, fault: .client, "there is no share of that number",
                expected: "1 to \(state.shares.count)", found: "\(number)")
        }
        state.shares[index].nonce = nonce
        try await write(state, over: old)
        return ShareProof.Challenge(escrow: state.fingerprint, number: number, nonce: nonce)
    }

    /// Takes a holder's answer, once; the number of the share that it proves.
    package func confirm(_ answer: String, now: Timestamp) async throws -> Int {
        let old = try await existing()
        var state = old.state
        let index = state.shares.firstIndex { share in
            guard let nonce = share.nonce else { return false }
            let challenge = ShareProof.Challenge(
                escrow: state.fingerprint, number: share.commitment.number, nonce: nonce)
            return ShareProof.isValid(answer, to: challenge, by: share.commitment)
        }
        guard let index else {
            throw DiagnosedError(
                .escrowProofRefused, fault: .client, "the answer proves no share",
                expected: "the answer to a challenge that was not answered yet, made with the share it is for",
                hint: "ask for a new challenge; if it is refused again, the share is not the one that was made")
        }
        state.shares[index].proved = now
        state.shares[index].nonce = nil
        try await write(state, over: old)
        return state.shares[index].commitment.number
    }

    /// Whom a new root key is wrapped for as well: nobody, or the escrow.
    package func holders() async throws -> [any RootKeyHolder] {
        guard let kept = try await read() else { return [] }
        return [try EscrowPublicKey(octets: kept.state.publicKey)]
    }

    /// Wraps root keys to the escrow that are not yet, and drops what is wrapped to another one.
    package func wrapNewVersions() async throws {
        guard let kept = try await read() else { return }
        let escrow = try EscrowPublicKey(octets: kept.state.publicKey)
        try await RootKeyRotation(store: store, ring: ring).wrap(for: escrow)
    }

    // MARK: The setting

    private struct Kept {
        let state: EscrowState
        let version: Int64
        let value: [UInt8]
    }

    private func existing() async throws -> Kept {
        guard let kept = try await read() else {
            throw DiagnosedError(
                .escrowState, fault: .client, "there is no escrow", hint: "make one with hdsctl escrow create")
        }
        return kept
    }

    private func read() async throws -> Kept? {
        guard let value = try await store.setting(Self.setting) else { return nil }
        guard value.count > 8 else { throw Self.forged }
        let version = value.prefix(8).reduce(Int64(0)) { $0 << 8 | Int64($1) }
        let plain = try ring.open(Array(value.dropFirst(8)), kind: .setting, id: Self.setting, version: version)
        guard let state = try plain.withUnsafeBytes({ EscrowState(try JSONDocument(Array($0)).root) }) else {
            throw Self.forged
        }
        return Kept(state: state, version: version, value: value)
    }

    private func write(_ state: EscrowState, over old: Kept?) async throws {
        let version = (old?.version ?? 0) + 1
        let sealed = try state.json().withUnsafeBytes {
            try ring.seal($0, kind: .setting, id: Self.setting, version: version)
        }
        var value: [UInt8] = []
        value.append(bigEndian: version)
        let change = StoreChange(
            writes: [.putSetting(name: Self.setting, value: value + sealed)],
            expectations: [.setting(name: Self.setting, value: old?.value)])
        guard try await store.commit(change) == .committed else {
            throw DiagnosedError(
                .escrowState, fault: .store, "somebody else changes the escrow at the same time", hint: "try again")
        }
    }

    private static let forged = DiagnosedError(
        .sealBroken, fault: .store, "the escrow in the store is not as the KMS wrote it",
        hint: "somebody changed the database; restore it from a backup")
}
