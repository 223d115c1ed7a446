/// The floor on which each module stands. Dependencies lead downwards or stay on the floor, never up.
enum Layers {
    static let floors: [[String]] = [
        ["COpenSSL", "CPKCS11", "CPostgreSQL", "CSystemd", "CStemmer", "CSeccomp", "CArchive", "CXML", "CLDAP"],
        [
            "Diagnostics", "WireText", "SecretMemory", "Cryptography", "Encryption", "PostQuantum", "Confinement",
            "ChildProcess",
            "Stemming",
            "TextAnalysis", "ContentInspection",
        ],
        [
            "JOSESignature", "JOSEEncryption", "KMSProtocol", "LinkProtocol", "NodeList", "Introspection",
            "SearchProtocol", "SearchMatching", "EDiscoveryModel", "ICalendar",
            "CalendarTime",
        ],
        [
            "TLSChannel", "WebSocketChannel", "HTTPClient", "HTTPServer", "IssuerKeys", "CoreLink", "KeyStore",
            "KeyStoreSQLite", "PostgreSQLClient", "KeyStorePostgreSQL", "CalendarBackend", "CalendarTransport",
            "CalendarTranslation",
            "CalendarXML", "CalDAVClient", "GraphClient", "GoogleCalendarClient", "ExchangeClient",
            "DirectoryModel", "DomainPolicy", "LDAPDirectory",
        ],
        [
            "AuditTrail", "Escrow", "HardwareToken", "StoreMigration", "SiteFailover", "MasterKey", "KeyManagement",
            "Recovery", "NodeEnrolment",
            "SignedPolicy",
            "PolicyFiles", "KMSClient", "CloudCore",
            "OIDCRelyingParty", "SAMLServiceProvider", "TokenIssuer", "SCIMServer", "HDSClient", "SearchIndexing",
            "DocumentText",
            "TextExtraction", "EDiscoveryCollection",
            "ZIPVolume", "EDiscoveryExport", "CalendarSync", "CalendarProtocol",
        ],
        ["ServiceRuntime", "ControlSocket"],
        ["LinkedService", "DatabaseConfiguration"],
        [
            "KMSService", "IndexerService", "EDiscoveryService", "CalendarService", "Provisioning", "TranscodeService",
            "APIService",
        ],
        [
            "hds-kms", "hds-indexer", "hds-calendar", "hds-ediscovery", "hds-core", "hds-auth", "hdsctl", "hds",
            "hds-extract",
            "hds-bench",
        ],
    ]
    /// Foundations and protocols: bytes in, values out.
    static let pure = Set(floors[1] + floors[2])

    static func floor(of module: String) -> Int? { floors.firstIndex { $0.contains(module) } }

    /// Every dependency that leads upwards or to a module without a floor, as a sentence.
    static func climbs(in graph: ModuleGraph, among targets: Set<String>) -> [String] {
        graph.modules.filter(targets.contains).flatMap { module -> [String] in
            guard let own = floor(of: module) else {
                return ["\(module) has no floor: decide for one in Layers.swift"]
            }
            return graph.edges[module, default: []].sorted().filter(targets.contains).compactMap { other in
                guard let floor = floor(of: other), floor > own else { return nil }
                return "\(module) (floor \(own)) -> \(other) (floor \(floor)): dependencies only lead downwards"
            }
        }
    }
}
