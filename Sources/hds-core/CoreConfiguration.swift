import ServiceRuntime

/// The configuration of `hds-core`: one YAML file. Relative paths start from the folder of the file.
///
/// ```yaml
/// # Host and port for clients and links. Needed.
/// listen: 127.0.0.1:8443
///
/// # The URL under which both reach it: it stands in every URL that the core hands out, so it may not change once
/// # files were shared. No path, no slash at the end. Needed.
/// public-url: https://core.example.net
///
/// # `certificate` is a PEM file: the server's own certificate first, then the intermediate ones. `private-key` is a
/// # PEM file of mode 0600, or credential:NAME under systemd. Both needed.
/// tls:
///   certificate: core.pem
///   private-key: core.key
///
/// # What the core keeps: a SQLite database, and a folder for uploaded files; both made when missing. Both needed.
/// store:
///   database: /var/lib/hds-core/core.sqlite
///   files: /var/lib/hds-core/files
///
/// # What signs the core's welcome on links (a P-256 private key, PEM of mode 0600, or credential:NAME): services behind a
/// # device that inspects TLS know the core by it, and pin its public key. Optional; without it nothing is signed.
/// link:
///   signing-key: link.key
///
/// # The customers. At least one is needed; of each everything but `pins`.
/// organisations:
///   # As the customer's tokens have it in `org`.
///   - id: example
///     # E-mail domains of its users, in lower case.
///     domains: [example.com]
///     # Base URL of its authorization service, for clients.
///     authorization-server: https://auth.example.com
///     # The issuer of its tokens, exactly as they have it in `iss`.
///     issuer: https://auth.example.com
///     # Where its public keys are.
///     jwks: https://auth.example.com/jwks.json
///     # PEM: the only certification authorities that are taken for that address.
///     ca: example-root.pem
///     # Public keys (sha256/BASE64) one of which must stand on the validated path. Optional: any path to `ca`.
///     pins: []
///     # The destination of its KMS: only a link with a token of this organisation can answer for it.
///     kms-cluster: kms://kms.example.com
///     # Ids of the organisations that it deals with. Optional; none by default.
///     partners: []
///     # Which nodes may link for it. Optional: without it every service with a good token may.
///     node-list:
///       # Its officers, as its KMS has them: those with the duty cluster sign the list of nodes.
///       officers: officers.json
///       # Whether nodes without a key of their own (older releases) are taken meanwhile; names on the list never are
///       # without their proof. Optional; no by default.
///       allow-unproven: false
///       # Whether nodes are taken behind devices that inspect TLS. Optional; no by default.
///       allow-inspected: false
///
/// # The most connections at a time, sockets included (16 to 1000000). Optional; this is the default.
/// maximum-connections: 10000
///
/// # How often both sides of a link send a sign of life (1s to 60s); after three missed ones the link has ended, and what
/// # it had not answered goes to another. Optional; this is the default.
/// link-heartbeat: 1s
///
/// # After how long messages are deleted, with their files (1d or more). Optional; without it they stay.
/// message-retention: 3650d
///
/// # How long items stay in the log that services follow (1h or more); a service that was away for longer misses some and is
/// # told so. Optional; without it they stay.
/// feed-retention: 90d
///
/// # Where meetings are met: the service whose rooms the core names (it carries no media itself). Optional.
/// meetings:
///   # Host of the join URLs, HOST or HOST:PORT. Optional; that of public-url by default.
///   host: meet.example.net
///   # The number to be dialled. Optional; none by default.
///   phone: "+49 30 1234567"
///
/// # Delivers metadata of conversations to webhooks that users register. Optional; without it none are taken.
/// webhooks:
///   # PEM: the certification authorities that receivers are judged by.
///   ca: /etc/ssl/certs/ca-certificates.crt
///   # Whether receivers may be on this machine or in a private network. Optional; no by default.
///   allow-private-addresses: false
///
/// # Health address, log, self-test, drain: the same for every service.
/// runtime:
///   health:
///     address: 127.0.0.1:9444
/// ```
struct CoreConfiguration: RuntimeConfiguration {
    let listen: NetworkAddress
    let publicURL: WebAddress
    let tls: ServerIdentitySection
    let store: StoreSection
    let link: LinkSection?
    let organisations: [OrganisationSection]
    let maximumConnections: Int
    let linkHeartbeat: Duration
    let messageRetention: Duration?
    let feedRetention: Duration?
    let meetings: MeetingsSection?
    let webhooks: WebhooksSection?
    let runtime: RuntimeSection

