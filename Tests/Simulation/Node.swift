import Cryptography
import Diagnostics
import KMSProtocol
import KeyStore
import LinkProtocol
import LinkedService
import MasterKey
import ServiceRuntime
import TestServers
import WireText

@testable import CoreLink
@testable import KMSService
@testable import KeyManagement

/// One node of the world: the real link, lanes, handler, seals, lease and its keeper, put together as `KMSAssembly` does.
final class Node: @unchecked Sendable {  // only the thread of the run uses it
    let name: String
    private let world: World
    private let folder = TemporaryFolder()
    /// Tasks that never end keep the node, and its folder with it.
    func removeFolder() { folder.end() }
    private(set) var process: Process
    private(set) var freezes: FreezeBoard?
    private(set) var link: CoreLink?
    private var keeper: LeaseKeeper?
    private var tasks: [Task<Void, Never>] = []
    private var lanes: RequestLanes?
    /// How far its wall clock is off, in milliseconds.
    var skew: Int64 = 0

    private static let maximumWaiting = 5

    init(_ name: String, _ world: World) {
        self.name = name
        self.world = world
        process = Process(name, world.scheduler)
    }

    var epoch: Int64 { keeper?.epoch ?? 0 }
    var isOpen: Bool { !process.isDead && link?.state.phase == .open && keeper?.lease.isHeld == true }

    /// Starts the process; again after a second when its database can not be reached.
    func start() {
        process = Process(name, world.scheduler)
        world.trace.note("\(name) starts")
        let process = process
        tasks = [
            Task(executorPreference: process) {
                while !process.isDead {
                    do {
                        return try await self.open(process)
                    } catch {
                        try? await VirtualClock(scheduler: self.world.scheduler).sleep(for: .seconds(1))
                    }
                }
            }
        ]
    }

    func die() {
        world.trace.note("\(name) dies")
        process.die()
        for task in tasks { task.cancel() }
        world.network.lose(process)
        (freezes, link, keeper, lanes) = (nil, nil, nil, nil)
    }

    private func open(_ process: Process) async throws {
        let file = try EpochFile(folder: folder.path)
        let database = NodeStore(world.database, node: name, process: process, epoch: file.epoch)
        let now = world.wall
        let ring = try await SealRing.open(kek: world.kek, store: database, now: now)
        let store = SummingStore(database, ring: ring, writer: UUIDText.random())
        store.adopt(nil)
        let vault = RecordVault(ring: ring, store: store)
        let freezes = try await FreezeBoard(store: store, vault: vault)
        let inForce = PolicyInForce(world.policy)
        let (links, metrics) = (LinkHolder(), MetricRegistry())
        let scheduler = world.scheduler
        let lease = ReleaseLease(clock: { [mutation = world.mutation] in
            mutation == .noLease ? 1 : (scheduler.now + 1) * 1000
        })
        let keeper = try await LeaseKeeper(
            world.mutation == .noFreeze ? ForgetfulCluster(database) : database, node: name, release: "1", file: file,
            lease: lease, clock: VirtualClock(scheduler: scheduler),
            LeaseKeeper.Parts(
                freezes: freezes, memory: PolicyMemory(store: store, vault: vault), inForce: inForce,
                health: HealthRegistry(events: Silence(), metrics: metrics), metrics: metrics, events: Silence(),
                links: links))
        await keeper.renew()
        var keyManagement = KeyManagement(
            names: KMSNames(host: World.host), store: store, vault: vault, inForce: inForce)
        keyManagement.freezes = freezes
        keyManagement.lease = lease
        let handler = RequestHandler(
            keyManagement: keyManagement,
            sessions: SessionTable(
                store: store, ring: SessionSealRing(store: store, ring: ring), vault: vault, isShared: true),
            verifier: Tokens(), staticKeys: StaticKeysInForce([world.staticKey]), log: Silence(),
            clock: { [self] in world.wall.adding(milliseconds: skew) })
        let lanes = RequestLanes(
            handler: handler, workers: process, maximumWaiting: Self.maximumWaiting, depth: 4, capacity: 16,
            awaitsNotes: true, clock: { scheduler.now / 1000 })
        let link = makeLink(process, lanes, links, keeper)
        links.hold(link)
        guard !process.isDead else { return }
        (self.freezes, self.link, self.keeper, self.lanes) = (freezes, link, keeper, lanes)
        tasks += [
            Task(executorPreference: process) { try? await keeper.keep() },
            Task(executorPreference: process) { await link.keepConnected() },
        ]
    }

