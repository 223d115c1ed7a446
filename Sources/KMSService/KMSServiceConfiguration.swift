package import KeyManagement
package import LinkedService
package import ServiceRuntime

/// The configuration of `hds-kms`: one YAML file, every key documented in config/hds-kms.yaml.
package struct KMSServiceConfiguration: LinkedConfiguration {
    package static let kind = "kms"
    package static let accountPlace = "authorization.service-account"

    package let runtime: RuntimeSection
    /// Name of this node in the cluster, for the core and the log.
    package let node: String
    /// Id of the organisation that the KMS serves.
    package let organisation: String
    /// DNS name of the KMS, lower case: the host of every `kms:` URI. It never changes.
    package let host: String
    /// Id of the KMS's machine account, shown in its details document.
    package let machineAccount: String
    package let staticKey: StaticKeySection
    /// The key-encryption key.
    package let masterKey: MasterKeyLocation
    package let rootKey: RootKeySection
    package let store: StoreSection
    package let core: CoreSection
    /// Nil: connections go straight to their targets.
    package let proxy: ProxySection?
    package let authorization: AuthorizationSection
    package var account: ServiceAccountSection { authorization.service }
    package let policy: PolicySection
    package let audit: AuditSection
    /// Other organisations' KMSs; nil: none is asked or answered.
    package let federation: FederationSection?
    package let officers: OfficersSection
    package let control: ControlSection
    /// Nil: none can be made, and HDS-BACKUP-STALE stands.
    package let backup: BackupSection?
    package let rollback: RollbackSection
    package let drill: DrillSection
    /// Nil: `removals` beside the audit trail.
    package let journal: JournalSection?
    /// Threads that answer requests; 0 means one for each processor.
    package let workers: Int

    package enum CodingKeys: String, CodingKey, CaseIterable {
        case runtime, node, organisation, host
        case machineAccount = "machine-account"
        case staticKey = "static-key"
        case masterKey = "master-key"
        case masterKeyToken = "master-key-token"
        case rootKey = "root-key"
        case store, core, proxy, authorization, policy, audit, federation, officers, control, backup, rollback
        case drill, journal, workers
    }

    package init(from decoder: any Decoder) throws {
        let section = try decoder.container(keyedBy: CodingKeys.self)
        runtime = try section.value(.runtime)
        node = try section.value(.node)
        organisation = try section.value(.organisation)
        host = try section.value(.host)
        machineAccount = try section.value(.machineAccount)
        staticKey = try section.value(.staticKey)
        if let token: TokenSection = try section.optional(.masterKeyToken) {
            guard !section.contains(.masterKey) else {
                throw section.problem(.masterKeyToken, "expected either master-key or master-key-token, found both")
            }
            masterKey = .token(token)
        } else {
            masterKey = .secret(try section.value(.masterKey))
        }
        rootKey = try section.value(.rootKey, default: RootKeySection())
        store = try section.value(.store)
        core = try section.value(.core)
        proxy = try section.optional(.proxy)
        authorization = try section.value(.authorization)
        policy = try section.value(.policy, default: PolicySection())
        audit = try section.value(.audit, default: AuditSection())
        federation = try section.optional(.federation)
        officers = try section.value(.officers, default: OfficersSection())
        control = try section.value(.control, default: ControlSection())
        backup = try section.optional(.backup)
        rollback = try section.value(.rollback, default: RollbackSection())
        drill = try section.value(.drill, default: DrillSection())
        journal = try section.optional(.journal)
        workers = try section.value(.workers, default: 0, in: 0...256)
        guard host == host.lowercased(), host.contains("."), !host.contains("/"), !host.contains(":") else {
            throw section.problem(.host, "expected a DNS name in lower case, such as kms.example.com")
        }
        guard store.file != nil || audit.folder != nil else {
            throw section.problem(.audit, "expected audit.folder: with PostgreSQL there is no folder of a key store")
        }
        guard !node.isEmpty, node.utf8.count <= 64 else { throw section.problem(.node, "expected 1 to 64 characters") }
    }
}

