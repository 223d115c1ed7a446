import KMSProtocol
import KeyManagement
import KeyStore
import Testing
import WireText

/// `hdsctl freeze --simulate`: what would be hit is what then is hit.
@Suite("Freeze simulation")
struct FreezeSimulationTests {
    private struct Space {
        let uri: String
        let key: String
    }

    /// Four people, spaces of their own, shared, nested and with keys of two days.
    private struct Town {
        let world: OversightWorld
        let clients: [TestClient]
        let spaces: [Space]
        let later: Timestamp

        static func make(_ store: OversightWorld.Store) async throws -> Town {
            let world = try await OversightWorld.start(store)
            var clients: [TestClient] = []
            for person in [People.alice, People.bob, People.carol, People.dan] {
                clients.append(try await TestClient.open(world.kms, person))
            }
            func space(_ owner: Int, with people: [String] = []) async throws -> Space {
                let keys = try await clients[owner].createKeys(1)
                return Space(uri: try await clients[owner].createSpace(keys, with: people).uri, key: keys[0].uri)
            }
            let team = try await space(0, with: [People.bob, People.carol])
            let shared = try await space(0, with: [People.bob])
            _ = try await clients[0].add([team.uri], to: shared.uri)
            world.kms.clock.advance(seconds: 100)
            let later = world.now
            let own = try await space(3)
            let pair = try await space(1, with: [People.dan])
            return Town(world: world, clients: clients, spaces: [team, shared, own, pair], later: later)
        }

        /// Users and spaces that are refused for a freeze, asked one by one.
        func hit() async throws -> (users: Set<String>, spaces: Set<String>) {
            var users: Set<String> = []
            var spaces: Set<String> = []
            for client in clients {
                for space in self.spaces {
                    let answer = try await client.ask("retrieve", space.key)
                    guard answer.status == 403, answer.reason?.contains("frozen") == true else { continue }
                    users.insert(client.user)
                    spaces.insert(space.uri)
                }
            }
            return (users, spaces)
        }
    }

    @Test("the counts are those of the requests that are refused afterwards", arguments: OversightWorld.Store.allCases)
    func counts(_ store: OversightWorld.Store) async throws {
        let town = try await Town.make(store)
        let world = town.world
        let device = "https://wdm.cloud.example/devices/\(People.bob)"
        for (scope, users, spaces) in [
            (Freeze.Scope.everything, 4, 4), (.space(town.spaces[0].uri.objectID), 3, 2),
            (.space(town.spaces[1].uri.objectID), 3, 1), (.user(People.bob), 1, 3), (.device(device), 1, 3),
            (.bound(from: town.later, until: nil), 2, 2), (.bound(from: nil, until: town.later), 3, 2),
            (.bound(from: town.later, until: town.later), 0, 0), (.user("nobody"), 0, 0), (.service("indexer"), 0, 0),
            (.partner("kms.partner.example"), 0, 0), (.space(UUIDText.random()), 0, 0),
        ] {
            let impact = try await world.oversight.impact(of: scope, now: world.now)
            let freeze = Freeze(scope: scope, reason: "test", orderedBy: "ada", since: world.now)
            try await world.board.order(freeze)
            let hit = try await town.hit()
            _ = try await world.board.lift(freeze.id)
            #expect(impact.users == hit.users.count && impact.users == users, "\(scope): \(impact) \(hit.users)")
            #expect(impact.spaces == hit.spaces.count && impact.spaces == spaces, "\(scope): \(impact) \(hit.spaces)")
            #expect(impact.isWhole)
        }
        #expect(try await town.hit().users.isEmpty, "a simulation freezes nothing")
    }

    @Test("counting stops when the policy's limit is passed, and spaces open to everybody are more than any limit")
    func limits() async throws {
        let town = try await Town.make(.memory)
        let (oversight, now) = (town.world.oversight, town.world.now)
        let whole = try await oversight.impact(of: .everything, stoppingOver: 4, now: now)
        #expect(whole.isWhole && !whole.exceeds(4) && whole.exceeds(3))
        #expect(whole.sentence == "would hit 4 users in 4 spaces")
        let cut = try await oversight.impact(of: .everything, stoppingOver: 0, now: now)
        #expect(!cut.isWhole && cut.exceeds(0))
        #expect(cut.sentence.hasPrefix("would hit at least "))
        _ = try await town.clients[3].add(["/public"], to: town.spaces[2].uri)
        let open = try await oversight.impact(of: .space(town.spaces[2].uri.objectID), now: now)
        #expect(open.publicSpaces == 1 && open.exceeds(1_000_000))
        #expect(open.sentence == "would hit 1 user in 1 space, 1 of them open to everybody")
        #expect(!(try await oversight.impact(of: .user(People.alice), now: now)).exceeds(100))
    }

    @Test("a service is hit where its consent reaches, and who is unknown to the policy is named")
    func services() async throws {
        let town = try await Town.make(.memory)
        let world = town.world
        world.readers.withLock { readers in
            readers.services = [
                .init(name: "all", spaces: nil, notAfter: world.now.adding(seconds: 10)),
                .init(name: "one", spaces: [town.spaces[0].uri], notAfter: world.now.adding(seconds: 10)),
            ]
            readers.partners = ["kms.partner.example": false]
        }
        let all = try await world.oversight.impact(of: .service("all"), now: world.now)
        #expect(all.spaces == 4 && all.users == 0 && all.services == ["all"])
        let one = try await world.oversight.impact(of: .service("one"), now: world.now)
        #expect(one.spaces == 1 && one.services == ["one"])
        let everything = try await world.oversight.impact(of: .everything, now: world.now)
        #expect(everything.sentence == "would hit 4 users in 4 spaces, and the services all, one")
        let unknown = try await world.oversight.impact(of: .service("typo"), now: world.now)
        #expect(unknown.spaces == 0 && unknown.notes.contains { $0.contains("no service typo") })
        let partner = try await world.oversight.impact(of: .partner("kms.partner.example"), now: world.now)
        #expect(partner.users == 0 && partner.notes.isEmpty)
    }

    @Test("another node of the same store knows of a freeze at its next look, and looks twice a second")
    func otherNode() async throws {
        let world = try await OversightWorld.start(.sqlite)
        let other = try await FreezeBoard(store: world.kms.store, vault: world.vault)
        let freeze = Freeze(scope: .everything, reason: "test", orderedBy: "ada", since: world.now)
        try await world.board.order(freeze)
        try await other.refresh()
        #expect(other.standing == [freeze])
        #expect(FreezeBoard.refreshMilliseconds <= 500)
        _ = try await other.lift(freeze.id)
        try await world.board.refresh()
        #expect(world.board.standing.isEmpty)
    }
}
