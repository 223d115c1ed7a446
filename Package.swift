// swift-tools-version: 6.2
import PackageDescription

/// Only for `deploy/fuzz`: the targets' code counts what it runs, and `hds-fuzz` is there.
let isFuzzing = Context.environment["HDS_FUZZ"] == "1"

/// Every target: Swift 6 language mode, strict concurrency, warnings are errors.
let settings: [SwiftSetting] =
    [
        .swiftLanguageMode(.v6),
        .enableUpcomingFeature("ExistentialAny"),
        .enableUpcomingFeature("MemberImportVisibility"),
        .enableUpcomingFeature("InternalImportsByDefault"),
        .enableUpcomingFeature("NonisolatedNonsendingByDefault"),
        .treatAllWarnings(as: .error),
    ] + (isFuzzing ? [.unsafeFlags(["-sanitize=fuzzer"])] : [])
/// The wrappers of C libraries: every unsafe expression is marked.
let wrapperSettings = settings + [.strictMemorySafety()]

// Third-party products, by the short name that the target lists below use.
let argumentParser: Target.Dependency = .product(name: "ArgumentParser", package: "swift-argument-parser")
let crypto: Target.Dependency = .product(name: "Crypto", package: "swift-crypto")
let grdb: Target.Dependency = .product(name: "GRDB", package: "GRDB.swift")
let sqlite: Target.Dependency = .product(name: "GRDBSQLite", package: "GRDB.swift")
let hummingbird: Target.Dependency = .product(name: "Hummingbird", package: "hummingbird")
let hummingbirdCore: Target.Dependency = .product(name: "HummingbirdCore", package: "hummingbird")
let httpTypes: Target.Dependency = .product(name: "HTTPTypes", package: "swift-http-types")
let lifecycle: Target.Dependency = .product(name: "ServiceLifecycle", package: "swift-service-lifecycle")
let logging: Target.Dependency = .product(name: "Logging", package: "swift-log")
let metrics: Target.Dependency = .product(name: "CoreMetrics", package: "swift-metrics")
let nioCore: Target.Dependency = .product(name: "NIOCore", package: "swift-nio")
let nioPosix: Target.Dependency = .product(name: "NIOPosix", package: "swift-nio")
let nioHTTP1: Target.Dependency = .product(name: "NIOHTTP1", package: "swift-nio")
let nioWebSocket: Target.Dependency = .product(name: "NIOWebSocket", package: "swift-nio")
let nioEmbedded: Target.Dependency = .product(name: "NIOEmbedded", package: "swift-nio")
let nioExtras: Target.Dependency = .product(name: "NIOExtras", package: "swift-nio-extras")
let nioHTTPTypes: Target.Dependency = .product(name: "NIOHTTPTypes", package: "swift-nio-extras")
let nioHTTPTypesHTTP1: Target.Dependency = .product(name: "NIOHTTPTypesHTTP1", package: "swift-nio-extras")
let unixSignals: Target.Dependency = .product(name: "UnixSignals", package: "swift-service-lifecycle")
let yams: Target.Dependency = .product(name: "Yams", package: "Yams")

func library(_ name: String, _ dependencies: [Target.Dependency] = []) -> Target {
    .target(name: name, dependencies: dependencies, swiftSettings: settings)
}

func wrapper(_ name: String, _ dependencies: [Target.Dependency]) -> Target {
    .target(name: name, dependencies: dependencies, swiftSettings: wrapperSettings)
}

func executable(_ name: String, _ dependencies: [Target.Dependency], path: String? = nil) -> Target {
    .executableTarget(name: name, dependencies: dependencies, path: path, swiftSettings: settings)
}

func tests(_ name: String, _ dependencies: [Target.Dependency]) -> Target {
    .testTarget(name: name, dependencies: dependencies + ["TestVectors"], swiftSettings: settings)
}

