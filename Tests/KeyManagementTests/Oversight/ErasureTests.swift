import AuditTrail
import Diagnostics
import KMSProtocol
import KeyManagement
import KeyStore
import Synchronization
import Testing
import WireText

/// Erasure: what was one person's alone is destroyed, everywhere else nothing names the person any more.
@Suite("Erasure")
struct ErasureTests {
    private let clockStep: Int64 = 10

    @Test(
        "own spaces are destroyed, shared ones redacted, and others still read theirs",
        arguments: OversightWorld.Store.allCases)
    func person(_ store: OversightWorld.Store) async throws {
        let world = try await OversightWorld.start(store)
        let alice = try await TestClient.open(world.kms, People.alice)
        let bob = try await TestClient.open(world.kms, People.bob)
        let keys = try await alice.createKeys(4)
        let own = try await alice.createSpace([keys[0], keys[1]])
        let shared = try await alice.createSpace([keys[2]], with: [People.bob])
        let foreign = try await bob.createSpace(try await bob.createKeys(1), with: [People.carol])
        let left = try await bob.createSpace(try await bob.createKeys(1), with: [People.alice])
        _ = try await alice.remove(People.alice, from: left.uri)
        let untouched = try await world.kms.store.resource(foreign.uri.objectID)
        let plan = try await world.erasure().plan(.user(People.alice))
        #expect(try await world.kms.store.resource(own.uri.objectID) != nil, "a plan changes nothing")
        let certificate = try world.verified(try await world.erase(.user(People.alice)))
        #expect(certificate.counts == plan)
        #expect(certificate.counts.spacesDestroyed == 1 && certificate.counts.keysDestroyed == 2)
        #expect(certificate.counts.spacesRedacted == 2 && certificate.counts.keysRedacted == 1)
        #expect(certificate.counts.unboundKeysDestroyed == 1 && certificate.counts.sessionsEnded == 1)
        for key in [keys[0], keys[1], keys[3]] { #expect(try await world.kms.store.key(key.uri.objectID) == nil) }
        #expect(try await world.kms.store.resource(own.uri.objectID) == nil)
        #expect(try await world.kms.store.resource(foreign.uri.objectID) == untouched)
        #expect(try await bob.status(retrieving: keys[2].uri) == 200)
        #expect(try await world.access(.user(People.alice)).ways.isEmpty)
        #expect(world.ways(try await world.access(.space(shared.uri.objectID))) == ["member bob"])
        // Nothing that the store holds for the shared space names her, opened with its own keys.
        guard case .key(let key) = try await bob.ask("retrieve", keys[2].uri).body else { throw Unexpected() }
        #expect(key.userID.hasPrefix("e5a5ed00-"))
        let before = try await world.access(.space(shared.uri.objectID), at: world.now.adding(seconds: -1))
        #expect(before.ways.isEmpty)
        let again = try await world.erasure().plan(.user(People.alice))
        #expect(again == ErasureCertificate.Counts(), "nothing is left to do")
    }

    private struct Unexpected: Error {}

    @Test("history keeps that somebody was a member, and not who")
    func standIn() async throws {
        let world = try await OversightWorld.start()
        let alice = try await TestClient.open(world.kms, People.alice)
        let space = try await alice.createSpace(try await alice.createKeys(1), with: [People.bob])
        world.kms.clock.advance(seconds: 10)
        let then = world.now
        world.kms.clock.advance(seconds: 10)
        _ = try await world.erase(.user(People.alice))
        let report = try await world.access(.space(space.uri.objectID), at: then)
        #expect(report.ways.count == 2)
        let standIn = try #require(report.ways.first { $0.reader != People.bob })
        #expect(standIn.reader.hasPrefix("e5a5ed00-0000-4000-8000-"))
        #expect(report.ways.allSatisfy { $0.addedBy == standIn.reader }, "who added stands under the same stand-in")
        let export = try await world.oversight.metadata(of: People.alice, after: nil, now: world.now)
        #expect(try JSONDocument(text: export.json).root["spaces"]?.elements?.count == 0)
    }

    @Test("the last moderator's erasure leaves a space that its members can go on with; its keys are due for rotation")
    func moderator() async throws {
        let world = try await OversightWorld.start()
        let alice = try await TestClient.open(world.kms, People.alice)
        let bob = try await TestClient.open(world.kms, People.bob)
        let space = try await alice.createSpace(try await alice.createKeys(1), with: [People.bob])
        let made = try await alice.ask("create", "/authorizations") {
            $0.member("resourceUri", space.uri)
            $0.member("userIds", [People.alice])
            $0.member("roleUri", "kms://x/roles/moderator")
        }
        #expect(made.status == 201)
        #expect(try await bob.add([People.carol], to: space.uri).status == 403)
        world.kms.clock.advance(seconds: 10)
        _ = try await world.erase(.user(People.alice))
        #expect(try await bob.add([People.carol], to: space.uri).status == 201)
        guard case .resource(let seen) = try await bob.ask("retrieve", space.uri).body else { throw Unexpected() }
        #expect(seen.lastRemovalDate == world.now)
    }

    @Test("a deleted space goes too if it was the person's alone; one that others shared is redacted")
    func tombstones() async throws {
        let world = try await OversightWorld.start()
        let alice = try await TestClient.open(world.kms, People.alice)
        let own = try await alice.createSpace(try await alice.createKeys(1))
        let shared = try await alice.createSpace(try await alice.createKeys(1), with: [People.bob])
        for space in [own, shared] { _ = try await alice.ask("delete", space.uri) }
        let counts = try world.verified(try await world.erase(.user(People.alice))).counts
        #expect(counts.spacesDestroyed == 1 && counts.spacesRedacted == 1)
        #expect(try await world.kms.store.resource(own.uri.objectID) == nil)
        #expect(try await world.kms.store.resource(shared.uri.objectID) != nil)
    }

    @Test("whoever else can read a space keeps it from being destroyed: nested, public, unnamed; who has gone does not")
    func soleOwner() async throws {
        let world = try await OversightWorld.start()
        let alice = try await TestClient.open(world.kms, People.alice)
        let bob = try await TestClient.open(world.kms, People.bob)
        let team = try await bob.createSpace([])
        func space() async throws -> KMSResource { try await alice.createSpace(try await alice.createKeys(1)) }
        let (nested, open, unnamed, gone) = (try await space(), try await space(), try await space(), try await space())
        _ = try await bob.add([People.alice], to: team.uri)
        _ = try await alice.add([team.uri], to: nested.uri)
        _ = try await alice.add(["/public"], to: open.uri)
        let holder = try await alice.ask("create", "/authorizations") {
            $0.member("resourceUri", unnamed.uri)
            $0.member("anonymous", 1)
        }
        #expect(holder.status == 201)
        _ = try await alice.add([People.bob], to: gone.uri)
        _ = try await alice.remove(People.bob, from: gone.uri)
        _ = try await world.erase(.user(People.alice))
        for kept in [nested, open, unnamed, team] {
            #expect(try await world.kms.store.resource(kept.uri.objectID) != nil)
        }
        #expect(try await world.kms.store.resource(gone.uri.objectID) == nil)
    }

    @Test("a space is erased with all that is in it, once; who asks again is told that there is none")
    func space() async throws {
        let world = try await OversightWorld.start(.sqlite)
        let alice = try await TestClient.open(world.kms, People.alice)
        let keys = try await alice.createKeys(2)
        let space = try await alice.createSpace(keys, with: [People.bob, People.carol])
        let subject = OversightSubject.space(space.uri.objectID)
        let file = try await world.erase(subject)
        let certificate = try world.verified(file)
        #expect(certificate.kind == "space" && certificate.counts.keysDestroyed == 2)
        #expect(certificate.counts.authorizationsDestroyed == 3)
        #expect(try await alice.status(retrieving: keys[0].uri) == 404)
        #expect(try await world.erasure().certificate(of: subject) == file, "a lost answer can be asked for again")
        await #expect(throws: DiagnosedError("subject-unknown", fault: .client, "")) {
            try await world.erase(subject)
        }
        #expect(try await world.erasure().certificate(of: subject) == file)
    }

