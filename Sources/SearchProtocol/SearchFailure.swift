package import Diagnostics

extension DiagnosedError.Code {
    /// An entry, a batch, a lookup or an answer that is not in the format of `docs/search.md`.
    package static let searchMalformed: Self = "search-malformed"
    /// A value that does not fit into the format: too long a name, too many tokens.
    package static let searchLimit: Self = "search-limit"
}

extension DiagnosedError {
    static func searchMalformed(_ summary: String, expected: String? = nil, found: String? = nil) -> DiagnosedError {
        DiagnosedError(
            .searchMalformed, fault: .peer, summary, expected: expected, found: found,
            hint: "the sender does not keep to the index format")
    }

    static func searchLimit(_ summary: String, expected: String, found: String) -> DiagnosedError {
        DiagnosedError(.searchLimit, fault: .client, summary, expected: expected, found: found)
    }
}
