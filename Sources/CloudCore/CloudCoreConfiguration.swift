package import Cryptography
package import Diagnostics
package import TLSChannel

/// What the core needs to know; the executable reads it from its file.
package struct CloudCoreConfiguration: Sendable {
    /// One customer: whose tokens are taken, and where its KMS is reached.
    package struct Organisation: Sendable {
        package var id: String
        /// Domains of e-mail addresses, lower case, that belong to it.
        package var domains: [String]
        /// Base URL of its authorization service, handed to clients.
        package var authorizationServer: String
        /// The `iss` of its tokens.
        package var issuer: String
        package var jwksURL: String
        /// The destination of its KMS: `kms://HOST`, lower case.
        package var kmsCluster: String
        /// What the authorization service's certificate is held against; nil only for `http` on loopback.
        package var trust: TLSTrust?
        /// Other organisations that it deals with; it counts where both name each other.
        package var partners: [String]
        /// Where its authorization service is asked about opaque tokens; nil: it takes JWTs only.
        package var introspection: Introspection?
        /// Which nodes of its services are taken; nil: all with a good token are.
        package var nodes: NodeRules?

        package init(
            id: String, domains: [String], authorizationServer: String, issuer: String, jwksURL: String,
            kmsCluster: String, trust: TLSTrust?, partners: [String] = [], introspection: Introspection? = nil
        ) {
            self.id = id
            self.domains = domains
            self.authorizationServer = authorizationServer
            self.issuer = issuer
            self.jwksURL = jwksURL
            self.kmsCluster = kmsCluster
            self.trust = trust
            self.partners = partners
            self.introspection = introspection
        }
    }

    /// How an authorization service is asked about opaque tokens of the audience `cloud` (RFC 7662).
    package struct Introspection: Sendable {
        package var url: String
        /// The core's own account there.
        package var clientID: String
        package var secret: Redacted<String>
        /// Second fields of the tokens that it knows; empty: any.
        package var clusters: Set<String>

        package init(url: String, clientID: String, secret: Redacted<String>, clusters: Set<String> = []) {
            self.url = url
            self.clientID = clientID
            self.secret = secret
            self.clusters = clusters
        }
    }

    /// The URL under which clients and services reach the core, without a slash at the end.
    package var publicURL: String
    package var databasePath: String
    package var filesPath: String
    package var organisations: [Organisation]
    /// Signs welcomes, so that a service behind TLS inspection can tell the core from whoever inspects: a P-256 key. Nil:
    /// nothing is signed.
    package var linkKey: PrivateKey?
    /// Both sides of a link send a sign of life at this interval; three missed ends it.
    package var heartbeatSeconds: Int64 = 1
    /// After so many seconds a message is deleted, with its files; nil: never.
    package var messageSeconds: Int64?
    /// After so many seconds an item is forgotten from the feeds; nil: never.
    package var feedSeconds: Int64?
    /// Where the rooms of meetings are.
    package var meetings: Meetings

    /// Where webhooks are delivered to; nil: none are taken.
    package var webhooks: Webhooks?

    package struct Webhooks: Sendable {
        /// Receivers are judged by it.
        package var trust: TLSTrust
        /// Whether addresses of private networks and of this machine are delivered to: for receivers beside a core of one's own.
        package var allowsPrivateAddresses: Bool

        package init(trust: TLSTrust, allowsPrivateAddresses: Bool = false) {
            (self.trust, self.allowsPrivateAddresses) = (trust, allowsPrivateAddresses)
        }
    }

    /// The service whose rooms the core gives out. The core names them; it carries no media.
    package struct Meetings: Sendable {
        /// `HOST` or `HOST:PORT` of the join URLs.
        package var host: String
        /// To be dialled into; nil: none.
        package var phone: String?
        /// What stands behind the `@` of a SIP address: no port.
        var sipDomain: String { String(host.prefix { $0 != ":" }) }

        package init(host: String, phone: String? = nil) {
            self.host = host
            self.phone = phone
        }
    }

    package init(
        publicURL: String, databasePath: String, filesPath: String, organisations: [Organisation],
        linkKey: PrivateKey? = nil
    ) {
        self.linkKey = linkKey
        self.publicURL = publicURL.hasSuffix("/") ? String(publicURL.dropLast()) : publicURL
        meetings = Meetings(host: self.publicURL.split(separator: "/").last.map(String.init) ?? "")
        self.databasePath = databasePath
        self.filesPath = filesPath
        self.organisations = organisations
    }

    func organisation(_ id: String) -> Organisation? { organisations.first { $0.id == id } }

    /// The organisations whose users this one's may meet, and whose KMS this one's may call: both name each other.
    func partners(of id: String) -> [Organisation] {
        guard let own = organisation(id) else { return [] }
        return organisations.filter { $0.id != id && own.partners.contains($0.id) && $0.partners.contains(id) }
    }

    /// By destination, which other destinations its service may call: a KMS those of partners and the clients of its users, a
    /// worker the KMS of its own organisation, an indexer or eDiscovery worker the core's search service, and a connector its
    /// calendar service.
    var callable: [String: Set<String>] {
        var callable: [String: Set<String>] = [:]
        for organisation in organisations {
            callable[organisation.kmsCluster] = Set(partners(of: organisation.id).map(\.kmsCluster))
                .union([ClientWords.destination])
            for kind in FeedHub.services.union(FeedHub.others) {
                var destinations: Set = [organisation.kmsCluster]
                if SearchService.kinds[kind] != nil { destinations.insert(SearchService.destination) }
                if kind == CalendarService.kind { destinations.insert(CalendarService.destination) }
                callable["\(kind)://\(organisation.id)"] = destinations
            }
        }
        return callable
    }

    /// What the core answers itself. A connector of an organisation whose id is `core` is reached by links as any other:
    /// nothing calls it.
    static let ownServices: Set = [SearchService.destination, CalendarService.destination, ClientWords.destination]

    /// Beside the database, for it can be made anew and needs no backup.
    var searchPath: String {
        (databasePath.hasSuffix(".sqlite") ? String(databasePath.dropLast(7)) : databasePath) + "-search.sqlite"
    }

    var admissions: [String: NodeAdmission] {
        Dictionary(
            organisations.compactMap { organisation in
                organisation.nodes.map {
                    (organisation.kmsCluster, NodeAdmission(organisation: organisation.id, rules: $0))
                }
            }, uniquingKeysWith: { first, _ in first })
    }

    /// The customer of an e-mail address, by its domain.
    func organisation(ofAddress address: String) -> Organisation? {
        let parts = address.split(separator: "@", omittingEmptySubsequences: false)
        guard parts.count == 2, !parts[0].isEmpty else { return nil }
        let domain = parts[1].lowercased()
        return organisations.first { $0.domains.contains(domain) }
    }
}
