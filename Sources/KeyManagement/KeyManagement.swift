package import KMSProtocol
package import KeyStore
import WireText

/// The decisions of the KMS: what each operation answers and what it changes, judged on the store's present state.
///
/// Every operation reads, decides and returns an `Outcome`; nothing is changed until the outcome's change is committed
/// together with the request's entry in the replay ledger. A conflict means that somebody else changed what was read:
/// the operation is asked again.
package struct KeyManagement: Sendable {
    let names: KMSNames
    let store: any KeyStore
    let vault: RecordVault
    /// The policy of this node, and the one moment of it by which this value decides.
    let inForce: PolicyInForce
    var snapshot: PolicySnapshot
    /// What stops the release of keys; nil: nothing can be frozen.
    package var freezes: FreezeBoard?
    /// Who is cut off altogether; nil: nobody can be.
    package var disabled: DisabledUsers?
    /// Nil: this node needs none.
    package var lease: ReleaseLease?
    /// What signs the bearers of unnamed holders; nil: there are none.
    var staticKeys: StaticKeysInForce?
    var bearerKey: KMSStaticKey? { staticKeys?.present }

    package init(names: KMSNames, store: any KeyStore, vault: RecordVault, policy: KMSPolicy) {
        self.init(names: names, store: store, vault: vault, inForce: PolicyInForce(policy))
    }

    package init(names: KMSNames, store: any KeyStore, vault: RecordVault, inForce: PolicyInForce) {
        self.names = names
        self.store = store
        self.vault = vault
        self.inForce = inForce
        snapshot = inForce.current
    }

    var policy: KMSPolicy { snapshot.values }

    /// The same, deciding by another moment of the policy.
    package func judging(by snapshot: PolicySnapshot) -> KeyManagement {
        var other = self
        other.snapshot = snapshot
        return other
    }

    /// What a request comes to.
    struct Outcome: Sendable {
        var status: Int
        var body: KMSAnswer.Body
        var change = StoreChange()
        /// The session that the change ends.
        var endedSession: String?
        /// How many keys the change takes away with their resource; nil: it deletes none.
        var deletedKeys: Int?
        /// By which path a resource was read.
        var path: AccessPath?
        /// The resource that was read.
        var space: String?
        /// Whose rights were asked about, where that is not who asks.
        var about: String?
        /// The rule that allowed it, for audit and explanations.
        var rule: String { isForeign ? "partner-decided" : path?.rule ?? "member" }
        /// Another KMS decided.
        var isForeign = false

        init(
            _ status: Int, _ body: KMSAnswer.Body = .none, change: StoreChange = StoreChange(), path: AccessPath? = nil,
            space: String? = nil
        ) {
            self.status = status
            self.body = body
            self.change = change
            self.path = path
            self.space = space
        }

        /// Which resource was read, and through which others, for explanations.
        func way(_ names: KMSNames) -> String? {
            guard let path, let space else { return nil }
            guard case .nested(let inner) = path else { return names.resource(space) }
            return ([space] + inner).map(names.resource).joined(separator: " through ")
        }
    }

    /// Judges one request of an authenticated caller. Throws `KMSFailure` for a refusal.
    func decide(_ request: KMSRequest, caller: Caller, session: LiveSession, now: Timestamp) async throws -> Outcome {
        guard names.owns(request.uri) else {
            throw KMSFailure(KMSStatus.notImplemented, "no federation with \(request.uri.host ?? "") is configured")
        }
        switch (request.method, request.uri.object) {
        case (.update, .ping), (.delete, .session): break
        // Before it is told what is there.
        // These have rules of their own.
        case (.create, .resourceSearchKeys), (.create, .sealingKey), (.create, .signatures), (_, .resourceHold): break
        default: try demandConsent(caller, space: nil, request.method, now)
        }
        switch (request.method, request.uri.object) {
        case (.update, .ping): return Outcome(KMSStatus.ok)
        case (.delete, .session(let id)): return try await deleteSession(id, caller, session, now)
        case (.create, .keys): return try createKeys(request, caller, now)
        case (.retrieve, .key(let id)): return try await retrieveKey(id, request, caller, now)
        case (.update, .key(let id)): return try await bindKey(id, request, caller, now)
        case (.retrieve, .resourceKeys(let id)): return try await retrieveKeys(ofResource: id, request, caller, now)
        case (.create, .resources): return try await createResource(request, caller, now)
        case (.retrieve, .resource(let id)): return try await retrieveResource(id, caller, now)
        case (.delete, .resource(let id)): return try await deleteResource(id, caller, now)
        case (.create, .authorizations): return try await createAuthorizations(request, caller, session, now)
        case (.retrieve, .resourceAuthorizations(let id)):
            return try await retrieveAuthorizations(ofResource: id, request, caller, now)
        case (.delete, .resourceAuthorizations(let id)):
            return try await deleteAuthorizations(ofResource: id, request, caller, now)
        case (.delete, .authorization(let id)): return try await deleteAuthorization(id, caller, now)
        case (.create, .resourceSearchKeys(let id)):
            return try await createSearchKey(ofResource: id, request, caller, now)
        case (.retrieve, .resourceSearchKeys(let id)):
            return try await retrieveSearchKeys(ofResource: id, request, caller, now)
        case (.retrieve, .memberships): return try await retrieveMemberships(request, caller, session, now)
        case (.create, .sealingKey): return try await createSealingKey(caller, now)
        case (.create, .resourceHold(let id)): return try await hold(id, request, caller, now)
        case (.delete, .resourceHold(let id)): return try await endHold(id, caller, now)
        case (.create, .signatures): return try createSignature(request, caller, now)
        case (_, .other(let path)) where Self.namesMasterKeys(path):
            throw KMSFailure(
                KMSStatus.notImplemented, "master keys are not administered over this protocol", rule: "no-master-keys")
        case (_, .other), (_, .cluster), (_, .staticKey):
            throw KMSFailure(KMSStatus.notFound, "no such object")
        case (.create, .sessions):
            throw KMSFailure(KMSStatus.malformed, "a session is opened by a request encrypted to the static key")
        default:
            throw KMSFailure(
                KMSStatus.methodNotAllowed, "method \(request.method.rawValue) is not allowed on this uri")
        }
    }

    /// Both dialects of the protocol's section 8. Never 405: with a code it means a revoked key to clients.
    private static func namesMasterKeys(_ path: String) -> Bool {
        let parts = path.split(separator: "/", omittingEmptySubsequences: false).dropFirst()
        return switch parts.count {
        case 1: ["publicKey", "cmk", "awsKmsCmk", "kek"].contains(parts.first)
        case 2: ["cmk", "awsKmsCmk", "kek"].contains(parts.first)
        default: false
        }
    }

    private func deleteSession(
        _ id: String, _ caller: Caller, _ session: LiveSession, _ now: Timestamp
    ) async throws -> Outcome {
        if id != session.id {
            guard let record = try await store.session(id), now < record.expires else {
                throw KMSFailure(KMSStatus.notFound, "no such session \(names.session(id))")
            }
            guard record.user == vault.lookup(user: caller.tokenUser) else {
                throw KMSFailure(KMSStatus.forbidden, "ephemeral key belongs to another user")
            }
        }
        var outcome = Outcome(KMSStatus.noContent, change: StoreChange(writes: [.deleteSession(id: id)]))
        outcome.endedSession = id
        return outcome
    }
}
