import Diagnostics
import Foundation
import HTTPClient
import HTTPTypes
import OIDCRelyingParty
import TestServers
import Testing
import TokenIssuer
import WireText

/// With an OpenID provider that nobody here wrote (`oidc-provider-mock` from PyPI, which stands on Authlib).
@Suite("A real OpenID provider", .enabled(if: TestIdentityProvider.isInstalled))
struct RealOpenIDTests {
    private let provider: TestIdentityProvider
    private let web = WebClient(trust: nil)
    private let party: OIDCRelyingParty

    init() async throws {
        provider = try await TestIdentityProvider.start(.openID)
        var settings = OIDCSettings(
            issuer: "http://localhost:\(provider.port)", clientID: "hds",
            redirectURI: LoginWorld.issuer + "/oidc/example/callback", signedOutURI: LoginWorld.issuer + "/signed-out")
        settings.clientSecret = .init("secret-of-the-client")
        party = OIDCRelyingParty(settings, client: web)
    }

    /// What the person does there: chooses who to be, and comes back.
    private func signIn(_ address: String, as name: String) async throws -> String {
        let answer = try await web.send(
            WebRequest(
                method: "POST", url: address, headers: [("Content-Type", "application/x-www-form-urlencoded")],
                body: Array("sub=subject-\(name)".utf8)))
        return try #require(answer.header("Location"), "\(answer.status)")
    }

    private func world(_ newAccounts: IdentityProvider.NewAccounts = .listed) throws -> LoginWorld {
        try LoginWorld(providers: [LoginWorld.provider(.openIDConnect(party), newAccounts: newAccounts)])
    }

    private func login(_ browser: Browser, as name: String) async throws -> Reply {
        let back = try await signIn(try await browser.passage(), as: name)
        #expect(back.hasPrefix(LoginWorld.issuer + "/oidc/example/callback?"))
        return await browser.world.service.finishOpenIDLogin(
            provider: "example", query: back.query, visitor: browser.visitor(site: "cross-site"))
    }

    @Test("A login there ends in the same two tokens as a password here, and they can be refreshed")
    func login() async throws {
        let browser = Browser(try world())
        let reply = try await login(browser, as: "alice")
        #expect(reply.status == .seeOther)
        #expect(reply.location?.hasPrefix(Browser.redirect) == true)
        #expect(reply.parameters["state"] == "st-1")
        let tokens = try await browser.tokens(reply)
        #expect(tokens["user"]?["id"]?.string == LoginWorld.alice.id)
        #expect(tokens["access_token"]?.string != nil && tokens["kms_access_token"]?.string != nil)
        let next = await browser.refresh(try #require(tokens["refresh_token"]?.string))
        #expect(next.status == .ok)
        #expect(browser.world.events.count(of: .signedIn) == 1)
        #expect(browser.world.events.count(of: .providerLinked) == 1)
        // The second login finds the link.
        _ = try await browser.tokens(try await login(browser, as: "alice"))
        #expect(browser.world.events.count(of: .providerLinked) == 1)
    }

    @Test("An address that another subject took, that is not verified or not the provider's opens nothing")
    func others() async throws {
        let browser = Browser(try world())
        _ = try await browser.tokens(try await login(browser, as: "alice"))
        for (name, event) in [("mallory", 1), ("unverified", 1), ("foreign", 1), ("new", 1)] {
            let reply = try await login(browser, as: name)
            #expect(reply.parameters["error"] == "access_denied")
            #expect(reply.parameters["code"] == nil)
            #expect(browser.world.events.count(of: .providerAddressTaken) == event)
        }
        #expect(browser.world.events.count(of: .providerRefused) == 3)
        #expect(browser.world.events.lines.allSatisfy { !$0.contains("@example.com") && !$0.contains("@example.net") })
    }

    @Test("Who is not listed gets an account with the first login where that is wanted, also after a restart")
    func newAccount() async throws {
        let first = try world(.onFirstLogin(organisation: "org-2"))
        let browser = Browser(first)
        let tokens = try await browser.tokens(try await login(browser, as: "new"))
        let id = try #require(tokens["user"]?["id"]?.string)
        #expect(tokens["user"]?["email"]?.string == "new@example.com")
        #expect(tokens["user"]?["name"]?.string == "New Example")
        let again = Browser(
            try LoginWorld(
                providers: [
                    LoginWorld.provider(.openIDConnect(party), newAccounts: .onFirstLogin(organisation: "org-2"))
                ],
                folder: first.folder))
        #expect(try await again.tokens(try await login(again, as: "new"))["user"]?["id"]?.string == id)
        #expect(await again.refresh(try #require(tokens["refresh_token"]?.string)).status == .ok)
    }

    @Test("An answer counts once, and only in the browser in which the login began")
    func once() async throws {
        let world = try world()
        let browser = Browser(world)
        let back = try await signIn(try await browser.passage(), as: "alice")
        let thief = Browser(world)
        _ = try await thief.passage()
        func finish(_ visitor: Visitor) async -> Reply {
            await world.service.finishOpenIDLogin(provider: "example", query: back.query, visitor: visitor)
        }
        #expect(await finish(thief.visitor()).status == .forbidden)
        #expect(await finish(Visitor(address: "192.0.2.9")).status == .forbidden)
        #expect(await finish(browser.visitor()).status == .seeOther)
        #expect(await finish(browser.visitor()).status == .forbidden)
    }

    @Test("Who ends the login here is told where to end it there")
    func logout() async throws {
        let browser = Browser(try world())
        let tokens = try await browser.tokens(try await login(browser, as: "alice"))
        let refresh = try #require(tokens["refresh_token"]?.string)
        let answer = try await browser.revoke(refresh).json
        let address = try #require(answer["provider_logout_uri"]?.string)
        #expect(address.hasPrefix("http://localhost:\(provider.port)/oauth2/end_session?"))
        #expect(address.queryParameters["post_logout_redirect_uri"] == LoginWorld.issuer + "/signed-out")
        #expect(address.queryParameters["id_token_hint"]?.split(separator: ".").count == 3)
        #expect(try await web.send(WebRequest(url: address)).status == 200)
        #expect(await browser.refresh(refresh).status == .badRequest)
    }
}
