import Cryptography
import HTTPTypes
import JOSESignature
import Synchronization
import WireText

/// The revocation endpoint (RFC 7009), and the signed list of what was revoked.
extension AuthorizationService {
    /// `POST /revoke`: a refresh token ends its login; an access token, opaque or a JWT, ends alone.
    package func revoke(body: [UInt8], visitor: Visitor) async -> Reply {
        do {
            let form = try Self.form(body, visitor)
            let token = try form.required("token")
            var client: String?
            if visitor.authorization != nil {
                client = try await authenticatedService(form, visitor).id
            } else if try form.optional("client_id") != nil {
                client = try publicClient(form, visitor).id
            }
            let now = surroundings.now()
            let digest = SecretDigest.of(token)
            let session = try await grants.providerSession(refreshDigest: digest)
            switch try await grants.revoke(digest: digest, client: client, now: now) {
            case .foreignClient: throw Self.foreign
            case .revoked: return await signedOut(session)
            case .unknown: break
            }
            switch try await grants.revokeAccess(digest: digest, client: client, now: now) {
            case .foreignClient: throw Self.foreign
            case .revoked: return .secretJSON(.ok, Array("{}".utf8))
            case .unknown: break
            }
            // A token that means nothing is no error: it is as good as revoked (RFC 7009, section 2.2).
            guard let own = ownJWT(token, now: now), let id = own.id, let subject = own.subject,
                let expires = own.expires
            else { return .secretJSON(.ok, Array("{}".utf8)) }
            if let client, client != own.clientID { throw Self.foreign }
            try await grants.revoke(tokenID: id, subject: subject, expires: expires, now: now)
            return .secretJSON(.ok, Array("{}".utf8))
        } catch {
            return refusal(error)
        }
    }

    /// `GET /revocations`: signed now, so that whoever reads it knows how fresh it is. No secret is in it. In one second
    /// and without a change between it is the same text, so that many readers cost little.
    package func revocationList() async -> Reply {
        do {
            let now = surroundings.now()
            let version = try await grants.revocationVersion()
            let key = keys.ring(at: now).current
            // Before the list is made: what comes in between makes another name.
            let name = "\(now.seconds) \(version) \(key.kid) \(accounts.generation)"
            let text: String
            if let last = lastRevocationList.withLock({ $0 }), last.name == name {
                text = last.text
            } else {
                var document = try await grants.revocations(issuer: settings.issuer, now: now)
                document.disabled = disabledSubjects()
                text = try document.signed(with: key.privateKey, algorithm: .es256, kid: key.kid)
                if document.version == version { lastRevocationList.withLock { $0 = (name, text) } }
            }
            return Reply(
                status: .ok, headers: [.contentType: "application/jwt", .cacheControl: "no-store"],
                body: Array(text.utf8))
        } catch {
            return refusal(error)
        }
    }

    /// A JWT of this service that is valid now, whatever its audience.
    func ownJWT(_ token: String, now: Timestamp) -> JWT? {
        let published = keys.ring(at: now).published(at: now)
        for audience in Audience.allCases {
            let token = try? JWT.verify(
                token,
                keys: { header in
                    guard let key = published.first(where: { $0.kid == header.kid })?.key else {
                        throw OAuthError(.invalidGrant, "unknown key")
                    }
                    return key
                }, allowing: [.es256], issuer: settings.issuer, audience: audience.rawValue, now: now, leeway: 0)
            if let token { return token }
        }
        return nil
    }

    private static let foreign = OAuthError(.invalidGrant, "the token was issued to another client")
}
