import Diagnostics
import HTTPClient
import Synchronization
import TestServers
import Testing
import WireText

@testable import HDSClient

@Suite("Logging in over TLS", .timeLimit(.minutes(2)))
struct LoginOverTLSTests {
    private static let spokenPassword = "password=correct%20horse%20battery"

    private func logIn(
        _ world: SocketWorld, _ store: StateStore, email: String = SocketWorld.email,
        password: String = SocketWorld.password
    ) async throws -> Account {
        try await world.login(store).logIn(email: email, proof: .password(Redacted(password)))
    }

    @Test("From the domain's document to tokens and a registered device, kept sealed")
    func wholeLogin() async throws {
        try await SocketWorld.run { world in
            let store = try world.store()
            let account = try await logIn(world, store)
            #expect(account == Account(id: TestKMS.user, email: SocketWorld.email, name: "Alice"))
            for start in [
                "GET /.well-known/hds-domain ", "GET /.well-known/oauth-authorization-server ", "GET /authorize?",
                "POST /authorize ", "POST /token ",
            ] {
                #expect(world.issuer.count(start) == 1, "\(start)")
            }
            #expect(world.core.count("GET /bootstrap?email=alice%40example.com ") == 1)
            #expect(world.core.count("POST /devices ") == 1)
            #expect(world.issuer.hasHeard("code_challenge_method=S256"))
            #expect(world.issuer.hasHeard("code_verifier="))
            #expect(world.issuer.hasHeard(Self.spokenPassword))
            #expect(!world.core.hasHeard("password"))

            let kept = try world.store().current()
            #expect(kept.account == account && kept.devices[0] != nil)
            let tokens = try #require(kept.tokens)
            #expect(!world.core.hasHeard(tokens.kms.reveal { $0 }), "the core saw the KMS token")
            #expect(world.core.hasHeard(tokens.cloud.reveal { $0 }))
        }
    }

    @Test("A wrong password is said, gets no token and leaves nothing; too many say how long to wait")
    func wrongPassword() async throws {
        try await SocketWorld.run { world in
            let store = try world.store()
            for _ in 0..<5 {
                let error = await diagnosis { _ = try await logIn(world, store, password: "wrong") }
                #expect(error?.code == .loginRefused)
                #expect(error?.summary.contains("the e-mail address or the password is not right") == true)
            }
            let limited = await diagnosis { _ = try await logIn(world, store) }
            #expect(limited?.code == .loginRefused)
            #expect(limited?.hint?.hasPrefix("wait ") == true && limited?.hint?.contains(" seconds") == true)
            #expect(world.issuer.count("POST /token ") == 0)
            #expect(try store.current().account == nil && store.current().tokens == nil)
            #expect(world.core.count("POST /devices ") == 0)
        }
    }

    @Test("Another user, another domain and no address are refused before anything is sent")
    func wrongAddress() async throws {
        try await SocketWorld.run { world in
            let store = try await world.loggedIn()
            let heard = world.issuer.count("")
            for email in ["bob@example.com", "alice@example.org", "alice", "@example.com", "a@b@example.com"] {
                #expect(await code { _ = try await logIn(world, store, email: email) } == .loginRefused, "\(email)")
            }
            #expect(world.issuer.count("") == heard)
        }
    }

    // MARK: - Redirects

