import LDAPDirectory
import ServiceRuntime
import TokenIssuer

/// Where people come from beside the accounts file, and how leavers are judged (docs/directory.md).
struct DirectorySection: Decodable, Sendable {
    /// Of people whom only a directory knows.
    let organisation: String
    let leavers: LeaverSection
    let ldap: [LDAPSection]
    let scim: SCIMSection?

    enum CodingKeys: String, CodingKey, CaseIterable { case organisation, leavers, ldap, scim }

    init(from decoder: any Decoder) throws {
        let section = try decoder.container(keyedBy: CodingKeys.self)
        organisation = try section.value(.organisation)
        guard (1...128).contains(organisation.utf8.count) else {
            throw section.problem(.organisation, "expected 1 to 128 characters")
        }
        leavers = try section.value(.leavers, default: LeaverSection())
        ldap = try section.value(.ldap, default: [LDAPSection]())
        scim = try section.optional(.scim)
        guard Set(ldap.map(\.name)).count == ldap.count else {
            throw section.problem(.ldap, "name has to be different for each directory")
        }
    }

    struct LeaverSection: Decodable, Sendable {
        var share = 10
        var least = 5

        enum CodingKeys: String, CodingKey, CaseIterable { case share, least }

        init() {}

        init(from decoder: any Decoder) throws {
            let section = try decoder.container(keyedBy: CodingKeys.self)
            share = try section.value(.share, default: share, in: 0...100)
            least = try section.value(.least, default: least, in: 0...10_000)
        }
    }

    struct SCIMSection: Decodable, Sendable {
        let token: SecretLocation

        enum CodingKeys: String, CodingKey, CaseIterable { case token }

        init(from decoder: any Decoder) throws {
            token = try decoder.container(keyedBy: CodingKeys.self).value(.token)
        }
    }
}

/// One LDAP server.
struct LDAPSection: Decodable, Sendable {
    private enum Kind: String, NamedValue, Sendable {
        case openldap
        case activeDirectory = "active-directory"
    }

    let name: String
    let url: String
    let startTLS: Bool
    let authorities: FileLocation?
    let bindDN: String
    let password: SecretLocation
    let kind: LDAPSettings.Kind
    let people: SearchSection
    let groups: SearchSection?
    let attributes: AttributeSection
    let disabled: [DisabledSection]?
    let every: Duration

    enum CodingKeys: String, CodingKey, CaseIterable {
        case name, url
        case startTLS = "start-tls"
        case authorities = "ca"
        case bindDN = "bind-dn"
        case password, kind, people, groups, attributes
        case disabled = "disabled-when"
        case every
    }

    init(from decoder: any Decoder) throws {
        let section = try decoder.container(keyedBy: CodingKeys.self)
        name = try section.value(.name)
        guard (1...32).contains(name.utf8.count),
            name.utf8.allSatisfy({ (0x61...0x7A).contains($0) || (0x30...0x39).contains($0) || $0 == 0x2D })
        else { throw section.problem(.name, "expected 1 to 32 small letters, digits and -") }
        url = try section.value(.url)
        startTLS = try section.value(.startTLS, default: false)
        authorities = try section.optional(.authorities)
        let isEncrypted = url.hasPrefix("ldaps://")
        guard isEncrypted || url.hasPrefix("ldap://"), !url.contains(where: \.isWhitespace) else {
            throw section.problem(.url, "expected ldaps://HOST[:PORT] or ldap://HOST[:PORT]")
        }
        guard !(isEncrypted && startTLS) else { throw section.problem(.startTLS, "ldaps:// has TLS from the start") }
        let host = url.drop { $0 != "/" }.dropFirst(2).prefix { $0 != ":" && $0 != "/" }
        guard isEncrypted || startTLS || ["127.0.0.1", "localhost"].contains(host) else {
            throw section.problem(.url, "expected ldaps://, or start-tls: without TLS only to this machine itself")
        }
        guard !(isEncrypted || startTLS) || authorities != nil else {
            throw section.problem(.authorities, "expected the authorities of the server's certificate, PEM")
        }
        bindDN = try section.value(.bindDN)
        password = try section.value(.password)
        let kind: LDAPSettings.Kind =
            try section.value(.kind, default: Kind.openldap) == .openldap ? .openldap : .activeDirectory
        self.kind = kind
        people = try section.value(.people)
        groups = try section.optional(.groups)
        attributes = try section.value(.attributes, default: AttributeSection())
        disabled = try section.optional(.disabled)
        every = try section.value(.every, default: .seconds(15), in: .seconds(1) ... .seconds(3600))
    }

