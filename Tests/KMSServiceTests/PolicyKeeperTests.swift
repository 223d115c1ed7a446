import Diagnostics
import Glibc
import KeyManagement
import KeyStore
import ServiceRuntime
import SignedPolicy
import Synchronization
import Testing
import WireText

@testable import KMSService

/// How a node takes its signed policy, and what it does with one that it does not.
@Suite("The policy of a running KMS")
struct PolicyKeeperTests {
    /// One start of the KMS over the bench: what a restart forgets is made anew.
    private struct Start {
        let keeper: PolicyKeeper
        let inForce: PolicyInForce
        let officers: EnrolledOfficers

        init(_ bench: Bench, signatures: Int = 1, hasFile: Bool = true) throws {
            let memory = PolicyMemory(store: bench.store, vault: bench.vault)
            let holder = PolicyHolder(
                organisation: "example-org", signaturesNeeded: signatures, recall: { try await memory.recall() },
                remember: { try await memory.remember($0) })
            officers = try EnrolledOfficers(file: FileLocation(bench.officersFile))
            inForce = PolicyInForce(KMSPolicy())
            keeper = PolicyKeeper(
                file: hasFile ? FileLocation(bench.policyFile) : nil, holder: holder, officers: officers,
                inForce: inForce, services: ServiceSubjects(store: bench.store, vault: bench.vault),
                audit: bench.audit, health: bench.health, events: bench.events,
                metrics: bench.metrics, clock: { bench.now })
        }

        var version: Int { inForce.current.signed.version }
        var services: [String] { inForce.current.signed.services.map(\.name) }

        /// As the loop does: a file is taken at the second look at which it stands still.
        func look(_ times: Int = 2) async { for _ in 0..<times { await keeper.look() } }
    }

    @Test("without a policy nobody has a consent, and that is no alarm")
    func nothing() async throws {
        let bench = try await Bench()
        for hasFile in [false, true] {
            let start = try Start(bench, hasFile: hasFile)
            await start.keeper.load()
            #expect(start.version == 0 && bench.alarms().isEmpty)
            #expect(bench.detail("policy")?.contains("none is in force") == hasFile)
        }
        #expect(try bench.acts().isEmpty)
    }

