import AuditTrail
import Diagnostics
import KMSProtocol
import KeyManagement
import KeyStore
import Testing
import WireText

/// `hdsctl explain`: the record of a decision in sentences.
@Suite("Explanations")
struct ExplanationTests {
    /// The ids of all decisions with that rule, oldest first.
    private func ids(_ world: OversightWorld, rule: String) async throws -> [AuditID] {
        var query = AuditQuery()
        query.kind = .decision
        // A refusal is noted without waiting; what is sealed after it comes behind it.
        try await world.audit.seal(now: world.now)
        return try await world.trail.records(query).map(\.record).filter { $0.rule == rule }.map(\.id)
    }

    private func explain(_ world: OversightWorld, rule: String) async throws -> Explanation {
        let id = try #require(try await ids(world, rule: rule).last)
        return try await world.oversight.explain(id, audit: try world.audit, now: world.now)
    }

    @Test("a refusal names who, what, with which client, when, by which rule, what to do, and how it is today")
    func refused() async throws {
        let world = try await OversightWorld.start()
        let alice = try await TestClient.open(world.kms, People.alice)
        let bob = try await TestClient.open(world.kms, People.bob)
        let keys = try await alice.createKeys(1)
        let space = try await alice.createSpace(keys)
        #expect(try await bob.status(retrieving: keys[0].uri) == 403)
        let refused = try await explain(world, rule: "not-a-member")
        #expect(refused.status == 403 && refused.user == People.bob && refused.object == keys[0].uri)
        for part in ["refused \(People.bob)", "retrieve KEY", keys[0].uri, "devices/\(People.bob)", world.now.iso8601] {
            #expect(refused.sentence.contains(part), "\(part) in \(refused.sentence)")
        }
        #expect(refused.because.contains("not on the space's list"))
        #expect(refused.advice?.contains("adds the user") == true)
        #expect(refused.today == ["today \(People.bob) is on no list that leads to \(space.uri)"])
        _ = try await alice.add([People.bob], to: space.uri)
        let later = try await explain(world, rule: "not-a-member")
        #expect(later.today.contains { $0.contains("can read") && $0.contains("as a member") })
    }

    @Test(
        "a key that was given names the path's rule; one that a freeze stopped names the freeze and what became of it")
    func granted() async throws {
        let world = try await OversightWorld.start()
        let alice = try await TestClient.open(world.kms, People.alice)
        let keys = try await alice.createKeys(1)
        _ = try await alice.createSpace(keys)
        #expect(try await alice.status(retrieving: keys[0].uri) == 200)
        let granted = try await explain(world, rule: "member")
        #expect(granted.sentence.contains("granted \(People.alice)"))
        let freeze = Freeze(scope: .everything, reason: "lost laptop", orderedBy: "ada", since: world.now)
        try await world.board.order(freeze)
        #expect(try await alice.status(retrieving: keys[0].uri) == 403)
        let frozen = try await explain(world, rule: "frozen:\(freeze.id)")
        #expect(frozen.because.contains("frozen"))
        #expect(frozen.today.contains { $0.contains("ordered by ada: lost laptop") })
        _ = try await world.board.lift(freeze.id)
        let lifted = try await explain(world, rule: "frozen:\(freeze.id)")
        #expect(lifted.today.contains { $0.contains("was lifted") })
    }

    @Test("the way to the key is told space by space; unopened, nobody is named and nothing is said of today")
    func way() async throws {
        let world = try await OversightWorld.start()
        let alice = try await TestClient.open(world.kms, People.alice)
        let bob = try await TestClient.open(world.kms, People.bob)
        let keys = try await alice.createKeys(1)
        let team = try await alice.createSpace([], with: [People.bob])
        let space = try await alice.createSpace(keys)
        _ = try await alice.add([team.uri], to: space.uri)
        #expect(try await bob.status(retrieving: keys[0].uri) == 200)
        #expect(try await explain(world, rule: "nested").path == "\(space.uri) through \(team.uri)")
        let id = try #require(try await ids(world, rule: "nested").last)
        let closed = try await world.oversight.explain(id, audit: try world.audit, opening: false, now: world.now)
        #expect(closed.rule == "nested" && closed.user?.hasPrefix("u:") == true && closed.today.isEmpty)
        #expect(closed.path == nil && !closed.sentence.contains(People.bob))
        #expect(try await alice.status(retrieving: keys[0].uri) == 200)
        #expect(try await explain(world, rule: "member").path == space.uri)
    }

    @Test("a client's request id finds several, newest first, under pseudonyms only")
    func requestID() async throws {
        let world = try await OversightWorld.start()
        let alice = try await TestClient.open(world.kms, People.alice)
        let keys = try await alice.createKeys(1)
        _ = try await alice.createSpace(keys)
        for _ in 0..<3 {
            world.kms.clock.advance(seconds: 1)
            _ = try await alice.send(alice.wrapped("retrieve", keys[0].uri, requestID: "again"))
        }
        let hits = try await world.oversight.search(requestID: "again", audit: try world.audit)
        #expect(hits.count == 3 && hits.map(\.time) == hits.map(\.time).sorted(by: >))
        #expect(hits.allSatisfy { $0.rule == "member" && $0.user?.hasPrefix("u:") == true })
        #expect(!hits.contains { $0.sentence.contains(People.alice) })
        #expect(try await world.oversight.search(requestID: "unknown", audit: try world.audit).isEmpty)
        #expect(try await world.oversight.search(requestID: "again", audit: try world.audit, limit: 2).count == 2)
    }

    @Test("an id that stands in no record is refused with where else to look")
    func unknown() async throws {
        let world = try await OversightWorld.start()
        await #expect(throws: DiagnosedError("subject-unknown", fault: .client, "")) {
            try await world.oversight.explain(AuditID.make(at: world.now), audit: try world.audit, now: world.now)
        }
    }

    @Test("what an operator looks up stands in the trail: who asked in clear, whom it was about not")
    func audited() async throws {
        let world = try await OversightWorld.start()
        var act = OfficeAct(.lookup, by: "operator:1000", command: "access")
        act.user = People.alice
        act.detail = "at now"
        let id = try await world.audit.keep(act, now: world.now)
        var query = AuditQuery()
        query.id = id
        let stored = try #require(try await world.trail.records(query).first)
        #expect(stored.record.user == "operator:1000" && stored.record.rule == "lookup:access")
        #expect(stored.record.object == (try world.audit.pseudonym(user: People.alice)))
        let line = String(decoding: stored.line, as: UTF8.self)
        #expect(line.contains("operator:1000") && !line.contains(People.alice))
        let explained = try await world.oversight.explain(id, audit: try world.audit, now: world.now)
        #expect(explained.object == People.alice && explained.user == "operator:1000")
    }
}
