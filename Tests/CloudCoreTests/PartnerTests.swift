import CoreLink
import GRDB
import LinkProtocol
import TestServers
import Testing
import WireText

@testable import CloudCore

/// Organisations that both name each other as partners: acme has the conversation, other has guests.
@Suite("Partner organisations at the core")
struct PartnerTests {
    private static let agreed = ["acme": ["other"], "other": ["acme"]]
    /// A user of other with the id of acme's Alice.
    private static let double = TestPerson(id: TestPerson.alice.id, email: "double@other.example.com")

    private func status(
        _ bench: CoreBench, _ user: TestUser, _ body: String, in conversation: String
    ) async throws -> Int {
        try await bench.send("POST", "/conversations/\(conversation)/activities", token: user.token, json: body).status
    }

    @Test("their users find each other by address and id; one-sided naming, or none, shows nobody")
    func directory() async throws {
        for (partners, found) in [
            (Self.agreed, 200), (["acme": ["other"]], 404), (["other": ["acme"]], 404), ([:], 404),
        ] {
            try await CoreBench.run(partners: partners) { bench in
                let alice = try await bench.signIn(.alice)
                let eve = try await bench.signIn(.eve, at: bench.foreign)
                for query in ["email=eve@other.example.com", "email=EVE@other.example.com", "id=\(eve.id)"] {
                    let answer = try await bench.send("GET", "/directory/users?\(query)", token: alice.token)
                    #expect(answer.status == found, "\(partners) \(query)")
                }
                let back = try await bench.send(
                    "GET", "/directory/users?email=alice@acme.example.com", token: eve.token)
                #expect(back.status == found)
            }
        }
    }

    @Test("a partner's issuer can not make an address of another domain known")
    func foreignAddress() async throws {
        try await CoreBench.run(partners: Self.agreed) { bench in
            let alice = try await bench.signIn(.alice)
            let impostor = TestPerson(id: UUIDText.random(), email: "bob@acme.example.com")
            _ = try await bench.signIn(impostor, at: bench.foreign)
            let answer = try await bench.send(
                "GET", "/directory/users?email=bob@acme.example.com", token: alice.token)
            #expect(answer.status == 404)
        }
    }

    @Test(
        "a guest sees, is told of and writes in the conversation; who takes part and the key are not a guest's affair")
    func guest() async throws {
        try await CoreBench.run(partners: Self.agreed) { bench in
            let kms = try await bench.kms()
            let alice = try await bench.signIn(.alice)
            let bob = try await bench.signIn(.bob)
            let eve = try await bench.signIn(.eve, at: bench.foreign)
            let id = try await bench.createConversation(alice, with: [bob])
            #expect(try await bench.send("GET", "/conversations/\(id)", token: eve.token).status == 404)
            #expect(try await status(bench, eve, TestTexts.post("early"), in: id) == 404)
            #expect(try await status(bench, alice, TestTexts.member("add", eve.id), in: id) == 201)
            let seen = try await bench.send("GET", "/conversations/\(id)", token: eve.token)
            #expect(seen.json["participants"]?.strings == [alice.id, bob.id, eve.id])
            let list = try await bench.send("GET", "/conversations", token: eve.token)
            #expect(list.json["items"]?.elements?.map { $0["id"]?.string } == [id])

            let events = try await bench.events(of: eve)
            #expect(try await status(bench, alice, TestTexts.post("hello"), in: id) == 201)
            let pushed = try await events.next()
            #expect(pushed["data"]?["activity"]?["actor"]?.string == alice.id)
            #expect(try await status(bench, eve, TestTexts.post("an answer"), in: id) == 201)
            let page = try await bench.send("GET", "/conversations/\(id)/activities", token: eve.token)
            #expect(page.json["items"]?.elements?.count == 3)

            // Her own KMS would be asked, and has no say here; it is not even linked.
            for body in [
                TestTexts.member("add", bob.id), TestTexts.member("leave", alice.id), TestTexts.updateKey(),
            ] {
                #expect(try await status(bench, eve, body, in: id) == 403, "\(body)")
            }
            await events.close()
            #expect(try await status(bench, alice, TestTexts.member("leave", eve.id), in: id) == 201)
            #expect(try await bench.send("GET", "/conversations/\(id)", token: eve.token).status == 403)
            await kms.stop()
        }
    }

    @Test("a conversation can be made with a guest; without the agreement the guest is nobody")
    func made() async throws {
        for (partners, expected) in [(Self.agreed, 201), ([:], 404)] {
            try await CoreBench.run(partners: partners) { bench in
                let kms = try await bench.kms()
                let alice = try await bench.signIn(.alice)
                let eve = try await bench.signIn(.eve, at: bench.foreign)
                let answer = try await bench.send(
                    "POST", "/conversations", token: alice.token, json: TestTexts.conversation(with: [eve.id]))
                #expect(answer.status == expected)
                let list = try await bench.send("GET", "/conversations", token: eve.token)
                #expect(list.json["items"]?.elements?.count == (expected == 201 ? 1 : 0))
                await kms.stop()
            }
        }
    }

