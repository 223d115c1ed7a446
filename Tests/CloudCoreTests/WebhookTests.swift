import Cryptography
import HTTPServer
import Hummingbird
import NIOCore
import SecretMemory
import Synchronization
import TLSChannel
import TestServers
import Testing
import WireText

@testable import CloudCore

@Suite("Webhooks")
struct WebhookTests {
    @Test("a delivery has ids, time, actor and verb, is signed, and nothing that was encrypted is in it")
    func metadataOnly() async throws {
        let receiver = try await Receiver()
        try await CoreBench.run(webhooks: Receiver.settings(allowsPrivate: true)) { bench in
            let kms = try await bench.kms()
            let alice = try await bench.signIn(.alice)
            let bob = try await bench.signIn(.bob)
            let id = try await bench.createConversation(alice, with: [bob])
            let made = try await bench.send(
                "POST", "/webhooks", token: bob.token, json: #"{"url":"\#(receiver.url)","verbs":["post","leave"]}"#)
            #expect(made.status == 201, "\(made.text)")
            let secret = try #require(made.json["secret"]?.string)
            let posted = try await bench.send(
                "POST", "/conversations/\(id)/activities", token: alice.token, json: TestTexts.post("hush"))
            #expect(posted.status == 201)
            let delivery = try await receiver.next()
            let json = try JSONDocument(text: delivery.body).root
            #expect(json["event"]?.string == "activity.post")
            #expect(json["data"]?["conversationId"]?.string == id)
            #expect(json["data"]?["activityId"]?.string == posted.json["id"]?.string)
            #expect(json["data"]?["actorId"]?.string == alice.id)
            #expect(json["data"]?["published"]?.string == posted.json["published"]?.string)
            #expect(!delivery.body.contains("eyJ") && !delivery.body.contains("kms://"))
            #expect(!delivery.body.contains("alice@"))
            let parts = delivery.signature.split(separator: ",").map { $0.split(separator: "=")[1] }
            let tag = HMACSHA256.code(
                for: Array("\(parts[0]).\(delivery.body)".utf8), key: SymmetricKey(copying: Array(secret.utf8)))
            #expect(Hexadecimal.encode(tag) == String(parts[1]))

            let listed = try await bench.send("GET", "/webhooks", token: bob.token)
            #expect(listed.json["items"]?.elements?.count == 1 && !listed.text.contains(secret))
            #expect(try await bench.send("GET", "/webhooks", token: alice.token).json["items"]?.elements?.count == 0)
            await kms.stop()
        }
        await receiver.stop()
    }

    @Test("who has left a conversation is told nothing more of it")
    func left() async throws {
        let receiver = try await Receiver()
        try await CoreBench.run(webhooks: Receiver.settings(allowsPrivate: true)) { bench in
            let kms = try await bench.kms()
            let alice = try await bench.signIn(.alice)
            let bob = try await bench.signIn(.bob)
            let id = try await bench.createConversation(alice, with: [bob])
            let path = "/conversations/\(id)/activities"
            for user in [alice, bob] {
                let answer = try await bench.send(
                    "POST", "/webhooks", token: user.token,
                    json: #"{"url":"\#(receiver.url)?\#(user.id)","conversationId":"\#(id)"}"#)
                #expect(answer.status == 201, "\(answer.text)")
            }
            _ = try await bench.send("POST", path, token: alice.token, json: TestTexts.member("leave", bob.id))
            _ = try await bench.send("POST", path, token: alice.token, json: TestTexts.post("after"))
            // The leaver still sees the leave, as on the event socket; Alice sees both.
            var seen: [String: [String]] = [:]
            for _ in 0..<3 {
                let delivery = try await receiver.next()
                seen[delivery.query, default: []].append(
                    try JSONDocument(text: delivery.body).root["event"]?.string ?? "")
            }
            #expect(seen[alice.id] == ["activity.leave", "activity.post"])
            #expect(seen[bob.id] == ["activity.leave"])
            let stranger = try await bench.send(
                "POST", "/webhooks", token: bob.token, json: #"{"url":"\#(receiver.url)","conversationId":"\#(id)"}"#)
            #expect(stranger.status == 404 || stranger.status == 403)
            await kms.stop()
        }
        await receiver.stop()
    }

    @Test("a failed delivery comes again after a pause, in its order, and after too many the webhook is off")
    func retries() async throws {
        let receiver = try await Receiver(statuses: [500, 503])
        try await CoreBench.run(webhooks: Receiver.settings(allowsPrivate: true)) { bench in
            let kms = try await bench.kms()
            let alice = try await bench.signIn(.alice, expiresIn: 200_000)
            let id = try await bench.createConversation(alice)
            let path = "/conversations/\(id)/activities"
            let made = try await bench.send(
                "POST", "/webhooks", token: alice.token, json: #"{"url":"\#(receiver.url)"}"#)
            let hook = try #require(made.json["id"]?.string)
            for text in ["one", "two"] {
                _ = try await bench.send("POST", path, token: alice.token, json: TestTexts.post(text))
            }
            let sender = try #require(bench.core).services.webhooks
            var ids: [String] = []
            for _ in 0..<4 {
                let delivery = try await receiver.next()
                ids.append(try JSONDocument(text: delivery.body).root["id"]?.string ?? "")
                await sender.settle()
                bench.advanceWall(60)
            }
            #expect(ids[0] == ids[1] && ids[1] == ids[2] && ids[3] != ids[2])

            receiver.answerAlways(500)
            _ = try await bench.send("POST", path, token: alice.token, json: TestTexts.post("three"))
            for _ in 0..<Webhook.maximumFailures {
                _ = try await receiver.next()
                await sender.settle()
                bench.advanceWall(3_600)
            }
            let off = try await bench.send("GET", "/webhooks", token: alice.token).json["items"]?.elements?.first
            #expect(off?["off"]?.string == "the receiver answered 500")
            #expect(off?["failures"]?.integer == Int64(Webhook.maximumFailures))
            let renewed = try await bench.send("POST", "/webhooks/\(hook)/renew", token: alice.token)
            #expect(renewed.status == 200 && renewed.json["off"] == nil)
            let bob = try await bench.signIn(.bob, expiresIn: 200_000)
            #expect(try await bench.send("POST", "/webhooks/\(hook)/renew", token: bob.token).status == 404)
            #expect(try await bench.send("DELETE", "/webhooks/\(hook)", token: bob.token).status == 404)
            #expect(try await bench.send("DELETE", "/webhooks/\(hook)", token: alice.token).status == 204)
            await kms.stop()
        }
        await receiver.stop()
    }

    @Test("nothing is delivered to this machine or to a private network unless that is configured")
    func noPrivateTargets() async throws {
        let receiver = try await Receiver()
        try await CoreBench.run(webhooks: Receiver.settings(allowsPrivate: false)) { bench in
            let kms = try await bench.kms()
            let alice = try await bench.signIn(.alice)
            let id = try await bench.createConversation(alice)
            for url in [receiver.url, receiver.url.replacing("localhost", with: "127.0.0.1")] {
                let made = try await bench.send("POST", "/webhooks", token: alice.token, json: #"{"url":"\#(url)"}"#)
                #expect(made.status == 201)
            }
            _ = try await bench.send(
                "POST", "/conversations/\(id)/activities", token: alice.token, json: TestTexts.post("x"))
            let services = try #require(bench.core).services
            for _ in 0..<2 {
                await services.webhooks.tick()
                await services.webhooks.settle()
            }
            let hooks = try await bench.send("GET", "/webhooks", token: alice.token).json["items"]?.elements ?? []
            #expect(hooks.count == 2 && hooks.allSatisfy { ($0["failures"]?.integer ?? 0) > 0 })
            #expect(receiver.taken == 0)
            await kms.stop()
        }
        await receiver.stop()
    }

    @Test(
        "a registration that can not be used is refused",
        arguments: [
            #"{"url":"http://hooks.example.com/"}"#, #"{"url":"https://user@hooks.example.com/"}"#,
            #"{"url":"https://hooks.example.com/#a"}"#, #"{}"#, #"{"url":"https://hooks.example.com/","verbs":[]}"#,
            #"{"url":"https://hooks.example.com/","verbs":["read"]}"#,
            #"{"url":"https://hooks.example.com/","conversationId":"x"}"#,
        ])
    func malformed(body: String) async throws {
        try await CoreBench.run(webhooks: Receiver.settings(allowsPrivate: true)) { bench in
            let alice = try await bench.signIn(.alice)
            #expect(try await bench.send("POST", "/webhooks", token: alice.token, json: body).status == 400)
        }
    }

    @Test("a core without the section takes no webhooks, and a user has a bounded number")
    func bounds() async throws {
        try await CoreBench.run { bench in
            let alice = try await bench.signIn(.alice)
            let body = #"{"url":"https://hooks.example.com/"}"#
            #expect(try await bench.send("POST", "/webhooks", token: alice.token, json: body).status == 501)
        }
        try await CoreBench.run(webhooks: Receiver.settings(allowsPrivate: true)) { bench in
            let alice = try await bench.signIn(.alice)
            let body = #"{"url":"https://hooks.example.com/"}"#
            for number in 0...Webhook.maximumPerUser {
                let status = try await bench.send("POST", "/webhooks", token: alice.token, json: body).status
                #expect(status == (number < Webhook.maximumPerUser ? 201 : 409))
            }
        }
    }

    @Test(
        "special addresses are not public",
        arguments: [
            ([127, 0, 0, 1], false), ([10, 1, 2, 3], false), ([172, 31, 0, 1], false), ([172, 32, 0, 1], true),
            ([192, 168, 1, 1], false), ([169, 254, 169, 254], false), ([100, 64, 0, 1], false), ([0, 0, 0, 0], false),
            ([224, 0, 0, 1], false), ([255, 255, 255, 255], false), ([8, 8, 8, 8], true),
            ([0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1], false),
            ([0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xFF, 0xFF, 127, 0, 0, 1], false),
            ([0, 0x64, 0xFF, 0x9B, 0, 0, 0, 0, 0, 0, 0, 0, 10, 0, 0, 1], false),
            ([0xFE, 0x80, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1], false),
            ([0xFC, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1], false),
            ([0x20, 0x02, 127, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1], false),
            ([0x2A, 0, 0x14, 0x50, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1], true),
        ] as [([UInt8], Bool)])
    func addresses(octets: [UInt8], isPublic: Bool) { #expect(PublicAddress.isPublic(octets) == isPublic) }
}

/// An HTTPS server that takes deliveries.
private final class Receiver: Sendable {
    struct Delivery: Sendable {
        let body: String
        let signature: String
        let query: String
    }

    let url: String
    private let running: RunningService
    private let log: Log

    private final class Log: Sendable {
        let statuses: Mutex<[Int]>
        let always = Mutex<Int>(200)
        let count = Mutex<Int>(0)
        let stream: AsyncStream<Delivery>
        let sink: AsyncStream<Delivery>.Continuation
        init(_ statuses: [Int]) {
            self.statuses = Mutex(statuses)
            (stream, sink) = AsyncStream.makeStream()
        }
    }

    init(statuses: [Int] = []) async throws {
        let log = Log(statuses)
        let router = Router()
        router.post("hook") { request, _ -> Response in
            let body = try await request.body.collect(upTo: 1 << 16)
            let status = log.statuses.withLock { $0.isEmpty ? nil : $0.removeFirst() } ?? log.always.withLock { $0 }
            log.count.withLock { $0 += 1 }
            log.sink.yield(
                Delivery(
                    body: String(buffer: body), signature: request.headers[.init("HDS-Signature")!] ?? "",
                    query: request.uri.query ?? ""))
            return Response(status: .init(code: status))
        }
        let server = WebServer(
            configuration: WebServerConfiguration(host: "127.0.0.1", port: 0, identity: try TestPKI.shared.get().core),
            router: router)
        running = RunningService([server])
        url = "https://localhost:\(try await server.boundPort)/hook"
        self.log = log
    }

    static func settings(allowsPrivate: Bool) throws -> CloudCoreConfiguration.Webhooks {
        CloudCoreConfiguration.Webhooks(
            trust: TLSTrust(roots: [try TestPKI.shared.get().coreRoot]), allowsPrivateAddresses: allowsPrivate)
    }

    func next() async throws -> Delivery {
        for await delivery in log.stream { return delivery }
        throw CancellationError()
    }

    var taken: Int { log.count.withLock { $0 } }
    func answerAlways(_ status: Int) { log.always.withLock { $0 = status } }
    func stop() async { await running.stop() }
}
