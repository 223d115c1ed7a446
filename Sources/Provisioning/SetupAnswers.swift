package import ServiceRuntime
import WireText

/// What `hdsctl setup` has to know, as a YAML file that is read strictly: a key that is not known is refused by path and
/// line. Files that it names are sources, taken over into their places; secrets never stand in it. Every key is explained
/// in config/setup.example.yaml.
package struct SetupAnswers: Decodable, Sendable {
    /// Name of the node.
    package let node: String
    package let organisation: String
    /// DNS name of the KMS.
    package let host: String
    /// Nil: that of the configuration, or a new one.
    package let machineAccount: String?
    package let certificate: CertificateAnswers
    package let masterKey: MasterKeyAnswers
    package let core: CoreAnswers
    package let authorization: AuthorizationAnswers
    package let store: StoreAnswers
    /// Nil: no proxy.
    package let proxy: ProxyAnswers?
    /// The file of enrolled officers.
    package let officers: FileLocation?
    /// The policy that they signed.
    package let policy: FileLocation?
    /// Folder for backups.
    package let backup: FileLocation?
    package let escrow: EscrowAnswers?
    /// Whose members use hdsctl.
    package let operators: String?
    package let healthAddress: NetworkAddress

    package enum CodingKeys: String, CodingKey, CaseIterable {
        case node, organisation, host
        case machineAccount = "machine-account"
        case certificate
        case masterKey = "master-key"
        case core, authorization, store, proxy, officers, policy, backup, escrow
        case operators = "operators-group"
        case healthAddress = "health-address"
    }

    package init(from decoder: any Decoder) throws {
        let section = try decoder.container(keyedBy: CodingKeys.self)
        node = try section.value(.node)
        organisation = try section.value(.organisation)
        host = try section.value(.host)
        machineAccount = try section.optional(.machineAccount)
        certificate = try section.value(.certificate, default: CertificateAnswers())
        masterKey = try section.value(.masterKey, default: MasterKeyAnswers())
        core = try section.value(.core)
        authorization = try section.value(.authorization)
        store = try section.value(.store, default: StoreAnswers())
        proxy = try section.optional(.proxy)
        officers = try section.optional(.officers)
        policy = try section.optional(.policy)
        backup = try section.optional(.backup)
        escrow = try section.optional(.escrow)
        operators = try section.optional(.operators)
        healthAddress = try section.value(
            .healthAddress, default: NetworkAddress(host: "127.0.0.1", port: 9440))
        guard machineAccount.map({ UUIDText.isValid($0) }) ?? true else {
            throw section.problem(.machineAccount, "expected a UUID")
        }
        guard host == host.lowercased(), host.contains("."), !host.contains("/"), !host.contains(":") else {
            throw section.problem(.host, "expected a DNS name in lower case, such as kms.example.com")
        }
        guard policy == nil || officers != nil else {
            throw section.problem(.policy, "expected officers as well: they are whose signatures count")
        }
    }
}

/// Where the static key and its certificate come from.
package struct CertificateAnswers: Decodable, Sendable {
    /// A PKCS#12 file with both.
    package let container: FileLocation?
    /// Its passphrase, in a file of mode 0600; nil: the terminal is asked.
    package let passphrase: FileLocation?
    /// A private key in PEM; nil: one is made.
    package let privateKey: FileLocation?
    /// The chain in PEM; nil: a request for a certificate is written.
    package let chain: FileLocation?
    /// Of a key that is made.
    package let keyBits: Int
    /// Stands as O in the request.
    package let subjectOrganisation: String?

    package enum CodingKeys: String, CodingKey, CaseIterable {
        case container = "pkcs12"
        case passphrase = "pkcs12-passphrase"
        case privateKey = "private-key"
        case chain
        case keyBits = "key-bits"
        case subjectOrganisation = "subject-organisation"
    }

    package init() {
        (container, passphrase, privateKey, chain, keyBits, subjectOrganisation) = (nil, nil, nil, nil, 3072, nil)
    }

    package init(from decoder: any Decoder) throws {
        let section = try decoder.container(keyedBy: CodingKeys.self)
        container = try section.optional(.container)
        passphrase = try section.optional(.passphrase)
        privateKey = try section.optional(.privateKey)
        chain = try section.optional(.chain)
        keyBits = try section.value(.keyBits, default: 3072, in: 2048...4096)
        subjectOrganisation = try section.optional(.subjectOrganisation)
        guard container == nil || (privateKey == nil && chain == nil) else {
            throw section.problem(.container, "expected either pkcs12, or private-key and chain")
        }
        guard passphrase == nil || container != nil else {
            throw section.problem(.passphrase, "it belongs to pkcs12")
        }
    }
}

/// Where the master key comes from, and how it is kept.
package struct MasterKeyAnswers: Decodable, Sendable {
    package enum Keeping: String, NamedValue, Sendable {
        /// A file of mode 0600.
        case file
        /// Encrypted to this machine, its TPM where it has one (systemd-creds).
        case encrypted
    }

    /// One that the administrator brings; nil: one is made.
    package let from: FileLocation?
    /// Where a copy of a new one is put, on another disk.
    package let copy: FileLocation?
    /// Nil: encrypted where systemd can do it.
    package let keeping: Keeping?

    package enum CodingKeys: String, CodingKey, CaseIterable {
        case from, copy
        case keeping = "kept"
    }

    package init() { (from, copy, keeping) = (nil, nil, nil) }

    package init(from decoder: any Decoder) throws {
        let section = try decoder.container(keyedBy: CodingKeys.self)
        from = try section.optional(.from)
        copy = try section.optional(.copy)
        keeping = try section.optional(.keeping)
    }
}

