import Cryptography
import Diagnostics
import Foundation
import HTTPClient
import HTTPServer
import Logging
import OIDCRelyingParty
import SAMLServiceProvider
import ServiceLifecycle
import TLSChannel
import TestServers
import Testing
import TokenIssuer
import WireText

@Suite("Addresses of providers over TLS", .enabled(if: SAMLSigner.isInstalled))
struct ProviderRoutesTests {
    private struct Running {
        let base: String
        let client: WebClient

        func get(_ path: String, cookie: String = "") async throws -> WebResponse {
            try await client.send(WebRequest(url: base + path, headers: cookie.isEmpty ? [] : [("Cookie", cookie)]))
        }

        func post(_ path: String, _ fields: [(name: String, value: String)], cookie: String = "") async throws
            -> WebResponse
        {
            try await client.send(
                WebRequest(
                    method: "POST", url: base + path,
                    headers: [("Content-Type", "application/x-www-form-urlencoded")]
                        + (cookie.isEmpty ? [] : [("Cookie", cookie)]), body: Browser.bytes(fields)))
        }
    }

    private func serve(_ world: LoginWorld, _ body: (Running) async throws -> Void) async throws {
        let own = try SAMLSigner.named("service")
        let identity = TLSServerIdentity(certificateChain: [own.certificate], privateKey: own.privateKey)
        let server = WebServer(
            configuration: WebServerConfiguration(
                host: "127.0.0.1", port: 0, identity: identity, maximumBody: IssuerRoutes.maximumBodyBytes,
                largeBodies: ["/saml/": IssuerRoutes.maximumAssertionBytes]),
            router: IssuerRoutes(world.service).router())
        let group = ServiceGroup(
            services: [server], logger: Logger(label: "test", factory: { _ in SwiftLogNoOpLogHandler() }))
        let client = WebClient(trust: TLSTrust(roots: [own.certificate]))
        try await withThrowingTaskGroup(of: Void.self) { tasks in
            tasks.addTask { try await group.run() }
            let running = Running(base: "https://localhost:\(try await server.boundPort)", client: client)
            let result: Result<Void, any Error>
            do { result = .success(try await body(running)) } catch { result = .failure(error) }
            await client.close()
            await group.triggerGracefulShutdown()
            try await tasks.waitForAll()
            try result.get()
        }
    }

    private func text(_ response: WebResponse) -> String { String(decoding: response.body, as: UTF8.self) }

    @Test("A SAML login from the page to the code, with an answer larger than other bodies may be")
    func saml() async throws {
        let signer = try SAMLSigner.named("provider")
        let clock = TestClock(start: Timestamp(seconds: 1_800_000_000))
        let provider = SAMLServiceProvider(signer.settings(), now: { clock.now })
        let world = try LoginWorld(providers: [LoginWorld.provider(.saml(provider))], clock: clock)
        try await serve(world) { running in
            let page = try await running.get("/authorize?" + FormParameters.encode(Browser.parameters))
            let hidden = text(page).matches(of: /<input type="hidden" name="([^"]*)" value="([^"]*)">/).map {
                (name: String($0.1), value: String($0.2).unescaped)
            }
            let cookie = try #require(page.header("Set-Cookie")).prefix { $0 != ";" }
            let passage = try await running.post(
                "/authorize", hidden + [("email", "alice@example.com")], cookie: String(cookie))
            let address = try #require(text(passage).firstMatch(of: /<a id="passage" href="([^"]*)">/))
            let packed = try #require(
                String(address.1).unescaped.queryParameters["SAMLRequest"].flatMap { Base64.decode($0) })
            let message = String(decoding: packed.dropFirst(5), as: UTF8.self)
            var template = SAMLTemplate(now: clock.now)
            template.requestID = String(try #require(message.firstMatch(of: #/ ID="([^"]*)"/#)).1)
            template.attributes +=
                "<saml:Attribute Name=\"groups\"><saml:AttributeValue>"
                + String(repeating: "a", count: 60_000) + "</saml:AttributeValue></saml:Attribute>"
            let answer = try template.signed(by: signer)
            let mine = try #require(passage.header("Set-Cookie")).prefix { $0 != ";" }
            let reply = try await running.post(
                "/saml/example/acs", [("SAMLResponse", answer.base64)], cookie: String(mine))
            #expect(reply.status == 303)
            #expect(reply.header("Location")?.hasPrefix(Browser.redirect + "?code=") == true)

            let metadata = try await running.get("/saml/metadata")
            #expect(metadata.status == 200 && text(metadata).contains("AssertionConsumerService"))
            #expect(try await running.get("/saml/example/logout?SAMLRequest=AAAA").status == 400)
            #expect(try await running.post("/saml/example/logout", [("SAMLRequest", "AAAA")]).status == 400)
            #expect(try await running.get("/saml/none/logout").status == 404)
            #expect(try await running.get("/oidc/example/callback?state=a").status == 404)
            #expect(text(try await running.get("/signed-out")).contains("Signed out"))
        }
    }

    @Test("An OpenID login, and a logout by the back channel")
    func openID() async throws {
        let fake = try FakeOpenIDProvider()
        let world = try LoginWorld(
            providers: [LoginWorld.provider(.openIDConnect(fake.party()))], clock: fake.clock)
        try await serve(world) { running in
            let browser = Browser(world)
            let query = try await browser.passage().queryParameters
            fake.change { $0.nonce = query["nonce"] }
            let cookie = browser.cookies.map { "\($0.key)=\($0.value)" }.joined(separator: "; ")
            let back = try await running.get(
                "/oidc/example/callback?code=c&state=\(query["state"] ?? "")", cookie: cookie)
            #expect(back.status == 303)
            #expect(back.header("Location")?.hasPrefix(Browser.redirect + "?code=") == true)
            let token = try fake.sign(
                fake.claims([
                    "events": "{\"http://schemas.openid.net/event/backchannel-logout\":{}}", "jti": "\"j\"",
                ]), typ: "logout+jwt")
            let reply = try await running.post("/oidc/example/logout", [("logout_token", token)])
            #expect(reply.status == 200 && reply.header("Cache-Control") == "no-store")
            #expect(try await running.post("/oidc/example/logout", [("logout_token", token)]).status == 400)
            #expect(try await running.post("/oidc/none/logout", []).status == 400)
        }
    }
}
