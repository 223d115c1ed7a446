package import KeyManagement
package import ServiceRuntime

/// An issuer of KMS tokens: whether they are checked by its keys or by asking it, and what they have to say.
package struct IssuerSection: Decodable, Sendable {
    package enum Source: Sendable {
        case keySet
        case introspection(
            endpoint: WebAddress, clientID: String, clientSecret: SecretLocation, clusters: Set<String>)
    }

    private enum Kind: String, NamedValue, Sendable { case jwks, introspection }

    /// As the claim `iss` has it.
    package let issuer: String
    package let source: Source
    /// Needed for JWTs, and for the list of revocations.
    package let keySet: WebAddress?
    /// PEM: the only certification authorities that are taken for the issuer's addresses.
    package let authorities: FileLocation
    package let policy: TokenPolicy
    package let revocations: WebAddress?
    package let revocationInterval: Duration
    package let oldestRevocations: Duration

    package enum CodingKeys: String, CodingKey, CaseIterable {
        case issuer, kind
        case keySet = "jwks"
        case endpoint = "introspection-endpoint"
        case clientID = "client-id"
        case clientSecret = "client-secret"
        case clusters = "token-clusters"
        case authorities = "ca"
        case audience, organisation, scope
        case clockSkew = "clock-skew"
        case longestLife = "longest-token-life"
        case revocations
        case revocationInterval = "revocations-every"
        case oldestRevocations = "revocations-oldest"
        case isCustomerControlled = "customer-controlled"
    }

    package init(from decoder: any Decoder) throws {
        let section = try decoder.container(keyedBy: CodingKeys.self)
        func seconds(_ key: CodingKeys, _ standard: Int64, _ range: ClosedRange<Int64>) throws -> Int64 {
            let allowed = Duration.seconds(range.lowerBound)...Duration.seconds(range.upperBound)
            return try section.value(key, default: Duration.seconds(standard), in: allowed).components.seconds
        }
        issuer = try section.value(.issuer)
        keySet = try section.optional(.keySet)
        authorities = try section.value(.authorities)
        revocations = try section.optional(.revocations)
        revocationInterval = try section.value(
            .revocationInterval, default: .seconds(10), in: .seconds(1) ... .seconds(3600))
        oldestRevocations = try section.value(
            .oldestRevocations, default: .seconds(300), in: .seconds(10) ... .seconds(86_400))
        policy = TokenPolicy(
            issuer: issuer, audience: try section.value(.audience, default: "kms"),
            isCustomerControlled: try section.value(.isCustomerControlled),
            organisation: try section.optional(.organisation), scope: try section.optional(.scope),
            clockSkew: try seconds(.clockSkew, 60, 0...300),
            longestLife: try seconds(.longestLife, 86_400, 60...30 * 86_400))
        switch try section.value(.kind, default: Kind.jwks) {
        case .jwks:
            guard keySet != nil else { throw section.problem(.issuer, "jwks is needed for kind jwks") }
            let others: [CodingKeys] = [.endpoint, .clientID, .clientSecret, .clusters]
            for key in others where section.contains(key) {
                throw section.problem(key, "it belongs to kind introspection")
            }
            source = .keySet
        case .introspection:
            source = .introspection(
                endpoint: try section.value(.endpoint), clientID: try section.value(.clientID),
                clientSecret: try section.value(.clientSecret),
                clusters: Set(try section.value(.clusters, default: [String]())))
        }
        guard revocations == nil || keySet != nil else {
            throw section.problem(.revocations, "jwks is needed to check the signature of the list")
        }
        let addresses: [CodingKeys] = [.keySet, .endpoint, .revocations]
        for key in addresses {
            let address: WebAddress? = try section.optional(key)
            guard address.map({ $0.scheme == .https }) ?? true else {
                throw section.problem(key, "expected an https:// address")
            }
        }
    }

    /// Of two sections that would answer for the same token one would never be asked.
    static func conflict(among issuers: [IssuerSection]) -> String? {
        var names: Set<String> = []
        var clusters: Set<String> = []
        for issuer in issuers {
            switch issuer.source {
            case .keySet:
                guard names.insert(issuer.issuer).inserted else {
                    return "two sections of kind jwks have the issuer \(issuer.issuer)"
                }
            case .introspection(_, _, _, let own):
                // The empty name stands for "any opaque token".
                for cluster in own.isEmpty ? [""] : own where !clusters.insert(cluster).inserted {
                    return cluster.isEmpty
                        ? "two sections of kind introspection have no token-clusters: an opaque token is shown to one"
                        : "two sections have the token cluster \(cluster)"
                }
            }
        }
        return nil
    }
}
