package import Diagnostics
import Glibc
import KeyStorePostgreSQL
import KeyStore
package import PostgreSQLClient
import WireText

/// Makes another server of the cluster the one that counts: fenced by the epoch, step by step, each in the journal.
///
/// Rules:
/// 1. While the old primary gives leases, it is refused; unless it is a switch-over: then its epoch is closed first.
/// 2. With the old primary in reach nothing is promoted before the standby has every octet of its log.
/// 3. With it out of reach the promise of synchronous commits proves that nothing acknowledged is lost. Without it the
///    outcome is `unknown`, and it is refused unless it is forced.
/// 4. Between the promotion and the new epoch no server gives a lease: the timeline tells.
/// 5. Every step may be done again; a run that was cut off goes on where it was.
package struct SiteFailover {
    package struct Request: Sendable {
        /// The server to take over; nil: the one standby.
        package var target: String?
        /// What the new epoch's site is called.
        package var site = ""
        package var isSwitchOver = false
        package var isForced = false

        package init() {}
    }

    package struct Outcome: Sendable {
        package let target: String
        package let from: Int64
        package let to: Int64
        package let proof: FailoverProof
        package let isResumed: Bool
        /// The old primary, where it was in reach: it has to become a standby.
        package let old: String?
        package let seconds: Double
    }

    private let settings: PostgreSQLSettings
    private let seenEpoch: Int64
    private let schema: String
    private let journal: FailoverJournal
    private let tell: (String) -> Void

    package init(
        _ settings: PostgreSQLSettings, seenEpoch: Int64, journal: FailoverJournal, schema: String = "hds_kms",
        tell: @escaping (String) -> Void = { _ in }
    ) {
        (self.settings, self.seenEpoch, self.schema, self.journal, self.tell) = (
            settings, seenEpoch, schema, journal, tell
        )
    }

    package func survey() -> FailoverSurvey { FailoverSurvey(settings, seenEpoch: seenEpoch, schema: schema) }

    /// The server that a request means: the one that is named, the one of a run that was cut off, or the one standby.
    package func target(_ request: Request, in survey: FailoverSurvey) throws(DiagnosedError) -> FailoverSurvey.Server {
        if let name = request.target ?? journal.unfinished?.target {
            guard let server = survey.server(name) else {
                throw Self.refused(
                    "\(name) is none of the servers", found: survey.servers.map(\.name).joined(separator: ", "),
                    hint: "name it as store.postgresql.hosts does")
            }
            return server
        }
        if survey.standbys.count == 1 { return survey.standbys[0] }
        if let raw = survey.primaries.first(where: { $0.seen?.isKnownTimeline == false }) { return raw }
        throw Self.refused(
            "it is not clear which server is to take over", found: "\(survey.standbys.count) standbys",
            hint: "name one with --to")
    }

    package func promote(_ request: Request) throws -> Outcome {
        let start = ContinuousClock.now
        let survey = survey()
        let server = try target(request, in: survey)
        guard let view = server.seen else {
            throw Self.refused("\(server.name) can not be reached", found: found(server), hint: "see that it runs")
        }
        let resumed = journal.unfinished.flatMap { $0.target == server.name ? $0 : nil }
        if view.isStandby == false, view.isKnownTimeline, view.cluster.isOpen, view.cluster.epoch >= survey.epoch,
            view.cluster.epoch >= seenEpoch
        {
            return try finishedBefore(server, view, resumed, start)
        }
        let run = resumed?.run ?? UUIDText.random()
        let from = resumed?.epoch ?? max(view.cluster.epoch, survey.epoch)
        do {
            return try carryOut(request, survey, server, view, run: run, from: from, isResumed: resumed != nil, start)
        } catch let error as DiagnosedError {
            try? journal.note(
                .init(run: run, step: "refused", state: "refused", target: server.name, detail: error.description))
            throw error
        }
    }

    /// Nothing is left to do; says it once more.
    private func finishedBefore(
        _ server: FailoverSurvey.Server, _ view: ClusterServer.View,
        _ resumed: (run: String, target: String, epoch: Int64)?, _ start: ContinuousClock.Instant
    ) throws -> Outcome {
        let epoch = view.cluster.epoch
        if let resumed { try end(resumed.run, server.name, epoch) }
        tell("\(server.name) takes writes in epoch \(epoch) already")
        return Outcome(
            target: server.name, from: resumed?.epoch ?? epoch, to: epoch,
            proof: resumed.flatMap { recordedProof(of: $0.run) } ?? .unknown("it was promoted earlier"),
            isResumed: true, old: nil,
            seconds: start.duration(to: .now).inSeconds)
    }

    private func carryOut(
        _ request: Request, _ survey: FailoverSurvey, _ server: FailoverSurvey.Server, _ view: ClusterServer.View,
        run: String, from: Int64, isResumed: Bool, _ start: ContinuousClock.Instant
    ) throws -> Outcome {
        let olds = survey.primaries.filter {
            $0.name != server.name && ($0.seen?.cluster.epoch ?? 0) >= view.cluster.epoch
        }
        guard olds.count <= 1 else {
            throw Self.refused(
                "more than one server takes writes", found: olds.map(\.name).joined(separator: ", "),
                hint: "stop all but the one that the nodes work with")
        }
        if !isResumed { try judge(request, survey, server, view, old: olds.first) }
        if !isResumed {
            try journal.note(.init(run: run, step: "run", state: "begun", target: server.name, epoch: from))
        }
        let settled: FailoverProof
        if let recorded = recordedProof(of: run) {
            settled = recorded
        } else if let old = olds.first, view.isStandby {
            settled = try leave(old, for: server, from: from, run: run)
        } else {
            settled =
                olds.first.map { .unknown("\(server.name) was promoted while \($0.name) took writes") }
                ?? survey.proof(of: server)
            guard settled.isProved || request.isForced else { throw Self.unknown(settled.reason, server.name) }
        }
        try journal.note(
            .init(run: run, step: "proof", state: settled.word, target: server.name, detail: settled.reason))
        tell("\(settled.word): \(settled.reason)")
        let administered = ClusterServer(settings, host: server.host, schema: schema)
        try step("promote", run, server.name) { try administered.promote() }
        let before = try administered.look().cluster.epoch
        // Above whatever this node has seen, also where the server is behind.
        let to = max(max(before, seenEpoch), from) + 1
        try step("epoch", run, server.name, epoch: to) {
            guard try administered.raise(from: before, to: to, site: request.site) else {
                throw Self.refused(
                    "somebody else raised the epoch meanwhile", found: "not \(before)", hint: "look again")
            }
        }
        // An old primary that nobody can reach may have given a lease a moment ago.
        try step("leases", run, server.name) { usleep(1_000_000) }
        try end(run, server.name, to)
        return Outcome(
            target: server.name, from: from, to: to, proof: settled, isResumed: isResumed, old: olds.first?.name,
            seconds: start.duration(to: .now).inSeconds)
    }

    /// What speaks against it; nothing has been changed yet.
    private func judge(
        _ request: Request, _ survey: FailoverSurvey, _ server: FailoverSurvey.Server, _ view: ClusterServer.View,
        old: FailoverSurvey.Server?
    ) throws(DiagnosedError) {
        if let old, let seen = old.seen, !request.isSwitchOver {
            let live = seen.liveLeases.map(\.node).joined(separator: ", ")
            throw Self.refused(
                live.isEmpty
                    ? "\(old.name) still takes writes"
                    : "\(old.name) still gives leases in epoch \(seen.cluster.epoch)",
                found: live.isEmpty ? "a primary that can be reached" : live,
                hint: "to change over while it runs: --switch-over; if it is to be left behind, stop it first")
        }
        for check in survey.checks(target: server)
        where check.result == .fail && !(request.isForced && ["epoch", "lag"].contains(check.name)) {
            throw Self.refused(
                check.detail, found: "\(check.name): fail", hint: check.fix ?? "see hdsctl failover plan")
        }
        if old == nil, !request.isForced, case .unknown(let reason) = survey.proof(of: server) {
            throw Self.unknown(reason, server.name)
        }
    }

    /// Closes the old primary's epoch and waits until the standby has all of its log.
    private func leave(
        _ old: FailoverSurvey.Server, for server: FailoverSurvey.Server, from: Int64, run: String
    ) throws -> FailoverProof {
        let source = ClusterServer(settings, host: old.host, schema: schema)
        let standby = ClusterServer(settings, host: server.host, schema: schema)
        let waits = old.seen?.synchronousStandbyNames.isEmpty == false
        var end: Int64 = 0
        do {
            try step("close", run, old.name, epoch: from + 1) {
                guard try source.close(from: from, to: from + 1, waiting: waits) else {
                    throw Self.refused(
                        "\(old.name) is in another epoch than \(from)", found: "it changed", hint: "look again")
                }
            }
            // Leases that were given before run out; what is committed meanwhile was acknowledged to nobody.
            try step("leases-of-old", run, old.name) { usleep(1_000_000) }
            try step("catch-up", run, server.name) {
                end = try source.look().position
                let deadline = ContinuousClock.now + .seconds(30)
                while try standby.look().replayed < end {
                    guard ContinuousClock.now < deadline else {
                        throw Self.refused(
                            "\(server.name) does not get what \(old.name) has", found: "still behind after 30 s",
                            hint: "see that it receives (hdsctl failover plan); \(old.name) is open again")
                    }
                    usleep(50_000)
                }
            }
        } catch {
            _ = try? source.reopen(from + 1)
            try? self.end(run, server.name, from + 1, as: "refused")
            throw error
        }
        return .proved("\(server.name) has all of \(old.name)'s log, up to octet \(end), and its epoch is closed")
    }

    /// The proof as it was written before anything was promoted.
    private func recordedProof(of run: String) -> FailoverProof? {
        guard let entry = journal.entries.last(where: { $0.step == "proof" && $0.run == run }),
            let reason = entry.detail
        else { return nil }
        return entry.state == "proved" ? .proved(reason) : .unknown(reason)
    }

    private func step(
        _ name: String, _ run: String, _ target: String, epoch: Int64? = nil, _ body: () throws -> Void
    ) throws {
        try journal.note(.init(run: run, step: name, state: "begun", target: target, epoch: epoch))
        tell("\(name): \(target)" + (epoch.map { ", epoch \($0)" } ?? ""))
        try body()
        try journal.note(.init(run: run, step: name, state: "done", target: target, epoch: epoch))
    }

    private func end(_ run: String, _ target: String, _ epoch: Int64, as state: String = "done") throws {
        try journal.note(.init(run: run, step: "run", state: state, target: target, epoch: epoch))
    }

    private func found(_ server: FailoverSurvey.Server) -> String {
        if case .failure(let error) = server.view { return error.found ?? error.summary }
        return "it answers"
    }

    static func unknown(_ reason: String, _ server: String) -> DiagnosedError {
        DiagnosedError(
            .failoverUnknown, fault: .client, "unknown whether all that was acknowledged is on \(server)",
            expected: "synchronous commits, or the old primary in reach", found: reason,
            hint: "bring the old primary back and use --switch-over, or accept the loss with --force")
    }

    static func refused(_ what: String, found: String, hint: String) -> DiagnosedError {
        DiagnosedError(.failoverRefused, fault: .peer, what, found: found, hint: hint)
    }
}

