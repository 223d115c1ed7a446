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
    /// Octets of items and of the files that were opened with them.
    package private(set) var octets: UInt64 = 0
    package private(set) var files = 0
    /// How far it is: a keyset cursor, never a number of rows.
    package private(set) var checkpoint: Checkpoint?
    package private(set) var problems: [Problem.Class: Int] = [:]
    /// Collecting, in milliseconds, over all runs of the worker.
    package var milliseconds: Int64 = 0
    private var wasCut = false
    /// Events of the spaces that were looked at which are not in the mirror.
    package private(set) var gaps: Int64 = 0

    package init() {}

    package struct Checkpoint: Sendable, Equatable {
        package var space: String
        /// Where the space goes on; nil when all of it is done.
        package var place: SpaceFlow.Place?
        package init(space: String, place: SpaceFlow.Place? = nil) { (self.space, self.place) = (space, place) }
    }

    /// What a worker has found since the last checkpoint.
    package struct Step: Sendable {
        package var items: [CollectedItem] = []
        /// Items as they are kept, in the same order.
        package var texts: [[UInt8]] = []
        package var spaces = 0
        /// Of spaces of which nobody can say whether they belong to the report.
        package var problems: [Problem] = []
        /// Events of the spaces that the core never told of.
        package var missing: Int64 = 0
        package var checkpoint: Checkpoint?

        package init() {}

        package mutating func add(_ found: [CollectedItem]) {
            items += found
            texts += found.map(\.encoded)
        }
    }

    package struct Limits: Sendable, Equatable {
        package var items: Int
        package var octets: UInt64
        /// Whether reaching one is a failure; else what was found stays, with a warning.
        package var fails: Bool
        package init(items: Int, octets: UInt64 = .max, fails: Bool) {
            (self.items, self.octets, self.fails) = (items, octets, fails)
        }
    }

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

    /// Takes what was found, and gives how many of its items count: what comes after a limit is not taken.
    package mutating func take(_ step: Step, limits: Limits) -> Int {
        guard state == .collecting else { return 0 }
        spacesDone += step.spaces
        gaps += step.missing
        for problem in step.problems { problems[problem.problemClass, default: 0] += 1 }
        checkpoint = step.checkpoint ?? checkpoint
        var taken = 0
        for (item, text) in zip(step.items, step.texts) {
            let opened = item.files.filter { $0.reference != nil }
            let size = UInt64(text.count) + opened.compactMap(\.size).reduce(0, { $0 &+ $1 })
            let (sum, overflows) = octets.addingReportingOverflow(size)
            guard items < limits.items, !overflows, sum <= limits.octets else {
                wasCut = true
                reason = "the limit of \(items < limits.items ? "octets" : "items") was reached"
                state = limits.fails ? .failed : .completedWithWarnings
                break
            }
            (octets, items, files, taken) = (sum, items + 1, files + opened.count, taken + 1)
            for problem in item.problems { problems[problem.problemClass, default: 0] += 1 }
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
        json.member("bytes", Int64(clamping: octets))
        json.member("milliseconds", milliseconds)
        if milliseconds > 0 { json.member("itemsPerSec", Int64(items) * 1000 / milliseconds) }
        if let remainingSeconds { json.member("etaSec", remainingSeconds) }
        json.endObject()
        if let checkpoint {
            json.name("checkpoint")
            json.beginObject()
            json.member("containerId", checkpoint.space)
            if let place = checkpoint.place {
                json.member("sequence", Int64(clamping: place.sequence))
                json.member("context", place.context)
            }
            json.endObject()
        }
        json.name("summary")
        json.beginObject()
        json.member("containers", spacesDone)
        json.member("items", items)
        json.member("files", files)
        json.member("bytes", Int64(clamping: octets))
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
        files = Int(summary["files"]?.integer ?? 0)
        octets = UInt64(clamping: progress["bytes"]?.integer ?? 0)
        if let node = node["checkpoint"], let space = node["containerId"]?.string {
            let context = Int(node["context"]?.integer ?? 0)
            let sequence = node["sequence"]?.integer.flatMap { UInt64(exactly: $0) }
            checkpoint = Checkpoint(space: space, place: sequence.map { .init(sequence: $0, context: context) })
        }
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
