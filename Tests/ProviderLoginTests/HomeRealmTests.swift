import Diagnostics
import HTTPTypes
import OIDCRelyingParty
import Testing
import TokenIssuer
import WireText

@Suite("Where somebody signs in")
struct HomeRealmTests {
    private let provider: FakeOpenIDProvider
    private let world: LoginWorld

    init() throws {
        provider = try FakeOpenIDProvider()
        world = try LoginWorld(
            providers: [LoginWorld.provider(.openIDConnect(provider.party()))], clock: provider.clock)
    }

    @Test("The first page asks for the address only")
    func address() {
        let browser = Browser(world)
        let page = world.service.openLogin(query: Browser.bytes(Browser.parameters), visitor: browser.visitor())
        #expect(page.text.contains("name=\"email\"") && !page.text.contains("type=\"password\""))
    }

    @Test("A client that names the address leads to the right first page")
    func hint() {
        let browser = Browser(world)
        func page(_ hint: String) -> String {
            world.service.openLogin(
                query: Browser.bytes(Browser.parameters + [("login_hint", hint)]), visitor: browser.visitor()
            ).text
        }
        #expect(page("carol@elsewhere.org").contains("type=\"password\""))
        #expect(!page("alice@example.com").contains("type=\"password\""))
        #expect(page("alice@example.com").contains("value=\"alice@example.com\""))
    }

    @Test("An address of a provider leads there by a page without script, in a browser with a cookie of its own")
    func passage() async throws {
        let browser = Browser(world)
        let reply = await browser.submit([("email", " Alice@EXAMPLE.com ")])
        #expect(reply.status == .ok)
        #expect(reply.text.contains("<meta http-equiv=\"refresh\" content=\"0;url=https://id.example.com/authorize?"))
        #expect(reply.text.contains("Example ID") && !reply.text.contains("<script"))
        let cookie = try #require(reply.headers[.setCookie])
        #expect(cookie.hasPrefix("__Host-hds-provider=") && cookie.hasSuffix("; Secure; HttpOnly; SameSite=None"))
    }

    @Test(
        "An address of no provider, and an exception, are asked for a password",
        arguments: [
            "carol@elsewhere.org", "emergency@example.com", "nobody@elsewhere.org",
        ])
    func password(_ email: String) async throws {
        let browser = Browser(world)
        let page = await browser.submit([("email", email)])
        #expect(page.status == .ok)
        #expect(page.text.contains("type=\"password\"") && page.text.contains("value=\"\(email)\""))
        guard email != "nobody@elsewhere.org" else { return }
        let reply = await browser.submit([("email", email), ("password", LoginWorld.password)])
        #expect(reply.status == .seeOther)
        _ = try await browser.tokens(reply)
    }

    @Test("A password of an account whose sign-in is at a provider is not looked at, right or wrong")
    func noPassword() async throws {
        for password in [LoginWorld.password, "wrong"] {
            let reply = await Browser(world).submit([("email", "bob@example.com"), ("password", password)])
            #expect(reply.status == .ok && reply.text.contains("id=\"passage\""))
        }
        #expect(world.events.count(of: .signedIn) == 0)
    }

    @Test("A login by password ends when a provider becomes responsible, one at a provider when it is no more")
    func change() async throws {
        let before = try LoginWorld(clock: provider.clock)
        let browser = Browser(before)
        let tokens = try await browser.tokens(
            await browser.submit([("email", "bob@example.com"), ("password", LoginWorld.password)]))
        let refresh = try #require(tokens["refresh_token"]?.string)
        let after = try LoginWorld(
            providers: world.service.providers.list, clock: provider.clock, folder: before.folder)
        #expect(await Browser(after).refresh(refresh).status == .badRequest)

        let mine = Browser(world)
        let query = try await mine.passage().queryParameters
        provider.change { $0.nonce = query["nonce"] }
        let there = try await mine.tokens(
            await world.service.finishOpenIDLogin(
                provider: "example", query: Browser.bytes([("code", "c"), ("state", query["state"] ?? "")]),
                visitor: mine.visitor()))
        let without = try LoginWorld(clock: provider.clock, folder: world.folder)
        #expect(await Browser(without).refresh(try #require(there["refresh_token"]?.string)).status == .badRequest)
    }

    @Test("A provider that is away is told on the page, and nothing else")
    func away() async throws {
        provider.change { $0.isAway = true }
        let reply = await Browser(world).submit([("email", "alice@example.com")])
        #expect(reply.status == .serviceUnavailable)
        #expect(reply.text.contains("Example ID can not be reached"))
        #expect(world.events.count(of: .providerRefused) == 1)
    }

    @Test("Who declines there comes back to the client with access_denied")
    func declined() async throws {
        let browser = Browser(world)
        let state = try await browser.passage().queryParameters["state"] ?? ""
        let reply = await world.service.finishOpenIDLogin(
            provider: "example", query: Browser.bytes([("error", "access_denied"), ("state", state)]),
            visitor: browser.visitor())
        #expect(reply.location?.hasPrefix(Browser.redirect + "?error=access_denied") == true)
        #expect(reply.parameters["state"] == "st-1")
    }

