import Diagnostics
import DirectoryModel
import JOSESignature
import Testing
import TokenIssuer
import WireText

@Suite("Cutting a person off")
struct CutOffTests {
    @Test(
        "an operator's order disables the account, ends logins and tokens, and stands in the signed list until it is lifted"
    )
    func order() async throws {
        let world = try DirectoryWorld()
        try await world.signIn(DirectoryWorld.alice)
        try await world.signIn(DirectoryWorld.bob)
        #expect(try await world.list().disabled.isEmpty)
        let subject = try #require(try await world.service.subject(named: " Alice@Example.com"))
        let report = try await world.service.cutOff(subject, authority: .operators, by: "operator:7", reason: "lost")
        #expect(report.isNew && report.logins == 1 && report.opaqueTokens == 1)
        #expect(world.isDisabled(DirectoryWorld.alice) == true && world.isDisabled(DirectoryWorld.bob) == false)
        let list = try await world.list()
        #expect(list.disabled == [DirectoryWorld.alice: world.clock.now])
        #expect(list.subjects[DirectoryWorld.alice] != nil, "JWTs end by the same list")
        #expect(try await world.service.grants.holdings(of: DirectoryWorld.alice) == (0, 0))
        #expect(try await world.service.grants.holdings(of: DirectoryWorld.bob) == (1, 1))
        #expect(world.events.count(of: .cutOff) == 1)
        #expect(!world.events.lines.joined().contains(DirectoryWorld.alice), "the journal has a pseudonym")
        #expect(try await world.service.letIn(subject, authority: .operators))
        #expect(world.isDisabled(DirectoryWorld.alice) == false)
        #expect(try await world.list().disabled.isEmpty)
        #expect(world.events.count(of: .letIn) == 1)
        #expect(try await !world.service.letIn(subject, authority: .operators))
    }

    @Test("the order is there after a restart, also when the logins were not ended before it")
    func restart() async throws {
        let world = try DirectoryWorld()
        try await world.signIn(DirectoryWorld.alice)
        // The service stopped between the two parts.
        _ = try await world.service.directory.insert(
            CutOff(
                subject: DirectoryWorld.alice, authority: .operators, since: world.clock.now, by: "operator:0",
                reason: "r"))
        world.service.close()
        let again = try DirectoryWorld(clock: world.clock, folder: world.folder)
        #expect(again.isDisabled(DirectoryWorld.alice) == true)
        #expect(try await again.service.grants.holdings(of: DirectoryWorld.alice).logins == 1)
        try await again.service.purge()
        #expect(try await again.service.grants.holdings(of: DirectoryWorld.alice).logins == 0)
        again.service.close()
    }

    @Test("who is cut off by two comes in again when neither is left, and each lifts his own only")
    func two() async throws {
        let world = try DirectoryWorld()
        let service = world.service
        _ = try await service.cutOff(DirectoryWorld.bob, authority: .operators, by: "operator:0", reason: "a")
        let person = Person(
            source: "scim", external: "b", id: DirectoryWorld.bob, userName: "bob", email: "bob@example.com",
            name: "Bob",
            standing: .disabled, changed: world.clock.now)
        try await service.take([.left(person)], of: "scim")
        #expect(try await service.directory.cutOffs().count == 2)
        #expect(try await service.letIn(DirectoryWorld.bob, authority: .operators))
        #expect(world.isDisabled(DirectoryWorld.bob) == true, "the directory still says so")
        var back = person
        back.standing = .active
        try await service.take([.returned(back)], of: "scim")
        #expect(world.isDisabled(DirectoryWorld.bob) == false)
        #expect(try await world.list().disabled.isEmpty)
    }

    @Test("a person whom only a directory knows is an account without a password, and no password opens it")
    func personOnly() async throws {
        let world = try DirectoryWorld()
        let id = "0a1b2c3d-0000-4000-8000-00000000ca01"
        let person = Person(
            source: "scim", external: "c", id: id, userName: "carol", email: "carol@example.com", name: "Carol",
            changed: world.clock.now)
        try await world.service.take([.joined(person)], of: "scim")
        let account = try #require(world.service.accounts.accounts.user(email: "carol@example.com"))
        #expect(account.id == id && account.organisation == "example" && !account.hasPassword && !account.isDisabled)
        var gone = person
        gone.standing = .gone
        try await world.service.take([.left(gone)], of: "scim")
        #expect(world.service.accounts.accounts.user(id: id) == nil)
        #expect(try await world.list().disabled[id] != nil, "the KMS refuses the id all the same")
        #expect(try await world.service.subject(named: "CAROL@example.com") == id)
    }

    @Test("nobody takes an account of the file by having its address in a directory under another id")
    func addressTaken() async throws {
        let world = try DirectoryWorld()
        let person = Person(
            source: "scim", external: "x", id: "0a1b2c3d-0000-4000-8000-0000000000ff", userName: "x",
            email: "ALICE@example.com", name: "X", changed: world.clock.now)
        try await world.service.take([.joined(person)], of: "scim")
        #expect(world.service.accounts.accounts.user(email: "alice@example.com")?.id == DirectoryWorld.alice)
        #expect(world.service.accounts.accounts.user(id: person.id) == nil)
    }

    @Test("the list names the newest when there are more than a KMS takes")
    func tooMany() async throws {
        let world = try DirectoryWorld()
        let people = (0...RevocationDocument.maximumDisabled).map { number in
            DirectoryChange.left(
                Person(
                    source: "scim", external: "\(number)", id: "id-\(number)", userName: "u",
                    email: "u\(number)@e.example",
                    name: "U", standing: .gone, changed: world.clock.now))
        }
        _ = try await world.service.directory.take(Array(people.prefix(1)), of: "scim", at: world.clock.now)
        world.clock.advance(seconds: 5)
        _ = try await world.service.directory.take(Array(people.dropFirst()), of: "scim", at: world.clock.now)
        try await world.service.refreshAccounts()
        let list = try await world.list()
        #expect(list.disabled.count == RevocationDocument.maximumDisabled && list.disabled["id-0"] == nil)
    }
}
