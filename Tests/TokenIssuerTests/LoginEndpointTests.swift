import Diagnostics
import HTTPTypes
import Synchronization
import Testing
import TokenIssuer

@Suite("Login endpoint")
struct LoginEndpointTests {
    @Test("The page leads back to the client with a code, the state and the issuer")
    func login() async throws {
        let world = try TestWorld()
        let client = TestClient(world)
        let page = client.open(["login_hint": "alice@example.com"])
        #expect(page.status == .ok)
        #expect(page.headers[.contentType] == "text/html; charset=utf-8")
        #expect(page.text.contains("value=\"alice@example.com\""))
        let cookie = try #require(page.headers[.setCookie])
        #expect(cookie.hasPrefix("__Host-hds-login=") && cookie.contains("; Path=/;"))
        #expect(cookie.contains("; Secure; HttpOnly; SameSite=Lax") && !cookie.contains("Domain"))

        let reply = try await client.signIn()
        #expect(reply.status == .seeOther)
        #expect(reply.location?.hasPrefix(TestClient.redirect + "?code=") == true)
        #expect(reply.redirectParameters["state"] == "st-1")
        #expect(reply.redirectParameters["iss"] == TestWorld.issuer)
        #expect(reply.redirectParameters["code"]?.count == 43)
        #expect(reply.headers[.cacheControl] == "no-store")
        #expect(reply.headers[HTTPField.Name("Referrer-Policy")!] == "no-referrer")
        #expect(world.events.count(of: .signedIn) == 1)
    }