    @Test("the same id in another organisation is another user: not in the conversation, and not addable to it")
    func sameID() async throws {
        try await CoreBench.run(partners: Self.agreed) { bench in
            let kms = try await bench.kms()
            let alice = try await bench.signIn(.alice)
            let bob = try await bench.signIn(.bob)
            let double = try await bench.signIn(Self.double, at: bench.foreign)
            let id = try await bench.createConversation(bob, with: [alice])
            #expect(try await bench.send("GET", "/conversations/\(id)", token: double.token).status == 404)
            let url = try await bench.upload([1, 2, 3], as: bob)
            #expect(try await status(bench, bob, TestTexts.share(url), in: id) == 201)
            #expect(try await bench.send("GET", url, token: double.token).status == 404)
            #expect(try await bench.send("GET", url, token: alice.token).status == 200)
            // The id is alice's own, so it is she who is meant.
            #expect(try await status(bench, bob, TestTexts.member("add", double.id), in: id) == 201)
            #expect(try await bench.send("GET", "/conversations/\(id)", token: double.token).status == 404)
            let events = try await bench.events(of: double)
            #expect(try await status(bench, bob, TestTexts.post("not for her double"), in: id) == 201)
            let mine = try await bench.events(of: alice)
            #expect(try await status(bench, bob, TestTexts.post("for her"), in: id) == 201)
            #expect(try await mine.next()["data"]?["activity"] != nil)
            // What the double is sent next is the answer to a ping, with nothing before it.
            try await events.send(#"{"id":"p1","type":"ping"}"#)
            #expect(try await events.next()["type"]?.string == "pong")
            await kms.stop()
        }
    }

    @Test("a guest reads the files that were shared, and shares own ones")
    func files() async throws {
        try await CoreBench.run(partners: Self.agreed) { bench in
            let kms = try await bench.kms()
            let alice = try await bench.signIn(.alice)
            let eve = try await bench.signIn(.eve, at: bench.foreign)
            let id = try await bench.createConversation(alice, with: [eve])
            let hers = try await bench.upload([7], as: eve)
            let url = try await bench.upload([1, 2, 3], as: alice)
            #expect(try await bench.send("GET", url, token: eve.token).status == 404)
            #expect(try await status(bench, eve, TestTexts.share(url), in: id) == 404, "it is not hers to share")
            #expect(try await status(bench, alice, TestTexts.share(url), in: id) == 201)
            #expect(try await bench.send("GET", url, token: eve.token).body == [1, 2, 3])
            #expect(try await status(bench, eve, TestTexts.share(hers), in: id) == 201)
            #expect(try await bench.send("GET", hers, token: alice.token).body == [7])
            await kms.stop()
        }
    }

    @Test("the KMS of one partner calls that of the other, and nobody else's")
    func calls() async throws {
        for (partners, mayCall) in [(Self.agreed, true), (["acme": ["other"]], false)] {
            try await CoreBench.run(partners: partners) { bench in
                let acme = try await bench.kms { "\($0) and back" }
                let other = TestKMSLink(
                    bench.linkConfiguration(
                        node: "o1", organisation: "other", destination: CoreBench.foreignCluster,
                        token: { [foreign = bench.foreign] in try foreign.serviceToken() })
                ) { _ in nil }
                try await other.wait { $0.phase == .open }
                let outcome = await other.link.call(
                    RelayBench.destination, text: Array("over".utf8), within: .seconds(60))
                #expect(outcome == (mayCall ? .answered(Array("over and back".utf8)) : .refused(.unknownDestination)))
                #expect(acme.taken == (mayCall ? ["over"] : []))
                if mayCall {
                    await acme.stop()
                    // The core may not have seen yet that the link is gone: what it gave to it has no answer.
                    var last = LinkCallOutcome.refused(.timeout)
                    for _ in 0..<10 where last == .refused(.timeout) {
                        last = await other.link.call(RelayBench.destination, text: [1], within: .seconds(60))
                    }
                    #expect(last == .refused(.notLinked))
                    #expect(
                        await other.link.call("kms://kms.nowhere.example", text: [1], within: .seconds(60))
                            == .refused(.unknownDestination))
                }
                await acme.stop()
                await other.stop()
            }
        }
    }

    @Test("a database of the first release keeps its participants, each at home where the conversation is")
    func migration() async throws {
        let folder = TemporaryFolder()
        let path = folder.path + "/core.sqlite"
        do {
            let queue = try DatabaseQueue(path: path)
            var migrator = DatabaseMigrator()
            migrator.registerMigration("1") { try $0.execute(sql: CloudStore.schema) }
            try migrator.migrate(queue)
            try await queue.write { db in
                try db.execute(
                    sql: """
                        INSERT INTO user VALUES ('acme', 'u1', 'a@acme.example.com', 'A', 0);
                        INSERT INTO user VALUES ('acme', 'u2', 'b@acme.example.com', 'B', 0);
                        INSERT INTO conversation VALUES
                            ('c1', 'acme', 'u1', 'name', 'key', 'key', NULL, 0, 0, NULL, NULL);
                        INSERT INTO participant VALUES ('c1', 'u1', 0, 0, NULL), ('c1', 'u2', 1, 0, 5);
                        """)
            }
            try queue.close()
        }
        let store = try CloudStore(path: path)
        let first = UserKey(organisation: "acme", user: "u1")
        #expect(try await store.conversation("c1", for: first).members == [first])
        #expect(try await store.conversations(of: first).map(\.id) == ["c1"])
        #expect(try await store.conversations(of: UserKey(organisation: "other", user: "u1")).isEmpty)
        await #expect(throws: Refusal(.forbidden, "you have left this conversation")) {
            try await store.conversation("c1", for: UserKey(organisation: "acme", user: "u2"))
        }
        try store.close()
    }
}
