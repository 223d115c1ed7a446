import CoreLink
import Cryptography
import DatabaseConfiguration
import Diagnostics
import Glibc
import HTTPClient
import KMSProtocol
import KeyManagement
import KeyStore
import LinkProtocol
import LinkedService
import MasterKey
import NodeEnrolment
import NodeList
import Recovery
import ServiceLifecycle
package import ServiceRuntime
import SignedPolicy
import SiteFailover
import Synchronization
import TLSChannel
import WireText

/// Puts the KMS together from its configuration: store, seals, static key, verifier, handler, lanes, link.
package enum KMSAssembly {
    package static let identity = ServiceIdentity(name: "hds-kms", version: Release.version)

    package static func start(
        _ configuration: KMSServiceConfiguration, _ context: ServiceContext
    ) async throws -> ServicePlan<KMSServiceConfiguration> {
        let now = Timestamp.now()
        let linked = try LinkedService(configuration, context, now: now)
        let checks = KMSChecks(context.health)
        let (links, route) = (linked.links, linked.network.route)
        let kek = try await configuration.openMasterKey(context.credentials)
        let staticKeys = StaticKeysInForce(try loadStaticKeys(configuration, context, now))
        tell(staticKeys.present, context.events)
        let epochFile = configuration.store.file == nil ? try EpochFile(folder: configuration.dataFolder) : nil
        let database = try await checks.telling {
            try await configuration.store.open(
                context.credentials, application: "hds-kms \(configuration.node)", epoch: epochFile?.epoch ?? 0,
                observer: checks.observer)
        }
        let wasEmpty = try await database.isEmpty()
        let nodeKey = try NodeKey.open(folder: configuration.dataFolder)
        try await adoptRootKeys(nodeKey, kek: kek, store: database, node: configuration.node, now: now)
        let ring = try await SealRing.open(kek: kek, store: database, now: now)
        let opening = try RollbackWatch.Opening(database, ring: ring, configuration)
        let journal = try KMSJournal.open(configuration, context, ring: ring, now: now)
        // From here on nothing is taken away that is not written down outside the database.
        let store = JournalingKeyStore(
            opening.store, journal: journal, vault: RecordVault(ring: ring, store: opening.store))
        if wasEmpty {
            context.events.record(.rootKeyCreated, [.fingerprint: Loggable(reviewed: kek.fingerprint)])
        }
        let vault = RecordVault(ring: ring, store: store)
        let sessionRing = SessionSealRing(store: store, ring: ring)
        let names = KMSNames(host: configuration.host)
        let inForce = PolicyInForce(configuration.policy.policy)
        let log = KMSRequestLog(
            events: context.events, metrics: context.metrics, alarms: context.alarms, ring: ring,
            usesPseudonyms: configuration.policy.logsPseudonyms)
        let trust = try TokenTrust(
            configuration.authorization.issuers, credentials: context.credentials, health: context.health, route: route)
        let freezes = try await FreezeBoard(store: store, vault: vault)
        let disabled = try await DisabledUsers(store: store, vault: vault)
        let rollback = try await opening.start(
            vault: vault, freezes: freezes, configuration, context, now: now)
        let audit = try await KMSAudit.open(
            configuration.audit, configuration, context, ring: ring, store: store, rollback: rollback, inForce: inForce,
            log: log, route: route)
        if let inspection = linked.material.current.inspection {
            try await audit.keep(inspection, of: configuration.core, now: now)
        }
        let officers = try EnrolledOfficers(file: configuration.officers.file)
        let memory = PolicyMemory(store: store, vault: vault)
        let holder = PolicyHolder(
            organisation: configuration.organisation, signaturesNeeded: configuration.policy.signaturesNeeded,
            recall: { try await memory.recall() },
            remember: { try await memory.remember($0) })
        var keyManagement = KeyManagement(names: names, store: store, vault: vault, inForce: inForce)
        keyManagement.freezes = freezes
        keyManagement.disabled = disabled
        let keeperOfLease = try await leaseKeeper(
            database, configuration, epochFile,
            LeaseKeeper.Parts(
                freezes: freezes, memory: memory, inForce: inForce, health: context.health, metrics: context.metrics,
                events: context.events, links: links))
        keyManagement.lease = keeperOfLease?.lease
        // A store of one process is of the epoch that its restore gave it.
        let ownEpoch = keeperOfLease == nil ? try await RestoreReport.standing(store, ring: ring)?.epoch ?? 1 : 1
        let epoch: @Sendable () -> Int64 = { keeperOfLease?.epoch ?? ownEpoch }
        let federation = try federation(
            configuration, context, own: staticKeys, links: links, log: log, route: route)
        let sessions = SessionTable(
            store: store, ring: sessionRing, vault: vault, isShared: configuration.store.file == nil)
        let handler = RequestHandler(
            keyManagement: keyManagement, sessions: sessions, verifier: trust.directory,
            staticKeys: staticKeys, log: log, audit: audit.audit,
            partners: federation.partners)
        let threads = configuration.workers > 0 ? configuration.workers : Int(sysconf(Int32(_SC_NPROCESSORS_ONLN)))
        let workers = WorkerPool(threads: threads)
        let lanes = RequestLanes(handler: handler, workers: workers, awaitsNotes: true)
        checks.watch(store: store, section: configuration.store, audit: configuration.auditFolder)
        let certificate = CertificateFileInForce(configuration.staticKey.certificate)
        checks.watch(staticKeys, host: configuration.host, file: certificate)
        let register = NodeRegister(store: store, ring: ring)
        let nodes = try NodeKeeper(
            register, key: nodeKey, name: configuration.node,
            NodeKeeper.Parts(
                organisation: configuration.organisation, folder: configuration.dataFolder,
                officers: { officers.roster },
                invitations: epochFile == nil
                    ? nil
                    : (database as? any ClusterStore).map {
                        Invitations(
                            $0, register: register, ring: ring, host: configuration.host,
                            fingerprint: staticKeys.present.chain[0].spkiSHA256)
                    },
                links: links, health: context.health, events: context.events))
        await nodes.look()
        let settings = LinkSettings(
            configuration, version: identity.version,
            proof: NodeProof(key: nodes.key.privateKey, list: { nodes.list?.text }),
            epoch: epoch, destination: { staticKeys.present.names.cluster },
            details: { [account = configuration.machineAccount] in
                staticKeys.present.detailsDocument(machineAccountID: account)
            })
        let link = link(linked, configuration, settings, context, lanes: lanes, nodes: nodes)
        let canary = Canary(store: store, ring: ring, keys: staticKeys)
        let housekeeping = Housekeeping(
            sessionRing: sessionRing, tombstones: Tombstones(store: store, vault: vault, inForce: inForce),
            intervals: Intervals(store: store, vault: vault, policy: inForce), log: log)
        let keeper = PolicyKeeper(
            file: configuration.policy.file, holder: holder, officers: officers, inForce: inForce,
            services: ServiceSubjects(store: store, vault: vault), audit: audit.audit, health: context.health,
            events: context.events, metrics: context.metrics)
        await keeper.load()
        let removals = KMSJournal(
            journal, node: configuration.node, store: store, ring: ring, alarms: context.alarms, log: log,
            auditHead: { [newest = audit.newestHead] in newest.text })
        let backups = KMSBackups(configuration, credentials: context.credentials, ring: ring, epoch: epoch) {
            await removals.beat(now: .now())
        }
        let escrow = EscrowBook(store: store, ring: ring)
        let rootKeys = RootKeyKeeper(
            store: store, ring: ring, host: configuration.host, node: configuration.node, audit: audit.audit,
            alarms: context.alarms, log: log, section: configuration.rootKey, pulse: log.pulse,
            removed: { nodes.removed },
            adopt: { _ = try await $0.adopt(nodeKey, kek: kek, name: configuration.node) },
            review: { try await DestructionReview.now(of: $0, $1, escrow: escrow, backups).refusal })
        let leavers = DisabledKeeper(
            disabled,
            DisabledKeeper.Parts(
                sessions: sessions, audit: audit.audit, log: log, metrics: context.metrics, events: context.events),
            polls: trust.polls)
        let kms = RunningKMS(
            configuration: configuration, names: names, store: store, vault: vault, keyManagement: keyManagement,
            sessions: sessions,
            clients: handler.clients, links: links, partners: federation.partners, freezes: freezes, disabled: leavers,
            audit: audit.audit, policy: inForce,
            officers: officers,
            escrow: escrow, backups: backups,
            health: context.health, log: log, rootKeys: rootKeys, nodes: nodes, rollback: rollback,
            lease: keeperOfLease, cluster: database as? any ClusterStore, started: now,
            clusterFingerprint: ClusterFingerprint.text(staticKeys.present.chain[0].spkiSHA256), ring: ring)
        let control = try await KMSControl.open(commands(kms), of: kms, context.events, version: identity.version)
        let reload = KMSReload(
            context: context, linked: linked, staticKeys: staticKeys, certificate: certificate, settings: settings,
            link: link, trust: trust, audit: audit, keeper: keeper, federation: federation)
        let watches = watches(kms, context)
        return ServicePlan(
            services: watches + [keeperOfLease ?? FreezeWatch(freezes: freezes, log: log)] + [
                housekeeping, rootKeys, nodes, leavers,
                SpaceKeyWatch(
                    due: SpaceKeysDue(store: store, vault: vault, names: names, policy: configuration.policy.policy),
                    alarms: context.alarms, metrics: context.metrics, log: log,
                    name: { configuration.policy.logsPseudonyms ? audit.audit.pseudonym(object: $0) : $0 }),
                audit.chainWatch(every: configuration.audit.verifyEvery), audit, removals,
                JournalPruning(
                    journal, days: configuration.journal?.keepDays, store: store, ring: ring,
                    oldestBackup: { try await backups.oldest() }, removed: { nodes.removed }, events: context.events,
                    log: log),
                keeper, control,
                RecoveryWatch(
                    book: kms.escrow, staleness: { [backups = kms.backups] in await backups.staleness(now: $0) },
                    alarms: context.alarms, log: log),
                RollbackWatch(rollback, context, log: log, scanEvery: configuration.rollback.scanEvery),
                LaneDrain(lanes: lanes, store: store), link,
            ]
                + leavers.polls + [federation.sweep],
            selfTest: { try await canary.run() },
            reload: { try await reload.take($0) }, reloadable: KMSReload.keys,
            finish: {
                workers.shutDown()
                await audit.close()
                await rollback.close()
                await store.close()
                await journal.close()
            })
    }

    /// A node whose public key the root keys are wrapped to puts its own key-encryption key in the place of that.
    private static func adoptRootKeys(
        _ key: NodeKey, kek: some RootKeyWrapping, store: any KeyStore, node: String, now: Timestamp
    ) async throws {
        let records = try await store.rootKeys().filter { $0.state.isOpen }
        guard records.contains(where: { $0.wraps[kek.holder] == nil && $0.wraps[key.holder] != nil }) else { return }
        let ring = try await SealRing.open(kek: key, store: store, now: now)
        // In sums under a name of its own: this node's is known only with its ring.
        let summing = SummingStore(store, ring: ring, writer: UUIDText.random())
        _ = try await RootKeyRotation(store: summing, ring: ring).adopt(key, kek: kek, name: node)
    }

    /// What looks after the second one of everything, and after rehearsals.
    private static func watches(_ kms: RunningKMS, _ context: ServiceContext) -> [any Service] {
        let (backups, host) = (kms.backups, kms.names.host)
        var drills = [
            DrillWatch.Drill(
                subject: "restore",
                last: { try await backups.verified().filter { $0.host == host }.map(\.verified).max() },
                failure: {
                    guard let newest = backups.reports.newest(.restoreDrill), let failure = newest.failure else {
                        return nil
                    }
                    return "the rehearsal of \(reviewed: newest.started.iso8601) failed: \(reviewed: failure)"
                })
        ]
        var watches: [any Service] = []
        if let cluster = kms.cluster, case .postgresql(let section) = kms.configuration.store.backend {
            let journal = kms.configuration.dataFolder + "/failover.journal"
            drills.append(DrillWatch.Drill(subject: "failover") { FailoverJournal.lastDone(path: journal) })
            let settings = section.settings(context.credentials, application: "hds-kms redundancy")
            watches.append(RedundancyWatch(cluster, settings, context.alarms))
        }
        watches.append(DoctorWatch(file: Doctor.reportFile(of: kms.configuration), alarms: context.alarms))
        watches.append(DrillWatch(drills: drills, days: kms.configuration.drill.overdueDays, alarms: context.alarms))
        return watches
    }

    /// Everything that the control socket carries out.
    static func commands(_ kms: RunningKMS) -> [ControlCommand] {
        ReadingCommands.all(kms) + OversightCommands.all(kms) + FreezeCommands.all(kms) + ErasureCommands.all(kms)
            + MasterKeyCommands.all(kms) + NodeCommands.all(kms) + RecoveryCommands.all(kms) + RestoreCommands.all(kms)
            + RollbackCommands.all(kms) + UserCommands.all(kms)
    }

    /// A store that one process has needs no lease; with several nodes it is renewed before the first request comes.
    private static func leaseKeeper(
        _ store: any KeyStore, _ configuration: KMSServiceConfiguration, _ file: EpochFile?, _ parts: LeaseKeeper.Parts
    ) async throws -> LeaseKeeper? {
        guard let file, let cluster = store as? any ClusterStore else { return nil }
        let keeper = try await LeaseKeeper(
            cluster, node: configuration.node, release: identity.version, file: file, lease: ReleaseLease(), parts)
        await keeper.renew()
        return keeper
    }

    /// Tells which static key is in use from now on.
    static func tell(_ key: KMSStaticKey, _ events: any EventRecorder) {
        events.record(
            .staticKeyLoaded,
            [
                .kmsURI: Loggable(reviewed: key.kid),
                .fingerprint: Loggable(reviewed: Hexadecimal.encode(key.chain[0].fingerprintSHA256)),
            ])
    }

    static func loadStaticKeys(
        _ configuration: KMSServiceConfiguration, _ context: ServiceContext, _ now: Timestamp
    ) throws -> [KMSStaticKey] {
        let section = configuration.staticKey
        func key(_ secret: SecretLocation, _ file: FileLocation) throws -> KMSStaticKey {
            let privateKey = try context.credentials.withBytes(of: secret) { try PrivateKey(pem: $0) }
            return try KMSStaticKey(
                privateKey: privateKey, chain: try file.certificates(), host: configuration.host,
                algorithm: section.algorithm == .ps256 ? .ps256 : .rs256, now: now)
        }
        let present = try key(section.privateKey, section.certificate)
        return try [present] + section.previous.map { try key($0.privateKey, $0.certificate) }
    }

    private static func link(
        _ linked: LinkedService, _ configuration: KMSServiceConfiguration, _ settings: LinkSettings,
        _ context: ServiceContext, lanes: RequestLanes, nodes: NodeKeeper
    ) -> CoreLink {
        let inFlight = context.metrics.gauge(.kmsRequestsInFlight)
        let storms = StormWatch(health: context.health, metrics: context.metrics)
        let links = linked.links
        let link = linked.link(configuration, settings) { delivery in
            lanes.submit(delivery.text, source: delivery.source) { reply in
                inFlight.set(Double(lanes.waiting))
                switch reply {
                case .answer(let text): links.link?.answer(delivery, text: text)
                case .decline(let reason):
                    let lane = RequestLanes.lane(of: delivery.text, source: delivery.source)
                    let noted: @Sendable (Bool) -> Void = {
                        lanes.noted(lane, isCertain: $0)
                    }
                    guard let link = links.link else { return noted(true) }
                    link.decline(delivery, reason: reason, noted: noted)
                case .drop(let reason):
                    storms.turnedAway()
                    links.link?.drop(delivery, reason: reason)
                }
            }
        }
        link.setHeld(nodes.book.drained.contains(nodes.name))
        return link
    }
}

/// Where the certificate of the static key stands, as the configuration in force says. Any thread.
final class CertificateFileInForce: Sendable {
    private let file: Mutex<FileLocation>
    init(_ file: FileLocation) { self.file = Mutex(file) }
    var current: FileLocation { file.withLock { $0 } }
    func use(_ new: FileLocation) { file.withLock { $0 = new } }
}
