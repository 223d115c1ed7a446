import Cryptography
import Diagnostics
import EDiscoveryCollection
import EDiscoveryModel
import FoundationEssentials
import KMSClient
import LinkedService
import SecretMemory
import Synchronization
import TestServers
import Testing
import WireText

@testable import EDiscoveryService

/// The core as the worker's upkeep sees it: files by id, and what it was told to delete.
final class FakeCore: CoreAsking {
    let files = Mutex<[String: [UInt8]]>([:])
    let removed = Mutex<[String]>([])
    let away = Mutex(false)
    private static let part = 5

    func part(of file: String, in space: String, from offset: UInt64) async throws -> (octets: [UInt8]?, size: UInt64) {
        try demand()
        guard let octets = files.withLock({ $0[file] }) else { return (nil, 0) }
        return (Array(octets.dropFirst(Int(offset)).prefix(Self.part)), UInt64(octets.count))
    }

    func remove(_ message: String, in space: String) async throws {
        try demand()
        removed.withLock { $0.append("\(space)/\(message)") }
    }

    private func demand() throws {
        if away.withLock({ $0 }) { throw DiagnosedError("away", fault: .peer, "the core is away") }
    }
}

@Suite("Holds, retention, purges and erasures") struct DestructionTests {
    private final class Clock: Sendable {
        let time = Mutex(Timestamp(iso8601: "2026-02-01T00:00:00Z")!)
        func advance(_ seconds: Int64) { time.withLock { $0 = $0.adding(seconds: seconds) } }
    }

    private struct World {
        let folder = TemporaryFolder()
        let kms = FakeKMS()
        let core = FakeCore()
        let mirror: Mirror
        let vault: FileVault
        let commands: OfficerCommands
        let destroyer: Destroyer
        let clock = Clock()