    @Test("An answer that comes too late, to nothing, or to another provider gets a page and no code")
    func late() async throws {
        let browser = Browser(world)
        let state = try await browser.passage().queryParameters["state"] ?? ""
        func finish(_ name: String, _ query: [(name: String, value: String)]) async -> Reply {
            await world.service.finishOpenIDLogin(
                provider: name, query: Browser.bytes(query), visitor: browser.visitor())
        }
        #expect(await finish("other", [("code", "c"), ("state", state)]).status == .notFound)
        #expect(await finish("example", [("code", "c"), ("state", "x")]).status == .forbidden)
        #expect(await finish("example", [("code", "c")]).status == .badRequest)
        #expect(await finish("example", [("code", "c"), ("state", state), ("state", state)]).status == .badRequest)
        provider.clock.advance(seconds: 901)
        #expect(await finish("example", [("code", "c"), ("state", state)]).status == .forbidden)
    }

    @Test("Who begins logins without end keeps nobody else out")
    func flood() async throws {
        for _ in 0..<200 { _ = try await Browser(world).passage() }
        let limited = await Browser(world).submit([("email", "alice@example.com")])
        #expect(limited.status == .tooManyRequests)
        provider.clock.advance(seconds: 901)
        _ = try await Browser(world).passage()
    }

    @Test("A disabled account gets in nowhere, and one without a password by none")
    func disabled() async throws {
        let gone = UserAccount(
            id: LoginWorld.alice.id, email: "alice@example.com", name: "A", organisation: "o", passwordHash: nil,
            isDisabled: true)
        let world = try LoginWorld(users: [gone], providers: world.service.providers.list, clock: provider.clock)
        let browser = Browser(world)
        let query = try await browser.passage().queryParameters
        provider.change { $0.nonce = query["nonce"] }
        let reply = await world.service.finishOpenIDLogin(
            provider: "example", query: Browser.bytes([("code", "c"), ("state", query["state"] ?? "")]),
            visitor: browser.visitor())
        #expect(reply.parameters["error"] == "access_denied")
        let alone = Browser(try LoginWorld(users: [LoginWorld.alice], clock: provider.clock))
        for password in ["", "x", LoginWorld.password] {
            let reply = await alone.submit([("email", "alice@example.com"), ("password", password)])
            #expect(reply.status == .unauthorized)
        }
    }

    @Test(
        "An address that becomes another one's in lower case, or that two readers read differently, is nobody's",
        arguments: [
            "alice@\u{212A}example.com", "\u{212A}lice@example.com", "alice@example.com\u{200B}",
            "alice@evil.org@example.com",
            " alice@example.com", "alice@example.com.", "alice@sub.example.com", "emergency@example.com",
        ])
    func addresses(_ address: String) async throws {
        let browser = Browser(world)
        let query = try await browser.passage().queryParameters
        provider.change {
            $0.nonce = query["nonce"]
            $0.claims = ["email": "\"\(address)\""]
        }
        let reply = await world.service.finishOpenIDLogin(
            provider: "example", query: Browser.bytes([("code", "c"), ("state", query["state"] ?? "")]),
            visitor: browser.visitor())
        #expect(reply.parameters["error"] == "access_denied")
        #expect(world.events.lines.contains { $0.contains("provider-address-foreign") })
    }

    @Test("An account that is unlinked is linked anew by the next login")
    func unlink() async throws {
        func login(_ subject: String) async throws -> Reply {
            let browser = Browser(world)
            let query = try await browser.passage().queryParameters
            provider.change {
                $0.nonce = query["nonce"]
                $0.claims = ["sub": "\"\(subject)\""]
            }
            return await world.service.finishOpenIDLogin(
                provider: "example", query: Browser.bytes([("code", "c"), ("state", query["state"] ?? "")]),
                visitor: browser.visitor())
        }
        let tokens = try await Browser(world).tokens(try await login("one"))
        #expect(try await login("two").parameters["error"] == "access_denied")
        let count = try await world.service.grants.unlink(
            user: LoginWorld.alice.id, lifetime: 3600, now: world.clock.now)
        #expect(count == 1)
        #expect(await Browser(world).refresh(try #require(tokens["refresh_token"]?.string)).status == .badRequest)
        #expect(try await login("two").parameters["code"] != nil)
        #expect(try await login("one").parameters["error"] == "access_denied")
    }
}

@Suite("Address patterns")
struct AddressPatternTests {
    @Test(
        "A pattern is one address, a domain, or what is below one",
        arguments: [
            ("alice@example.com", "alice@example.com", true), ("alice@example.com", "bob@example.com", false),
            ("@example.com", "bob@example.com", true), ("@example.com", "bob@a.example.com", false),
            ("@example.com", "bob@badexample.com", false), ("@Example.COM", "bob@example.com", true),
            ("@*.example.com", "bob@a.example.com", true), ("@*.example.com", "bob@a.b.example.com", true),
            ("@*.example.com", "bob@example.com", false), ("@*.example.com", "bob@.example.com", false),
            ("@example.com", "@example.com", false), ("@example.com", "a@evil.org@example.com", false),
            ("@example.com", "", false),
        ])
    func matching(_ pattern: String, _ address: String, _ matches: Bool) throws {
        #expect(try #require(AddressPattern(pattern)).matches(address) == matches)
    }

    @Test(
        "What is no pattern is none",
        arguments: [
            "", "@", "example.com", "a@b@c", "*@example.com", "@*", "@*.", "a@*.example.com", "@ex ample.com", "@.com",
            "@a.",
        ])
    func malformed(_ text: String) { #expect(AddressPattern(text) == nil) }
}
