import Cryptography
package import Diagnostics
package import KeyStore
package import MasterKey
package import NodeList
import SecretMemory
package import WireText

/// Lets new machines in by one-time codes: the side of the nodes that are there (docs/cluster.md).
///
/// What is kept of a code is the key of its proofs, sealed under the root key and bound to the node's name and to the end
/// of its life, and a check of that key. A code counts once: with an answer, whatever it says, the key goes.
package struct Invitations: Sendable {
    /// What became of a new machine's request.
    package enum Outcome: Sendable, Equatable {
        /// Its key waits for an officer now.
        case admitted(node: String, NodeFingerprint)
        case refused(node: String, reason: String)
    }

    /// The answer to who did not prove the code.
    package static let refusal: [UInt8] = [0]

    private let cluster: any ClusterStore
    private let register: NodeRegister
    private let ring: SealRing
    private let host: String
    /// SHA-256 of the public key that names the cluster to a new machine: that of the KMS's static key.
    private let fingerprint: [UInt8]

    package init(
        _ cluster: any ClusterStore, register: NodeRegister, ring: SealRing, host: String, fingerprint: [UInt8]
    ) {
        (self.cluster, self.register, self.ring) = (cluster, register, ring)
        (self.host, self.fingerprint) = (host, fingerprint)
    }

    /// The code, to be shown once.
    package func invite(_ node: String, now: Timestamp) async throws -> (code: InvitationCode, expires: Timestamp) {
        guard NodeList.isName(node) else {
            throw DiagnosedError(
                "node-name", fault: .client, "a node can not have this name",
                expected: "1 to 64 letters, digits and signs without blanks", found: node.quotedForError)
        }
        let code = try InvitationCode.create()
        let key = try code.key(node: node, host: host)
        let expires = now.adding(seconds: InvitationCode.lifeSeconds)
        let sealed = try key.withUnsafeBytes {
            try ring.seal($0, kind: .setting, id: Self.identity(node), version: expires.milliseconds)
        }
        try await cluster.invite(NodeInvitation(node: node, sealed: sealed, check: key.check, expires: expires))
        return (code, expires)
    }

    /// Answers what new machines have left. Of two nodes that do it at a time one answers.
    package func answer(now: Timestamp) async throws -> [Outcome] {
        var outcomes: [Outcome] = []
        for invitation in try await cluster.invitations() {
            guard let request = invitation.request, invitation.answer == nil else { continue }
            if let outcome = try await answer(invitation, request, now) { outcomes.append(outcome) }
        }
        return outcomes
    }

    private func answer(
        _ invitation: NodeInvitation, _ request: NodeInvitation.Request, _ now: Timestamp
    ) async throws -> Outcome? {
        let node = invitation.node
        guard let key = try? key(of: invitation),
            let publicKey = try? PublicKey(subjectPublicKeyInfo: request.publicKey),
            publicKey.kind == .p256, invitation.expires > now,
            key.isValid(request.code, ofNewMachine: request.publicKey)
        else {
            let reason =
                invitation.expires > now
                ? "the public key or its code is not what a machine with the one-time code left"
                : "the one-time code had expired"
            guard try await cluster.answer(Self.refusal, to: request, node: node) else { return nil }
            return .refused(node: node, reason: reason)
        }
        // Sealed before it is answered: from here on nobody who can only write rows changes the key.
        let candidate = NodeBook.Candidate(publicKey: publicKey, origin: .code, since: now)
        try await register.change { $0.candidates[node] = candidate }
        let answer = key.answer(cluster: fingerprint, to: request.publicKey)
        guard try await cluster.answer(answer, to: request, node: node) else { return nil }
        return .admitted(node: node, candidate.fingerprint)
    }

    private func key(of invitation: NodeInvitation) throws -> JoiningKey {
        JoiningKey(
            SymmetricKey(
                try ring.open(
                    invitation.sealed, kind: .setting, id: Self.identity(invitation.node),
                    version: invitation.expires.milliseconds)))
    }

    private static func identity(_ node: String) -> String { "node-invitation \(node)" }
}

/// Joins a cluster: the side of the new machine, which has the database and the code, and nothing else.
package struct Joining: Sendable {
    package let node: String
    private let cluster: any ClusterStore
    private let key: NodeKey
    private let joining: JoiningKey

    /// - Parameter host: DNS name of the KMS.
    package init(
        _ cluster: any ClusterStore, node: String, host: String, key: NodeKey, code: InvitationCode
    ) throws {
        (self.cluster, self.node, self.key) = (cluster, node, key)
        joining = try code.key(node: node, host: host)
    }

    /// Leaves this machine's public key. A code that was typed wrong is refused here and stays usable.
    package func ask(now: Timestamp) async throws {
        guard let invitation = try await cluster.invitations().first(where: { $0.node == node }) else {
            throw Self.refused(
                "there is no invitation for \(node)", "hdsctl node invite \(node) on a node that is there")
        }
        guard invitation.request == nil else {
            throw Self.refused("the invitation for \(node) was used", "invite anew: a code counts once")
        }
        guard constantTimeEqual(invitation.check, joining.check) else {
            throw Self.refused(
                "this is not the code of the invitation for \(node)",
                "type it as it was shown; node and host in the configuration have to be those of the invitation")
        }
        let publicKey = key.publicKey.subjectPublicKeyInfo
        let request = NodeInvitation.Request(
            publicKey: publicKey, code: joining.code(ofNewMachine: publicKey))
        guard try await cluster.join(request, node: node) else {
            throw Self.refused(
                "the invitation for \(node) has expired, or somebody was faster",
                "invite anew: a code lives \(InvitationCode.lifeSeconds / 60) minutes")
        }
    }

    /// The cluster's fingerprint when it has answered; nil while it has not.
    package func answer() async throws -> [UInt8]? {
        guard let answer = try await cluster.invitations().first(where: { $0.node == node })?.answer else { return nil }
        guard let fingerprint = joining.cluster(from: answer, to: key.publicKey.subjectPublicKeyInfo) else {
            throw Self.refused(
                answer == Invitations.refusal
                    ? "the cluster refused this machine: what it left was changed on the way, or had expired"
                    : "the answer was not made with the one-time code",
                "find out who writes to the database; then invite anew")
        }
        return fingerprint
    }

    private static func refused(_ what: String, _ hint: String) -> DiagnosedError {
        DiagnosedError(.joinRefused, fault: .configuration, what, expected: "an open invitation", hint: hint)
    }
}

extension DiagnosedError.Code {
    package static let joinRefused: Self = "node-join-refused"
}
