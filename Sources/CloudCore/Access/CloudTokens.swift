import Cryptography
import Diagnostics
import HTTPClient
import Introspection
import IssuerKeys
import JOSESignature
import WireText

/// Checks bearer tokens of audience `cloud` from the authorization service of a configured organisation: JWTs by its
/// keys, opaque ones by asking it (`OpaqueTokens`).
///
/// The issuer named in a JWT only chooses whose keys and rules it is then held against. A token that was good stays so
/// for at most a minute and never past its end, one that was refused for five seconds. A KMS token has another audience
/// and is refused like any foreign one: the core can do nothing with it.
final class CloudTokens: TokenChecking {
    private let organisations: [String: CloudCoreConfiguration.Organisation]
    private let keys: [String: IssuerKeys]
    private let clients: [WebClient]
    /// By organisation, what a reload replaces.
    private let connections: [String: WebClient]
    private let endpoints: [String: IntrospectionEndpoint]
    private let wall: @Sendable () -> Timestamp
    private let opaque: OpaqueTokens
    private let known = TwoGenerationCache<[UInt8], Known>(capacity: 50_000)
    /// Apart from the good ones, so that a flood of bad tokens does not push these out.
    private let refused = TwoGenerationCache<[UInt8], Refused>(capacity: 10_000)

    private struct Known: Sendable {
        var principal: Principal
        var until: Timestamp
    }

    private let believed: CloudCoreConfiguration.Organisation?

    private struct Refused: Sendable {
        var refusal: Refusal
        var until: Timestamp
    }

    private static let trustedSeconds: Int64 = 60
    private static let refusedSeconds: Int64 = 5

    /// - Parameters:
    ///   - believesAll: a malicious core of a drill lets in whoever it likes.
    ///   - ask: how an authorization service is asked about opaque tokens; nil: over HTTPS.
    init(
        organisations: [CloudCoreConfiguration.Organisation], believesAll: Bool = false,
        wall: @escaping @Sendable () -> Timestamp,
        ask: (
            (CloudCoreConfiguration.Organisation, CloudCoreConfiguration.Introspection) -> TokenQuestions.Ask
        )? = nil
    ) {
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
        believed = believesAll ? organisations.first : nil
        self.keys = keys
        let connections = Dictionary(zip(organisations.map(\.id), clients)) { first, _ in first }
        var endpoints: [String: IntrospectionEndpoint] = [:]
        opaque = OpaqueTokens(organisations: organisations) { organisation, introspection in
            if let ask { return ask(organisation, introspection) }
            let endpoint = IntrospectionEndpoint(
                client: connections[organisation.id] ?? WebClient(trust: organisation.trust), url: introspection.url,
                clientID: introspection.clientID, secret: introspection.secret)
            endpoints[organisation.id] = endpoint
            return endpoint.ask
        }
        self.connections = connections
        self.endpoints = endpoints
        self.clients = clients
        self.wall = wall
    }

    /// From now on the authorization services are judged by these roots and pins, and asked with these accounts.
    func renew(_ organisations: [CloudCoreConfiguration.Organisation]) {
        for organisation in organisations {
            connections[organisation.id]?.replace(trust: organisation.trust, route: .direct)
            guard let introspection = organisation.introspection else { continue }
            endpoints[organisation.id]?.replace(clientID: introspection.clientID, secret: introspection.secret)
        }
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
        if let known = known[digest], known.until > now { return known.principal }
        if let refused = refused[digest], refused.until > now { throw refused.refusal }
        do {
            let principal =
                JWT.unverifiedIssuer(token) != nil
                ? try await verify(token, now: now) : try await opaque.verify(token, digest: digest, now: now)
            let until = min(principal.expires, now.adding(seconds: Self.trustedSeconds))
            known[digest] = Known(principal: principal, until: until)
            return principal
        } catch let refusal as Refusal where refusal.status == .unauthorized {
            refused[digest] = Refused(refusal: refusal, until: now.adding(seconds: Self.refusedSeconds))
            throw refusal
        }
    }

    private func verify(_ token: String, now: Timestamp) async throws -> Principal {
        if let believed, let part = token.split(separator: ".").dropFirst().first,
            let payload = Base64URL.decode(part), let claims = try? JSONDocument(payload).root,
            let subject = claims["sub"]?.string
        {
            let scope = (claims["scope"]?.string ?? "").split(separator: " ").map(String.init)
            return Principal(
                subject: subject, claims: claims, scope: Set(scope), expires: now.adding(seconds: 3600), of: believed)
        }
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
        return Principal(
            subject: subject, claims: claims.document.root, scope: Set(claims.scope), expires: expires, of: organisation
        )
    }
}
