package import Diagnostics
import Synchronization

/// The least severity that is kept, changeable while the process runs. Any thread; one atomic load.
package final class LogThreshold: Sendable {
    private let raw: Atomic<Int>

    package init(_ severity: Severity) { raw = Atomic(severity.rawValue) }

    package var severity: Severity {
        // Only raw values of severities are ever stored.
        get { Severity(rawValue: raw.load(ordering: .relaxed)) ?? .info }
        set { raw.store(newValue.rawValue, ordering: .relaxed) }
    }

    func allows(_ severity: Severity) -> Bool { severity >= self.severity }
}
