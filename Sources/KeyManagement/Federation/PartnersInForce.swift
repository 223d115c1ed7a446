import Cryptography
import Diagnostics
import KMSProtocol
import SignedPolicy
import Synchronization

/// The partners that count now: those of the signed policy as soon as it names any, those of the configuration until then.
///
/// Rules:
/// 1. A policy with partners stands for itself: who is not named there is no partner, whatever the configuration says.
/// 2. Host, anchors, direction, users, issuers and how long octets are kept are the policy's. The configuration only adds
///    what a policy can not say: where an issuer's keys are, which ids belong to domains, whether nested spaces count.
/// 3. Users that the policy lists are all; without such a list those that the configuration lists for this host are, and
///    without that those whom an issuer that the policy names proves. Who is named by nothing is nobody.
/// 4. An assertion issuer that is configured stays demanded as long as the policy names it, or names none at all.
package final class PartnersInForce: Sendable {
    private struct State {
        var configured: Federation
        /// What was made of it by this policy.
        var known: (snapshot: PolicySnapshot, federation: Federation?)?
    }

    private let state: Mutex<State>

    package init(_ configured: Federation) {
        state = Mutex(State(configured: configured))
    }

    /// Other partners and own users of the configuration, from the next request on. Who is no partner any more is refused
    /// in the sessions that it has, and its octets are not used again.
    package func replace(_ partners: [FederationPartner], ownUsers: Set<String>) {
        state.withLock { state in
            state.configured = Federation(
                partners: partners, ownUsers: ownUsers, client: state.configured.client,
                observer: state.configured.observer)
            state.known = nil
        }
    }

    /// Who are partners by this policy, by host, and whether their users may read what is nested.
    package func nestedReaders(by snapshot: PolicySnapshot) -> [String: Bool] {
        (federation(by: snapshot)?.partners ?? [:]).mapValues(\.allowsNested)
    }

    /// Nil when there is no partner.
    func federation(by snapshot: PolicySnapshot) -> Federation? {
        state.withLock { state in
            if let known = state.known, known.snapshot === snapshot { return known.federation }
            let federation = Self.made(of: state.configured, by: snapshot)
            state.known = (snapshot, federation)
            return federation
        }
    }

    private static func made(of configured: Federation, by snapshot: PolicySnapshot) -> Federation? {
        var federation = configured
        if !snapshot.signed.partners.isEmpty {
            let named = snapshot.signed.partners.compactMap { partner($0, configured: configured.partners[$0.host]) }
            federation.partners = Dictionary(named.map { ($0.host, $0) }) { first, _ in first }
        }
        return federation.partners.isEmpty && snapshot.signed.partners.isEmpty ? nil : federation
    }

    /// Nil for anchors that can not be used, which the policy's own reading does not let through.
    private static func partner(_ named: Partner, configured: FederationPartner?) -> FederationPartner? {
        let roots = named.anchors.compactMap { try? Certificate(der: $0) }
        guard roots.count == named.anchors.count,
            let trust = try? FederationTrust(host: named.host, roots: roots, pins: Set(named.pins))
        else { return nil }
        let isIssuerNamed =
            named.issuers.isEmpty || configured?.assertionIssuer.map { named.issuers.contains($0) } ?? false
        let assertions = isIssuerNamed ? configured?.assertions : nil
        var users: Set<String>? = named.users
        if named.users.isEmpty {
            users = configured?.users
            if users == nil, assertions == nil || named.issuers.isEmpty { users = [] }
        }
        return FederationPartner(
            trust: trust, organisation: named.organisation, mayAskUs: named.direction != .outbound,
            weMayAsk: named.direction != .inbound, users: users, assertions: assertions,
            assertionIssuer: configured?.assertionIssuer, allowsNested: configured?.allowsNested ?? false,
            cacheSeconds: Int64(named.cacheSeconds))
    }
}
