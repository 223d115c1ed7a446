import Diagnostics
import HTTPTypes
import WireText

/// Assertions for the KMSs of other organisations (docs/federation.md; security model, rule 16): this service's word that
/// somebody is its user, for one KMS, by token exchange (RFC 8693).
///
/// Rules:
/// 1. The login's own refresh token asks, which neither the core nor a KMS ever sees; it stays as it is. A used one is
///    refused as at a refresh, and ends the login unless its answer may have been lost.
/// 2. The KMS asked for stands in the user's list and, where it has one, in the client's.
/// 3. It is never this domain's own KMS: an assertion opens nothing at home.
///
/// An assertion is a JWT of a few minutes with `aud` the KMS's URI and without scope; no other verifier takes it, and
/// nobody can ask here what it is worth.
extension AuthorizationService {
    static let tokenExchange = "urn:ietf:params:oauth:grant-type:token-exchange"
    private static let refreshTokenType = "urn:ietf:params:oauth:token-type:refresh_token"
    private static let accessTokenType = "urn:ietf:params:oauth:token-type:access_token"

    /// `grant_type` of token exchange.
    func assertion(_ form: FormParameters, _ visitor: Visitor) async throws -> Reply {
        let client = try publicClient(form, visitor)
        guard try form.required("subject_token_type") == Self.refreshTokenType,
            try form.optional("requested_token_type").map({ $0 == Self.accessTokenType }) ?? true
        else {
            throw OAuthError(.invalidRequest, "a refresh token is exchanged for an access token, and nothing else")
        }
        guard try form.optional("scope") == nil, try form.optional("actor_token") == nil else {
            throw OAuthError(.invalidRequest, "an assertion has neither scope nor actor")
        }
        let token = try form.required("subject_token")
        let audience = try form.required("audience")
        let now = surroundings.now()
        let (accounts, providers) = (accounts.accounts, providers)
        let outcome = try await grants.present(
            digest: SecretDigest.of(token), client: client.id, now: now, grace: settings.lifetimes.refreshGrace
        ) { grant in Self.user(of: grant, accounts, providers) == nil ? .accountChanged : nil }
        let grant: Grant
        switch outcome {
        case .granted(let found): grant = found
        case .reused(let found):
            recordReuse(found, "used refresh token exchanged")
            throw OAuthError(.invalidGrant, "the refresh token was used before: sign in again")
        case .refused(let refusal):
            record(Loggable(refusal), client: client.id)
            throw OAuthError(.invalidGrant, "the refresh token is not valid")
        }
        guard let user = Self.user(of: grant, accounts, providers), user.partners.contains(audience),
            !client.isIntegration, client.partners?.contains(audience) ?? true, audience != settings.kmsCluster
        else {
            record("assertion for a KMS that is not allowed", client: client.id)
            throw OAuthError(.invalidTarget, "the audience is unknown or not allowed for this user and client")
        }
        let text = try tokens.assertion(
            user: user, grant: grant, audience: audience, lifetime: settings.lifetimes.assertion,
            id: try identifier(), now: now, key: keys.ring(at: now).current)
        metrics.counter(.tokens, ["token_exchange", "partner"]).increment()
        var json = JSONWriter()
        json.beginObject()
        json.member("access_token", text)
        json.member("issued_token_type", Self.accessTokenType)
        json.member("token_type", "Bearer")
        json.member("expires_in", settings.lifetimes.assertion)
        json.endObject()
        return .secretJSON(.ok, json.bytes())
    }
}

extension AccessTokens {
    fileprivate func assertion(
        user: UserAccount, grant: Grant, audience: String, lifetime: Int64, id: String, now: Timestamp,
        key: SigningKeyRing.SigningKey
    ) throws -> String {
        let token = AccessToken(
            id: id, subject: user.id, client: grant.client, organisation: user.organisation, scope: [], audience: .kms,
            issued: Timestamp(seconds: now.seconds), expires: Timestamp(seconds: now.seconds + lifetime),
            family: grant.family, credential: grant.credential)
        return try signed(token, person: nil, key: key, audience: audience)
    }
}

extension GrantStore {
    /// Judges a refresh token without using it up. `judge` as at `rotate`.
    func present(
        digest: String, client: String, now: Timestamp, grace: Int64,
        judge: @escaping @Sendable (Grant) -> RefreshToken.Refusal?
    ) async throws -> RefreshOutcome {
        try await write { database in
            guard let token = try Self.refreshToken(digest, database) else { return .refused(.unknown) }
            switch token.judge(client: client, now: now, grace: grace) {
            case .good:
                guard let refusal = judge(token.grant) else { return .granted(token.grant) }
                if refusal == .accountChanged { try Self.end(family: token.grant.family, now: now, database) }
                return .refused(refusal)
            case .repeated: return .refused(.replaced)
            case .reused:
                try Self.end(family: token.grant.family, now: now, database)
                return .reused(token.grant)
            case .refused(let refusal): return .refused(refusal)
            }
        }
    }
}

/// `kms://HOST` of another organisation, as it stands in accounts and requests.
enum PartnerKMS {
    static func isValid(_ text: String) -> Bool {
        guard text.hasPrefix("kms://"), text.utf8.count <= 259 else { return false }
        let labels = text.dropFirst(6).split(separator: ".", omittingEmptySubsequences: false)
        return labels.count >= 2
            && labels.allSatisfy { label in
                !label.isEmpty && label.first != "-" && label.last != "-"
                    && label.utf8.allSatisfy { (0x61...0x7A).contains($0) || (0x30...0x39).contains($0) || $0 == 0x2D }
            }
    }
}
