import CoreLink
package import Diagnostics
import HTTPClient
import IssuerKeys
import Synchronization
import TLSChannel
import WireText

/// The KMS's own access token for the core, fetched with its service account (RFC 6749, section 4.4) and kept until
/// shortly before it ends.
final class ServiceTokens: Sendable {
    private struct Held {
        let token: String
        let renewAt: Timestamp
    }

    private let client: WebClient
    private let endpoint: String
    /// `Basic …`, made once; never logged.
    private let authorization: Redacted<String>
    private let held = Mutex<Held?>(nil)

    init(client: WebClient, endpoint: String, clientID: String, secret: Redacted<String>) {
        self.client = client
        self.endpoint = endpoint
        authorization = ClientCredential.basic(clientID: clientID, secret: secret)
    }

    /// The token that is held, or a new one.
    func token() async throws -> String {
        let now = Timestamp.now()
        if let current = held.withLock({ $0 }), now < current.renewAt { return current.token }
        let response: WebResponse
        do {
            response = try await client.send(
                WebRequest(
                    method: "POST", url: endpoint,
                    headers: [
                        ("Authorization", authorization.reveal { $0 }),
                        ("Content-Type", "application/x-www-form-urlencoded"), ("Accept", "application/json"),
                    ], body: Array("grant_type=client_credentials&audience=cloud".utf8), timeout: .seconds(10)))
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
                "the authorization service gave no token for the link", expected: "status 200 with access_token",
                found: "status \(response.status)",
                hint: "check authorization.service-account: client id, secret, and that its scope allows link:kms")
        }
        held.withLock { $0 = Held(token: token, renewAt: now.adding(seconds: max(5, life - max(30, life / 10)))) }
        return token
    }

    /// After the core refused the token that is held.
    func discard() { held.withLock { $0 = nil } }
}

extension DiagnosedError.Code {
    /// The authorization service refused the KMS's own account.
    package static let serviceTokenRefused: Self = "service-token-refused"
}
