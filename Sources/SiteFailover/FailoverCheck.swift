package import WireText

/// What was looked at before a failover: passed, to be thought about, or in the way, with what to do.
package struct FailoverCheck: Sendable, Equatable {
    package enum Result: String, Sendable { case pass, warn, fail }

    /// Short and stable, such as `servers`.
    package let name: String
    package let result: Result
    package let detail: String
    package let fix: String?

    package init(_ name: String, _ result: Result, _ detail: String, fix: String? = nil) {
        self.name = name
        self.result = result
        self.detail = detail
        self.fix = result == .pass ? nil : fix
    }

    package func write(to json: inout JSONWriter) {
        json.beginObject()
        json.member("name", name)
        json.member("result", result.rawValue)
        json.member("detail", detail)
        json.member("fix", ifPresent: fix)
        json.endObject()
    }
}

/// Whether everything that was acknowledged is in the database that takes over.
package enum FailoverProof: Sendable, Equatable {
    case proved(String)
    case unknown(String)

    package var isProved: Bool { if case .proved = self { true } else { false } }
    package var word: String { isProved ? "proved" : "unknown" }
    package var reason: String {
        switch self {
        case .proved(let reason), .unknown(let reason): reason
        }
    }
}
