package import Diagnostics
package import WireText

/// How a health check stands.
package enum HealthState: String, Sendable, CaseIterable {
    case ok
    /// Works, and somebody should look.
    case warn
    case fail
    /// Not known yet: nothing was reported since the start.
    case pending
}

/// What a check found.
package struct HealthFinding: Sendable, Equatable {
    package let state: HealthState
    /// What was seen, in a few words.
    package let detail: Loggable
    /// What to do; given with `warn` and `fail`.
    package let fix: Loggable?

    package init(_ state: HealthState, _ detail: Loggable, fix: Loggable? = nil) {
        self.state = state
        self.detail = detail
        self.fix = fix
    }

    package static func ok(_ detail: Loggable) -> HealthFinding { HealthFinding(.ok, detail) }
    package static func warn(_ detail: Loggable, fix: Loggable) -> HealthFinding {
        HealthFinding(.warn, detail, fix: fix)
    }
    package static func fail(_ detail: Loggable, fix: Loggable?) -> HealthFinding {
        HealthFinding(.fail, detail, fix: fix)
    }
    package static func fail(_ error: any Error) -> HealthFinding {
        let hint = (error as? DiagnosedError)?.hint
        return HealthFinding(.fail, Loggable(error: error), fix: hint.map { Loggable(reviewed: $0) })
    }
}

/// A declared check: its id and what depends on it.
package struct HealthCheck: Sendable, Hashable {
    /// What readiness has to do with a check.
    package enum Gate: Sendable, Hashable {
        /// Shown only.
        case none
        /// Without it the service is not ready.
        case required
        /// As `required`, unless the configuration says otherwise: the policy key that says it, and what it says.
        case policy(key: String, mayBeMissing: Bool)

        var holdsReadiness: Bool {
            switch self {
            case .none: false
            case .required: true
            case .policy(_, let mayBeMissing): !mayBeMissing
            }
        }
        var name: String {
            switch self {
            case .none: "none"
            case .required: "required"
            case .policy(let key, _): key
            }
        }
    }

    /// Short and stable, such as `link`.
    package let id: String
    /// What a person calls it, such as `the link to the core`; it stands in status sentences.
    package let title: String
    package let gate: Gate

    package init(_ id: String, _ title: String, gate: Gate = .none) {
        self.id = id
        self.title = title
        self.gate = gate
    }
}

/// A weakness that stands as long as the service runs this way, such as "the core can impersonate users".
package struct StandingWarning: Sendable, Hashable {
    /// Short and stable, such as `core-can-impersonate`.
    package let id: String
    package let text: Loggable
    package let fix: Loggable

    package init(_ id: String, _ text: Loggable, fix: Loggable) {
        self.id = id
        self.text = text
        self.fix = fix
    }
}

/// Everything that the health address tells, at one moment.
package struct HealthReport: Sendable {
    package struct Check: Sendable {
        package let check: HealthCheck
        package let finding: HealthFinding
        /// When the state became what it is.
        package let since: Timestamp
    }

    package let checks: [Check]
    package let warnings: [StandingWarning]
    package let alarms: [AlarmBoard.Standing]
    /// Set once the service has announced that it takes work.
    package let isAnnounced: Bool
    package let isDraining: Bool

    /// Checks that keep the service from being ready.
    package var obstacles: [Check] {
        checks.filter { $0.check.gate.holdsReadiness && ($0.finding.state == .fail || $0.finding.state == .pending) }
    }
    package var isReady: Bool { obstacles.isEmpty && !isDraining }

    /// The worst of all: a failing check is `fail`, a warning of any kind `warn`.
    package var state: HealthState {
        if checks.contains(where: { $0.finding.state == .fail }) { return .fail }
        if checks.contains(where: { $0.finding.state == .pending }) { return .pending }
        if !warnings.isEmpty || !alarms.isEmpty || checks.contains(where: { $0.finding.state == .warn }) {
            return .warn
        }
        return .ok
    }

    /// The state in one sentence, for `systemctl status`.
    package var sentence: String {
        if isDraining { return "Draining: answering what is in flight." }
        let named = { (checks: [Check]) in
            checks.map { "\($0.check.title) (\($0.finding.detail.text))" }.joined(separator: ", ")
        }
        if !obstacles.isEmpty {
            return isAnnounced
                ? "Not ready: failing \(named(obstacles))." : "Starting: waiting for \(named(obstacles))."
        }
        let failing = checks.filter { $0.finding.state == .fail || $0.finding.state == .pending }
        if !failing.isEmpty { return "Degraded: working without \(named(failing))." }
        let weak = checks.filter { $0.finding.state == .warn }
        if !weak.isEmpty { return "Ready; look at \(named(weak))." }
        if !alarms.isEmpty {
            return "Ready; \(alarms.count == 1 ? "an alarm stands" : "\(alarms.count) alarms stand"): "
                + "\(alarms.map(\.alarm.id).joined(separator: ", "))."
        }
        if let warning = warnings.first { return "Ready; warning: \(warning.text.text)." }
        return "Ready; all checks pass."
    }
}
