import CoreLink
import Cryptography
import Foundation
import Glibc
import KMSProtocol
import KeyManagement
import KeyStore
import LinkProtocol
import MasterKey
import Synchronization
import TestServers
import WebSocketChannel
import WireText

@testable import KMSClient

/// One core, three nodes, a database and some people, in virtual time, with what a plan lets go wrong.
final class World: @unchecked Sendable {  // only the thread of the run uses it
    static let host = "kms.hds.example.com"
    static let cluster = "kms://\(host)"

    let scheduler: Scheduler
    let trace: Trace
    let model: Model
    let network: Network
    let database: Database
    let identity: Identity
    let kek: KeyEncryptionKey
    let plan: Plan
    let mutation: Mutation?
    let policy: KMSPolicy
    let users: [String]
    private(set) var core: Core! = nil
    private(set) var nodes: [Node] = []
    private(set) var clients: [Client] = []
    /// Keys of spaces that somebody may try to read.
    var readable: [String] = []
    private var offline: Set<String> = []
    private var ended = 0
    private var isChecked = false

    struct Outcome: Sendable {
        let violations: [String]
        let digest: UInt64
        let lines: [String]
        let counts: [String: Int]
        let events: Int
        /// Virtual microseconds.
        let length: Int64
    }

    var staticKey: KMSStaticKey { identity.key }
    var wall: Timestamp { identity.base.adding(milliseconds: scheduler.now / 1000) }
    /// Until when people begin something new.
    var quiet: Int64 { max(.milliseconds(plan.work), plan.healed) + .seconds(1) }
    /// From when on every string is answered in time: links have their longest pause behind them.
    var settled: Int64 { plan.healed + .seconds(12) }

    private init(_ plan: Plan, _ mutation: Mutation?) throws {
        (self.plan, self.mutation) = (plan, mutation)
        identity = try Identity.shared.get()
        kek = try KeyEncryptionKey.create()
        scheduler = Scheduler(seed: plan.seed)
        trace = Trace(scheduler)
        model = Model(scheduler, trace)
        network = Network(scheduler)
        database = Database(
            scheduler, isSynchronous: plan.isSynchronous, lag: scheduler.draw(.milliseconds(1)...(.milliseconds(60))))
        database.mutation = mutation
        users = (0..<3).map { "\($0)a11ce00-0000-4000-8000-00000000000\($0)" }
        var policy = KMSPolicy()
        policy.resetsPerSourceAndSecond = 1000
        self.policy = policy
    }

    static func run(_ plan: Plan, mutation: Mutation? = nil) throws -> Outcome {
        let world = try World(plan, mutation)
        defer { world.tearDown() }
        world.setUp()
        let limit = max(world.settled + .seconds(100), plan.healed + .seconds(160))
        while !world.isChecked, world.scheduler.step() {
            if world.scheduler.now > limit {
                world.model.violated("liveness", "the world did not come to rest")
                break
            }
        }
        return Outcome(
            violations: world.model.violations.map(\.description), digest: world.trace.digest, lines: world.trace.lines,
            counts: world.model.counts, events: world.scheduler.events, length: world.scheduler.now)
    }

    private func setUp() {
        database.committed = { [model] in model.committed($0, $1) }
        database.granted = { [model] node, sent, server in model.granted(node, sent, server.name) }
        core = Core(self)
        nodes = (1...Plan.nodes).map { Node("kms-\($0)", self) }
        for (index, node) in nodes.enumerated() {
            scheduler.after(.milliseconds(Int64(index) * 150)) { node.start() }
        }
        clients = (0..<Plan.clients).map { index in
            Client("c\(index)", user: users[index % users.count], isStamped: index % 2 == 0, self)
        }
        for client in clients {
            scheduler.after(.milliseconds(500)) { client.start { self.clientEnded() } }
        }
        for fault in plan.faults {
            scheduler.after(.milliseconds(fault.start)) { self.begin(fault.kind) }
            scheduler.after(.milliseconds(fault.start + fault.length)) { self.end(fault.kind) }
        }
    }

