package import WireText

/// What the nodes of a KMS agree on in their database: the epoch, and who may release keys now.
///
/// The epoch only rises: it says which database is the one that counts (docs/cluster.md). A lease is renewed by one
/// statement and one commit, as durable and as synchronous as every other commit of the store; what comes back with it
/// was read in the same transaction. Every implementation passes `ClusterStoreTests`.
package protocol ClusterStore: Sendable {
    func cluster() async throws -> ClusterState
    /// Asks for the lease of a node. Throws when the database does not answer soon; then nothing is known.
    func renewLease(_ request: LeaseRequest) async throws -> LeaseAnswer
    /// One row for each node that ever had a lease, in the order of their names.
    func leases() async throws -> [NodeLease]
    /// Says of a node that it gets no lease any more, or gets one again.
    func setRemoved(_ isRemoved: Bool, node: String) async throws
    /// Puts an invitation in the place of an earlier one of that name, and deletes those that expired a day ago.
    func invite(_ invitation: NodeInvitation) async throws
    /// In the order of the names.
    func invitations() async throws -> [NodeInvitation]
    /// Leaves a new machine's request. False, and nothing changes, when the invitation is not there, has expired by the
    /// database's clock, or has a request.
    func join(_ request: NodeInvitation.Request, node: String) async throws -> Bool
    /// Leaves the answer to exactly that request and forgets `sealed`; false when there is another one, or an answer.
    func answer(_ answer: [UInt8], to request: NodeInvitation.Request, node: String) async throws -> Bool
}

/// The one row of the cluster.
package struct ClusterState: Sendable, Equatable {
    /// Rises with each promotion, never falls; 1 at first.
    package var epoch: Int64
    /// The site that it was promoted at, as it was named then; empty at first.
    package var site: String
    package var since: Timestamp
    /// Whether every lease since it was first so demanded a synchronous commit: then a standby has all that was
    /// acknowledged.
    package var promisesSynchronous: Bool
    /// False: closed for a switch-over; nobody gets a lease.
    package var isOpen: Bool

    package init(epoch: Int64, site: String, since: Timestamp, promisesSynchronous: Bool, isOpen: Bool) {
        self.epoch = epoch
        self.site = site
        self.since = since
        self.promisesSynchronous = promisesSynchronous
        self.isOpen = isOpen
    }
}

package struct LeaseRequest: Sendable, Equatable {
    package var node: String
    /// The epoch that the node works in.
    package var epoch: Int64
    /// The release of the program.
    package var release: String
    /// Settings that the answer brings along.
    package var settings: [String]

    package init(node: String, epoch: Int64, release: String, settings: [String] = []) {
        self.node = node
        self.epoch = epoch
        self.release = release
        self.settings = settings
    }
}

package struct LeaseAnswer: Sendable, Equatable {
    /// Why there is no lease.
    package enum Refusal: String, Sendable, Equatable {
        /// The database is in another epoch than the node.
        case epoch
        /// The node was removed from the cluster.
        case removed
        /// The epoch was closed for a switch-over.
        case closed
        /// The cluster promises synchronous commits, and the database does not make them now.
        case asynchronous
        /// The server was promoted past this tool: nobody has said yet that it counts.
        case promoted
    }

    package var epoch: Int64
    /// Nil: the lease is held.
    package var refusal: Refusal?
    /// How often this node has renewed, 0 without a lease.
    package var renewals: Int64
    /// Whether this commit waited for a standby.
    package var isSynchronous: Bool
    /// In the order in which they were asked for.
    package var settings: [[UInt8]?]
    /// What time it is there; nil for a store that has no clock but this process's.
    package var clock: Timestamp?

    package init(epoch: Int64, refusal: Refusal?, renewals: Int64, isSynchronous: Bool, settings: [[UInt8]?]) {
        self.epoch = epoch
        self.refusal = refusal
        self.renewals = renewals
        self.isSynchronous = isSynchronous
        self.settings = settings
    }
}

/// The last renewal of a node.
package struct NodeLease: Sendable, Equatable {
    package var node: String
    package var epoch: Int64
    package var renewals: Int64
    /// By the database's clock.
    package var at: Timestamp
    /// How long ago that is, by the same clock.
    package var age: Duration
    package var isSynchronous: Bool
    package var release: String
    package var isRemoved: Bool

    package init(
        node: String, epoch: Int64, renewals: Int64, at: Timestamp, age: Duration, isSynchronous: Bool,
        release: String, isRemoved: Bool
    ) {
        self.node = node
        self.epoch = epoch
        self.renewals = renewals
        self.at = at
        self.age = age
        self.isSynchronous = isSynchronous
        self.release = release
        self.isRemoved = isRemoved
    }
}
