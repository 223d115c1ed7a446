/// A line that no dependency may cross, with the reason that a failure tells.
struct TrustWall {
    enum Reach {
        /// Directly or through others.
        case transitive
        /// Only what the module itself imports or declares.
        case direct
    }

    /// Name of a module; a star at the end stands for any ending.
    typealias Pattern = String

    let reach: Reach
    /// The modules that the wall speaks of by name.
    let named: [Pattern]
    /// Who may not.
    let inside: @Sendable (String) -> Bool
    /// What they may not reach.
    let forbidden: [Pattern]
    let reason: String

    /// The named modules may not reach any of these.
    static func modules(_ names: Pattern..., neverReach forbidden: [Pattern], because reason: String) -> TrustWall {
        TrustWall(
            reach: .transitive, named: names, inside: { module in names.contains { matches(module, $0) } },
            forbidden: forbidden,
            reason: reason)
    }

    /// Tests under another name: both sides in one process, and the program that runs it for long.
    private static let tests: Set<String> = ["Simulation", "simulator"]

    /// Nobody but the named modules and tests may reach (or, directly, import) these.
    static func only(
        _ names: Pattern..., mayReach forbidden: [Pattern], _ reach: Reach = .transitive, because reason: String
    ) -> TrustWall {
        TrustWall(
            reach: reach, named: names,
            inside: { module in
                !module.hasSuffix("Tests") && !tests.contains(module)
                    && !(names + forbidden).contains { matches(module, $0) }
            }, forbidden: forbidden, reason: reason)
    }

    static func matches(_ module: String, _ pattern: Pattern) -> Bool {
        pattern.hasSuffix("*") ? module.hasPrefix(pattern.dropLast()) : module == pattern
    }

    /// Names that no module carries: such a wall would stand around nothing.
    func ghosts(in graph: ModuleGraph) -> [Pattern] {
        (named + forbidden).filter { pattern in !graph.edges.keys.contains { Self.matches($0, pattern) } }
    }

    /// Every crossing, as a sentence.
    func crossings(in graph: ModuleGraph) -> [String] {
        let everything = Set(graph.modules).union(graph.edges.values.joined())
        let targets = everything.filter { module in forbidden.contains { Self.matches(module, $0) } }.sorted()
        return graph.modules.filter(inside).flatMap { module in
            targets.compactMap { target in
                let way: String? =
                    switch reach {
                    case .transitive: graph.way(from: module, to: target)
                    case .direct: graph.edges[module]?.contains(target) == true ? "\(module) -> \(target)" : nil
                    }
                return way.map { "\($0): \(reason)" }
            }
        }
    }

