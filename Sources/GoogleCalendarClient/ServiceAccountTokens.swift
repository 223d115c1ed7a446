package import CalendarTransport
package import Cryptography
import Diagnostics
package import HTTPClient
import JOSESignature
package import WireText
package import CalendarBackend

/// A service account of Google with domain-wide delegation: it asks for a token in the name of each user.
///
/// Documented in developers.google.com/identity/protocols/oauth2/service-account: a JWT signed with RS256 names the account
/// (`iss`), the user (`sub`), what is wanted (`scope`) and the endpoint (`aud`), is good for an hour at most, and is
/// exchanged at the endpoint (RFC 7523). An administrator has to allow the account's client id these scopes.
package struct GoogleServiceAccount: Sendable {
    package static let scopes = [
        "https://www.googleapis.com/auth/calendar", "https://www.googleapis.com/auth/calendar.events",
    ]

    package let email: String
    package let keyID: String?
    package let endpoint: String
    private let key: PrivateKey

    /// - Parameter json: the key file that the console gives.
    /// - Throws: `configuration`.
    package init(json: [UInt8]) throws(CalendarError) {
        let root = try? JSONDocument(json, limits: .init(maximumBytes: 1 << 16)).root
        guard let root, root["type"]?.string == "service_account", let email = root["client_email"]?.string,
            let pem = root["private_key"]?.string, let key = try? PrivateKey(pem: pem)
        else {
            throw .configuration(
                "the key file of the service account can not be used",
                expected: "JSON with type service_account, client_email and private_key")
        }
        self.init(
            email: email, keyID: root["private_key_id"]?.string,
            endpoint: root["token_uri"]?.string ?? "https://oauth2.googleapis.com/token", key: key)
    }

    package init(email: String, keyID: String?, endpoint: String, key: PrivateKey) {
        self.email = email
        self.keyID = keyID
        self.endpoint = endpoint
        self.key = key
    }

    /// What is exchanged for a token of the user.
    package func assertion(for user: CalendarUser, at now: Timestamp) throws(CalendarError) -> String {
        var claims = JSONWriter()
        claims.beginObject()
        claims.member("iss", email)
        claims.member("sub", user.address)
        claims.member("scope", Self.scopes.joined(separator: " "))
        claims.member("aud", endpoint)
        claims.member("iat", now.seconds)
        claims.member("exp", now.seconds + 3600)
        claims.endObject()
        do {
            return try JWS.sign(claims.bytes(), with: key, algorithm: .rs256, kid: keyID, typ: "JWT")
        } catch {
            throw .configuration("the service account's key can not sign", expected: "an RSA key")
        }
    }

    package func tokens(
        client: WebClient, clock: any Clock<Duration> = ContinuousClock(), timeout: Duration = .seconds(30),
        now: @escaping @Sendable () -> Timestamp = { Timestamp.now() }
    ) -> GrantedTokens {
        GrantedTokens(clock: clock, key: { $0.address.lowercased() }) { user in
            try await TokenRequest.send(
                to: endpoint,
                [
                    ("grant_type", "urn:ietf:params:oauth:grant-type:jwt-bearer"),
                    ("assertion", try assertion(for: user, at: now())),
                ], client: client, timeout: timeout)
        }
    }
}
