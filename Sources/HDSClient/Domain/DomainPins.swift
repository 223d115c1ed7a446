package import Cryptography
package import Diagnostics
import TLSChannel
import WireText

/// Holds what servers say now against what is pinned, and names both values where they differ (security model, rule 4).
package struct DomainPins: Sendable {
    let pinned: DomainProfile

    package init(_ pinned: DomainProfile) { self.pinned = pinned }

    /// Another profile for the same domain, from a file or from the authorization service.
    package func check(_ profile: DomainProfile) throws(DiagnosedError) {
        let differences = Self.differences(pinned, profile)
        guard let first = differences.first else { return }
        throw Self.changed(first.name, first.pinned, first.found)
    }

    /// What the authorization service says of its domain; it knows nothing of the trust in the core's certificate.
    package func check(_ document: DomainDocument) throws(DiagnosedError) {
        try check("domain", pinned.domain, document.domain)
        try check("authorization server", pinned.issuer, document.issuer)
        try check("KMS", pinned.kmsCluster, document.kmsCluster)
        try check("core", pinned.core, document.core)
        try check("roots of the KMS", Self.fingerprints(pinned.kmsRoots), Self.fingerprints(document.kmsRoots))
    }

    /// What the core says at the start: where its services are. They have to lie at the pinned core.
    package func check(_ bootstrap: Bootstrap) throws(DiagnosedError) {
        try check("authorization server", pinned.issuer, bootstrap.authorizationServer)
        try check("KMS", pinned.kmsCluster, bootstrap.kmsCluster)
        for url in bootstrap.services { try check(coreURL: url) }
    }

    /// Every URL that the core gives out has to lie at the pinned core: a token goes to nobody else.
    package func check(coreURL text: String) throws(DiagnosedError) {
        guard let address = WebAddress(text), let core = WebAddress(pinned.core) else {
            throw DiagnosedError(.urlInvalid, fault: .peer, "the core gives a malformed URL", found: text.loggable)
        }
        try check("core", core.origin, address.origin)
    }

    private func check(_ name: String, _ pinned: String, _ found: String) throws(DiagnosedError) {
        guard pinned == found else { throw Self.changed(name, pinned, found) }
    }

    package struct Difference: Sendable, Equatable {
        package let name: String
        package let pinned: String
        package let found: String
    }

    /// All differences, for showing them before a user decides on a new profile.
    package static func differences(_ pinned: DomainProfile, _ other: DomainProfile) -> [Difference] {
        let values: [(String, (DomainProfile) -> String)] = [
            ("domain", { $0.domain }), ("authorization server", { $0.issuer }),
            ("certificate of the authorization server", { describe($0.issuerTrust) }), ("core", { $0.core }),
            ("certificate of the core", { describe($0.coreTrust) }), ("KMS", { $0.kmsCluster }),
            ("roots of the KMS", { fingerprints($0.kmsRoots) }), ("client id", { $0.clientID }),
            ("hosts of meetings", { $0.joinHosts.sorted().joined(separator: ", ") }),
        ]
        return values.compactMap { name, value in
            value(pinned) == value(other) ? nil : Difference(name: name, pinned: value(pinned), found: value(other))
        }
    }

    package static func describe(_ trust: ServerTrust) -> String {
        let roots = trust.roots.isEmpty ? "any root of this machine" : fingerprints(trust.roots)
        return trust.pins.isEmpty
            ? roots : roots + " with pins " + trust.pins.map(\.text).sorted().joined(separator: ", ")
    }

    /// SHA-256 over the DER, in the form that certificate viewers show.
    package static func fingerprints(_ certificates: [Certificate]) -> String {
        certificates.map(fingerprint).sorted().joined(separator: ", ")
    }

    package static func fingerprint(_ certificate: Certificate) -> String {
        SHA256.hash(certificate.der).map { Hexadecimal.encode([$0]).uppercased() }.joined(separator: ":")
    }

    private static func changed(_ name: String, _ pinned: String, _ found: String) -> DiagnosedError {
        DiagnosedError(
            .domainChanged, fault: .peer, "the \(name) of your domain has changed", expected: pinned,
            found: String(found.prefix(1000)),
            hint: "nothing was sent; ask your administrator, and if it is right log in with the new profile file and "
                + "--replace-profile")
    }
}

/// `GET /.well-known/hds-domain` of the authorization service: the customer's own word on where everything is.
package struct DomainDocument: Sendable, Equatable {
    package let domain: String
    package let issuer: String
    package let kmsCluster: String
    package let kmsRoots: [Certificate]
    package let core: String

    package init(json: [UInt8]) throws(DiagnosedError) {
        guard
            let root = try? JSONDocument(
                json, limits: .init(maximumDepth: 4, maximumNodes: 500, maximumBytes: 256 << 10)
            ).root,
            let domain = root["domain"]?.string, let issuer = root["issuer"]?.string,
            let cluster = root["kmsCluster"]?.string, let core = root["core"]?.string,
            let roots = root["kmsRoots"]?.strings
        else {
            throw DiagnosedError(
                .profileInvalid, fault: .peer, "the authorization service does not describe its domain",
                expected: "domain, issuer, kmsCluster, kmsRoots and core")
        }
        self.domain = domain.lowercased()
        self.issuer = issuer
        kmsCluster = cluster
        kmsRoots = try DomainProfile.certificates(roots, "kmsRoots")
        self.core = core.hasSuffix("/") ? String(core.dropLast()) : core
    }
}

/// `GET /bootstrap` of the core: where its services are.
package struct Bootstrap: Sendable, Equatable {
    package let authorizationServer: String
    package let kmsCluster: String
    package let encryption: String
    package let devices: String
    package let conversations: String
    package let files: String
    package let directory: String
    /// Nil: a core without search.
    package let search: String?
    /// Nil: a core without eDiscovery.
    package let ediscovery: String?
    /// Nil: a core without calendars.
    package let calendar: String?
    package let meetings: String?
    package let presence: String?
    /// Nil: a core without previews.
    package let previews: String?

    package var services: [String] {
        [encryption, devices, conversations, files, directory]
            + [search, ediscovery, calendar, meetings, presence, previews].compactMap { $0 }
    }

    package init(json: [UInt8]) throws(DiagnosedError) {
        guard
            let root = try? JSONDocument(
                json, limits: .init(maximumDepth: 4, maximumNodes: 500, maximumBytes: 64 << 10)
            ).root,
            let server = root["authorizationServer"]?.string, let cluster = root["kmsCluster"]?.string,
            let encryption = root["encryption"]?.string, let devices = root["devices"]?.string,
            let conversations = root["conversations"]?.string, let files = root["files"]?.string,
            let directory = root["directory"]?.string
        else {
            throw DiagnosedError(
                .cloudAnswer, fault: .peer, "the core does not say where its services are",
                expected: "encryption, devices, conversations, files and directory")
        }
        search = root["search"]?.string
        ediscovery = root["ediscovery"]?.string
        calendar = root["calendar"]?.string
        meetings = root["meetings"]?.string
        presence = root["presence"]?.string
        previews = root["previews"]?.string
        authorizationServer = server
        kmsCluster = cluster
        self.encryption = encryption
        self.devices = devices
        self.conversations = conversations
        self.files = files
        self.directory = directory
    }
}
