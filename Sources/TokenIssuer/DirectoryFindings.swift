package import Diagnostics
package import WireText

/// What a round at a directory means for the alarms. Pure; whoever runs the service raises and clears them.
package struct DirectoryFinding: Sendable {
    package let alarm: Alarm
    package let isRaised: Bool
    package let detail: Loggable

    /// Longer than this without a look, in seconds, and a leaver is not cut off within a minute.
    package static let longest: Int64 = 60
}

extension DirectorySync.Standing {
    /// - Parameter started: when the service began to look.
    package func findings(of source: String, since started: Timestamp, now: Timestamp) -> [DirectoryFinding] {
        let name = Loggable(reviewed: source)
        var findings: [DirectoryFinding] = []
        if let trouble {
            if now > (seen ?? started).adding(seconds: DirectoryFinding.longest) {
                findings.append(
                    DirectoryFinding(
                        alarm: .directoryUnreachable, isRaised: true, detail: "\(name): \(Loggable(trouble))"))
            }
        } else {
            findings.append(
                DirectoryFinding(alarm: .directoryUnreachable, isRaised: false, detail: "\(name) was read"))
        }
        if !waiting.isEmpty {
            findings.append(
                DirectoryFinding(
                    alarm: .directoryLeavers, isRaised: true,
                    detail: "\(name): \(waiting.count) people are gone, \(people) are there"))
        } else if trouble == nil {
            findings.append(
                DirectoryFinding(alarm: .directoryLeavers, isRaised: false, detail: "\(name): nobody waits"))
        }
        return findings
    }
}