    enum CodingKeys: String, CodingKey, CaseIterable {
        case listen
        case publicURL = "public-url"
        case tls, store, link, organisations
        case maximumConnections = "maximum-connections"
        case linkHeartbeat = "link-heartbeat"
        case messageRetention = "message-retention"
        case feedRetention = "feed-retention"
        case meetings, webhooks
        case runtime
    }

    init(from decoder: any Decoder) throws {
        let section = try decoder.container(keyedBy: CodingKeys.self)
        listen = try section.value(.listen)
        publicURL = try section.value(.publicURL)
        guard publicURL.scheme == .https, publicURL.path.isEmpty, !publicURL.text.contains("?") else {
            throw section.problem(.publicURL, "expected https://HOST or https://HOST:PORT without a slash at the end")
        }
        tls = try section.value(.tls)
        store = try section.value(.store)
        link = try section.optional(.link)
        organisations = try section.value(.organisations)
        guard !organisations.isEmpty else { throw section.problem(.organisations, "at least one is needed") }
        for (name, values) in [
            ("id", organisations.map(\.id)), ("issuer", organisations.map(\.issuer)),
            ("kms-cluster", organisations.map(\.kmsCluster)), ("domains", organisations.flatMap(\.domains)),
        ] where Set(values).count != values.count {
            throw section.problem(.organisations, "\(name) has to be different for each organisation")
        }
        for organisation in organisations {
            let others = Set(organisations.map(\.id)).subtracting([organisation.id])
            guard others.isSuperset(of: organisation.partners) else {
                throw section.problem(
                    .organisations, "partners of \(organisation.id) has an id of no other organisation")
            }
        }
        maximumConnections = try section.value(.maximumConnections, default: 10_000, in: 16...1_000_000)
        linkHeartbeat = try section.value(.linkHeartbeat, default: .seconds(1), in: .seconds(1) ... .seconds(60))
        messageRetention = try section.optional(.messageRetention)
        guard messageRetention.map({ $0 >= .seconds(86_400) }) ?? true else {
            throw section.problem(.messageRetention, "expected 1d at least")
        }
        feedRetention = try section.optional(.feedRetention)
        guard feedRetention.map({ $0 >= .seconds(3600) }) ?? true else {
            throw section.problem(.feedRetention, "expected 1h at least")
        }
        meetings = try section.optional(.meetings)
        webhooks = try section.optional(.webhooks)
        runtime = try section.value(.runtime)
    }

    /// The service whose rooms the core names.
    struct MeetingsSection: Decodable, Sendable {
        let host: String?
        let phone: String?

        enum CodingKeys: String, CodingKey, CaseIterable { case host, phone }

