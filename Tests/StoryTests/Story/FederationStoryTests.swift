import Foundation
import HDSClient
import KMSClient
import KMSProtocol
import Testing

extension StoryTests {
    @Suite("Two organisations") struct FederationStoryTests {
        /// The status with which a person's own KMS answers for a key now, past everything that is known.
        private func status(_ person: Person, _ uri: String) async throws -> Int {
            try await person.client.kms.ask(.retrieveKey(uri)).status
        }

        @Test("Bob of another organisation reads and writes in Alice's space, as long as her KMS lets his KMS ask")
        func story() async throws {
            try await TwoOrganisations.with { world in
                let alice = try await Person.logIn("alice", in: world.a)
                let bob = try await Person.logIn("bob", in: world.b)
                let stranger = try await Person.logIn("alice", in: world.b, device: "stranger")
                let space = try await alice.spaces.create(name: "Between the two", with: [])
                for line in Material.lines { try await alice.spaces.post(line, in: space) }
                let binary = try Material.binary(70_001)
                try FileManager.default.createDirectory(
                    atPath: world.a.domain.path("given"), withIntermediateDirectories: true)
                let original = world.a.domain.path("given/plan.pdf")
                try Data(binary).write(to: URL(fileURLWithPath: original))
                _ = try await alice.spaces.sendFile(original, to: space) { _, _, _ in }
                #expect(try await alice.spaces.add(bob.email, to: space).id == bob.id)

                let seen = try await bob.spaces.find("Between the two")
                #expect(seen.id == space.id && seen.resource == space.resource)
                #expect(seen.resource?.hasPrefix("kms://\(TwoOrganisations.hostOfA)/") == true)
                #expect(try await bob.texts(of: seen) == Material.lines)
                let file = try await bob.spaces.findFile("plan.pdf", in: seen)
                let copy = world.a.domain.path("given/copy.pdf")
                _ = try await bob.spaces.fetch(file, to: copy, overwriting: false) { _, _, _ in }
                #expect(try Data(contentsOf: URL(fileURLWithPath: copy)) == Data(binary))
                try await bob.spaces.post("An answer from the other side", in: seen)
                #expect(try await alice.texts(of: space) == Material.lines + ["An answer from the other side"])

                let key = try #require(try alice.keyURIs(of: space).first)
                #expect(try await status(bob, key) == 200)
                #expect(try await status(stranger, key) == 403, "A has not listed her for B")
                _ = try await alice.spaces.add(stranger.email, to: space)
                #expect(try await status(stranger, key) == 403, "and she is not, wherever she is added")

                // A's KMS is away: B keeps the octets of the key, and gives Bob nothing.
                try await world.a[.kms]?.cut()
                _ = try await eventually("502 while A's KMS is away") {
                    try await status(bob, key) == 502 ? true : nil
                }
                try world.a.start(.kms)
                try await world.a.waitUntilReady(.kms)
                _ = try await eventually("the key again") { try await status(bob, key) == 200 ? true : nil }

                // What A's administrator has taken away is refused, in the session that B still has; no restart is needed.
                let section = world.federationOfA
                try await world.reloadKMSOfA(
                    federation: "federation:\n  own-users: own-users\n  partners: []\n", saying: "HDS-RELOAD-REFUSED:")
                #expect(try await status(bob, key) == 200, "what can not be used changes nothing")
                let others = section.replacing("users: partner-users", with: "users: others")
                try world.a.domain.write(UUID().uuidString + "\n", to: "kms/others")
                try await world.reloadKMSOfA(federation: others)
                #expect(try await status(bob, key) == 403)
                try await world.reloadKMSOfA(federation: section)
                #expect(try await status(bob, key) == 200)
                let another = section.replacing(
                    world.b.domain.path("pki/customer/root.pem"), with: world.a.domain.path("pki/core/root.pem"))
                try await world.reloadKMSOfA(federation: another.replacing("host: kms.", with: "host: other."))
                #expect(try await status(bob, key) == 403, "B is no partner any more")
                try await world.reloadKMSOfA(federation: section)
                #expect(try await status(bob, key) == 200)

                // Alice takes him out: nothing old, nothing new.
                try await alice.spaces.remove(bob.email, from: space)
                #expect(try await status(bob, key) == 403)
                try await alice.spaces.post(Material.afterwards, in: space)
                for uri in try alice.keyURIs(of: space) { #expect(try await status(bob, uri) == 403) }
                await #expect(throws: (any Error).self) { try await bob.spaces.find("Between the two") }

                try expectNothingInClear(world)
                for person in [alice, bob, stranger] { await person.close() }
            }
        }

        /// The core has carried all of it, and holds none of it.
        private func expectNothingInClear(_ world: TwoOrganisations) throws {
            var search = SecretSearch()
            for piece in Material.pieces + [Material.afterwards, "An answer from the other side", "Between the two"] {
                search.add("the text '\(piece)'", piece)
            }
            let core = [world.a.domain.path("core"), world.a.domain.path("log"), world.b.domain.path("log")]
            let files = core.flatMap { SecretSearch.files(below: $0) }
            #expect(files.contains { $0.hasSuffix("core.sqlite") })
            for finding in try search.findings(in: files) { Issue.record("found \(finding)") }
        }
    }
}
