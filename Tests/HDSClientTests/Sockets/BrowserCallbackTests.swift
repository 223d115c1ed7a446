import Diagnostics
import HTTPClient
import Synchronization
import Testing
import WireText

@testable import HDSClient

@Suite("The browser's way back to the terminal", .timeLimit(.minutes(2)))
struct BrowserCallbackTests {
    private let clock = TestClock()

    private func port(of callback: BrowserCallback) throws -> Int {
        try #require(WebAddress(callback.redirectURI)?.port)
    }

    private func get(_ target: String) -> String { "GET \(target) HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n" }

    /// Takes the query `right` and no other.
    private func begin(_ callback: BrowserCallback) -> Task<String, any Error> {
        Task { [clock] in
            try await callback.receive(within: 600_000, sleep: clock.sleep) { query in
                guard query == "right" else { throw DiagnosedError(.loginRedirect, fault: .peer, "not this one") }
                return query
            }
        }
    }

    @Test("The redirect is answered with a page that names nothing and is not kept, and listening ends")
    func rightRedirect() async throws {
        let callback = try await BrowserCallback.listen()
        let port = try port(of: callback)
        #expect(callback.redirectURI == "http://127.0.0.1:\(port)/callback")
        let login = begin(callback)
        let answer = try await RawClient.exchange(get("/callback?right"), with: port)
        #expect(answer.hasPrefix("HTTP/1.1 200 OK\r\n"))
        #expect(answer.contains("go back to the terminal"))
        #expect(answer.contains("Cache-Control: no-store\r\n") && answer.contains("default-src 'none'"))
        #expect(!answer.contains("right"))
        #expect(try await login.value == "right")
        await until { (try? await RawClient.connect(to: port)) == nil }
    }

    @Test("Other paths, methods, versions and garbage get their answer, and the login still waits")
    func otherRequests() async throws {
        let callback = try await BrowserCallback.listen()
        let port = try port(of: callback)
        let login = begin(callback)
        for text in [
            get("/"), get("/favicon.ico"), get("/callback"), get("/callback/?right"), get("/CALLBACK?right"),
            get("http://127.0.0.1:\(port)/callback?right"), get("/callback?right x"),
            "POST /callback?right HTTP/1.1\r\nContent-Length: 0\r\n\r\n", "HEAD /callback?right HTTP/1.1\r\n\r\n",
            "GET /callback?right HTTP/2\r\n\r\n", "GET /callback?right\r\n\r\n", "\r\n\r\n", "\u{16}\u{3}\u{1}\r\n\r\n",
        ] {
            let answer = try await RawClient.exchange(text, with: port)
            #expect(answer.hasPrefix("HTTP/1.1 404 "), "\(text)")
        }
        let long = try await RawClient.exchange(get("/callback?" + String(repeating: "x", count: 17 << 10)), with: port)
        #expect(long.isEmpty || long.hasPrefix("HTTP/1.1 431 "))
        _ = try await RawClient.exchange(get("/callback?right"), with: port)
        #expect(try await login.value == "right")
    }

    @Test("Redirects of other logins are passed over, however many, and none shows what would be right")
    func otherLogins() async throws {
        let callback = try await BrowserCallback.listen()
        let port = try port(of: callback)
        let login = begin(callback)
        let answers = Mutex<Set<String>>([])
        for number in 0..<40 {
            let answer = try await RawClient.exchange(get("/callback?wrong\(number)"), with: port)
            answers.withLock { _ = $0.insert(answer) }
        }
        let right = try await RawClient.exchange(get("/callback?right"), with: port)
        #expect(answers.withLock { $0 } == [right])
        #expect(try await login.value == "right")
    }

    @Test("Silent connections, a head in single octets, and a second request behind the first disturb nothing")
    func oddConnections() async throws {
        let callback = try await BrowserCallback.listen()
        let port = try port(of: callback)
        let login = begin(callback)
        var silent: [RawClient] = []
        for _ in 0..<20 { silent.append(try await RawClient.connect(to: port)) }
        let half = try await RawClient.connect(to: port)
        try await half.send("GET /callback?right HTTP/1.1\r\nHost:")
        let twice = try await RawClient.exchange(get("/callback?wrong") + get("/callback?right"), with: port)
        #expect(twice.split(separator: "HTTP/1.1 200 OK").count == 1, "the second is not looked at")
        let slow = try await RawClient.connect(to: port)
        try await slow.send(get("/callback?right"), inPiecesOf: 1)
        #expect(try await slow.rest().hasPrefix("HTTP/1.1 200 OK"))
        #expect(try await login.value == "right")
        withExtendedLifetime((silent, half)) {}
    }

