import CoreLink
import LinkProtocol
import TestServers
import Testing
import WireText

@testable import CloudCore

/// What a KMS has the core say to its users' clients: docs/link-protocol.md, Calls between services.
@Suite("Words to clients")
struct ClientWordTests {
    private static func word(_ user: String) -> [UInt8] { Array(#"{"word":"wipe","userId":"\#(user)"}"#.utf8) }

    @Test("The word reaches every device of the user and no other's, and only a KMS has it said")
    func wipe() async throws {
        try await CoreBench.run { bench in
            let alice = try await bench.signIn(.alice)
            let bob = try await bench.signIn(.bob)
            let events = try await bench.events(of: alice)
            let others = try await bench.events(of: bob)
            let kms = try await bench.kms()
            let answer = await kms.link.call(
                ClientWords.destination, text: Self.word(alice.id.uppercased()), within: .seconds(20))
            #expect(answer == .answered(Array(#"{"status":200}"#.utf8)))
            let frame = try await events.next()
            #expect(frame["data"]?["eventType"]?.string == "client.wipe")
            #expect(frame["data"]?.members?.count == 1, "and nothing else")
            // Whoever comes later is not told: the authorization service does that.
            let stranger = await kms.link.call(
                ClientWords.destination, text: Self.word("00000000-0000-4000-8000-0000000000ff"), within: .seconds(20))
            #expect(stranger == .answered(Array(#"{"status":200}"#.utf8)))

            let connector = try await TestConnector(bench).open()
            let refused = await connector.link.call(
                ClientWords.destination, text: Self.word(bob.id), within: .seconds(20))
            #expect(refused == .refused(.unknownDestination))
            // Of three words he gets the two that are meant for him.
            for user in [bob, alice, bob] {
                _ = await kms.link.call(ClientWords.destination, text: Self.word(user.id), within: .seconds(20))
            }
            let first = try #require(try await others.next()["sequenceNumber"]?.integer)
            #expect(try await others.next()["sequenceNumber"]?.integer == first + 1)
            await connector.stop()
            await kms.stop()
        }
    }
}