    struct SearchSection: Decodable, Sendable {
        let base: String
        let filter: String?

        enum CodingKeys: String, CodingKey, CaseIterable { case base, filter }

        init(from decoder: any Decoder) throws {
            let section = try decoder.container(keyedBy: CodingKeys.self)
            base = try section.value(.base)
            filter = try section.optional(.filter)
            guard filter.map(LDAPFilter.isPlausible) ?? true else {
                throw section.problem(.filter, "expected a filter in parentheses (RFC 4515)")
            }
        }
    }

    struct AttributeSection: Decodable, Sendable {
        var id: String?
        var userName: String?
        var email: String?
        var name: String?
        var groupName: String?
        var member: String?

        enum CodingKeys: String, CodingKey, CaseIterable {
            case id
            case userName = "user-name"
            case email, name
            case groupName = "group-name"
            case member
        }

        init() {}

        init(from decoder: any Decoder) throws {
            let section = try decoder.container(keyedBy: CodingKeys.self)
            func attribute(_ key: CodingKeys) throws -> String? {
                let text: String? = try section.optional(key)
                guard text.map(LDAPSection.isAttribute) ?? true else {
                    throw section.problem(key, "expected the name of an attribute")
                }
                return text
            }
            id = try attribute(.id)
            userName = try attribute(.userName)
            email = try attribute(.email)
            name = try attribute(.name)
            groupName = try attribute(.groupName)
            member = try attribute(.member)
        }
    }

    struct DisabledSection: Decodable, Sendable {
        let rule: LDAPSettings.DisabledRule

        enum CodingKeys: String, CodingKey, CaseIterable { case attribute, bits, equals, present }

        init(from decoder: any Decoder) throws {
            let section = try decoder.container(keyedBy: CodingKeys.self)
            let attribute: String = try section.value(.attribute)
            guard LDAPSection.isAttribute(attribute) else {
                throw section.problem(.attribute, "expected the name of an attribute")
            }
            let bits: Int? = try section.optional(.bits)
            let equals: String? = try section.optional(.equals)
            let present: Bool? = try section.optional(.present)
            switch (bits, equals, present) {
            case (let bits?, nil, nil) where bits > 0: rule = .init(attribute: attribute, test: .bits(Int64(bits)))
            case (nil, let text?, nil): rule = .init(attribute: attribute, test: .equals(text))
            case (nil, nil, true?): rule = .init(attribute: attribute, test: .present)
            default: throw section.problem(.attribute, "expected one of bits, equals and present: true beside it")
            }
        }
    }

    static func isAttribute(_ text: String) -> Bool {
        (1...64).contains(text.utf8.count)
            && text.utf8.allSatisfy { octet in
                (0x61...0x7A).contains(octet | 0x20) || (0x30...0x39).contains(octet) || octet == 0x2D || octet == 0x3B
                    || octet == 0x2E
            }
    }

    func settings(_ credentials: Credentials) throws -> LDAPSettings {
        var settings = LDAPSettings(
            name: name, url: url, startTLS: startTLS, authorities: authorities?.path, bindDN: bindDN,
            password: try credentials.text(of: password),
            people: .init(base: people.base, filter: people.filter ?? kind.peopleFilter),
            groups: groups.map { .init(base: $0.base, filter: $0.filter ?? kind.groupFilter) }, kind: kind)
        settings.attributes.id = attributes.id ?? settings.attributes.id
        settings.attributes.userName = attributes.userName ?? settings.attributes.userName
        settings.attributes.email = attributes.email ?? settings.attributes.email
        settings.attributes.name = attributes.name ?? settings.attributes.name
        settings.attributes.groupName = attributes.groupName ?? settings.attributes.groupName
        settings.attributes.member = attributes.member ?? settings.attributes.member
        if let disabled { settings.disabled = disabled.map(\.rule) }
        // Read and checked now, not at the first round.
        _ = try authorities?.certificates()
        return settings
    }
}

/// Where `hdsctl` talks to this service, and who may.
struct ControlSocketSection: Decodable, Sendable {
    let socket: FileLocation
    let group: String?

    enum CodingKeys: String, CodingKey, CaseIterable { case socket, group }

    init(from decoder: any Decoder) throws {
        let section = try decoder.container(keyedBy: CodingKeys.self)
        socket = try section.value(.socket, default: FileLocation("/run/hds-auth/control.sock"))
        group = try section.optional(.group)
    }
}
