import KeyManagement
import Recovery
import WireText

/// What became of a restored store, in lines for people.
enum RestoreWords {
    private static let longest = 20

    static func lines(_ report: RestoreReport) -> [String] {
        var lines = ["restored at \(report.restored) from a backup of \(report.created), node \(report.node)"]
        for node in report.nodes {
            let known = node.knownUntil.map { "known until \($0)" } ?? "nothing is known"
            lines.append("journal of node \(node.node): \(node.entries) entries, \(known)")
        }
        let applied = report.counts.reduce(0) { $0 + $1.applied }
        lines.append("re-applied: \(applied)")
        for count in report.counts {
            lines.append("  \(count.kind.words): \(count.applied) of \(count.found) in the journals")
        }
        lines += report.names.prefix(longest).map { "  \($0)" }
        if applied > min(longest, report.names.count) { lines.append("  and others") }
        lines += report.left.map { "not re-applied: \($0)" }
        lines += report.gaps.map { "unknown: \($0)" }
        if let gap = report.gap { lines.append("this gap has the name \(gap)") }
        if let accepted = report.accepted {
            lines.append(
                "accepted by \(accepted.officers.joined(separator: ", ")) at \(accepted.time): gap \(accepted.gap)")
        }
        return lines
    }
}
