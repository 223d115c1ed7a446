import Cryptography
import Diagnostics
import Foundation
import HTTPClient
import HTTPTypes
import SAMLServiceProvider
import TestServers
import Testing
import TokenIssuer
import WireText

/// With a SAML provider that nobody here wrote (`pysaml2` from PyPI), which reads this service's metadata, requires signed
/// requests, signs with xmlsec1 and compresses with zlib.
@Suite("A real SAML provider", .enabled(if: TestIdentityProvider.isInstalled && SAMLSigner.isInstalled))
struct RealSAMLTests {
    /// The provider, and the service that it knows.
    private struct Ground {
        let provider: TestIdentityProvider
        let world: LoginWorld
        let web = WebClient(trust: nil)

        var base: String { "http://127.0.0.1:\(provider.port)" }

        init(signs: String) async throws {
            let own = try SAMLSigner.named("service")
            var settings = SAMLSettings(
                providerID: "", signOn: "", certificates: [], entityID: SAMLSigner.entity,
                consumer: SAMLSigner.consumer,
                logoutConsumer: SAMLSigner.logout)
            settings.signingKey = own.privateKey
            let metadata = try #require(
                SAMLServiceProvider.metadata([SAMLServiceProvider(settings)], certificate: own.certificate))
            provider = try await TestIdentityProvider.start(
                .saml, [SAMLSigner.entity, SAMLSigner.logout, signs, metadata])
            let base = "http://127.0.0.1:\(provider.port)"
            let pem = try await web.send(WebRequest(url: base + "/certificate")).body
            settings.providerID = base + "/metadata"
            settings.signOn = base + "/sso"
            settings.logout = base + "/slo"
            settings.certificates = try Certificate.all(inPEM: String(decoding: pem, as: UTF8.self))
            world = try LoginWorld(providers: [LoginWorld.provider(.saml(SAMLServiceProvider(settings)))])
        }

        /// What the provider's page would post.
        func answer(_ address: String, as name: String) async throws -> [(name: String, value: String)] {
            let page = try await web.send(WebRequest(url: address + "&as=" + name))
            let text = String(decoding: page.body, as: UTF8.self)
            try #require(page.status == 200, "\(text)")
            let field = try #require(text.firstMatch(of: /name="SAMLResponse" value="([^"]*)"/))
            return [("SAMLResponse", String(field.1).unescaped)]
        }

        func login(_ browser: Browser, as name: String) async throws -> Reply {
            let form = try await answer(try await browser.passage(), as: name)
            return await world.service.finishSAMLLogin(
                provider: "example", body: Browser.bytes(form), visitor: browser.visitor(site: "cross-site"))
        }

        func location(_ path: String) async throws -> String {
            let answer = try await web.send(WebRequest(url: path.hasPrefix("http") ? path : base + path))
            return try #require(
                answer.header("Location"), "\(answer.status) \(String(decoding: answer.body, as: UTF8.self))")
        }
    }

    @Test("A login there ends in the same two tokens as a password here", arguments: ["response", "assertion", "both"])
    func login(signs: String) async throws {
        let ground = try await Ground(signs: signs)
        let browser = Browser(ground.world)
        let reply = try await ground.login(browser, as: "alice")
        #expect(reply.status == .seeOther)
        let tokens = try await browser.tokens(reply)
        #expect(tokens["user"]?["id"]?.string == LoginWorld.alice.id)
        #expect(tokens["access_token"]?.string != nil && tokens["kms_access_token"]?.string != nil)
        #expect(await browser.refresh(try #require(tokens["refresh_token"]?.string)).status == .ok)
        // Another subject with the same address.
        #expect(try await ground.login(browser, as: "mallory").parameters["error"] == "access_denied")
        #expect(ground.world.events.count(of: .providerAddressTaken) == 1)
        #expect(try await ground.login(browser, as: "foreign").parameters["error"] == "access_denied")
    }

    @Test("An answer counts once, in the browser in which the login began, and its assertion in no other login")
    func replay() async throws {
        let ground = try await Ground(signs: "both")
        let (browser, thief) = (Browser(ground.world), Browser(ground.world))
        let form = try await ground.answer(try await browser.passage(), as: "alice")
        _ = try await thief.passage()
        func finish(_ visitor: Visitor) async -> Reply {
            await ground.world.service.finishSAMLLogin(
                provider: "example", body: Browser.bytes(form), visitor: visitor)
        }
        #expect(await finish(thief.visitor()).status == .forbidden)
        #expect(await finish(browser.visitor()).status == .seeOther)
        #expect(await finish(browser.visitor()).status == .forbidden)
        // Nor after a restart, with everything that the service keeps.
        let again = try LoginWorld(providers: ground.world.service.providers.list, folder: ground.world.folder)
        let reply = await again.service.finishSAMLLogin(
            provider: "example", body: Browser.bytes(form), visitor: browser.visitor())
        #expect(reply.status == .forbidden)
    }

    @Test("Who is signed out there has no login here any more, and the provider gets its answer")
    func logoutThere() async throws {
        let ground = try await Ground(signs: "both")
        let browser = Browser(ground.world)
        let tokens = try await browser.tokens(try await ground.login(browser, as: "alice"))
        let address = try await ground.location("/logout?as=alice")
        #expect(address.hasPrefix(SAMLSigner.logout + "?"))
        // A changed query, and none of the signature, end nothing.
        for broken in [
            address.replacing("RelayState=relayed", with: "RelayState=other"),
            address.replacing(/&Signature=[^&]*/, with: ""), address.replacing("SAMLRequest=", with: "SAMLRequest=A"),
        ] {
            #expect(broken != address)
            let reply = await ground.world.service.samlLogout(provider: "example", query: broken.query)
            #expect(reply.status == .badRequest)
        }
        #expect(ground.world.events.count(of: .providerSignedOut) == 0)
        let reply = await ground.world.service.samlLogout(provider: "example", query: address.query)
        #expect(reply.status == .seeOther)
        #expect(reply.parameters["RelayState"] == "relayed")
        #expect(try await ground.web.send(WebRequest(url: try #require(reply.location))).status == 200)
        #expect(ground.world.events.count(of: .providerSignedOut) == 1)
        #expect(await browser.refresh(try #require(tokens["refresh_token"]?.string)).status == .badRequest)
        // The same request again.
        let twice = await ground.world.service.samlLogout(provider: "example", query: address.query)
        #expect(twice.status == .badRequest)
    }

    @Test("Who ends the login here is told where to end it there, and the provider takes the request")
    func logoutHere() async throws {
        let ground = try await Ground(signs: "assertion")
        let browser = Browser(ground.world)
        let tokens = try await browser.tokens(try await ground.login(browser, as: "alice"))
        let address = try await browser.revoke(try #require(tokens["refresh_token"]?.string)).json[
            "provider_logout_uri"]
        let back = try await ground.location(try #require(address?.string))
        #expect(back.hasPrefix(SAMLSigner.logout + "?SAMLResponse="))
        let reply = await ground.world.service.samlLogout(provider: "example", query: back.query)
        #expect(reply.status == .ok)
        #expect(reply.text.contains("Signed out"))
    }

    @Test("A request that this service did not sign is refused there: the signature is looked at")
    func unsignedRequest() async throws {
        let ground = try await Ground(signs: "both")
        let address = try await Browser(ground.world).passage()
        #expect(address.contains("&SigAlg=") && address.contains("&Signature="))
        let answer = try await ground.web.send(
            WebRequest(url: address.replacing(/&Signature=[^&]*/, with: "&Signature=AAAA") + "&as=alice"))
        #expect(answer.status == 500)
    }
}