    @Test("Address and spelling of the e-mail address do not matter")
    func spelling() async throws {
        let client = TestClient(try TestWorld())
        #expect(try await client.signIn(email: " ALICE@example.COM ").status == .seeOther)
        #expect(
            try await client.signIn(email: "bob@example.com", password: TestWorld.bobPassword).status == .seeOther)
    }

    @Test("A wrong password, an unknown address and a disabled account get the same answer after the same work")
    func noEnumeration() async throws {
        let compared = Mutex<[String]>([])
        let passwords = try PasswordCheck(decoy: TestWorld.otherHash) { password, hash in
            compared.withLock { $0.append(hash) }
            return password == "right by chance"
        }
        let world = try TestWorld(passwords: passwords)
        let client = TestClient(world)
        var replies: [Reply] = []
        for (email, password) in [
            ("alice@example.com", "wrong"), ("nobody@example.com", "wrong"), ("carol@example.com", "wrong"),
            ("nobody@example.com", "right by chance"), ("carol@example.com", "right by chance"), ("", "wrong"),
            ("alice@example.com", ""), (String(repeating: "x", count: 10_000), "wrong"),
        ] {
            replies.append(try await client.signIn(email: email, password: password))
        }
        let text = "The e-mail address or the password is not right."
        for reply in replies {
            #expect(reply.status == .unauthorized)
            #expect(reply.text.contains(text))
            #expect(reply.headers[.wwwAuthenticate] == "Form realm=\"hds-auth\"")
        }
        // Without what differs by nature (the address that was typed) the pages are the same to the octet.
        func shape(_ reply: Reply) -> String {
            let page = LoginForm(reply)
            return [page.cookie ?? "", page.fields.last?.value ?? ""]
                .reduce(reply.text.replacing(/name="email" type="email" value="[^"]*"/, with: "")) {
                    $0.replacing($1, with: "")
                }
        }
        #expect(Set(replies.prefix(3).map(shape)).count == 1)
        #expect(compared.withLock { $0.count } == replies.count, "each attempt costs one comparison")
        #expect(compared.withLock { $0.prefix(3) } == [TestWorld.aliceHash, TestWorld.otherHash, TestWorld.otherHash])
        #expect(world.events.count(of: .signInRefused) == replies.count)
    }

    @Test("A wrong password shows the page again with the address and without the password")
    func again() async throws {
        let reply = try await TestClient(try TestWorld()).signIn(password: "not the one 4711")
        #expect(reply.text.contains("value=\"alice@example.com\""))
        #expect(!reply.text.contains("4711"))
        #expect(reply.text.contains("autocomplete=\"current-password\""))
    }

    @Test("The form counts only with the token of a page of the same browser")
    func crossSite() async throws {
        let world = try TestWorld()
        let client = TestClient(world)
        let own = LoginForm(client.open())
        let foreign = LoginForm(client.open())
        let other = LoginForm(client.open(["state": "other"]))
        let credentials = [(name: "email", value: "alice@example.com"), ("password", TestWorld.alicePassword)]
        func submit(_ fields: [(name: String, value: String)], cookie: String?) async -> Reply {
            var sender = client
            sender.cookie = cookie
            return await sender.submit(fields + credentials)
        }
        let withoutToken = own.fields.filter { $0.name != "csrf" }
        for (fields, cookie) in [
            (own.fields, nil), (withoutToken, own.cookie), (withoutToken + [("csrf", "")], own.cookie),
            (withoutToken + [("csrf", "x")], own.cookie), (foreign.fields, own.cookie), (own.fields, foreign.cookie),
            (own.fields, "__Host-hds-login=short"), (own.fields, own.cookie.map { $0 + "; " + (foreign.cookie ?? "") }),
            // The token of a page belongs to the request that the page was made for.
            (withoutToken + other.fields.filter { $0.name == "csrf" }, own.cookie),
        ] as [([(name: String, value: String)], String?)] {
            let reply = await submit(fields, cookie: cookie)
            #expect(reply.status == .forbidden)
            #expect(reply.location == nil)
            #expect(reply.text.contains("Please sign in again."))
            #expect(!reply.text.contains(TestWorld.alicePassword))
        }
        #expect(await submit(own.fields, cookie: "a=b; " + (own.cookie ?? "") + "; c=d").status == .seeOther)
    }

    @Test("A browser that says the form comes from another site is believed")
    func fetchMetadata() async throws {
        let world = try TestWorld()
        let page = LoginForm(TestClient(world).open())
        let fields = page.fields + [("email", "alice@example.com"), ("password", TestWorld.alicePassword)]
        for (site, status) in [
            ("cross-site", HTTPResponse.Status.forbidden), ("same-site", .forbidden), ("same-origin", .seeOther),
        ] {
            let reply = await world.service.submitLogin(
                body: TestClient.bytes(fields),
                visitor: Visitor(
                    address: "192.0.2.1", cookie: page.cookie, contentType: "application/x-www-form-urlencoded",
                    fetchSite: site))
            #expect(reply.status == status, "\(site)")
        }
    }

    @Test("Two login pages in one browser are both good")
    func twoPages() async throws {
        let world = try TestWorld()
        var client = TestClient(world)
        let first = LoginForm(client.open(["state": "one"]))
        client.cookie = first.cookie
        let second = LoginForm(client.open(["state": "two"]))
        #expect(second.cookie == first.cookie)
        for form in [first, second] {
            let reply = await client.submit(
                form.fields + [("email", "alice@example.com"), ("password", TestWorld.alicePassword)])
            #expect(reply.status == .seeOther)
        }
    }

    @Test("After too many wrong passwords the account waits, whatever the password, and a clear text says how long")
    func accountLimit() async throws {
        let world = try TestWorld()
        var client = TestClient(world)
        for number in 0..<5 {
            client.address = "192.0.2.\(number)"
            #expect(try await client.signIn(password: "wrong").status == .unauthorized)
        }
        let limited = try await client.signIn()
        #expect(limited.status == .tooManyRequests)
        #expect(limited.headers[.retryAfter] == "60")
        #expect(limited.text.contains("There were too many attempts. Please wait 60 seconds and try again."))
        #expect(try await client.signIn(email: "bob@example.com", password: TestWorld.bobPassword).status == .seeOther)
        world.clock.advance(seconds: 60)
        #expect(try await client.signIn().status == .seeOther)
    }

    @Test("An account that does not exist is limited in the same way")
    func unknownLimit() async throws {
        let client = TestClient(try TestWorld())
        for _ in 0..<5 { #expect(try await client.signIn(email: "no@example.com").status == .unauthorized) }
        #expect(try await client.signIn(email: "NO@example.com").status == .tooManyRequests)
    }

    @Test("An address that tries many accounts waits, others do not")
    func addressLimit() async throws {
        var settings = TestWorld.settings
        settings.attempts.address = .init(burst: 3, intervalSeconds: 10)
        let world = try TestWorld(settings: settings)
        var client = TestClient(world)
        for number in 0..<3 {
            #expect(try await client.signIn(email: "u\(number)@example.com").status == .unauthorized)
        }
        #expect(try await client.signIn().status == .tooManyRequests)
        client.address = "192.0.2.77"
        #expect(try await client.signIn().status == .seeOther)
    }

    @Test("Right passwords never run into a limit")
    func manyRight() async throws {
        let client = TestClient(try TestWorld())
        for _ in 0..<40 { #expect(try await client.signIn().status == .seeOther) }
    }

    @Test("A flood of logins is told to come back, and costs no attempt")
    func busy() async throws {
        let passwords = try PasswordCheck(waiting: 0, decoy: TestWorld.otherHash)
        let client = TestClient(try TestWorld(passwords: passwords))
        for _ in 0..<10 {
            let reply = try await client.signIn()
            #expect(reply.status == .serviceUnavailable)
            #expect(reply.headers[.retryAfter] == "5")
        }
    }

    @Test("Requests that name no known client or target end on a page and lead nowhere")
    func openRedirect() async throws {
        let client = TestClient(try TestWorld())
        for changes in [
            ["redirect_uri": "https://evil.example/callback"], ["client_id": "evil"], ["redirect_uri": nil],
            ["redirect_uri": "http://127.0.0.1:50123@evil.example/callback"],
            ["redirect_uri": "http://127.0.0.1:50123/callback\r\nX: y"], ["redirect_uri": "javascript:alert(1)"],
        ] as [KeyValuePairs<String, String?>] {
            let opened = client.open(changes)
            let sent = await client.submit(
                TestClient.parameters(changes)
                    + [("email", "alice@example.com"), ("password", TestWorld.alicePassword)])
            for reply in [opened, sent] {
                #expect(reply.status == .badRequest)
                #expect(reply.location == nil && reply.headers[.setCookie] == nil)
                #expect(reply.text.contains("Sign-in is not possible"))
                #expect(!reply.text.contains("evil"))
            }
        }
    }

    @Test("The target can not be exchanged between the page and its form")
    func exchangedTarget() async throws {
        let world = try TestWorld()
        var client = TestClient(world)
        let page = LoginForm(client.open())
        client.cookie = page.cookie
        for (name, value) in [
            ("redirect_uri", "http://127.0.0.1:6666/callback"), ("state", "mine"),
            ("code_challenge", "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"),
        ] {
            let reply = await client.submit(
                page.fields.filter { $0.name != name } + [
                    (name, value), ("email", "alice@example.com"), ("password", TestWorld.alicePassword),
                ])
            #expect(reply.status == .forbidden, "\(name)")
        }
    }

    @Test("A refusal by redirect is the same for the page and for its form")
    func refusalByRedirect() async throws {
        let client = TestClient(try TestWorld())
        let opened = client.open(["code_challenge": nil])
        #expect(opened.status == .seeOther)
        #expect(opened.redirectParameters["error"] == "invalid_request")
        #expect(opened.redirectParameters["state"] == "st-1")
        let sent = await client.submit(TestClient.parameters(["response_type": "token"]))
        #expect(sent.status == .seeOther)
        #expect(sent.redirectParameters["error"] == "unsupported_response_type")
    }

    @Test(
        "A form that can not be read is refused on a page",
        arguments: ["%", "email=%ff", "a=1&email=x&email=y"])
    func unreadable(_ body: String) async throws {
        let world = try TestWorld()
        let valid = FormParameters.encode(TestClient.parameters())
        for (body, type) in [
            (body, "application/x-www-form-urlencoded"), (valid + "&" + body, "application/x-www-form-urlencoded"),
            (valid, "application/json"), (valid, nil),
        ] {
            let reply = await world.service.submitLogin(
                body: Array(body.utf8), visitor: Visitor(address: "192.0.2.1", contentType: type))
            #expect(reply.status == .badRequest)
            #expect(reply.location == nil)
        }
    }

    @Test("What a visitor sends to be echoed stands on the page as text")
    func injection() async throws {
        let hostile = "\"><script>alert(1)</script>"
        let client = TestClient(try TestWorld())
        let opened = client.open(["login_hint": hostile, "state": hostile])
        let again = try await client.signIn(email: hostile + "\u{1}\r\nX: y", ["state": hostile])
        for reply in [opened, again] {
            #expect(!reply.text.contains("<script"))
            #expect(reply.text.contains("&quot;&gt;&lt;script&gt;"))
        }
        let signedIn = try await client.signIn(["state": hostile])
        #expect(signedIn.redirectParameters["state"] == hostile)
        #expect(signedIn.location?.utf8.allSatisfy { $0 > 0x20 && $0 < 0x7F && $0 != 0x22 && $0 != 0x3C } == true)
    }
}