package struct CoreAnswers: Decodable, Sendable {
    package let link: WebAddress
    package let authorities: FileLocation
    package let pins: [String]

    package enum CodingKeys: String, CodingKey, CaseIterable {
        case link
        case authorities = "ca"
        case pins
    }

    package init(from decoder: any Decoder) throws {
        let section = try decoder.container(keyedBy: CodingKeys.self)
        link = try section.value(.link)
        authorities = try section.value(.authorities)
        pins = try section.value(.pins, default: [])
        guard link.scheme == .wss else { throw section.problem(.link, "expected a wss:// address") }
    }
}

package struct AuthorizationAnswers: Decodable, Sendable {
    /// As tokens have it.
    package let issuer: WebAddress
    package let authorities: FileLocation
    package let clientID: String
    /// The secret of the service's account, in a file of mode 0600; nil: the terminal is asked.
    package let clientSecret: FileLocation?
    /// Nil: as hds-auth has them, below the issuer.
    package let keySet: WebAddress?
    package let tokenEndpoint: WebAddress?
    package let revocations: WebAddress?
    package let isCustomerControlled: Bool

    package enum CodingKeys: String, CodingKey, CaseIterable {
        case issuer
        case authorities = "ca"
        case clientID = "client-id"
        case clientSecret = "client-secret"
        case keySet = "jwks"
        case tokenEndpoint = "token-endpoint"
        case revocations
        case isCustomerControlled = "customer-controlled"
    }

    package init(from decoder: any Decoder) throws {
        let section = try decoder.container(keyedBy: CodingKeys.self)
        issuer = try section.value(.issuer)
        authorities = try section.value(.authorities)
        clientID = try section.value(.clientID, default: "hds-kms")
        clientSecret = try section.optional(.clientSecret)
        keySet = try section.optional(.keySet)
        tokenEndpoint = try section.optional(.tokenEndpoint)
        revocations = try section.optional(.revocations)
        isCustomerControlled = try section.value(.isCustomerControlled, default: true)
        guard issuer.scheme == .https, issuer.path.isEmpty else {
            throw section.problem(.issuer, "expected https://HOST:PORT without a slash at the end")
        }
    }
}

package struct StoreAnswers: Decodable, Sendable {
    /// Nil: a SQLite file.
    package let postgresql: PostgreSQLAnswers?

    package enum CodingKeys: String, CodingKey, CaseIterable { case postgresql }

    package init() { postgresql = nil }

    package init(from decoder: any Decoder) throws {
        let section = try decoder.container(keyedBy: CodingKeys.self)
        postgresql = try section.optional(.postgresql)
    }
}

package struct PostgreSQLAnswers: Decodable, Sendable {
    package let hosts: [String]
    package let database: String
    package let user: String
    /// In a file of mode 0600.
    package let password: FileLocation
    package let authorities: FileLocation

    package enum CodingKeys: String, CodingKey, CaseIterable {
        case hosts, database, user, password
        case authorities = "ca"
    }

    package init(from decoder: any Decoder) throws {
        let section = try decoder.container(keyedBy: CodingKeys.self)
        hosts = try section.value(.hosts)
        database = try section.value(.database, default: "hds")
        user = try section.value(.user, default: "hds-kms")
        password = try section.value(.password)
        authorities = try section.value(.authorities)
        guard !hosts.isEmpty else { throw section.problem(.hosts, "expected at least one") }
    }
}

package struct ProxyAnswers: Decodable, Sendable {
    package let address: WebAddress
    /// Of an https proxy.
    package let authorities: FileLocation?
    package let user: String?
    /// In a file of mode 0600.
    package let password: FileLocation?
    package let exceptions: [String]

    package enum CodingKeys: String, CodingKey, CaseIterable {
        case address
        case authorities = "ca"
        case user, password
        case exceptions = "except"
    }

    package init(from decoder: any Decoder) throws {
        let section = try decoder.container(keyedBy: CodingKeys.self)
        address = try section.value(.address)
        authorities = try section.optional(.authorities)
        user = try section.optional(.user)
        password = try section.optional(.password)
        exceptions = try section.value(.exceptions, default: [])
        guard (user == nil) == (password == nil) else {
            throw section.problem(.password, "expected user and password together, or neither")
        }
    }
}

/// The shares that are to be made when the service runs.
package struct EscrowAnswers: Decodable, Sendable {
    package let shares: Int
    package let needed: Int

    package enum CodingKeys: String, CodingKey, CaseIterable { case shares, needed }

    package init(from decoder: any Decoder) throws {
        let section = try decoder.container(keyedBy: CodingKeys.self)
        shares = try section.value(.shares, default: 5, in: 2...16)
        needed = try section.value(.needed, default: 3, in: 2...16)
        guard needed <= shares else { throw section.problem(.needed, "expected no more than shares") }
    }
}
