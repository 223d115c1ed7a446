package import Diagnostics

extension DiagnosedError.Code {
    /// What takes something away can not be written into the journal of removals, so it is not done.
    package static let journalBlocked: Self = "journal-blocked"
    /// A journal of removals that somebody changed, or a file that is none.
    package static let journalBroken: Self = "journal-broken"
}