    @Test("When the login is over, connections that say nothing are ended")
    func silentAtTheEnd() async throws {
        let callback = try await BrowserCallback.listen()
        let port = try port(of: callback)
        let login = begin(callback)
        let silent = try await RawClient.connect(to: port)
        _ = try await RawClient.exchange(get("/callback?right"), with: port)
        #expect(try await login.value == "right")
        #expect(try await silent.rest() == "")
    }

    @Test("Nobody coming back ends in ten minutes with what to do; a login that is given up says no such thing")
    func nobody() async throws {
        let callback = try await BrowserCallback.listen()
        let login = begin(callback)
        await until { clock.count(of: 600_000) == 1 }
        clock.advance(seconds: 600)
        let error = await diagnosis { _ = try await login.value }
        #expect(error?.code == .loginTimeout && error?.hint == "begin again")

        let other = try await BrowserCallback.listen()
        let port = try port(of: other)
        let given = begin(other)
        given.cancel()
        await #expect(throws: CancellationError.self) { try await given.value }
        await until { (try? await RawClient.connect(to: port)) == nil }
    }

    // MARK: - With the authorization service

    /// Plays the browser: opens the URL, signs in, and gives the redirect.
    private func signIn(at url: String, _ world: SocketWorld) async throws -> String {
        let web = try world.profile().issuerTrust.webClient(for: url)
        defer { Task { await web.close() } }
        let page = try await web.send(WebRequest(url: url))
        let form = try LoginForm(page: page.body)
        let cookie = try #require(page.header("set-cookie")?.prefix { $0 != ";" })
        let fields = form.hidden + [(form.emailField, SocketWorld.email), (form.passwordField, SocketWorld.password)]
        let target = try #require(WebAddress(url)?.resolving(form.action))
        let answer = try await web.send(
            WebRequest(
                method: "POST", url: target.description,
                headers: [("Content-Type", "application/x-www-form-urlencoded"), ("Cookie", String(cookie))],
                body: Array(FormText.encode(fields).utf8)))
        return try #require(answer.header("location"))
    }

    @Test("A login in the browser ends in the terminal; what a hostile page sends before changes nothing")
    func wholeLogin() async throws {
        try await SocketWorld.run { world in
            let (shown, show) = AsyncStream.makeStream(of: String.self)
            let store = try world.store()
            let login = try world.login(store)
            let account = Task {
                try await login.logIn(email: SocketWorld.email, proof: .browser(show: { show.yield($0) }))
            }
            var urls = shown.makeAsyncIterator()
            let url = try #require(await urls.next())
            #expect(!url.contains("verifier"))
            let redirect = try await signIn(at: url, world)
            let port = try #require(WebAddress(redirect)?.port)
            let query = String(redirect.split(separator: "?", maxSplits: 1)[1])
            let code = try #require(FormText.decode(query)?["code"])
            for hostile in [
                "code=\(code)&state=guessed", "code=\(code)", "error=access_denied&state=", "state=a&state=b", "%", "",
                query.replacing("iss=https", with: "iss=http"),
            ] {
                _ = try await RawClient.exchange(get("/callback?" + hostile), with: port)
            }
            #expect(world.issuer.count("POST /token ") == 0)
            _ = try await RawClient.exchange(get("/callback?" + query), with: port)
            #expect(try await account.value.email == SocketWorld.email)
            #expect(try store.current().tokens != nil)
            #expect(world.issuer.count("POST /token ") == 1)
        }
    }

    @Test("A refusal of the authorization service ends the login at once with its reason")
    func denied() async throws {
        try await SocketWorld.run { world in
            let (shown, show) = AsyncStream.makeStream(of: String.self)
            let login = try world.login(try world.store())
            let account = Task {
                try await login.logIn(email: SocketWorld.email, proof: .browser(show: { show.yield($0) }))
            }
            var urls = shown.makeAsyncIterator()
            let url = try #require(await urls.next())
            let query = try #require(WebAddress(url)?.query)
            let parameters = try #require(FormText.decode(query))
            let (state, redirect) = (try #require(parameters["state"]), try #require(parameters["redirect_uri"]))
            let port = try #require(WebAddress(redirect)?.port)
            _ = try await RawClient.exchange(
                get("/callback?error=access_denied&error_description=no&state=\(state)"), with: port)
            let error = await diagnosis { _ = try await account.value }
            #expect(error?.code == .loginRefused && error?.found == "access_denied: no")
        }
    }
}