// The layers, lowest first. A target may import only what its line lists; `ArchitectureTests` holds every
// import in the sources against this table, follows it transitively and checks the trust walls.
var targets: [Target] = [
    // Layer 0: C
    .systemLibrary(name: "COpenSSL", pkgConfig: "openssl", providers: [.apt(["libssl-dev"])]),
    .systemLibrary(name: "CPKCS11", pkgConfig: "p11-kit-1", providers: [.apt(["libp11-kit-dev"])]),
    .systemLibrary(name: "CSystemd", pkgConfig: "libsystemd", providers: [.apt(["libsystemd-dev"])]),
    .systemLibrary(name: "CSeccomp", pkgConfig: "libseccomp", providers: [.apt(["libseccomp-dev"])]),
    .systemLibrary(name: "CArchive", pkgConfig: "libarchive", providers: [.apt(["libarchive-dev"])]),
    .systemLibrary(name: "CXML", pkgConfig: "libxml-2.0", providers: [.apt(["libxml2-dev"])]),
    .systemLibrary(name: "CPostgreSQL", pkgConfig: "libpq", providers: [.apt(["libpq-dev"])]),
    .systemLibrary(name: "CLDAP", pkgConfig: "ldap", providers: [.apt(["libldap-dev"])]),
    .systemLibrary(name: "CStemmer", providers: [.apt(["libstemmer-dev"])]),

    // Layer 1: foundations, no word of the domain
    library("Diagnostics"),
    library("WireText", ["Diagnostics"]),
    wrapper("SecretMemory", ["COpenSSL"]),
    wrapper("Cryptography", ["SecretMemory", "Diagnostics", "WireText", "COpenSSL"]),
    wrapper("Confinement", ["CSeccomp"]),
    library("ChildProcess"),
    wrapper("Encryption", ["Cryptography", "SecretMemory", "Diagnostics", "COpenSSL"]),
    library("PostQuantum", ["Encryption", "Cryptography", "SecretMemory", "Diagnostics", crypto]),
    wrapper("Stemming", ["CStemmer"]),
    wrapper("ContentInspection", ["Diagnostics"]),
    library("TextAnalysis", ["Stemming", "WireText", "Diagnostics"]),

    // Layer 2: protocols, bytes in and values out
    library("JOSESignature", ["Cryptography", "WireText", "Diagnostics"]),
    library(
        "JOSEEncryption", ["JOSESignature", "Encryption", "Cryptography", "SecretMemory", "WireText", "Diagnostics"]),
    library(
        "KMSProtocol",
        [
            "PostQuantum", "JOSEEncryption", "JOSESignature", "Encryption", "Cryptography", "SecretMemory", "WireText",
            "Diagnostics",
        ]),
    library("LinkProtocol", ["WireText", "Diagnostics"]),
    library("NodeList", ["JOSESignature", "Cryptography", "WireText", "Diagnostics"]),
    library("Introspection", ["WireText", "Diagnostics"]),
    library("SearchProtocol", ["WireText", "Diagnostics"]),
    library("ICalendar", ["Diagnostics"]),
    library("CalendarTime", ["ICalendar", "Diagnostics"]),
    library("SearchMatching", ["SearchProtocol", "Cryptography", "Diagnostics"]),

    // Layer 3: transport and persistence
    wrapper("TLSChannel", ["Cryptography", "WireText", "Diagnostics", "COpenSSL", nioCore]),
    library("WebSocketChannel", ["TLSChannel", "Diagnostics", nioCore]),
    library(
        "HTTPClient",
        [
            "WebSocketChannel", "TLSChannel", "Cryptography", "WireText", "Diagnostics", nioCore, nioPosix, nioHTTP1,
            nioWebSocket,
        ]),
    library("IssuerKeys", ["HTTPClient", "JOSESignature", "WireText", "Diagnostics"]),
    library(
        "HTTPServer",
        [
            "WebSocketChannel", "TLSChannel", "WireText", "Diagnostics", hummingbird, hummingbirdCore, httpTypes,
            nioCore, nioPosix, nioHTTP1, nioWebSocket, nioHTTPTypes, nioHTTPTypesHTTP1, logging, lifecycle,
        ]),
    library(
        "CoreLink",
        [
            "HTTPClient", "WebSocketChannel", "TLSChannel", "LinkProtocol", "Cryptography", "WireText", "Diagnostics",
            nioCore, lifecycle,
        ]),
    library("CalendarBackend", ["ICalendar", "WireText", "Diagnostics"]),
    wrapper("CalendarXML", ["CalendarBackend", "CXML"]),
    library(
        "CalendarTransport",
        ["CalendarBackend", "HTTPClient", "TLSChannel", "WireText", "Diagnostics", nioCore, nioPosix]),
    library("CalendarTranslation", ["CalendarBackend", "CalendarTime", "ICalendar", "WireText", "Diagnostics"]),
    library(
        "CalDAVClient",
        ["CalendarBackend", "CalendarTransport", "CalendarXML", "HTTPClient", "ICalendar", "WireText", "Diagnostics"]),
    library(
        "GraphClient",
        [
            "CalendarBackend", "CalendarTransport", "CalendarTranslation", "CalendarTime", "HTTPClient", "WireText",
            "Diagnostics",
        ]),
    library(
        "ExchangeClient",
        [
            "CalendarBackend", "CalendarTransport", "CalendarTranslation", "CalendarXML", "CalendarTime", "HTTPClient",
            "WireText", "Diagnostics",
        ]),
    library(
        "GoogleCalendarClient",
        [
            "CalendarBackend", "CalendarTransport", "CalendarTranslation", "CalendarTime", "ICalendar", "HTTPClient",
            "JOSESignature", "Cryptography", "WireText", "Diagnostics",
        ]),
    library("DirectoryModel", ["WireText", "Diagnostics", grdb]),
    library("DomainPolicy", ["WireText", "Diagnostics"]),
    wrapper("LDAPDirectory", ["DirectoryModel", "WireText", "Diagnostics", "CLDAP"]),
    library("KeyStore", ["WireText", "Diagnostics"]),
    library("KeyStoreSQLite", ["KeyStore", "WireText", "Diagnostics", grdb, sqlite]),
    wrapper("PostgreSQLClient", ["Diagnostics", "CPostgreSQL"]),
    library("KeyStorePostgreSQL", ["KeyStore", "PostgreSQLClient", "WireText", "Diagnostics"]),

    // Layer 4: domain
    library("CalendarSync", ["CalendarTime", "ICalendar", "Cryptography", "WireText", "Diagnostics"]),
    wrapper("DocumentText", ["CArchive", "CXML"]),
    library("TextExtraction", ["ChildProcess"]),
    library(
        "StoreMigration",
        [
            "KeyStore", "KeyStoreSQLite", "KeyStorePostgreSQL", "PostgreSQLClient", "Cryptography", "WireText",
            "Diagnostics",
        ]),
    library(
        "SiteFailover", ["KeyStore", "KeyStorePostgreSQL", "PostgreSQLClient", "WireText", "Diagnostics"]),
    library("AuditTrail", ["JOSESignature", "Cryptography", "SecretMemory", "WireText", "Diagnostics"]),
    library("Escrow", ["Encryption", "Cryptography", "SecretMemory", "WireText", "Diagnostics"]),
    library("MasterKey", ["Encryption", "Cryptography", "SecretMemory", "KeyStore", "WireText", "Diagnostics"]),
    library(
        "NodeEnrolment",
        [
            "NodeList", "MasterKey", "KeyStore", "Encryption", "Cryptography", "SecretMemory", "WireText",
            "Diagnostics",
        ]),
    wrapper("HardwareToken", ["MasterKey", "Cryptography", "SecretMemory", "WireText", "Diagnostics", "CPKCS11"]),
    library(
        "KeyManagement",
        [
            "AuditTrail", "SignedPolicy", "KMSClient", "KMSProtocol", "MasterKey", "KeyStore", "JOSEEncryption",
            "JOSESignature", "Introspection", "Cryptography", "SecretMemory", "WireText", "Diagnostics",
        ]),
    library(
        "Recovery",
        [
            "AuditTrail", "Escrow", "KeyManagement", "MasterKey", "KeyStore", "KeyStoreSQLite", "StoreMigration",
            "PostgreSQLClient", "Encryption", "Cryptography", "SecretMemory", "WireText", "Diagnostics",
        ]),
    library("SignedPolicy", ["JOSESignature", "Cryptography", "WireText", "Diagnostics"]),
    library(
        "PolicyFiles",
        ["SignedPolicy", "JOSESignature", "Cryptography", "SecretMemory", "WireText", "Diagnostics", yams]),
    library(
        "KMSClient",
        [
            "KMSProtocol", "PostQuantum", "JOSEEncryption", "JOSESignature", "Encryption", "Cryptography",
            "SecretMemory", "WireText", "Diagnostics",
        ]),
    library(
        "SearchIndexing",
        [
            "SearchProtocol", "TextAnalysis", "Encryption", "Cryptography", "SecretMemory", "WireText", "Diagnostics",
        ]),

    library("CalendarProtocol", ["KMSClient", "WireText", "Diagnostics"]),
    library("EDiscoveryModel", ["WireText"]),
    library("EDiscoveryCollection", ["EDiscoveryModel", "KMSClient", "WireText", "Diagnostics"]),
    wrapper("ZIPVolume", ["CArchive", "Diagnostics"]),
    library(
        "EDiscoveryExport",
        [
            "EDiscoveryModel", "ZIPVolume", "JOSEEncryption", "JOSESignature", "Encryption", "Cryptography",
            "SecretMemory", "WireText", "Diagnostics",
        ]),

    // Layer 5: runtime
    library(
        "ServiceRuntime",
        [
            "ChildProcess", "CSystemd", "TLSChannel", "Cryptography", "Diagnostics", "WireText", hummingbirdCore,
            httpTypes, nioCore,
            nioPosix, nioExtras, lifecycle, unixSignals, logging, yams,
        ]),

    library("DatabaseConfiguration", ["PostgreSQLClient", "ServiceRuntime", "Diagnostics"]),
    library("ControlSocket", ["WireText", "Diagnostics"]),

    // Beside: the cloud, the customer's authorization service, the client
    library(
        "CloudCore",
        [
            "LinkProtocol", "NodeList", "SearchProtocol", "SearchMatching", "HTTPServer", "HTTPClient",
            "WebSocketChannel", "TLSChannel", "IssuerKeys",
            "JOSESignature",
            "Introspection", "Cryptography", "SecretMemory", "WireText", "Diagnostics", hummingbird, httpTypes, nioCore,
            grdb, logging,
            lifecycle,
        ]),
    library(
        "OIDCRelyingParty",
        ["IssuerKeys", "HTTPClient", "JOSESignature", "Cryptography", "WireText", "Diagnostics"]),
    wrapper(
        "SAMLServiceProvider", ["ChildProcess", "Cryptography", "WireText", "Diagnostics", "CXML"]),
    library(
        "SCIMServer",
        ["DirectoryModel", "Cryptography", "SecretMemory", "WireText", "Diagnostics", hummingbird, httpTypes, nioCore]),
    library(
        "TokenIssuer",
        [
            "OIDCRelyingParty", "SAMLServiceProvider", "DirectoryModel", "DomainPolicy", "JOSESignature",
            "Cryptography",
            "SecretMemory",
            "WireText", "Diagnostics", hummingbird, httpTypes, nioCore,
            grdb, lifecycle, yams,
        ]),
    library(
        "HDSClient",
        [
            "CalendarProtocol", "DomainPolicy", "KMSClient", "KMSProtocol", "HTTPClient", "WebSocketChannel",
            "TLSChannel",
            "Encryption", "Cryptography", "SecretMemory", "WireText", "Diagnostics", nioCore, nioPosix,
        ]),

    // Layer 6: what every linked service is put together from
    library(
        "LinkedService",
        [
            "KMSClient", "KMSProtocol", "ServiceRuntime", "CoreLink", "LinkProtocol", "HTTPClient", "IssuerKeys",
            "TLSChannel", "Encryption", "Cryptography", "SecretMemory", "WireText", "Diagnostics", lifecycle,
        ]),

    // Layer 7: executables, flags and wiring only
    library(
        "KMSService",
        [
            "ChildProcess", "LinkedService", "ServiceRuntime", "ControlSocket", "AuditTrail", "Introspection",
            "SignedPolicy",
            "KeyManagement",
            "KMSProtocol",
            "MasterKey", "HardwareToken", "KeyStore", "KeyStoreSQLite", "KeyStorePostgreSQL", "PostgreSQLClient",
            "DatabaseConfiguration", "Recovery", "Escrow", "SiteFailover", "CoreLink", "NodeList", "NodeEnrolment",
            "HTTPClient", "WebSocketChannel", "IssuerKeys", "TLSChannel", "LinkProtocol", "JOSESignature",
            "Cryptography", "SecretMemory",
            "WireText", "Diagnostics", lifecycle,
        ]),
    library(
        "IndexerService",
        [
            "LinkedService", "ControlSocket", "ServiceRuntime", "CoreLink", "LinkProtocol", "KMSClient", "KMSProtocol",
            "SearchIndexing",
            "SearchProtocol", "TextAnalysis", "TextExtraction", "Encryption", "Cryptography", "SecretMemory",
            "WireText",
            "Diagnostics", grdb, lifecycle,
        ]),
    library(
        "TranscodeService",
        [
            "LinkedService", "ServiceRuntime", "CoreLink", "LinkProtocol", "KMSClient", "KMSProtocol", "SearchProtocol",
            "TextExtraction", "SecretMemory", "WireText", "Diagnostics", lifecycle,
        ]),
    library(
        "APIService",
        [
            "LinkedService", "ServiceRuntime", "CoreLink", "LinkProtocol", "HDSClient", "KMSClient", "KMSProtocol",
            "HTTPServer", "Cryptography", "SecretMemory", "WireText", "Diagnostics", hummingbird, httpTypes, nioCore,
            lifecycle,
        ]),
    executable("hds-indexer", ["IndexerService", "ServiceRuntime", argumentParser]),
    library(
        "EDiscoveryService",
        [
            "EDiscoveryCollection", "EDiscoveryModel", "LinkedService", "ServiceRuntime", "CoreLink", "LinkProtocol",
            "SearchProtocol", "KMSClient", "KMSProtocol", "Encryption", "Cryptography", "SecretMemory", "WireText",
            "Diagnostics", "EDiscoveryExport", "JOSESignature", "HTTPServer", "ContentInspection", "HTTPClient",
            "TLSChannel", "PostgreSQLClient", "DatabaseConfiguration", grdb, lifecycle, hummingbird,
            httpTypes,
            nioCore, nioPosix,
        ]),
    executable(
        "hds-ediscovery",
        ["EDiscoveryService", "APIService", "TranscodeService", "ServiceRuntime", argumentParser]),
    library(
        "CalendarService",
        [
            "CalendarSync", "CalendarTime", "CalendarBackend", "CalDAVClient", "GraphClient", "GoogleCalendarClient",
            "ExchangeClient", "CalendarTransport", "CalendarProtocol", "ICalendar", "LinkedService",
            "DatabaseConfiguration", "ControlSocket", "ServiceRuntime", "CoreLink", "LinkProtocol",
            "HTTPClient", "TLSChannel", "KMSClient", "KMSProtocol", "PostgreSQLClient", "Encryption", "Cryptography",
            "SecretMemory", "WireText", "Diagnostics", grdb, lifecycle,
        ]),
    executable("hds-calendar", ["CalendarService", "ServiceRuntime", argumentParser]),
    library(
        "Provisioning",
        [
            "ChildProcess", "KMSService", "ServiceRuntime", "ControlSocket", "KMSProtocol", "MasterKey", "Cryptography",
            "SecretMemory", "WireText", "Diagnostics",
        ]),
    executable("hds-kms", ["KMSService", "ServiceRuntime", argumentParser]),
    executable(
        "hds-core",
        [
            "ServiceRuntime", "CloudCore", "SignedPolicy", "HTTPServer", "TLSChannel", "Cryptography", "Diagnostics",
            argumentParser,
        ]),
    executable(
        "hds-auth",
        [
            "ServiceRuntime", "ControlSocket", "DomainPolicy", "TokenIssuer", "OIDCRelyingParty", "SAMLServiceProvider",
            "DirectoryModel",
            "LDAPDirectory", "SCIMServer", "HTTPServer", "HTTPClient", "TLSChannel", "JOSESignature", "Cryptography",
            "WireText", "Diagnostics", argumentParser, lifecycle,
        ]),
    executable(
        "hdsctl",
        [
            "ChildProcess",
            "AuditTrail", "Recovery", "Escrow", "StoreMigration", "SiteFailover", "Provisioning", "KMSService",
            "ServiceRuntime",
            "HTTPClient", "NodeList", "NodeEnrolment", "EDiscoveryExport", "DatabaseConfiguration",
            "KeyManagement", "KeyStore",
            "PostgreSQLClient", "MasterKey",
            "HardwareToken", "ControlSocket", "PolicyFiles", "SignedPolicy", "JOSESignature", "Cryptography",
            "SecretMemory", "WireText", "Diagnostics", argumentParser,
        ]),
    executable("hds-extract", ["TextExtraction", "DocumentText", "Confinement"]),
    executable(
        "hds", ["HDSClient", "CalendarProtocol", "WireText", "Diagnostics", argumentParser, "KMSClient"]),
    executable(
        "hds-bench",
        [
            "AuditTrail", "KeyManagement", "KMSProtocol", "MasterKey", "KeyStore", "KeyStoreSQLite",
            "KeyStorePostgreSQL", "PostgreSQLClient", "StoreMigration", "LinkProtocol", "CoreLink", "HTTPClient",
            "Diagnostics",
            "HTTPServer", "WebSocketChannel", "TLSChannel", "JOSEEncryption", "JOSESignature", "Encryption",
            "Cryptography",
            "SecretMemory", "WireText", "SearchIndexing", "SearchProtocol", "TextAnalysis", "EDiscoveryService",
            "CalendarService", "CalendarBackend",
            "KMSClient", "LinkedService", argumentParser, hummingbird,
            httpTypes, lifecycle, logging, sqlite, "TestVectors",
        ], path: "Benchmarks/hds-bench"),
]

