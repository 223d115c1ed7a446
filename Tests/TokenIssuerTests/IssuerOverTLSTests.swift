import Cryptography
import Diagnostics
import Foundation
import HTTPClient
import JOSESignature
import TestServers
import Testing
import TokenIssuer
import WireText

@Suite("Authorization service over TLS")
struct IssuerOverTLSTests {
    @Test("From the metadata to two verified tokens, a refresh and a revocation")
    func wholeFlow() async throws {
        try await RunningIssuer.with(try TestWorld()) { issuer in
            let metadata = try await issuer.get("/.well-known/oauth-authorization-server").json
            #expect(metadata["issuer"]?.string == TestWorld.issuer)
            #expect(metadata["code_challenge_methods_supported"]?.strings == ["S256"])
            #expect(
                metadata["grant_types_supported"]?.strings?.contains("urn:ietf:params:oauth:grant-type:token-exchange")
                    == true)
            func path(_ name: String) throws -> String {
                String(try #require(metadata[name]?.string).dropFirst(TestWorld.issuer.count))
            }
            #expect(try path("authorization_endpoint") == "/authorize")

            let signedIn = try await issuer.signIn()
            #expect(signedIn.status == 303)
            #expect(signedIn.header("Location")?.hasPrefix(TestClient.redirect) == true)
            #expect(signedIn.locationParameter("state") == "st-1")
            #expect(signedIn.locationParameter("iss") == TestWorld.issuer)

            let answer = try await issuer.post(
                try path("token_endpoint"),
                [
                    ("grant_type", "authorization_code"), ("code", try #require(signedIn.locationParameter("code"))),
                    ("redirect_uri", TestClient.redirect), ("client_id", "hds-cli"),
                    ("code_verifier", TestClient.verifier),
                ])
            #expect(answer.status == 200)
            #expect(answer.header("Cache-Control") == "no-store")
            let tokens = try answer.json

            let keys = try JWKSet(json: try await issuer.get(try path("jwks_uri")).body)
            for (member, audience) in [("access_token", "cloud"), ("kms_access_token", "kms")] {
                let token = try #require(tokens[member]?.string)
                let verified = try JWT.verify(
                    token, keys: keys.verificationKey, allowing: [.es256], issuer: TestWorld.issuer,
                    audience: audience, now: issuer.world.clock.now)
                #expect(verified.subject == TestWorld.alice.id)
                #expect(verified.clientID == "hds-cli")
                #expect(verified.scope == ["hds"])
                let other = audience == "cloud" ? "kms" : "cloud"
                #expect(throws: DiagnosedError.coded("jwt-audience")) {
                    try JWT.verify(
                        token, keys: keys.verificationKey, allowing: [.es256], issuer: TestWorld.issuer,
                        audience: other, now: issuer.world.clock.now)
                }
            }

            func refresh(_ token: String?) async throws -> WebResponse {
                try await issuer.post(
                    "/token",
                    [("grant_type", "refresh_token"), ("refresh_token", token ?? ""), ("client_id", "hds-cli")])
            }
            let refreshed = try await refresh(tokens["refresh_token"]?.string)
            #expect(refreshed.status == 200)
            let next = try #require(refreshed.json["refresh_token"]?.string)
            let revoked = try await issuer.post(try path("revocation_endpoint"), [("token", next)])
            #expect(revoked.status == 200)
            let ended = try await refresh(next)
            #expect(ended.status == 400)
            #expect(try ended.json["error"]?.string == "invalid_grant")
        }
    }

    @Test("The domain document tells clients where everything is")
    func domainDocument() async throws {
        try await RunningIssuer.with(try TestWorld()) { issuer in
            let answer = try await issuer.get("/.well-known/hds-domain")
            #expect(answer.header("Content-Type") == "application/json")
            let domain = try answer.json
            #expect(domain["domain"]?.string == "example.com")
            #expect(domain["issuer"]?.string == TestWorld.issuer)
            #expect(domain["kmsCluster"]?.string == "kms://kms.example.com")
            #expect(domain["kmsRoots"]?.strings == TestWorld.settings.kmsRoots)
            #expect(domain["core"]?.string == "https://core.example.net")
        }
    }

    @Test("A service gets its token with HTTP Basic")
    func service() async throws {
        try await RunningIssuer.with(try TestWorld()) { issuer in
            let answer = try await issuer.post(
                "/token", [("grant_type", "client_credentials"), ("audience", "cloud")],
                headers: [("Authorization", TestClient.basic("hds-kms", TestWorld.serviceSecret))])
            #expect(answer.status == 200)
            #expect(try issuer.world.claims(try answer.json["access_token"])["scope"]?.string == "link:kms link:status")
            let wrong = try await issuer.post(
                "/token", [("grant_type", "client_credentials"), ("audience", "cloud")],
                headers: [("Authorization", TestClient.basic("hds-kms", "wrong"))])
            #expect(wrong.status == 401)
            #expect(wrong.header("WWW-Authenticate")?.hasPrefix("Basic realm=") == true)
        }
    }