    @Test(
        "A redirect with another state, issuer or place, or without a code, gets no token",
        arguments: [
            ("state=", "state=x"), ("iss=https%3A", "iss=http%3A"), ("http://127.0.0.1:8400", "http://127.0.0.1:8401"),
            ("http://127.0.0.1:8400/callback", "https://evil.example.com/callback"),
            ("/callback?", "/callback/?"), ("code=", "kode="), ("code=", "code=1&code="), ("code=", "code=%zz"),
            ("state=", "state=x&state="), ("Location:", "Elsewhere:"), ("location:", "elsewhere:"),
        ])
    func hostileRedirect(_ change: (old: String, new: String)) async throws {
        try await SocketWorld.run { world in
            let hit = Mutex(false)
            world.issuer.expect(
                "POST /authorize",
                .change { head in
                    hit.withLock { $0 = head.contains(change.old) }
                    return head.replacing(change.old, with: change.new)
                })
            let refusal = await code { _ = try await logIn(world, try world.store()) }
            // Servers write names of header fields in either case.
            guard hit.withLock({ $0 }) else { return #expect(change.old.lowercased() == "location:") }
            #expect(refusal == (change.old.lowercased() == "location:" ? .loginRefused : .loginRedirect))
            #expect(world.issuer.count("POST /token ") == 0)
        }
    }

    @Test("A code that somebody took on its way is worth nothing without the verifier")
    func stolenCode() async throws {
        try await SocketWorld.run { world in
            let stolen = Mutex<String?>(nil)
            world.issuer.expect(
                "POST /authorize",
                .change { head in
                    let code = head.split(separator: "code=").last?.prefix { $0 != "&" && $0 != "\r" }
                    stolen.withLock { $0 = code.map(String.init) }
                    return head.replacing("code=", with: "kode=")
                })
            #expect(await code { _ = try await logIn(world, try world.store()) } == .loginRedirect)
            let taken = try #require(stolen.withLock { $0 })
            let web = try world.profile().issuerTrust.webClient(for: world.issuer.url)
            let thief = AuthorizationClient(
                web: web, issuer: world.issuer.url, clientID: "hds-cli", now: { world.clock.now })
            let server = try await thief.server()
            let attempt = try AuthorizationAttempt(
                server: server, clientID: "hds-cli", redirectURI: "http://127.0.0.1:8400/callback",
                loginHint: SocketWorld.email)
            let refusal = await diagnosis { _ = try await thief.redeem(code: taken, attempt, server) }
            await web.close()
            #expect(refusal?.code == .tokenRefused)
            #expect(refusal?.found?.contains("invalid_grant") == true)
        }
    }

    // MARK: - Pages

    private static func form(_ action: String, _ inner: String = "", method: String = "post") -> String {
        "<html><form action=\"\(action)\" method=\(method)>\(inner)<input name=email><input type=password name=password>"
            + "</form></html>"
    }

    @Test(
        "A page that would take the password elsewhere, or is no login page, never gets it",
        arguments: [
            form("https://evil.example.com/"), form("//evil.example.com/"), form("http://localhost/authorize"),
            form("https://localhost:1/authorize"), form("javascript:alert(1)"), form("/a/../b"),
            form("/authorize", method: "get"), form("/authorize") + form("/authorize"), "<p>Sign in by post.", "",
            form("/authorize", "<input type=hidden name=state value=other>"),
            form("/authorize", "<input type=hidden name=code_challenge value=other>"),
            form("/authorize", "<input type=hidden name=redirect_uri value=\"http://127.0.0.1:1/callback\">"),
            form("/authorize", String(repeating: "<i>", count: 100_000)),
            form("/authorize", String(repeating: "<input type=hidden name=a value=b>", count: 65)),
        ])
    func hostilePage(_ page: String) async throws {
        try await SocketWorld.run { world in
            world.issuer.expect("GET /authorize", .status(200, page))
            let refusal = await code { _ = try await logIn(world, try world.store()) }
            #expect(refusal == .loginPage)
            #expect(world.issuer.isDone)
            #expect(!world.issuer.hasHeard("password") && !world.core.hasHeard("password"))
        }
    }

    @Test("An answer in place of the page is told, and a redirect from it is not followed")
    func noPage() async throws {
        try await SocketWorld.run { world in
            for (status, headers, expected) in [
                (500, [], DiagnosedError.Code.loginRefused), (404, [], .loginRefused), (204, [], .loginRefused),
                (302, ["Location: https://evil.example.com/authorize"], .loginRedirect),
                (302, ["Location: http://127.0.0.1:8400/callback?error=access_denied"], .loginRedirect),
            ] {
                world.issuer.expect("GET /authorize", .status(status, "", headers: headers))
                #expect(await code { _ = try await logIn(world, try world.store()) } == expected, "\(status)")
            }
            // What changes nothing is sent once more by itself.
            world.issuer.expect("GET /authorize", .loseAnswer, .loseAnswer)
            let lost = await diagnosis { _ = try await logIn(world, try world.store()) }
            #expect(lost?.code == .cloudUnavailable && lost?.hint?.contains("try again") == true)
            #expect(!world.issuer.hasHeard("password"))
        }
    }

    // MARK: - Documents

    @Test("Documents that differ from what is pinned, or lead elsewhere, end the login before the login page")
    func hostileDocuments() async throws {
        try await SocketWorld.run { world in
            let root = try #require(try? TestPKI.shared.get())
            func domain(
                core: String? = nil, issuer: String? = nil, cluster: String = "kms://" + TestPKI.host,
                root name: String = "root"
            ) throws -> String {
                var json = JSONWriter()
                json.beginObject()
                json.member("domain", "example.com")
                json.member("issuer", issuer ?? world.issuer.url)
                json.member("core", core ?? world.core.url)
                json.member("kmsCluster", cluster)
                json.member("kmsRoots", [try root.text("\(name).pem")])
                json.endObject()
                return json.text()
            }
            for page in [
                try domain(core: "https://evil.example.com"), try domain(issuer: "https://evil.example.com"),
                try domain(cluster: "kms://evil.example.com"), try domain(root: "stranger"),
            ] {
                world.issuer.expect("GET /.well-known/hds-domain", .status(200, page))
                let error = await diagnosis { _ = try await logIn(world, try world.store()) }
                #expect(error?.code == .domainChanged)
                #expect(error?.expected != nil && error?.found != nil && error?.hint != nil)
            }
            let (good, evil) = (world.issuer.url, "https://evil.example.com")
            for (issuer, authorize, token) in [(evil, good, good), (good, evil, good), (good, good, evil)] {
                let page = """
                    {"issuer":"\(issuer)","authorization_endpoint":"\(authorize)/authorize",
                    "token_endpoint":"\(token)/token","code_challenge_methods_supported":["S256"]}
                    """
                world.issuer.expect("GET /.well-known/oauth-authorization-server", .status(200, page))
                #expect(await code { _ = try await logIn(world, try world.store()) } == .loginRefused)
            }
            let bootstrap = """
                {"authorizationServer":"\(good)","kmsCluster":"kms://\(TestPKI.host)","encryption":"\(evil)/e",
                "devices":"\(world.core.url)/d","conversations":"\(world.core.url)/c","files":"\(world.core.url)/f",
                "directory":"\(world.core.url)/p"}
                """
            world.core.expect("GET /bootstrap", .status(200, bootstrap))
            #expect(await code { _ = try await logIn(world, try world.store()) } == .domainChanged)
            #expect(world.issuer.isDone && world.core.isDone)
            #expect(world.issuer.count("GET /authorize") == 0)
            _ = try await logIn(world, try world.store())
        }
    }

    @Test("A server under another root hears nothing, at the first contact neither")
    func untrustedServer() async throws {
        try await SocketWorld.run { world in
            var profile = try world.profile()
            profile.issuerTrust = profile.coreTrust
            let login = Login(try world.store(), environment: world.environment)
            try login.pin(profile)
            let error = await diagnosis {
                _ = try await login.logIn(email: SocketWorld.email, proof: .password(Redacted(SocketWorld.password)))
            }
            #expect(error != nil && error?.code != .cloudUnavailable, "trying again can not help")
            let contact = await diagnosis {
                _ = try await Login.firstContact(
                    server: world.issuer.url, issuerTrust: profile.issuerTrust, coreTrust: profile.coreTrust)
            }
            #expect(contact?.code == error?.code)
            #expect(world.issuer.count("") == 0)
        }
    }

    @Test("The first contact makes the profile that an administrator would hand out")
    func firstContact() async throws {
        try await SocketWorld.run { world in
            let expected = try world.profile()
            func contact() async throws -> DomainProfile {
                try await Login.firstContact(
                    server: world.issuer.url + "/", issuerTrust: expected.issuerTrust, coreTrust: expected.coreTrust)
            }
            #expect(try await contact() == expected)
            world.issuer.expect("GET /.well-known/hds-domain", .status(404))
            #expect(await code { _ = try await contact() } == .profileInvalid)
            world.issuer.expect("GET /.well-known/hds-domain", .status(200, "[]"))
            #expect(await code { _ = try await contact() } == .profileInvalid)
        }
    }
}

/// The diagnosed error that `body` throws; nil when it throws none.
func diagnosis(of body: () async throws -> Void) async -> DiagnosedError? {
    do {
        try await body()
        return nil
    } catch {
        return DiagnosedError.diagnosing(error) ?? DiagnosedError("another-error", fault: .internal, "\(error)")
    }
}
