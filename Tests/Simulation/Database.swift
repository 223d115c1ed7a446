import Diagnostics
import KeyStore
import WireText

/// The database: a primary with a standby behind it, commits one after the other, outages, and a promotion that may lose
/// what the standby had not got.
///
/// Each server is a real store in memory with its real rules of a commit; the log of one is applied to the other when that
/// is promoted.
final class Database: @unchecked Sendable {  // only the thread of the run uses it
    struct Commit {
        var time: Int64
        var change: StoreChange
    }

    final class Server: @unchecked Sendable {  // only the thread of the run uses it
        let name: String
        let memory = MemoryKeyStore()
        let cluster: MemoryClusterStore
        var log: [Commit] = []
        var epoch: Int64 = 1
        var isPrimary: Bool
        var isUp = true

        init(_ name: String, isPrimary: Bool) {
            self.name = name
            self.isPrimary = isPrimary
            cluster = MemoryClusterStore(memory, now: { Timestamp(milliseconds: 0) })
        }
    }

    let scheduler: Scheduler
    let process: Process
    let clock: VirtualClock
    let servers: [Server]
    /// Commits wait for the standby.
    let isSynchronous: Bool
    /// How far the standby is behind, in microseconds.
    let lag: Int64
    /// Since when the standby gets nothing.
    var replicationCut: Int64?
    /// Which servers a node can not reach.
    var unreachable: [String: Set<String>] = [:]
    /// Of one way, at most, in microseconds.
    var latency: Int64 = 3000
    var committed: (Server, StoreChange) -> Void = { _, _ in }
    /// A renewal was sent by a node, and granted in an epoch of a server.
    var granted: (_ node: String, _ sent: Int64, _ server: Server) -> Void = { _, _, _ in }
    var mutation: Mutation?

    init(_ scheduler: Scheduler, isSynchronous: Bool, lag: Int64) {
        self.scheduler = scheduler
        self.isSynchronous = isSynchronous
        self.lag = lag
        process = Process("database", scheduler)
        clock = VirtualClock(scheduler: scheduler)
        servers = [Server("a", isPrimary: true), Server("b", isPrimary: false)]
        for server in servers { server.cluster.setSynchronous(isSynchronous) }
    }

    /// Of the highest epoch.
    var primary: Server { servers.filter(\.isPrimary).max { $0.epoch < $1.epoch }! }  // one is from the beginning

    /// Whom a node that has seen that epoch works with now (`StoreConnector`).
    func server(for node: String, epoch: Int64) -> Server? {
        servers.first { server in
            server.isUp && server.isPrimary && server.epoch >= epoch
                && unreachable[node]?.contains(server.name) != true
                && !(isSynchronous && replicationCut != nil && server.name == "a")
        }
    }

    /// Makes the standby the one that counts: which commits it has, and which it never got.
    func promote() async -> (kept: [Commit], lost: [Commit]) {
        let (old, new) = (servers[0], servers[1])
        let cut = replicationCut ?? scheduler.now
        let kept = isSynchronous && mutation != .lossyStandby ? old.log : old.log.filter { $0.time + lag <= cut }
        for commit in kept { _ = try? await new.memory.commit(commit.change) }
        new.log = kept
        new.epoch = old.epoch + 1
        new.isPrimary = true
        let epoch = new.epoch
        new.cluster.change { $0.epoch = epoch }
        return (kept, Array(old.log[kept.count...]))
    }
}

/// The store of one run of a node: the way to the database and back takes time, and may be cut.
///
/// As `PostgreSQLKeyStore`: what finds no server is held for five seconds, a commit whose answer was lost is looked for, a
/// server of a lower epoch than was seen is passed over.
final class NodeStore: KeyStore, ClusterStore, @unchecked Sendable {  // only the thread of the run uses it
    private static let patience: Int64 = .seconds(5)
    private static let renewalLimit: Int64 = .milliseconds(400)

    let database: Database
    let node: String
    private let process: Process
    private var epoch: Int64

    init(_ database: Database, node: String, process: Process, epoch: Int64) {
        (self.database, self.node, self.process, self.epoch) = (database, node, process, epoch)
    }

    private static let away = DiagnosedError(.storeUnreachable, fault: .store, "simulated: no server takes this")

    private func way() async throws {
        try await database.clock.sleep(for: .microseconds(database.scheduler.draw(200...database.latency)))
    }

