import Cryptography
import JOSESignature
import KMSProtocol
import KeyStore
import WireText

/// The token of an unnamed holder of an authorization (protocol, section 8; security model, rule 15).
///
/// A JWT that the KMS signs with its static key: issuer and audience are the KMS itself, the subject is the URI of the
/// authorization, `resource` the KRO. Rules:
/// 1. It is good while the authorization is on the list and its time is not over, whatever the token's own end says.
/// 2. A session that it opens belongs to the authorization, and reads keys of that KRO only.
struct AnonymousBearer {
    static let type = "hds-anonymous+jwt"

    let authorization: String
    let resource: String

    static func issue(
        _ content: AuthorizationContent, id: String, names: KMSNames, key: KMSStaticKey
    ) throws -> String {
        var claims = JSONWriter()
        claims.beginObject()
        claims.member("iss", names.cluster)
        claims.member("aud", names.cluster)
        claims.member("sub", names.authorization(id))
        claims.member("resource", names.resource(content.resource))
        claims.member("iat", content.created.seconds)
        if let expires = content.expires { claims.member("exp", expires.seconds) }
        claims.member("jti", id)
        claims.endObject()
        return String(decoding: try key.sign(claims, typ: type), as: UTF8.self)
    }

    /// Nil when the token names another issuer, or none: it is for the token verifiers. Throws 401 when it is a token of
    /// this KMS and not good.
    init?(_ bearer: String, names: KMSNames, keys: [KMSStaticKey], now: Timestamp) throws(KMSFailure) {
        guard JWT.unverifiedIssuer(bearer) == names.cluster else { return nil }
        let token: JWT
        do {
            token = try JWT.verify(
                bearer,
                keys: { header in
                    guard let key = keys.first(where: { $0.kid == header.kid }) else { throw Self.refusal }
                    return key.publicKey
                }, allowing: [.ps256, .rs256], issuer: names.cluster, audience: names.cluster, type: Self.type,
                now: now,
                leeway: 0)
        } catch {
            throw Self.refusal
        }
        guard let subject = token.subject.flatMap({ KMSURI($0) }), case .authorization(let id) = subject.object,
            let named = token.document.root["resource"]?.string.flatMap({ KMSURI($0) }),
            case .resource(let resource) = named.object
        else { throw Self.refusal }
        authorization = id
        self.resource = resource
    }

    static let refusal = KMSFailure(
        KMSStatus.unauthorized, "Failed to authenticate the bearer token", rule: "anonymous-bearer-not-good")
}

extension RequestHandler {
    /// Whose token it is: one that this KMS gave to an unnamed holder, or one of an issuer. The holder kind is what a
    /// session that it opens becomes.
    func identity(of bearer: String, now: Timestamp) async throws(KMSFailure) -> (TokenIdentity, SessionHolder) {
        let names = keyManagement.names
        // A token that the verifier remembers names another issuer, or it would not have been asked.
        if let identity = try verifier.remembered(bearer, now: now) {
            return (try notDisabled(Self.named(identity)), .user())
        }
        guard let anonymous = try AnonymousBearer(bearer, names: names, keys: staticKeys, now: now) else {
            return (try notDisabled(Self.named(await verifier.identity(of: bearer, now: now))), .user())
        }
        do {
            guard let row = try await store.authorization(anonymous.authorization), row.resource == anonymous.resource
            else { throw AnonymousBearer.refusal }
            let content = try keyManagement.vault.content(row)
            guard content.isAnonymous, content.isLive(now), let expires = content.expires else {
                throw AnonymousBearer.refusal
            }
            let identity = TokenIdentity(
                userID: names.authorization(row.id), clientID: nil, scopes: [], issuer: names.cluster, expires: expires)
            return (identity, .anonymous(authorization: row.id))
        } catch let failure as KMSFailure {
            throw failure
        } catch {
            log.failure(error, while: "checking the bearer of an unnamed holder")
            throw KMSFailure(KMSStatus.internalError, "internal error")
        }
    }

    /// What looks like an object or like everybody on an access list can not be somebody's name.
    private static func named(_ identity: TokenIdentity) throws(KMSFailure) -> TokenIdentity {
        guard KMSURI(identity.userID) == nil else {
            throw KMSFailure(
                KMSStatus.unauthorized, "Failed to authenticate the bearer token", rule: "token-subject-is-a-uri")
        }
        return identity
    }
}
