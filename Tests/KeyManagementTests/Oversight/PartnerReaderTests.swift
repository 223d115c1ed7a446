import Cryptography
import KMSProtocol
import Testing
import WireText

@testable import KeyManagement

/// What reports say of a partner's users, held against what the partner's KMS really gets.
@Suite("Oversight: users of partners")
struct PartnerReaderTests {
    private typealias Host = FederationWorld.Host

    private func oversight(_ world: FederationWorld, _ partners: [String: Bool]) -> Oversight {
        Oversight(
            management: world.a.handler.keyManagement, sessions: world.a.handler.sessions,
            readers: { Oversight.PolicyReaders(partners: partners) })
    }

    @Test("a report names the partner of a user who is at home there, and an own user's none")
    func named() async throws {
        let world = try await FederationWorld.make()
        let (_, key, space) = try await world.space()
        let oversight = oversight(world, [Host.b: false])
        func partners() async throws -> [String?] {
            try await oversight.access(to: .space(space.uri.objectID), at: nil, now: world.clock.now).ways
                .filter { $0.reader == People.bob }.map(\.partner)
        }
        #expect(try await partners() == [nil], "nobody knows yet where he is at home")
        #expect(try await world.raw(world.b).status(key.uri, for: People.bob) == 200)
        #expect(try await partners() == [Host.b])
        let all = try await oversight.access(to: .space(space.uri.objectID), at: nil, now: world.clock.now)
        #expect(all.ways.filter { $0.reader == People.alice }.map(\.partner) == [nil])
        let spaces = try await oversight.access(to: .user(People.bob), at: nil, now: world.clock.now).ways
        #expect(spaces.map(\.space) == [space.uri] && spaces.map(\.partner) == [Host.b])
    }

    @Test(
        "a nested space is one of a partner's user exactly where the partner may read through it",
        arguments: [false, true])
    func nested(allows: Bool) async throws {
        let world = try await FederationWorld.make(
            atA: [try FederationWorld.partner(Host.b, allowsNested: allows)])
        let (alice, innerKey, inner) = try await world.space()
        let key = try await alice.createKeys()[0]
        let outer = try await alice.createSpace([key])
        #expect(try await alice.add([inner.uri], to: outer.uri).status == 201)
        let raw = try await world.raw(world.b)
        #expect(try await raw.status(innerKey.uri, for: People.bob) == 200)
        let isRead = try await raw.status(key.uri, for: People.bob) == 200
        #expect(isRead == allows)
        let ways = try await oversight(world, [Host.b: allows]).access(
            to: .space(outer.uri.objectID), at: nil, now: world.clock.now
        ).ways
        #expect(ways.contains { $0.reader == People.bob && $0.means == .nested } == isRead)
    }

    @Test(
        "a space whose domain does not share with the partner is in no report of its users", arguments: [false, true])
    func domains(shares: Bool) async throws {
        let world = try await FederationWorld.make()
        _ = try await TestClient.open(
            world.a, People.alice, token: TestTokens.token(People.alice, domain: "example.com"))
        let (_, key, space) = try await world.space()
        let raw = try await world.raw(world.b)
        #expect(try await raw.status(key.uri, for: People.bob) == 200)
        let pin = Base64.encode(try FederationWorld.identity(Host.b).chain[0].spkiSHA256)
        let partner =
            #"{"host": "\#(Host.b)", "organisation": "b", "direction": "both", "users": ["\#(People.bob)"], "#
            + #""anchors": ["sha256/\#(pin)"]}"#
        world.a.inForce.take(
            try TestPolicy.make(
                #""partners": [\#(partner)]"#,
                #""federation": [{"domain": "\#(shares ? "" : "other.")example.com", "partners": "all"}]"#))
        #expect(try await raw.status(key.uri, for: People.bob) == (shares ? 200 : 403))
        let oversight = oversight(world, [Host.b: false])
        for subject in [OversightSubject.space(space.uri.objectID), .user(People.bob)] {
            let ways = try await oversight.access(to: subject, at: nil, now: world.clock.now).ways
            #expect(ways.contains { $0.reader == People.bob } == shares)
        }
    }

    @Test("what a partner's freeze would hit is what it hits: the partner's users and their spaces, nobody else")
    func frozen() async throws {
        let world = try await FederationWorld.make()
        let (alice, key, _) = try await world.space(with: [People.bob, People.carol])
        _ = try await alice.createSpace(try await alice.createKeys(), with: [People.carol])
        let oversight = oversight(world, [Host.b: false, Host.c: false])
        #expect(try await world.raw(world.b).status(key.uri, for: People.bob) == 200)
        let b = try await oversight.impact(of: .partner(Host.b), now: world.clock.now)
        #expect(b.users == 1 && b.spaces == 1 && b.notes.isEmpty && b.isWhole)
        let c = try await oversight.impact(of: .partner(Host.c), now: world.clock.now)
        #expect(c.users == 0 && c.spaces == 0)
        let unknown = try await oversight.impact(of: .partner("kms.unknown.example"), now: world.clock.now)
        #expect(!unknown.notes.isEmpty)
    }
}
