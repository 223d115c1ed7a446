import Cryptography
import KMSProtocol
import SignedPolicy
import Testing
import WireText

@testable import KeyManagement

/// Partners that the signed policy names, in the place of the configuration's: at once, in sessions that are open.
@Suite("Federation: partners of the signed policy")
struct FederationPolicyTests {
    private typealias Host = FederationWorld.Host

    private func entry(
        _ host: String, users: [String] = [People.bob], issuers: [String] = [], domains: [String] = [],
        direction: String = "both", pinOf: String? = nil, cacheSeconds: Int = 0
    ) throws -> String {
        let pin = Base64.encode(try FederationWorld.identity(pinOf ?? host).chain[0].spkiSHA256)
        func list(_ texts: [String]) -> String { "[\(texts.map { "\"\($0)\"" }.joined(separator: ", "))]" }
        return """
            {"host": "\(host)", "organisation": "\(host)", "anchors": ["sha256/\(pin)"], "direction": "\(direction)",
            "users": \(list(users)), "issuers": \(list(issuers)), "domains": \(list(domains)),
            "cacheSeconds": \(cacheSeconds)}
            """
    }

    private func policy(_ entries: String..., version: Int) throws -> Policy {
        try TestPolicy.make(#""partners": [\#(entries.joined(separator: ", "))]"#, version: version)
    }

    @Test("who asks: only partners that the policy names, for users that it lists, in the direction that it says")
    func asked() async throws {
        let world = try await FederationWorld.make()
        let (_, key, _) = try await world.space(with: [People.bob, People.dan])
        let (b, c) = (try await world.raw(world.b), try await world.raw(world.c))
        #expect(try await b.status(key.uri, for: People.bob) == 200)
        #expect(try await c.status(key.uri, for: People.dan) == 200)

        world.a.inForce.take(try policy(entry(Host.b), version: 1))
        #expect(try await b.status(key.uri, for: People.bob) == 200)
        #expect(
            try await c.status(key.uri, for: People.dan) == 403, "the configuration names it and the policy does not")
        await #expect(throws: (any Error).self) { try await world.raw(world.c) }

        world.a.inForce.take(try policy(entry(Host.b, users: [People.dan]), version: 2))
        #expect(
            try await b.status(key.uri, for: People.bob) == 403, "the policy's list counts, not the configuration's")
        world.a.inForce.take(try policy(entry(Host.b, direction: "outbound"), version: 3))
        #expect(try await b.status(key.uri, for: People.bob) == 403)
        world.a.inForce.take(try policy(entry(Host.b, users: [], issuers: ["https://auth.b.example.org"]), version: 4))
        #expect(
            try await b.status(key.uri, for: People.bob) == 200, "the configuration's list, for the policy has none")
        world.a.inForce.take(try policy(version: 5))
        #expect(
            try await c.status(key.uri, for: People.dan) == 200, "a policy without partners leaves them to the other")
    }

    @Test("a partner that the configuration does not know is one as soon as the policy names it")
    func unconfigured() async throws {
        let world = try await FederationWorld.make(atA: [], atB: [])
        let (_, key, _) = try await world.space()
        let bob = try await TestClient.open(world.b, People.bob)
        #expect(try await bob.status(retrieving: key.uri) == 501)
        world.b.inForce.take(try policy(entry(Host.a, users: [], direction: "outbound"), version: 1))
        #expect(try await bob.status(retrieving: key.uri) == 502, "A does not know B")
        world.a.inForce.take(try policy(entry(Host.b), version: 1))
        let answer = try await bob.ask("retrieve", key.uri)
        #expect(answer.status == 200, "\(answer.reason ?? "")")
        world.b.inForce.take(try policy(entry(Host.c), version: 2))
        #expect(try await bob.status(retrieving: key.uri) == 501)
    }

    @Test("users whom neither a list nor a named issuer proves are nobody's")
    func nobody() async throws {
        let world = try await FederationWorld.make(atA: [try FederationWorld.partner(Host.b, users: nil)])
        let (_, key, _) = try await world.space()
        let b = try await world.raw(world.b)
        #expect(try await b.status(key.uri, for: People.bob) == 200)
        for (version, entry) in [
            try entry(Host.b, users: [], domains: ["b.example.org"]),
            try entry(Host.b, users: [], issuers: ["https://auth.b.example.org"]),
        ].enumerated() {
            world.a.inForce.take(try policy(entry, version: version + 1))
            #expect(try await b.status(key.uri, for: People.bob) == 403, "\(entry)")
        }
    }

    @Test("another anchor ends the session and what was kept under the old one")
    func anchors() async throws {
        let world = try await FederationWorld.make()
        let (_, key, _) = try await world.space()
        let bob = try await TestClient.open(world.b, People.bob)
        world.b.inForce.take(try policy(entry(Host.a, users: [People.dan], cacheSeconds: 60), version: 1))
        #expect(try await bob.status(retrieving: key.uri) == 200)
        #expect(try await bob.status(retrieving: key.uri) == 200)
        #expect(world.network.openings == 1)
        #expect(try await world.clientOfB.cachedKeys == 1)
        world.b.inForce.take(try policy(entry(Host.a, users: [People.dan], pinOf: Host.c), version: 2))
        #expect(try await bob.status(retrieving: key.uri) == 502)
        #expect(try await world.clientOfB.cachedKeys == 0)
        world.b.inForce.take(try policy(entry(Host.a, users: [People.dan]), version: 3))
        #expect(try await bob.status(retrieving: key.uri) == 200)
    }

    // MARK: Domains

    private func policy(_ entry: String, domains: String, version: Int) throws -> Policy {
        try TestPolicy.make(#""partners": [\#(entry)]"#, #""federation": \#(domains)"#, version: version)
    }

    /// A space of Alice's at A with Bob in it, after she came in with this token; its key.
    private func space(_ world: FederationWorld, _ token: String) async throws -> String {
        _ = try await TestClient.open(world.a, People.alice, token: token)
        return try await world.space().key.uri
    }

    @Test("a partner reads in spaces of those domains only for which the policy names it")
    func domainOfSpace() async throws {
        let world = try await FederationWorld.make()
        let key = try await space(world, TestTokens.token(People.alice, domain: "Sales.Example.com"))
        let b = try await world.raw(world.b)
        func status(_ domains: String, _ version: Int) async throws -> Int {
            world.a.inForce.take(try policy(entry(Host.b), domains: domains, version: version))
            return try await b.status(key, for: People.bob)
        }
        #expect(try await status(#"[{"domain": "sales.example.com", "partners": ["\#(Host.b)"]}]"#, 1) == 200)
        #expect(try await status(#"[{"domain": "sales.example.com", "partners": "all"}]"#, 2) == 200)
        #expect(try await status(#"[{"domain": "board.example.com", "partners": "all"}]"#, 3) == 403)
        #expect(world.a.log.text.contains("partner-not-of-domain"))
        #expect(try await status(#"[{"domain": "sales.example.com", "partners": []}]"#, 4) == 403)
        #expect(try await status("[]", 5) == 403)
        world.a.inForce.take(try policy(entry(Host.b), version: 6))
        #expect(try await b.status(key, for: People.bob) == 200, "without the list every domain shares")
    }

    @Test("a domain counts only from an issuer of the customer's, and is the one that was told last")
    func domainOfUser() async throws {
        let world = try await FederationWorld.make()
        let domains = #"[{"domain": "example.com", "partners": "all"}]"#
        world.a.inForce.take(try policy(entry(Host.b), domains: domains, version: 1))
        let key = try await space(world, TestTokens.token(People.alice, domain: "example.com", isCloud: true))
        let b = try await world.raw(world.b)
        #expect(try await b.status(key, for: People.bob) == 403)
        #expect(world.a.log.text.contains("partner-domain-unknown"))
        for (domain, status) in [("example.com", 200), ("other.example.com", 403), ("example.com", 200)] {
            _ = try await TestClient.open(
                world.a, People.alice, token: TestTokens.token(People.alice, domain: domain))
            #expect(try await b.status(key, for: People.bob) == status, "\(domain)")
        }
        // A token that says nothing changes nothing.
        _ = try await TestClient.open(world.a, People.alice)
        #expect(try await b.status(key, for: People.bob) == 200)
    }

    @Test("own users ask a partner only when the policy names it for their domain")
    func domainOfAsking() async throws {
        let world = try await FederationWorld.make()
        let (_, key, _) = try await world.space()
        let domains = #"[{"domain": "b.example.org", "partners": ["\#(Host.a)"]}]"#
        world.b.inForce.take(
            try policy(entry(Host.a, users: [], direction: "outbound"), domains: domains, version: 1))
        let unknown = try await TestClient.open(world.b, People.bob)
        #expect(try await unknown.status(retrieving: key.uri) == 403)
        let foreign = try await TestClient.open(
            world.b, People.bob, token: TestTokens.token(People.bob, domain: "c.example.org"))
        #expect(try await foreign.status(retrieving: key.uri) == 403)
        let before = world.network.passed.count
        let bob = try await TestClient.open(
            world.b, People.bob, token: TestTokens.token(People.bob, domain: "b.example.org"))
        #expect(try await bob.status(retrieving: key.uri) == 200)
        #expect(world.network.passed.count > before && before == 0, "who may not ask is not asked for")
    }
}
