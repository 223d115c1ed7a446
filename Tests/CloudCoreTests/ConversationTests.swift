import TestServers
import Testing
import WireText

@testable import CloudCore

@Suite("Conversations over HTTP")
struct ConversationTests {
    @Test("a conversation is created with the KMS's answer, and everybody in it sees it")
    func create() async throws {
        try await CoreBench.run { bench in
            let kms = try await bench.kms()
            let alice = try await bench.signIn(.alice)
            let bob = try await bench.signIn(.bob)
            let created = try await bench.send(
                "POST", "/conversations", token: alice.token,
                json: TestTexts.conversation(with: [bob.id, bob.id.uppercased(), alice.id]))
            #expect(created.status == 201, "\(created.text)")
            let json = created.json
            let id = try #require(json["id"]?.string)
            #expect(json["url"]?.string == "\(bench.url)/conversations/\(id)")
            #expect(json["displayName"]?.string == TestTexts.content("name"))
            #expect(json["defaultActivityEncryptionKeyUrl"]?.string == TestTexts.key)
            #expect(json["kmsResourceObjectUrl"]?.isNull == true)
            #expect(json["participants"]?.strings == [alice.id, bob.id])
            #expect(json["published"]?.string.flatMap { Timestamp(iso8601: $0) } != nil)
            #expect(json["kmsMessage"]?.string == "answer to create resource")
            #expect(kms.taken == ["create resource"])

            let named = try await bench.send(
                "PUT", "/conversations/\(id)/resource", token: alice.token,
                json: #"{"kmsResourceObjectUrl":"\#(TestTexts.resource)"}"#)
            #expect(named.status == 200 && named.json["kmsResourceObjectUrl"]?.string == TestTexts.resource)
            let seen = try await bench.send("GET", "/conversations/\(id)", token: bob.token)
            #expect(seen.status == 200 && seen.json["kmsResourceObjectUrl"]?.string == TestTexts.resource)
            #expect(seen.json["kmsMessage"] == nil)
            for user in [alice, bob] {
                let list = try await bench.send("GET", "/conversations", token: user.token)
                #expect(list.json["items"]?.elements?.map { $0["id"]?.string } == [id])
            }
            for (body, token, status) in [
                (#"{"kmsResourceObjectUrl":"\#(TestTexts.resource.dropLast())f"}"#, alice.token, 409),
                (#"{"kmsResourceObjectUrl":"\#(TestTexts.key)"}"#, alice.token, 400),
                (
                    #"{"kmsResourceObjectUrl":"kms://kms.evil.example.com/resources/\#(TestTexts.resource.suffix(36))"}"#,
                    alice.token, 400
                ),
                (#"{}"#, alice.token, 400),
            ] {
                let answer = try await bench.send("PUT", "/conversations/\(id)/resource", token: token, json: body)
                #expect(answer.status == status, "\(body)")
            }
            await kms.stop()
        }
    }

    @Test("a KMS that does not answer in 20 s is 504 and nothing is kept")
    func noAnswer() async throws {
        let clock = HandClock()
        try await CoreBench.run(clock: { clock.now }) { bench in
            let silent = try await bench.kms { _ in nil }
            let alice = try await bench.signIn(.alice)
            let bob = try await bench.signIn(.bob)
            async let created = bench.send(
                "POST", "/conversations", token: alice.token, json: TestTexts.conversation(with: [bob.id], tempID: "t"))
            await silent.waitUntilTaken(1)
            clock.advance(20_000)
            #expect(try await created.status == 504)
            #expect(
                try await bench.send("GET", "/conversations", token: alice.token).json["items"]?.elements?.isEmpty
                    == true)
            await silent.stop()

            let kms = try await bench.kms(node: "n2")
            let id = try await bench.createConversation(alice, with: [bob], tempID: "t")
            await kms.stop()
            let mute = try await bench.kms(node: "n3") { _ in nil }
            async let removed = bench.send(
                "POST", "/conversations/\(id)/activities", token: alice.token, json: TestTexts.member("leave", bob.id))
            await mute.waitUntilTaken(1)
            clock.advance(20_000)
            #expect(try await removed.status == 504)
            let seen = try await bench.send("GET", "/conversations/\(id)", token: bob.token)
            #expect(seen.json["participants"]?.strings == [alice.id, bob.id])
            #expect(seen.json["lastSequence"]?.integer == 0)
            await mute.stop()
        }
    }

    @Test("post, share, add, updateKey and leave are stored in order and pushed to all who take part")
    func story() async throws {
        try await CoreBench.run { bench in
            let kms = try await bench.kms()
            let alice = try await bench.signIn(.alice)
            let bob = try await bench.signIn(.bob)
            let (hers, his) = (try await bench.events(of: alice), try await bench.events(of: bob))
            let id = try await bench.createConversation(alice)
            let path = "/conversations/\(id)/activities"
            let file = try await bench.upload([1, 2, 3], as: alice)

            let steps: [(TestUser, String, kmsAnswer: String?)] = [
                (alice, TestTexts.post("hello", tempID: "t1"), nil),
                (alice, TestTexts.member("add", bob.id), "answer to member step"),
                (bob, TestTexts.post("hi"), nil), (alice, TestTexts.share(file), nil),
                (alice, TestTexts.member("leave", bob.id), "answer to member step"),
                (alice, TestTexts.updateKey(), "answer to bind key"),
            ]
            for (position, (user, body, kmsAnswer)) in steps.enumerated() {
                let stored = try await bench.send("POST", path, token: user.token, json: body)
                #expect(stored.status == 201, "\(stored.text)")
                #expect(stored.json["sequence"]?.integer == Int64(position + 1))
                #expect(stored.json["kmsMessage"]?.string == kmsAnswer)
                #expect(stored.json["actor"]?.string == user.id)
                #expect(stored.json["target"]?["id"]?.string == id)
            }
            for position in 1...6 {
                let activity = try await hers.nextActivity()
                #expect(activity["sequence"]?.integer == Int64(position))
                #expect(activity["kmsMessage"] == nil, "the wrapped answer is for its author alone")
            }
            for position in 2...5 { #expect(try await his.nextActivity()["sequence"]?.integer == Int64(position)) }
            try await his.send(#"{"id":"p","type":"ping"}"#)
            #expect(try await his.next()["type"]?.string == "pong", "after his leaving there is nothing for him")

            let all = try await bench.send("GET", path + "?since=0&limit=500", token: alice.token)
            #expect(
                all.json["items"]?.elements?.map { $0["verb"]?.string } == [
                    "post", "add", "post", "share", "leave", "updateKey",
                ])
            #expect(all.json["next"]?.integer == 6)
            #expect(all.json["items"]?.elements?.allSatisfy { $0["kmsMessage"] == nil } == true)
            #expect(all.json["items"]?.elements?.first?["object"]?["displayName"]?.string == TestTexts.content("hello"))
            let some = try await bench.send("GET", path + "?since=2&limit=2", token: alice.token)
            #expect(some.json["items"]?.elements?.map { $0["sequence"]?.integer } == [3, 4])
            #expect(some.json["next"]?.integer == 4)
            let conversation = try await bench.send("GET", "/conversations/\(id)", token: alice.token)
            #expect(conversation.json["defaultActivityEncryptionKeyUrl"]?.string == TestTexts.otherKey)
            #expect(conversation.json["encryptionKeyUrl"]?.string == TestTexts.key)
            #expect(conversation.json["participants"]?.strings == [alice.id])

            for (method, route, body) in [
                ("GET", "/conversations/\(id)", ""), ("GET", path, ""), ("POST", path, TestTexts.post("again")),
                ("POST", path, TestTexts.member("add", bob.id)),
            ] {
                let refused = try await bench.send(method, route, token: bob.token, json: body)
                #expect(refused.status == 403, "\(method) \(route)")
            }
            #expect(try await bench.send("GET", file, token: bob.token).status == 404)
            await hers.close()
            await his.close()
            await kms.stop()
        }
    }

    @Test("the same clientTempId again is 200 with the first activity, and asks the KMS nothing")
    func duplicates() async throws {
        try await CoreBench.run { bench in
            let kms = try await bench.kms()
            let alice = try await bench.signIn(.alice)
            let id = try await bench.createConversation(alice, tempID: "c1")
            #expect(try await bench.createConversation(alice, tempID: "c1", status: 200) == id)
            let path = "/conversations/\(id)/activities"
            let first = try await bench.send(
                "POST", path, token: alice.token, json: TestTexts.post("one", tempID: "t1"))
            let again = try await bench.send(
                "POST", path, token: alice.token, json: TestTexts.post("two", tempID: "t1"))
            #expect(first.status == 201 && again.status == 200 && first.text == again.text)
            let key = TestTexts.updateKey().dropLast() + #","clientTempId":"t2"}"#
            let bound = try await bench.send("POST", path, token: alice.token, json: String(key))
            let boundAgain = try await bench.send("POST", path, token: alice.token, json: String(key))
            #expect(bound.status == 201 && boundAgain.status == 200)
            #expect(boundAgain.json["kmsMessage"]?.string == "answer to bind key")
            #expect(kms.taken == ["create resource", "bind key"])
            await kms.stop()
        }
    }

    @Test("input that is missing, malformed, too long, too deep or not encrypted gets a clear 400 and stores nothing")
    func malformed() async throws {
        try await CoreBench.run { bench in
            let kms = try await bench.kms()
            let alice = try await bench.signIn(.alice)
            let id = try await bench.createConversation(alice)
            let path = "/conversations/\(id)/activities"
            let taken = kms.taken
            let key = TestTexts.key
            let jwe = TestTexts.content("x")
            let bad = [
                "", "x", "[]", "{}", #"{"verb":"destroy"}"#, #"{"verb":7}"#, #"{"verb":"post"}"#,
                #"{"verb":"post","object":{"displayName":"\#(jwe)"}}"#,
                #"{"verb":"post","object":[],"encryptionKeyUrl":"\#(key)"}"#,
                #"{"verb":"post","object":{},"encryptionKeyUrl":"\#(key)"}"#,
                #"{"verb":"post","object":{"displayName":"plaintext"},"encryptionKeyUrl":"\#(key)"}"#,
                #"{"verb":"post","object":{"displayName":"\#(jwe)","content":"<b>plain</b>"},"encryptionKeyUrl":"\#(key)"}"#,
                #"{"verb":"post","object":{"displayName":"\#(jwe)"},"encryptionKeyUrl":"https://x/keys/1"}"#,
                #"{"verb":"post","object":{"displayName":"\#(jwe)"},"encryptionKeyUrl":null}"#,
                #"{"verb":"post","object":{"displayName":7},"encryptionKeyUrl":"\#(key)"}"#,
                #"{"verb":"post","object":{"displayName":"\#(jwe)"},"encryptionKeyUrl":"\#(key)","clientTempId":9}"#,
                #"{"verb":"post","object":{"displayName":"\#(jwe)"},"encryptionKeyUrl":"\#(key)","kmsMessage":""}"#,
                #"{"verb":"post","object":{"displayName":"\#(TestTexts.content(String(repeating: "x", count: 200_000)))"},"encryptionKeyUrl":"\#(key)"}"#,
                #"{"verb":"share","object":{"files":[]},"encryptionKeyUrl":"\#(key)"}"#,
                #"{"verb":"share","object":{"files":[7]},"encryptionKeyUrl":"\#(key)"}"#,
                TestTexts.share("https://elsewhere.example/files/\(UUIDText.random())"),
                TestTexts.share("\(bench.url)/files/../x"),
                TestTexts.member("add", "not a uuid"), TestTexts.member("add", alice.id, message: nil),
                TestTexts.member("leave", alice.id, message: nil), #"{"verb":"add","kmsMessage":"m"}"#,
                #"{"verb":"updateKey","encryptionKeyUrl":"\#(key)"}"#, #"{"verb":"updateKey","kmsMessage":"m"}"#,
                #"{"verb":"post","verb":"post","object":{"displayName":"\#(jwe)"},"encryptionKeyUrl":"\#(key)"}"#,
                #"{"verb":"post","object":\#(String(repeating: #"{"a":"#, count: 1_000))1\#(String(repeating: "}", count: 1_000))}"#,
                String(repeating: "{\"a\":", count: 100_000),
            ]
            for body in bad {
                let answer = try await bench.send("POST", path, token: alice.token, json: body)
                #expect(answer.status == 400, "\(answer.status) for \(body.prefix(100)): \(answer.text)")
                #expect(answer.json["errors"]?.elements?.count == 1)
            }
            let huge = #"{"verb":"post","object":{"displayName":"\#(String(repeating: "x", count: 10_000_000))"}}"#
            #expect(try await bench.send("POST", path, token: alice.token, json: huge).status == 413)
            let long = #"{"verb":"post","x":"\#(String(repeating: "x", count: 1_000_000))"}"#
            #expect(try await bench.send("POST", path, token: alice.token, json: long).status == 413)
            for body in [
                #"{"displayName":"plain","encryptionKeyUrl":"\#(key)","kmsMessage":"m","participants":[]}"#,
                #"{"displayName":"\#(jwe)","encryptionKeyUrl":"\#(key)","kmsMessage":"m"}"#,
                #"{"displayName":"\#(jwe)","encryptionKeyUrl":"\#(key)","participants":[]}"#,
                #"{"displayName":"\#(jwe)","encryptionKeyUrl":"\#(key)","kmsMessage":"m","participants":["bob"]}"#,
                #"{"displayName":"\#(jwe)","kmsMessage":"m","participants":[]}"#,
            ] {
                #expect(
                    try await bench.send("POST", "/conversations", token: alice.token, json: body).status == 400,
                    "\(body)")
            }
            let unknown = TestTexts.conversation(with: [UUIDText.random()])
            #expect(try await bench.send("POST", "/conversations", token: alice.token, json: unknown).status == 404)
            for query in ["since=-1", "since=x", "limit=0", "limit=501", "limit=x", "since=99999999999999999999"] {
                #expect(try await bench.send("GET", path + "?\(query)", token: alice.token).status == 400, "\(query)")
            }
            for odd in ["x", "..", "%2e%2e", "\(id)x", "\(id)%00"] {
                #expect(
                    try await bench.send("GET", "/conversations/\(odd)", token: alice.token).status == 404, "\(odd)")
            }
            #expect(try await bench.send("GET", path, token: alice.token).json["items"]?.elements?.isEmpty == true)
            #expect(kms.taken == taken, "nothing malformed reaches the KMS")
            await kms.stop()
        }
    }

    @Test("members that are not known are ignored and not kept")
    func unknownMembers() async throws {
        try await CoreBench.run { bench in
            let kms = try await bench.kms()
            let alice = try await bench.signIn(.alice)
            let id = try await bench.createConversation(alice)
            let body = """
                {"later":{"deep":[1,2]},"verb":"post","encryptionKeyUrl":"\(TestTexts.key)","actor":"somebody else",\
                "object":{"displayName":"\(TestTexts.content("x"))","secret":"plaintext","objectType":"person"}}
                """
            let stored = try await bench.send("POST", "/conversations/\(id)/activities", token: alice.token, json: body)
            #expect(stored.status == 201)
            #expect(
                stored.json["actor"]?.string == alice.id && stored.json["object"]?["objectType"]?.string == "comment")
            #expect(!stored.text.contains("plaintext") && !stored.text.contains("later"))
            await kms.stop()
        }
    }

    @Test("devices and users are listed for their own organisation")
    func people() async throws {
        try await CoreBench.run { bench in
            let alice = try await bench.signIn(.alice)
            let bob = try await bench.signIn(.bob)
            let found = try await bench.send("GET", "/directory/users?email=BOB@acme.example.com", token: alice.token)
            #expect(found.status == 200 && found.json["id"]?.string == bob.id)
            #expect(found.json["name"]?.string == "Name of bob@acme.example.com")
            let byID = try await bench.send("GET", "/directory/users?id=\(bob.id)", token: alice.token)
            #expect(byID.json["email"]?.string == "bob@acme.example.com")
            #expect(try await bench.send("GET", "/directory/users", token: alice.token).status == 400)
            #expect(
                try await bench.send("GET", "/directory/users?email=x@acme.example.com", token: alice.token).status
                    == 404)
            let devices = try await bench.send("GET", "/devices", token: alice.token)
            #expect(devices.json["items"]?.elements?.map { $0["url"]?.string } == [alice.device])
            #expect(devices.json["items"]?.elements?[0]["userId"]?.string == alice.id)
            for body in ["{}", #"{"name":"","deviceType":"t"}"#, #"{"name":"n"}"#, #"{"name":7,"deviceType":"t"}"#] {
                #expect(
                    try await bench.send("POST", "/devices", token: alice.token, json: body).status == 400, "\(body)")
            }
            #expect(try await bench.send("DELETE", bob.device, token: alice.token).status == 404)
            #expect(try await bench.send("DELETE", alice.device, token: alice.token).status == 204)
            #expect(try await bench.send("DELETE", alice.device, token: alice.token).status == 404)
        }
    }
}

extension TestEvents {
    /// The activity of the next event, acknowledged.
    func nextActivity() async throws -> JSONNode {
        let frame = try await next()
        try await acknowledge(frame)
        guard let activity = frame["data"]?["activity"] else { throw Ended(closure: nil) }
        return activity
    }
}
