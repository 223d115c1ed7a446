import Diagnostics
import Glibc
import KeyStore
import KeyStorePostgreSQL
import PostgreSQLClient
import SiteFailover
import TestServers
import Testing
import WireText

/// Failovers between two real servers: what is refused, what is proved, and that every step may be done again.
@Suite("Failover between sites", .enabled(if: TestPostgreSQL.isInstalled)) struct SiteFailoverTests {
    /// A primary and a standby, a node that has a lease, and the tool.
    struct World {
        let primary: TestPostgreSQL
        let standby: TestPostgreSQL
        let folder = TemporaryFolder()
        let settings: PostgreSQLSettings

        init(isSynchronous: Bool) async throws {
            primary = try await TestPostgreSQL.start()
            standby = try await TestPostgreSQL.start(standbyOf: primary)
            var settings = primary.settings
            settings.hosts += standby.settings.hosts
            self.settings = settings
            try await primary.sql("GRANT EXECUTE ON FUNCTION pg_promote(boolean, integer) TO hds")
            let store = try await store()
            if isSynchronous {
                try await primary.sql("ALTER SYSTEM SET synchronous_standby_names = '*'")
                try await primary.sql("SELECT pg_reload_conf()")
                try await until { try await store.renewLease(request()).isSynchronous }
            } else {
                _ = try await store.renewLease(request())
            }
            await store.close()
            let source = server(primary), follower = server(standby)
            try await until {
                try await onOwnThread { try follower.look().replayed >= source.look().position }
            }
        }

        func end() {
            standby.end()
            primary.end()
        }

        func request(_ epoch: Int64 = 1) -> LeaseRequest { LeaseRequest(node: "kms-1", epoch: epoch, release: "1") }
        func server(_ server: TestPostgreSQL) -> ClusterServer {
            ClusterServer(settings, host: server.settings.hosts[0])
        }

        func store(epoch: Int64 = 0) async throws -> PostgreSQLKeyStore {
            var options = PostgreSQLKeyStore.Options()
            options.epoch = epoch
            options.patience = .seconds(20)
            return try await PostgreSQLKeyStore.open(settings, options: options)
        }

        func failover(seen: Int64 = 1) throws -> SiteFailover {
            SiteFailover(settings, seenEpoch: seen, journal: try FailoverJournal(path: folder.path + "/journal"))
        }

        func promote(
            seen: Int64 = 1, _ change: @Sendable (inout SiteFailover.Request) -> Void = { _ in }
        ) async throws -> SiteFailover.Outcome {
            var request = SiteFailover.Request()
            change(&request)
            let (world, asked) = (self, request)
            return try await onOwnThread { try world.failover(seen: seen).promote(asked) }
        }

        func code(_ body: () async throws -> some Any) async -> DiagnosedError.Code? {
            do {
                _ = try await body()
                return nil
            } catch {
                return (error as? DiagnosedError)?.code
            }
        }

        func until(_ condition: () async throws -> Bool) async throws {
            let deadline = ContinuousClock.now + .seconds(30)
            while try await !condition() {
                guard .now < deadline else { throw TestPKI.Failure(what: "it did not come to pass within 30 s") }
                await Task.yield()
            }
        }
    }

    @Test(
        "with synchronous commits nothing is lost, and it is proved; nodes go on in the next epoch, the old server is refused"
    )
    func proved() async throws {
        let world = try await World(isSynchronous: true)
        defer { world.end() }
        #expect(await world.code { try await world.promote() } == .failoverRefused, "the primary can be reached")
        try await world.primary.tell("stop")
        let outcome = try await world.promote { $0.site = "b" }
        #expect(outcome.proof.isProved && outcome.from == 1 && outcome.to == 2)
        let store = try await world.store()
        #expect(try await store.renewLease(world.request()).refusal == .epoch)
        #expect(try await store.renewLease(world.request(2)).refusal == nil)
        #expect(try await store.cluster().site == "b")
        // The old server comes back and takes writes; nobody who has seen epoch 2 works with it.
        try await world.primary.tell("start")
        var alone = world.settings
        alone.hosts = world.primary.settings.hosts
        var options = PostgreSQLKeyStore.Options()
        (options.epoch, options.patience) = (2, .seconds(20))
        let settings = alone, wanted = options
        #expect(await world.code { try await PostgreSQLKeyStore.open(settings, options: wanted) } == .storeSuperseded)
        let survey = try await onOwnThread { try world.failover(seen: 2).survey() }
        let told = survey.checks(target: nil).first { $0.name == "primaries" }
        #expect(told?.result == .warn && told?.detail.contains("epoch 1, which is over") == true)
        // Once more changes nothing.
        #expect(try await world.promote(seen: 2) { $0.target = world.standby.settings.hosts[0].description }.to == 2)
        await store.close()
    }

    @Test("without them it is unknown and refused; forced it is done, and still called unknown")
    func unknown() async throws {
        let world = try await World(isSynchronous: false)
        defer { world.end() }
        try await world.primary.tell("stop")
        #expect(await world.code { try await world.promote() } == .failoverUnknown)
        #expect(try await onOwnThread { try world.server(world.standby).look().isStandby }, "nothing was changed")
        let outcome = try await world.promote { $0.isForced = true }
        #expect(!outcome.proof.isProved && outcome.to == 2)
    }

    @Test("a standby that is behind what this node has seen proves nothing, and its new epoch is above that")
    func behind() async throws {
        let world = try await World(isSynchronous: true)
        defer { world.end() }
        try await world.primary.tell("stop")
        #expect(await world.code { try await world.promote(seen: 5) } == .failoverRefused)
        let outcome = try await world.promote(seen: 5) { $0.isForced = true }
        #expect(!outcome.proof.isProved && outcome.to == 6)
    }

    @Test("a switch-over closes the old epoch first, waits for the standby, and proves that all of the log is there")
    func switchOver() async throws {
        let world = try await World(isSynchronous: false)
        defer { world.end() }
        let store = try await world.store()
        _ = try await store.renewLease(world.request())
        #expect(await world.code { try await world.promote() } == .failoverRefused, "it gives leases")
        let outcome = try await world.promote { $0.isSwitchOver = true }
        #expect(outcome.proof.isProved && outcome.to == 3 && outcome.old == world.primary.settings.hosts[0].description)
        // The store finds the new one by itself, although the old one still takes writes.
        try await world.until { (try? await store.renewLease(world.request(3)))?.refusal == .some(nil) }
        #expect(try await onOwnThread { try world.server(world.primary).look().cluster.isOpen } == false)
        _ = try await store.commit(StoreChange(writes: [.putSetting(name: "after", value: [1])]))
        await store.close()
        let there = try await world.standby.sql("SELECT count(*) FROM hds_kms.settings WHERE name = 'after'")
        #expect(there?.text(0, 0) == "1", "written where the epoch is, not where the connection was")
        let failback = await world.code {
            let name = world.primary.settings.hosts[0].description
            return try await onOwnThread { try world.failover(seen: 3).failback(to: name, site: "a") }
        }
        #expect(failback == .failoverRefused, "it is no standby yet")
    }

    @Test("back to a server that was made a standby again: a switch-over like any other, in the next epoch")
    func failback() async throws {
        let world = try await World(isSynchronous: false)
        defer { world.end() }
        #expect(try await world.promote { $0.isSwitchOver = true }.to == 3)
        try await world.primary.tell("stop")
        let rebuilt = try await TestPostgreSQL.start(standbyOf: world.standby)
        defer { rebuilt.end() }
        var settings = rebuilt.settings
        settings.hosts += world.standby.settings.hosts
        let asked = settings, path = world.folder.path + "/back", name = rebuilt.settings.hosts[0].description
        let follower = ClusterServer(asked, host: rebuilt.settings.hosts[0])
        try await world.until { try await onOwnThread { try follower.look().isReceiving } }
        let outcome = try await onOwnThread {
            let failover = SiteFailover(asked, seenEpoch: 3, journal: try FailoverJournal(path: path))
            return try failover.failback(to: name, site: "a")
        }
        #expect(outcome.proof.isProved && outcome.from == 3 && outcome.to == 5)
        var options = PostgreSQLKeyStore.Options()
        options.epoch = 3
        let store = try await PostgreSQLKeyStore.open(asked, options: options)
        try await world.until { (try? await store.renewLease(world.request(5)))?.refusal == .some(nil) }
        #expect(try await store.cluster().site == "a")
        await store.close()
    }

    @Test("cut off after any step, the same command goes on where it was and comes to the same end")
    func resumed() async throws {
        let world = try await World(isSynchronous: true)
        defer { world.end() }
        try await world.primary.tell("stop")
        let path = world.folder.path + "/journal"
        let target = world.standby.settings.hosts[0].description
        // What a run writes that dies right after the server was promoted.
        let journal = try FailoverJournal(path: path)
        try journal.note(.init(run: "r", step: "run", state: "begun", target: target, epoch: 1))
        try journal.note(.init(run: "r", step: "proof", state: "proved", target: target, detail: "as before"))
        try journal.note(.init(run: "r", step: "promote", state: "begun", target: target))
        try await onOwnThread { try world.server(world.standby).promote() }
        #expect(await world.code { try world.failover() } == "failover-runs", "one at a time")
        journal.close()
        let outcome = try await world.promote()
        #expect(outcome.isResumed && outcome.to == 2 && outcome.proof == .proved("as before"))
        #expect(try FailoverJournal(path: path).unfinished == nil)
    }

    @Test("a line of the journal that a crash cut off is left out, and the next one stands by itself")
    func tornJournal() throws {
        let folder = TemporaryFolder()
        let path = folder.path + "/journal"
        let first = try FailoverJournal(path: path)
        try first.note(.init(run: "r", step: "run", state: "begun", target: "b:5432", epoch: 4))
        first.close()
        let descriptor = open(path, O_WRONLY | O_APPEND)
        let torn = Array(#"{"time":"2026-01-01T00:00:00Z","run":"r","st"#.utf8)
        #expect(write(descriptor, torn, torn.count) == torn.count)
        close(descriptor)
        let second = try FailoverJournal(path: path)
        #expect(second.entries.count == 1)
        #expect(second.unfinished?.target == "b:5432" && second.unfinished?.epoch == 4)
        try second.note(.init(run: "r", step: "run", state: "done", target: "b:5432", epoch: 5))
        second.close()
        let third = try FailoverJournal(path: path)
        #expect(third.entries.map(\.state) == ["begun", "done"] && third.unfinished == nil)
    }

    @Test("giving the promise up raises the epoch, so that a standby that does not know of it proves nothing")
    func asynchronous() async throws {
        let world = try await World(isSynchronous: true)
        defer { world.end() }
        try await world.standby.tell("stop")
        try await world.until {
            let rows = try await world.primary.sql("SELECT count(*) FROM pg_stat_replication")
            return rows?.text(0, 0) == "0"
        }
        let refused = await world.code {
            try await onOwnThread { try world.failover().giveUpSynchronous(isForced: false) }
        }
        #expect(refused == .failoverRefused)
        #expect(try await onOwnThread { try world.failover().giveUpSynchronous(isForced: true) } == 2)
        try await world.primary.tell("stop")
        try await world.standby.tell("start")
        // This node has worked in epoch 2 since.
        #expect(await world.code { try await world.promote(seen: 2) } == .failoverRefused)
    }

    @Test("a survey says which standby follows and how far behind; one that is gone is named")
    func redundancy() async throws {
        let world = try await World(isSynchronous: false)
        defer { world.end() }
        let standby = world.standby.settings.hosts[0].description
        func look() async throws -> FailoverSurvey.Redundancy {
            try await onOwnThread { FailoverSurvey(world.settings, seenEpoch: 1).redundancy }
        }
        try await world.until { try await look().following == [standby] }
        let good = try await look()
        #expect(good.missing.isEmpty && (good.behind ?? .max) < 16 << 20)
        try await world.standby.tell("stop")
        let lost = try await look()
        #expect(lost.following.isEmpty && lost.behind == nil)
        #expect(lost.missing.count == 1 && lost.missing[0].hasPrefix(standby), "\(lost.missing)")
    }
}
