import Cryptography
import Introspection
import KMSProtocol
import WireText

/// Asks an introspection endpoint (RFC 7662) what an opaque token is worth.
///
/// Rules, before those of `TokenPolicy`:
/// 1. The endpoint says `active`; `false` is a refusal, anything that is no proper answer is 500 and proves nothing.
/// 2. The answer names `sub`, `aud`, `exp`, and this issuer if it names one.
///
/// How questions are bounded and shared stands at `TokenQuestions`. It remembers nothing: `BearerDirectory` does.
package final class IntrospectionVerifier: Sendable {
    /// Sends the question and returns the body of a 200; throws when there is none in time. The time limit is its own.
    package typealias Ask = @Sendable (_ token: String) async throws -> [UInt8]

    package let policy: TokenPolicy
    /// Second fields of the three-field tokens that this endpoint knows; empty for any opaque token.
    package let clusters: Set<String>
    private let questions: TokenQuestions

    package init(
        policy: TokenPolicy, clusters: Set<String> = [], concurrency: Int = 32, waiting: Int = 1000,
        ask: @escaping Ask
    ) {
        self.policy = policy
        self.clusters = clusters
        questions = TokenQuestions(concurrency: concurrency, waiting: waiting, ask: ask)
    }

    /// How many questions wait for their turn.
    package var waiting: Int { questions.waiting }

    func verified(_ token: String, digest: [UInt8], now: Timestamp) async throws(KMSFailure) -> TokenIdentity {
        switch await questions.answer(to: token, digest: digest) {
        case .unchecked: throw TokenRule.unchecked.failure
        case .inactive: throw TokenRule.inactive.failure
        case .incomplete: throw TokenRule.malformed.failure
        case .active(let answer): return try judge(answer, now)
        }
    }

    private func judge(_ answer: IntrospectionAnswer, _ now: Timestamp) throws(KMSFailure) -> TokenIdentity {
        guard answer.names(issuer: policy.issuer) else { throw TokenRule.unknownIssuer.failure }
        let identity = TokenIdentity(
            userID: answer.subject, clientID: answer.root["client_id"]?.string, scopes: answer.scopes,
            issuer: policy.issuer, expires: answer.expires, tokenID: answer.root["jti"]?.string,
            organisation: answer.root["org"]?.string, audience: answer.audience,
            isCustomerControlled: policy.isCustomerControlled, issued: answer.time("iat"),
            confirmation: try Confirmation.thumbprint(answer.root["cnf"]), domain: answer.root["domain"]?.string)
        try policy.judge(identity, notBefore: answer.time("nbf"), now: now)
        return identity
    }
}
