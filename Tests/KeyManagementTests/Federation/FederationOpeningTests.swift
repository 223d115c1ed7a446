import Cryptography
import JOSESignature
import KMSProtocol
import KeyStore
import Testing
import WireText

@testable import KeyManagement

/// Openings of sessions between KMSs as A sees them, genuine and forged.
@Suite("Federation: opening a session")
struct FederationOpeningTests {
    private typealias Host = FederationWorld.Host

    private func sign(_ json: String, by host: String, kid: String? = nil, chainOf other: String? = nil) throws
        -> [UInt8]
    {
        let identity = try FederationWorld.identity(host)
        let chain = try FederationWorld.identity(other ?? host).chain
        let own = KMSNames(host: host).staticKey(serialNumber: identity.chain[0].serialNumberDecimal)
        return Array(
            try JWS.sign(
                Array(json.utf8), with: identity.privateKey, algorithm: .ps256, kid: kid ?? own, typ: nil,
                x5c: chain.map(\.der)
            ).utf8)
    }

    /// Status and reason that A signed.
    private func answer(_ world: FederationWorld, to text: [UInt8]) async throws -> KMSAnswer {
        guard case .answer(let reply) = await world.a.handler.reply(to: text, source: "s") else {
            throw TestKMS.Unexpected(reply: "nothing")
        }
        let root = try FederationWorld.partner(Host.a).trust.verify(reply, at: world.clock.now)
        return try #require(KMSAnswer(root))
    }

    private func opening(_ world: FederationWorld) throws -> FederationOpening {
        try FederationOpening(from: world.b.staticKey, to: Host.a, at: world.clock.now)
    }

    @Test("the same opening again gets the same answer and makes no second session")
    func replay() async throws {
        let world = try await FederationWorld.make()
        let text = try opening(world).text
        let first = await world.a.handler.reply(to: text, source: "s")
        let second = await world.a.handler.reply(to: text, source: "s")
        #expect(first == second)
        let again = try await world.restartA([FederationWorld.partner(Host.b)])
        #expect(await again.handler.reply(to: text, source: "s") == first)
        #expect(try await answer(world, to: opening(world).text).status == 201)
    }

    @Test("an opening that the core kept back is refused, also when its first answer is long forgotten")
    func kept() async throws {
        let world = try await FederationWorld.make()
        let text = try opening(world).text
        world.clock.advance(seconds: 301)
        #expect(try await answer(world, to: text).status == 409)
    }

    @Test("a forged kid, another partner's chain and a KMS that is none of the partners are refused, each signed")
    func forged() async throws {
        let world = try await FederationWorld.make()
        let json = """
            {"requestId":"r","method":"create","uri":"kms://\(Host.a)/ecdhe","client":{"clientId":"c","credential":{}}}
            """
        let b = try FederationWorld.identity(Host.b).chain[0].serialNumberDecimal
        let kid = KMSNames(host: Host.b).staticKey(serialNumber: b)
        for (what, text) in [
            ("B's kid with C's chain", try sign(json, by: Host.c, kid: kid)),
            ("B's kid and chain with C's signature", try sign(json, by: Host.c, kid: kid, chainOf: Host.b)),
            ("C's kid with B's chain", try sign(json, by: Host.c, chainOf: Host.b)),
            ("nobody's", try sign(json, by: "kms.d.example.com")),
        ] {
            let refused = try await answer(world, to: text)
            #expect(refused.status == 403, "\(what)")
            #expect(refused.reason?.isEmpty == false)
        }
        #expect(
            try await answer(world, to: sign(json, by: Host.b)).status == 400, "the control: B's own, without a key")
    }

    @Test("what B signed for another purpose opens nothing: an answer, a request to another KMS, one with a path")
    func otherUse() async throws {
        let world = try await FederationWorld.make()
        func text(_ uri: String, _ more: String = "") -> String {
            """
            {"requestId":"r","method":"create","uri":"\(uri)"\(more),"client":{"clientId":"c","credential":{}},
            "jwk":{"kty":"EC","crv":"P-256","x":"AA","y":"AA"}}
            """
        }
        for json in [
            text("/ecdhe"), text("kms://\(Host.c)/ecdhe"), text("kms://\(Host.a)/keys"),
            text("kms://\(Host.a)/ecdhe", #","status":201"#), #"{"status":499,"reason":"gone","requestId":"r"}"#,
            // The control: everything is as it has to be, but the point lies on no curve.
            text("kms://\(Host.a)/ecdhe"),
        ] {
            #expect(try await answer(world, to: sign(json, by: Host.b)).status == 400, "\(json)")
        }
    }

    @Test("strangers are answered as long as the budget for refusals lasts; openings have their budget and a cap")
    func budgets() async throws {
        var policy = TestKMS.testPolicy()
        policy.resetsPerSourceAndSecond = 2
        policy.sessionsPerUser = 3
        let world = try await FederationWorld.make(policy: policy)
        let stranger = try sign("{}", by: "kms.d.example.com")
        var answered = 0
        for _ in 0..<40 {
            if case .answer = await world.a.handler.reply(to: stranger, source: "s") { answered += 1 }
        }
        #expect(answered == 8)
        var statuses: [Int] = []
        for _ in 0..<5 { statuses.append(try await answer(world, to: opening(world).text).status) }
        #expect(statuses == [201, 201, 201, 429, 429])
        policy.sessionOpeningsPerSecond = 1
        let tight = try await FederationWorld.make(policy: policy)
        var declined = 0
        for _ in 0..<5 {
            if case .drop = await tight.a.handler.reply(to: try opening(tight).text, source: "s") { declined += 1 }
        }
        #expect(declined == 3)
    }

    @Test("without federation a signed text of another KMS is what it always was: nothing that can be opened")
    func off() async throws {
        let kms = try await TestKMS.start()
        let world = try await FederationWorld.make()
        let text = try FederationOpening(from: world.b.staticKey, to: TestKMS.host, at: kms.clock.now).text
        #expect(
            try kms.openReset(await kms.handler.reply(to: text, source: "")).reason == "Request could not be decrypted")
    }
}
