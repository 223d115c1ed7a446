import Cryptography
import KMSProtocol
import KeyStore
import SignedPolicy
import WireText

// Which of many spaces a person reads now (security model, rule 28): the list of a person's rooms comes from the core, and
// the core must not be able to widen a search.
extension KeyManagement {
    /// For so long a sealed query is known by all nodes.
    static let queryLife: Int64 = 365 * 86_400

    /// How many questions of one request are looked up side by side.
    private static let width = 8

    /// retrieve /memberships: for a consented indexer. A query that it names by its digest is asked once, whichever indexer
    /// brings it and whichever node is asked.
    ///
    /// A space that is gone, frozen, foreign, not covered by the consent or
    /// not read by the person is left out, without a word which of these it was.
    func retrieveMemberships(
        _ request: KMSRequest, _ caller: Caller, _ session: LiveSession, _ now: Timestamp
    ) async throws -> Outcome {
        let user = try request.memberID()
        let asked = try request.resourceURIs()
        let consent = try demandConsent(ofType: Self.searchIndexing, caller, space: nil, now)
        guard !snapshot.isService(user) else {
            throw KMSFailure(
                KMSStatus.forbidden, "a search is a person's, and this is a service (service-type)",
                rule: "service-type")
        }
        try freezes?.check(caller.release())
        let person = Caller(
            tokenUser: user, effectiveUser: user, clientID: caller.clientID, capacity: .user,
            snapshot: caller.snapshot)
        // Who is cut off finds nothing, whatever query was kept for later. The indexer's own token is good.
        let isCutOff = try disabled?.isCutOff(user) ?? false
        let step = (asked.count + Self.width - 1) / Self.width
        let allowed = try await withThrowingTaskGroup(of: [Int].self) { group in
            for start in stride(from: 0, to: isCutOff ? 0 : asked.count, by: step) {
                group.addTask {
                    var found: [Int] = []
                    for index in start..<min(start + step, asked.count)
                    where try await reads(asked[index], person, caller, now) {
                        found.append(index)
                    }
                    return found
                }
            }
            return try await group.reduce(into: Set<Int>()) { $0.formUnion($1) }
        }
        let memberships = KMSMemberships(
            user: user, resourceURIs: asked.indices.filter(allowed.contains).map { asked[$0] },
            validMilliseconds: Int64(ReleaseLease.life / .milliseconds(1)))
        var outcome = Outcome(KMSStatus.ok, .memberships(memberships), path: .service(consent.name))
        outcome.about = user
        if let digest = try request.queryDigest() {
            outcome.change.writes = [
                .insertLedger(
                    LedgerRecord(
                        digest: SHA256.hash(Array("HDS search query".utf8) + digest), session: session.id,
                        expires: now.adding(seconds: Self.queryLife), sealedAnswer: []))
            ]
        }
        return outcome
    }

    private func reads(_ text: String, _ person: Caller, _ service: Caller, _ now: Timestamp) async throws -> Bool {
        guard let uri = KMSURI(text), names.owns(uri), case .resource(let id) = uri.object else { return false }
        do {
            _ = try demandConsent(service, space: names.resource(id), .retrieve, now)
            guard let path = try await access(person, resource: id, now: now) else { return false }
            for caller in [person, service] { try freezes?.check(caller.release(spaces: path.spaces(to: id))) }
            return true
        } catch let failure as KMSFailure where failure.status == KMSStatus.forbidden {
            // While it is not known what is frozen nothing is told at all.
            if failure.rule == FreezeBoard.unknownRule { throw failure }
            return false
        }
    }
}