    // MARK: Holds

    @Test("what is held stays whole, is counted, and is erased when the hold has ended")
    func holds() async throws {
        let world = try await OversightWorld.start()
        let alice = try await TestClient.open(world.kms, People.alice)
        let own = try await alice.createSpace(try await alice.createKeys(1))
        let shared = try await alice.createSpace(try await alice.createKeys(1), with: [People.bob])
        let ids = [own, shared].map(\.uri.objectID)
        try await HoldList.change(ids, reason: "matter 7", store: world.kms.store, vault: world.vault)
        let rows = try await world.kms.store.authorizations(ofResource: ids[1])
        let held = try world.verified(try await world.erase(.user(People.alice))).counts
        #expect(held.spacesHeld == 2 && held.spacesDestroyed == 0 && held.spacesRedacted == 0)
        #expect(try await world.kms.store.authorizations(ofResource: ids[1]) == rows)
        await #expect(throws: DiagnosedError("erasure-held", fault: .client, "")) {
            try await world.erase(.space(ids[0]))
        }
        #expect(try await world.erasure().plan(.space(ids[0])).spacesHeld == 1)
        try await HoldList.change(ids, reason: nil, store: world.kms.store, vault: world.vault)
        let freed = try world.verified(try await world.erase(.user(People.alice))).counts
        #expect(freed.spacesHeld == 0 && freed.spacesDestroyed == 1 && freed.spacesRedacted == 1)
    }

    @Test("a hold that comes between the decision and its transaction wins", arguments: [true, false])
    func holdRaces(_ isSpace: Bool) async throws {
        let faulting = Mutex<FaultingKeyStore?>(nil)
        let world = try await OversightWorld.start(wrapping: { store in
            let wrapped = FaultingKeyStore(store)
            faulting.withLock { $0 = wrapped }
            return wrapped
        })
        let alice = try await TestClient.open(world.kms, People.alice)
        let space = try await alice.createSpace(try await alice.createKeys(1))
        let id = space.uri.objectID
        let store = try #require(faulting.withLock { $0 })
        let vault = world.vault
        // The session's end is the first commit of a person's erasure, the space's the second.
        store.inject(
            .delay { try? await HoldList.change([id], reason: "matter 9", store: store, vault: vault) },
            at: isSpace ? 1 : 2, of: .commit)
        if isSpace {
            await #expect(throws: DiagnosedError("erasure-held", fault: .client, "")) {
                try await world.erase(.space(id))
            }
        } else {
            let counts = try world.verified(try await world.erase(.user(People.alice))).counts
            #expect(counts.spacesHeld == 1 && counts.spacesDestroyed == 0)
        }
        #expect(try await world.kms.store.resource(id)?.deletedAt == nil)
        #expect(try await HoldList.standing(store, vault).resources == [id])
    }

    // MARK: Interruptions

    @Test("of two runs for one person one ends the other, and what is left is counted once")
    func twoRuns() async throws {
        let faulting = Mutex<FaultingKeyStore?>(nil)
        let world = try await OversightWorld.start(wrapping: { store in
            let wrapped = FaultingKeyStore(store)
            faulting.withLock { $0 = wrapped }
            return wrapped
        })
        let alice = try await TestClient.open(world.kms, People.alice)
        for _ in 0..<3 { _ = try await alice.createSpace(try await alice.createKeys(1)) }
        let store = try #require(faulting.withLock { $0 })
        let second = Shared<String?>(nil)
        store.inject(
            .delay {
                let file = try? await world.erase(.user(People.alice), by: ["ben"])
                second.withLock { $0 = file }
            }, at: 3, of: .commit)
        await #expect(throws: DiagnosedError("erasure-busy", fault: .client, "")) {
            try await world.erase(.user(People.alice))
        }
        let counts = try world.verified(try #require(second.value)).counts
        #expect(counts.spacesDestroyed == 3 && counts.sessionsEnded == 1)
    }

    @Test("a run that goes on says the later end of the backups that its orders state")
    func backups() async throws {
        struct Crash: Error {}
        let faulting = Mutex<FaultingKeyStore?>(nil)
        let world = try await OversightWorld.start(wrapping: { store in
            let wrapped = FaultingKeyStore(store)
            faulting.withLock { $0 = wrapped }
            return wrapped
        })
        let alice = try await TestClient.open(world.kms, People.alice)
        _ = try await alice.createSpace(try await alice.createKeys(1))
        let store = try #require(faulting.withLock { $0 })
        store.inject(.fail(Crash()), at: 2, of: .commit)
        await #expect(throws: Crash.self) { try await world.erase(.user(People.alice)) }
        world.kms.clock.advance(seconds: 3600)
        let certificate = try world.verified(try await world.erase(.user(People.alice), by: ["carla"]))
        #expect(certificate.backupsUntil == world.now.adding(seconds: 86_400))
        #expect(certificate.officers == ["ada", "bob"] && certificate.counts.sessionsEnded == 1)
        #expect(certificate.begun == world.now.adding(seconds: -3600) && certificate.finished == world.now)
    }

    @Test("sessions are found whichever case the token wrote the user's id in")
    func cases() async throws {
        let world = try await OversightWorld.start()
        let loud = try await TestClient.open(world.kms, People.alice.uppercased())
        _ = try await TestClient.open(world.kms, People.alice)
        let counts = try world.verified(try await world.erase(.user(People.alice))).counts
        #expect(counts.sessionsEnded == 2)
        #expect(try await world.kms.store.session(loud.session.objectID) == nil)
    }

    @Test("a crash at any commit leaves each space whole or gone; the next run goes on and certifies everything")
    func crashes() async throws {
        struct Crash: Error {}
        var commits = 0
        for call in 1... {
            for losesAnswer in [false, true] {
                let faulting = Mutex<FaultingKeyStore?>(nil)
                let world = try await OversightWorld.start(wrapping: { store in
                    let wrapped = FaultingKeyStore(store)
                    faulting.withLock { $0 = wrapped }
                    return wrapped
                })
                let alice = try await TestClient.open(world.kms, People.alice)
                let bob = try await TestClient.open(world.kms, People.bob)
                let keys = try await alice.createKeys(3)
                _ = try await alice.createSpace([keys[0]])
                let shared = try await alice.createSpace([keys[1]], with: [People.bob])
                let plan = try await world.erasure().plan(.user(People.alice))
                let store = try #require(faulting.withLock { $0 })
                let before = store.calls(of: .commit)
                store.inject(losesAnswer ? .loseAnswer(Crash()) : .fail(Crash()), at: call, of: .commit)
                let first = try? await world.erase(.user(People.alice))
                commits = store.calls(of: .commit) - before
                if first == nil {
                    #expect(try await bob.status(retrieving: keys[1].uri) == 200)
                    let certificate = try world.verified(try await world.erase(.user(People.alice)))
                    let isCertified = losesAnswer && call == 6
                    // When only the acknowledgement of the certificate was lost, the erasure was done.
                    #expect(certificate.counts == (isCertified ? ErasureCertificate.Counts() : plan), "\(call)")
                }
                #expect(try await bob.status(retrieving: keys[1].uri) == 200)
                #expect(world.ways(try await world.access(.space(shared.uri.objectID))) == ["member bob"])
                #expect(try await world.erasure().plan(.user(People.alice)) == ErasureCertificate.Counts())
            }
            if call > commits { break }
        }
        #expect(commits == 6, "session, unbound key, own space, shared key, shared space, certificate")
    }
}
