import CoreLink
package import Diagnostics
package import HTTPClient
import IssuerKeys
import Synchronization
import TLSChannel
import WireText

/// A service's own access tokens, one for each audience, fetched with its account (RFC 6749, section 4.4) and kept until
/// shortly before they end. Any thread.
package final class ServiceTokens: Sendable {
    package enum Audience: String, Sendable {
        /// For the core.
        case cloud
        /// For the KMS; the core never sees it but inside what it can not open.
        case kms
    }

    private struct Held {
        let token: String
        let renewAt: Timestamp
    }

    private let client: WebClient
    private let endpoint: String
    /// `Basic …`, made once; never logged.
    private let authorization: Redacted<String>
    private let held = Mutex<[Audience: Held]>([:])
    /// What to do about a refusal.
    private let hint: String

    package init(client: WebClient, endpoint: String, clientID: String, secret: Redacted<String>, hint: String) {
        self.hint = hint
        self.client = client
        self.endpoint = endpoint
        authorization = ClientCredential.basic(clientID: clientID, secret: secret)
    }

    /// The token that is held, or a new one.
    package func token(for audience: Audience = .cloud) async throws -> String {
        let now = Timestamp.now()
        if let current = held.withLock({ $0[audience] }), now < current.renewAt { return current.token }
        let response: WebResponse
        do {
            response = try await client.send(
                WebRequest(
                    method: "POST", url: endpoint,
                    headers: [
                        ("Authorization", authorization.reveal { $0 }),
                        ("Content-Type", "application/x-www-form-urlencoded"), ("Accept", "application/json"),
                    ], body: Array("grant_type=client_credentials&audience=\(audience.rawValue)".utf8),
                    timeout: .seconds(10)))
        } catch let error as DiagnosedError where error.code.isIdentityFault {
            // Not the core's certificate, and its alarm must not say so.
            throw DiagnosedError(
                .linkNoToken, fault: .peer,
                "the authorization service did not prove itself, so it is asked for no token",
                expected: error.expected, found: "\(error.summary): \(error.found ?? "nothing")", hint: error.hint)
        }
        guard response.status == 200, let answer = try? JSONDocument(response.body).root,
            let token = answer["access_token"]?.string, let life = answer["expires_in"]?.integer
        else {
            throw DiagnosedError(
                .serviceTokenRefused, fault: response.status >= 500 ? .peer : .configuration,
                "the authorization service gave no token for \(audience == .cloud ? "the link" : "the KMS")",
                expected: "status 200 with access_token", found: "status \(response.status)", hint: hint)
        }
        let renewAt = now.adding(seconds: max(5, life - max(30, life / 10)))
        held.withLock { $0[audience] = Held(token: token, renewAt: renewAt) }
        return token
    }

    /// After the token that is held was refused.
    package func discard(_ audience: Audience = .cloud) { held.withLock { $0[audience] = nil } }
}

extension DiagnosedError.Code {
    /// The authorization service refused the service's own account.
    package static let serviceTokenRefused: Self = "service-token-refused"
}
