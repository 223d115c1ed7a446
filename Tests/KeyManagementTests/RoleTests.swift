import KMSProtocol
import KeyManagement
import Testing
import WireText

/// Moderated resources, resources with an end, and what a removal leaves (security model, rules 12 and 13).
@Suite("Roles, ends and remaining access")
struct RoleTests {
    private static let moderator = "kms://kms.hds.example.com/roles/moderator"

    private func give(_ role: String, to user: String, by client: TestClient, on space: String) async throws -> Int {
        try await client.ask("create", "/authorizations") {
            $0.member("resourceUri", space)
            $0.member("authIds", [user])
            $0.member("roleUri", role)
        }.status
    }

    @Test("in a moderated space only moderators add, remove and delete; the others read, bind keys and may leave")
    func moderated() async throws {
        let kms = try await TestKMS.start()
        let alice = try await TestClient.open(kms, People.alice)
        let bob = try await TestClient.open(kms, People.bob)
        let keys = try await alice.createKeys(1)
        let space = try await alice.createSpace(keys, with: [People.bob, People.carol])
        #expect(try await bob.add([People.dan], to: space.uri).status == 201, "not moderated yet")
        #expect(try await give(Self.moderator, to: People.alice, by: alice, on: space.uri) == 201)
        let stranger = "5742a000-0000-4000-8000-000000000009"
        #expect(try await bob.add([stranger], to: space.uri).status == 403)
        #expect(
            try await give(Self.moderator, to: People.bob, by: bob, on: space.uri) == 403, "nobody appoints himself")
        #expect(try await bob.remove(People.carol, from: space.uri).status == 403)
        #expect(try await bob.ask("delete", space.uri).status == 403)
        #expect(
            try await bob.ask("delete", space.uri + "/authorizations") {
                $0.member("authIds", [People.bob, People.carol])
            }.status == 403, "leaving takes nobody along")
        #expect(try await bob.status(retrieving: keys[0].uri) == 200)
        let own = try await bob.createKeys(1)
        #expect(try await bob.ask("update", own[0].uri) { $0.member("resourceUri", space.uri) }.status == 200)
        #expect(try await alice.add([stranger], to: space.uri).status == 201)
        #expect(try await alice.remove(People.carol, from: space.uri).status == 200)
        #expect(try await bob.remove(People.bob, from: space.uri).status == 200)
        #expect(try await bob.status(retrieving: keys[0].uri) == 403)
    }

    @Test("/public and nested resources moderate nothing, whatever role they are given")
    func onlyPeopleModerate() async throws {
        let kms = try await TestKMS.start()
        let alice = try await TestClient.open(kms, People.alice)
        let bob = try await TestClient.open(kms, People.bob)
        let team = try await alice.createSpace([])
        let space = try await alice.createSpace([], with: [People.bob])
        for id in ["/public", team.uri] {
            #expect(try await give(Self.moderator, to: id, by: alice, on: space.uri) == 201)
            #expect(try await bob.add([People.carol], to: space.uri).status == 201, "\(id) locked everybody out")
            #expect(try await alice.remove(id, from: space.uri).status == 200)
        }
        // The count is right afterwards: a person's role moderates.
        #expect(try await give(Self.moderator, to: People.alice, by: alice, on: space.uri) == 201)
        #expect(try await bob.add([People.dan], to: space.uri).status == 403)
        #expect(try await alice.remove(People.alice, from: space.uri).status == 200)
        #expect(try await bob.add([People.dan], to: space.uri).status == 201)
    }

    @Test("a moderator may share and give up the role; when the last one is gone everybody manages again")
    func lastModerator() async throws {
        let kms = try await TestKMS.start()
        let alice = try await TestClient.open(kms, People.alice)
        let bob = try await TestClient.open(kms, People.bob)
        let carol = try await TestClient.open(kms, People.carol)
        let space = try await alice.createSpace([], with: [People.bob, People.carol])
        #expect(try await give(Self.moderator, to: People.alice, by: alice, on: space.uri) == 201)
        #expect(try await give(Self.moderator, to: People.alice, by: alice, on: space.uri) == 201, "a repeat")
        #expect(try await give(Self.moderator, to: People.bob, by: alice, on: space.uri) == 201)
        #expect(try await give("urn:example:member", to: People.alice, by: alice, on: space.uri) == 201)
        #expect(try await alice.add([People.dan], to: space.uri).status == 403, "the role was given up")
        #expect(try await bob.add([People.dan], to: space.uri).status == 201)
        #expect(try await bob.remove(People.bob, from: space.uri).status == 200)
        #expect(try await carol.remove(People.dan, from: space.uri).status == 200)
    }

    @Test("a resource with an end is gone for everybody when it comes, its keys too")
    func timeToLive() async throws {
        let kms = try await TestKMS.start()
        let alice = try await TestClient.open(kms, People.alice)
        let bob = try await TestClient.open(kms, People.bob)
        let keys = try await alice.createKeys(2)
        let answer = try await alice.ask("create", "/resources") {
            $0.member("keyUris", [keys[0].uri])
            $0.member("userIds", [People.bob])
            $0.member("ttl", 60)
        }
        guard case .resource(let space) = answer.body else {
            Issue.record("no resource")
            return
        }
        #expect(space.expirationDate == kms.clock.now.adding(seconds: 60))
        // A space that lists it gives access only while it lasts.
        let outer = try await alice.createSpace([keys[1]])
        #expect(try await alice.add([space.uri], to: outer.uri).status == 201)
        kms.clock.advance(seconds: 59)
        #expect(try await bob.status(retrieving: keys[0].uri) == 200)
        #expect(try await bob.status(retrieving: keys[1].uri) == 200)
        kms.clock.advance(seconds: 1)
        #expect(try await bob.status(retrieving: keys[0].uri) == 404)
        #expect(try await bob.status(retrieving: keys[1].uri) == 403)
        #expect(try await alice.ask("retrieve", space.uri).status == 404)
        #expect(try await alice.ask("retrieve", space.uri + "/keys").status == 404)
        #expect(try await alice.add([People.carol], to: space.uri).status == 404)
        #expect(try await alice.add([space.uri], to: outer.uri).status == 201, "it is on the list already")
        let fresh = try await alice.createSpace([])
        #expect(try await alice.add([space.uri], to: fresh.uri).status == 404)
    }

    @Test("the answer to a removal names a path that remains")
    func remainingAccess() async throws {
        let kms = try await TestKMS.start()
        let alice = try await TestClient.open(kms, People.alice)
        let bob = try await TestClient.open(kms, People.bob)
        let keys = try await alice.createKeys(1)
        let team = try await alice.createSpace([], with: [People.bob])
        let space = try await alice.createSpace(keys, with: [People.bob, People.carol])
        _ = try await alice.add([team.uri], to: space.uri)
        guard case .removed(let bobs) = try await alice.remove(People.bob, from: space.uri).body,
            case .removed(let carols) = try await alice.remove(People.carol, from: space.uri).body
        else {
            Issue.record("nobody was removed")
            return
        }
        #expect(bobs.map(\.remainingAccess) == ["nested"])
        #expect(carols.map(\.remainingAccess) == [nil])
        #expect(try await bob.status(retrieving: keys[0].uri) == 200, "as the answer said")
        _ = try await alice.add(["/public", People.carol], to: space.uri)
        guard case .removed(let again) = try await alice.remove(People.carol, from: space.uri).body else { return }
        #expect(again.map(\.remainingAccess) == ["public"])
    }
}
