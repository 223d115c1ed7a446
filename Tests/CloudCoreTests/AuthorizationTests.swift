import TestServers
import Cryptography
import Diagnostics
import HTTPClient
import Testing
import WebSocketChannel
import WireText

@testable import CloudCore

/// Who may call what: every route against every kind of wrong caller.
@Suite("Authorization of every route")
struct AuthorizationTests {
    private static let id = "31f0a1b2-0000-4000-8000-0123456789ab"

    /// All routes but the one for everybody.
    private static let routes: [(method: String, path: String, body: String)] = [
        ("GET", "/encryption/api/v1/kms", ""), ("GET", "/encryption/api/v1/kms/\(id)", ""),
        ("POST", "/encryption/api/v1/kms/messages", #"{"kmsMessages":["q"]}"#),
        ("POST", "/devices", #"{"name":"n","deviceType":"t"}"#), ("GET", "/devices", ""),
        ("DELETE", "/devices/\(id)", ""), ("GET", "/directory/users?email=alice@acme.example.com", ""),
        ("GET", "/directory/users?id=\(id)", ""), ("POST", "/conversations", TestTexts.conversation()),
        ("GET", "/conversations", ""), ("GET", "/conversations/\(id)", ""),
        ("PUT", "/conversations/\(id)/resource", #"{"kmsResourceObjectUrl":"\#(TestTexts.resource)"}"#),
        ("POST", "/conversations/\(id)/activities", TestTexts.post("x")),
        ("GET", "/conversations/\(id)/activities", ""), ("POST", "/files", ""), ("PUT", "/files/\(id)", "x"),
        ("GET", "/files/\(id)", ""),
    ]

    @Test("without a valid token of audience cloud every route is 401, with a service's token 403")
    func tokens() async throws {
        try await CoreBench.run { bench in
            let issuer = bench.issuer
            let alice = TestPerson.alice
            let good = try issuer.userToken(alice)
            let otherKey = try PrivateKey.generateP256()
            let unsigned =
                Base64URL.encode(Array(#"{"alg":"none","typ":"at+jwt","kid":"k1"}"#.utf8)) + "."
                + good.split(separator: ".")[1] + "."
            let callers: [(name: String, header: String?, status: Int)] = [
                ("no token", nil, 401), ("no scheme", good, 401), ("Basic", "Basic YTpi", 401),
                ("empty", "Bearer ", 401),
                ("nonsense", "Bearer nonsense", 401), ("alg none", "Bearer \(unsigned)", 401),
                ("cut", "Bearer \(good.dropLast(4))", 401), ("two tokens", "Bearer \(good) \(good)", 401),
                ("KMS audience", "Bearer \(try issuer.token(.init(subject: alice.id, audience: "kms")))", 401),
                ("expired", "Bearer \(try issuer.userToken(alice, expiresIn: -120))", 401),
                (
                    "other type",
                    "Bearer \(try issuer.token(.init(subject: alice.id, email: alice.email, type: "JWT")))", 401
                ),
                (
                    "foreign key",
                    "Bearer \(try issuer.token(.init(subject: alice.id, email: alice.email), key: otherKey))", 401
                ),
                (
                    "unknown kid",
                    "Bearer \(try issuer.token(.init(subject: alice.id, email: alice.email, kid: "k99")))", 401
                ),
                (
                    "unknown issuer",
                    "Bearer \(try issuer.token(.init(subject: alice.id, email: alice.email, issuer: "https://evil.example")))",
                    401
                ),
                (
                    "another issuer's name",
                    "Bearer \(try issuer.token(.init(subject: alice.id, email: alice.email, issuer: bench.foreign.issuer)))",
                    401
                ),
                (
                    "another organisation",
                    "Bearer \(try issuer.token(.init(subject: alice.id, email: alice.email, organisation: "other")))",
                    401
                ),
                ("a service", "Bearer \(try issuer.serviceToken())", 403),
                ("a user without address", "Bearer \(try issuer.token(.init(subject: alice.id)))", 403),
            ]
            for route in Self.routes {
                for (name, header, status) in callers {
                    let response = try await bench.request(
                        route.method, route.path, headers: header.map { [("Authorization", $0)] } ?? [],
                        body: Array(route.body.utf8))
                    #expect(response.status == status, "\(route.method) \(route.path) as \(name): \(response.text)")
                    #expect(response.json["message"]?.string?.isEmpty == false)
                    if status == 401 { #expect(response.header("www-authenticate") == "Bearer") }
                    #expect(!response.text.contains(good.split(separator: ".")[2]), "a token stands in an answer")
                }
            }
            // The same token from its rightful owner is taken, so the cases above failed for their reasons.
            #expect(try await bench.send("GET", "/devices", token: good).status == 200)
        }
    }

    @Test("a key that the issuer rolled in is fetched, once for many tokens of it")
    func rolledKey() async throws {
        try await CoreBench.run { bench in
            _ = try await bench.signIn(.alice)
            let before = bench.issuer.fetches
            try bench.issuer.roll()
            // Within the cool-down of the last fetch an unknown key is refused without asking.
            #expect(try await bench.send("GET", "/devices", token: bench.issuer.userToken(.bob)).status == 401)
            #expect(bench.issuer.fetches == before)
            bench.advanceWall(11)
            try await withThrowingTaskGroup(of: Int.self) { group in
                for _ in 0..<8 {
                    let token = try bench.issuer.userToken(.alice)
                    group.addTask { try await bench.send("GET", "/devices", token: token).status }
                }
                for try await status in group { #expect(status == 200) }
            }
            #expect(bench.issuer.fetches == before + 1)
        }
    }

    @Test("while the issuer is away tokens of known keys are taken, and without any key the core says 503")
    func issuerIsAway() async throws {
        try await CoreBench.run { bench in
            let alice = try await bench.signIn(.alice)
            await bench.issuer.stop()
            #expect(try await bench.send("GET", "/devices", token: alice.token).status == 200)
            #expect(try await bench.send("GET", "/devices", token: try bench.issuer.userToken(.bob)).status == 200)
            await bench.stopCore()
            try await bench.start()
            let refused = try await bench.send("GET", "/devices", token: alice.token)
            #expect(refused.status == 503 && refused.header("retry-after") != nil)
        }
    }

    @Test("what belongs to others is 404 for a user of another organisation and for one who does not take part")
    func foreigners() async throws {
        try await CoreBench.run { bench in
            let kms = try await bench.kms()
            let alice = try await bench.signIn(.alice)
            let bob = try await bench.signIn(.bob)
            let eve = try await bench.signIn(
                TestPerson(id: alice.id, email: "eve@other.example.com"), at: bench.foreign)
            let id = try await bench.createConversation(alice)
            let file = try await bench.upload([1, 2, 3], as: alice)
            let requests: [(String, String, String)] = [
                ("GET", "/conversations/\(id)", ""), ("GET", "/conversations/\(id)/activities", ""),
                ("POST", "/conversations/\(id)/activities", TestTexts.post("x")),
                ("POST", "/conversations/\(id)/activities", TestTexts.member("add", bob.id)),
                ("POST", "/conversations/\(id)/activities", TestTexts.member("leave", alice.id)),
                ("POST", "/conversations/\(id)/activities", TestTexts.updateKey()),
                ("PUT", "/conversations/\(id)/resource", #"{"kmsResourceObjectUrl":"\#(TestTexts.resource)"}"#),
                ("GET", file, ""), ("PUT", file, "x"), ("DELETE", alice.device, ""),
            ]
            let taken = kms.taken
            for stranger in [bob, eve] {
                for (method, path, body) in requests {
                    let answer = try await bench.send(method, path, token: stranger.token, json: body)
                    #expect(answer.status == 404, "\(method) \(path) as \(stranger.person.email): \(answer.text)")
                }
                let list = try await bench.send("GET", "/conversations", token: stranger.token)
                #expect(list.json["items"]?.elements?.isEmpty == true)
            }
            #expect(kms.taken == taken, "nothing of a stranger reaches the KMS")
            let search = try await bench.send(
                "GET", "/directory/users?email=alice@acme.example.com", token: eve.token)
            #expect(search.status == 404)
            await kms.stop()
        }
    }

    @Test("a link needs a service token with the scope of a kind: 401 and 403 with a body that says why")
    func links() async throws {
        try await CoreBench.run { bench in
            let issuer = bench.issuer
            let cases: [(name: String, token: String?, status: Int)] = [
                ("no token", nil, 401), ("nonsense", "x", 401),
                ("KMS audience", try issuer.token(.init(subject: "hds-kms", audience: "kms", scope: "link:kms")), 401),
                ("no scope", try issuer.token(.init(subject: "hds-kms")), 403),
                ("another scope", try issuer.serviceToken(scope: "link:other files"), 403),
                (
                    "a user",
                    try issuer.token(
                        .init(subject: TestPerson.alice.id, email: TestPerson.alice.email, scope: "link:kms")), 403
                ),
            ]
            for (name, token, status) in cases {
                do {
                    let socket = try await bench.client.webSocket(
                        "wss://localhost:\(bench.port)/link/v1",
                        headers: token.map { [("Authorization", "Bearer \($0)")] } ?? [])
                    await socket.close()
                    Issue.record("\(name): the link was opened")
                } catch let error as DiagnosedError {
                    #expect(error.code == (status == 401 ? .webSocketUnauthorized : .webSocketForbidden), "\(name)")
                    #expect(error.found?.contains("token") == true, "\(name): \(error)")
                }
            }
        }
    }

    @Test("bootstrap needs no token and knows only domains")
    func bootstrap() async throws {
        try await CoreBench.run { bench in
            let answer = try await bench.send("GET", "/bootstrap?email=nobody%2Bx@ACME.example.com")
            #expect(answer.status == 200)
            let expected = [
                "organisation": "acme", "authorizationServer": bench.issuer.issuer,
                "encryption": bench.url + "/encryption/api/v1", "devices": bench.url + "/devices",
                "conversations": bench.url + "/conversations", "files": bench.url + "/files",
                "directory": bench.url + "/directory", "kmsCluster": RelayBench.destination,
            ]
            for (name, value) in expected { #expect(answer.json[name]?.string == value, "\(name)") }
            for (path, status) in [
                ("/bootstrap?email=a@unknown.example", 404), ("/bootstrap", 400), ("/bootstrap?email=", 404),
                ("/bootstrap?email=acme.example.com", 404), ("/bootstrap?email=a@b@acme.example.com", 404),
                ("/bootstrap?email=@acme.example.com", 404), ("/bootstrap?mail=a@acme.example.com", 400),
                ("/bootstrap?email=\(String(repeating: "a", count: 400))@acme.example.com", 400), ("/nothing", 404),
            ] {
                let answer = try await bench.send("GET", path)
                #expect(answer.status == status, "\(path)")
                #expect(answer.json["message"]?.string?.isEmpty == false, "\(path)")
            }
        }
    }
}