// Tests. `TestVectors` finds vectors and real corpora beside the checkout and skips with a clear line; `TestServers` is
// what tests with real sockets share.
targets += [
    .target(
        name: "TestServers",
        dependencies: [
            "TLSChannel", "PostgreSQLClient", "Cryptography", "SecretMemory", "WireText", nioCore, nioPosix, logging,
            lifecycle,
        ],
        path: "Tests/TestServers", swiftSettings: settings),
    .target(
        name: "StoreScript", dependencies: ["KeyStore", "WireText"], path: "Tests/StoreScript",
        swiftSettings: settings),
    executable(
        "store-driver", ["StoreScript", "KeyStore", "KeyStoreSQLite", "KeyStorePostgreSQL", "PostgreSQLClient"],
        path: "Tests/store-driver"),
    .target(
        name: "Simulation",
        dependencies: [
            "KMSService", "LinkedService", "CoreLink", "CloudCore", "LinkProtocol", "WebSocketChannel", "TLSChannel",
            "ServiceRuntime",
            "KeyManagement", "KMSClient", "KMSProtocol", "MasterKey", "KeyStore", "JOSEEncryption", "Cryptography",
            "SecretMemory", "WireText", "Diagnostics", nioCore, "TestServers",
        ], path: "Tests/Simulation", swiftSettings: settings),
    executable("confinement-probe", ["Confinement"], path: "Tests/confinement-probe"),
    executable("simulator", ["Simulation", argumentParser], path: "Tests/simulator"),
    .target(name: "TestVectors", dependencies: ["WireText"], path: "Tests/TestVectors", swiftSettings: settings),
    tests("WireTextTests", ["WireText", "Diagnostics"]),
    tests("ICalendarTests", ["ICalendar", "Diagnostics", "TestServers"]),
    tests(
        "CalendarBackendTests",
        [
            "CalendarBackend", "CalendarTransport", "CalendarTranslation", "CalendarXML", "CalDAVClient", "GraphClient",
            "ExchangeClient", "CalendarSync", "CalendarService",
            "GoogleCalendarClient",
            "CalendarTime", "HTTPClient", "TLSChannel", "ICalendar", "JOSESignature", "Cryptography", "SecretMemory",
            "WireText",
            "Diagnostics", nioCore, nioPosix, nioHTTP1,
            "TestServers",
        ]),
    tests(
        "CalendarProtocolTests",
        ["CalendarProtocol", "KMSClient", "Cryptography", "SecretMemory", "WireText", "Diagnostics"]),
    tests(
        "CalendarServiceTests",
        [
            "CalendarService", "CalendarProtocol", "CalendarSync", "CalendarTime", "CalendarBackend", "ICalendar",
            "KMSClient", "KMSProtocol", "LinkedService", "ServiceRuntime", "PostgreSQLClient", "Cryptography",
            "SecretMemory",
            "WireText", "Diagnostics", "TestServers",
        ]),
    tests("CalendarTimeTests", ["CalendarTime", "ICalendar", "Diagnostics", "TestServers"]),
    tests("CalendarSyncTests", ["CalendarSync", "CalendarTime", "ICalendar", "Diagnostics", "TestServers"]),
    tests(
        "PostQuantumTests", ["PostQuantum", "SecretMemory", "Cryptography", "Encryption", "WireText", "Diagnostics"]),
    tests("CryptographyTests", ["SecretMemory", "Cryptography", "Encryption", "WireText", "Diagnostics"]),
    tests(
        "JOSETests",
        ["JOSESignature", "JOSEEncryption", "Encryption", "Cryptography", "SecretMemory", "WireText", "Diagnostics"]),
    tests(
        "KMSProtocolTests",
        [
            "KMSProtocol", "JOSESignature", "Encryption", "Cryptography", "SecretMemory", "WireText", "Diagnostics",
        ]),
    tests(
        "TransportTests",
        [
            "TLSChannel", "WebSocketChannel", "HTTPClient", "HTTPServer", "Cryptography", "WireText", "Diagnostics",
            hummingbird, httpTypes, nioCore, nioPosix, nioHTTP1, nioEmbedded, logging, lifecycle, "TestServers",
        ]),
    tests(
        "LinkTests",
        [
            "CoreLink", "LinkProtocol", "HTTPClient", "HTTPServer", "WebSocketChannel", "TLSChannel", "Cryptography",
            "WireText", "Diagnostics", hummingbird, nioCore, "TestServers",
        ]),
    tests(
        "KeyStoreTests",
        [
            "KeyStore", "KeyStoreSQLite", "KeyStorePostgreSQL", "PostgreSQLClient", "StoreMigration", "KMSService",
            "DatabaseConfiguration", "ServiceRuntime", "WireText", "Diagnostics", grdb, "TestServers", "StoreScript",
            // Started as a process.
            "store-driver",
        ]),
    tests(
        "SiteFailoverTests",
        [
            "SiteFailover", "KeyStore", "KeyStorePostgreSQL", "PostgreSQLClient", "WireText", "Diagnostics",
            "TestServers",
        ]),
    tests(
        "MasterKeyTests",
        ["MasterKey", "KeyStore", "KeyStoreSQLite", "Cryptography", "SecretMemory", "WireText", "Diagnostics"]),
    tests(
        "KeyManagementTests",
        [
            "AuditTrail", "SignedPolicy", "KeyManagement", "KMSClient", "KMSProtocol", "MasterKey", "KeyStore",
            "KeyStoreSQLite", "KeyStorePostgreSQL", "PostgreSQLClient", "JOSEEncryption", "JOSESignature",
            "PostQuantum", "Encryption", "Cryptography", "SecretMemory", "WireText", "Diagnostics", grdb,
            "StoreMigration",
            "TestServers",
        ]),
    tests(
        "ServiceRuntimeTests",
        [
            "ChildProcess", "ServiceRuntime", "TLSChannel", "Cryptography", "SecretMemory", "Diagnostics", "WireText",
            nioPosix,
            logging, lifecycle, "TestServers",
        ]),
    tests(
        "HardwareTokenTests",
        [
            "HardwareToken", "MasterKey", "KeyStore", "Cryptography", "SecretMemory", "WireText", "Diagnostics",
            "TestServers",
        ]),
    tests(
        "RecoveryTests",
        [
            "AuditTrail", "SignedPolicy", "Recovery", "Escrow", "KeyManagement", "MasterKey", "KeyStore",
            "KeyStoreSQLite", "Cryptography",
            "SecretMemory", "WireText", "Diagnostics", "TestServers",
        ]),
    tests(
        "NodeEnrolmentTests",
        [
            "NodeEnrolment", "NodeList", "MasterKey", "KeyStore", "KeyStoreSQLite", "JOSESignature", "Cryptography",
            "SecretMemory", "WireText", "Diagnostics", "TestServers",
        ]),
    tests("EscrowTests", ["Escrow", "Cryptography", "SecretMemory", "WireText", "Diagnostics"]),
    tests(
        "SignedPolicyTests",
        [
            "SignedPolicy", "PolicyFiles", "JOSESignature", "Cryptography", "SecretMemory", "WireText", "Diagnostics",
            "TestServers",
        ]),
    tests(
        "ControlSocketTests",
        [
            // hdsctl is started as a process.
            "hdsctl", "ControlSocket", "SignedPolicy", "WireText", "Diagnostics",
            "TestServers",
        ]),
    tests(
        "KMSServiceTests",
        [
            "KMSService", "LinkedService", "CoreLink", "LinkProtocol", "TLSChannel", "ServiceRuntime", "ControlSocket",
            "AuditTrail",
            "SignedPolicy", "KeyManagement", "MasterKey", "NodeList", "NodeEnrolment", "SecretMemory",
            "KMSProtocol", "KeyStore", "HTTPServer", "HTTPClient", "JOSESignature", "Cryptography", "WireText",
            "Diagnostics", hummingbird, nioCore, nioPosix, "TestServers", "Escrow", "Recovery",
            "KeyStoreSQLite", "SiteFailover",
        ]),
    tests(
        "ProvisioningTests",
        [
            "Provisioning", "LinkedService", "KMSService", "DatabaseConfiguration", "ServiceRuntime", "MasterKey",
            "Cryptography", "SecretMemory", "WireText",
            "Diagnostics", "TestServers",
        ]),
    tests(
        "ProviderLoginTests",
        [
            "OIDCRelyingParty", "SAMLServiceProvider", "TokenIssuer", "HTTPServer", "HTTPClient", "TLSChannel",
            "JOSESignature", "Cryptography", "SecretMemory", "WireText", "Diagnostics", httpTypes, logging, lifecycle,
            "TestServers",
        ]),
    tests(
        "TokenIssuerTests",
        [
            "TokenIssuer", "DirectoryModel", "HTTPServer", "HTTPClient", "TLSChannel", "JOSESignature",
            "Cryptography", "WireText",
            "Diagnostics", httpTypes, logging, lifecycle, "TestServers",
        ]),
    tests(
        "DirectoryTests",
        [
            "DirectoryModel", "LDAPDirectory", "SCIMServer", "TokenIssuer", "HTTPServer", "HTTPClient", "TLSChannel",
            "JOSESignature", "Cryptography", "WireText", "Diagnostics", httpTypes, hummingbird, nioCore, logging,
            lifecycle, "TestServers",
        ]),
    tests(
        "CloudCoreTests",
        [
            "CloudCore", "NodeList", "Introspection", "SearchProtocol", "SearchMatching", "LinkProtocol", "CoreLink",
            "HTTPServer", "HTTPClient",
            "WebSocketChannel",
            "TLSChannel",
            "JOSESignature", "Cryptography", "WireText", "Diagnostics", hummingbird, httpTypes, lifecycle, nioCore,
            grdb,
            "TestServers", "SearchIndexing", "TextAnalysis", "SecretMemory",
        ]),
    tests(
        "HDSClientTests",
        [
            "HDSClient", "CalendarProtocol", "DomainPolicy", "KMSClient", "KMSProtocol", "TLSChannel", "JOSEEncryption",
            "JOSESignature", "Encryption", "Cryptography", "SecretMemory", "WireText", "Diagnostics",
            // The servers that the client is tried against.
            "TokenIssuer", "DirectoryModel", "CloudCore", "CoreLink", "LinkProtocol", "HTTPServer", "HTTPClient",
            nioCore, nioPosix,
            "TestServers",
        ]),
    tests(
        "AuditTrailTests",
        ["AuditTrail", "JOSESignature", "Cryptography", "WireText", "Diagnostics", "TestServers"]),
    tests("TextAnalysisTests", ["TextAnalysis", "Stemming", "WireText", "Diagnostics", "TestServers"]),
    tests(
        "SearchIndexingTests",
        [
            "SearchIndexing", "SearchMatching", "SearchProtocol", "TextAnalysis", "Cryptography", "SecretMemory",
            "WireText", "Diagnostics", "TestServers",
        ]),
    tests(
        "IndexerServiceTests",
        [
            "IndexerService", "LinkedService", "ServiceRuntime", "CoreLink", "LinkProtocol", "KMSClient", "KMSProtocol",
            "SearchIndexing", "SearchProtocol", "TextAnalysis", "SecretMemory", "WireText", "Diagnostics",
            "TestServers", "SearchMatching", "Cryptography", "ControlSocket",
        ]),
    .testTarget(
        name: "TextExtractionTests",
        dependencies: [
            "TextExtraction", "ChildProcess",
            // Started as processes.
            "hds-extract", "confinement-probe",
        ], exclude: ["Documents", "Readers"], swiftSettings: settings),
    tests("SimulationTests", ["Simulation", "TestServers"]),
    tests("ArchitectureTests", ["TestServers"]),
    tests("ContentInspectionTests", ["ContentInspection", "Diagnostics", "TestServers"]),
    tests(
        "EDiscoveryCollectionTests",
        [
            "EDiscoveryService", "EDiscoveryCollection", "EDiscoveryModel", "LinkedService", "KMSClient", "KMSProtocol",
            "ServiceRuntime", "HTTPServer", "ContentInspection", "JOSESignature", "Cryptography", "SecretMemory",
            "WireText", "Diagnostics", "PostgreSQLClient",
            "TestServers", grdb, nioCore, nioPosix,
        ]),
    .testTarget(
        name: "EDiscoveryExportTests",
        dependencies: [
            "EDiscoveryExport", "EDiscoveryModel", "ZIPVolume", "JOSEEncryption", "JOSESignature", "Encryption",
            "Cryptography", "SecretMemory", "WireText", "Diagnostics", "TestServers", "TestVectors",
            // Started as a process.
            "hdsctl",
        ], exclude: ["Readers"], swiftSettings: settings),
    tests(
        "StoryTests",
        [
            // The programs are started as processes: they have to be built before the tests run.
            "hds", "hds-kms", "hds-core", "hds-auth", "hds-indexer", "hds-ediscovery", "hds-calendar", "hds-extract",
            "hdsctl", "CalDAVClient", "CalendarBackend",
            "AuditTrail", "HDSClient", "KMSClient", "KMSProtocol", "KMSService", "IndexerService", "ServiceRuntime",
            "EDiscoveryExport", "CalendarProtocol", "CoreLink", "LinkProtocol", "LinkedService", "PostgreSQLClient",
            "HTTPClient", "WebSocketChannel", "TLSChannel", "JOSEEncryption", "JOSESignature", "Cryptography",
            "SecretMemory", "WireText", "Diagnostics", "TestServers",
        ]),
]

