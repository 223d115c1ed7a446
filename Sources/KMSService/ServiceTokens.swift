package import Diagnostics
import HTTPClient
import Synchronization
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
        authorization = Self.basic(clientID: clientID, secret: secret)
    }

    /// `Basic …`: id and secret are form-encoded before they are joined (RFC 6749, section 2.3.1).
    static func basic(clientID: String, secret: Redacted<String>) -> Redacted<String> {
        Redacted(
            secret.reveal { "Basic " + Base64.encode(Array("\(formEncoded(clientID)):\(formEncoded($0))".utf8)) })
    }

    /// The token that is held, or a new one.
    func token() async throws -> String {
        let now = Timestamp.now()
        if let current = held.withLock({ $0 }), now < current.renewAt { return current.token }
        let response = try await client.send(
            WebRequest(
                method: "POST", url: endpoint,
                headers: [
                    ("Authorization", authorization.reveal { $0 }),
                    ("Content-Type", "application/x-www-form-urlencoded"), ("Accept", "application/json"),
                ], body: Array("grant_type=client_credentials&audience=cloud".utf8), timeout: .seconds(10)))
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

    /// A text as a value in `application/x-www-form-urlencoded`.
    static func formEncoded(_ text: String) -> String {
        var result = ""
        for byte in text.utf8 {
            switch byte {
            case UInt8(ascii: "A")...UInt8(ascii: "Z"), UInt8(ascii: "a")...UInt8(ascii: "z"),
                UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "-"), UInt8(ascii: "."), UInt8(ascii: "_"):
                result.unicodeScalars.append(Unicode.Scalar(byte))
            default: result += "%" + Hexadecimal.encode([byte]).uppercased()
            }
        }
        return result
    }
}

extension DiagnosedError.Code {
    /// The authorization service refused the KMS's own account.
    package static let serviceTokenRefused: Self = "service-token-refused"
}
