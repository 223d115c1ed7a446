import KMSProtocol
import KeyManagement
import Testing
import WireText

/// What docs/decisions/175 builds on: the protocol as it is gives a bot the messages that mention it, and no others.
@Suite("Mentions")
struct MentionTests {
    private static let bot = "b0700000-0000-4000-8000-000000000001"

    @Test("a bot reads the message that mentions it and nothing else of the space")
    func mention() async throws {
        let kms = try await TestKMS.start()
        let alice = try await TestClient.open(kms, People.alice)
        let bob = try await TestClient.open(kms, People.bob)
        let bot = try await TestClient.open(kms, Self.bot)
        let keys = try await alice.createKeys(2)
        let space = try await alice.createSpace([keys[0]], with: [People.bob])
        // The resource of the message: all of the space, and the bot.
        _ = try await alice.createSpace([keys[1]], with: [space.uri, Self.bot])

        #expect(try await bot.status(retrieving: keys[1].uri) == 200)
        #expect(try await bot.status(retrieving: keys[0].uri) == 403)
        #expect(try await bot.ask("retrieve", "\(space.uri)/keys").status == 403)
        #expect(try await bot.ask("retrieve", "\(space.uri)/authorizations").status == 403)
        #expect(try await bob.status(retrieving: keys[1].uri) == 200, "through the space")

        let removed = try await alice.ask("delete", "\(space.uri)/authorizations?authId=\(People.bob)")
        #expect(removed.status == 200)
        #expect(try await bob.status(retrieving: keys[1].uri) == 403, "who was removed from the space")
        #expect(try await bot.status(retrieving: keys[1].uri) == 200)
    }
}
