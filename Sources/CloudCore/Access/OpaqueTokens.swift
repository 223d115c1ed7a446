import Introspection
import WireText

/// Checks opaque tokens of three fields, `secret_cluster_organisation`, by asking the organisation's own authorization
/// service what they are worth (RFC 7662).
///
/// Rules:
/// 1. It has three fields of printable ASCII. The third names an organisation that has an endpoint, the second one of the
///    clusters of that endpoint where it lists some. It is shown to that endpoint and to no other.
/// 2. The endpoint says that it is active, for the audience `cloud`, of this organisation and, if it names one, this
///    issuer; it has begun and has not ended.
/// 3. What can not be asked now is 503, and is not remembered.
struct OpaqueTokens: Sendable {
    private struct Endpoint: Sendable {
        let organisation: CloudCoreConfiguration.Organisation
        let clusters: Set<String>
        let questions: TokenQuestions
    }

    private let endpoints: [String: Endpoint]
    private static let longest = 4096
    /// Seconds by which the clocks of issuer and core may differ.
    private static let clockSkew: Int64 = 60

    init(
        organisations: [CloudCoreConfiguration.Organisation],
        ask: (
            CloudCoreConfiguration.Organisation, CloudCoreConfiguration.Introspection
        ) -> TokenQuestions.Ask
    ) {
        var endpoints: [String: Endpoint] = [:]
        for organisation in organisations {
            guard let introspection = organisation.introspection else { continue }
            endpoints[organisation.id] = Endpoint(
                organisation: organisation, clusters: introspection.clusters,
                questions: TokenQuestions(ask: ask(organisation, introspection)))
        }
        self.endpoints = endpoints
    }

    func verify(_ token: String, digest: [UInt8], now: Timestamp) async throws -> Principal {
        let fields = token.split(separator: "_", maxSplits: 3, omittingEmptySubsequences: false).map(String.init)
        guard token.utf8.count <= Self.longest, token.utf8.allSatisfy({ (0x21...0x7E).contains($0) }),
            fields.count == 3, fields.allSatisfy({ !$0.isEmpty }), let endpoint = endpoints[fields[2]],
            endpoint.clusters.isEmpty || endpoint.clusters.contains(fields[1])
        else { throw Refusal(.unauthorized, "the token is not from an authorization service that this core knows") }
        switch await endpoint.questions.answer(to: token, digest: digest) {
        case .unchecked:
            throw Refusal(
                .unavailable, "the authorization service can not be asked, so no token can be checked",
                retryAfterSeconds: 5)
        case .inactive, .incomplete: throw Refusal(.unauthorized, "the token is not active")
        case .active(let answer): return try Self.principal(answer, of: endpoint.organisation, now: now)
        }
    }

    private static func principal(
        _ answer: IntrospectionAnswer, of organisation: CloudCoreConfiguration.Organisation, now: Timestamp
    ) throws(Refusal) -> Principal {
        guard answer.names(issuer: organisation.issuer) else {
            throw Refusal(.unauthorized, "the token is of another issuer")
        }
        guard answer.audience.contains("cloud") else {
            throw Refusal(.unauthorized, "the token is for another audience")
        }
        guard answer.root["org"].map({ $0.string == organisation.id }) ?? true else {
            throw Refusal(.unauthorized, "the token is for another organisation")
        }
        let latest = now.adding(seconds: clockSkew)
        guard now < answer.expires, answer.time("nbf").map({ $0 <= latest }) ?? true else {
            throw Refusal(.unauthorized, "the token is not valid now")
        }
        return Principal(
            subject: answer.subject, claims: answer.root, scope: answer.scopes, expires: answer.expires,
            of: organisation)
    }
}

extension Principal {
    /// Whom claims of a token name: a user has a UUID and an address, everybody else is a service.
    init(
        subject: String, claims: JSONNode, scope: Set<String>, expires: Timestamp,
        of organisation: CloudCoreConfiguration.Organisation
    ) {
        var kind = Kind.service
        var id = subject
        if UUIDText.isValid(subject), let email = claims["email"]?.string {
            kind = .user(email: email, name: claims["name"]?.string ?? email)
            id = subject.lowercased()
        }
        self.init(organisation: organisation.id, subject: id, kind: kind, scope: scope, expires: expires)
    }
}