extension SiteFailover {
    /// Back to a server that was a primary once: it has to be a standby first, then it is a switch-over.
    package func failback(to name: String, site: String) throws -> Outcome {
        let survey = survey()
        var request = Request()
        (request.target, request.site, request.isSwitchOver) = (name, site, true)
        let server = try target(request, in: survey)
        if journal.unfinished == nil {
            guard server.isStandby || server.seen?.cluster.epoch == survey.epoch else {
                throw Self.refused(
                    "\(server.name) is no standby of the server that counts", found: found(server),
                    hint:
                        "stop it, then: \(FailoverSurvey.rebuild(server.name, from: survey.primary?.name ?? "the primary"))"
                )
            }
        }
        return try promote(request)
    }

    /// Gives the promise of synchronous commits up, so that the nodes go on without a standby. The epoch it begins in.
    package func giveUpSynchronous(isForced: Bool) throws -> Int64 {
        let survey = survey()
        guard let primary = survey.primary, let view = primary.seen else {
            throw Self.refused("no server takes writes", found: "none", hint: "see hdsctl failover plan")
        }
        guard view.cluster.promisesSynchronous else { return view.cluster.epoch }
        guard view.standbys > 0 || isForced else {
            throw Self.refused(
                "no standby can be told", found: "none follows \(primary.name)",
                hint:
                    "a standby that does not know of it must never be promoted: it has to be made anew. --force goes on"
            )
        }
        let run = UUIDText.random()
        let to = view.cluster.epoch + 1
        try step("asynchronous", run, primary.name, epoch: to) {
            let server = ClusterServer(settings, host: primary.host, schema: schema)
            let waits = !isForced && !view.synchronousStandbyNames.isEmpty
            guard try server.giveUpPromise(from: view.cluster.epoch, to: to, waiting: waits) else {
                throw Self.refused(
                    "somebody else raised the epoch meanwhile", found: "not \(to - 1)", hint: "look again")
            }
        }
        return to
    }
}

extension DiagnosedError.Code {
    package static let failoverRefused: Self = "failover-refused"
    /// It can not be said whether something acknowledged would be lost.
    package static let failoverUnknown: Self = "failover-unknown"
}

extension Duration {
    fileprivate var inSeconds: Double { Double(components.seconds) + Double(components.attoseconds) * 1e-18 }
}
