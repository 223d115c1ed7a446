import Diagnostics
import DirectoryModel
import JOSESignature
import Synchronization
import Testing
import TokenIssuer
import WireText

@Suite("Following a directory")
struct DirectorySyncTests {
    private func entry(_ name: String, disabled: Bool = false) -> DirectoryEntry {
        DirectoryEntry(
            external: "ext-" + name, userName: name, email: name + "@example.com", name: name, isDisabled: disabled)
    }

    @Test("a leaver is cut off in the next round, and comes in again with the entry")
    func leaver() async throws {
        let world = try DirectoryWorld()
        let directory = FakeDirectory()
        let sync = DirectorySync(directory, world.service)
        directory.change { $0.reading.people = [entry("alice"), entry("carol")] }
        await sync.round()
        #expect(world.service.accounts.accounts.user(email: "carol@example.com") != nil)
        #expect(try await world.service.directory.people().first { $0.userName == "alice" }?.id == DirectoryWorld.alice)
        try await world.signIn(DirectoryWorld.alice)
        directory.change { $0.reading.people = [entry("carol")] }
        await sync.round()
        #expect(world.isDisabled(DirectoryWorld.alice) == true)
        #expect(try await world.service.grants.holdings(of: DirectoryWorld.alice) == (0, 0))
        #expect(try await world.list().disabled.keys.sorted() == [DirectoryWorld.alice])
        #expect(world.isDisabled(DirectoryWorld.bob) == false, "an account that was never in the directory stays")
        directory.change { $0.reading.people = [entry("carol"), entry("alice")] }
        await sync.round()
        #expect(world.isDisabled(DirectoryWorld.alice) == false)
        #expect(world.events.count(of: .directoryRead) == 3)
    }

    @Test("what is not read to its end changes nothing and is told, and an unchanged marker spares the reading")
    func failures() async throws {
        let world = try DirectoryWorld()
        let directory = FakeDirectory()
        let told = Mutex<[String]>([])
        let sync = DirectorySync(directory, world.service) { source, standing in
            told.withLock { $0.append(standing.trouble?.summary ?? "\(source) \(standing.people)") }
        }
        directory.change {
            $0.reading.people = [entry("alice")]
            $0.marker = "1"
        }
        await sync.round()
        await sync.round()
        #expect(directory.reads == 1)
        directory.change {
            $0.failure = DiagnosedError("test", fault: .peer, "cut short")
            $0.marker = "2"
            $0.reading.people = []
        }
        await sync.round()
        #expect(world.isDisabled(DirectoryWorld.alice) == false)
        // Back with the marker of before: read all the same, for the last look failed.
        directory.change {
            $0.failure = nil
            $0.marker = "1"
            $0.reading.people = [entry("alice", disabled: true)]
        }
        await sync.round()
        #expect(world.isDisabled(DirectoryWorld.alice) == true)
        world.clock.advance(seconds: 601)
        await sync.round()
        #expect(directory.reads == 4, "a whole reading now and then, whatever the marker says")
        #expect(told.withLock { $0 } == ["ldap:fake 1", "ldap:fake 1", "cut short", "ldap:fake 0", "ldap:fake 0"])
    }

    @Test("a directory that is suddenly empty disables nobody until somebody accepts it")
    func empty() async throws {
        let world = try DirectoryWorld()
        let directory = FakeDirectory()
        let sync = DirectorySync(directory, world.service)
        let everybody = (1...20).map { entry("user\($0)") } + [entry("alice")]
        directory.change { $0.reading.people = everybody }
        await sync.round()
        #expect(sync.standing.people == 21)
        directory.change { $0.reading.people = [] }
        await sync.round()
        await sync.round()
        #expect(sync.standing.waiting.count == 21 && world.isDisabled(DirectoryWorld.alice) == false)
        #expect(try await world.service.directory.cutOffs().isEmpty)
        // It comes back by itself: nobody waits any more.
        directory.change { $0.reading.people = everybody }
        await sync.round()
        #expect(sync.standing.waiting.isEmpty)
        #expect(await sync.accept() == 0)
        directory.change { $0.reading.people = [entry("user1")] }
        await sync.round()
        #expect(await sync.accept() == 20)
        #expect(sync.standing.waiting.isEmpty && world.isDisabled(DirectoryWorld.alice) == true)
        #expect(try await world.service.directory.cutOffs().count == 20)
    }

    @Test("groups are kept with the people that are in them, and go with the directory's")
    func groups() async throws {
        let world = try DirectoryWorld()
        let directory = FakeDirectory()
        let sync = DirectorySync(directory, world.service)
        directory.change {
            $0.reading.people = [entry("alice"), entry("carol")]
            $0.reading.groups = [
                DirectoryGroupEntry(external: "g1", name: "staff", members: ["ext-alice", "ext-nobody"]),
                DirectoryGroupEntry(external: "g2", name: "none", members: []),
            ]
        }
        await sync.round()
        let groups = try await world.service.directory.groups()
        #expect(groups.map(\.name).sorted() == ["none", "staff"])
        #expect(groups.first { $0.name == "staff" }?.members == [DirectoryWorld.alice])
        directory.change { $0.reading.groups.removeFirst() }
        await sync.round()
        #expect(try await world.service.directory.groups().map(\.name) == ["none"])
    }

    @Test("a lost database of people gives everybody the same id again")
    func sameID() async throws {
        let external = "7e57c0de-0000-4000-8000-000000000001"
        for _ in 0..<2 {
            let world = try DirectoryWorld()
            let directory = FakeDirectory()
            directory.change {
                $0.reading.people = [
                    DirectoryEntry(external: external, userName: "d", email: "d@example.com", name: "D")
                ]
            }
            await DirectorySync(directory, world.service).round()
            #expect(world.service.accounts.accounts.user(email: "d@example.com")?.id == external)
        }
    }
}