/// The RSA key that clients open sessions with, and earlier ones that they may still know.
package struct StaticKeySection: Decodable, Sendable {
    package enum Algorithm: String, NamedValue, Sendable {
        case ps256 = "PS256"
        case rs256 = "RS256"
    }

    package let privateKey: SecretLocation
    /// PEM: leaf first, then every intermediate.
    package let certificate: FileLocation
    package let algorithm: Algorithm
    package let previous: [PreviousStaticKey]

    package enum CodingKeys: String, CodingKey, CaseIterable {
        case privateKey = "private-key"
        case certificate, algorithm, previous
    }

    package init(from decoder: any Decoder) throws {
        let section = try decoder.container(keyedBy: CodingKeys.self)
        privateKey = try section.value(.privateKey)
        certificate = try section.value(.certificate)
        algorithm = try section.value(.algorithm, default: .ps256)
        previous = try section.value(.previous, default: [])
    }
}

/// A static key that was replaced: it opens what clients still send under it.
package struct PreviousStaticKey: Decodable, Sendable {
    package let privateKey: SecretLocation
    package let certificate: FileLocation

    package enum CodingKeys: String, CodingKey, CaseIterable {
        case privateKey = "private-key"
        case certificate
    }
}

/// Whose tokens are taken, and how the KMS gets its own for the link.
package struct AuthorizationSection: Decodable, Sendable {
    package let issuers: [IssuerSection]
    package let service: ServiceAccountSection

    package enum CodingKeys: String, CodingKey, CaseIterable {
        case issuers
        case service = "service-account"
    }

    package init(from decoder: any Decoder) throws {
        let section = try decoder.container(keyedBy: CodingKeys.self)
        issuers = try section.value(.issuers)
        service = try section.value(.service)
        guard !issuers.isEmpty else { throw section.problem(.issuers, "expected at least one issuer") }
        if let conflict = IssuerSection.conflict(among: issuers) { throw section.problem(.issuers, conflict) }
    }
}