        init() throws {
            mirror = try Mirror(path: folder.path + "/mirror.sqlite")
            vault = try FileVault(folder: folder.path + "/files", largest: 100)
            let now: @Sendable () -> Timestamp = { [clock] in clock.time.withLock { $0 } }
            let directory = try Directory(
                Array(#"{"people":[{"id":"ada","emails":["ada@x.test"]},{"id":"ben","emails":["ben@x.test"]}]}"#.utf8))
            commands = OfficerCommands(mirror: mirror, directory: directory, now: now)
            destroyer = Destroyer(
                consent: Consent(kms, now: now) { _ in }, mirror: mirror, vault: vault, core: core,
                sign: { "signed " + Hexadecimal.encode($0) }, now: now)
            // The feed of the collection tests without its gap.
            try add(CollectionTests.feed + [event(7, "leave", "cy", #"{"id":"cy"}"#)])
        }

        func add(_ items: [[UInt8]]) throws {
            try mirror.add(items.map { (FeedEntry($0)!, $0) }, followsCore: true, under: kms.key)
        }

        @discardableResult
        func ask(_ name: String, _ body: String = "{}", by officer: String = "carol", matter: String? = nil) throws
            -> JSONNode
        {
            try JSONDocument(
                text: commands.perform(
                    name, JSONDocument(text: body).root, .init(officer: officer, matter: matter, key: kms.key))
            ).root
        }

        func status(_ name: String, _ body: String = "{}", by officer: String = "carol", matter: String? = nil) -> Int {
            do {
                try ask(name, body, by: officer, matter: matter)
                return 200
            } catch let refused as OfficerCommands.Refused {
                return refused.status
            } catch let error as DiagnosedError where error.fault == .client {
                return 400
            } catch {
                return 500
            }
        }

        static func grant(_ proposal: JSONNode) -> String {
            #"{"id":"\#(proposal["id"]?.string ?? "")","digest":"\#(proposal["digest"]?.string ?? "")"}"#
        }

        func granted(_ name: String, _ body: String) throws -> JSONNode {
            let proposal = try ask(name, body)
            return try ask("approvals.grant", Self.grant(proposal), by: "dave")
        }

        /// Places of messages that are there still.
        func there() throws -> [UInt64] {
            try mirror.log(of: "room", under: kms.key).messages.filter { $0.removal == nil }.map(\.sequence)
        }

        func text() throws -> String {
            try mirror.queue.read { db in
                let space = try String.fetchOne(db, sql: "SELECT space FROM event") ?? ""
                return try Mirror.events(of: space, until: .max, kms.key, db).map {
                    String(decoding: $0, as: UTF8.self)
                }
                .joined()
            }
        }
    }

    @Test(
        "An erasure takes what a person wrote with its edits, here and at the core, and a signed certificate shows it")
    func erasure() async throws {
        let world = try World()
        let proposal = try world.ask("subject.erase", #"{"emails":["BEN@x.test"],"reason":"asked"}"#)
        let id = try #require(proposal["id"]?.string)
        try await world.destroyer.work()
        #expect(try world.there() == [1, 2, 5, 9], "one officer alone does nothing")
        let grant = World.grant(proposal)
        #expect(world.status("approvals.grant", grant) == 403, "nor twice the same one")
        #expect(world.status("approvals.grant", grant, by: "CAROL") == 403)
        #expect(world.status("approvals.grant", #"{"id":"\#(id)"}"#, by: "dave") == 409, "without having seen it")
        let another = try world.ask("subject.erase", #"{"userIds":["ada"],"reason":"asked"}"#)["digest"]?.string ?? ""
        #expect(world.status("approvals.grant", #"{"id":"\#(id)","digest":"\#(another)"}"#, by: "dave") == 409)
        try world.ask("approvals.grant", grant, by: "dave")
        #expect(world.status("approvals.grant", grant, by: "dave") == 409)
        world.core.away.withLock { $0 = true }
        await #expect(throws: DiagnosedError.self) { try await world.destroyer.work() }
        #expect(try world.there() == [1, 5, 9])
        #expect(try !world.text().contains("x:no") && !world.text().contains("x:yes"), "nor its edit")
        world.core.away.withLock { $0 = false }
        try await world.destroyer.work()
        #expect(world.core.removed.withLock { $0 } == ["room/a2"], "once it answers again")
        try await world.destroyer.work()
        #expect(world.core.removed.withLock { $0 }.count == 1)

        let certificate = try world.ask("certificates.get", #"{"id":"\#(id)"}"#)
        let stated = try #require(certificate["certificate"])
        #expect(stated["removed"]?.integer == 1 && stated["held"]?.integer == 0)
        #expect(stated["officer"]?.string == "carol" && stated["second"]?.string == "dave")
        let digest = Hexadecimal.encode(SHA256.hash(Array(stated.rawText.utf8)))
        #expect(certificate["signature"]?.string == "signed " + digest)
        // A report says that something was destroyed, and is complete for all that.
        let log = try world.mirror.log(of: "room", under: world.kms.key)
        let found = try await SpaceCollection(
            ReportRequest(JSONDocument(text: #"{"name":"r"}"#).root), subjects: [], people: { .init(id: $0) },
            opener: OpenTexts()
        ).items(of: log)
        #expect(found.map(\.sequence) == [1, 2, 5, 9])
        #expect(found[1].text == nil && found[1].history.isEmpty)
        #expect(found[1].problems.map(\.problemClass) == [.removed] && found[1].problems[0].isWarning)
    }

    @Test("A hold beats expiry, retention, purge and erasure; let go by two officers, what waited is done")
    func held() async throws {
        let world = try World()
        let hold = try world.ask(
            "holds.create", #"{"name":"h","custodians":{"emails":["ben@x.test"]}}"#, by: "olga", matter: "m7")
        // ben was there at 1 and 2, and came back before 9; what he could read on his return is his as well.
        try world.add([Array(#"{"type":"expired","conversation":"room","message":"a1","sequence":1}"#.utf8)])
        _ = try world.granted("subject.erase", #"{"userIds":["ada"],"reason":"r"}"#)
        _ = try world.granted("retention.set", #"{"scope":"organisation","days":1}"#)
        try await world.destroyer.work()
        #expect(try world.there() == [1, 2, 5, 9])
        #expect(world.core.removed.withLock { $0 }.isEmpty)
        let certificate = try #require(
            try world.ask("certificates.list")["certificates"]?.elements?.first?["certificate"])
        #expect(certificate["removed"]?.integer == 0 && certificate["kind"]?.string == "erasure")

        let id = hold["id"]?.string ?? ""
        #expect(world.status("holds.release", #"{"id":"\#(id)","reason":"over"}"#) == 404, "another matter's")
        let release = try world.ask("holds.release", #"{"id":"\#(id)","reason":"over"}"#, by: "olga", matter: "m7")
        try await world.destroyer.work()
        #expect(try world.there().count == 4)
        let grant = World.grant(release)
        #expect(world.status("approvals.grant", grant, by: "olga", matter: "m7") == 403)
        #expect(world.status("approvals.grant", grant, by: "pia") == 404, "without the matter")
        try world.ask("approvals.grant", grant, by: "pia", matter: "m7")
        try await world.destroyer.work()
        #expect(try world.there() == [])
    }

    @Test("A hold names custodians, spaces and times, and is only ever widened")
    func holds() throws {
        let world = try World()
        let log = try world.mirror.log(of: "room", under: world.kms.key)
        func covered(_ people: [String], _ spaces: [String] = [], _ start: String? = nil, _ end: String? = nil)
            -> [UInt64]
        {
            let hold = LegalHold(
                id: "h", matter: nil, name: "n", officer: "o", created: Timestamp(seconds: 0), custodians: people,
                spaces: spaces, start: start.flatMap { Timestamp(iso8601: "2026-01-01T" + $0 + "Z") },
                end: end.flatMap { Timestamp(iso8601: "2026-01-01T" + $0 + "Z") })
            return log.messages.filter { hold.covers($0, in: log) }.map(\.sequence)
        }
        #expect(covered(["ada"]) == [1, 2, 5, 9] && covered(["zoe"]) == [])
        #expect(covered([], ["room"]) == [1, 2, 5, 9] && covered([], ["other"]) == [])
        #expect(covered(["ada"], [], "00:02:00", "00:05:00") == [2], "start <= t < end")

        let made = try world.ask("holds.create", #"{"name":"h","spaces":["room"],"start":"2026-01-01T00:00:00Z"}"#)
        let id = made["id"]?.string ?? ""
        #expect(world.status("holds.update", #"{"id":"\#(id)","addCustodians":{"userIds":["ada"]}}"#) == 409)
        #expect(world.status("holds.update", #"{"id":"\#(id)","start":"2026-01-02T00:00:00Z"}"#) == 409)
        #expect(world.status("holds.update", #"{"id":"\#(id)","end":"2027-01-02T00:00:00Z"}"#) == 409)
        let wider = try world.ask(
            "holds.update", #"{"id":"\#(id)","addSpaces":["r2"],"start":"2025-01-01T00:00:00Z"}"#)
        #expect(wider["spaces"]?.strings == ["r2", "room"] && wider["start"]?.string?.hasPrefix("2025") == true)
        #expect(world.status("holds.create", #"{"name":"all"}"#) == 400, "everything only by that word")
        #expect(world.status("holds.create", #"{"name":"n","custodians":{"emails":["no@x.test"]}}"#) == 400)
    }

    @Test("A purge counts first, with what is held, and destroys what was counted and nothing that came later")
    func purge() async throws {
        let world = try World()
        try world.ask("holds.create", #"{"name":"h","spaces":["room"],"end":"2026-01-01T00:02:00Z"}"#)
        let preview = try world.ask("purge.preview", #"{"spaces":["ROOM"],"range":{"end":"2026-01-01T01:00:00Z"}}"#)
        let id = preview["previewId"]?.string ?? ""
        #expect(world.status("purge.run", #"{"previewId":"\#(id)","reason":"r"}"#) == 409, "not counted yet")
        try await world.destroyer.work()
        let counted = try world.ask("purge.get", #"{"id":"\#(id)"}"#)
        #expect(counted["items"]?.integer == 3 && counted["blockedByHold"]?.integer == 1, "\(counted.rawText)")
        try world.add([post(10, "ada", "later")])
        #expect(world.status("purge.run", #"{"previewId":"\#(id)"}"#) == 400, "a reason is needed")
        _ = try world.granted("purge.run", #"{"previewId":"\#(id)","reason":"r"}"#)
        try await world.destroyer.work()
        #expect(try world.there() == [1, 10])
        #expect(world.core.removed.withLock { $0 } == ["room/a2", "room/a5", "room/a9"])
        // As late as a day the counts are not those of today.
        let old = try world.ask("purge.preview", #"{"spaces":["room"]}"#)["previewId"]?.string ?? ""
        try await world.destroyer.work()
        world.clock.advance(86_401)
        #expect(world.status("purge.run", #"{"previewId":"\#(old)","reason":"r"}"#) == 409)
        #expect(world.status("purge.preview", #"{}"#) == 400, "everything is not a purge")
    }

    @Test("Retention goes by the rule of the space, else of the organisation; a shorter one takes two officers")
    func retention() async throws {
        let world = try World()
        #expect(world.status("retention.set", #"{"scope":"room","days":1}"#) == 400)
        #expect(world.status("retention.set", #"{"scope":"organisation","days":0}"#) == 400)
        _ = try world.granted("retention.set", #"{"scope":"organisation","days":40}"#)
        try await world.destroyer.work()
        #expect(try world.there().count == 4, "31 days old")
        world.clock.advance(10 * 86_400)
        try await world.destroyer.work()
        #expect(try world.there() == [])
        #expect(world.core.removed.withLock { $0 }.count == 4)
    }

    @Test("What concerns the whole organisation is not for officers of one matter; a proposal is void after a week")
    func who() throws {
        let world = try World()
        for name in ["retention.list", "retention.set", "purge.preview", "subject.erase", "subject.export"] {
            #expect(world.status(name, matter: "m7") == 403, "\(name)")
        }
        let proposal = try world.ask("subject.erase", #"{"userIds":["ada"],"reason":"r"}"#)
        let grant = World.grant(proposal)
        world.clock.advance(7 * 86_400)
        #expect(world.status("approvals.grant", grant, by: "dave") == 409)
        #expect(world.status("nonsense") == 400 && world.status("reports.\n") == 400)
    }

    @Test(
        "What the core deleted for its age is destroyed here as well, files too; a mirror of an earlier release learns it"
    )
    func expired() async throws {
        let world = try World()
        let id = "11111111-1111-4111-8111-111111111111"
        let share = event(
            10, "share", "ada",
            #"{"displayName":"x:see","files":[{"displayName":"x:a.txt","url":"https://core/files/\#(id)","fileSize":12}]}"#
        )
        try world.add([share])
        world.core.files.withLock { $0[id] = Array("ciphertext!!".utf8) }
        let fetching = FileFetching(mirror: world.mirror, vault: world.vault, core: world.core)
        while try await fetching.work() {}
        #expect(world.vault.has(id))
        var octets: [UInt8] = []
        #expect(try world.vault.read(id) { octets += $0 })
        #expect(String(decoding: octets, as: UTF8.self) == "ciphertext!!", "in parts of five")
        // As an earlier release kept it.
        try world.mirror.queue.write {
            try $0.execute(sql: "UPDATE event SET kind = -1, published = 0, about = NULL")
        }
        try world.add([
            Array(#"{"type":"expired","conversation":"room","message":"a10","sequence":10}"#.utf8),
            Array(#"{"type":"expired","conversation":"room","message":"a2","sequence":2}"#.utf8),
        ])
        try await world.destroyer.work()
        #expect(try world.there() == [1, 5, 9])
        #expect(!world.vault.has(id))
        #expect(try !world.text().contains("x:yes"))
        #expect(world.core.removed.withLock { $0 }.isEmpty, "it knows")
    }

    @Test("A file that is too large or not there is noted; what a killed worker left is swept")
    func vault() async throws {
        let world = try World()
        let ids = (1...3).map { "1111111\($0)-1111-4111-8111-111111111111" }
        let files = ids.map { #"{"displayName":"x:a","url":"https://core/files/\#($0)"}"# }.joined(separator: ",")
        try world.add([event(10, "share", "ada", #"{"files":[\#(files)]}"#)])
        world.core.files.withLock {
            $0[ids[0]] = [UInt8](repeating: 1, count: 100)
            $0[ids[1]] = [UInt8](repeating: 1, count: 101)
        }
        let fetching = FileFetching(mirror: world.mirror, vault: world.vault, core: world.core)
        world.core.away.withLock { $0 = true }
        await #expect(throws: DiagnosedError.self) { try await fetching.work() }
        world.core.away.withLock { $0 = false }
        while try await fetching.work() {}
        let place = FeedPlace(space: "room", sequence: 10)
        let states = try (0..<3).map { try world.mirror.file(FilePlace(place, $0))?.state }
        #expect(states == [.kept, .tooLarge, .missing])
        for name in ["\(ids[1]).part", "22222222-1111-4111-8111-111111111111"] {
            #expect(FileManager.default.createFile(atPath: world.vault.path(of: name), contents: nil))
        }
        try world.vault.sweep { try world.mirror.unknownFiles($0) }
        #expect(world.folder.names(in: "files") == [ids[0]])
    }

    @Test("The KMS holds the keys of what is held, of new spaces as well, and lets them go with the hold") func keys()
        async throws
    {
        let world = try World()
        world.kms.givesServices.withLock { $0 = true }
        let keeper = HoldKeeper(consent: Consent(world.kms) { _ in }, kms: world.kms, mirror: world.mirror)
        try await keeper.work()
        #expect(world.kms.holds.withLock { $0 }.isEmpty)
        let hold = try world.ask("holds.create", #"{"name":"h","custodians":{"userIds":["ada"]}}"#)
        world.kms.away.withLock { $0 = true }
        await #expect(throws: (any Error).self) { try await keeper.work() }
        world.kms.away.withLock { $0 = false }
        try await keeper.work()
        #expect(world.kms.holds.withLock { $0 } == ["create \(world.kms.space)"])
        try await keeper.work()
        try world.add([post(10, "ada", "more")])
        try await keeper.work()
        #expect(world.kms.holds.withLock { $0 }.count == 1, "once")
        // Another worker's process knows what was done.
        let again = HoldKeeper(consent: Consent(world.kms) { _ in }, kms: world.kms, mirror: world.mirror)
        let release =
            try world.ask(
                "holds.release", #"{"id":"\#(hold["id"]?.string ?? "")","reason":"over"}"#)
        try world.ask("approvals.grant", World.grant(release), by: "dave")
        try await again.work()
        #expect(world.kms.holds.withLock { $0 }.last == "delete \(world.kms.space)")
    }
}
