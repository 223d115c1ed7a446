import CoreLink
import Diagnostics
import KeyManagement
import KeyStore
import LinkedService
import ServiceLifecycle
import ServiceRuntime
import SignedPolicy
import Synchronization
import WireText

/// Renews this node's lease, and takes over with it what other nodes have frozen and which policy they judge by.
///
/// Rules:
/// 1. The lease counts from the moment before the renewal is sent, and is extended when all that came with it is in force.
/// 2. A higher epoch is on this node's disk before it works in it, and the link is made anew under it.
/// 3. A lower epoch, a closed one, or a removal from the cluster ends the lease at once.
/// 4. While this node's clock is known to be wrong there is none, and nothing is judged (`ClockWitnesses`).
/// 5. A database that was promoted may have lost freezes that this node knows. In the first renewal of an epoch that rose
///    under it the node puts them back; in any other one an older list is somebody's work, and there is no lease.
/// 6. While there is none, an alarm, the check `lease` and STATUS= say why and what to do.
final class LeaseKeeper: Service {
    static let check = HealthCheck("lease", "the lease to release keys", gate: .required)

    struct Standing: Sendable {
        var epoch: Int64
        var isSynchronous = false
        var renewals: Int64 = 0
        /// Why there is none; nil while it is held.
        var trouble: DiagnosedError?
        /// Releases of nodes whose lease is held now.
        var releases: Set<String> = []
    }

    let lease: ReleaseLease
    private let cluster: any ClusterStore
    private let file: EpochFile?
    private let node: String
    private let release: String
    private let clock: any Clock<Duration>
    private let freezes: FreezeBoard
    private let memory: PolicyMemory
    private let inForce: PolicyInForce
    private let health: HealthRegistry
    private let metrics: MetricRegistry
    private let events: any EventRecorder
    private let links: LinkHolder
    private let state: Mutex<Standing>
    /// Since when the link stands of which the core's time is known, and what is known of this node's clock.
    private let witnesses = Mutex<(link: Timestamp?, clocks: ClockWitnesses)>((nil, ClockWitnesses()))
    private let reading: @Sendable () -> ClockWitnesses.Reading
    /// The epoch rose, and there was no lease in it yet.
    private let isNewEpoch = Mutex(false)
    /// The settings as the last renewal brought them.
    private let last = Mutex<[[UInt8]?]?>(nil)

    /// What the lease needs of a KMS: freezes and policy, and where it says how it is.
    struct Parts {
        let freezes: FreezeBoard
        let memory: PolicyMemory
        let inForce: PolicyInForce
        let health: HealthRegistry
        let metrics: MetricRegistry
        let events: any EventRecorder
        let links: LinkHolder
    }

    /// Refuses a database of an epoch that is over. `file`: nil for a store that one process has.
    init(
        _ cluster: any ClusterStore, node: String, release: String, file: EpochFile?, lease: ReleaseLease,
        clock: any Clock<Duration> = ContinuousClock(),
        reading: @escaping @Sendable () -> ClockWitnesses.Reading = {
            .init(wall: Timestamp.now().milliseconds, boot: KernelClock.bootNanoseconds() / 1_000_000)
        }, _ parts: Parts
    ) async throws {
        (self.clock, self.reading) = (clock, reading)
        (self.cluster, self.node, self.release, self.file, self.lease) = (cluster, node, release, file, lease)
        (freezes, memory, inForce) = (parts.freezes, parts.memory, parts.inForce)
        (health, metrics, events, links) = (parts.health, parts.metrics, parts.events, parts.links)
        let epoch = try await cluster.cluster().epoch
        if let file {
            guard epoch >= file.epoch else { throw DiagnosedError.epochIsOver(epoch, seen: file.epoch) }
            try file.raise(to: epoch)
        }
        state = Mutex(Standing(epoch: epoch))
        health.declare(Self.check)
        metrics.gauge(.leaseEpoch).set(Double(epoch))
        metrics.read(.leaseHeld) { [lease] in lease.isHeld ? 1 : 0 }
    }

    var standing: Standing { state.withLock { $0 } }
    /// For the hello of the link.
    var epoch: Int64 { state.withLock { $0.epoch } }

    /// Stands first among the services: it ends when everything has left.
    func run() async throws {
        try? await cancelWhenGracefulShutdown { try await self.keep() }
    }

    /// Renews until it is cancelled.
    func keep() async throws {
        var round = 0
        while !Task.isCancelled {
            let elapsed = clock.stopwatch()
            await renew()
            if round % 20 == 0 { await compareReleases() }
            round += 1
            // At once again after one that took long, but never in a tight loop.
            let rest = ReleaseLease.interval - elapsed()
            try await clock.sleep(for: max(rest, .milliseconds(20)))
        }
    }

    /// One renewal, with all that follows from it.
    func renew() async {
        let epoch = epoch
        let known = freezes.version
        let sent = lease.now
        do {
            let answer = try await cluster.renewLease(
                LeaseRequest(
                    node: node, epoch: epoch, release: release,
                    settings: [FreezeBoard.setting, PolicyMemory.setting]))
            if answer.refusal == .epoch { return try changeEpoch(to: answer.epoch) }
            if let refusal = answer.refusal { throw Self.refused(refusal, node: node) }
            if let time = answer.clock { try judgeClock(by: time) }
            try await take(answer.settings, readAfter: known)
            isNewEpoch.withLock { $0 = false }
            lease.extend(sentAt: sent)
            state.withLock { state in
                state.isSynchronous = answer.isSynchronous
                state.renewals = answer.renewals
            }
            held()
        } catch {
            missing((error as? DiagnosedError) ?? DiagnosedError(.storeFailed, fault: .store, "no lease could be had"))
        }
    }

