import Cryptography
import Diagnostics
import HTTPClient
import IssuerKeys
import JOSESignature
import KeyManagement
import LinkedService
import ServiceLifecycle
import ServiceRuntime
import TLSChannel
import WireText

/// Who may say who somebody is, put together from the configuration: verifiers, endpoints, lists of revocations, and the
/// network that they need.
struct TokenTrust: Sendable {
    let directory: BearerDirectory
    /// To be run beside the service.
    let polls: [RevocationPoll]
    /// What a reload replaces, by `Issuer`.
    private let clients: [Issuer: WebClient]
    private let asked: [Issuer: IntrospectionEndpoint]

    /// Sections that are the same but for what may be replaced.
    private struct Issuer: Hashable {
        let name: String
        let place: String

        init(_ section: IssuerSection) {
            name = section.issuer
            if case .introspection(let endpoint, _, _, _) = section.source {
                place = endpoint.text
            } else {
                place = section.keySet?.text ?? ""
            }
        }
    }

    init(_ issuers: [IssuerSection], credentials: Credentials, health: HealthRegistry, route: WebRoute) throws {
        var verifiers: [JWTBearerVerifier] = []
        var endpoints: [IntrospectionVerifier] = []
        var polls: [RevocationPoll] = []
        var clients: [Issuer: WebClient] = [:]
        var asked: [Issuer: IntrospectionEndpoint] = [:]
        for issuer in issuers {
            let trust = TLSTrust(roots: try issuer.authorities.certificates())
            let client = WebClient(trust: trust, route: route)
            clients[Issuer(issuer)] = client
            let keys = issuer.keySet.map { IssuerKeys(client: client, url: $0.text) }
            switch issuer.source {
            case .keySet:
                guard let keys else { break }
                let check = HealthCheck("keys \(issuer.issuer)", "the key set of \(issuer.issuer)")
                verifiers.append(
                    JWTBearerVerifier(
                        policy: issuer.policy,
                        keys: { refresh in
                            try await Self.told(health, check, "can be had") { try await keys.keySet(refresh: refresh) }
                        }))
            case .introspection(let endpoint, let clientID, let secret, let clusters):
                let check = HealthCheck(
                    "introspection \(endpoint.text)", "the introspection endpoint of \(issuer.issuer)")
                let asker = IntrospectionEndpoint(
                    client: client, url: endpoint.text, clientID: clientID, secret: try credentials.text(of: secret))
                asked[Issuer(issuer)] = asker
                let ask = asker.ask
                endpoints.append(
                    IntrospectionVerifier(
                        policy: issuer.policy, clusters: clusters,
                        ask: { token in try await Self.told(health, check, "answers") { try await ask(token) } }))
            }
            if let url = issuer.revocations, let keys {
                let list = RevocationList(
                    issuer: issuer.issuer, oldest: issuer.oldestRevocations.components.seconds,
                    clockSkew: issuer.policy.clockSkew, keys: { try await keys.keySet(refresh: $0) })
                polls.append(
                    RevocationPoll(
                        client: client, url: url.text, list: list, interval: issuer.revocationInterval, health: health,
                        isCustomerControlled: issuer.policy.isCustomerControlled))
            }
        }
        directory = BearerDirectory(issuers: verifiers, endpoints: endpoints, revocations: polls.map(\.list))
        self.polls = polls
        self.clients = clients
        self.asked = asked
        guard !directory.isCustomerControlled else { return }
        health.warn(
            StandingWarning(
                "core-can-impersonate",
                "the core can impersonate users: an issuer of KMS tokens is not the customer's",
                fix: "use an authorization service that the customer runs for authorization.issuers"))
    }

    /// Reads authorities and accounts of the issuers anew; what it returns takes them over. Issuers that were not there at
    /// the start count from the next one.
    func renewal(
        _ issuers: [IssuerSection], _ credentials: Credentials, _ route: WebRoute
    ) throws -> @Sendable () -> Void {
        var steps: [@Sendable () -> Void] = []
        for section in issuers {
            let trust = TLSTrust(roots: try section.authorities.certificates())
            _ = try TLSConfiguration.client(trust: trust)
            if let client = clients[Issuer(section)] {
                steps.append { client.replace(trust: trust, route: route) }
            }
            guard case .introspection(_, let clientID, let location, _) = section.source else { continue }
            let secret = try credentials.text(of: location)
            if let endpoint = asked[Issuer(section)] {
                steps.append { endpoint.replace(clientID: clientID, secret: secret) }
            }
        }
        return { [steps] in for step in steps { step() } }
    }

    /// Clients are told 500 without a reason; the health address gets it.
    private static func told<Value: Sendable>(
        _ health: HealthRegistry, _ check: HealthCheck, _ good: Loggable, _ body: () async throws -> Value
    ) async throws -> Value {
        do {
            let value = try await body()
            health.report(check, .ok(good))
            return value
        } catch {
            health.report(check, .fail(error))
            throw error
        }
    }
}

/// Fetches the list of revocations of one issuer again and again, and tells health how old it is.
struct RevocationPoll: Service {
    let client: WebClient
    let url: String
    let list: RevocationList
    let interval: Duration
    let health: HealthRegistry
    /// Only who is the customer's cuts somebody off.
    let isCustomerControlled: Bool
    /// What a list that was taken is given to.
    var follow: @Sendable (RevocationDocument) async throws -> Void = { _ in }

    /// One for each issuer: `revocations of https://…`.
    private var check: HealthCheck {
        HealthCheck("revocations \(list.issuer)", "the list of revocations of \(list.issuer)")
    }

    func run() async throws {
        health.declare(check)
        await recurring(every: interval) { await poll() }
    }

    /// Nil: the list was read, and what it says is in force.
    @discardableResult
    func poll() async -> (any Error)? {
        var problem: (any Error)?
        do {
            let response = try await client.send(
                WebRequest(
                    url: url, headers: [("Accept", "application/jwt")], timeout: .seconds(5),
                    maximumResponseBytes: RevocationDocument.maximumSignedBytes))
            guard response.status == 200, let text = String(validating: response.body, as: UTF8.self) else {
                throw DiagnosedError(
                    .revocationsUnavailable, fault: .peer, "the list of revocations can not be fetched",
                    expected: "status 200", found: "status \(response.status)")
            }
            let document = try await list.take(text, now: Timestamp.now())
            if isCustomerControlled { try await follow(document) }
        } catch {
            problem = error
        }
        health.report(check, finding(problem))
        return problem
    }

    private func finding(_ problem: (any Error)?) -> HealthFinding {
        switch list.state(now: Timestamp.now()) {
        case .fresh(_, let entries): return .ok("read, with \(entries) entries")
        case .stale(let age):
            return .warn("\(age) s old: \(reason(problem))", fix: "a revoked token may still be taken: see that \(fix)")
        case .missing: return .warn("never read: \(reason(problem))", fix: "see that \(fix)")
        }
    }

    private func reason(_ problem: (any Error)?) -> Loggable {
        problem.map { Loggable(error: $0) } ?? "the issuer signs old lists"
    }

    private var fix: Loggable { "\(reviewed: url) answers and the clocks agree" }
}

extension DiagnosedError.Code {
    /// The list of revocations can not be fetched.
    static let revocationsUnavailable: Self = "revocations-unavailable"
}