    private func makeLink(
        _ process: Process, _ lanes: RequestLanes, _ links: LinkHolder, _ keeper: LeaseKeeper
    ) -> CoreLink {
        let world = world
        let details = world.staticKey.detailsDocument(machineAccountID: "m")
        return CoreLink(
            configuration: CoreLinkConfiguration(
                url: "", trust: nil, node: name, service: "kms", organisation: "org", version: "1",
                epoch: world.mutation == .noEpoch ? 1 : keeper.epoch, destination: World.cluster, window: 8,
                details: { details }, token: { "token" }),
            ground: LinkGround(
                clock: VirtualClock(scheduler: world.scheduler),
                random: { SeededGenerator(seed: UInt64(world.scheduler.draw(0 ... .max))) }, executor: process,
                dial: { [name] _, heartbeat in try await world.dial(name, process, heartbeat) }),
            handler: { delivery in
                lanes.submit(delivery.text, source: delivery.source) { reply in
                    world.model.bounded("strings at a node", lanes.waiting, Self.maximumWaiting)
                    let answer: () -> Void = {
                        switch reply {
                        case .answer(let text): links.link?.answer(delivery, text: text)
                        case .decline(let reason):
                            let lane = RequestLanes.lane(of: delivery.text, source: delivery.source)
                            let noted: @Sendable (Bool) -> Void = {
                                lanes.noted(lane, isCertain: $0)
                            }
                            guard let link = links.link else { return noted(true) }
                            link.decline(delivery, reason: reason, noted: noted)
                        case .drop(let reason): links.link?.drop(delivery, reason: reason)
                        }
                    }
                    if world.mutation == .noOrder {
                        process.after(world.scheduler.draw(0 ... .milliseconds(40)), answer)
                    } else {
                        answer()
                    }
                }
            })
    }
}

/// Brings the settings as they were when it was first asked.
private final class ForgetfulCluster: ClusterStore, @unchecked Sendable {  // only the thread of the run uses it
    private let inner: NodeStore
    private var first: [[UInt8]?]?

    init(_ inner: NodeStore) { self.inner = inner }

    func cluster() async throws -> ClusterState { try await inner.cluster() }
    func renewLease(_ request: LeaseRequest) async throws -> LeaseAnswer {
        var answer = try await inner.renewLease(request)
        if first == nil { first = answer.settings }
        answer.settings = first ?? answer.settings
        return answer
    }
    func leases() async throws -> [NodeLease] { [] }
    func setRemoved(_ isRemoved: Bool, node: String) async throws {}
    func invite(_ invitation: NodeInvitation) async throws { try await inner.invite(invitation) }
    func invitations() async throws -> [NodeInvitation] { try await inner.invitations() }
    func join(_ request: NodeInvitation.Request, node: String) async throws -> Bool {
        try await inner.join(request, node: node)
    }
    func answer(_ answer: [UInt8], to request: NodeInvitation.Request, node: String) async throws -> Bool {
        try await inner.answer(answer, to: request, node: node)
    }
}

/// Takes `tok-USER`; verifiers have tests of their own.
private struct Tokens: BearerVerifier {
    func identity(of bearer: String, now: Timestamp) async throws(KMSFailure) -> TokenIdentity {
        guard bearer.hasPrefix("tok-") else { throw KMSFailure(KMSStatus.unauthorized, "no token") }
        return TokenIdentity(
            userID: String(bearer.dropFirst(4)), clientID: nil, scopes: [], issuer: "simulation",
            expires: now.adding(seconds: 3600))
    }
}

private struct Silence: EventRecorder, RequestLog {
    func isRecorded(_ severity: Severity) -> Bool { false }
    func write(_ event: Event, _ fields: LogFields) {}
    func request(_ entry: RequestLogEntry, status: Int?, reason: String?) {}
    func unusual(_ anomaly: Anomaly, user: String, count: Int) {}
    func reset(reason: String, session: String?) {}
    func failure(_ error: any Error, while doing: String) {}
    func together<Result>(_ body: () -> Result) -> Result { body() }
}