/// The administrator's decisions, see `KMSPolicy`.
package struct PolicySection: Decodable, Sendable {
    package var policy = KMSPolicy()
    /// Whether identifiers stand in the journal as pseudonyms.
    package var logsPseudonyms = true
    /// The policy that officers signed; nil: there is none.
    package var file: FileLocation?
    /// How many officers have to have signed it.
    package var signaturesNeeded = 1

    package enum CodingKeys: String, CodingKey, CaseIterable {
        case file
        case signaturesNeeded = "signatures-needed"
        case sessionLife = "session-life"
        case postQuantum = "post-quantum"
        case unboundKeyLife = "unbound-key-life"
        case boundKeyLife = "bound-key-life"
        case anonymousLife = "anonymous-life"
        case tombstoneLife = "tombstone-life"
        case spaceKeyDue = "space-key-due"
        case intervalLife = "interval-life"
        case searchEpochLife = "search-epoch-life"
        case sessionsPerUser = "sessions-per-user"
        case sessionOpenings = "session-openings-per-second"
        case resets = "resets-per-second"
        case resetsPerSource = "resets-per-source-and-second"
        case requestsPerUser = "requests-per-user-and-minute"
        case requestsPerDevice = "requests-per-device-and-minute"
        case requestsPerService = "requests-per-service-and-minute"
        case deletionsPerUser = "deletions-per-user-and-hour"
        case keyReadsPerUser = "key-reads-per-user-and-hour"
        case allowsPublic = "allow-public"
        case reAdding = "re-adding-needs-newer-session"
        case timeWindow = "request-time-window"
        case agents = "organisation-agents"
        case identifiers = "log-identifiers"
    }

    private enum Identifiers: String, NamedValue, Sendable { case pseudonyms, clear }

    package init() {}

    package init(from decoder: any Decoder) throws {
        let section = try decoder.container(keyedBy: CodingKeys.self)
        func seconds(_ key: CodingKeys, _ standard: Int64, _ range: ClosedRange<Duration>) throws -> Int64 {
            try section.value(key, default: Duration.seconds(standard), in: range).components.seconds
        }
        let standard = KMSPolicy()
        // Deployed clients drop a session that ends in less than 60 s or in more than 24 days.
        policy.sessionLife = try seconds(.sessionLife, standard.sessionLife, .seconds(120) ... .seconds(24 * 86_400))
        policy.takesPostQuantum = try section.value(.postQuantum, default: standard.takesPostQuantum)
        policy.unboundKeyLife = try seconds(
            .unboundKeyLife, standard.unboundKeyLife, .seconds(60) ... .seconds(30 * 86_400))
        policy.boundKeyLife = try seconds(
            .boundKeyLife, standard.boundKeyLife, .seconds(3600) ... .seconds(3650 * 86_400))
        policy.anonymousLife = try seconds(
            .anonymousLife, standard.anonymousLife, .seconds(60) ... .seconds(3650 * 86_400))
        policy.tombstoneLife = try seconds(
            .tombstoneLife, standard.tombstoneLife, .seconds(0) ... .seconds(3650 * 86_400))
        policy.spaceKeyDue = try seconds(.spaceKeyDue, standard.spaceKeyDue, .seconds(60) ... .seconds(365 * 86_400))
        policy.intervalLife = try seconds(
            .intervalLife, standard.intervalLife, .seconds(0) ... .seconds(36_500 * 86_400))
        policy.searchEpochLife = try seconds(
            .searchEpochLife, standard.searchEpochLife, .seconds(86_400) ... .seconds(3650 * 86_400))
        file = try section.optional(.file)
        signaturesNeeded = try section.value(.signaturesNeeded, default: 1, in: 1...2)
        policy.sessionsPerUser = try section.value(.sessionsPerUser, default: standard.sessionsPerUser, in: 1...100_000)
        policy.sessionOpeningsPerSecond = try section.value(
            .sessionOpenings, default: standard.sessionOpeningsPerSecond, in: 1...1_000_000)
        policy.resetsPerSecond = try section.value(.resets, default: standard.resetsPerSecond, in: 1...1_000_000)
        policy.resetsPerSourceAndSecond = try section.value(
            .resetsPerSource, default: standard.resetsPerSourceAndSecond, in: 1...1_000_000)
        policy.requestsPerUserAndMinute = try section.value(
            .requestsPerUser, default: standard.requestsPerUserAndMinute, in: 60...100_000_000)
        policy.requestsPerDeviceAndMinute = try section.value(
            .requestsPerDevice, default: standard.requestsPerDeviceAndMinute, in: 60...100_000_000)
        policy.requestsPerServiceAndMinute = try section.value(
            .requestsPerService, default: standard.requestsPerServiceAndMinute, in: 60...100_000_000)
        policy.deletionsPerUserAndHour = try section.value(
            .deletionsPerUser, default: standard.deletionsPerUserAndHour, in: 1...1_000_000)
        policy.keyReadsPerUserAndHour = try section.value(
            .keyReadsPerUser, default: standard.keyReadsPerUserAndHour, in: 1...1_000_000_000)
        policy.allowsPublic = try section.value(.allowsPublic, default: false)
        policy.reAddingNeedsNewerSession = try section.value(.reAdding, default: false)
        policy.requestTimeWindow = try seconds(
            .timeWindow, standard.requestTimeWindow, .seconds(5) ... .seconds(3600))
        guard try section.value(.agents, default: [String]()).isEmpty else {
            throw section.problem(
                .agents, "compliance officers stand in the signed policy now (agents, docs/policy.md): leave this empty"
            )
        }
        logsPseudonyms = try section.value(.identifiers, default: Identifiers.pseudonyms) == .pseudonyms
    }
}