    /// The walls of this project. Security model: rules 1 and 35; architecture: "Only ... import ...".
    static let all: [TrustWall] = [
        .modules(
            "CloudCore", "hds-core",
            neverReach: [
                "Encryption", "JOSEEncryption", "KMSProtocol", "KMSClient", "KeyStore*", "MasterKey", "KeyManagement",
                "TokenIssuer", "HDSClient", "SearchIndexing", "TextAnalysis", "Stemming",
            ],
            because: "the core is not trusted: nothing that it links may decrypt, hold a key or issue a token"),
        .only(
            "hds-auth", mayReach: ["TokenIssuer"],
            because: "who somebody is, only the customer's authorization service says"),
        .only(
            "hds-core", mayReach: ["CloudCore"],
            because: "the customer's side takes nothing from the cloud but its answers"),
        .modules(
            "TokenIssuer", "hds-auth", neverReach: ["KeyManagement", "KeyStore*", "MasterKey", "KMSClient"],
            because: "the service that says who somebody is holds no keys of messages"),
        .modules(
            "HDSClient", "hds", neverReach: ["KeyManagement", "KeyStore*", "MasterKey"],
            because: "a client knows the protocol, not the key store"),
        .modules(
            "IndexerService", "hds-indexer", neverReach: ["KeyManagement", "KeyStore*", "MasterKey", "KMSService"],
            because: "an indexer gets keys from the KMS, one by one, and never from its store"),
        .modules(
            "EDiscoveryService", "EDiscoveryCollection", "hds-ediscovery",
            neverReach: ["KeyManagement", "KeyStore*", "MasterKey", "KMSService"],
            because: "what collects for an officer gets each key from the KMS, which judges for whom"),
        .modules(
            "TranscodeService", "APIService", neverReach: ["KeyManagement", "KeyStore*", "MasterKey", "KMSService"],
            because: "what extends the product gets each key from the KMS, by consent, and never from its store"),
        .modules(
            "TranscodeService", neverReach: ["DocumentText", "HTTPServer", "HDSClient"],
            because: "a stranger's file is drawn in a confined process, for nobody but who asks over the link"),
        .modules(
            "LinkedService", neverReach: ["KeyManagement", "KeyStore*", "MasterKey", "KMSService"],
            because: "what every linked service shares must not bring the key store to services that only ask the KMS"),
        .modules(
            "AuditTrail", neverReach: ["MasterKey", "KeyManagement", "KeyStore*", "Encryption"],
            because: "who verifies a trail needs no key of messages, and the trail sees sealed texts only"),
        .modules(
            "KeyStore", "KeyStoreSQLite", "KeyStorePostgreSQL", "PostgreSQLClient",
            neverReach: ["Encryption", "Cryptography", "SecretMemory"],
            because: "a store sees sealed bytes only, so it has nothing to open them with"),
        .only(
            "SecretMemory", "Cryptography", "Encryption", "TLSChannel", mayReach: ["COpenSSL"], .direct,
            because: "C pointers of OpenSSL stay behind four wrappers; everybody else takes their types"),
        .modules(
            "TextAnalysis", "SearchProtocol", neverReach: ["Cryptography", "SecretMemory", "Encryption"],
            because: "words are analysed and entries are read without a key, so that neither can spend one"),
        .only(
            "Stemming", mayReach: ["CStemmer"], .direct, because: "C pointers of libstemmer stay behind one wrapper"),
        .only("ServiceRuntime", mayReach: ["CSystemd"], .direct, because: "systemd is spoken to in one place"),
        .only(
            "HardwareToken", mayReach: ["CPKCS11"], .direct,
            because: "C pointers of PKCS#11 stay behind one wrapper"),
        .only(
            "PostgreSQLClient", mayReach: ["CPostgreSQL"], .direct,
            because: "C pointers of libpq stay behind one wrapper"),
        .only(
            "Confinement", mayReach: ["CSeccomp"], .direct, because: "what a process gives up is decided in one place"),
        .only(
            "DocumentText", "ZIPVolume", mayReach: ["CArchive"], .direct,
            because: "C pointers of libarchive stay behind two wrappers: one reads, one writes"),
        .modules(
            "EDiscoveryExport", neverReach: ["KeyManagement", "KeyStore*", "MasterKey", "KMSClient", "HTTPClient"],
            because: "an export is made of what was collected, and is checked by anybody without a service"),
        .only(
            "DocumentText", "CalendarXML", "SAMLServiceProvider", mayReach: ["CXML"], .direct,
            because:
                "C pointers of libxml2 stay behind three wrappers: of documents, of calendar servers' answers, of assertions"
        ),
        .only(
            "TokenIssuer", "hds-auth", mayReach: ["SAMLServiceProvider", "OIDCRelyingParty"],
            because: "what a provider says of people counts at the authorization service and nowhere else"),
        .only(
            "LDAPDirectory", mayReach: ["CLDAP"], .direct, because: "C pointers of libldap stay behind one wrapper"),
        .only(
            "hds-auth", mayReach: ["LDAPDirectory"],
            because: "libldap brings a second library for TLS: it is in the one program that reads directories"),
        .modules(
            "DirectoryModel", "LDAPDirectory", "SCIMServer", neverReach: ["JOSESignature", "TokenIssuer", "KeyStore*"],
            because: "what reads strangers' directories decides over values: it signs nothing and issues no token"),
        .modules(
            "CalendarBackend", "CalDAVClient", "GraphClient", "GoogleCalendarClient", "ExchangeClient",
            neverReach: ["Encryption", "JOSEEncryption", "KMSProtocol", "KMSClient", "KeyStore*", "MasterKey"],
            because: "what speaks with a calendar server holds no key of a message"),
        .only(
            "hds-extract", mayReach: ["DocumentText"],
            because: "a stranger's document is opened in a confined process only, never in a service"),
        .modules(
            "hds-extract", "DocumentText", neverReach: ["Cryptography", "SecretMemory", "HTTPClient", "KeyStore*"],
            because: "who is taken over by a document finds no key and no network"),
        .modules(
            "CalendarSync", neverReach: ["HTTPClient", "KeyStore*", "MasterKey", "KMSClient", "Encryption"],
            because: "what reads strangers' invitations decides over values: it has no network and no key"),
        .only(
            "KeyManagement", "Recovery", "NodeEnrolment", "KMSService", "Provisioning", "HardwareToken", "hdsctl",
            "hds-bench",
            mayReach: ["MasterKey"], .direct,
            because: "what can open every record is in as few hands as possible"),
    ]
}
