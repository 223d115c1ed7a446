import Diagnostics
import DirectoryModel
import HTTPTypes
import JOSESignature
import Testing
import TokenIssuer
import WireText

@Suite("Wiping clients")
struct WipeTests {
    private static func wiped(_ world: TestWorld, _ token: String, client: String = "hds-cli") async -> Reply {
        await world.service.wiped(
            body: TestClient.bytes([("refresh_token", token), ("client_id", client)]),
            visitor: Visitor(address: "192.0.2.7", contentType: "application/x-www-form-urlencoded"))
    }

    private static func refreshToken(_ client: TestClient) async throws -> String {
        try #require(try await client.tokens()["refresh_token"]?.string)
    }

    @Test("Who is cut off: each client hears of the order instead of getting tokens, and says when it is done")
    func cutOff() async throws {
        let world = try TestWorld()
        let client = TestClient(world)
        let first = try await Self.refreshToken(client)
        let second = try #require(try await client.refresh(first).json["refresh_token"]?.string)
        _ = try await Self.refreshToken(client)
        let bob = try #require(
            try await client.tokens(email: "bob@example.com", password: TestWorld.bobPassword)["refresh_token"]?.string)
        let alice = TestWorld.alice.id
        let report = try await world.service.cutOff(alice, authority: .operators, by: "operator:7", reason: "lost")
        #expect(report.wipes == 2 && report.logins == 2)
        var orders = try await world.service.grants.wipes(of: alice)
        #expect(
            orders.count == 2 && orders.allSatisfy { $0.told == nil && $0.done == nil && $0.orderedBy == "operator:7" })

        world.clock.advance(seconds: 60)
        let told = await client.refresh(second)
        #expect(told.status == .badRequest && told.error == "invalid_grant")
        #expect(try told.json["wipe"]?.boolean == true)
        orders = try await world.service.grants.wipes(of: alice)
        #expect(orders.count { $0.told == world.clock.now } == 1 && orders.allSatisfy { $0.done == nil })

        // An earlier token of the same login is a proof as well; it is said once and may be said again.
        for _ in 0..<2 {
            world.clock.advance(seconds: 60)
            #expect(await Self.wiped(world, first).status == .ok)
        }
        orders = try await world.service.grants.wipes(of: alice)
        #expect(orders.compactMap(\.done) == [world.clock.now.adding(seconds: -60)])
        #expect(world.events.count(of: .wipeOrdered) == 1 && world.events.count(of: .clientWiped) == 1)
        #expect(!world.events.lines.joined().contains(alice), "the journal has a pseudonym")
        #expect(await client.refresh(bob).status == .ok, "nobody else hears of anything")
    }

    @Test("Whoever brings no token of such a login says nothing, and learns nothing")
    func strangers() async throws {
        let world = try TestWorld()
        let client = TestClient(world)
        let token = try await Self.refreshToken(client)
        #expect(await Self.wiped(world, token).error == "invalid_grant", "nothing was ordered")
        _ = try await world.service.wipe(TestWorld.alice.id, by: "operator:0")
        for (token, client) in [("guess", "hds-cli"), (token, "web-app"), (token + "x", "hds-cli")] {
            #expect(await Self.wiped(world, token, client: client).error == "invalid_grant")
        }
        #expect(await Self.wiped(world, token, client: "nobody").error == "invalid_client")
        let foreign = await client.refresh(token, client: "web-app")
        #expect(try foreign.error == "invalid_grant" && foreign.json["wipe"] == nil, "the order is for one client")
        #expect(try await client.refresh("guess").json["wipe"] == nil)
        #expect(
            try await world.service.grants.wipes(of: TestWorld.alice.id).allSatisfy { $0.told == nil && $0.done == nil }
        )
    }

    @Test(
        "A wipe alone ends the logins and leaves the account; a new login is not meant, and the order stands over a restart"
    )
    func alone() async throws {
        let world = try TestWorld()
        let client = TestClient(world)
        let token = try await Self.refreshToken(client)
        let report = try await world.service.wipe(TestWorld.alice.id, by: "operator:0")
        #expect(report.clients == 1 && report.logins == 1)
        let next = try await Self.refreshToken(client)
        #expect(await client.refresh(next).status == .ok)
        let again = TestClient(try world.restarted())
        #expect(try await again.refresh(token).json["wipe"]?.boolean == true)
        // A second order is for what has come since, and does not make the first one anew.
        _ = try await again.world.service.wipe(TestWorld.alice.id, by: "operator:1")
        let orders = try await again.world.service.grants.wipes(of: TestWorld.alice.id)
        #expect(Set(orders.map(\.orderedBy)) == ["operator:0", "operator:1"] && orders.count == 2)
    }

    @Test("Devices that are to be kept hear of no order, and orders end with their time")
    func kept() async throws {
        let world = try TestWorld()
        let client = TestClient(world)
        let token = try await Self.refreshToken(client)
        let report = try await world.service.cutOff(
            TestWorld.alice.id, authority: .operators, by: "operator:0", reason: "leave", wipesClients: false)
        #expect(report.wipes == 0)
        let refused = await client.refresh(token)
        #expect(try refused.error == "invalid_grant" && refused.json["wipe"] == nil)
        _ = try await world.service.letIn(TestWorld.alice.id, authority: .operators)
        let other = try await Self.refreshToken(client)
        _ = try await world.service.wipe(TestWorld.alice.id, by: "operator:0")
        world.clock.advance(seconds: GrantStore.wipeSeconds - 1)
        try await world.service.purge()
        #expect(try await client.refresh(other).json["wipe"]?.boolean == true)
        world.clock.advance(seconds: 1)
        try await world.service.purge()
        #expect(try await client.refresh(other).json["wipe"] == nil)
    }
}
