import CloudCore
import Cryptography
import Diagnostics
import Glibc
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
        return core
    }

    func serverIdentity(_ credentials: Credentials) throws -> TLSServerIdentity {
        TLSServerIdentity(
            certificateChain: try CertificateFile.read(tls.certificate),
            privateKey: try credentials.withBytes(of: tls.privateKey) { try PrivateKey(pem: $0) })
    }

    /// What can not change while the service runs has to be what it was.
    func requireSameSettings(as running: CoreConfiguration) throws {
        let sections: [(name: String, isSame: Bool)] = [
            ("listen", listen == running.listen), ("public-url", publicURL == running.publicURL),
            ("tls", tls == running.tls), ("store", store == running.store),
            ("link", link == running.link), ("organisations", organisations == running.organisations),
            ("maximum-connections", maximumConnections == running.maximumConnections),
            ("link-heartbeat", linkHeartbeat == running.linkHeartbeat),
        ]
        let changed = sections.filter { !$0.isSame }.map(\.name)
        guard changed.isEmpty else {
            throw DiagnosedError(
                "reload-needs-restart", fault: .configuration,
                "\(changed.joined(separator: ", ")) can not change while the service runs",
                hint: "restart the service: clients and services connect again by themselves")
        }
    }
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
            trust: TLSTrust(roots: try CertificateFile.read(authorities), pins: pins), partners: partners,
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

/// PEM files with certificates.
private enum CertificateFile {
    private static let maximumBytes = 1 << 20

    static func read(_ file: FileLocation) throws -> [Certificate] {
        guard let text = contents(of: file.path) else {
            throw DiagnosedError(
                "certificate-unreadable", fault: .configuration, "the certificates in \(file) can not be read",
                expected: "a PEM file that the service's user can read", found: String(cString: strerror(errno)),
                hint: "check the path and the file's mode")
        }
        let certificates = try Certificate.all(inPEM: text)
        guard !certificates.isEmpty else {
            throw DiagnosedError(
                "certificate-file", fault: .configuration, "there is no certificate in \(file)",
                expected: "-----BEGIN CERTIFICATE-----")
        }
        return certificates
    }

    private static func contents(of path: String) -> String? {
        let descriptor = open(path, O_RDONLY | O_CLOEXEC)
        guard descriptor >= 0 else { return nil }
        defer { close(descriptor) }
        var bytes: [UInt8] = []
        var chunk = [UInt8](repeating: 0, count: 16 << 10)
        while bytes.count <= maximumBytes {
            let count = Glibc.read(descriptor, &chunk, chunk.count)
            guard count >= 0 else { return nil }
            guard count > 0 else { return String(validating: bytes, as: UTF8.self) }
            bytes += chunk[..<count]
        }
        return nil
    }
}
