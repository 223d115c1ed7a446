import Diagnostics
import HDSClient
import KMSClient
import KMSProtocol
import Testing

extension StoryTests {
    @Suite("Moderators, people of other organisations, and the space of two") struct SpaceRolesStoryTests {
        private static func status(_ body: () async throws -> Void) async -> Int? {
            do {
                try await body()
                return nil
            } catch {
                return (error as? KMSRefusal)?.status
            }
        }

        private static func code(_ body: () async throws -> Void) async -> DiagnosedError.Code? {
            do {
                try await body()
                return nil
            } catch {
                return DiagnosedError.diagnosing(error)?.code
            }
        }

        @Test("Moderators alone add and remove; who is from elsewhere is marked; a space of two is found again by both")
        func story() async throws {
            try await TwoOrganisations.with { world in
                let alice = try await Person.logIn("alice", in: world.a)
                let carl = try await Person.logIn("bob", in: world.a)
                let bob = try await Person.logIn("bob", in: world.b)
                let space = try await alice.spaces.create(name: "Roles", with: [carl.email])
                let error = await #expect(throws: DiagnosedError.self) {
                    try await alice.spaces.setModerator(true, bob.email, of: space)
                }
                #expect(error?.code == .personUnknown, "he would be added, past the cloud")
                try await alice.spaces.setModerator(true, alice.email, of: space)
                let his = try await carl.spaces.find("Roles")
                #expect(await Self.code { _ = try await carl.spaces.add(bob.email, to: his) } == .spaceModerated)
                #expect(await Self.code { try await carl.spaces.remove(alice.email, from: his) } == .spaceModerated)
                // A client that asks all the same is refused by the KMS.
                let resource = try #require(his.resource)
                #expect(
                    await Self.status {
                        try await carl.client.kms.perform(.createAuthorizations(resource: resource, ids: [bob.id]))
                    } == 403)
                #expect(
                    await Self.status {
                        try await carl.client.kms.perform(.deleteAuthorization(resource: resource, id: alice.id))
                    } == 403)
                #expect(await Self.status { try await carl.spaces.setModerator(true, carl.email, of: his) } == 403)
                try await carl.spaces.post("I may write", in: his)
                #expect(try await alice.texts(of: space) == ["I may write"])

                try await alice.spaces.setModerator(true, carl.email, of: space)
                _ = try await carl.spaces.add(bob.email, to: his)
                var people = try await alice.spaces.participants(of: space)
                func marked(_ mark: (Participant) -> Bool) -> Set<String> { Set(people.filter(mark).map(\.id)) }
                #expect(marked(\.isModerator) == [alice.id, carl.id] && marked(\.isExternal) == [bob.id])
                try await carl.spaces.setModerator(false, alice.email, of: his)
                people = try await alice.spaces.participants(of: space)
                #expect(marked(\.isModerator) == [carl.id] && people.count == 3)
                #expect(
                    await Self.code { try await alice.spaces.remove(bob.email, from: space) } == .spaceModerated)
                people = try await bob.spaces.participants(of: try await bob.spaces.find("Roles"))
                #expect(marked(\.isExternal) == [alice.id, carl.id], "seen from the other side")
                // The last moderator leaves: everybody manages again.
                try await carl.spaces.leave(his)
                try await alice.spaces.remove(bob.email, from: space)

                let (two, isNew) = try await alice.spaces.direct(with: carl.email)
                #expect(isNew)
                let (same, again) = try await carl.spaces.direct(with: alice.email)
                #expect(!again && same.id == two.id && same.resource == two.resource)
                _ = try await alice.spaces.add(bob.email, to: two)
                let (next, isAnother) = try await carl.spaces.direct(with: alice.email)
                #expect(isAnother && next.id != two.id)
                #expect(
                    await #expect(throws: DiagnosedError.self) {
                        _ = try await alice.spaces.direct(with: alice.email)
                    }?.code == .personUnknown)
                for person in [alice, carl, bob] { await person.close() }
            }
        }
    }
}
