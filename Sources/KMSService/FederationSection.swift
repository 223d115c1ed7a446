package import ServiceRuntime

/// The KMSs of other organisations that this one deals with (docs/federation.md). Off unless it stands there.
package struct FederationSection: Decodable, Sendable {
    /// File with the ids of this organisation's own users, beside those whom the KMS has met.
    package let ownUsers: FileLocation?
    package let partners: [PartnerSection]

    package enum CodingKeys: String, CodingKey, CaseIterable {
        case ownUsers = "own-users"
        case partners
    }

    package init(from decoder: any Decoder) throws {
        let section = try decoder.container(keyedBy: CodingKeys.self)
        ownUsers = try section.optional(.ownUsers)
        partners = try section.value(.partners)
        guard !partners.isEmpty else { throw section.problem(.partners, "expected at least one partner") }
        guard Set(partners.map(\.host)).count == partners.count else {
            throw section.problem(.partners, "host has to be different for each partner")
        }
    }
}

/// One partner, see `FederationPartner`.
package struct PartnerSection: Decodable, Sendable {
    package let host: String
    package let organisation: String
    package let roots: FileLocation?
    package let pins: [String]
    package let mayAskUs: Bool
    package let weMayAsk: Bool
    package let users: FileLocation?
    package let assertionIssuer: AssertionIssuerSection?
    package let allowsNested: Bool
    package let cache: Duration

    package enum CodingKeys: String, CodingKey, CaseIterable {
        case host, organisation, roots, pins
        case mayAskUs = "may-ask-us"
        case weMayAsk = "we-may-ask"
        case users
        case assertionIssuer = "assertion-issuer"
        case allowsNested = "allow-nested"
        case cache
    }

    package init(from decoder: any Decoder) throws {
        let section = try decoder.container(keyedBy: CodingKeys.self)
        host = try section.value(.host)
        organisation = try section.value(.organisation)
        roots = try section.optional(.roots)
        pins = try section.value(.pins, default: [])
        mayAskUs = try section.value(.mayAskUs, default: false)
        weMayAsk = try section.value(.weMayAsk, default: false)
        users = try section.optional(.users)
        assertionIssuer = try section.optional(.assertionIssuer)
        allowsNested = try section.value(.allowsNested, default: false)
        cache = try section.value(.cache, default: .zero, in: .zero ... .seconds(3600))
        guard host == host.lowercased(), host.contains("."), !host.contains("/"), !host.contains(":") else {
            throw section.problem(.host, "expected a DNS name in lower case, such as kms.partner.example.org")
        }
        guard roots != nil || !pins.isEmpty else {
            throw section.problem(.roots, "expected roots, pins or both: by what is this partner believed?")
        }
        guard !mayAskUs || users != nil || assertionIssuer != nil else {
            throw section.problem(.mayAskUs, "expected users or assertion-issuer: for whom may this partner ask?")
        }
    }
}

/// The partner's own authorization service, for assertions about its users.
package struct AssertionIssuerSection: Decodable, Sendable {
    /// As the claim `iss` has it.
    package let issuer: String
    package let keySet: WebAddress
    /// PEM: the only certification authorities that are taken for the address of the key set.
    package let authorities: FileLocation

    package enum CodingKeys: String, CodingKey, CaseIterable {
        case issuer
        case keySet = "jwks"
        case authorities = "ca"
    }

    package init(from decoder: any Decoder) throws {
        let section = try decoder.container(keyedBy: CodingKeys.self)
        issuer = try section.value(.issuer)
        keySet = try section.value(.keySet)
        authorities = try section.value(.authorities)
        guard keySet.scheme == .https else { throw section.problem(.keySet, "expected an https:// address") }
    }
}
