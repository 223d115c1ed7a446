import Diagnostics
import HTTPClient
import JOSESignature
import Testing
import WireText

@testable import HDSClient

@Suite("Assertions for other organisations' KMSs, over TLS", .timeLimit(.minutes(2)))
struct AssertionTests {
    private static let posting = "POST /token "

    private static func run(_ body: (SocketWorld, TokenSource, StateStore) async throws -> Void) async throws {
        try await SocketWorld.run { world in
            _ = try await world.loggedIn()
            let store = try world.store()
            let web = try world.profile().issuerTrust.webClient(for: world.issuer.url)
            let now = world.environment.now
            let source = TokenSource(
                store: store,
                authorization: AuthorizationClient(web: web, issuer: world.issuer.url, clientID: "hds-cli", now: now),
                now: now, sleep: .real)
            do {
                try await body(world, source, store)
            } catch {
                await web.close()
                throw error
            }
            await web.close()
        }
    }

    private func audience(_ text: Redacted<String>?) throws -> String? {
        let parts = try #require(text).reveal { $0.split(separator: ".").map(String.init) }
        return try JSONDocument(try #require(Base64URL.decode(parts[1]))).root["aud"]?.string
    }

    @Test("One is fetched once, kept until shortly before its end, and costs no refresh token")
    func kept() async throws {
        try await Self.run { world, source, store in
            let refresh = try store.current().tokens?.refresh?.reveal { $0 }
            for _ in 0..<3 {
                #expect(try audience(await source.assertion(for: SocketWorld.partner)) == SocketWorld.partner)
            }
            #expect(world.issuer.count(Self.posting) == 2, "the login and one exchange")
            #expect(try store.current().tokens?.refresh?.reveal { $0 } == refresh)
            world.clock.advance(seconds: 300 - Tokens.margin)
            #expect(await source.assertion(for: SocketWorld.partner) != nil)
            #expect(world.issuer.count(Self.posting) == 3)
            world.clock.advance(seconds: 3600)
            _ = try await source.tokens()
            #expect(await source.assertion(for: SocketWorld.partner) != nil, "also by the next refresh token")
        }
    }

    @Test("A KMS that the issuer says nothing to is not asked about again and again; a passing failure is")
    func refused() async throws {
        try await Self.run { world, source, store in
            for _ in 0..<3 { #expect(await source.assertion(for: "kms://kms.stranger.example.org") == nil) }
            #expect(world.issuer.count(Self.posting) == 2)
            world.issuer.expect(Self.posting, .status(503))
            #expect(await source.assertion(for: SocketWorld.partner) == nil)
            #expect(await source.assertion(for: SocketWorld.partner) != nil)
            let isLoggedIn = try store.current().tokens != nil
            #expect(isLoggedIn)
        }
    }
}
