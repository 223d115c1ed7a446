import Diagnostics
import Testing
import TokenIssuer
import WireText

@testable import HDSClient

@Suite("Opaque tokens for the cloud, from the login to the core", .timeLimit(.minutes(2)))
struct OpaqueLoginTests {
    @Test("A client works with them as with others, and within a minute of a revocation the core takes them no more")
    func opaque() async throws {
        try await SocketWorld.run(opaque: true) { world in
            try await world.withClient(world.loggedIn()) { client in
                #expect(try await client.spaces.all().isEmpty)
                let tokens = try #require(try world.store().current().tokens)
                #expect(tokens.cloud.reveal { $0.split(separator: "_").count } == 3)
                #expect(tokens.kms.reveal { $0.split(separator: ".").count } == 3)
                try await world.accounts.grants.revoke(
                    subject: TestKMS.user, lifetime: 3600, now: world.clock.now)
                world.clock.advance(seconds: 60)
                let error = await diagnosis { _ = try await client.spaces.all() }
                #expect(error?.code == .notLoggedIn)
            }
        }
    }
}
