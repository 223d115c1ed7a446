import KMSProtocol
import KeyStore
import SignedPolicy
import WireText

// Holds that an eDiscovery worker has the KMS keep: for as long as one stands nobody destroys the space's keys, neither by an erasure
// nor by retention. An officer's own hold (hdsctl hold) is neither replaced nor ended by it.
extension KeyManagement {
    private static let mark = "eDiscovery: "

    /// create <kro>/hold: the same again changes nothing.
    func hold(_ id: String, _ request: KMSRequest, _ caller: Caller, _ now: Timestamp) async throws -> Outcome {
        let consent = try demandConsent(ofType: "ediscovery", caller, space: names.resource(id), now)
        let reason = try request.holdReason()
        guard try await store.resource(id) != nil else { throw KMSFailure(KMSStatus.notFound, "no such resource") }
        if try await HoldList.standing(store, vault).reason(id) == nil {
            try await HoldList.change([id], reason: Self.mark + reason, store: store, vault: vault)
        }
        return Outcome(KMSStatus.created, path: .service(consent.name))
    }

    /// delete <kro>/hold: of those that it made.
    func endHold(_ id: String, _ caller: Caller, _ now: Timestamp) async throws -> Outcome {
        let consent = try demandConsent(ofType: "ediscovery", caller, space: names.resource(id), now)
        if try await HoldList.standing(store, vault).reason(id)?.hasPrefix(Self.mark) == true {
            try await HoldList.change([id], reason: nil, store: store, vault: vault)
        }
        return Outcome(KMSStatus.ok, path: .service(consent.name))
    }
}
