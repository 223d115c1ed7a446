import HTTPTypes
import Testing
import TokenIssuer

@Suite("Hostile requests")
struct HostileRequestTests {
    /// Statuses with which the service answers on purpose.
    private static let expected: Set<Int> = [200, 303, 400, 401, 403, 429]

    @Test(
        "No damage of a valid request gets a login, a token or an answer that was not meant", arguments: [1, 2, 3, 4])
    func damaged(_ seed: UInt64) async throws {
        var random = SeededGenerator(seed)
        var settings = TestWorld.settings
        settings.attempts = .init(
            account: .init(burst: 0, intervalSeconds: 1), address: .init(burst: 0, intervalSeconds: 1))
        let world = try TestWorld(settings: settings)
        let client = TestClient(world)
        let code = try await client.code()
        let page = LoginForm(client.open())
        let requests: [[UInt8]] = [
            TestClient.bytes(TestClient.parameters()),
            TestClient.bytes(page.fields + [("email", "alice@example.com"), ("password", "not the right one")]),
            TestClient.bytes([
                ("grant_type", "authorization_code"), ("code", code), ("redirect_uri", TestClient.redirect),
                ("client_id", "hds-cli"), ("code_verifier", "x" + TestClient.verifier),
            ]),
            TestClient.bytes([("grant_type", "refresh_token"), ("refresh_token", code), ("client_id", "hds-cli")]),
            TestClient.bytes([("grant_type", "client_credentials"), ("audience", "cloud"), ("scope", "link:kms")]),
        ]
        for _ in 0..<150 {
            var bytes = requests.randomElement(using: &random) ?? []
            for _ in 0..<Int.random(in: 1...5, using: &random) {
                let position = Int.random(in: 0..<bytes.count, using: &random)
                switch Int.random(in: 0..<4, using: &random) {
                case 0: bytes[position] = UInt8.random(in: 0...255, using: &random)
                case 1: bytes.remove(at: position)
                case 2:
                    bytes.insert(contentsOf: Array("&%00=+%ff;\r\n<\"'".utf8).shuffled(using: &random), at: position)
                default: bytes.insert(contentsOf: bytes, at: position)
                }
            }
            let visitor = Visitor(
                address: "192.0.2.1", authorization: Bool.random(using: &random) ? "Basic aGRzLWttczp3cm9uZw==" : nil,
                cookie: page.cookie, contentType: "application/x-www-form-urlencoded")
            let replies = [
                world.service.openLogin(query: bytes, visitor: visitor),
                await world.service.submitLogin(body: bytes, visitor: visitor),
                await world.service.token(body: bytes, visitor: visitor),
                await world.service.revoke(body: bytes, visitor: visitor),
            ]
            for reply in replies {
                #expect(Self.expected.contains(reply.status.code), "seed \(seed): \(reply.status)")
                #expect(!reply.text.contains("access_token"), "seed \(seed)")
                #expect(reply.redirectParameters["code"] == nil, "seed \(seed)")
                if let location = reply.location {
                    #expect(location.hasPrefix("http://127.0.0.1"), "seed \(seed): \(location)")
                    #expect(location.utf8.allSatisfy { $0 > 0x20 && $0 < 0x7F }, "seed \(seed): \(location)")
                }
                let page = reply.text.replacing(/<style>.*<\/style>/.dotMatchesNewlines(), with: "")
                #expect(!page.contains("<script"), "seed \(seed)")
            }
        }
    }

    @Test("Credentials of any form in the header are refused as such")
    func authorizationHeaders() async throws {
        let client = TestClient(try TestWorld())
        for header in [
            "", " ", "Basic", "Basic ", "basic eA==", "Basic eA", "Basic eDp5 eDp5",
            "Basic " + String(repeating: "A", count: 9000),
            "Basic OnB3", "Basic aGRzLWttczo=", "Basic /////w==", "Digest username=\"hds-kms\"", "Negotiate YII=",
        ] {
            let reply = await client.token(
                ["grant_type": "client_credentials", "audience": "cloud"], authorization: header)
            #expect(reply.status == .unauthorized && reply.error == "invalid_client", "\(header.prefix(40))")
        }
    }
}
