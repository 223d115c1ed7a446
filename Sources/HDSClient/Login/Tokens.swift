package import Diagnostics
package import DomainPolicy
package import WireText

/// What a login gives: one access token for the cloud, one for the KMS, and a refresh token for new ones.
package struct Tokens: Sendable {
    package var cloud: Redacted<String>
    package var kms: Redacted<String>
    package var refresh: Redacted<String>?
    package var expires: Timestamp

    package init(cloud: Redacted<String>, kms: Redacted<String>, refresh: Redacted<String>?, expires: Timestamp) {
        (self.cloud, self.kms, self.refresh, self.expires) = (cloud, kms, refresh, expires)
    }

    /// Both access tokens are replaced this long before they expire, in seconds: a request may wait and be sent again.
    static let margin: Int64 = 90

    package func isFresh(at now: Timestamp) -> Bool { now < expires.adding(seconds: -Self.margin) }
}

/// Who has logged in.
package struct Account: Sendable, Equatable {
    /// UUID, lower case.
    package var id: String
    package var email: String
    package var name: String

    package init(id: String, email: String, name: String) { (self.id, self.email, self.name) = (id, email, name) }
}

/// The answer of the token endpoint.
package struct TokenAnswer: Sendable {
    package let tokens: Tokens
    package let account: Account
    /// Nil: the domain demands nothing of clients.
    package let policy: ClientPolicy?

    /// - Parameter status: of the HTTP answer. A refusal is 400 or 401 with an error of OAuth (RFC 6749, section 5.2) and
    ///   has the fault `.client`; whatever else is not 200 says nothing about the login.
    package init(status: Int, body: [UInt8], now: Timestamp) throws(DiagnosedError) {
        let root: JSONNode
        do {
            root = try JSONDocument(body, limits: .init(maximumDepth: 4, maximumNodes: 200, maximumBytes: 64 << 10))
                .root
        } catch {
            throw Self.unusual("status \(status) without JSON")
        }
        guard status == 200 else {
            guard status == 400 || status == 401, let error = root["error"]?.string else {
                throw Self.unusual("status \(status)")
            }
            let text = [error, root["error_description"]?.string].compactMap { $0?.loggable }
            if root["wipe"]?.boolean == true {
                throw DiagnosedError(
                    .wipeOrdered, fault: .client, "your organisation wants this device wiped", found: text.first)
            }
            throw Self.refused(
                "the authorization server gives no token", fault: .client,
                found: "\(status) " + text.joined(separator: ": "), hint: "log in again")
        }
        guard let cloud = root["access_token"]?.string, let kms = root["kms_access_token"]?.string,
            Self.isToken(cloud), Self.isToken(kms), root["token_type"]?.string?.lowercased() == "bearer"
        else {
            throw Self.refused(
                "the authorization server does not give both tokens", fault: .peer,
                found: root["kms_access_token"] == nil ? "no token for the KMS" : "a malformed token")
        }
        guard let life = root["expires_in"]?.integer, life > 0, life <= 366 * 86_400 else {
            throw Self.refused("the tokens have no usable life", fault: .peer)
        }
        guard let user = root["user"], let id = user["id"]?.string, UUIDText.isValid(id),
            let email = user["email"]?.string, !email.isEmpty, email.utf8.count <= 320
        else { throw Self.refused("the authorization server does not say who logged in", fault: .peer) }
        let refresh = root["refresh_token"]?.string
        guard refresh.map(Self.isToken) != false else {
            throw Self.refused("the refresh token is malformed", fault: .peer)
        }
        tokens = Tokens(
            cloud: Redacted(cloud), kms: Redacted(kms), refresh: refresh.map { Redacted($0) },
            expires: now.adding(seconds: life))
        do {
            policy = try root["client_policy"].map { try ClientPolicy($0) }
        } catch {
            throw Self.refused(
                "the authorization service's policy for clients can not be used", fault: .peer,
                found: (error as? DiagnosedError)?.summary,
                hint: "tell your administrator; a newer hds may understand it")
        }
        account = Account(id: id.lowercased(), email: email, name: user["name"]?.string ?? email)
    }

    /// Printable ASCII without space: it goes into a header.
    static func isToken(_ text: String) -> Bool {
        !text.isEmpty && text.utf8.count <= 16 << 10 && text.utf8.allSatisfy { (0x21...0x7E).contains($0) }
    }

    private static func unusual(_ found: String) -> DiagnosedError {
        refused(
            "the token endpoint answers as none would", fault: .peer, found: found,
            hint: "is something between here and the authorization service? try again, then ask your administrator")
    }

    private static func refused(
        _ summary: String, fault: DiagnosedError.Fault, found: String? = nil, hint: String? = nil
    ) -> DiagnosedError {
        DiagnosedError(
            .tokenRefused, fault: fault, summary, found: found,
            hint: hint ?? "tell your administrator: the authorization service may not be set up for this client")
    }
}
