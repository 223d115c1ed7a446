import Cryptography
package import Diagnostics
import KMSProtocol
import Synchronization
import WireText

/// What shows that somebody put back, changed or deleted rows of the database: while anything of that stands, no key is
/// released (security model, rule 19).
///
/// A finding stands until an officer has accepted exactly the findings that stand (`gap`). Thread-safe.
package final class RollbackGuard: Sendable {
    /// One thing that was seen, kept as it was seen first.
    package struct Finding: Hashable, Sendable, Comparable {
        package enum Kind: String, Sendable, CaseIterable {
            /// Fewer changes in the database than are known, or other ones.
            case counters
            /// The rows are not those that were written.
            case rows
            /// The mark of a restore or an acceptance is older than one that is known, or missing.
            case epoch
            /// An authorization that was removed is there again.
            case grant
            /// A space as it was before.
            case head
            /// The states of root keys are not those of the journal.
            case roots
        }

        package var kind: Kind
        /// A record's id, where it is about one record.
        package var id: String
        package var text: String

        package init(_ kind: Kind, id: String = "", _ text: String) {
            (self.kind, self.id, self.text) = (kind, id, text)
        }

        package static func < (left: Finding, right: Finding) -> Bool {
            (left.kind.rawValue, left.id, left.text) < (right.kind.rawValue, right.id, right.text)
        }
    }

    private struct State {
        var findings: [Finding] = []
        var observe: (@Sendable ([Finding]) -> Void)?
    }

    /// More show nothing that the first did not.
    private static let maximum = 100

    private let isStopped = Atomic(false)
    private let state = Mutex(State())

    package init() {}

    package var findings: [Finding] { state.withLock { $0.findings } }

    /// Names exactly what stands now; nil for nothing.
    package var gap: String? { Self.gap(of: findings) }

    private static func gap(of findings: [Finding]) -> String? {
        guard !findings.isEmpty else { return nil }
        let text = findings.map { "\($0.kind.rawValue) \($0.id) \($0.text)\n" }.joined()
        return Hexadecimal.encode(SHA256.hash(Array(text.utf8)).prefix(8))
    }

    /// Told at once and then whenever findings come or go.
    package func observe(_ observer: @escaping @Sendable ([Finding]) -> Void) {
        let findings = state.withLock { state in
            state.observe = observer
            return state.findings
        }
        observer(findings)
    }

    package func report(_ finding: Finding) {
        let told = state.withLock { state -> (@Sendable ([Finding]) -> Void, [Finding])? in
            isStopped.store(true, ordering: .releasing)
            guard state.findings.count < Self.maximum,
                !state.findings.contains(where: { $0.kind == finding.kind && $0.id == finding.id })
            else { return nil }
            state.findings = (state.findings + [finding]).sorted()
            return state.observe.map { ($0, state.findings) }
        }
        if let (observe, findings) = told { observe(findings) }
    }

    /// Lets keys go again if what stands is what was accepted.
    @discardableResult
    package func accept(_ gap: String) -> Bool {
        let (isAccepted, observe) = state.withLock { state in
            guard Self.gap(of: state.findings) == gap else { return (false, state.observe) }
            state.findings = []
            isStopped.store(false, ordering: .releasing)
            return (true, state.observe)
        }
        if isAccepted { observe?([]) }
        return isAccepted
    }

    /// Refuses every release while something stands.
    func check() throws(KMSFailure) {
        guard isStopped.load(ordering: .acquiring) else { return }
        throw Self.stopped
    }

    static let rule = "store-rollback"
    static let stopped = KMSFailure(
        KMSStatus.internalError, "the key store is not as this KMS left it", rule: rule)
}

extension DiagnosedError.Code {
    /// Rows of the key store were put back, changed or deleted by somebody else than the KMS.
    package static let storeRollback: Self = "store-rollback"
}
