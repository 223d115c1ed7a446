import AuditTrail
import Diagnostics
import Glibc
import KeyManagement
import ServiceLifecycle
import ServiceRuntime
import SignedPolicy
import Synchronization
import WireText

/// Keeps the signed policy of this node: takes it at the start, on SIGHUP, and when its file or that of the officers has
/// changed.
///
/// Rules:
/// 1. What is refused changes nothing; an alarm says why and what to do, until a policy is taken again.
/// 2. A policy that widens is in force once its record stands in the audit trail; one that narrows is in force at once.
/// 3. Each start says in the trail which policy it took up, so that no crash leaves one without a record.
/// 4. A subject that a policy called a service stays one, whatever later policies say.
/// 5. While another node judges by a higher version, this one answers nobody, and an alarm says why.
/// 6. A file that vanishes takes nothing back and raises an alarm: to allow nothing, sign a policy without services.
actor PolicyKeeper: Service {
    static let check = HealthCheck("policy", "the signed policy")

    private let file: FileLocation?
    private let holder: PolicyHolder
    private let officers: EnrolledOfficers
    private let inForce: PolicyInForce
    private let services: ServiceSubjects
    private let audit: DecisionAudit?
    private let health: HealthRegistry
    private let events: any EventRecorder
    private let metrics: MetricRegistry
    private let clock: @Sendable () -> Timestamp

    /// Files as they were when they were last taken or refused.
    private var taken: [FileMark?] = []
    /// Files as they were at the last look: what is still being written is left alone.
    private var glimpsed: [FileMark?] = []
    /// What is not in the trail yet, in its order; the last is the policy that will be in force.
    private var unrecorded: [PolicyHolder.Outcome] = []
    private var isRecording = false
    private var refusals = 0

    init(
        file: FileLocation?, holder: PolicyHolder, officers: EnrolledOfficers, inForce: PolicyInForce,
        services: ServiceSubjects, audit: DecisionAudit?, health: HealthRegistry, events: any EventRecorder,
        metrics: MetricRegistry,
        clock: @escaping @Sendable () -> Timestamp = { Timestamp.now() }
    ) {
        self.file = file
        self.holder = holder
        self.officers = officers
        self.inForce = inForce
        self.services = services
        self.audit = audit
        self.health = health
        self.events = events
        self.metrics = metrics
        self.clock = clock
        health.declare(Self.check)
    }

    func run() async throws {
        try? await cancelWhenGracefulShutdown {
            while !Task.isCancelled {
                try await Task.sleep(for: .seconds(1))
                await self.look()
            }
        }
    }

    /// Reads files that have changed and stand still since the last look.
    func look() async {
        let now = marks
        defer { glimpsed = now }
        await record()
        await compare()
        guard now != taken, now == glimpsed else { return }
        do {
            try officers.reload()
        } catch {
            refused(error, "the file of officers is refused, they stay who they were")
            taken = now
            return
        }
        await load()
    }

    /// What other nodes have taken meanwhile; a store that is away is told by its own check.
    private func compare() async {
        guard unrecorded.isEmpty, let highest = try? await holder.highest() else { return }
        let was = inForce.outdatedBy
        inForce.learn(highest: highest)
        guard let newer = inForce.outdatedBy, newer != was else { return }
        let old = inForce.current.signed.version
        refused(
            DiagnosedError(
                .policyRollback, fault: .configuration, "version \(newer) is in force on another node",
                expected: "the same policy on every node", found: "version \(old)",
                hint: "put the file of version \(newer) in its place here, too"),
            "this node answers nobody until it has that policy")
    }

    /// Throws what makes the file of officers unusable, and takes nothing over.
    func judgeOfficers() throws { try officers.judge() }

    /// Reads both files now. Throws what makes the file of officers unusable; a policy that is refused is an alarm.
    func reload() async throws {
        try officers.reload()
        await load()
    }

    /// Takes the policy as its file is now.
    func load() async {
        taken = marks
        glimpsed = taken
        do {
            inForce.know(services: try await services.known())
        } catch {
            return refused(error, "the services of earlier policies can not be read, so no policy is taken")
        }
        guard let file else { return await loadNothing(instead: nil) }
        var status = stat()
        if stat(file.path, &status) != 0, errno == ENOENT {
            return await loadNothing(instead: file.path)
        }
        do {
            let outcome = try await holder.load(file: file.path, officers: officers.roster, now: clock())
            refusals = 0
            for alarm in [Alarm.policyRefused, .policyMissing] {
                health.alarms.clear(alarm, "version \(outcome.current.version) is in force")
            }
            if outcome.current != unrecorded.last?.current ?? inForce.current.signed { await apply(outcome) }
            report()
        } catch {
            refused(error, "the policy is refused, version \(inForce.current.signed.version) stays in force")
        }
    }

    /// Without a file: fine as long as there never was a policy.
    private func loadNothing(instead path: String?) async {
        do {
            try await holder.loadNothing()
        } catch {
            return missing(path.map { "\(error.summary); \($0) is not there" } ?? error.summary)
        }
        guard let path else { return report() }
        health.report(
            Self.check,
            .warn("none is in force: \(reviewed: path) is not there", fix: "put the signed policy in its place"))
    }

    private func apply(_ outcome: PolicyHolder.Outcome) async {
        // Behind one that waits for its record, everything waits: while the trail is blocked no key is released.
        if !outcome.widens, unrecorded.isEmpty { inForce.take(outcome.current) }
        unrecorded.append(outcome)
        await record()
    }

    /// Into the trail, then in force. What can not be kept is tried again at the next look.
    private func record() async {
        guard !isRecording else { return }
        isRecording = true
        defer { isRecording = false }
        while let outcome = unrecorded.first {
            let id: AuditID?
            do {
                // What a policy once called a service is never taken for a person again.
                try await services.note(Set(outcome.current.services.map(\.subject)))
                id = try await audit?.keep(Self.act(outcome), now: clock())
            } catch {
                return refused(
                    error, "the policy's change can not be written down and waits for that", isNews: false)
            }
            unrecorded.removeFirst()
            inForce.take(outcome.current)
            events.record(
                .policyTaken,
                [
                    .detail: Self.story(outcome),
                    .fingerprint: Loggable(reviewed: Hexadecimal.encode(outcome.current.digest)),
                    .auditID: id.map { Loggable(reviewed: $0.description) },
                ])
            health.alarms.clear(.policyRefused, "version \(outcome.current.version) is in force")
            report()
        }
    }

    private static func rule(_ outcome: PolicyHolder.Outcome) -> String {
        outcome.isNew ? outcome.widens ? "policy-widened" : "policy-changed" : "policy-resumed"
    }

    private static func act(_ outcome: PolicyHolder.Outcome) -> OfficeAct {
        let sentences = outcome.changes.map { "\($0.effect.rawValue) \($0.path): \($0.sentence)" }
        return OfficeAct(
            .policy, signedBy: outcome.signers.map(\.id), command: "policy-version-\(outcome.current.version)",
            rule: rule(outcome), digest: Base64URL.encode(outcome.current.digest),
            detail: outcome.isNew ? sentences.joined(separator: "; ") : "taken up again")
    }

    private static func story(_ outcome: PolicyHolder.Outcome) -> Loggable {
        let officers = outcome.signers.map(\.id).joined(separator: " and ")
        let change: Loggable =
            switch rule(outcome) {
            case "policy-widened": "it widens what somebody may"
            case "policy-changed": "it widens nothing"
            default: "taken up again"
            }
        return "version \(outcome.current.version), signed by \(reviewed: officers); \(change)"
    }

    /// - Parameter isNews: whether the journal is told again although the alarm stands.
    private func refused(_ error: any Error, _ what: Loggable, isNews: Bool = true) {
        if isNews { refusals += 1 }
        let reason = Loggable(error: error)
        health.alarms.raise(.policyRefused, stage: refusals, "\(what): \(reason)")
        health.report(
            Self.check,
            .warn("\(Self.sentence(inForce.current.signed)); \(what)", fix: "see the alarm HDS-POLICY-REFUSED"))
    }

    private func missing(_ what: String) {
        let sentence = Self.sentence(inForce.current.signed)
        health.alarms.raise(.policyMissing, "\(reviewed: what); \(sentence)")
        health.report(
            Self.check,
            .warn(
                "\(sentence), and its file is not there",
                fix: "put the signed policy in its place; to allow nothing, sign a policy without services"))
    }

    private func report() {
        health.report(Self.check, .ok(Self.sentence(inForce.current.signed)))
        metrics.gauge(.policyVersion).set(Double(inForce.current.signed.version))
    }

    private static func sentence(_ policy: Policy) -> Loggable {
        guard policy.version > 0 else { return "no policy is in force: nobody but members gets keys" }
        return "version \(policy.version) is in force, with \(policy.services.count) services"
    }

    private var marks: [FileMark?] {
        [file.flatMap { FileMark($0.path) }, officers.file.flatMap { FileMark($0.path) }]
    }
}

/// By what it is noticed that a file is another one.
private struct FileMark: Equatable {
    let device: UInt64
    let inode: UInt64
    let size: Int64
    let seconds: Int
    let nanoseconds: Int

    /// Nil for a file that is not there.
    init?(_ path: String) {
        var status = stat()
        guard stat(path, &status) == 0 else { return nil }
        device = UInt64(status.st_dev)
        inode = UInt64(status.st_ino)
        size = Int64(status.st_size)
        seconds = status.st_mtim.tv_sec
        nanoseconds = status.st_mtim.tv_nsec
    }
}
