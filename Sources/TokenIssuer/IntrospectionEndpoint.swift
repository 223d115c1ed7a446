import Diagnostics
import HTTPTypes
import JOSESignature
import WireText

/// The introspection endpoint (RFC 7662): what a token is worth now, for services that may ask about its audience.
///
/// Rules, in this order; a token that fails one is answered `{"active":false}` and nothing else:
///
/// 1. It is an opaque token that is kept here, or a JWT under one of the published keys; it has not ended.
/// 2. Its audience is one of those that the asking service may ask about: the core learns nothing about tokens for the
///    KMS, and can not have one confirmed.
/// 3. Its holder's account is active; of an opaque token also with the password or secret of then.
/// 4. The client that it was issued to still exists.
/// 5. It is not revoked: by itself, with its subject, or with everybody.
extension AuthorizationService {
    /// `POST /introspect`
    package func introspect(body: [UInt8], visitor: Visitor) async -> Reply {
        do {
            let form = try Self.form(body, visitor)
            let service = try await authenticatedService(form, visitor)
            guard !service.introspects.isEmpty else {
                record("introspection by a service that may not ask", client: service.id)
                throw OAuthError(.unauthorizedClient, "this service may not ask about tokens: see introspects")
            }
            let text = try form.required("token")
            let now = surroundings.now()
            guard let token = try await live(text, now: now), service.introspects.contains(token.audience) else {
                return .secretJSON(.ok, Array(#"{"active":false}"#.utf8))
            }
            var json = JSONWriter()
            json.beginObject()
            json.member("active", true)
            json.member("token_type", "Bearer")
            token.writeClaims(
                to: &json, issuer: settings.issuer, person: accounts.accounts.user(id: token.subject))
            json.endObject()
            return .secretJSON(.ok, json.bytes())
        } catch {
            return refusal(error)
        }
    }

    /// Rules 1 and 3 to 5.
    private func live(_ text: String, now: Timestamp) async throws -> AccessToken? {
        let token: AccessToken
        if let kept = try await grants.accessToken(digest: SecretDigest.of(text), now: now) {
            guard let credential = credential(of: kept), credential == kept.credential else { return nil }
            token = kept
        } else {
            guard let jwt = ownJWT(text, now: now), let read = AccessToken(jwt), credential(of: read) != nil else {
                return nil
            }
            token = read
        }
        let isOfClient =
            accounts.accounts.client(id: token.client)?.isBlocked == false
            || accounts.accounts.service(id: token.client) != nil
        guard isOfClient, try await !grants.isRevoked(token) else { return nil }
        return token
    }

    /// Digest of what the holder has to prove now; nil for an account that is not active.
    private func credential(of token: AccessToken) -> String? {
        let accounts = accounts.accounts
        if let user = accounts.user(id: token.subject) {
            return providers.credential(of: user)
        }
        guard let service = accounts.service(id: token.subject), !service.isDisabled else { return nil }
        return SecretDigest.of(service.secretHash)
    }
}

extension AccessToken {
    /// From a verified JWT of this service; nil when a claim is missing that all of them have.
    fileprivate init?(_ jwt: JWT) {
        guard let id = jwt.id, let subject = jwt.subject, let client = jwt.clientID, let issued = jwt.issuedAt,
            let expires = jwt.expires, let organisation = jwt.document.root["org"]?.string,
            let audience = jwt.audience.first.flatMap({ Audience(rawValue: $0) }), jwt.audience.count == 1
        else { return nil }
        self.init(
            id: id, subject: subject, client: client, organisation: organisation, scope: jwt.scope, audience: audience,
            issued: issued, expires: expires, confirmation: jwt.document.root["cnf"]?["jkt"]?.string, credential: "")
    }
}
