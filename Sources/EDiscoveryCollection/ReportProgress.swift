package import Diagnostics
package import EDiscoveryModel
package import WireText

/// How far a report is: a pure state machine, kept with each step of the collection in one transaction.
package struct ReportProgress: Sendable, Equatable {
    package enum State: String, Sendable, CaseIterable {
        case accepted, collecting, paused, completed, completedWithWarnings, failed, cancelled

        package var isOver: Bool { [.completed, .completedWithWarnings, .failed, .cancelled].contains(self) }
    }

    package enum Order: String, Sendable { case pause, resume, cancel }

    package private(set) var state = State.accepted
    package private(set) var reason: String?
    package private(set) var spacesDone = 0
    package var spacesTotal = 0
    package private(set) var items = 0
    /// The last space that is done: a keyset cursor, never a number of rows.
    package private(set) var checkpoint: String?
    package private(set) var problems: [Problem.Class: Int] = [:]
    /// Collecting, in milliseconds, over all runs of the worker.
    package var milliseconds: Int64 = 0
    private var wasCut = false
    /// Events of the spaces that were looked at which are not in the mirror.
    package private(set) var gaps: Int64 = 0

    package init() {}

    package mutating func order(_ order: Order) throws(DiagnosedError) {
        switch (order, state) {
        case (.pause, .accepted), (.pause, .collecting): state = .paused
        case (.resume, .paused): state = .collecting
        case (.cancel, .accepted), (.cancel, .collecting), (.cancel, .paused): state = .cancelled
        default:
            throw DiagnosedError(
                .reportState, fault: .client, "the report is not in a state for that",
                found: "\(order.rawValue) while \(state.rawValue)")
        }
    }

    package mutating func begin(spaces: Int) {
        guard state == .accepted else { return }
        (state, spacesTotal) = (.collecting, spaces)
    }

    /// A space is done. What comes after the limit is not taken.
    /// - Parameter missing: how many events of the space the core never told of.
    package mutating func done(
        space: String, items found: [CollectedItem], missing: Int64 = 0, limit: Int, fails: Bool
    ) -> [CollectedItem] {
        guard state == .collecting else { return [] }
        let taken = Array(found.prefix(max(0, limit - items)))
        items += taken.count
        spacesDone += 1
        checkpoint = space
        gaps += missing
        for problem in taken.flatMap(\.problems) { problems[problem.problemClass, default: 0] += 1 }
        if taken.count < found.count {
            wasCut = true
            reason = "the limit of items was reached"
            state = fails ? .failed : .completedWithWarnings
        }
        return taken
    }

    /// No space is left. `completed` only without any problem and any gap.
    package mutating func finish() {
        guard state == .collecting else { return }
        state = problems.isEmpty && !wasCut && gaps == 0 ? .completed : .completedWithWarnings
    }

    package mutating func fail(_ why: String) {
        guard !state.isOver else { return }
        (state, reason) = (.failed, why)
    }

    package var errors: Int { problems.filter { !$0.key.isWarning }.map(\.value).reduce(0, +) }

    /// Seconds that the rest takes at the pace so far; nil while that is not known.
    package var remainingSeconds: Int64? {
        guard spacesDone > 0, milliseconds > 0, state == .collecting else { return nil }
        return Int64(spacesTotal - spacesDone) * milliseconds / Int64(spacesDone) / 1000
    }

    // MARK: - Text

    package func write(to json: inout JSONWriter) {
        json.member("state", state.rawValue)
        json.member("reason", ifPresent: reason)
        json.name("progress")
        json.beginObject()
        json.member("containersDone", spacesDone)
        json.member("containersTotal", spacesTotal)
        json.member("itemsDone", items)
        json.member("milliseconds", milliseconds)
        if milliseconds > 0 { json.member("itemsPerSec", Int64(items) * 1000 / milliseconds) }
        if let remainingSeconds { json.member("etaSec", remainingSeconds) }
        json.endObject()
        if let checkpoint {
            json.name("checkpoint")
            json.beginObject()
            json.member("containerId", checkpoint)
            json.endObject()
        }
        json.name("summary")
        json.beginObject()
        json.member("containers", spacesDone)
        json.member("items", items)
        json.member("cut", wasCut)
        json.member("gaps", gaps)
        json.name("errors")
        json.beginObject()
        for kind in Problem.Class.allCases where !kind.isWarning { json.member(kind.rawValue, problems[kind] ?? 0) }
        json.endObject()
        json.member("warnings", (problems[.fileName] ?? 0) + (problems[.removed] ?? 0))
        json.member("removed", problems[.removed] ?? 0)
        json.endObject()
    }

    /// As `write` wrote it.
    package init(_ node: JSONNode) throws(DiagnosedError) {
        guard let state = node["state"]?.string.flatMap({ State(rawValue: $0) }),
            let progress = node["progress"], let summary = node["summary"],
            let done = progress["containersDone"]?.integer, let total = progress["containersTotal"]?.integer,
            let items = progress["itemsDone"]?.integer, let milliseconds = progress["milliseconds"]?.integer
        else { throw DiagnosedError(.reportState, fault: .store, "a stored report is not of its form") }
        self.state = state
        reason = node["reason"]?.string
        (spacesDone, spacesTotal, self.items) = (Int(done), Int(total), Int(items))
        self.milliseconds = milliseconds
        checkpoint = node["checkpoint"]?["containerId"]?.string
        wasCut = summary["cut"]?.boolean ?? false
        gaps = summary["gaps"]?.integer ?? 0
        for kind in Problem.Class.allCases {
            let removed = summary["removed"]?.integer ?? 0
            let count =
                switch kind {
                case .fileName: (summary["warnings"]?.integer).map { $0 - removed }
                case .removed: removed
                default: summary["errors"]?[kind.rawValue]?.integer
                }
            if let count, count > 0 { problems[kind] = Int(count) }
        }
    }
}
