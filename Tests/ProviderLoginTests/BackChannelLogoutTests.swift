import Diagnostics
import HTTPTypes
import JOSESignature
import OIDCRelyingParty
import Testing
import TokenIssuer
import WireText

@Suite("Back-channel logout")
struct BackChannelLogoutTests {
    private let provider: FakeOpenIDProvider
    private let world: LoginWorld
    private static let event = "{\"http://schemas.openid.net/event/backchannel-logout\":{}}"

    init() throws {
        provider = try FakeOpenIDProvider()
        world = try LoginWorld(
            providers: [LoginWorld.provider(.openIDConnect(provider.party()))], clock: provider.clock)
    }

    /// A login of Alice in that session there; its refresh token.
    private func login(session: String?) async throws -> (Browser, JSONNode) {
        let browser = Browser(world)
        let query = try await browser.passage().queryParameters
        provider.change {
            $0.nonce = query["nonce"]
            $0.claims = session.map { ["sid": "\"\($0)\""] } ?? [:]
        }
        let reply = await world.service.finishOpenIDLogin(
            provider: "example", query: Browser.bytes([("code", "c"), ("state", query["state"] ?? "")]),
            visitor: browser.visitor())
        return (browser, try await browser.tokens(reply))
    }

    private func logout(_ changes: [String: String?], typ: String? = "logout+jwt") async throws -> Reply {
        var claims: [String: String?] = [
            "events": Self.event, "jti": "\"jti-1\"", "email": nil, "email_verified": nil,
        ]
        for (name, value) in changes { claims.updateValue(value, forKey: name) }
        return await send(try provider.sign(provider.claims(claims), typ: typ))
    }

    private func send(_ token: String) async -> Reply {
        await world.service.openIDLogout(
            provider: "example", body: Browser.bytes([("logout_token", token)]),
            visitor: Visitor(address: "192.0.2.7", contentType: "application/x-www-form-urlencoded"))
    }

    private func isAlive(_ login: (Browser, JSONNode)) async throws -> Bool {
        let answer = await login.0.refresh(try #require(login.1["refresh_token"]?.string))
        return answer.status == .ok
    }

    @Test("A session that ended there ends its logins here, with their access tokens, and no others")
    func session() async throws {
        let (first, second) = (try await login(session: "s-1"), try await login(session: "s-2"))
        let before = try await world.service.grants.revocationVersion()
        #expect(try await logout(["sid": "\"s-1\"", "sub": nil]).status == .ok)
        #expect(try await !isAlive(first))
        #expect(try await isAlive(second))
        #expect(world.events.count(of: .providerSignedOut) == 1)
        let list = try await world.service.grants.revocations(issuer: LoginWorld.issuer, now: world.clock.now)
        #expect(list.version > before && list.subjects[LoginWorld.alice.id] != nil)
    }

    @Test("A subject without a session ends all of that subject's logins")
    func subject() async throws {
        let (first, second) = (try await login(session: "s-1"), try await login(session: nil))
        #expect(try await logout([:]).status == .ok)
        #expect(try await !isAlive(first))
        #expect(try await !isAlive(second))
    }

    @Test("A logout names `sub`, also where accounts are linked by a claim of their own")
    func ownClaim() async throws {
        let party = provider.party { $0.claims.subject = "oid" }
        let world = try LoginWorld(providers: [LoginWorld.provider(.openIDConnect(party))], clock: provider.clock)
        let browser = Browser(world)
        let query = try await browser.passage().queryParameters
        provider.change {
            $0.nonce = query["nonce"]
            $0.claims = ["oid": "\"object-1\""]
        }
        let tokens = try await browser.tokens(
            await world.service.finishOpenIDLogin(
                provider: "example", query: Browser.bytes([("code", "c"), ("state", query["state"] ?? "")]),
                visitor: browser.visitor()))
        let linked = try await world.service.grants.linkedUser(provider: "example", subject: "object-1")
        #expect(linked == LoginWorld.alice.id)
        let claims = provider.claims(["events": Self.event, "jti": "\"j\""])
        let reply = await world.service.openIDLogout(
            provider: "example", body: Browser.bytes([("logout_token", try provider.sign(claims))]),
            visitor: Visitor(address: "192.0.2.7", contentType: "application/x-www-form-urlencoded"))
        #expect(reply.status == .ok)
        #expect(await browser.refresh(try #require(tokens["refresh_token"]?.string)).status == .badRequest)
    }

    @Test("A token counts once, also after a restart")
    func replay() async throws {
        #expect(try await logout([:]).status == .ok)
        let login = try await login(session: "s-1")
        #expect(try await logout([:]).status == .badRequest)
        #expect(try await isAlive(login))
    }

    @Test(
        "A token that must not be ends nothing",
        arguments: [
            ("events", nil), ("events", "{}"), ("events", "{\"http://schemas.openid.net/event/backchannel-logout\":1}"),
            ("nonce", "\"n\""), ("jti", nil), ("iss", "\"https://evil.example\""), ("aud", "\"other\""),
            ("exp", "1799999900"), ("exp", "1900000000"), ("exp", nil), ("iat", nil), ("iat", "1800000061"),
            ("sub", nil),
        ] as [(String, String?)])
    func refused(_ name: String, _ value: String?) async throws {
        let login = try await login(session: "s-1")
        #expect(try await logout([name: value]).status == .badRequest)
        #expect(try await isAlive(login))
    }

    @Test("An ID token and tokens of other keys are no logout tokens")
    func others() async throws {
        let login = try await login(session: "s-1")
        #expect(await send(try provider.sign(provider.claims([:], nonce: "n"))).status == .badRequest)
        let claims = provider.claims(["events": Self.event, "jti": "\"j\""])
        #expect(await send(try provider.sign(claims, with: "key-2")).status == .badRequest)
        #expect(await send(try provider.sign(claims, typ: "at+jwt")).status == .badRequest)
        #expect(await send("x").status == .badRequest)
        let unknown = await world.service.openIDLogout(
            provider: "other", body: [], visitor: Visitor(address: "192.0.2.7"))
        #expect(unknown.status == .badRequest)
        #expect(try await isAlive(login))
    }
}
