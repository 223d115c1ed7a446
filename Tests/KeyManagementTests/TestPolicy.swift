import KMSProtocol
import KeyManagement
import SignedPolicy
import WireText

/// Signed policies for tests: what `PolicyHolder` took, without the signatures.
enum TestPolicy {
    /// - Parameter members: of the document, as JSON.
    static func make(_ members: String..., version: Int = 1) throws -> Policy {
        let always = [#""version": \#(version)"#, #""organisation": "org""#, #""issued": "2026-01-01""#]
        return try Policy.canonical(
            of: Array("{\((always + members.filter { !$0.isEmpty }).joined(separator: ", "))}".utf8)
        ).policy
    }

    /// The member `services` with one consent to all spaces, until it is changed.
    static func consent(_ subject: String, _ members: String...) -> String { consent(subject, members: members) }

    static func consent(_ subject: String, members: [String]) -> String {
        var all = [
            #""name": "indexer""#, #""type": "search-indexing""#, #""subject": "\#(subject)""#, #""spaces": "all""#,
            #""notAfter": "2099-12-31""#,
        ]
        // A member that is given stands in the place of the usual one.
        all.removeAll { usual in members.contains { $0.prefix { $0 != ":" } == usual.prefix { $0 != ":" } } }
        return #""services": [{\#((all + members).joined(separator: ", "))}]"#
    }
}

/// Takes `as SUBJECT CLIENT ORGANISATION` (`-` for none) beside the tokens of `TestTokens`.
struct ClientTokens: BearerVerifier {
    func identity(of bearer: String, now: Timestamp) async throws(KMSFailure) -> TokenIdentity {
        guard bearer.hasPrefix("as ") else { return try await TestTokens().identity(of: bearer, now: now) }
        let parts = bearer.split(separator: " ").map { $0 == "-" ? nil : String($0) }
        return TokenIdentity(
            userID: parts[1] ?? "", clientID: parts[2],
            scopes: parts[2]?.hasPrefix("integration-") == true ? ["hds", "integration"] : [], issuer: "test",
            expires: now.adding(seconds: 3600),
            organisation: parts[3])
    }

    static func token(_ subject: String, client: String? = nil, organisation: String? = nil) -> String {
        "as \(subject) \(client ?? "-") \(organisation ?? "-")"
    }
    /// As an authorization service gives it to a client for itself (RFC 9068).
    static func service(_ id: String, organisation: String? = nil) -> String {
        token(id, client: id, organisation: organisation)
    }
}