    @Test("a changed file is taken at the second look: given, withdrawn, each with the officers in trail and journal")
    func changes() async throws {
        let bench = try await Bench()
        let start = try Start(bench)
        await start.keeper.load()
        try bench.sign(try Bench.canonical(version: 1, Bench.consent), by: [bench.ada])
        await start.look(1)
        #expect(start.version == 0, "it may still be written to")
        await start.look(1)
        #expect(start.version == 1 && start.services == ["indexer"])
        #expect(bench.detail("policy") == "version 1 is in force, with 1 services")
        try bench.sign(try Bench.canonical(version: 2), by: [bench.ada, bench.bob])
        await start.look()
        #expect(start.version == 2 && start.services.isEmpty)
        await start.look(5)
        #expect(
            try bench.acts() == [
                "policy policy-widened officers ada", "policy policy-changed officers ada, bob",
            ])
        let told = bench.events.details(of: .policyTaken)
        #expect(
            told == [
                "version 1, signed by ada; it widens what somebody may",
                "version 2, signed by ada and bob; it widens nothing",
            ])
        #expect(bench.alarms().isEmpty)
    }

    @Test("what widens waits for its record in the trail, what narrows does not, and nothing is left out of it")
    func unrecorded() async throws {
        let bench = try await Bench()
        let start = try Start(bench)
        try bench.sign(try Bench.canonical(version: 1, Bench.consent), by: [bench.ada])
        await start.keeper.load()
        func isFull(_ isFull: Bool) { bench.disk.isFull.withLock { $0 = isFull } }
        isFull(true)
        try bench.sign(try Bench.canonical(version: 2), by: [bench.ada])
        await start.look()
        #expect(start.version == 2, "a consent is withdrawn at once")
        #expect(bench.alarms() == ["HDS-POLICY-REFUSED"])
        isFull(false)
        await start.look(1)
        #expect(bench.alarms().isEmpty)
        isFull(true)
        try bench.sign(try Bench.canonical(version: 3, Bench.consent), by: [bench.ada])
        await start.look(4)
        #expect(start.version == 2 && start.services.isEmpty)
        #expect(bench.alarms() == ["HDS-POLICY-REFUSED"])
        try bench.sign(try Bench.canonical(version: 4), by: [bench.ada])
        await start.look()
        #expect(start.version == 2, "it stands behind the one that waits")
        isFull(false)
        await start.look(1)
        #expect(start.version == 4 && bench.alarms().isEmpty)
        #expect(
            try bench.acts().map { $0.split(separator: " ")[1] } == [
                "policy-widened", "policy-changed", "policy-widened", "policy-changed",
            ])
        #expect(try bench.verifyTrail() >= 5)
    }

    @Test(
        "[HDS-POLICY-REFUSED] a policy that is refused changes nothing and raises an alarm that says why, until one is taken"
    )
    func refused() async throws {
        let bench = try await Bench()
        let start = try Start(bench)
        try bench.sign(try Bench.canonical(version: 5, Bench.consent), by: [bench.ada])
        await start.keeper.load()
        let eve = try Bench.OfficerKey("eve", [.policy])
        for (text, reason) in [
            ("garbage", "policy-signature"),
            (try SignedPolicyText.sign(try Bench.canonical(version: 6), with: eve.key), "officer-unknown"),
            (try SignedPolicyText.sign(try Bench.canonical(version: 4), with: bench.ada.key), "policy-rollback"),
            (try SignedPolicyText.sign(try Bench.canonical(version: 5), with: bench.ada.key), "policy-rollback"),
        ] {
            try bench.write(text, to: bench.policyFile)
            await start.look()
            #expect(start.version == 5 && start.services == ["indexer"])
            #expect(bench.alarms() == ["HDS-POLICY-REFUSED"])
            let detail = bench.health.report.alarms.first?.detail.text ?? ""
            #expect(detail.contains(reason) && detail.contains("version 5 stays in force"), "\(detail)")
        }
        try bench.sign(try Bench.canonical(version: 6), by: [bench.ada])
        await start.look()
        #expect(start.version == 6 && bench.alarms().isEmpty)
        #expect(try bench.acts().count == 2, "what was refused is no decision")
    }

    @Test(
        "[HDS-POLICY-MISSING] after a restart the same policy is taken up again, an older one is not, and no file takes nothing back"
    )
    func restart() async throws {
        let bench = try await Bench()
        let first = try Start(bench)
        try bench.sign(try Bench.canonical(version: 2, Bench.consent), by: [bench.ada])
        await first.keeper.load()
        let again = try Start(bench)
        await again.keeper.load()
        #expect(again.version == 2)
        #expect(try bench.acts().last == "policy policy-resumed officers ada")
        let without = try Start(bench, hasFile: false)
        await without.keeper.load()
        #expect(without.version == 0 && bench.alarms() == ["HDS-POLICY-MISSING"])
        unlink(bench.policyFile)
        await again.look()
        #expect(again.version == 2, "a file that vanishes takes nothing back")
        #expect(bench.alarms() == ["HDS-POLICY-MISSING"])
        try bench.sign(try Bench.canonical(version: 1, Bench.consent), by: [bench.ada])
        let older = try Start(bench)
        await older.keeper.load()
        #expect(older.version == 0 && older.services.isEmpty, "nothing is allowed by an old policy")
        #expect(bench.alarms().contains("HDS-POLICY-REFUSED"))
        try bench.sign(try Bench.canonical(version: 3, Bench.consent), by: [bench.ada])
        await older.keeper.load()
        #expect(older.version == 3 && bench.alarms().isEmpty)
    }

    @Test("a subject that a policy named stays a service: without its consent, after a restart, without any policy")
    func services() async throws {
        let bench = try await Bench()
        let first = try Start(bench)
        await first.keeper.load()
        #expect(!first.inForce.current.isService("svc"))
        try bench.sign(try Bench.canonical(version: 1, Bench.consent), by: [bench.ada])
        await first.look()
        try bench.sign(try Bench.canonical(version: 2), by: [bench.ada])
        await first.look()
        #expect(first.version == 2 && first.inForce.current.isService("svc"))
        for hasFile in [true, false] {
            let again = try Start(bench, hasFile: hasFile)
            await again.keeper.load()
            #expect(again.inForce.current.isService("svc") && !again.inForce.current.isService("other"))
        }
        _ = try await bench.store.commit(StoreChange(writes: [.putSetting(name: "policy-services", value: [1, 2, 3])]))
        let forged = try Start(bench)
        await forged.keeper.load()
        #expect(forged.version == 0 && bench.alarms().contains("HDS-POLICY-REFUSED"))
    }

    @Test("two signatures where two are needed; who enrols later makes a refused policy good without touching it")
    func signatures() async throws {
        let bench = try await Bench()
        try bench.enrol([bench.ada])
        let start = try Start(bench, signatures: 2)
        try bench.sign(try Bench.canonical(version: 1), by: [bench.ada])
        await start.keeper.load()
        #expect(start.version == 0)
        try bench.sign(try Bench.canonical(version: 1), by: [bench.ada, bench.bob])
        await start.look()
        #expect(start.version == 0 && bench.alarms() == ["HDS-POLICY-REFUSED"])
        try bench.enrol([bench.ada, bench.bob])
        await start.look()
        #expect(start.version == 1 && bench.alarms().isEmpty)
    }

    @Test("a file of officers that cannot be used or that others may write changes no officer")
    func officers() async throws {
        let bench = try await Bench()
        let start = try Start(bench)
        await start.keeper.load()
        #expect(start.officers.roster.officers.map(\.id) == ["ada", "bob"])
        let good = String(decoding: try OfficerRoster([bench.ada.officer]).json(), as: UTF8.self)
        for (text, mode) in [("{", mode_t(0o600)), (good, 0o666), (good, 0o620)] {
            try bench.write(text, to: bench.officersFile, mode: mode)
            await start.look()
            #expect(start.officers.roster.officers.count == 2)
            #expect(bench.alarms() == ["HDS-POLICY-REFUSED"])
            #expect(await errorCode { try await start.keeper.reload() } == .officersMalformed)
        }
        try bench.write(good, to: bench.officersFile)
        try await start.keeper.reload()
        #expect(start.officers.roster.officers.map(\.id) == ["ada"])
        unlink(bench.officersFile)
        try await start.keeper.reload()
        #expect(start.officers.roster == .empty, "nobody can sign")
    }

    @Test("a node that is behind another one says so within a look and answers nobody until it has the same policy")
    func behind() async throws {
        let bench = try await Bench()
        try bench.sign(try Bench.canonical(version: 1, Bench.consent), by: [bench.ada])
        let first = try Start(bench), second = try Start(bench)
        await first.keeper.load()
        await second.keeper.load()
        #expect(first.version == 1 && second.version == 1)
        try bench.sign(try Bench.canonical(version: 2), by: [bench.ada])
        await first.keeper.load()
        #expect(first.version == 2 && first.inForce.outdatedBy == nil)
        await second.look(1)
        #expect(second.version == 1 && second.inForce.outdatedBy == 2)
        #expect(bench.alarms() == ["HDS-POLICY-REFUSED"])
        #expect(bench.detail("policy")?.contains("answers nobody") == true)
        await second.look(1)
        #expect(second.version == 2 && second.inForce.outdatedBy == nil && bench.alarms().isEmpty)
    }

    @Test("the highest version lies sealed in the store: a row that is put back or changed is noticed")
    func sealed() async throws {
        let bench = try await Bench()
        let memory = PolicyMemory(store: bench.store, vault: bench.vault)
        let one = PolicyHolder.Seen(version: 1, digest: [1]), two = PolicyHolder.Seen(version: 2, digest: [2])
        #expect(try await memory.recall() == nil)
        try await memory.remember(one)
        let row = try await bench.store.setting("policy-seen")
        try await memory.remember(two)
        #expect(try await memory.recall() == two)
        #expect(await errorCode { try await memory.remember(.init(version: 2, digest: [9])) } == .policyRollback)
        #expect(await errorCode { try await memory.remember(one) } == .policyRollback)
        _ = try await bench.store.commit(
            StoreChange(writes: [.putSetting(name: "policy-seen", value: try #require(row))]))
        #expect(await errorCode { try await memory.recall() } == "store-rollback")
        _ = try await bench.store.commit(StoreChange(writes: [.putSetting(name: "policy-seen", value: [1, 2, 3])]))
        #expect(await errorCode { try await memory.recall() } != nil)
    }
}
