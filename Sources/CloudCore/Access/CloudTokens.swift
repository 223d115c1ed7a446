import Cryptography
import Diagnostics
import HTTPClient
import IssuerKeys
import JOSESignature
import Synchronization
import WireText

/// Checks bearer tokens: JWTs of audience `cloud` from the authorization service of a configured organisation.
///
/// The issuer named in the token only chooses whose keys and rules it is then held against. A token that was good
/// stays so for at most a minute and never past its end. A KMS token has another audience and is refused like any
/// foreign one: the core can do nothing with it.
final class CloudTokens: TokenChecking {
    private let organisations: [String: CloudCoreConfiguration.Organisation]
    private let keys: [String: IssuerKeys]
    private let clients: [WebClient]
    private let wall: @Sendable () -> Timestamp
    private let known = Mutex<[[UInt8]: Known]>([:])

    private struct Known {
        var principal: Principal
        var until: Timestamp
    }

    private static let maximumKnown = 50_000
    private static let trustedSeconds: Int64 = 60

    init(organisations: [CloudCoreConfiguration.Organisation], wall: @escaping @Sendable () -> Timestamp) {
        var byIssuer: [String: CloudCoreConfiguration.Organisation] = [:]
        var keys: [String: IssuerKeys] = [:]
        var clients: [WebClient] = []
        for organisation in organisations {
            let client = WebClient(trust: organisation.trust)
            clients.append(client)
            byIssuer[organisation.issuer] = organisation
            let url = organisation.jwksURL
            keys[organisation.issuer] = IssuerKeys(clock: wall) { try await Self.fetch(url, with: client) }
        }
        self.organisations = byIssuer
        self.keys = keys
        self.clients = clients
        self.wall = wall
    }

    private static func fetch(_ url: String, with client: WebClient) async throws -> [UInt8] {
        let response = try await client.send(
            WebRequest(
                url: url, headers: [("Accept", "application/json")], timeout: .seconds(5),
                maximumResponseBytes: 256 << 10))
        guard response.status == 200 else {
            throw DiagnosedError(
                .issuerKeysUnavailable, fault: .peer, "the issuer's key set can not be fetched",
                expected: "status 200 from \(url)", found: "status \(response.status)")
        }
        return response.body
    }

    func close() async { for client in clients { await client.close() } }

    func principal(of token: String) async throws -> Principal {
        let now = wall()
        let digest = SHA256.hash(Array(token.utf8))
        if let known = known.withLock({ $0[digest] }), known.until > now { return known.principal }
        let principal = try await verify(token, now: now)
        let until = min(principal.expires, now.adding(seconds: Self.trustedSeconds))
        known.withLock { known in
            if known.count >= Self.maximumKnown { known.removeAll() }
            known[digest] = Known(principal: principal, until: until)
        }
        return principal
    }

    private func verify(_ token: String, now: Timestamp) async throws -> Principal {
        // The issuer that the token names is believed by nobody: it only chooses the keys.
        guard let issuer = JWT.unverifiedIssuer(token), let organisation = organisations[issuer],
            let issuerKeys = keys[issuer]
        else { throw Refusal(.unauthorized, "the token is not from an authorization service that this core knows") }
        guard let keyID = try? JWS.peekHeader(token).kid else {
            throw Refusal(.unauthorized, "the token is no signed JWT with a kid")
        }
        let keySet = try await Self.keySet(of: issuerKeys, holding: keyID)
        do {
            let claims = try JWT.verify(
                token, keys: { try keySet.verificationKey(for: $0) }, allowing: [.es256], issuer: issuer,
                audience: "cloud", now: now)
            return try Self.principal(claims, of: organisation)
        } catch let error as DiagnosedError {
            throw Refusal(.unauthorized, error.description)
        }
    }

    /// The issuer's key set, fetched anew when it lacks the key; 503 when it can not be had.
    private static func keySet(of issuer: IssuerKeys, holding kid: String) async throws -> JWKSet {
        do {
            let held = try await issuer.keySet()
            return held[kid] != nil ? held : try await issuer.keySet(refresh: true)
        } catch {
            throw Refusal(
                .unavailable, "the keys of the authorization service can not be fetched, so no token can be checked",
                retryAfterSeconds: 5)
        }
    }

    private static func principal(
        _ claims: JWT, of organisation: CloudCoreConfiguration.Organisation
    ) throws(Refusal) -> Principal {
        guard let subject = claims.subject, let expires = claims.expires else {
            throw Refusal(.unauthorized, "the token names no subject or no end")
        }
        if let named = claims.document.root["org"]?.string, named != organisation.id {
            throw Refusal(.unauthorized, "the token is for another organisation")
        }
        var kind = Principal.Kind.service
        var id = subject
        if UUIDText.isValid(subject), let email = claims.document.root["email"]?.string {
            kind = .user(email: email, name: claims.document.root["name"]?.string ?? email)
            id = subject.lowercased()
        }
        return Principal(
            organisation: organisation.id, subject: id, kind: kind, scope: Set(claims.scope), expires: expires)
    }
}
