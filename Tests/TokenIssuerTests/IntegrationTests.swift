import HTTPTypes
import Testing
import TokenIssuer
import WireText

@Suite("Integrations and blocked clients")
struct IntegrationTests {
    private static func accounts(isBlocked: Bool = false) -> Accounts {
        let crm = ClientRegistration(
            id: "crm", name: "CRM", redirects: [.loopback(pathAndQuery: "/callback")], isIntegration: true,
            isBlocked: isBlocked)
        return Accounts(users: [TestWorld.alice], services: [TestWorld.kms], clients: [crm])
    }

    private static func exchange(_ client: TestClient) async throws -> Reply {
        let location = try await client.signIn(["client_id": "crm"]).headers[.location] ?? ""
        let code = location.split(whereSeparator: { "?&".contains($0) }).first { $0.hasPrefix("code=") }
        return await client.exchange(String(try #require(code).dropFirst(5)), ["client_id": "crm"])
    }

    @Test("both tokens of an integration say that it is one, and its refreshed ones, whatever scope it asks for")
    func marked() async throws {
        let world = try TestWorld(accounts: Self.accounts())
        let answer = try await Self.exchange(TestClient(world)).json
        for member in ["access_token", "kms_access_token"] {
            let claims = try world.claims(answer[member])
            #expect(claims["scope"]?.string == "hds integration" && claims["client_id"]?.string == "crm")
        }
    }

    @Test("a blocked client gets neither a login page nor tokens, and what it has of a login is not renewed")
    func blocked() async throws {
        let world = try TestWorld(accounts: Self.accounts())
        let refresh = try #require(try await Self.exchange(TestClient(world)).json["refresh_token"]?.string)
        let blocked = try world.restarted(accounts: Self.accounts(isBlocked: true))
        let page = TestClient(blocked).open(["client_id": "crm"])
        #expect(page.status == .badRequest && page.headers[.location] == nil)
        let reply = await blocked.service.token(
            body: TestClient.bytes([
                ("grant_type", "refresh_token"), ("refresh_token", refresh), ("client_id", "crm"),
            ]),
            visitor: Visitor(address: "192.0.2.1", contentType: "application/x-www-form-urlencoded"))
        #expect(reply.error == "unauthorized_client")
    }
}