    @Test("After a roll new tokens have the new key, and old ones verify until they expire")
    func keyRoll() async throws {
        let world = try TestWorld()
        try await RunningIssuer.with(world) { issuer in
            func token() async throws -> (kid: String, text: String) {
                let answer = try await issuer.post(
                    "/token", [("grant_type", "client_credentials"), ("audience", "cloud")],
                    headers: [("Authorization", TestClient.basic("hds-kms", TestWorld.serviceSecret))])
                let text = try #require(try answer.json["access_token"]?.string)
                return (try #require(try JWS.peekHeader(text).kid), text)
            }
            func keys() async throws -> JWKSet { try JWKSet(json: try await issuer.get("/jwks.json").body) }
            func verifies(_ text: String, _ keys: JWKSet) -> Bool {
                (try? JWT.verify(
                    text, keys: keys.verificationKey, allowing: [.es256], issuer: TestWorld.issuer, audience: "cloud",
                    now: world.clock.now)) != nil
            }
            let before = try await token()
            let keysBefore = try await keys()
            // Another process rolls, as `hds-auth roll-keys` does; the running one is not told.
            try SigningKeys(
                folder: world.folder.path, schedule: TestWorld.settings.keySchedule, now: world.clock.now
            ).roll(at: world.clock.now)
            let after = try await token()
            #expect(after.kid != before.kid)
            #expect(keysBefore[after.kid] != nil, "who cached the key set before the roll can verify the new token")
            #expect(verifies(after.text, keysBefore))
            #expect(verifies(before.text, try await keys()))
            world.clock.advance(seconds: 3600)
            #expect(try await keys()[before.kid] != nil, "still there for clocks that are behind")
            world.clock.advance(seconds: 61)
            #expect(try await keys()[before.kid] == nil)
            #expect(!verifies(before.text, keysBefore), "expired by now")
        }
    }

    @Test("Unknown paths, wrong methods and huge bodies get their status as JSON")
    func refusals() async throws {
        try await RunningIssuer.with(try TestWorld()) { issuer in
            for (method, path, status) in [
                ("GET", "/nothing", 404), ("GET", "/token", 405), ("GET", "/revoke", 405),
                ("DELETE", "/authorize", 405),
                ("POST", "/jwks.json", 405), ("GET", "/.well-known/%2e%2e/token", 404),
            ] {
                let answer = try await issuer.client.send(WebRequest(method: method, url: issuer.base + path))
                #expect(answer.status == status, "\(method) \(path)")
                #expect(answer.header("X-Content-Type-Options") == "nosniff")
                let body = try answer.json
                #expect(body["message"]?.string != nil && body["trackingId"]?.string != nil)
                #expect(body["errors"]?.elements?.first?["description"]?.string != nil)
                if answer.status == 405 { #expect(answer.header("Allow") != nil) }
            }
            for path in ["/token", "/authorize", "/revoke"] {
                let body = [UInt8](repeating: UInt8(ascii: "a"), count: IssuerRoutes.maximumBodyBytes + 1)
                #expect(try await issuer.post(path, body: body).status == 413)
            }
            #expect(try await issuer.get("/").status == 200)
        }
    }

    @Test("A huge body without its length is cut off, and the service goes on")
    func endlessBody() async throws {
        try await RunningIssuer.with(try TestWorld()) { issuer in
            let head = "POST /token HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/x-www-form-urlencoded\r\n"
            let chunk = "1000\r\n" + String(repeating: "a", count: 0x1000) + "\r\n"
            let answer = try await OpenSSLClient.send(
                head + "Transfer-Encoding: chunked\r\n\r\n" + String(repeating: chunk, count: 64) + "0\r\n\r\n",
                port: issuer.port)
            #expect(answer.hasPrefix("HTTP/1.1 413"), "\(answer.prefix(200))")
            #expect(try await issuer.get("/jwks.json").status == 200)
        }
    }

    @Test("What is echoed can not add a header, and a request with line breaks in it gets nowhere")
    func headerInjection() async throws {
        try await RunningIssuer.with(try TestWorld()) { issuer in
            let state = "x\r\nSet-Cookie: evil=1\r\n\r\n<script>"
            let query = FormParameters.encode(TestClient.parameters(["state": state]))
            let refused = try await issuer.get("/authorize?" + query)
            #expect(refused.status == 303)
            #expect(refused.header("Set-Cookie") == nil)
            #expect(refused.locationParameter("error") == "invalid_request")
            let redirect = FormParameters.encode(
                TestClient.parameters(["redirect_uri": TestClient.redirect + "\r\nSet-Cookie: evil=1"]))
            let page = try await issuer.get("/authorize?" + redirect)
            #expect(page.status == 400 && page.header("Set-Cookie") == nil && page.header("Location") == nil)
            let hint = FormParameters.encode(TestClient.parameters(["login_hint": "a\r\nX-Evil: 1"]))
            let login = try await issuer.get("/authorize?" + hint)
            #expect(login.status == 200 && login.header("X-Evil") == nil)
        }
    }

    @Test("The headers of the login page reach the browser")
    func pageHeaders() async throws {
        try await RunningIssuer.with(try TestWorld()) { issuer in
            let page = try await issuer.get("/authorize?" + FormParameters.encode(TestClient.parameters()))
            for (name, part) in [
                ("Content-Security-Policy", "frame-ancestors 'none'"), ("X-Frame-Options", "DENY"),
                ("Referrer-Policy", "no-referrer"), ("Cache-Control", "no-store"), ("Set-Cookie", "HttpOnly"),
                ("X-Content-Type-Options", "nosniff"), ("Content-Type", "text/html"),
            ] {
                #expect(page.header(name)?.contains(part) == true, "\(name)")
            }
            let wrong = try await issuer.signIn(password: "wrong")
            #expect(wrong.status == 401)
            #expect(wrong.header("Content-Security-Policy")?.contains("default-src 'none'") == true)
        }
    }

    @Test("The limit on attempts counts the address of the connection")
    func addressOfConnection() async throws {
        var settings = TestWorld.settings
        settings.attempts.address = .init(burst: 2, intervalSeconds: 10)
        try await RunningIssuer.with(try TestWorld(settings: settings)) { issuer in
            for number in 0..<2 {
                #expect(try await issuer.signIn(email: "u\(number)@example.com").status == 401)
            }
            let limited = try await issuer.signIn()
            #expect(limited.status == 429)
            #expect(limited.header("Retry-After") == "10")
        }
    }

    @Test("No record, and no file of the service, holds a password, a code, a token or a verifier in any form")
    func secretsStayOut() async throws {
        let world = try TestWorld()
        var secrets = [
            TestWorld.alicePassword, TestWorld.serviceSecret, "wrong-Secret-4711", TestClient.verifier,
            "alice@example.com",
        ]
        try await RunningIssuer.with(world) { issuer in
            _ = try await issuer.signIn(password: "wrong-Secret-4711")
            let code = try #require(try await issuer.signIn().locationParameter("code"))
            secrets.append(code)
            let exchange: [(name: String, value: String)] = [
                ("grant_type", "authorization_code"), ("code", code), ("redirect_uri", TestClient.redirect),
                ("client_id", "hds-cli"), ("code_verifier", TestClient.verifier),
            ]
            let tokens = try await issuer.post("/token", exchange).json
            for name in ["access_token", "kms_access_token", "refresh_token"] {
                secrets.append(try #require(tokens[name]?.string))
            }
            _ = try await issuer.post("/token", exchange)
            for secret in [TestWorld.serviceSecret, "wrong-Secret-4711"] {
                _ = try await issuer.post(
                    "/token", [("grant_type", "client_credentials"), ("audience", "cloud")],
                    headers: [("Authorization", TestClient.basic("hds-kms", secret))])
            }
        }
        #expect(world.events.lines.count >= 4)
        var places = [("records", Array(world.events.lines.joined(separator: "\n").utf8))]
        for name in try world.folder.names() {
            places.append((name, Array(try Data(contentsOf: URL(filePath: world.folder.file(name))))))
        }
        for secret in secrets {
            let bytes = Array(secret.utf8)
            for form in [secret, Base64URL.encode(bytes), Base64.encode(bytes), Hexadecimal.encode(bytes)] {
                for (name, content) in places {
                    #expect(!content.contains(Array(form.utf8)), "\(secret.prefix(12))… in \(name)")
                }
            }
        }
        #expect(places.contains { $0.1.contains(Array("hds-cli".utf8)) }, "the search finds what is there")
    }
}

/// Raw octets over TLS, by the openssl command: for requests that no proper client sends.
enum OpenSSLClient {
    static func send(_ text: String, port: Int) async throws -> String {
        try await onOwnThread { try exchange(text, port: port) }
    }

    private static func exchange(_ text: String, port: Int) throws -> String {
        let process = Process()
        process.executableURL = URL(filePath: "/usr/bin/openssl")
        process.arguments = [
            "s_client", "-quiet", "-no_ign_eof", "-connect", "127.0.0.1:\(port)", "-servername", "localhost",
        ]
        let (input, output) = (Pipe(), Pipe())
        process.standardInput = input
        process.standardOutput = output
        process.standardError = FileHandle.nullDevice
        try process.run()
        // The server may close before it has read everything.
        signal(SIGPIPE, SIG_IGN)
        try? input.fileHandleForWriting.write(contentsOf: Data(text.utf8))
        let answer = try output.fileHandleForReading.readToEnd() ?? Data()
        try? input.fileHandleForWriting.close()
        process.terminate()
        process.waitUntilExit()
        return String(decoding: answer, as: UTF8.self)
    }
}
