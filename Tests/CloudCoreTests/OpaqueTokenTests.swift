import Diagnostics
import Introspection
import Synchronization
import Testing
import WireText

@testable import CloudCore

@Suite("Opaque tokens at the core")
struct OpaqueTokenTests {
    private static let now = Timestamp(iso8601: "2026-11-26T12:00:00Z")!
    private static let alice = "5b1e3c4e-8f10-4c4c-9a3e-0a2c5f1d7b01"

    /// Two organisations' authorization services, without network: what each was asked, and what it answers.
    private final class World: Sendable {
        let asked = Mutex<[String]>([])
        let answers: Mutex<[String: String]>
        let time = Mutex(OpaqueTokenTests.now)
        let isAway = Mutex(false)

        init(_ answers: [String: String] = [:]) { self.answers = Mutex(answers) }

        struct Away: Error {}

        func tokens() -> CloudTokens {
            func organisation(_ id: String, _ clusters: Set<String>?) -> CloudCoreConfiguration.Organisation {
                .init(
                    id: id, domains: ["\(id).example.com"], authorizationServer: "https://\(id).example.com",
                    issuer: "https://\(id).example.com", jwksURL: "https://\(id).example.com/jwks.json",
                    kmsCluster: "kms://kms.\(id).example.com", trust: nil,
                    introspection: clusters.map {
                        .init(
                            url: "https://\(id).example.com/introspect", clientID: "core", secret: .init("s"),
                            clusters: $0)
                    })
            }
            return CloudTokens(
                organisations: [
                    organisation("o1", ["P1"]), organisation("o2", []), organisation("o3", nil),
                ], wall: { [self] in time.withLock { $0 } },
                ask: { organisation, _ in
                    { [self] token in
                        asked.withLock { $0.append("\(organisation.id) \(token)") }
                        if isAway.withLock({ $0 }) { throw Away() }
                        return Array((answers.withLock { $0[token] } ?? #"{"active":false}"#).utf8)
                    }
                })
        }

        func advance(seconds: Int64) { time.withLock { $0 = $0.adding(seconds: seconds) } }
    }

    private static func answer(
        sub: String = alice, aud: String = "\"cloud\"", iss: String? = "https://o1.example.com", org: String? = "o1",
        life: Int64 = 3600, begins: Int64 = 0, email: String? = "alice@o1.example.com", exp: Bool = true
    ) -> String {
        var members = [#""active":true"#, #""sub":"\#(sub)""#, #""aud":\#(aud)"#, #""scope":"hds more""#]
        if exp { members.append(#""exp":\#(now.seconds + life)"#) }
        members.append(#""nbf":\#(now.seconds + begins)"#)
        if let iss { members.append(#""iss":"\#(iss)""#) }
        if let org { members.append(#""org":"\#(org)""#) }
        if let email { members.append(#""email":"\#(email)","name":"Alice""#) }
        return "{" + members.joined(separator: ",") + "}"
    }

    private func status(_ tokens: CloudTokens, _ token: String) async -> Int? {
        do {
            _ = try await tokens.principal(of: token)
            return nil
        } catch {
            return (error as? Refusal)?.status.rawValue ?? -1
        }
    }

    @Test("What the organisation's own service says is who somebody is: a user, or a service")
    func good() async throws {
        let world = World([
            "a1_P1_o1": Self.answer(), "b2_P1_o1": Self.answer(sub: "hds-kms", aud: #"["x","cloud"]"#, email: nil),
            "c3_any_o2": Self.answer(iss: nil, org: nil),
        ])
        let tokens = world.tokens()
        let user = try await tokens.principal(of: "a1_P1_o1")
        #expect(user.kind == .user(email: "alice@o1.example.com", name: "Alice") && user.subject == Self.alice)
        #expect(user.organisation == "o1" && user.scope == ["hds", "more"])
        let service = try await tokens.principal(of: "b2_P1_o1")
        #expect(service.kind == .service && service.subject == "hds-kms")
        #expect(try await tokens.principal(of: "c3_any_o2").organisation == "o2")
    }

    @Test("A token is shown to the service of the organisation that it names, and to nobody else")
    func strangers() async throws {
        let world = World()
        let tokens = world.tokens()
        let foreign = [
            "a_P1_o3", "a_P1_o9", "a_P9_o1", "a_P1", "a_P1_o1_", "_P1_o1", "a__o1", "a_P1_o1_x", "", "a",
            "a\u{E4}_P1_o1", "a b_P1_o1", String(repeating: "a", count: 4096) + "_P1_o1", "a.b.c", "a_P1_O1",
        ]
        for token in foreign { #expect(await status(tokens, token) == 401, "\(token.prefix(20))") }
        #expect(world.asked.withLock { $0 } == [])
        #expect(await status(tokens, "a_P1_o1") == 401)
        #expect(await status(tokens, "a_x_o2") == 401)
        #expect(world.asked.withLock { $0 } == ["o1 a_P1_o1", "o2 a_x_o2"])
    }

    @Test("What the answer lacks or says otherwise is refused")
    func refused() async throws {
        let answers = [
            #"{"active":false}"#, Self.answer(aud: "\"kms\""), Self.answer(aud: "[]"), Self.answer(org: "o2"),
            Self.answer(iss: "https://o2.example.com"), Self.answer(life: 0), Self.answer(begins: 61),
            Self.answer(exp: false), Self.answer(sub: ""),
        ]
        for answer in answers {
            #expect(await status(World(["a_P1_o1": answer]).tokens(), "a_P1_o1") == 401, "\(answer)")
        }
        for answer in ["", "[]", "{}", #"{"active":"yes"}"#, "<html>"] {
            #expect(await status(World(["a_P1_o1": answer]).tokens(), "a_P1_o1") == 503, "\(answer)")
        }
        #expect(await status(World(["a_P1_o1": Self.answer(begins: 60)]).tokens(), "a_P1_o1") == nil)
    }

    @Test("Good is remembered for a minute and never past its end, refused for five seconds, unknown not at all")
    func memory() async throws {
        let world = World(["a_P1_o1": Self.answer(), "short_P1_o1": Self.answer(life: 30)])
        let tokens = world.tokens()
        func asked() -> Int { world.asked.withLock { $0.count } }
        for _ in 0..<3 { #expect(await status(tokens, "a_P1_o1") == nil) }
        for _ in 0..<3 { #expect(await status(tokens, "short_P1_o1") == nil) }
        for _ in 0..<3 { #expect(await status(tokens, "bad_P1_o1") == 401) }
        #expect(asked() == 3)
        world.advance(seconds: 5)
        #expect(await status(tokens, "bad_P1_o1") == 401)
        #expect(asked() == 4)
        world.advance(seconds: 24)
        #expect(await status(tokens, "short_P1_o1") == nil)
        world.advance(seconds: 1)
        #expect(await status(tokens, "short_P1_o1") == 401)
        #expect(await status(tokens, "a_P1_o1") == nil)
        #expect(asked() == 5)
        // Revoked meanwhile: a minute after it was asked about, it is over.
        world.answers.withLock { $0["a_P1_o1"] = nil }
        world.advance(seconds: 29)
        #expect(await status(tokens, "a_P1_o1") == nil)
        world.advance(seconds: 1)
        #expect(await status(tokens, "a_P1_o1") == 401)
        world.isAway.withLock { $0 = true }
        let before = asked()
        for _ in 0..<3 { #expect(await status(tokens, "new_P1_o1") == 503) }
        #expect(asked() == before + 3)
        world.isAway.withLock { $0 = false }
        #expect(await status(tokens, "new_P1_o1") == 401)
    }

    @Test("A flood of bad tokens does not push out the good ones")
    func flood() async throws {
        let world = World(["good_P1_o1": Self.answer()])
        let tokens = world.tokens()
        #expect(await status(tokens, "good_P1_o1") == nil)
        for number in 0..<3000 { #expect(await status(tokens, "bad\(number)_P1_o1") == 401) }
        let before = world.asked.withLock { $0.count }
        #expect(await status(tokens, "good_P1_o1") == nil)
        #expect(world.asked.withLock { $0.count } == before)
    }
}