    /// What the renewal brought along is in force when this returns.
    private func take(_ settings: [[UInt8]?], readAfter known: Int64) async throws {
        let hasChanged = last.withLock { $0 != settings }
        do {
            try freezes.take(settings[0], readAfter: known)
        } catch let error as DiagnosedError where error == FreezeBoard.rolledBack && isNewEpoch.withLock({ $0 }) {
            if try await freezes.restore() { events.record(.freezesRestored) }
        }
        guard hasChanged else { return }
        if let seen = try memory.seen(in: settings[1]) { inForce.learn(highest: seen.version) }
        lease.noteChange()
        last.withLock { $0 = settings }
    }

    private func judgeClock(by database: Timestamp) throws {
        let now = reading()
        let link = links.link?.state
        let error = witnesses.withLock { witnesses in
            if let since = link?.connectedSince, let offset = link?.clockOffsetMilliseconds, witnesses.link != since {
                witnesses.link = since
                witnesses.clocks.heard(core: offset, at: since, now: now)
            }
            return witnesses.clocks.error(database: database, now: now)
        }
        lease.judgeClock(isWrong: error != nil)
        guard let error else { return }
        throw DiagnosedError(
            .leaseRefused, fault: .configuration, "the clock of this node is wrong",
            expected: "the time of the database and of the core",
            found: "\(abs(error) / 1000) s \(error > 0 ? "ahead" : "behind")",
            hint: "set it right (timedatectl set-ntp true); other nodes answer meanwhile")
    }

    private func changeEpoch(to epoch: Int64) throws {
        let present = self.epoch
        lease.end()
        guard epoch > present else {
            throw DiagnosedError.epochIsOver(epoch, seen: present)
        }
        try file?.raise(to: epoch)
        state.withLock { $0.epoch = epoch }
        isNewEpoch.withLock { $0 = true }
        metrics.gauge(.leaseEpoch).set(Double(epoch))
        events.record(.epochRaised, [.detail: "from \(present) to \(epoch)"])
        links.link?.reconnect()
    }

    private func held() {
        let had = state.withLock { state in
            defer { state.trouble = nil }
            return state.trouble
        }
        let (epoch, isSynchronous) = state.withLock { ($0.epoch, $0.isSynchronous) }
        health.report(
            Self.check, .ok(isSynchronous ? "epoch \(epoch), synchronous commits" : "epoch \(epoch)"))
        guard had != nil else { return }
        health.alarms.clear(.leaseLost, "the lease is held again, epoch \(epoch)")
        if had?.code == .storeSuperseded {
            health.alarms.clear(.splitBrain, about: "database", "the database is of epoch \(epoch)")
        }
    }

    /// One renewal that fails costs nothing yet.
    private func missing(_ error: DiagnosedError) {
        if error.code == .storeSuperseded { health.alarms.raise(.splitBrain, about: "database", Loggable(error)) }
        if error.code == .leaseRefused || error.code == .storeSuperseded { lease.end() }
        guard !lease.isHeld else { return }
        state.withLock { $0.trouble = error }
        health.report(Self.check, .fail(error))
        health.alarms.raise(.leaseLost, Loggable(error))
    }

    private static func refused(_ refusal: LeaseAnswer.Refusal, node: String) -> DiagnosedError {
        let (found, hint): (String, String) =
            switch refusal {
            case .removed: ("\(node) was removed from the cluster", "let an officer put it on the list again")
            case .closed:
                (
                    "the epoch is closed for a switch-over",
                    "wait for it to end, or go on with it: hdsctl failover plan says how far it is"
                )
            case .asynchronous:
                (
                    "the cluster promises synchronous commits, and the database does not make them",
                    "set synchronous_standby_names again; to go on without a standby give the promise up: "
                        + "hdsctl failover asynchronous"
                )
            case .promoted:
                (
                    "the server was promoted, and the epoch was not raised",
                    "let hdsctl failover promote finish it; it also says whether something was lost"
                )
            case .epoch: ("another epoch", "see hdsctl failover plan")
            }
        return DiagnosedError(
            .leaseRefused, fault: .store, "the database gives this node no lease", expected: "a lease", found: found,
            hint: hint)
    }

    func compareReleases() async {
        guard let leases = try? await cluster.leases() else { return }
        let live = leases.filter { $0.age < .seconds(5) && !$0.isRemoved }
        lease.noteOthers(live.contains { $0.node != node })
        let releases = Set(live.map(\.release))
        state.withLock { $0.releases = releases }
        guard releases.count > 1 else {
            return health.alarms.clear(.versionSkew, "all nodes are of one release")
        }
        let nodes = live.map { "\($0.node) \($0.release)" }.joined(separator: ", ")
        health.alarms.raise(.versionSkew, Loggable(reviewed: nodes))
    }
}

extension DiagnosedError.Code {
    static let leaseRefused: Self = "lease-refused"
}
