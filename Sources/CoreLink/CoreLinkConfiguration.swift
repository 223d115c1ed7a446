package import Cryptography
package import HTTPClient
package import TLSChannel

/// Where a service links to, as whom, and with what.
package struct CoreLinkConfiguration: Sendable {
    /// `wss://CORE/link/v1`
    package var url: String
    /// Roots and pins that the core's certificate is held against; nil only for `ws` on loopback.
    package var trust: TLSTrust?
    /// The core's application key, pinned apart from TLS: with it the core proves itself where TLS is inspected. Needed
    /// with an inspection in `trust`; a P-256 key.
    package var coreKey: PublicKey?
    /// Nil: the node has no key, as in releases before there were lists of nodes.
    package var proof: NodeProof?
    package var route: WebRoute
    /// The node's name, unique among the nodes of a service: a newer link of the same node ends the older.
    package var node: String
    /// The kind of service: `kms`.
    package var service: String
    package var organisation: String
    /// The release of the service.
    package var version: String
    /// The epoch of the cluster at this moment: said in each hello.
    package var epoch: @Sendable () -> Int64
    /// The destination whose strings it answers: `kms://HOST`.
    package var destination: String
    /// The most deliveries that are held unanswered; the core may hold the link to fewer.
    package var window: Int
    /// Until the core's welcome names another interval.
    package var heartbeatSeconds: Int64
    /// How long the core may take for its welcome.
    package var welcomeDeadline: Duration
    /// How long a graceful stop waits for answers that are still due.
    package var drainDeadline: Duration
    package var backoff: LinkBackoff.Bounds
    /// The details document at this moment.
    package var details: @Sendable () -> String
    /// A token for the core, asked for before each attempt. Its owner may keep one, and must drop it when the state
    /// tells `linkTokenRefused`, which happens before it is asked again.
    package var token: @Sendable () async throws -> String

    package init(
        url: String, trust: TLSTrust?, coreKey: PublicKey? = nil, proof: NodeProof? = nil,
        route: WebRoute = .direct, node: String,
        service: String, organisation: String, version: String,
        epoch: @autoclosure @escaping @Sendable () -> Int64 = 0, destination: String, window: Int = 1024,
        heartbeatSeconds: Int64 = 5,
        welcomeDeadline: Duration = .seconds(10), drainDeadline: Duration = .seconds(10),
        backoff: LinkBackoff.Bounds = .init(),
        details: @escaping @Sendable () -> String, token: @escaping @Sendable () async throws -> String
    ) {
        self.url = url
        self.trust = trust
        self.coreKey = coreKey
        self.proof = proof
        self.route = route
        self.node = node
        self.service = service
        self.organisation = organisation
        self.version = version
        self.epoch = epoch
        self.destination = destination
        self.window = window
        self.heartbeatSeconds = heartbeatSeconds
        self.welcomeDeadline = welcomeDeadline
        self.drainDeadline = drainDeadline
        self.backoff = backoff
        self.details = details
        self.token = token
    }
}
