import Diagnostics
import HTTPClient
import HTTPTypes
import OIDCRelyingParty
import TestServers
import Testing
import TokenIssuer
import WireText

/// With another OpenID provider that nobody here wrote (`idpyoidc` from PyPI): it demands the proof key, signs with keys of
/// two kinds, says the address at its UserInfo endpoint only, and logs out by the back channel.
@Suite("A real OpenID provider with back-channel logout", .enabled(if: TestIdentityProvider.isInstalled))
struct RealLogoutTests {
    private let provider: TestIdentityProvider
    private let web = WebClient(trust: nil)
    private let world: LoginWorld

    init() async throws {
        let (callback, logout) = (
            LoginWorld.issuer + "/oidc/example/callback", LoginWorld.issuer + "/oidc/example/logout"
        )
        let secret = "secret-of-the-client-of-32-octets"
        provider = try await TestIdentityProvider.start(.openIDWithLogout, ["hds", secret, callback, logout])
        var settings = OIDCSettings(
            issuer: "http://127.0.0.1:\(provider.port)", clientID: "hds", redirectURI: callback,
            signedOutURI: LoginWorld.issuer + "/signed-out")
        settings.clientSecret = Redacted(secret)
        world = try LoginWorld(
            providers: [LoginWorld.provider(.openIDConnect(OIDCRelyingParty(settings, client: web)))])
    }

    private func login(_ browser: Browser) async throws -> String {
        let answer = try await web.send(WebRequest(url: try await browser.passage()))
        let back = try #require(answer.header("Location"), "\(String(decoding: answer.body, as: UTF8.self))")
        let tokens = try await browser.tokens(
            await world.service.finishOpenIDLogin(
                provider: "example", query: back.query, visitor: browser.visitor(site: "cross-site")))
        #expect(tokens["user"]?["id"]?.string == LoginWorld.alice.id)
        return try #require(tokens["refresh_token"]?.string)
    }

    private func logout(_ token: String) async -> Reply {
        await world.service.openIDLogout(
            provider: "example", body: Browser.bytes([("logout_token", token)]),
            visitor: Visitor(address: "127.0.0.1", contentType: "application/x-www-form-urlencoded"))
    }

    @Test("Who is signed out there has no login here any more; the token counts once")
    func backChannel() async throws {
        let browser = Browser(world)
        let refresh = try await login(browser)
        let sent = try await web.send(WebRequest(url: "http://127.0.0.1:\(provider.port)/end"))
        let lines = String(decoding: sent.body, as: UTF8.self).split(separator: "\n").map(String.init)
        try #require(lines.count == 2, "\(lines)")
        #expect(lines[0] == LoginWorld.issuer + "/oidc/example/logout")
        #expect(await logout(lines[1] + "A").status == .badRequest)
        #expect(await logout(lines[1]).status == .ok, "\(world.events.lines)")
        #expect(world.events.count(of: .providerSignedOut) == 1)
        #expect(await browser.refresh(refresh).status == .badRequest)
        let again = try await login(browser)
        #expect(await logout(lines[1]).status == .badRequest)
        #expect(await browser.refresh(again).status == .ok)
    }
}