        init(from decoder: any Decoder) throws {
            let section = try decoder.container(keyedBy: CodingKeys.self)
            host = try section.optional(.host)
            if let host {
                let parts = host.split(separator: ":", omittingEmptySubsequences: false)
                let isName = parts[0].utf8.allSatisfy { octet in
                    switch octet {
                    case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "0")...UInt8(ascii: "9"),
                        UInt8(ascii: "."),
                        UInt8(ascii: "-"):
                        true
                    default: false
                    }
                }
                guard isName, !parts[0].isEmpty, host.utf8.count <= 253, parts.count <= 2,
                    parts.count == 1 || UInt16(parts[1]) != nil
                else { throw section.problem(.host, "expected HOST or HOST:PORT in lower case") }
            }
            phone = try section.optional(.phone)
            guard
                phone.map({ (1...64).contains($0.utf8.count) && $0.utf8.allSatisfy { (0x20...0x7E).contains($0) } })
                    ?? true
            else { throw section.problem(.phone, "expected 1 to 64 printable characters") }
        }
    }

    /// How receivers of webhooks are judged.
    struct WebhooksSection: Decodable, Sendable {
        let authorities: FileLocation
        let allowsPrivateAddresses: Bool

        enum CodingKeys: String, CodingKey, CaseIterable {
            case authorities = "ca"
            case allowsPrivateAddresses = "allow-private-addresses"
        }

        init(from decoder: any Decoder) throws {
            let section = try decoder.container(keyedBy: CodingKeys.self)
            authorities = try section.value(.authorities)
            allowsPrivateAddresses = try section.value(.allowsPrivateAddresses, default: false)
        }
    }

    struct LinkSection: Decodable, Sendable {
        let signingKey: SecretLocation

        enum CodingKeys: String, CodingKey, CaseIterable { case signingKey = "signing-key" }
    }

    struct StoreSection: Decodable, Sendable {
        let database: FileLocation
        let files: FileLocation

        enum CodingKeys: String, CodingKey, CaseIterable { case database, files }
    }

    /// Where and as whom an authorization service is asked about opaque tokens.
    struct IntrospectionSection: Decodable, Sendable {
        let endpoint: WebAddress
        let clientID: String
        let clientSecret: SecretLocation
        let clusters: [String]

        enum CodingKeys: String, CodingKey, CaseIterable {
            case endpoint
            case clientID = "client-id"
            case clientSecret = "client-secret"
            case clusters = "token-clusters"
        }

        init(from decoder: any Decoder) throws {
            let section = try decoder.container(keyedBy: CodingKeys.self)
            endpoint = try section.value(.endpoint)
            guard endpoint.scheme == .https else { throw section.problem(.endpoint, "expected an https:// address") }
            clientID = try section.value(.clientID)
            clientSecret = try section.value(.clientSecret)
            clusters = try section.value(.clusters, default: [])
        }
    }

    /// Who says which nodes are taken.
    struct NodeListSection: Decodable, Sendable {
        let officers: FileLocation
        let allowsUnproven: Bool
        let allowsInspected: Bool

        enum CodingKeys: String, CodingKey, CaseIterable {
            case officers
            case allowsUnproven = "allow-unproven"
            case allowsInspected = "allow-inspected"
        }

        init(from decoder: any Decoder) throws {
            let section = try decoder.container(keyedBy: CodingKeys.self)
            officers = try section.value(.officers)
            allowsUnproven = try section.value(.allowsUnproven, default: false)
            allowsInspected = try section.value(.allowsInspected, default: false)
        }
    }

    struct OrganisationSection: Decodable, Sendable {
        let id: String
        let domains: [String]
        let authorizationServer: WebAddress
        let issuer: String
        let keySet: WebAddress
        let authorities: FileLocation
        let pins: [String]
        let kmsCluster: String
        let partners: [String]
        let introspection: IntrospectionSection?
        let nodeList: NodeListSection?

        enum CodingKeys: String, CodingKey, CaseIterable {
            case id, domains
            case authorizationServer = "authorization-server"
            case issuer
            case keySet = "jwks"
            case authorities = "ca"
            case pins
            case kmsCluster = "kms-cluster"
            case partners, introspection
            case nodeList = "node-list"
        }

        init(from decoder: any Decoder) throws {
            let section = try decoder.container(keyedBy: CodingKeys.self)
            id = try section.value(.id)
            guard !id.isEmpty, id.utf8.count <= 255 else { throw section.problem(.id, "expected 1 to 255 characters") }
            domains = try section.value(.domains)
            guard !domains.isEmpty, domains.allSatisfy({ !$0.isEmpty && $0 == $0.lowercased() && !$0.contains("@") })
            else { throw section.problem(.domains, "expected at least one domain in lower case, such as example.com") }
            authorizationServer = try section.value(.authorizationServer)
            issuer = try section.value(.issuer)
            keySet = try section.value(.keySet)
            guard keySet.scheme == .https, authorizationServer.scheme == .https else {
                throw section.problem(.keySet, "jwks and authorization-server are https:// addresses")
            }
            authorities = try section.value(.authorities)
            pins = try section.value(.pins, default: [])
            kmsCluster = try section.value(.kmsCluster)
            partners = try section.value(.partners, default: [])
            introspection = try section.optional(.introspection)
            nodeList = try section.optional(.nodeList)
            let host = kmsCluster.dropFirst("kms://".count)
            guard kmsCluster.hasPrefix("kms://"), !host.isEmpty, host == host.lowercased(), !host.contains("/") else {
                throw section.problem(.kmsCluster, "expected kms://HOST in lower case")
            }
        }
    }
}