if isFuzzing {
    targets += [
        .systemLibrary(name: "CLibFuzzer", path: "Fuzz/CLibFuzzer"),
        .executableTarget(
            name: "hds-fuzz",
            dependencies: [
                "JOSESignature", "JOSEEncryption", "NodeList", "KMSProtocol", "LinkProtocol", "SearchProtocol",
                "ICalendar", "CalendarTime", "CalendarTranslation", "CalendarXML", "SAMLServiceProvider",
                "DocumentText",
                "EDiscoveryExport", "Encryption", "Cryptography", "SecretMemory", "WireText", "CLibFuzzer",
            ], path: "Fuzz/hds-fuzz", swiftSettings: settings,
            linkerSettings: [.unsafeFlags(["-sanitize=fuzzer", "-use-ld=lld"])]),
    ]
}

let package = Package(
    name: "hybrid-data-security",
    platforms: [.macOS(.v15)],
    dependencies: [
        .package(url: "https://github.com/apple/swift-argument-parser", exact: "1.8.2"),
        .package(url: "https://github.com/apple/swift-crypto", exact: "4.5.2"),
        .package(url: "https://github.com/apple/swift-http-types", exact: "1.8.0"),
        .package(url: "https://github.com/apple/swift-log", exact: "1.16.2"),
        .package(url: "https://github.com/apple/swift-metrics", exact: "2.13.0"),
        .package(url: "https://github.com/apple/swift-nio", exact: "2.101.2"),
        .package(url: "https://github.com/apple/swift-nio-extras", exact: "1.35.2"),
        .package(url: "https://github.com/groue/GRDB.swift", exact: "7.10.0"),
        .package(url: "https://github.com/hummingbird-project/hummingbird", exact: "2.28.1", traits: []),
        .package(url: "https://github.com/jpsim/Yams", exact: "6.2.2"),
        .package(url: "https://github.com/swift-server/swift-service-lifecycle", exact: "2.13.0"),
    ],
    targets: targets
)
