import Synchronization
package import WireText

/// A cluster that lives in memory, beside a key store from which it reads settings. For tests and models.
///
/// A test may set the state as an administrator would, and let the next renewals fail or wait.
package final class MemoryClusterStore: ClusterStore {
    private struct State {
        var cluster = ClusterState(
            epoch: 1, site: "", since: Timestamp(milliseconds: 0), promisesSynchronous: false, isOpen: true)
        var leases: [String: NodeLease] = [:]
        var removed: Set<String> = []
        var invitations: [String: NodeInvitation] = [:]
        var isSynchronous = false
        var clock: Timestamp?
        var fault: (@Sendable () async throws -> Void)?
    }

    private let store: any KeyStore
    private let now: @Sendable () -> Timestamp
    private let state = Mutex(State())

    package init(_ store: any KeyStore, now: @escaping @Sendable () -> Timestamp = { .now() }) {
        self.store = store
        self.now = now
    }

    /// What an administrator does to the row of the cluster.
    package func change(_ body: @Sendable (inout ClusterState) -> Void) { state.withLock { body(&$0.cluster) } }
    /// Whether commits wait for a standby from now on.
    package func setSynchronous(_ isSynchronous: Bool) { state.withLock { $0.isSynchronous = isSynchronous } }
    /// What time renewals say that it is from now on.
    package func setClock(_ clock: Timestamp?) { state.withLock { $0.clock = clock } }
    /// Runs before each renewal; nil: nothing does.
    package func setFault(_ fault: (@Sendable () async throws -> Void)?) { state.withLock { $0.fault = fault } }

    package func cluster() async throws -> ClusterState { state.withLock { $0.cluster } }

    package func renewLease(_ request: LeaseRequest) async throws -> LeaseAnswer {
        try await state.withLock { $0.fault }?()
        var settings: [[UInt8]?] = []
        for name in request.settings { settings.append(try await store.setting(name)) }
        let time = now()
        return state.withLock { state in
            var answer = LeaseAnswer(
                epoch: state.cluster.epoch, refusal: nil, renewals: 0, isSynchronous: state.isSynchronous,
                settings: settings)
            answer.clock = state.clock
            if state.cluster.epoch != request.epoch {
                answer.refusal = .epoch
            } else if state.removed.contains(request.node) {
                answer.refusal = .removed
            } else if !state.cluster.isOpen {
                answer.refusal = .closed
            } else if state.cluster.promisesSynchronous, !state.isSynchronous {
                answer.refusal = .asynchronous
            } else {
                if state.isSynchronous { state.cluster.promisesSynchronous = true }
                let renewals = (state.leases[request.node]?.renewals ?? 0) + 1
                state.leases[request.node] = NodeLease(
                    node: request.node, epoch: request.epoch, renewals: renewals, at: time, age: .zero,
                    isSynchronous: state.isSynchronous, release: request.release, isRemoved: false)
                answer.renewals = renewals
            }
            return answer
        }
    }

    package func leases() async throws -> [NodeLease] {
        let time = now()
        return state.withLock { state in
            state.leases.values.map { lease in
                var lease = lease
                lease.age = .milliseconds(time.milliseconds - lease.at.milliseconds)
                lease.isRemoved = state.removed.contains(lease.node)
                return lease
            }
        }.sorted { $0.node < $1.node }
    }

    package func setRemoved(_ isRemoved: Bool, node: String) async throws {
        state.withLock { state in
            if isRemoved { state.removed.insert(node) } else { state.removed.remove(node) }
        }
    }

    package func invite(_ invitation: NodeInvitation) async throws {
        let latest = now().adding(seconds: -86_400)
        state.withLock { state in
            state.invitations = state.invitations.filter { $0.value.expires > latest }
            state.invitations[invitation.node] = invitation
        }
    }

    package func invitations() async throws -> [NodeInvitation] {
        state.withLock { $0.invitations.values.sorted { $0.node < $1.node } }
    }

    package func join(_ request: NodeInvitation.Request, node: String) async throws -> Bool {
        let time = now()
        return state.withLock { state in
            guard let open = state.invitations[node], open.request == nil, open.expires > time else { return false }
            state.invitations[node]?.request = request
            return true
        }
    }

    package func answer(_ answer: [UInt8], to request: NodeInvitation.Request, node: String) async throws -> Bool {
        state.withLock { state in
            guard let open = state.invitations[node], open.request == request, open.answer == nil else { return false }
            state.invitations[node]?.answer = answer
            state.invitations[node]?.sealed = []
            return true
        }
    }

    /// What the database's owner can write.
    package func tamper(_ node: String, _ body: @Sendable (inout NodeInvitation) -> Void) {
        state.withLock { state in
            guard var invitation = state.invitations[node] else { return }
            body(&invitation)
            state.invitations[node] = invitation
        }
    }
}