    private func clientEnded() {
        ended += 1
        guard ended == clients.count else { return }
        scheduler.after(plan.isDeep ? max(0, plan.healed + .seconds(80) - scheduler.now) : 0) { self.check() }
    }

    private func check() {
        if plan.isDeep {
            for node in nodes where !node.isOpen {
                model.violated("liveness", "\(node.name) has no link or no lease 80 s after all was well")
            }
        }
        Task(executorPreference: database.process) { [self] in
            try? await model.finish(database.primary)
            isChecked = true
        }
    }

    private func tearDown() {
        for node in nodes { node.die() }
        for client in clients { client.end() }
        core.die()
        // Tasks that were cancelled end.
        for _ in 0..<20_000 where scheduler.step() {}
        scheduler.clear()
        for node in nodes { node.removeFolder() }
        (nodes, clients, core) = ([], [], nil)
        database.committed = { _, _ in }
        database.granted = { _, _, _ in }
    }

    // MARK: Ways

    func epoch(of node: String) -> Int64 { nodes.first { $0.name == node }?.epoch ?? 0 }
    func client(_ name: String) -> Client? { clients.first { $0.name == name } }
    func isCutOff(_ client: String) -> Bool { offline.contains(client) }

    /// A connection of a node to the core, or an error.
    func dial(_ node: String, _ process: Process, _ heartbeat: WebSocketHeartbeat) async throws -> any LinkSocket {
        let clock = VirtualClock(scheduler: scheduler)
        try await clock.sleep(for: .microseconds(scheduler.draw(500...4000)))
        guard network.passes(.toCore, node), network.passes(.toNode, node) else {
            try await clock.sleep(for: .seconds(10))
            throw Unreachable()
        }
        guard core.isUp, !process.isDead else { throw Unreachable() }
        let connection = network.connect(node, client: process, server: core.process)
        connection.client.setHeartbeat(heartbeat)
        connection.client.leaving = { [weak self] frame in
            guard let self, case .answer(let id, let text) = frame, let digest = digests[id] else { return }
            model.left(node, digest, text)
        }
        let core = core!  // from the set-up on
        core.process.after(0) { core.accept(connection.server, from: node) }
        return connection.client
    }

    struct Unreachable: Error {}

    /// By the core's id of a delivery, which is of one run of the core: which string it was.
    var digests: [UInt64: [UInt8]] = [:]

    // MARK: Faults

    private func begin(_ kind: Plan.Fault.Kind) {
        trace.note("begins: \(kind)")
        switch kind {
        case .cut(let index, let toCore, let toNode):
            var directions: Set<Network.Direction> = toCore ? [.toCore] : []
            if toNode || !toCore { directions.insert(.toNode) }
            network.cut(nodes[index].name, directions)
        case .broken(let index, let node, let core):
            var told: [Network.Direction] = node ? [.toNode] : []
            if core { told.append(.toCore) }
            network.breakConnections(of: nodes[index].name, tell: told)
        case .stopped(let index): nodes[index].process.stop()
        case .killed(let index): nodes[index].die()
        case .coreRestart:
            core.die()
            model.coreForgot()
        // Of one way: beyond half a second for both, strings may overtake one that was declined.
        case .slow: network.slowness = 240
        case .databaseAway: database.servers[0].isUp = false
        case .databaseSlow: database.latency = .milliseconds(scheduler.draw(100...450))
        case .databaseCut(let index): database.unreachable[nodes[index].name] = ["a", "b"]
        case .failover(let companion): failOver(companion.map { nodes[$0].name })
        case .freeze: freeze()
        case .clock(let index, let seconds): nodes[index].skew = seconds * 1000
        case .offline(let index): offline.insert(clients[index].name)
        }
    }

    private func end(_ kind: Plan.Fault.Kind) {
        trace.note("ends: \(kind)")
        switch kind {
        case .cut(let index, _, _): network.mend(nodes[index].name)
        case .broken: break
        case .stopped(let index): nodes[index].process.resume()
        case .killed(let index): nodes[index].start()
        case .coreRestart: core.start()
        case .slow: network.slowness = 3
        case .databaseAway: database.servers[0].isUp = true
        case .databaseSlow: database.latency = 3000
        case .databaseCut(let index): database.unreachable[nodes[index].name] = nil
        case .failover: (database.servers[0].isUp, database.unreachable) = (false, [:])
        case .freeze: thaw()
        case .clock(let index, _): nodes[index].skew = 0
        case .offline(let index): offline.remove(clients[index].name)
        }
    }