    /// Does it at the server; nil when the answer did not come back.
    private func ask<R: Sendable>(
        _ body: @escaping @Sendable (Database.Server) async throws -> R
    ) async throws -> R {
        let deadline = database.scheduler.now + Self.patience
        return try await Task(executorPreference: database.process) { [self] in
            while true {
                try await way()
                if let server = database.server(for: node, epoch: epoch) {
                    let result = try await body(server)
                    try await way()
                    if database.server(for: node, epoch: epoch) === server { return result }
                }
                guard database.scheduler.now < deadline else { throw Self.away }
                try await database.clock.sleep(for: .milliseconds(100))
            }
        }.value
    }

    func commit(_ change: StoreChange) async throws -> CommitResult {
        let deadline = database.scheduler.now + Self.patience
        let written = database.mutation == .noLedger ? change.withoutLedger : change
        return try await Task(executorPreference: database.process) { [self] in
            var done: (server: Database.Server, result: CommitResult)?
            while true {
                try await way()
                if let server = database.server(for: node, epoch: epoch) {
                    if done?.server !== server {
                        let result = try await server.memory.commit(written)
                        if result == .committed {
                            server.log.append(.init(time: database.scheduler.now, change: change))
                            database.committed(server, change)
                        }
                        done = (server, result)
                    }
                    try await way()
                    if let done, database.server(for: node, epoch: epoch) === done.server { return done.result }
                }
                guard database.scheduler.now < deadline else { throw Self.away }
                try await database.clock.sleep(for: .milliseconds(100))
            }
        }.value
    }

    // MARK: The cluster

    // Nobody joins while a simulation runs.
    func invite(_ invitation: NodeInvitation) async throws { try await database.primary.cluster.invite(invitation) }
    func invitations() async throws -> [NodeInvitation] { try await database.primary.cluster.invitations() }
    func join(_ request: NodeInvitation.Request, node: String) async throws -> Bool {
        try await database.primary.cluster.join(request, node: node)
    }
    func answer(_ answer: [UInt8], to request: NodeInvitation.Request, node: String) async throws -> Bool {
        try await database.primary.cluster.answer(answer, to: request, node: node)
    }

    func renewLease(_ request: LeaseRequest) async throws -> LeaseAnswer {
        let (sent, there, back) = (
            database.scheduler.now, database.scheduler.draw(200...database.latency),
            database.scheduler.draw(200...database.latency)
        )
        let answer = try await Task(executorPreference: database.process) { [self] () -> LeaseAnswer? in
            try await database.clock.sleep(for: .microseconds(min(there, Self.renewalLimit)))
            guard there < Self.renewalLimit, let server = database.server(for: node, epoch: epoch) else {
                try await database.clock.sleep(for: .microseconds(max(0, Self.renewalLimit - there)))
                return nil
            }
            let answer = try await server.cluster.renewLease(request)
            if answer.refusal == nil { database.granted(node, sent, server) }
            try await database.clock.sleep(for: .microseconds(min(back, Self.renewalLimit - there)))
            guard there + back < Self.renewalLimit, database.server(for: node, epoch: epoch) === server else {
                return nil
            }
            return answer
        }.value
        guard let answer else { throw Self.away }
        if answer.refusal == nil || answer.refusal == .epoch { epoch = max(epoch, answer.epoch) }
        return answer
    }

    func cluster() async throws -> ClusterState { try await ask { try await $0.cluster.cluster() } }
    func leases() async throws -> [NodeLease] { [] }
    func setRemoved(_ isRemoved: Bool, node: String) async throws {}

    // MARK: Reads

