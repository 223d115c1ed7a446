package import Diagnostics
package import HTTPClient
import Synchronization
import WireText

/// The introspection endpoint of an issuer (RFC 7662), asked with the asker's own account.
///
/// Any thread. Whoever asks from now on does so with the account that was given last.
package final class IntrospectionEndpoint: Sendable {
    private let client: WebClient
    private let url: String
    private let authorization: Mutex<Redacted<String>>

    package init(client: WebClient, url: String, clientID: String, secret: Redacted<String>) {
        self.client = client
        self.url = url
        authorization = Mutex(ClientCredential.basic(clientID: clientID, secret: secret))
    }

    package func replace(clientID: String, secret: Redacted<String>) {
        let new = ClientCredential.basic(clientID: clientID, secret: secret)
        authorization.withLock { $0 = new }
    }

    /// The body of a 200. Every way to no answer within the limit is an error.
    @Sendable package func ask(_ token: String) async throws -> [UInt8] {
        let response = try await client.send(
            WebRequest(
                method: "POST", url: url,
                headers: [
                    ("Authorization", authorization.withLock { $0 }.reveal { $0 }),
                    ("Content-Type", "application/x-www-form-urlencoded"), ("Accept", "application/json"),
                ], body: Array("token=\(ClientCredential.formEncoded(token))&token_type_hint=access_token".utf8),
                timeout: .seconds(5), maximumResponseBytes: 64 << 10))
        guard response.status == 200 else {
            throw DiagnosedError(
                .introspectionRefused, fault: response.status >= 500 ? .peer : .configuration,
                "the introspection endpoint gives no answer", expected: "status 200",
                found: "status \(response.status)",
                hint: "check client-id and client-secret, and that the account may introspect the audience")
        }
        return response.body
    }
}

extension DiagnosedError.Code {
    /// The introspection endpoint does not answer the asker.
    package static let introspectionRefused: Self = "introspection-refused"
}

/// How a client proves its secret by HTTP Basic: id and secret are form-encoded before they are joined (RFC 6749,
/// section 2.3.1).
package enum ClientCredential {
    package static func basic(clientID: String, secret: Redacted<String>) -> Redacted<String> {
        Redacted(
            secret.reveal { "Basic " + Base64.encode(Array("\(formEncoded(clientID)):\(formEncoded($0))".utf8)) })
    }

    /// A text as a value in `application/x-www-form-urlencoded`.
    package static func formEncoded(_ text: String) -> String {
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
