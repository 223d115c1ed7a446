import TestServers
import CoreLink
import Testing
import WireText

@testable import CloudCore

@Suite("Restart of the core")
struct RestartTests {
    @Test("everything that was acknowledged is there, and links and sockets come back by themselves")
    func restart() async throws {
        try await CoreBench.run { bench in
            let kms = try await bench.kms()
            let alice = try await bench.signIn(.alice)
            let bob = try await bench.signIn(.bob)
            let id = try await bench.createConversation(alice, with: [bob])
            let path = "/conversations/\(id)/activities"
            let file = try await bench.upload([1, 2, 3], as: alice)
            #expect(
                try await bench.send("POST", path, token: alice.token, json: TestTexts.post("before", tempID: "t"))
                    .status == 201)
            #expect(try await bench.send("POST", path, token: alice.token, json: TestTexts.share(file)).status == 201)
            let details = try await bench.send("GET", "/encryption/api/v1/kms", token: alice.token).text
            let conversation = try await bench.send("GET", "/conversations/\(id)", token: bob.token).text
            let activities = try await bench.send("GET", path, token: bob.token).text

            await bench.stopCore()
            let lost = try await kms.wait { $0.phase == .waiting }
            #expect(lost.lastError != nil)
            try await bench.start()
            try await kms.wait { $0.phase == .open }

            #expect(try await bench.send("GET", "/conversations/\(id)", token: bob.token).text == conversation)
            #expect(try await bench.send("GET", path, token: bob.token).text == activities)
            #expect(try await bench.send("GET", file, token: bob.token).body == [1, 2, 3])
            #expect(try await bench.send("GET", "/encryption/api/v1/kms", token: alice.token).text == details)
            let again = try await bench.send(
                "POST", path, token: alice.token, json: TestTexts.post("before", tempID: "t"))
            #expect(again.status == 200)
            let next = try await bench.send("POST", path, token: alice.token, json: TestTexts.post("after"))
            #expect(next.json["sequence"]?.integer == 3)

            let events = try await bench.events(of: alice)
            _ = try await bench.send(
                "POST", "/encryption/api/v1/kms/messages", token: alice.token, device: alice.device,
                json: #"{"kmsMessages":"q"}"#)
            #expect(try await events.nextMessages() == ["answer to q"])
            await events.close()
            await kms.stop()
        }
    }

    @Test("a restarted core shows the details document before any service has linked again")
    func detailsStay() async throws {
        try await CoreBench.run { bench in
            let alice = try await bench.signIn(.alice)
            let kms = try await bench.kms()
            let details = try await bench.send("GET", "/encryption/api/v1/kms", token: alice.token).text
            await kms.stop()
            await bench.stopCore()
            try await bench.start()
            let after = try await bench.send("GET", "/encryption/api/v1/kms", token: alice.token)
            #expect(after.status == 200 && after.text == details)
        }
    }

    @Test("what was in the core's database and files holds no text in clear")
    func noPlaintext() async throws {
        // The core gets ciphertexts only; this shows that it adds nothing readable of its own.
        try await CoreBench.run { bench in
            let kms = try await bench.kms()
            let alice = try await bench.signIn(.alice)
            let id = try await bench.createConversation(alice)
            let text = "the quick brown fox \(UUIDText.random())"
            _ = try await bench.send(
                "POST", "/conversations/\(id)/activities", token: alice.token, json: TestTexts.post(text))
            await kms.stop()
            await bench.stopCore()
            let database = try bench.folder.contents(of: "core.sqlite")
            let (hasText, hasToken) = (database.contains(text), database.contains(alice.token))
            #expect(!hasText && !hasToken)
            let findsStored = database.contains(TestTexts.content(text))
            #expect(findsStored, "the search finds what is stored, and all of it is in the one file")
        }
    }

    @Test("a graceful stop lets a request that waits for the KMS have its answer, and refuses what comes after")
    func drain() async throws {
        try await CoreBench.run { bench in
            let alice = try await bench.signIn(.alice)
            let events = try await bench.events(of: alice)
            let kms = try await bench.kms { _ in nil }
            async let created = bench.send("POST", "/conversations", token: alice.token, json: TestTexts.conversation())
            await kms.waitUntilTaken(1)
            async let stopped: Void = bench.stopCore()
            while bench.core?.services.relay.isForwarding ?? false { await Task.yield() }
            kms.answerHeld("late")
            let answer = try await created
            #expect(answer.status == 201 && answer.json["kmsMessage"]?.string == "late")
            #expect(await events.closeCode() == 1001)
            await stopped
            await #expect(throws: (any Error).self) { _ = try await bench.send("GET", "/devices", token: alice.token) }
            await kms.stop()
        }
    }
}