    func ledgerEntry(_ digest: [UInt8]) async throws -> LedgerRecord? {
        database.mutation == .noLedger ? nil : try await ask { try await $0.memory.ledgerEntry(digest) }
    }
    func key(_ id: String) async throws -> KeyRecord? { try await ask { try await $0.memory.key(id) } }
    func key(_ id: String, lookup: @Sendable (_ resource: String) -> [UInt8]) async throws -> KeyWithGrant? {
        try await withoutActuallyEscaping(lookup) { lookup in
            try await ask { try await $0.memory.key(id, lookup: lookup) }
        }
    }
    func keys(
        ofResource resource: String, from: Timestamp?, before: Timestamp?, limit: Int?
    ) async throws -> [KeyRecord] {
        try await ask { try await $0.memory.keys(ofResource: resource, from: from, before: before, limit: limit) }
    }
    func keys(ofResource resource: String, behind key: KeyRecord?, limit: Int) async throws -> [KeyRecord] {
        try await ask { try await $0.memory.keys(ofResource: resource, behind: key, limit: limit) }
    }
    func unboundKeys(after id: String?, limit: Int) async throws -> [KeyRecord] {
        try await ask { try await $0.memory.unboundKeys(after: id, limit: limit) }
    }
    func resource(_ id: String) async throws -> ResourceRecord? { try await ask { try await $0.memory.resource(id) } }
    func erasableKey(ofResource resource: String) async throws -> [UInt8]? {
        try await ask { try await $0.memory.erasableKey(ofResource: resource) }
    }
    func authorization(_ id: String) async throws -> AuthorizationRecord? {
        try await ask { try await $0.memory.authorization(id) }
    }
    func authorization(ofResource resource: String, lookup: [UInt8]) async throws -> AuthorizationRecord? {
        try await ask { try await $0.memory.authorization(ofResource: resource, lookup: lookup) }
    }
    func authorizations(
        ofResource resource: String, includingRemoved: Bool
    ) async throws -> [AuthorizationRecord] {
        try await ask {
            try await $0.memory.authorizations(ofResource: resource, includingRemoved: includingRemoved)
        }
    }
    func lastRemoval(ofResource resource: String, lookup: [UInt8]) async throws -> AuthorizationRecord? {
        try await ask { try await $0.memory.lastRemoval(ofResource: resource, lookup: lookup) }
    }
    func removedAuthorizations(until moment: Timestamp, limit: Int) async throws -> [AuthorizationRecord] {
        try await ask { try await $0.memory.removedAuthorizations(until: moment, limit: limit) }
    }
    func session(_ id: String) async throws -> SessionRecord? { try await ask { try await $0.memory.session(id) } }
    func sessions(ofUser user: [UInt8], liveAt now: Timestamp) async throws -> Int {
        try await ask { try await $0.memory.sessions(ofUser: user, liveAt: now) }
    }
    func sessions(ofUser user: [UInt8]?, after id: String?, limit: Int) async throws -> [SessionRecord] {
        try await ask { try await $0.memory.sessions(ofUser: user, after: id, limit: limit) }
    }
    func ledgerAudits(after position: Int64, limit: Int) async throws -> [LedgerAudit] {
        try await ask { try await $0.memory.ledgerAudits(after: position, limit: limit) }
    }
    func ledgerPosition() async throws -> Int64 { try await ask { try await $0.memory.ledgerPosition() } }
    func resources(after id: String?, limit: Int) async throws -> [ResourceRecord] {
        try await ask { try await $0.memory.resources(after: id, limit: limit) }
    }
    func deletedResources(until moment: Timestamp, limit: Int) async throws -> [ResourceRecord] {
        try await ask { try await $0.memory.deletedResources(until: moment, limit: limit) }
    }
    func sealedRows(
        _ table: SealedTable, notUnder version: Int64, after id: String?, limit: Int
    ) async throws -> [SealedRow] {
        try await ask { try await $0.memory.sealedRows(table, notUnder: version, after: id, limit: limit) }
    }
    func sealedCounts(_ table: SealedTable) async throws -> [Int64: Int] {
        try await ask { try await $0.memory.sealedCounts(table) }
    }
    func rootKeys() async throws -> [RootKeyRecord] { try await ask { try await $0.memory.rootKeys() } }
    func sessionKEK(_ id: Int64) async throws -> SessionKEKRecord? {
        try await ask { try await $0.memory.sessionKEK(id) }
    }
    func setting(_ name: String) async throws -> [UInt8]? { try await ask { try await $0.memory.setting(name) } }
    func rowSums() async throws -> [WriterSum] { try await ask { try await $0.memory.rowSums() } }
    func isEmpty() async throws -> Bool { try await ask { try await $0.memory.isEmpty() } }
    func hasExpired(at now: Timestamp) async throws -> Bool {
        try await ask { try await $0.memory.hasExpired(at: now) }
    }
    func check() async throws { try await ask { try await $0.memory.check() } }
    func close() async {}
}

extension StoreChange {
    fileprivate var withoutLedger: StoreChange {
        var change = self
        change.writes.removeAll { if case .insertLedger = $0 { true } else { false } }
        return change
    }

    /// The digest of the string whose outcome this is.
    var digest: [UInt8]? {
        for case .insertLedger(let entry) in writes { return entry.digest }
        return nil
    }
}
