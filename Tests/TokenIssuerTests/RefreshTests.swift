import Diagnostics
import HTTPTypes
import Testing
import TokenIssuer
import WireText

@Suite("Token endpoint: refresh")
struct RefreshTests {
    @Test("A refresh token gives new tokens and its successor")
    func rotation() async throws {
        let world = try TestWorld()
        let client = TestClient(world)
        var token = try #require(try await client.tokens()["refresh_token"]?.string)
        var seen = [token]
        for _ in 0..<5 {
            world.clock.advance(seconds: 3600)
            let reply = await client.refresh(token)
            #expect(reply.status == .ok)
            let answer = try reply.json
            #expect(try world.claims(answer["access_token"])["exp"]?.integer == world.clock.now.seconds + 3600)
            #expect(try world.claims(answer["kms_access_token"])["aud"]?.string == "kms")
            #expect(answer["user"]?["id"]?.string == TestWorld.alice.id)
            token = try #require(answer["refresh_token"]?.string)
            seen.append(token)
        }
        #expect(Set(seen).count == seen.count)
    }

    @Test("A refresh token that is used again ends the whole family, and no other")
    func reuse() async throws {
        let world = try TestWorld()
        let client = TestClient(world)
        let first = try #require(try await client.tokens()["refresh_token"]?.string)
        let other = try #require(try await client.tokens()["refresh_token"]?.string)
        let second = try #require(try await client.refresh(first).json["refresh_token"]?.string)
        let third = try #require(try await client.refresh(second).json["refresh_token"]?.string)
        let reused = await client.refresh(first)
        #expect(reused.status == .badRequest && reused.error == "invalid_grant")
        for token in [first, second, third] { #expect(await client.refresh(token).error == "invalid_grant") }
        #expect(await client.refresh(other).status == .ok)
        #expect(world.events.count(of: .refreshTokenReused) == 1)
    }

    @Test("A refresh whose answer was lost is answered again within the grace, as often as it is lost")
    func lostAnswer() async throws {
        let world = try TestWorld()
        let client = TestClient(world)
        let first = try #require(try await client.tokens()["refresh_token"]?.string)
        var successors: [String] = []
        for _ in 0..<4 {
            successors.append(try #require(try await client.refresh(first).json["refresh_token"]?.string))
            world.clock.advance(seconds: 19)
        }
        #expect(Set(successors).count == 4)
        world.clock.advance(seconds: -19)
        #expect(await client.refresh(successors[3]).status == .ok, "the newest one goes on")
        #expect(world.events.count(of: .refreshTokenReused) == 0)
    }

    @Test("The grace is over after its time, counted from the first use, and with a restart it is no other")
    func graceEnds() async throws {
        for (seconds, isTaken) in [(59, true), (60, false)] as [(Int64, Bool)] {
            let world = try TestWorld()
            let client = TestClient(world)
            let first = try #require(try await client.tokens()["refresh_token"]?.string)
            _ = await client.refresh(first)
            world.clock.advance(seconds: 30)
            #expect(await client.refresh(first).status == .ok)
            let again = try world.restarted()
            again.clock.advance(seconds: seconds)
            let restarted = TestClient(again)
            #expect((await restarted.refresh(first).status == .ok) == isTaken)
            #expect(try await world.service.grants.familyCount() == (isTaken ? 1 : 0))
        }
        var settings = TestWorld.settings
        settings.lifetimes.refreshGrace = 0
        let client = TestClient(try TestWorld(settings: settings))
        let first = try #require(try await client.tokens()["refresh_token"]?.string)
        let second = try #require(try await client.refresh(first).json["refresh_token"]?.string)
        #expect(await client.refresh(first).error == "invalid_grant")
        #expect(await client.refresh(second).error == "invalid_grant")
    }

    /// Who of the two holders of a copied token comes when, each with the newest that he has.
    @Test(
        "A thief within the grace: whoever comes second ends the login for both",
        arguments: ["owner thief owner", "thief owner thief", "owner thief thief owner", "thief owner owner thief"])
    func theft(_ story: String) async throws {
        let world = try TestWorld()
        let client = TestClient(world)
        let copied = try #require(try await client.tokens()["refresh_token"]?.string)
        var held: [Substring: String] = ["owner": copied, "thief": copied]
        let steps = story.split(separator: " ")
        for (number, who) in steps.enumerated() {
            world.clock.advance(seconds: 5)
            let reply = await client.refresh(held[who] ?? "")
            if number < steps.count - 1 {
                held[who] = try #require(try reply.json["refresh_token"]?.string, "\(story): \(number)")
            } else {
                #expect(reply.error == "invalid_grant", "\(story)")
            }
        }
        for token in held.values { #expect(await client.refresh(token).error == "invalid_grant") }
        #expect(try await world.service.grants.familyCount() == 0)
        #expect(world.events.count(of: .refreshTokenReused) == 1)
    }

    @Test("Within the grace the same is judged as ever: client, scope, account and end of the login")
    func graceIsJudged() async throws {
        var settings = TestWorld.settings
        settings.lifetimes.login = 100
        let world = try TestWorld(settings: settings)
        let client = TestClient(world)
        let first = try #require(try await client.tokens()["refresh_token"]?.string)
        world.clock.advance(seconds: 80)
        let second = try #require(try await client.refresh(first).json["refresh_token"]?.string)
        #expect(await client.refresh(first, client: "web-app").error == "invalid_grant")
        #expect(await client.refresh(first, scope: "hds admin").error == "invalid_scope")
        world.clock.advance(seconds: 20)
        #expect(await client.refresh(first).error == "invalid_grant", "the login is over")
        world.clock.advance(seconds: -1)
        #expect(await client.refresh(second).status == .ok, "and nothing was replaced by what was refused")
        let gone = TestClient(try world.restarted(accounts: Accounts(users: [])))
        #expect(await gone.refresh(first).error == "invalid_grant")
        #expect(try await world.service.grants.familyCount() == 0)
    }

    @Test("Another client can not use it, and does not end it")
    func foreignClient() async throws {
        let client = TestClient(try TestWorld())
        let token = try #require(try await client.tokens()["refresh_token"]?.string)
        #expect(await client.refresh(token, client: "web-app").error == "invalid_grant")
        #expect(await client.refresh(token).status == .ok)
    }

    @Test("It ends when nobody uses it, and the login ends in any case")
    func lifetimes() async throws {
        var settings = TestWorld.settings
        settings.lifetimes.refreshToken = 100
        settings.lifetimes.login = 250
        let world = try TestWorld(settings: settings)
        let client = TestClient(world)
        let idle = try #require(try await client.tokens()["refresh_token"]?.string)
        var used = try #require(try await client.tokens()["refresh_token"]?.string)
        for _ in 0..<2 {
            world.clock.advance(seconds: 99)
            used = try #require(try await client.refresh(used).json["refresh_token"]?.string)
        }
        #expect(await client.refresh(idle).error == "invalid_grant")
        world.clock.advance(seconds: 60)
        #expect(await client.refresh(used).error == "invalid_grant")
    }

    @Test("Less scope can be asked for, more can not and costs nothing")
    func scope() async throws {
        let world = try TestWorld()
        let client = TestClient(world)
        let token = try #require(try await client.tokens()["refresh_token"]?.string)
        #expect(await client.refresh(token, scope: "hds admin").error == "invalid_scope")
        #expect(await client.refresh(token, scope: "hds\u{E4}").error == "invalid_scope")
        #expect(try await client.refresh(token, scope: "hds").json["scope"]?.string == "hds")
    }

    @Test("A new password, a removed and a disabled account end the login")
    func accountChanges() async throws {
        let alice = TestWorld.alice
        func changed(hash: String = TestWorld.aliceHash, disabled: Bool = false) -> Accounts {
            Accounts(users: [
                UserAccount(
                    id: alice.id, email: alice.email, name: alice.name, organisation: alice.organisation,
                    passwordHash: hash, isDisabled: disabled)
            ])
        }
        for accounts in [changed(hash: TestWorld.bobHash), changed(disabled: true), Accounts(users: [])] {
            let world = try TestWorld()
            let token = try #require(try await TestClient(world).tokens()["refresh_token"]?.string)
            let after = TestClient(try world.restarted(accounts: accounts))
            #expect(await after.refresh(token).error == "invalid_grant")
            let back = TestClient(try world.restarted())
            #expect(await back.refresh(token).error == "invalid_grant", "the family is gone, not only paused")
        }
    }

    @Test("A restart keeps refresh tokens and codes valid, and knows what was used")
    func restart() async throws {
        let world = try TestWorld()
        let client = TestClient(world)
        let code = try await client.code()
        let first = try #require(try await client.tokens()["refresh_token"]?.string)
        let second = try #require(try await client.refresh(first).json["refresh_token"]?.string)
        let restarted = TestClient(try world.restarted())
        #expect(await restarted.exchange(code).status == .ok)
        #expect(await restarted.refresh(second).status == .ok)
        let again = TestClient(try world.restarted())
        #expect(await again.exchange(code).error == "invalid_grant")
        #expect(await again.refresh(first).error == "invalid_grant")
        #expect(try await world.service.grants.familyCount() == 0)
    }

    @Test("What has expired is forgotten, what lives stays")
    func purge() async throws {
        let world = try TestWorld()
        let client = TestClient(world)
        _ = try await client.code()
        let token = try #require(try await client.tokens()["refresh_token"]?.string)
        #expect(try await world.service.grants.familyCount() == 2)
        world.clock.advance(seconds: 61)
        try await world.service.purge()
        #expect(try await world.service.grants.familyCount() == 1)
        #expect(await client.refresh(token).status == .ok)
        world.clock.advance(seconds: 31 * 86_400)
        try await world.service.purge()
        #expect(try await world.service.grants.familyCount() == 0)
    }
}
