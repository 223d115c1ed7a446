import KMSProtocol
import SignedPolicy
import Synchronization
import Testing
import WireText

@testable import KeyManagement

/// What the signed policy puts in the place of the configuration's values: at once, and without a restart.
@Suite("Values of the signed policy")
struct PolicyValuesTests {
    private func policy(_ members: String..., version: Int = 1) throws -> Policy {
        try TestPolicy.make(members.joined(separator: ", "), version: version)
    }

    @Test("a user's and a device's rate follow the policy; what was used up stays used up")
    func rates() async throws {
        let kms = try await TestKMS.start()
        let alice = try await TestClient.open(kms, People.alice)
        func ping() async throws -> Int { try await alice.ask("update", "/ping").status }
        for _ in 0..<20 { #expect(try await ping() == 200) }
        kms.inForce.take(try policy(#""limits": {"perUserPerMinute": 10}"#))
        #expect(try await ping() == 429)
        kms.clock.advance(seconds: 6)
        #expect(try await ping() == 200)
        #expect(try await ping() == 429)
        kms.inForce.take(try policy(#""limits": {"perUserPerMinute": 100, "perDevicePerMinute": 1}"#, version: 2))
        let answer = try await alice.ask("update", "/ping")
        #expect(answer.status == 429 && answer.reason?.contains("device") == true)
        kms.inForce.take(try policy(version: 3))
        #expect(try await ping() == 200, "what the policy does not name is the configuration's again")
    }

    @Test("a node that is behind another one's policy declines, and answers again with the same policy")
    func behind() async throws {
        let kms = try await TestKMS.start(signed: try policy())
        let alice = try await TestClient.open(kms, People.alice)
        let text = try alice.wrapped("update", "/ping")
        kms.inForce.learn(highest: 2)
        guard case .decline(let reason) = await kms.handler.reply(to: text, source: "s") else {
            Issue.record("a node that is behind must not answer")
            return
        }
        #expect(reason.contains("version 2"))
        kms.inForce.take(try policy(version: 2))
        guard case .answer = await kms.handler.reply(to: text, source: "s") else {
            Issue.record("it has the policy now")
            return
        }
    }

    @Test("a service has a rate of its own, for all its devices together")
    func serviceRate() async throws {
        let consent = TestPolicy.consent("svc")
        let kms = try await TestKMS.start(
            signed: try policy(consent, #""limits": {"perServicePerMinute": 3, "perUserPerMinute": 1000}"#),
            verifier: ClientTokens())
        let alice = try await TestClient.open(kms, People.alice)
        let service = try await TestClient.open(kms, "svc", token: ClientTokens.service("svc"))
        for _ in 0..<3 { #expect(try await service.ask("update", "/ping").status == 200) }
        let late = try await service.ask("update", "/ping")
        #expect(late.status == 429 && late.reason?.contains("service svc") == true)
        #expect(try await alice.ask("update", "/ping").status == 200)
    }

    @Test("a device opens as many sessions within an hour as the policy says")
    func openings() async throws {
        let kms = try await TestKMS.start(signed: try policy(#""limits": {"sessionOpeningsPerDevice": 2}"#))
        for _ in 0..<2 { _ = try await TestClient.open(kms, People.alice) }
        await #expect(throws: TestClient.Refused.self) { try await TestClient.open(kms, People.alice) }
        _ = try await TestClient.open(kms, People.bob)
        kms.clock.advance(seconds: 1800)
        _ = try await TestClient.open(kms, People.alice)
    }

    @Test("a member deletes as many spaces in a day as the policy says, none with 0")
    func massDeletion() async throws {
        let kms = try await TestKMS.start(signed: try policy(#""limits": {"massDeletion": 2}"#))
        let alice = try await TestClient.open(kms, People.alice)
        func delete() async throws -> KMSAnswer { try await alice.ask("delete", try await alice.createSpace([]).uri) }
        for _ in 0..<2 { #expect(try await delete().status == 200) }
        #expect(try await delete().status == 429)
        kms.clock.advance(seconds: 3600)
        #expect(try await delete().status == 429, "a day, not an hour")
        kms.clock.advance(seconds: 43_200)
        #expect(try await TestClient.open(kms, People.alice).ask("delete", alice.createSpace([]).uri).status == 200)
        kms.inForce.take(try policy(#""limits": {"massDeletion": 0}"#, version: 2))
        let bob = try await TestClient.open(kms, People.bob)
        #expect(try await bob.ask("delete", try await bob.createSpace([]).uri).status == 429)
    }

    @Test(
        "a space counts with its keys; one with more than the limit needs all of it; a refused deletion costs nothing")
    func massDeletionOfKeys() async throws {
        let kms = try await TestKMS.start(signed: try policy(#""limits": {"massDeletion": 5}"#))
        let alice = try await TestClient.open(kms, People.alice)
        let bob = try await TestClient.open(kms, People.bob)
        func space(_ keys: Int) async throws -> String {
            try await alice.createSpace(try await alice.createKeys(keys)).uri
        }
        let (small, next, large) = (try await space(2), try await space(2), try await space(9))
        for _ in 0..<9 { #expect(try await bob.ask("delete", small).status == 403) }
        #expect(try await alice.ask("delete", small).status == 200)
        #expect(try await alice.ask("delete", next).status == 429, "three of five are gone, and it needs three")
        #expect(kms.log.text.contains("unusual deletions \(People.alice) 5"))
        #expect(try await alice.ask("retrieve", next).status == 200)
        kms.clock.advance(seconds: 43_200)
        let later = try await TestClient.open(kms, People.alice)
        #expect(try await later.ask("delete", large).status == 429)
        kms.clock.advance(seconds: 43_200)
        #expect(try await TestClient.open(kms, People.alice).ask("delete", large).status == 200)
    }

    @Test(
        "spaces, refusals and devices past the policy's numbers are told once, each by its name, and nothing is refused"
    )
    func anomalies() async throws {
        let kms = try await TestKMS.start(now: Timestamp(seconds: 1_800_000_000))
        let alice = try await TestClient.open(kms, People.alice)
        var spaces: [String] = []
        for _ in 0..<4 { spaces.append(try await alice.createSpace(try await alice.createKeys(1)).uri) }
        let all = spaces
        func told(_ anomaly: Anomaly, _ user: String = People.alice) -> Int {
            kms.log.lines.withLock { $0.count { $0.text.hasPrefix("unusual \(anomaly) \(user)") } }
        }
        func readAll() async throws {
            for space in all { #expect(try await alice.ask("retrieve", space + "/keys").status == 200) }
        }
        try await readAll()
        #expect(told(.spaces) == 0, "without a policy nobody counts")
        kms.inForce.take(
            try policy(
                #""anomaly": {"spacesPerUserPerHour": 3, "refusalsPerUserPerHour": 2, "newDevicesPerUserPerDay": 1}"#))
        for _ in 0..<9 { #expect(try await alice.ask("retrieve", spaces[0] + "/keys").status == 200) }
        #expect(told(.spaces) == 0, "one space is one, however often")
        try await readAll()
        try await readAll()
        #expect(told(.spaces) == 1)
        #expect(kms.log.text.contains("unusual spaces \(People.alice) 4"))
        kms.clock.advance(seconds: 3600)
        try await readAll()
        #expect(told(.spaces) == 2)

        let bob = try await TestClient.open(kms, People.bob)
        for number in 1...4 {
            #expect(try await bob.ask("retrieve", spaces[0]).status == 403)
            #expect(told(.refusals, People.bob) == (number > 2 ? 1 : 0))
        }
        #expect(try await alice.ask("retrieve", spaces[0]).status == 200)
    }

    @Test("a device is new on the day on which it first comes")
    func devices() throws {
        var values = KMSPolicy()
        let unusual = UnusualBehaviour()
        let day = Timestamp(seconds: 1_800_000_000 / 86_400 * 86_400)
        func come(_ device: String, _ time: Timestamp, _ user: String = People.alice) -> Int? {
            unusual.noteDevice(device, of: user, values, now: time)?.count
        }
        #expect(come("a", day) == nil)
        values.newDevicesPerUserAndDay = 2
        for device in ["a", "b", "a", "b"] { #expect(come(device, day) == nil) }
        #expect(come("c", day, People.bob) == nil)
        #expect(come("c", day) == 3)
        #expect(come("d", day) == nil, "told once a day")
        let next = day.adding(seconds: 86_400)
        for device in ["a", "b", "c", "e", "f"] { #expect(come(device, next) == nil, "\(device)") }
        #expect(come("g", next) == 3)
    }

    @Test("what is remembered of behaviour stays within its bounds, and goes on counting")
    func bounds() {
        var values = KMSPolicy()
        (values.refusalsPerUserAndHour, values.newDevicesPerUserAndDay) = (1, 1)
        let unusual = UnusualBehaviour(capacity: 10)
        let now = Timestamp(seconds: 1_800_000_000)
        for user in 0..<100 {
            _ = unusual.noteRefusal(user: "\(user)", values, now: now)
            _ = unusual.noteDevice("d", of: "\(user)", values, now: now)
        }
        #expect(unusual.noteRefusal(user: "x", values, now: now) == nil)
        #expect(unusual.noteRefusal(user: "x", values, now: now)?.count == 2)
    }

    @Test(
        "with a policy spaces are public only if it says so, whatever the configuration says, and existing ones close")
    func everybody() async throws {
        let kms = try await TestKMS.start()
        let alice = try await TestClient.open(kms, People.alice)
        let bob = try await TestClient.open(kms, People.bob)
        let keys = try await alice.createKeys(1)
        let space = try await alice.createSpace(keys)
        #expect(try await alice.add(["/public"], to: space.uri).status == 201)
        #expect(try await bob.status(retrieving: keys[0].uri) == 200)
        kms.inForce.take(try policy())
        #expect(try await bob.status(retrieving: keys[0].uri) == 403)
        #expect(try await alice.add(["/public"], to: try await alice.createSpace([]).uri).status == 403)
        kms.inForce.take(try policy(#""publicAuthorizations": true"#, version: 2))
        #expect(try await bob.status(retrieving: keys[0].uri) == 200)
    }

    @Test("moderators have their rights until the policy takes them away")
    func moderation() async throws {
        let kms = try await TestKMS.start()
        let alice = try await TestClient.open(kms, People.alice)
        let bob = try await TestClient.open(kms, People.bob)
        let space = try await alice.createSpace([], with: [People.bob])
        let role = try await alice.ask("create", "/authorizations") {
            $0.member("resourceUri", space.uri)
            $0.member("userIds", [People.alice])
            $0.member("roleUri", "kms://\(TestKMS.host)/roles/moderator")
        }
        #expect(role.status == 201)
        #expect(try await bob.add([People.carol], to: space.uri).status == 403)
        kms.inForce.take(try policy())
        #expect(try await bob.add([People.carol], to: space.uri).status == 403)
        kms.inForce.take(try policy(#""moderation": false"#, version: 2))
        #expect(try await bob.add([People.carol], to: space.uri).status == 201)
    }

    @Test("deleted spaces and unusual reads follow the policy as well")
    func times() throws {
        var standing = KMSPolicy()
        standing.tombstoneLife = 1
        standing.keyReadsPerUserAndHour = 2
        let inForce = PolicyInForce(standing)
        #expect(inForce.current.values.tombstoneLife == 1)
        inForce.take(
            try policy(
                #""retention": {"tombstoneDays": 5, "intervalDays": 6, "auditDays": 7}"#,
                #""anomaly": {"keyReadsPerUserPerHour": 7}"#))
        let values = inForce.current.values
        #expect(values.auditLife == Int64(7 * 86_400))
        #expect(values.tombstoneLife == 5 * 86_400 && values.intervalLife == 6 * 86_400)
        #expect(values.keyReadsPerUserAndHour == 7)
        #expect(inForce.current === inForce.current, "one moment is one value")
    }

    @Test("another organisation's space is read through a client that the policy takes, and no other")
    func foreign() async throws {
        let world = try await FederationWorld.make()
        let (_, key, space) = try await world.space()
        let bob = try await TestClient.open(world.b, People.bob)
        #expect(try await bob.status(retrieving: key.uri) == 200)
        world.b.inForce.take(try policy(#""personalClients": ["hds-desktop"]"#))
        for uri in [key.uri, space.uri, "\(space.uri)/keys"] {
            let answer = try await bob.ask("retrieve", uri)
            #expect(answer.status == 403 && answer.reason?.contains("(unknown-client)") == true, "\(uri)")
        }
    }
}
