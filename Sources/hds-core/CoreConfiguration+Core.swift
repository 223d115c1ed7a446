import CloudCore
import Cryptography
import Diagnostics
import ServiceRuntime
import SignedPolicy
import TLSChannel

// From what the file says to what the core takes.
extension CoreConfiguration {
    func core(_ credentials: Credentials) throws -> CloudCoreConfiguration {
        var core = CloudCoreConfiguration(
            publicURL: publicURL.text, databasePath: store.database.path, filesPath: store.files.path,
            organisations: try organisations.map { try $0.organisation(credentials) },
            linkKey: try link.map { try $0.key(credentials) })
        core.heartbeatSeconds = linkHeartbeat.components.seconds
        core.messageSeconds = messageRetention?.components.seconds
        core.feedSeconds = feedRetention?.components.seconds
        if let host = meetings?.host { core.meetings.host = host }
        core.meetings.phone = meetings?.phone
        core.webhooks = try webhooks.map {
            CloudCoreConfiguration.Webhooks(
                trust: TLSTrust(roots: try $0.authorities.certificates()),
                allowsPrivateAddresses: $0.allowsPrivateAddresses)
        }
        return core
    }

    /// The host that clients and services ask for.
    var publicHost: String { publicURL.host }

    /// What a reload takes over.
    static let reloadable = [
        "tls", "link.signing-key", "organisations.ca", "organisations.pins", "organisations.introspection.client-id",
        "organisations.introspection.client-secret",
    ]
}

extension CoreConfiguration.LinkSection {
    fileprivate func key(_ credentials: Credentials) throws -> PrivateKey {
        let key = try credentials.withBytes(of: signingKey) { try PrivateKey(pem: $0) }
        guard key.publicKey.kind == .p256 else {
            throw DiagnosedError(
                "link-signing-key", fault: .configuration, "link.signing-key is of another kind",
                expected: "a P-256 private key in PEM",
                hint: "make one with: openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -out link.key")
        }
        return key
    }
}

extension CoreConfiguration.OrganisationSection {
    fileprivate func organisation(_ credentials: Credentials) throws -> CloudCoreConfiguration.Organisation {
        let pins = try pins.map { text in
            guard let pin = SPKIPin(text) else {
                throw DiagnosedError(
                    "pin-malformed", fault: .configuration, "pins of organisation \(id) has an entry that is no pin",
                    expected: "sha256/ and 44 base64 characters", found: String(text.prefix(80)),
                    hint: "make one with: openssl pkey -pubin -outform der | openssl dgst -sha256 -binary | base64")
            }
            return pin
        }
        var organisation = CloudCoreConfiguration.Organisation(
            id: id, domains: domains, authorizationServer: authorizationServer.text, issuer: issuer,
            jwksURL: keySet.text, kmsCluster: kmsCluster,
            trust: TLSTrust(roots: try authorities.certificates(), pins: pins), partners: partners,
            introspection: try introspection.map { section in
                CloudCoreConfiguration.Introspection(
                    url: section.endpoint.text, clientID: section.clientID,
                    secret: try credentials.text(of: section.clientSecret), clusters: Set(section.clusters))
            })
        organisation.nodes = try nodeList?.rules()
        return organisation
    }
}

extension CoreConfiguration.NodeListSection {
    fileprivate func rules() throws -> CloudCoreConfiguration.NodeRules {
        let roster = try OfficerRoster(json: Array(officers.text(upTo: OfficerRoster.maximumBytes).utf8))
        let signers = roster.officers.filter { $0.duties.contains(.cluster) }
        guard !signers.isEmpty else {
            throw DiagnosedError(
                "node-list-officers", fault: .configuration, "nobody in \(officers) may sign a list of nodes",
                expected: "an officer with the duty cluster", found: "\(roster.officers.count) others",
                hint: "enter the customer's officers as hdsctl officer create printed them")
        }
        return CloudCoreConfiguration.NodeRules(
            signers: Dictionary(signers.map { ($0.kid, $0.publicKey) }, uniquingKeysWith: { first, _ in first }),
            allowsUnproven: allowsUnproven, allowsInspected: allowsInspected)
    }
}
