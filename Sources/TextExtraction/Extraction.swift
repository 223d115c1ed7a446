/// What came of reading a document.
package enum Extraction: Sendable, Equatable {
    /// `isWhole`: neither was text left out because of the limit nor does the document break off.
    case text(String, isWhole: Bool)
    case unreadable(Reason)

    /// Why there is no text: what is counted and told, in words that hold nothing of the document.
    package enum Reason: String, Sendable, CaseIterable {
        case unknownFormat = "unknown-format"
        case damaged
        case protected
        case tooLarge = "too-large"
        case tooSlow = "too-slow"
        /// The reader broke: out of memory, or by the document's doing.
        case broke
        /// This system can not confine the reader (Linux 5.13 with Landlock, and seccomp, are needed).
        case unconfined
    }
}