    /// The old primary is cut off from all but one node, or gone; after the time of a lease the standby is promoted.
    private func failOver(_ companion: String?) {
        database.replicationCut = scheduler.now
        for node in nodes { database.unreachable[node.name] = node.name == companion ? ["b"] : ["a"] }
        if companion == nil { database.servers[0].isUp = false }
        scheduler.after(.milliseconds(scheduler.draw(1100...2000))) { [self] in
            Task(executorPreference: database.process) { [self] in
                let (kept, lost) = await database.promote()
                model.promoted(kept: kept, lost: mutation == .lossyStandby ? [] : lost)
            }
        }
    }

    private func freeze() {
        guard let node = nodes.first(where: \.isOpen), let freezes = node.freezes else { return }
        Task(executorPreference: node.process) { [self] in
            try? await freezes.order(
                Freeze(scope: .everything, reason: "simulated", orderedBy: "officer", since: wall))
        }
    }

    /// An officer tries until it is done.
    private func thaw() {
        Task(executorPreference: database.process) { [self] in
            for _ in 0..<40 {
                if let node = nodes.first(where: \.isOpen), let freezes = node.freezes {
                    let isDone = await Task(executorPreference: node.process) { () -> Bool in
                        do {
                            try await freezes.refresh()
                            for freeze in freezes.standing { _ = try await freezes.lift(freeze.id) }
                            return true
                        } catch {
                            return false
                        }
                    }.value
                    if isDone { return }
                }
                try? await database.clock.sleep(for: .milliseconds(300))
            }
        }
    }
}

/// The static key of the simulated KMS: made once for a run of the tests.
struct Identity: Sendable {
    let key: KMSStaticKey
    let verified: VerifiedStaticKey
    /// The wall clock at the beginning: an hour after a midnight, so that no day ends within a run.
    let base: Timestamp

    static let shared = Result { try Identity() }

    private init() throws {
        let folder = TemporaryFolder()
        let (keyFile, leafFile) = (folder.path + "/key.pem", folder.path + "/leaf.pem")
        try Self.openssl([
            "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", keyFile, "-out", leafFile, "-days", "30",
            "-subj", "/CN=\(World.host)", "-addext", "subjectAltName=DNS:\(World.host)", "-addext",
            "basicConstraints=critical,CA:FALSE",
        ])
        let chain = try Certificate.all(inPEM: String(contentsOfFile: leafFile, encoding: .utf8))
        base = Timestamp(seconds: (chain[0].notBefore.seconds / 86_400 + 1) * 86_400 + 3600)
        key = try KMSStaticKey(
            privateKey: PrivateKey(pem: String(contentsOfFile: keyFile, encoding: .utf8)), chain: chain,
            host: World.host, now: base)
        verified = VerifiedStaticKey(
            kid: key.kid, host: World.host, publicKey: chain[0].publicKey, path: chain, machineAccountID: "m")
    }

    private static func openssl(_ words: [String]) throws {
        var arguments: [UnsafeMutablePointer<CChar>?] = (["openssl"] + words).map { strdup($0) } + [nil]
        defer { for argument in arguments { free(argument) } }
        var actions = posix_spawn_file_actions_t()
        posix_spawn_file_actions_init(&actions)
        defer { posix_spawn_file_actions_destroy(&actions) }
        posix_spawn_file_actions_addopen(&actions, STDERR_FILENO, "/dev/null", O_WRONLY, 0)
        var child: pid_t = 0
        var status: Int32 = 0
        guard posix_spawnp(&child, "openssl", &actions, nil, &arguments, environ) == 0,
            waitpid(child, &status, 0) == child, status == 0
        else { throw TestPKI.Failure(what: "openssl \(words.joined(separator: " "))") }
    }
}
