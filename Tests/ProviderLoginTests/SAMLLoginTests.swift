import Diagnostics
import HTTPTypes
import SAMLServiceProvider
import TestServers
import Testing
import TokenIssuer
import WireText

@Suite("SAML logins", .enabled(if: SAMLSigner.isInstalled))
struct SAMLLoginTests {
    private let signer: SAMLSigner
    private let clock = TestClock(start: Timestamp(seconds: 1_800_000_000))

    init() throws { signer = try SAMLSigner.named("provider") }

    private func world(folder: TemporaryFolder = TemporaryFolder()) throws -> LoginWorld {
        let clock = clock
        let provider = SAMLServiceProvider(signer.settings(), now: { clock.now })
        return try LoginWorld(providers: [LoginWorld.provider(.saml(provider))], clock: clock, folder: folder)
    }

    /// The id of the request in an address: DEFLATE by stored blocks is the message behind five octets.
    private func requestID(_ address: String) throws -> String {
        let packed = try #require(address.queryParameters["SAMLRequest"].flatMap { Base64.decode($0) })
        let message = String(decoding: packed.dropFirst(5), as: UTF8.self)
        #expect(message.contains("AssertionConsumerServiceURL=\"\(SAMLSigner.consumer)\""))
        #expect(message.contains("<saml:Issuer>\(SAMLSigner.entity)</saml:Issuer>"))
        return String(try #require(message.firstMatch(of: #/ ID="([^"]*)"/#)).1)
    }

    private func finish(
        _ browser: Browser, _ change: (inout SAMLTemplate) -> Void = { _ in }
    ) async throws -> Reply {
        var template = SAMLTemplate(now: clock.now)
        template.requestID = try requestID(try await browser.passage())
        template.assertionID = "_" + UUIDText.random()
        change(&template)
        let text = try template.signed(by: signer)
        return await browser.world.service.finishSAMLLogin(
            provider: "example", body: Browser.bytes([("SAMLResponse", text.base64)]),
            visitor: browser.visitor(site: "cross-site"))
    }

    @Test("An assertion counts once for all logins, also after a restart, and its id is forgotten when it has expired")
    func replay() async throws {
        let world = try world()
        let browser = Browser(world)
        #expect(try await finish(browser) { $0.assertionID = "_same" }.parameters["code"] != nil)
        #expect(try await finish(browser) { $0.assertionID = "_same" }.parameters["error"] == "access_denied")
        #expect(world.events.lines.contains { $0.contains("REASON=provider-answer-replayed") })
        let again = Browser(try self.world(folder: world.folder))
        #expect(try await finish(again) { $0.assertionID = "_same" }.parameters["error"] == "access_denied")
        #expect(try await finish(again).parameters["code"] != nil)
        clock.advance(seconds: 400)
        try await again.world.service.purge()
        #expect(try await finish(again) { $0.assertionID = "_same" }.parameters["code"] != nil)
    }

    @Test("What is wrong with an answer is for the journal; the client hears one sentence")
    func refusals() async throws {
        let browser = Browser(try world())
        let changes: [(inout SAMLTemplate) -> Void] = [
            { $0.recipient = "https://other.example" }, { $0.audience = "" }, { $0.signsAssertion = false },
            { $0.ends = $0.issued.adding(seconds: -100) }, { $0.extra = "<saml:EncryptedAssertion/>" },
        ]
        var said: Set<String> = []
        for change in changes {
            let reply = try await finish(browser, change)
            #expect(reply.parameters["error"] == "access_denied" && reply.parameters["code"] == nil)
            said.insert(reply.parameters["error_description"] ?? "")
        }
        #expect(said == ["the sign-in service of the domain gave no answer that counts"])
        for code in ["saml-recipient", "saml-audience", "saml-signature", "saml-expired", "saml-unsupported"] {
            #expect(browser.world.events.lines.contains { $0.contains(code) })
        }
        #expect(browser.world.events.lines.allSatisfy { !$0.contains("subject-alice") && !$0.contains("@example.com") })
    }

    @Test("What is no answer at all gets a page")
    func unreadable() async throws {
        let world = try world()
        let browser = Browser(world)
        for body in [
            Browser.bytes([]), Browser.bytes([("SAMLResponse", "x")]), Browser.bytes([("SAMLResponse", "<a/>".base64)]),
            Browser.bytes([("SAMLResponse", "PGEvPg=="), ("SAMLResponse", "PGEvPg==")]), Array("%".utf8),
        ] {
            let reply = await world.service.finishSAMLLogin(
                provider: "example", body: body, visitor: browser.visitor())
            #expect(reply.status == .badRequest && reply.location == nil)
        }
        let other = await world.service.finishSAMLLogin(provider: "x", body: [], visitor: browser.visitor())
        #expect(other.status == .notFound)
    }

    private func logoutRequest(_ change: (inout String) -> Void = { _ in }, by other: SAMLSigner? = nil) throws
        -> String
    {
        let template = SAMLTemplate(now: clock.now)
        var text =
            "<samlp:LogoutRequest xmlns:samlp=\"urn:oasis:names:tc:SAML:2.0:protocol\" "
            + "xmlns:saml=\"urn:oasis:names:tc:SAML:2.0:assertion\" ID=\"_logout\" Version=\"2.0\" "
            + "IssueInstant=\"\(clock.now.iso8601)\" Destination=\"\(SAMLSigner.logout)\">"
            + "<saml:Issuer>\(SAMLSigner.provider)</saml:Issuer>\(template.signature("_logout"))"
            + "<saml:NameID>subject-alice</saml:NameID><samlp:SessionIndex>_session</samlp:SessionIndex>"
            + "</samlp:LogoutRequest>"
        change(&text)
        return try (other ?? signer).signed(text, path: "/*/*[local-name()='Signature']")
    }

    private func logout(_ world: LoginWorld, _ text: String) async -> Reply {
        await world.service.samlLogout(
            provider: "example", body: Browser.bytes([("SAMLRequest", text.base64)]),
            visitor: Visitor(address: "192.0.2.7", contentType: "application/x-www-form-urlencoded"))
    }

    @Test("A request for logout by POST ends the logins of its session; one that must not be ends nothing")
    func logoutByPost() async throws {
        let world = try world()
        let browser = Browser(world)
        let tokens = try await browser.tokens(try await finish(browser))
        let refresh = try #require(tokens["refresh_token"]?.string)
        let changes: [(inout String) -> Void] = [
            { $0 = $0.replacing(SAMLSigner.logout, with: "https://other.example/logout") },
            { $0 = $0.replacing(SAMLSigner.provider, with: "https://other.example/metadata") },
            { $0 = $0.replacing("2027-01-15T", with: "2026-01-15T") },
            { $0 = $0.replacing("<saml:NameID>subject-alice</saml:NameID>", with: "") },
        ]
        for change in changes {
            var changed = ""
            let text = try logoutRequest {
                change(&$0)
                changed = $0
            }
            #expect(changed != (try logoutRequest()))
            #expect(await logout(world, text).status == .badRequest)
        }
        #expect(await logout(world, try logoutRequest(by: try SAMLSigner.named("other"))).status == .badRequest)
        let good = try logoutRequest()
        #expect(await logout(world, good.replacing("subject-alice", with: "subject-bob")).status == .badRequest)
        let next = await browser.refresh(refresh)
        #expect(next.status == .ok)
        #expect(await logout(world, good).status == .ok)
        #expect(await browser.refresh(try #require(next.json["refresh_token"]?.string)).status == .badRequest)
        #expect(await logout(world, good).status == .badRequest)
    }

    @Test("The service's metadata are there when a SAML provider is configured, and can be read")
    func metadata() throws {
        let reply = try world().service.samlMetadata()
        #expect(reply.status == .ok && reply.headers[.contentType] == "application/samlmetadata+xml")
        #expect(reply.text.contains("entityID=\"\(SAMLSigner.entity)\""))
        #expect(reply.text.contains("Location=\"\(SAMLSigner.consumer)\""))
        #expect(try LoginWorld().service.samlMetadata().status == .notFound)
    }
}
