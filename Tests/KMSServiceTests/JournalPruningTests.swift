import Diagnostics
import KeyManagement
import ServiceRuntime
import TestServers
import Testing
import WireText

@testable import KMSService
@testable import MasterKey
@testable import Recovery

@Suite("What is dropped from the journal of removals")
struct JournalPruningTests {
    private static let noon = Timestamp(iso8601: "2026-11-26T12:00:00Z")!

    private static func days(_ count: Int64) -> Timestamp { noon.adding(seconds: count * 86_400) }

    @Test("entries that every backup has, once no copy anywhere can be older; nothing while nobody can say so")
    func pruned() async throws {
        let bench = try await Bench()
        let folder = bench.folder.path + "/removals"
        func open(_ node: String) throws -> RemovalJournal {
            try RemovalJournal.open(folder: folder, host: "kms.example.com", node: node, now: Self.days(0)) {
                bench.ring.journalKey($0)
            }
        }
        let gone = try open("gone")
        try await gone.mark(now: Self.days(1))
        await gone.close()
        try await NodeHeads(node: "gone", journal: gone.header.journal, tip: gone.tip).keep(
            in: bench.store, ring: bench.ring)
        // Of two nodes with folders of their own, one was taken off the list.
        var tip = gone.tip
        for (node, day) in [("elsewhere", Int64(10)), ("working", 10)] {
            tip.time = Self.days(day)
            try await NodeHeads(node: node, journal: "its own", tip: tip, auditHead: "head").keep(
                in: bench.store, ring: bench.ring)
        }
        func head(_ node: String) async throws -> NodeHeads? {
            try await NodeHeads.kept(of: node, in: bench.store, ring: bench.ring)
        }
        let journal = try open("here")
        for day in 0...40 {
            _ = try await journal.append([.erasedKey(id: "\(day)")], position: 0, now: Self.days(Int64(day)))
        }
        func pruning(_ days: Int?, oldest: Timestamp?) -> JournalPruning {
            JournalPruning(
                journal, days: days, store: bench.store, ring: bench.ring, oldestBackup: { oldest },
                removed: { ["elsewhere", "never seen"] },
                events: bench.events,
                log: KMSRequestLog(
                    events: bench.events, metrics: bench.metrics, alarms: bench.health.alarms, ring: bench.ring,
                    usesPseudonyms: true))
        }
        func left() throws -> [String] {
            try JournalReading(folders: [folder], host: "kms.example.com", tips: []) { bench.ring.journalKey($0) }
                .removals.map(\.name)
        }
        let now = Self.days(41)
        for (days, oldest) in [(nil, Self.days(40)), (7, nil), (100, Self.days(40))] as [(Int?, Timestamp?)] {
            try await pruning(days, oldest: oldest).look(now: now)
            #expect(try left().count == 41)
        }
        #expect(try await head("elsewhere")?.tip != nil)
        #expect(bench.events.details(of: .journalPruned).isEmpty)
        // The oldest backup in the folder is older than the days: what it may not have stays.
        try await pruning(7, oldest: Self.days(20)).look(now: now)
        #expect(try left().first == "20" && bench.events.details(of: .journalPruned).count == 1)
        #expect(try await head("elsewhere") == NodeHeads(node: "elsewhere", auditHead: "head"))
        #expect(try await head("working")?.tip != nil)
        #expect(try await head("never seen") == nil)
        // And the other way round.
        try await pruning(7, oldest: Self.days(40)).look(now: now)
        #expect(try left() == (34...40).map(String.init))
        // The node that is gone is asked for by no backup of from now on.
        let names = try JournalReading(folders: [folder], host: "kms.example.com", tips: []) {
            bench.ring.journalKey($0)
        }.nodes.map(\.node)
        #expect(names == ["here"])
        await journal.close()
    }
}
